"""Where the desk finds its store: in a database of its own choice, or in a clockwork of this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from agentclock.agno.guard_rails import GuardRails
from agentclock.agno.schedule_desk import ScheduleDesk
from agentclock.agno.told_times import ToldTimes
from agentclock.app import Clockwork, is_postgres, make_store, sqlite_path
from agentclock.config import Settings
from agentclock.core.errors import StoreUnavailable
from agentclock.core.events import FiresAbsent, RunChanged, ScheduleChanged
from agentclock.engine.clock import SystemClock
from agentclock.ports import Store, Wakeup
from agentclock.scheduler import EngineState, Scheduler

#: Tools ask for little: this many connections to PostgreSQL do.
_CONNECTIONS: Final = 2

Change: TypeAlias = RunChanged | ScheduleChanged | FiresAbsent


class DeskSource(Protocol):
    """Used on one event loop, the portal's."""

    def desk(self) -> AbstractAsyncContextManager[ScheduleDesk]:
        """Raises StoreUnavailable."""

    async def close(self) -> None: ...


class DatabaseSource:
    """A store of its own, opened with the first call. `ring` and `tell` are called besides what wakes other
    processes."""

    def __init__(
        self,
        settings: Settings,
        rails: GuardRails,
        *,
        told_times: ToldTimes | None = None,
        may_lend: bool = True,
        ring: Callable[[], None] = lambda: None,
        tell: Callable[[Change], None] = lambda _: None,
    ) -> None:
        self._settings = settings.model_copy(update={"pool_size": _CONNECTIONS})
        self._rails = rails
        self._told_times = told_times or ToldTimes()
        self._may_lend = may_lend
        self._ring = ring
        self._tell = tell
        self._opening = asyncio.Lock()
        self._opened: _Opened | None = None

    @asynccontextmanager
    async def desk(self) -> AsyncIterator[ScheduleDesk]:
        async with self._opening:
            opened = self._opened
            # A forked child has a portal, and with it an event loop, of its own.
            if opened is None or opened.loop is not asyncio.get_running_loop():
                opened = self._opened = await self._open()
        yield opened.desk

    async def close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None and opened.loop is asyncio.get_running_loop():
            await opened.close()

    async def _open(self) -> _Opened:
        clock = SystemClock()
        store, wakeup = make_store(self._settings, clock)
        try:
            await store.open()
            await wakeup.start(lambda: None)
        except BaseException:
            await wakeup.close()
            await store.close()
            raise

        def wake() -> None:
            wakeup.send()
            self._ring()

        def publish(change: Change) -> None:
            wakeup.tell(schedule_id=change.schedule_id)
            self._tell(change)

        scheduler = Scheduler(
            store,
            clock=clock,
            wakeup=wake,
            engine_state=lambda: EngineState(status="stopped"),
            publish=publish,
            targets=tuple(self._settings.targets),
        )
        desk = ScheduleDesk(store, scheduler, clock, self._rails, self._told_times, may_lend=self._may_lend)
        return _Opened(loop=asyncio.get_running_loop(), store=store, wakeup=wakeup, desk=desk)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    loop: asyncio.AbstractEventLoop
    store: Store
    wakeup: Wakeup
    desk: ScheduleDesk

    async def close(self) -> None:
        await self.desk.close()
        await self.wakeup.close()
        await self.store.close()


class ClockworkSource:
    """The database of a clockwork in this process, started or not.

    An SQLite file has one writing connection in a process: while the clockwork has it open, its store is used, which
    takes calls from any event loop; before and after that, one is opened for each call, and what is due waits for the
    clockwork. PostgreSQL's connections belong to an event loop, so there the desk has some of its own.
    """

    def __init__(self, clockwork: Clockwork, rails: GuardRails) -> None:
        self._clockwork = clockwork
        told_times = ToldTimes()
        self._own = DatabaseSource(
            clockwork.settings,
            rails,
            told_times=told_times,
            may_lend=is_postgres(clockwork.settings.database),
            ring=self._ring,
            tell=self._tell,
        )
        self._own_turn = asyncio.Lock()
        scheduler = Scheduler(
            clockwork.store,
            clock=clockwork.clock,
            wakeup=self._ring,
            engine_state=clockwork.scheduler.engine_state,
            publish=self._tell,
            targets=clockwork.scheduler.targets,
        )
        self._shared = ScheduleDesk(clockwork.store, scheduler, clockwork.clock, rails, told_times)

    @asynccontextmanager
    async def desk(self) -> AsyncIterator[ScheduleDesk]:
        database = self._clockwork.settings.database
        if is_postgres(database):
            async with self._own.desk() as desk:
                yield desk
        elif self._clockwork.home is not None:
            yield self._shared
        elif sqlite_path(database) == ":memory:":
            raise StoreUnavailable("the scheduler keeps its schedules in memory and has not been started yet")
        else:
            async with self._own_turn:
                try:
                    async with self._own.desk() as desk:
                        yield desk
                finally:
                    await self._own.close()

    async def close(self) -> None:
        await self._shared.close()
        await self._own.close()

    def _ring(self) -> None:
        self._at_home(self._clockwork.engine.ring)
        self._at_home(self._clockwork.wakeup.send)

    def _tell(self, change: Change) -> None:
        self._at_home(lambda: self._clockwork.bus.publish(change))

    def _at_home(self, nudge: Callable[[], None]) -> None:
        home = self._clockwork.home
        if home is not None:
            with suppress(RuntimeError):  # its loop has just been closed: nobody is left to hear
                home.call_soon_threadsafe(nudge)
