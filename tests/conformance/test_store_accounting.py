"""Rows that stand for many fires, where a range of time cuts through them; and how far the database is behind."""

from __future__ import annotations

import pytest
from tests.conformance.conftest import Backend
from tests.conformance.helpers import (
    MINUTE,
    PAUSED,
    START,
    SUCCESS,
    detached,
    end,
    firing,
    held,
    manual_id,
    nothing,
    paused,
    queued,
    register,
    schedule,
    triggering,
)

from agentclock.core.ids import backfill_run_id, fire_run_id, uuid7
from agentclock.core.model import Cause, Instant, Overlap, Reason, Run, RunStatus, Schedule
from agentclock.core.planning import Absence, Plan, Situation
from agentclock.ports import Accounting, Backlog, PlanFunction, Store
from agentclock.testing import FakeClock

HOUR = 60 * MINUTE


def gap(first: Instant, count: int, status: RunStatus = RunStatus.MISSED) -> PlanFunction:
    """A plan with one row for `count` fires, a minute apart."""

    def plan(schedule: Schedule, situation: Situation, now: Instant) -> Plan:
        absence = Absence(
            run_id=fire_run_id(schedule.id, first),
            status=status,
            reason=Reason.OVERLAP,
            cause=Cause.SCHEDULE,
            fire_at=first,
            last_fire_at=first + (count - 1) * MINUTE,
            count=count,
        )
        return Plan(schedule_id=schedule.id, absences=(absence,), next_fire_at=START)

    return plan


@pytest.fixture
async def gaps(store: Store) -> Store:
    """A run at START, missed from minute 1 to 10, a run at minute 11, skipped from minute 12 to 15."""
    await store.insert_schedules([schedule(overlap=Overlap.ALLOW)])
    for plan in (
        firing(START, again_at=START),
        gap(START + MINUTE, 10),
        firing(START + 11 * MINUTE, again_at=START),
        gap(START + 12 * MINUTE, 4, RunStatus.SKIPPED),
    ):
        await store.fire_due(plan, limit=1)
    return store


@pytest.mark.parametrize(
    ("after", "until", "counts", "across"),
    [
        (-1, 15, (2, 4, 10), []),
        (-1, 20, (2, 4, 10), []),
        (0, 10, (0, 0, 10), []),
        (0, 9, (0, 0, 10), [1]),  # begins inside, reaches beyond the end
        (1, 11, (1, 0, 0), [1]),  # begins where the range begins, which leaves its first fire out
        (5, 13, (1, 4, 0), [1, 12]),
        (5, 7, (0, 0, 0), [1]),  # reaches over both ends: there once
        (10, 12, (1, 4, 0), [12]),
        (9, 10, (0, 0, 0), [1]),
        (10, 11, (1, 0, 0), []),
        (15, 60, (0, 0, 0), []),
        (-60, -30, (0, 0, 0), []),
        (-60, 0, (1, 0, 0), []),
    ],
)
async def test_rows_that_reach_over_an_end_are_named(
    gaps: Store, after: int, until: int, counts: tuple[int, int, int], across: list[int]
) -> None:
    found = await gaps.accounting("s1", START + after * MINUTE, START + until * MINUTE)
    assert (found.runs, found.skipped, found.missed) == counts
    assert [(run.fire_at - START) // MINUTE for run in found.across] == across
    assert {run.fire_count for run in found.across} <= {10, 4}


async def test_manual_runs_and_backfills_hide_no_row(gaps: Store) -> None:
    await gaps.trigger("s1", triggering(manual_id(START)))
    imported = [
        Run(id=run_id, schedule_id="s1", cause=cause, fire_at=START + 6 * MINUTE, status=RunStatus.SUCCESS)
        for run_id, cause in {
            backfill_run_id("s1", START + 6 * MINUTE, 1): Cause.BACKFILL,
            uuid7(START + 6 * MINUTE, b"0123456789"): Cause.MANUAL,
        }.items()
    ]
    assert await gaps.insert_history(imported, []) == 2
    found = await gaps.accounting("s1", START + 7 * MINUTE, START + 8 * MINUTE)
    assert [run.fire_at for run in found.across] == [START + MINUTE]
    assert (await gaps.accounting("s1", START - 1, START + 20 * MINUTE)).total == 16


async def test_an_unreadable_row_reaches_nowhere(gaps: Store, backend: Backend) -> None:
    await backend.execute("UPDATE {prefix}runs SET reason = 'whim' WHERE status = 'missed'")
    assert await gaps.accounting("s1", START + 5 * MINUTE, START + 6 * MINUTE) == Accounting()


# the backlog


async def test_nothing_to_do_is_no_backlog(store: Store) -> None:
    assert await store.backlog() == Backlog()
    await store.insert_schedules([schedule(next_fire_at=START + HOUR), schedule("off", enabled=False)])
    await store.insert_schedules([schedule("gone")])
    await store.delete_schedule("gone")
    assert await store.backlog() == Backlog()


async def test_the_backlog_counts_from_what_has_waited_longest(store: Store, clock: FakeClock) -> None:
    await register(store, lease_seconds=10**6)
    await end(store, await held(store, "done"), SUCCESS)
    await held(store, "running")
    await paused(store, "paused")
    await queued(store, "a", at=START)
    await queued(store, "b", at=START - 5000)
    await store.fire_due(nothing, limit=10)
    assert await store.backlog() == Backlog(queue_lag_ms=5000, pending=2, running=1, paused=1)
    clock.advance(2)
    await store.insert_schedules([schedule("due", next_fire_at=START), schedule("later", next_fire_at=START + HOUR)])
    found = await store.backlog()
    assert found == Backlog(due_lag_ms=2000, queue_lag_ms=7000, pending=2, running=1, paused=1)


async def test_what_waits_its_turn_is_no_lag(store: Store, clock: FakeClock) -> None:
    await register(store, lease_seconds=10**6)
    run = await detached(store)
    (claim,) = (await store.claim("w1", 1)).claims
    await end(store, claim, PAUSED)
    await store.insert_schedules([schedule("s2", overlap=Overlap.QUEUE)])
    await store.fire_due(firing(START, available=START + HOUR), limit=1)
    clock.advance(60)
    assert run.id == claim.run.id
    assert await store.backlog() == Backlog(pending=1, paused=1)


async def test_an_embedded_store_has_no_snapshots_of_others(store: Store, backend: Backend) -> None:
    seconds = (await store.health()).oldest_snapshot_seconds
    assert (seconds is None) == (backend.dialect == "sqlite")
