"""What servers do with an app, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import ASGIApp, Message, Scope


class Server:
    """Exchanges lifespan messages with an app. Either answers the app's message, or one of type `raised`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._outbox: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> Message:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._task = asyncio.create_task(self._run(scope))
        self._inbox.put_nowait({"type": "lifespan.startup"})
        return await self._outbox.get()

    async def shutdown(self) -> Message:
        self._inbox.put_nowait({"type": "lifespan.shutdown"})
        return await self._outbox.get()

    async def _run(self, scope: Scope) -> None:
        try:
            await self._app(scope, self._inbox.get, self._outbox.put)
        except Exception as error:
            self._outbox.put_nowait({"type": "raised", "error": error})


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[None]:
    server = Server(app)
    assert await server.startup() == {"type": "lifespan.startup.complete"}
    try:
        yield
    finally:
        assert await server.shutdown() == {"type": "lifespan.shutdown.complete"}


async def get(app: ASGIApp, **headers: str) -> int:
    """The status of the answer to GET / with these headers, whose names may have underscores for hyphens."""
    status: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": pairs}
    await app(scope, receive, send)
    return status[0]
