"""The newest step of the schema, and a database that lacks it: counts and searches work, and nobody is disturbed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conformance.conftest import FILE_AND_SERVER, Backend
from tests.conformance.helpers import ALL, MINUTE, START, end, firing, manual_id, queued, register, run_of, schedule
from tests.conformance.older import database_at

from agentclock.core.actors import Actor
from agentclock.core.model import Outcome, OutcomeKind, Overlap, RunStatus, TriggerNote
from agentclock.core.planning import plan_trigger
from agentclock.ports import (
    BinCount,
    ChangeSchedule,
    DeleteSchedule,
    InsertSchedule,
    RunFilter,
    ScheduleFilter,
    ScheduleOrder,
    Store,
    WorkerInfo,
)
from agentclock.store.queries import Dialect
from agentclock.testing import FakeClock

HOUR = RunFilter(since=START, until=START + 60 * MINUTE)
FAILED = Outcome(kind=OutcomeKind.FAILED, error="no")
AGAIN = TriggerNote(retry_of="r1", reason="once more")


@pytest.fixture(params=FILE_AND_SERVER)
async def at_five(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Backend]:
    dialect: Dialect = "sqlite" if request.param == "file" else "postgres"
    where = str(tmp_path / "agentclock.db") if dialect == "sqlite" else request.getfixturevalue("empty_postgres_dsn")
    made = database_at(5, dialect, where, clock)
    yield made
    await made.close()


async def _lived(store: Store) -> None:
    """A failure, a success, and what is still to come."""
    await store.acquire_engine(WorkerInfo(id="w1", name="host", app_version="1", slots=7), 10**6)
    await store.insert_schedules([schedule("s0", description="Über", tags=("Größe", "ops"), next_fire_at=None)])
    await queued(store, "s1", "s2", "s3")
    for outcome in (FAILED, replace(FAILED, kind=OutcomeKind.SUCCESS, error=None)):
        (claim,) = (await store.claim("w1", 1)).claims
        await end(store, claim, outcome)


async def _asked(store: Store) -> None:
    """Of what `_lived` has left."""
    statuses = (RunStatus.FAILED, RunStatus.PENDING, RunStatus.SUCCESS)
    counted = await store.count_fires(HOUR, 60)
    assert counted == [BinCount(number=0, status=status, fires=1) for status in statuses]
    assert [one.error for one in await store.failures(RunFilter(), 9)] == ["no"]
    assert {one.schedule_id for one in await store.counts_by_schedule(HOUR, 9)} == {"s1", "s2", "s3"}
    assert sum(map(len, (await store.marks(["s1", "s2"], limit=9, with_usage=True)).values())) == 2
    assert (await store.overview()).pending == 1
    assert await store.held_runs(["w1"], 9) == {"w1": []}
    for order in ScheduleOrder:
        assert (await store.list_schedules(ScheduleFilter(text="NAME OF"), ALL, order)).total_count == 4
        assert (await store.list_schedules(ScheduleFilter(text="ops"), ALL, order)).total_count == 1


async def test_a_schema_without_it_can_be_asked(at_five: Backend) -> None:
    store = await at_five.open(auto_migrate=False)
    await _lived(store)
    await _asked(store)
    assert [one.info.slots for one in await store.workers()] == [None]
    writes = [
        InsertSchedule(schedule=schedule("s4")),
        ChangeSchedule(schedule_id="s2", change=lambda s, now: replace(s, description="Ä")),
        DeleteSchedule(schedule_id="s3"),
    ]
    assert [one and one.version for one in await store.write_schedules(writes, by=Actor("ann"))] == [1, 2, None]


async def test_a_run_forgets_which_one_it_does_again(at_five: Backend) -> None:
    store = await at_five.open(auto_migrate=False)
    await store.insert_schedules([schedule(next_fire_at=None)])
    run_id = manual_id(START)
    await store.trigger("s1", lambda s, facts, now: plan_trigger(s, facts, now, run_id, note=AGAIN))
    assert (await run_of(store, run_id)).trigger_note == replace(AGAIN, retry_of=None)


async def test_what_there_was_is_counted_and_found_after_the_upgrade(at_five: Backend) -> None:
    before = await at_five.open(auto_migrate=False)
    await _lived(before)
    await before.release_engine("w1")
    store = await at_five.open()
    assert (await store.health()).schema_version == 6
    await _asked(store)
    await store.acquire_engine(WorkerInfo(id="w2", name="host", app_version="1", slots=7), 10**6)
    assert {one.info.id: one.info.slots for one in await store.workers()} == {"w1": None, "w2": 7}
    await store.change_schedule("s0", lambda s, now: replace(s, tags=("Maß",)))
    assert (await store.list_schedules(ScheduleFilter(text="ÜBER"), ALL)).total_count == 1


async def test_the_version_before_takes_what_is_tried_again(at_five: Backend) -> None:
    """A note with a part that it does not know would be a run that it cannot read, and ends."""
    before = await at_five.open(auto_migrate=False)
    after = await at_five.open()
    await register(before, lease_seconds=10**6)
    await before.insert_schedules([schedule(next_fire_at=None, overlap=Overlap.ALLOW)])
    run_id = manual_id(START)
    await after.trigger("s1", lambda s, facts, now: plan_trigger(s, facts, now, run_id, note=AGAIN))
    (claim,) = (await before.claim("w1", 5)).claims
    assert claim.run.trigger_note == replace(AGAIN, retry_of=None)
    await end(before, claim)
    run = await run_of(after, run_id)
    assert (run.status, run.trigger_note) == (RunStatus.SUCCESS, AGAIN)


async def test_both_versions_write_what_is_counted(at_five: Backend) -> None:
    before = await at_five.open(auto_migrate=False)
    after = await at_five.open()
    await register(before, lease_seconds=10**6)
    await before.insert_schedules([schedule("s1"), schedule("s2")])
    for store in (before, after):
        fired = await store.fire_due(firing(START), limit=1, worker_id="w1", slots=1)
        await end(store, fired.claims[0])
    counted = [BinCount(number=0, status=RunStatus.SUCCESS, fires=2)]
    assert await before.count_fires(HOUR, 2) == await after.count_fires(HOUR, 2) == counted
