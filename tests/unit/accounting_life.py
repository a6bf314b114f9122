"""The life of one schedule, at random: whatever happens to it, by everyone who may change it."""

from __future__ import annotations

import random
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from agentclock.accounts import Inquiry, account_for
from agentclock.agno.told_times import due_now, unless_taken_back
from agentclock.core.accounting import Statement
from agentclock.core.actors import Actor
from agentclock.core.errors import AgentclockError, CorruptRow, InvalidField
from agentclock.core.ids import uuid7
from agentclock.core.instants import iso_utc
from agentclock.core.model import SECOND, Cause, Instant, Run, RunStatus, Schedule
from agentclock.core.planning import Plan, Situation, plan
from agentclock.core.timetable import rearmed
from agentclock.ports import PageRequest, RunFilter
from agentclock.scheduler import EngineState, Scheduler
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import FakeClock

HOUR: Final = 3_600
CRONS: Final = ("* * * * *", "*/5 * * * *", "7 * * * *", "30 2 * * *", "15,45 9-17 * * mon-fri", "0 0 1 * *")
ZONES: Final = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana")
#: Around clock changes of these zones, and one dull day.
STARTS: Final = (1_774_600_000_000, 1_792_700_000_000, 1_762_000_000_000, 1_767_225_600_000)


