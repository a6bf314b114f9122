"""Runs, attempts, accounting and retention."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.conformance.conftest import Backend
from tests.conformance.helpers import (
    ALL,
    LATER,
    MINUTE,
    PAUSED,
    START,
    end,
    firing,
    held,
    history,
    manual_id,
    queued,
    register,
    run_of,
    schedule,
    schedule_of,
    triggering,
)

from agentclock.core.errors import CorruptRow, InvalidField
from agentclock.core.ids import fire_run_id
from agentclock.core.model import Cause, Overlap, RunStatus
from agentclock.core.planning import plan
from agentclock.ports import Accounting, PageRequest, RunFilter, Store
from agentclock.testing import FakeClock


async def fires(store: Store, *times: int, schedule_id: str = "s1") -> None:
    """Pending runs of a new schedule at these times."""
    await store.insert_schedules([schedule(schedule_id, overlap=Overlap.ALLOW, next_fire_at=START)])
    await store.fire_due(firing(*times), limit=1)


async def settled(store: Store, *times: int, schedule_id: str = "s1") -> None:
    await register(store, lease_seconds=10**7)
    await fires(store, *times, schedule_id=schedule_id)
    for claim in (await store.claim("w1", 1000)).claims:
        await end(store, claim)


async def test_nobodys_run(store: Store) -> None:
    for run_id in (fire_run_id("s1", START), "not an id", "", "\0", "\ud800", "1"):
        assert await store.get_run(run_id) is None
        assert await store.attempts(run_id) == []
        assert await store.attempts_of([run_id]) == {run_id: []}
        assert not await store.note_agent_run(run_id, 1, "a", "b")
    assert await store.attempts_of([]) == {}


async def test_attempts_of_many_runs(store: Store, clock: FakeClock) -> None:
    await register(store)
    first = await held(store, "a")
    second = await held(store, "b")
    (third,) = await queued(store, "c")
    found = await store.attempts_of([first.run.id, second.run.id, third.id])
    assert {run_id: [attempt.number for attempt in of] for run_id, of in found.items()} == {
        first.run.id: [1],
        second.run.id: [1],
        third.id: [],
    }


async def test_an_unreadable_attempt_is_left_out(store: Store, backend: Backend) -> None:
    await register(store)
    claim = await held(store)
    await backend.execute("UPDATE {prefix}attempts SET status = 'whim'")
    assert await store.attempts(claim.run.id) == []


async def test_runs_are_listed_newest_first(store: Store) -> None:
    await fires(store, START, START + 2, START + 1)
    page = await store.list_runs(RunFilter(), ALL)
    assert [run.fire_at for run in page.items] == [START + 2, START + 1, START]
    assert (page.total_count, page.next_cursor, page.faults) == (3, None, ())


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (RunFilter(), {"a", "b", "c", "d", "m"}),
        (RunFilter(schedule_id="a"), {"a"}),
        (RunFilter(schedule_id="nobody"), set()),
        (RunFilter(user_id="ann"), {"b", "m"}),
        (RunFilter(user_id="ann", schedule_id="a"), set()),
        (RunFilter(statuses=(RunStatus.FAILED,)), {"a"}),
        (RunFilter(statuses=(RunStatus.PENDING, RunStatus.PAUSED)), {"c", "d", "m"}),
        (RunFilter(statuses=(RunStatus.LOST,)), set()),
        (RunFilter(causes=(Cause.MANUAL,)), {"m"}),
        (RunFilter(causes=(Cause.SCHEDULE, Cause.CATCH_UP)), {"a", "b", "c", "d"}),
        (RunFilter(since=START + 1), {"b", "c", "d", "m"}),
        (RunFilter(until=START + 1), {"a"}),
        (RunFilter(since=START + 1, until=START + 3, statuses=(RunStatus.PAUSED,)), {"c"}),
        (RunFilter(schedule_id="d", causes=(Cause.SCHEDULE,), statuses=(RunStatus.PENDING,)), {"d"}),
        (RunFilter(schedule_id="\ud800\0"), set()),
    ],
)
async def test_filters(store: Store, clock: FakeClock, where: RunFilter, expected: set[str]) -> None:
    await register(store)
    clock.advance(ms=4)
    for order, (schedule_id, user_id) in enumerate([("a", None), ("b", "ann"), ("c", None), ("d", None)]):
        await store.insert_schedules([schedule(schedule_id, user_id=user_id)])
        await store.fire_due(firing(START + order), limit=1)
    claims = {claim.run.schedule_id: claim for claim in (await store.claim("w1", 3)).claims}
    await end(store, claims["a"], replace(LATER, retryable=False))
    await end(store, claims["b"])
    await end(store, claims["c"], PAUSED)
    await store.insert_schedules([schedule("m", user_id="ann", next_fire_at=None)])
    await store.trigger("m", triggering(manual_id(clock.now())))
    page = await store.list_runs(where, ALL)
    assert {run.schedule_id for run in page.items} == expected
    assert page.total_count == len(expected)


async def test_cursor_pages_stay_put_while_rows_arrive(store: Store) -> None:
    await fires(store, *range(START, START + 7))
    seen: list[int] = []
    totals: list[int] = []
    cursor = None
    for turn in range(10):
        page = await store.list_runs(RunFilter(), PageRequest(limit=3, cursor=cursor))
        seen += [run.fire_at - START for run in page.items]
        totals.append(page.total_count)
        await queued(store, f"new{turn}", at=START + 100 + turn)
        await store.insert_schedules([schedule(f"now{turn}", next_fire_at=START)])
        await store.fire_due(firing(START + 50 + turn), limit=5)
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [6, 5, 4, 3, 2, 1, 0]
    assert totals[0] == 7


async def test_numbered_pages(store: Store) -> None:
    await fires(store, *range(START, START + 5))
    pages = [await store.list_runs(RunFilter(), PageRequest(limit=2, page=number)) for number in (1, 2, 3, 4)]
    assert [[run.fire_at - START for run in page.items] for page in pages] == [[4, 3], [2, 1], [0], []]
    assert [page.next_cursor is None for page in pages] == [False, False, True, True]


@pytest.mark.parametrize("cursor", ["", "x", "W10", "WzFd"])
async def test_a_foreign_cursor_is_the_callers_mistake(store: Store, cursor: str) -> None:
    with pytest.raises(InvalidField) as caught:
        await store.list_runs(RunFilter(), PageRequest(cursor=cursor))
    assert caught.value.field == "cursor"


CORRUPTIONS = {"input": "{not json", "output": "'", "metrics": "[1", "cause": "whim", "reason": "whim", "status": "odd"}


@pytest.mark.parametrize("column", CORRUPTIONS)
async def test_an_unreadable_run_is_reported_and_left_out(store: Store, backend: Backend, column: str) -> None:
    await fires(store, START, START + 1, START + 2)
    bad = fire_run_id("s1", START + 1)
    await backend.execute(f"UPDATE {{prefix}}runs SET {column} = ? WHERE id = ?", CORRUPTIONS[column], bad)
    with pytest.raises(CorruptRow, match=column):
        await store.get_run(bad)
    first = await store.list_runs(RunFilter(), PageRequest(limit=2))
    assert [run.fire_at - START for run in first.items] == [2]
    assert [(fault.table, fault.row_id) for fault in first.faults] == [("runs", bad)]
    assert first.next_cursor is not None
    second = await store.list_runs(RunFilter(), PageRequest(limit=2, cursor=first.next_cursor))
    assert [run.fire_at - START for run in second.items] == [0]


async def test_accounting_counts_fires_by_what_they_became(store: Store, clock: FakeClock) -> None:
    await store.insert_schedules([schedule()])
    clock.advance(5 * 60)  # five are superseded, the newest is in time and runs, the rest is skipped
    for _ in range(4):
        await store.fire_due(plan, limit=1)
        clock.advance(60)
    run_id = manual_id(clock.now())
    await store.change_schedule("s1", lambda s, now: replace(s, overlap=Overlap.ALLOW))
    await store.trigger("s1", triggering(run_id))
    found = await store.accounting("s1", START - 1, clock.now())
    assert found == Accounting(runs=1, skipped=3, missed=5)
    assert found.total == ((await schedule_of(store)).last_fire_at or 0) // MINUTE - START // MINUTE + 1
    assert await store.accounting("s1", START + 5 * MINUTE - 1, START + 5 * MINUTE) == Accounting(runs=1)
    assert await store.accounting("s1", START + 5 * MINUTE, START + 5 * MINUTE) == Accounting()
    assert await store.accounting("nobody", 0, clock.now()) == Accounting()
    assert await store.accounting("s1", 0, 2**45) == found


async def test_pruning_takes_old_finished_runs_with_their_attempts(store: Store, clock: FakeClock) -> None:
    await settled(store, START - 2, START - 1, START)
    old = [run.id for run in await history(store)][:2]
    assert await store.prune(START, 100) == 2
    assert [run.fire_at for run in await history(store)] == [START]
    assert await store.attempts_of(old) == {run_id: [] for run_id in old}
    assert len(await store.attempts(fire_run_id("s1", START))) == 1
    assert await store.prune(START, 100) == 0


async def test_pruning_goes_in_portions_oldest_first(store: Store) -> None:
    await settled(store, *range(START - 5, START))
    assert [await store.prune(START, 2), await store.prune(START, 2)] == [2, 2]
    assert [run.fire_at for run in await history(store)] == [START - 1]
    assert [await store.prune(START, 2), await store.prune(START, 2)] == [1, 0]


async def test_pruning_leaves_active_runs_and_rows_that_reach_into_the_kept_time(
    store: Store, clock: FakeClock
) -> None:
    await fires(store, START)
    await store.change_schedule("s1", lambda s, now: replace(s, overlap=Overlap.SKIP, next_fire_at=START + MINUTE))
    for _ in range(2):
        clock.advance(60)
        await store.fire_due(plan, limit=1)
    assert await store.prune(START + 2 * MINUTE, 100) == 0
    assert await store.prune(START + 2 * MINUTE + 1, 100) == 1
    assert [run.status for run in await history(store)] == [RunStatus.PENDING]


async def test_a_deleted_schedule_goes_with_its_last_run(store: Store, backend: Backend) -> None:
    await settled(store, START - 1, START)
    await store.delete_schedule("s1")
    for before, left in ((START, 1), (START + 1, 0)):
        await store.prune(before, 100)
        assert len(await history(store)) == left
    # The tombstone is gone: nothing in the table has the id any more.
    await store.insert_schedules([schedule()])
    assert (await schedule_of(store)).version == 1


async def test_workers_that_died_long_ago_are_forgotten(store: Store, clock: FakeClock) -> None:
    await register(store)
    clock.advance(3600)
    await store.prune(0, 10)
    assert len(await store.workers()) == 1
    clock.advance(30 * 86_400)
    await store.prune(0, 10)
    assert await store.workers() == []


async def test_a_skipped_run_has_a_row_and_no_attempts(store: Store, clock: FakeClock) -> None:
    await fires(store, START)
    await store.change_schedule("s1", lambda s, now: replace(s, overlap=Overlap.SKIP, next_fire_at=START + 1))
    clock.advance(ms=1)
    fired = await store.fire_due(plan, limit=1)
    ((schedule_id, gap),) = fired.absences
    assert (schedule_id, fired.runs) == ("s1", ())
    run = await run_of(store, gap.run_id)
    assert (run.status, run.attempt, await store.attempts(run.id)) == (RunStatus.SKIPPED, 0, [])


async def test_a_last_page_that_is_full_says_that_it_is_the_last(store: Store) -> None:
    await fires(store, *range(START, START + 4))
    first = await store.list_runs(RunFilter(), PageRequest(limit=2))
    second = await store.list_runs(RunFilter(), PageRequest(limit=2, cursor=first.next_cursor))
    assert [len(first.items), len(second.items), second.next_cursor] == [2, 2, None]
