"""`next_run_at` as others write it: what it asks for, what it holds back, and that no fire gets lost or doubled."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from agentclock.agno.guard_rails import Author, GuardRails
from agentclock.agno.schedule_desk import ScheduleDesk
from agentclock.agno.told_times import ToldTimes
from agentclock.core.model import Instant, Run, RunStatus, Schedule
from agentclock.core.planning import plan
from agentclock.core.timetable import timetable_of
from agentclock.ports import PageRequest, RunFilter, WorkerInfo
from agentclock.scheduler import EngineState, Scheduler
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import FakeClock

MINUTE, HOUR = 60, 3600
APPLICATION = Author(is_agent=False)


class Rig:
    """A desk at a store whose clock moves only when told to."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = SqliteStore(":memory:", clock=self.clock)
        scheduler = Scheduler(
            self.store,
            clock=self.clock,
            wakeup=lambda: None,
            engine_state=lambda: EngineState(status="stopped"),
        )
        self.desk = ScheduleDesk(self.store, scheduler, self.clock, GuardRails(), ToldTimes())

    @property
    def now(self) -> int:
        """In seconds, as agno counts."""
        return self.clock.now() // 1000

    async def create(self, **fields: Any) -> dict[str, Any]:
        made = {"name": uuid.uuid4().hex, "endpoint": "/agents/a1/runs", "cron_expr": "0 * * * *", "enabled": True}
        return await self.desk.create_schedule(APPLICATION, made | fields)

    async def update(self, schedule_id: str, **values: Any) -> dict[str, Any]:
        row = await self.desk.update_schedule(APPLICATION, schedule_id, None, values)
        assert row is not None
        return row

    async def claims(self, poller: str = "poller") -> list[str]:
        """Whatever there is to claim now, claimed."""
        found = []
        while (row := await self.desk.claim_due_schedule(poller, 1_000_000)) is not None:
            found.append(row["id"])
        return found

    async def release(self, schedule_id: str, next_run_at: int | None) -> None:
        assert await self.desk.release_schedule(schedule_id, next_run_at, "poller", None)

    async def shown(self, schedule_id: str) -> int | None:
        row = await self.desk.get_schedule(schedule_id, None)
        assert row is not None
        at: int | None = row["next_run_at"]
        return at

    async def history(self, schedule_id: str) -> list[Run]:
        found = await self.store.list_runs(RunFilter(schedule_id=schedule_id), PageRequest())
        return list(found.items)[::-1]

    async def schedule(self, schedule_id: str) -> Schedule:
        schedule = await self.store.get_schedule(schedule_id)
        assert schedule is not None
        return schedule

    async def start_engine(self) -> str:
        engine = WorkerInfo(id=str(uuid.uuid4()), name="engine", app_version="1")
        assert await self.store.acquire_engine(engine, 1_000_000) is None
        return engine.id

    async def accounts_for_all(self, schedule_id: str) -> bool:
        """Fires due since the timetable last changed = runs + skipped + missed."""
        schedule = await self.schedule(schedule_id)
        until = schedule.next_fire_at - 1 if schedule.next_fire_at else self.clock.now()
        due = timetable_of(schedule).between(schedule.timetable_since, until, 1_000)
        counted = await self.store.accounting(schedule_id, schedule.timetable_since, until)
        return counted.total == len(due)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    await made.store.open()
    yield made
    await made.store.close()


async def test_a_time_to_come_is_shown_and_our_timetable_is_left_alone(rig: Rig) -> None:
    made = await rig.create()
    told = await rig.update(made["id"], next_run_at=rig.now + 2 * HOUR)
    assert told["next_run_at"] == await rig.shown(made["id"]) == rig.now + 2 * HOUR
    assert (await rig.desk.get_schedules(None, 10, 1, None))[0][0]["next_run_at"] == rig.now + 2 * HOUR
    assert (await rig.schedule(made["id"])).next_fire_at == made["next_run_at"] * 1000


