"""The schedules that `agentclock export` hands over, on the database directly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from agentclock.app import is_there, make_store
from agentclock.cli.backfill import find_schedule
from agentclock.config import Settings
from agentclock.core.actors import Actor
from agentclock.core.errors import AgentclockError, InvalidField
from agentclock.core.model import Instant, Schedule
from agentclock.engine.clock import SystemClock
from agentclock.exporting import has_timetable
from agentclock.ports import PageRequest, ScheduleFilter, Store
from agentclock.scheduler import EngineState, Scheduler
from agentclock.timing import load_zone, parse_cron

_BY: Final = Actor("cli", "cli")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Those that are `named`, or `everything`, or what has the `tag`."""

    named: tuple[str, ...] = ()
    everything: bool = False
    tag: str | None = None

    def check(self) -> None:
        """Raises InvalidField."""
        if sum((bool(self.named), self.everything, self.tag is not None)) != 1:
            raise InvalidField("schedules", "say which: names or ids, or --all, or --tag")


class Source:
    """Reads schedules, and takes their timetables from them."""

    def __init__(self, store: Store, scheduler: Scheduler) -> None:
        self._store = store
        self._scheduler = scheduler

    async def now(self) -> Instant:
        return await self._store.now()

    async def schedules(self, selection: Selection) -> list[Schedule]:
        """In the order of their names. Raises InvalidField."""
        selection.check()
        if selection.named:
            return [await find_schedule(self._store, named) for named in dict.fromkeys(selection.named)]
        where = ScheduleFilter(tag=selection.tag)
        found: list[Schedule] = []
        cursor: str | None = None
        while True:
            page = await self._scheduler.list(where, PageRequest(limit=1_000, cursor=cursor))
            found += (schedule for schedule in page.items if has_timetable(schedule))
            cursor = page.next_cursor
            if cursor is None:
                break
        if not found:
            raise InvalidField("schedules", "none that has a timetable was found")
        return sorted(found, key=lambda schedule: (schedule.name, schedule.id))

    async def current(self, schedule_id: str) -> Schedule:
        return await self._scheduler.get(schedule_id)

    async def make_on_demand(self, schedule_id: str) -> None:
        await self._scheduler.change(schedule_id, {"cron_expr": ""}, by=_BY)

    def with_timetable(self, schedule: Schedule, cron: str | None, timezone: str | None) -> Schedule:
        """As it would be with that one. Raises InvalidField."""
        zone = load_zone(timezone or schedule.timezone).name
        if cron is None:
            return replace(schedule, timezone=zone)
        parse_cron(cron)
        return replace(schedule, cron_expr=cron, run_at=None, interval_seconds=None, timezone=zone)

    async def hint(self, schedule: Schedule) -> str:
        """What to do about one that is on demand already, with the timetable that it had last."""
        if has_timetable(schedule):
            return ""
        past = (revision for revision in await self._store.revisions(schedule.id) if revision.schedule.cron_expr)
        last = next(past, None)
        if last is None:
            return ". Give one with --cron"
        had = f"--cron '{last.schedule.cron_expr}' --timezone {last.schedule.timezone}"
        return f". Give one with --cron; in version {last.version} it had {had}"


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Source]:
    """Raises AgentclockError if there is no database."""
    if not is_there(settings.database):
        raise AgentclockError(f"database: {settings.database} does not exist: see --database")
    clock = SystemClock()
    store, wakeup = make_store(settings, clock, auto_migrate=False)
    await store.open()
    try:
        await wakeup.start(lambda: None)
        scheduler = Scheduler(
            store,
            clock=clock,
            wakeup=wakeup.send,
            engine_state=lambda: EngineState(status="stopped"),
            targets=tuple(settings.targets),
        )
        yield Source(store, scheduler)
    finally:
        await wakeup.close()
        await store.close()