class Life:
    """Steps are drawn from `seed`; nothing else is random. `id` is the schedule's."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.clock = FakeClock(self.random.choice(STARTS))
        self.store = SqliteStore(":memory:", clock=self.clock)
        self.scheduler = Scheduler(
            self.store,
            clock=self.clock,
            wakeup=lambda: None,
            engine_state=lambda: EngineState(status="running"),
            entropy=self.random.randbytes,
        )
        self.id = ""
        self.began_at = self.clock.now()

    async def begin(self) -> None:
        await self.store.open()
        while not self.id:
            draft = {"name": "s", "endpoint": "/x", **self.policies(), **self.timing()}
            with suppress(InvalidField):  # nothing is left to fire
                self.id = (await self.scheduler.create(draft, by=Actor("ada"))).id

    # what may happen

    async def step(self) -> None:
        pick = self.random
        self.clock.advance(pick.choice((1, 29, 60, 61, 600, HOUR, 5 * HOUR, 30 * HOUR)) + pick.random())
        happenings: list[Callable[[], Awaitable[Any]]] = [
            *(self.planned,) * 8,
            *(self.edited,) * 2,
            *(self.retimed,) * 2,
            *(self.disabled, self.enabled, self.enabled, self.clock_set, self.faulty, self.other_zone_data),
            *(self.asked, self.asked_and_taken_back),
            *(self.triggered, self.imported),
        ]
        # What cannot be done at the moment is refused, and leaves no trace.
        with suppress(AgentclockError):
            await pick.choice(happenings)()
        if pick.random() < 0.7:
            await self.planned()

    async def planned(self) -> None:
        while (await self.store.fire_due(plan, limit=10)).planned:
            await self.finished()

    async def finished(self) -> None:
        """Some of the runs end: what becomes of the next fire depends on it."""
        if self.random.random() < 0.6:
            await self.sql("UPDATE {}runs SET status = 'success', fence = 1, attempt = 1 WHERE status = 'pending'")

    async def edited(self) -> None:
        await self.scheduler.change(
            self.id, {"description": str(self.random.random()), **self.policies()}, by=Actor("bob")
        )

    async def retimed(self) -> None:
        await self.scheduler.change(self.id, self.timing(), by=Actor("eve"))

    async def retimed_to(self, cron_expr: str, **bounds: Any) -> None:
        await self.scheduler.change(self.id, {"cron_expr": cron_expr, **bounds}, by=Actor("eve"))

    async def disabled(self) -> None:
        await self.scheduler.disable(self.id, by=Actor("bob"))

    async def enabled(self) -> None:
        await self.scheduler.enable(self.id, by=Actor("bob"))

    async def clock_set(self) -> None:
        self.clock.jump(self.random.choice((-26 * HOUR, -3_700, -61, -1, 5_000)))

    async def asked(self) -> None:
        """agno's way to have a run at once: the schedule is due now, beside its timetable."""
        await self.scheduler.alter(
            self.id,
            lambda schedule, now: due_now(schedule, now) if schedule.enabled else schedule,
            guard=lambda change: unless_taken_back(lambda _: None, change),
        )

    async def asked_and_taken_back(self) -> None:
        await self.asked()

        def change(schedule: Schedule, now: Instant) -> Schedule:
            return rearmed(replace(schedule, cron_expr="*/9 * * * *", run_at=None, interval_seconds=None), now)

        await self.scheduler.alter(self.id, change, guard=lambda one: unless_taken_back(lambda _: None, one))

    async def faulty(self) -> None:
        def fail(schedule: Schedule, situation: Situation, now: Instant) -> Plan:
            raise CorruptRow("schedules", schedule.id, "out of luck")

        await self.store.fire_due(fail, limit=10)

    async def other_zone_data(self) -> None:
        await self.store.change_schedule(self.id, lambda schedule, _: replace(schedule, zone_data_version="1999a"))
        if self.random.random() < 0.8:
            await self.scheduler.refresh_zone_data()

    async def triggered(self) -> None:
        await self.scheduler.trigger(self.id)

    async def imported(self) -> None:
        """History that another scheduler made, of before and of just now."""
        for back in (0, 90_000):
            at = self.clock.now() - back * SECOND
            run = Run(
                id=uuid7(at, self.random.randbytes(10)),
                schedule_id=self.id,
                cause=Cause.SCHEDULE,
                fire_at=at,
                status=RunStatus.SUCCESS,
                attempt=1,
                created_at=at,
                completed_at=at,
            )
            await self.store.insert_history([run], [])

    # what it is made of

    def policies(self) -> dict[str, Any]:
        pick = self.random.choice
        return {
            "overlap": pick(("skip", "queue", "allow", "cancel")),
            "catch_up": pick(("latest", "none", "all")),
            "catch_up_window_seconds": pick((0, 600, 86_400)),
            "misfire_grace_seconds": pick((0, 60, 600)),
        }

    def timing(self) -> dict[str, Any]:
        pick, now = self.random.choice, self.clock.now()
        ahead = pick((-5 * HOUR, 0, 777, 40 * HOUR)) * SECOND
        kinds = ({"cron_expr": pick(CRONS)}, {"cron_expr": pick(CRONS)}, {"interval_seconds": pick((7, 60, 5_400))})
        kind = pick((*kinds, {"run_at": _iso(now + 4_000_000)}))
        bounds = {
            "start_at": pick((None, None, _iso(now + ahead))),
            "end_at": pick((None, None, None, _iso(now + 90 * HOUR * SECOND))),
            "max_runs": pick((None, None, 3, 50)),
        }
        return {**kind, "timezone": pick(ZONES), **bounds}

    # what is asked of it

    async def statement(
        self, since: Instant | None = None, until: Instant | None = None, *, by_period: bool = False
    ) -> Statement:
        schedule = await self.scheduler.get(self.id)
        return await account_for(self.store, schedule, Inquiry(since=since, until=until, by_period=by_period))

    async def fires(self) -> list[Run]:
        """The rows of the timetable, oldest first."""
        found: list[Run] = []
        cursor = None
        while True:
            page = await self.store.list_runs(RunFilter(schedule_id=self.id), PageRequest(limit=1_000, cursor=cursor))
            found += [run for run in page.items if run.cause is not Cause.MANUAL and not _is_imported(run)]
            cursor = page.next_cursor
            if cursor is None:
                return found[::-1]

    async def sql(self, text: str, *values: Any) -> None:
        """`{}` stands before the names of tables; as somebody might do it by hand."""
        text = text.replace("{}", "agentclock_")
        await self.store._writer.run(lambda connection: connection.execute(text, values).fetchall())


def _iso(at: Instant) -> str:
    return iso_utc(max(0, at))


def _is_imported(run: Run) -> bool:
    return uuid.UUID(run.id).version == 7
