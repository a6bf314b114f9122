"""When the clockwork starts and stops inside its host: after the host's start-up, before its shutdown."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, Protocol

import structlog

from agentclock.executor.asgi import AsgiTransport


class Clocklike(Protocol):
    """What of a `Clockwork` has a life."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class _Stage(Enum):
    NEW = auto()
    EXPECTED = auto()
    RUNNING = auto()
    LATE = auto()
    ENDED = auto()


class Life:
    """NEW -> EXPECTED (lifespan messages have begun) -> RUNNING -> ENDED, and again from there;
    NEW -> LATE: a request came first, so no lifespan messages are sent by this server.

    `host`: the way to the host's app, which is opened before the clockwork starts.
    """

    def __init__(self, clockwork: Clocklike, host: AsgiTransport | None) -> None:
        self._clockwork = clockwork
        self._host = host
        self._stage = _Stage.NEW
        # Tasks of ours must not carry what surrounds the request or lifespan that happens to start them.
        self._context = contextvars.copy_context()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("agentclock.embed")

    def expect(self) -> None:
        """The server sends lifespan messages: nothing starts before the host's start-up is complete."""
        if not self._is_alive():
            self._stage = _Stage.EXPECTED

    async def begin(self, state: Mapping[str, Any] | None) -> None:
        """The host's start-up is complete. Raises what `Clockwork.start` raises, after it was stopped again."""
        if self._is_alive():
            return
        self._stage, self._loop = _Stage.RUNNING, asyncio.get_running_loop()
        try:
            await self._start(state)
        except BaseException:
            await self.end()
            raise

    async def end(self) -> None:
        """The host is about to shut down: returns once no run of ours needs it any more."""
        if self._stage not in (_Stage.RUNNING, _Stage.LATE):
            return
        self._stage = _Stage.ENDED
        try:
            await self._clockwork.stop()
        except Exception:
            # The host must be able to shut down all the same.
            self._log.exception("stop_failed")

    async def begin_late(self) -> None:
        """Before each request; does something only at the first, and only if there were no lifespan messages."""
        if self._stage is _Stage.NEW or (self._stage is _Stage.LATE and not self._is_alive()):
            self._stage, self._loop = _Stage.LATE, asyncio.get_running_loop()
            detail = "the server sends no lifespan messages: nothing was due before this first request came"
            self._log.warning("started_late", detail=detail)
            self._starting = asyncio.create_task(self._start_late(), context=self._context.copy())
        if self._starting is not None:
            await asyncio.shield(self._starting)

    async def _start_late(self) -> None:
        try:
            await self._start(None)
        except Exception:
            # The request that happened to come first is not to blame.
            self._log.exception("start_failed")
        finally:
            self._starting = None

    async def _start(self, state: Mapping[str, Any] | None) -> None:
        if self._host is not None:
            self._host.open(state)
        start = self._clockwork.start()
        await asyncio.create_task(start, name="agentclock-start", context=self._context.copy())

    def _is_alive(self) -> bool:
        """Begun, not ended, and in an event loop that is still there: some test clients have one for each request."""
        is_begun = self._stage in (_Stage.RUNNING, _Stage.LATE)
        return is_begun and self._loop is not None and not self._loop.is_closed()