async def test_what_is_told_to_wait_is_owed_and_in_nobodys_way(rig: Rig) -> None:
    waits, other = await rig.create(), await rig.create()
    await rig.update(waits["id"], next_run_at=rig.now + 2 * HOUR + 5)
    rig.clock.advance(HOUR)
    assert await rig.claims() == [other["id"]]
    rig.clock.advance(HOUR)
    assert await rig.claims() == []
    rig.clock.advance(5)
    await rig.release(other["id"], None)
    assert sorted(await rig.claims()) == sorted([waits["id"], other["id"]])
    assert [(run.status, run.fire_count) for run in await rig.history(waits["id"])] == [
        (RunStatus.MISSED, 1),
        (RunStatus.RUNNING, 1),
    ], "each of the two fires is on record"
    assert await rig.accounts_for_all(waits["id"])


async def test_a_time_before_the_next_fire_is_one_run_more_when_it_comes(rig: Rig) -> None:
    made = await rig.create()
    await rig.update(made["id"], next_run_at=rig.now + 10 * MINUTE)
    assert await rig.claims() == []
    rig.clock.advance(10 * MINUTE)
    assert await rig.claims() == [made["id"]]
    await rig.release(made["id"], made["next_run_at"])
    assert await rig.claims() == []
    rig.clock.advance(50 * MINUTE)
    assert await rig.claims() == [made["id"]]
    assert len(await rig.history(made["id"])) == 2
    assert await rig.accounts_for_all(made["id"])


async def test_what_a_poller_says_at_release_rules_its_next_claim(rig: Rig) -> None:
    made = await rig.create()
    rig.clock.advance(HOUR)
    assert await rig.claims() == [made["id"]]
    await rig.release(made["id"], rig.now + 90 * MINUTE)
    assert await rig.shown(made["id"]) == rig.now + 90 * MINUTE
    rig.clock.advance(HOUR)
    assert await rig.claims() == []
    rig.clock.advance(30 * MINUTE)
    assert await rig.claims() == [made["id"]]
    assert await rig.accounts_for_all(made["id"])


async def test_a_poller_whose_clock_is_behind_does_not_run_a_fire_twice(rig: Rig) -> None:
    made = await rig.create()
    rig.clock.advance(HOUR)
    assert await rig.claims() == [made["id"]]
    await rig.release(made["id"], rig.now)
    assert await rig.claims() == []
    assert await rig.shown(made["id"]) == rig.now + HOUR


async def test_an_engine_goes_by_the_timetable_whatever_was_told(rig: Rig) -> None:
    waits, early = await rig.create(), await rig.create()
    await rig.update(waits["id"], next_run_at=rig.now + 5 * HOUR)
    await rig.update(early["id"], next_run_at=rig.now + MINUTE)
    engine = await rig.start_engine()
    for row in (waits, early):
        assert await rig.shown(row["id"]) == row["next_run_at"]
    rig.clock.advance(2 * MINUTE)
    assert (await rig.store.fire_due(plan, limit=10)).planned == 0
    rig.clock.advance(58 * MINUTE)
    assert await rig.claims() == []
    assert len((await rig.store.fire_due(plan, limit=10, worker_id=engine, slots=10)).claims) == 2
    await rig.store.release_engine(engine)
    assert await rig.shown(waits["id"]) == waits["next_run_at"] + HOUR, "and what was told does not come back"


async def test_what_an_engine_fired_unseen_makes_void_what_was_told(rig: Rig) -> None:
    made = await rig.create()
    await rig.update(made["id"], next_run_at=rig.now + 5 * HOUR)
    engine = await rig.start_engine()
    rig.clock.advance(HOUR)
    assert (await rig.store.fire_due(plan, limit=10)).planned == 1
    await rig.store.release_engine(engine)
    assert await rig.shown(made["id"]) == made["next_run_at"] + HOUR


