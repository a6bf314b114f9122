"""The one layer around the host through which everything goes: lifespan messages and requests."""

from __future__ import annotations

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentclock.embed.life import Life
from agentclock.embed.origin import origin_of, originating_in
from agentclock.embed.routes import Frontage


class Layer:
    """ASGI middleware. `frontage`: our routes within the host, None if it has none of them."""

    def __init__(self, app: ASGIApp, *, life: Life, frontage: Frontage | None = None) -> None:
        self._app = app
        self._life = life
        self._frontage = frontage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _Lifespan(self._app, self._life).run(scope, receive, send)
            return
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        await self._life.begin_late()
        if self._frontage is not None:
            scope = self._frontage.prepared(scope)
        with originating_in(origin_of(scope)):
            await self._app(scope, receive, send)


class _Lifespan:
    """One exchange of lifespan messages. `is_told`: the host said how its start-up went."""

    def __init__(self, app: ASGIApp, life: Life) -> None:
        self._app = app
        self._life = life
        self._is_told = False
        self._is_asked = False

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._life.expect()

        async def hear() -> Message:
            message = await receive()
            self._is_asked = True
            if message["type"] == "lifespan.shutdown":
                await self._life.end()
            return message

        async def tell(message: Message) -> None:
            self._is_told = True
            if message["type"] == "lifespan.startup.complete":
                await self._life.begin(scope.get("state"))
            await send(message)

        try:
            await self._app(scope, hear, tell)
        except Exception as error:
            if self._is_told:
                raise
            log = structlog.get_logger("agentclock.embed")
            log.info("no_lifespan", detail="the host does without lifespan messages", error=type(error).__name__)
        if not self._is_told:
            await self._live_alone(receive, send)

    async def _live_alone(self, receive: Receive, send: Send) -> None:
        """The host knows no lifespan, as an ASGI app may: we do."""
        if not self._is_asked:
            await receive()
        await self._life.begin(None)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._life.end()
        await send({"type": "lifespan.shutdown.complete"})
