"""Where the desk finds its store: in a database of its own choice, or in a clockwork of this process.

A source is used on one event loop, the portal's. Should that be another one than before (a forked child has its
own), everything is opened anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, Protocol

from agentclock.agno.guard_rails import GuardRails
from agentclock.agno.schedule_desk import DeskParts, ScheduleDesk
from agentclock.app import Clockwork, is_postgres, make_store
from agentclock.config import Settings
from agentclock.core.errors import StoreUnavailable
from agentclock.core.events import RunChanged, ScheduleChanged
from agentclock.engine.clock import SystemClock
from agentclock.ports import Clock, Store, Wakeup
from agentclock.scheduler import EngineState, Scheduler

#: Tools ask for little: this many connections to PostgreSQL do.
_CONNECTIONS: Final = 2


class DeskSource(Protocol):
    def desk(self) -> AbstractAsyncContextManager[ScheduleDesk]:
        """Raises StoreUnavailable."""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """A store that was opened for a desk, on `loop`."""

    loop: asyncio.AbstractEventLoop
    store: Store
    wakeup: Wakeup
    desk: ScheduleDesk

    async def close(self) -> None:
        await self.desk.close()
        await self.wakeup.close()
        await self.store.close()


class DatabaseSource:
    """A store of its own, opened with the first call. Engines on the database, in whatever process, are woken."""

    def __init__(self, settings: Settings, rails: GuardRails) -> None:
        self._settings = settings.model_copy(update={"pool_size": _CONNECTIONS})
        self._rails = rails
        self._opening = asyncio.Lock()
        self._opened: _Opened | None = None

    @asynccontextmanager
    async def desk(self) -> AsyncIterator[ScheduleDesk]:
        async with self._opening:
            opened = self._opened
            if opened is None or opened.loop is not asyncio.get_running_loop():
                opened = self._opened = await _open(self._settings, self._rails)
        yield opened.desk

    async def close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None and opened.loop is asyncio.get_running_loop():
            await opened.close()


class ClockworkSource:
    """The database of a clockwork in this process, started or not.

    An SQLite file has one writing connection in a process: while the clockwork has it open, its store is used, which
    takes calls from any event loop; before and after that, one is opened for each call. PostgreSQL's connections
    belong to an event loop, so there the desk has some of its own.
    """

    def __init__(self, clockwork: Clockwork, rails: GuardRails) -> None:
        self._clockwork = clockwork
        self._rails = rails
        self._own = DatabaseSource(clockwork.settings, rails)
        self._own_parts = _parts_of(clockwork)
        self._shared = ScheduleDesk(self._own_parts, rails)
        self._alone = asyncio.Lock()

    @asynccontextmanager
    async def desk(self) -> AsyncIterator[ScheduleDesk]:
        yield self._shared

    async def close(self) -> None:
        await self._own.close()