async def test_told_while_an_engine_works_a_time_to_come_means_nothing(rig: Rig) -> None:
    made = await rig.create()
    engine = await rig.start_engine()
    told = await rig.update(made["id"], next_run_at=rig.now + MINUTE)
    assert told["next_run_at"] == made["next_run_at"]
    await rig.store.release_engine(engine)
    rig.clock.advance(MINUTE)
    assert await rig.claims() == []


async def test_a_new_timetable_or_a_switch_makes_what_was_told_void(rig: Rig) -> None:
    made = await rig.create()
    await rig.update(made["id"], next_run_at=rig.now + 5 * HOUR)
    await rig.update(made["id"], description="no matter")
    assert await rig.shown(made["id"]) == rig.now + 5 * HOUR
    await rig.update(made["id"], cron_expr="30 * * * *")
    assert await rig.shown(made["id"]) == rig.now + 30 * MINUTE
    await rig.update(made["id"], next_run_at=rig.now + 5 * HOUR)
    await rig.update(made["id"], enabled=False)
    assert await rig.shown(made["id"]) is None
    await rig.update(made["id"], enabled=True)
    assert await rig.shown(made["id"]) == rig.now + 30 * MINUTE


async def test_a_time_that_has_come_is_shown_as_it_was_told_until_somebody_takes_it(rig: Rig) -> None:
    made = await rig.create()
    assert (await rig.update(made["id"], next_run_at=1_700_000_000))["next_run_at"] == 1_700_000_000
    assert await rig.claims() == [made["id"]]
    assert await rig.shown(made["id"]) == made["next_run_at"]


# what is taken back


async def test_a_run_that_was_asked_for_may_be_taken_back(rig: Rig) -> None:
    """No fire of the timetable is missed by that; the log says it."""
    rig.clock.advance(5)
    made = await rig.create(next_run_at=rig.now - 10)
    rig.clock.advance(5)
    with capture_logs() as logs:
        await rig.update(made["id"], enabled=False)
    assert [(line["event"], line["schedule"]) for line in logs] == [("asked_run_taken_back", made["id"])]
    assert await rig.history(made["id"]) == []
    await rig.update(made["id"], enabled=True, next_run_at=rig.now - 5)
    assert await rig.claims() == [made["id"]]
    await rig.release(made["id"], rig.now + 2 * HOUR)
    assert len(await rig.history(made["id"])) == 1
    assert await rig.accounts_for_all(made["id"])


async def test_a_change_of_other_things_takes_nothing_back(rig: Rig) -> None:
    rig.clock.advance(5)
    made = await rig.create(next_run_at=rig.now - 10)
    rig.clock.advance(5)
    await rig.update(made["id"], description="no matter")
    assert await rig.claims() == [made["id"]]


@pytest.mark.parametrize("asked", [False, True])
async def test_a_fire_of_the_timetable_is_missed_and_on_record(rig: Rig, asked: bool) -> None:
    rig.clock.advance(5)
    made = await rig.create(next_run_at=rig.now - 10 if asked else None)
    rig.clock.advance(HOUR)
    assert await rig.desk.disable_schedules_for_target("agent", "a1", "gone") == 1
    missed = (await rig.history(made["id"]))[-1]
    assert (missed.status, missed.last_fire_at) == (RunStatus.MISSED, (rig.now - 5) * 1000)


async def test_what_was_computed_with_other_zone_data_counts_as_a_fire(rig: Rig) -> None:
    """By today's rules it may be none, and yet have been one."""
    made = await rig.create()

    def older(schedule: Schedule, now: Instant) -> Schedule:
        return replace(schedule, next_fire_at=now + 12_345, zone_data_version="older")

    await rig.store.change_schedule(made["id"], older)
    rig.clock.advance(MINUTE)
    await rig.update(made["id"], enabled=False)
    assert [run.status for run in await rig.history(made["id"])] == [RunStatus.MISSED]
