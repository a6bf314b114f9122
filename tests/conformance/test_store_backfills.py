"""Fires of the past, run on request: a line of their own that is in nobody's way."""

from __future__ import annotations

from typing import Any

import pytest
from tests.conformance.conftest import Backend
from tests.conformance.helpers import (
    MINUTE,
    PAUSED,
    REFUSED,
    START,
    SUCCESS,
    end,
    firing,
    history,
    manual_id,
    register,
    run_of,
    schedule,
    schedule_of,
    triggering,
)

from agentclock.core.backfills import Backfill, Existing
from agentclock.core.errors import NotFound
from agentclock.core.ids import backfill_run_id, fire_run_id
from agentclock.core.lifecycle import settle
from agentclock.core.model import Cause, Claim, Instant, Overlap, Reason, Run, RunStatus, Schedule
from agentclock.core.planning import Fire, Plan, Situation, plan
from agentclock.ports import Store
from agentclock.testing import FakeClock

PAST = START - 1000 * MINUTE


def backfill(number: int = 1, **fields: Any) -> Backfill:
    given: dict[str, Any] = {"from_at": PAST, "until_at": START, "created_at": START + number}
    return Backfill(id=f"b{number}", **({"schedule_id": "s1"} | given | fields))


def past_runs(count: int, schedule_id: str = "s1", number: int = 1, first: Instant = PAST) -> list[Run]:
    return [
        Run(
            id=backfill_run_id(schedule_id, fire_at, number),
            schedule_id=schedule_id,
            user_id="ann",
            cause=Cause.BACKFILL,
            fire_at=fire_at,
            created_at=START + number,
        )
        for fire_at in range(first, first + count * MINUTE, MINUTE)
    ]


@pytest.fixture
async def worker(store: Store) -> str:
    await store.insert_schedules([schedule(user_id="ann")])
    return await register(store, lease_seconds=10**6)


async def claimed(store: Store, limit: int = 100) -> list[Claim]:
    return list((await store.claim("w1", limit)).claims)


async def statuses(store: Store, schedule_id: str = "s1") -> list[str]:
    """Oldest fire first; `waits` for those that wait."""
    return [
        "waits" if run.status is RunStatus.PENDING and run.available_at is None else run.status.value
        for run in await history(store, schedule_id)
    ]


async def test_a_backfill_is_kept_as_it_was_made(store: Store, worker: str) -> None:
    first = backfill(existing=Existing.FAILED, concurrency=3, by="ann")
    assert await store.insert_backfill(first, past_runs(5)) == 5
    assert await store.insert_backfill(backfill(2), past_runs(7)) == 2
    assert await store.insert_backfill(backfill(3), []) == 0
    newest, again, found = await store.backfills("s1")
    assert (found.existing, found.concurrency, found.fires, found.by) == (Existing.FAILED, 3, 5, "ann")
    assert (found.from_at, found.until_at, found.created_at) == (PAST, START, START + 1)
    assert (again.fires, newest.fires, newest.by, newest.cancelled_at) == (2, 0, None, None)
    assert await store.backfills("nobody") == []
    stored = await run_of(store, past_runs(2)[1].id)
    assert (stored.cause, stored.user_id, stored.fire_at, stored.created_at) == (
        Cause.BACKFILL,
        "ann",
        PAST + MINUTE,
        START + 1,
    )


async def test_a_backfill_of_nothing_is_refused(store: Store, worker: str) -> None:
    with pytest.raises(NotFound):
        await store.insert_backfill(backfill(schedule_id="nobody"), past_runs(1, "nobody"))
    await store.delete_schedule("s1")
    with pytest.raises(NotFound):
        await store.insert_backfill(backfill(), past_runs(1))
    assert await store.cancel_backfill("b1") is None
    assert await store.backfills("s1") == []


async def test_so_many_go_at_a_time_oldest_first(store: Store, worker: str, clock: FakeClock) -> None:
    await store.insert_backfill(backfill(concurrency=2), past_runs(5))
    assert await statuses(store) == ["pending", "pending", "waits", "waits", "waits"]
    first, second = await claimed(store)
    assert (first.run.fire_at, second.run.fire_at) == (PAST, PAST + MINUTE)
    assert await claimed(store) == []
    clock.advance(1)
    await end(store, second)
    (third,) = await claimed(store)
    assert (third.run.fire_at, third.run.available_at) == (PAST + 2 * MINUTE, clock.now())
    await store.settle([settle(claim, SUCCESS, clock.now()) for claim in (first, third)])
    assert [claim.run.fire_at for claim in await claimed(store)] == [PAST + 3 * MINUTE, PAST + 4 * MINUTE]
    assert await store.release_waiting() == 0


async def test_what_is_not_over_keeps_its_place(store: Store, worker: str, clock: FakeClock) -> None:
    await store.insert_backfill(backfill(), past_runs(3))
    (claim,) = await claimed(store)
    await end(store, claim, REFUSED)
    assert await statuses(store) == ["pending", "waits", "waits"]
    clock.advance(60)
    (claim,) = await claimed(store)
    await end(store, claim, PAUSED)
    assert await statuses(store) == ["paused", "waits", "waits"]
    assert await store.release_waiting() == 0


async def test_a_cancelled_run_makes_room(store: Store, worker: str) -> None:
    runs = past_runs(3)
    await store.insert_backfill(backfill(), runs)
    assert await store.request_cancel(runs[1].id) is RunStatus.CANCELLED
    assert await store.request_cancel(runs[0].id) is RunStatus.CANCELLED
    assert await statuses(store) == ["cancelled", "cancelled", "pending"]


async def test_an_unreadable_run_makes_room(store: Store, backend: Backend, worker: str) -> None:
    runs = past_runs(2)
    await store.insert_backfill(backfill(), runs)
    await backend.execute("UPDATE {prefix}runs SET output = '{' WHERE available_at IS NOT NULL")
    assert await claimed(store) == []
    assert [claim.run.id for claim in await claimed(store)] == [runs[1].id]


async def test_of_several_backfills_the_newest_says_how_many(store: Store, worker: str) -> None:
    await store.insert_backfill(backfill(concurrency=1), past_runs(6))
    await store.insert_backfill(backfill(2, concurrency=3), past_runs(1, number=2))
    assert (await statuses(store)).count("pending") == 3
    await store.insert_schedules([schedule("s2", next_fire_at=None)])
    await store.insert_backfill(backfill(3, schedule_id="s2"), past_runs(2, "s2"))
    assert await statuses(store, "s2") == ["pending", "waits"]
    assert (await statuses(store)).count("pending") == 3


async def test_the_keeper_lets_go_what_nobody_else_did(store: Store, backend: Backend, worker: str) -> None:
    await store.insert_backfill(backfill(concurrency=2), past_runs(4))
    await store.insert_schedules([schedule("s2", next_fire_at=None)])
    await store.insert_backfill(backfill(2, schedule_id="s2"), past_runs(2, "s2"))
    await backend.execute("UPDATE {prefix}runs SET available_at = NULL")
    assert await store.release_waiting() == 3
    assert await statuses(store) == ["pending", "pending", "waits", "waits"]
    assert await statuses(store, "s2") == ["pending", "waits"]
    assert await store.release_waiting() == 0


# beside the schedule's other runs


async def test_a_backfill_is_in_no_fires_way(store: Store, worker: str) -> None:
    seen: list[Situation] = []

    def looking(schedule: Schedule, situation: Situation, now: Instant) -> Plan:
        seen.append(situation)
        return plan(schedule, situation, now)

    await store.insert_backfill(backfill(concurrency=2), past_runs(5))
    (claim, _) = await claimed(store)
    await end(store, claim, PAUSED)
    fired = await store.fire_due(looking, limit=1)
    assert seen == [Situation()]
    assert [run.available_at for run in fired.runs] == [START]


async def test_the_newest_row_of_the_timetable_is_extended_over_a_backfill(
    store: Store, worker: str, clock: FakeClock
) -> None:
    """Fires that were skipped, and then run after all: the row that counts them goes on."""
    await store.fire_due(plan, limit=1)
    clock.advance(60)
    await store.fire_due(plan, limit=1)
    await store.insert_backfill(backfill(), past_runs(1, first=START + MINUTE))
    clock.advance(60)
    await store.fire_due(plan, limit=1)
    skipped = await run_of(store, fire_run_id("s1", START + MINUTE))
    assert (skipped.reason, skipped.fire_count, skipped.last_fire_at) == (Reason.OVERLAP, 2, START + 2 * MINUTE)


async def test_waiting_runs_and_backfills_do_not_wait_for_each_other(store: Store, clock: FakeClock) -> None:
    await register(store, lease_seconds=10**6)
    await store.insert_schedules([schedule(overlap=Overlap.QUEUE)])
    (running,) = (await store.fire_due(firing(START, again_at=START), limit=1, worker_id="w1", slots=1)).claims
    await store.fire_due(firing(START + 1, available=None), limit=1)
    await store.insert_backfill(backfill(), past_runs(3))
    assert await statuses(store) == ["pending", "waits", "waits", "running", "waits"]
    (of_backfill,) = await claimed(store)
    await end(store, of_backfill)
    assert await statuses(store) == ["success", "pending", "waits", "running", "waits"]
    await end(store, running)
    assert await statuses(store) == ["success", "pending", "waits", "success", "pending"]


async def test_a_newer_fire_replaces_no_backfill(store: Store) -> None:
    await register(store, lease_seconds=10**6)
    await store.insert_schedules([schedule(overlap=Overlap.CANCEL)])
    await store.fire_due(firing(START, again_at=START), limit=1)
    await store.insert_backfill(backfill(), past_runs(2))
    await store.fire_due(firing(START + 1, cancel=True), limit=1)
    assert await statuses(store) == ["pending", "waits", "cancelled", "pending"]


async def test_a_trigger_does_not_see_a_backfill(store: Store, worker: str) -> None:
    await store.insert_backfill(backfill(), past_runs(2))
    run = (await store.trigger("s1", triggering(manual_id(START)))).run
    assert (run.status, run.available_at) == (RunStatus.PENDING, START)


async def test_deleting_the_schedule_ends_its_backfill(store: Store, worker: str) -> None:
    await store.insert_backfill(backfill(concurrency=2), past_runs(4))
    (claim,) = await claimed(store, 1)
    await store.delete_schedule("s1")
    assert await statuses(store) == ["running", "cancelled", "cancelled", "cancelled"]
    await end(store, claim)
    assert await claimed(store) == []


async def test_backfills_are_no_part_of_the_accounts(store: Store, worker: str) -> None:
    await store.insert_backfill(backfill(), past_runs(3))
    await store.fire_due(plan, limit=1)
    found = await store.accounting("s1", PAST - 1, START)
    assert (found.runs, found.total, found.across) == (1, 1, ())


# cancelling


async def test_a_backfill_can_be_cancelled(store: Store, worker: str, clock: FakeClock) -> None:
    runs = past_runs(5)
    await store.insert_backfill(backfill(concurrency=3), runs)
    done, running, paused = await claimed(store)
    await end(store, done)
    await end(store, paused, PAUSED)
    await store.insert_backfill(backfill(2), past_runs(1, number=2))
    clock.advance(5)
    assert await store.cancel_backfill("b1") == 4
    # Of the same fires, but another backfill's: it goes on when it has room.
    (other,) = past_runs(1, number=2)
    assert (await run_of(store, other.id)).status is RunStatus.PENDING
    assert (await store.renew_lease("w1", 30)).cancel_requested == (running.run.id,)
    assert (await run_of(store, paused.run.id)).instruction is not None
    cancelled = await run_of(store, runs[4].id)
    assert (cancelled.completed_at, cancelled.error) == (clock.now(), "cancelled: its backfill was cancelled")
    _, kept = await store.backfills("s1")
    assert kept.cancelled_at == clock.now()
    states = {RunStatus.SUCCESS: 1, RunStatus.RUNNING: 1, RunStatus.PENDING: 1, RunStatus.CANCELLED: 2}
    assert await store.backfill_states(kept) == states
    clock.advance(5)
    assert await store.cancel_backfill("b1") == 2
    assert (await store.backfills("s1"))[1].cancelled_at == clock.now() - 5000


async def test_an_unreadable_backfill_is_left_out(store: Store, backend: Backend, worker: str) -> None:
    await store.insert_backfill(backfill(), past_runs(1))
    await store.insert_backfill(backfill(2), [])
    await backend.execute("UPDATE {prefix}backfills SET existing = 'whim' WHERE id = 'b1'")
    assert [one.id for one in await store.backfills("s1")] == ["b2"]


async def test_old_backfills_are_forgotten_with_their_runs(store: Store, worker: str, clock: FakeClock) -> None:
    await store.insert_backfill(backfill(), past_runs(1))
    await store.insert_backfill(backfill(2, created_at=START + 10 * MINUTE), [])
    (claim,) = await claimed(store)
    await store.prune(START + MINUTE, 100)
    assert len(await store.backfills("s1")) == 2
    await end(store, claim)
    assert await store.prune(START + MINUTE, 100) == 1
    assert [one.id for one in await store.backfills("s1")] == ["b2"]
    await store.delete_schedule("s1")
    await store.prune(START + MINUTE, 100)
    assert await store.backfills("s1") == []


# what is caught up


async def test_what_is_caught_up_keeps_its_distance(store: Store, clock: FakeClock) -> None:
    await register(store, lease_seconds=10**6)
    await store.insert_schedules([schedule(catch_up_stagger_seconds=7)])

    def line(schedule: Schedule, situation: Situation, now: Instant) -> Plan:
        causes = [Cause.CATCH_UP, Cause.CATCH_UP, Cause.SCHEDULE]
        return Plan(
            schedule_id=schedule.id,
            fires=tuple(
                Fire(
                    run_id=fire_run_id(schedule.id, START + place),
                    fire_at=START + place,
                    cause=cause,
                    available_at=None if place else START,
                )
                for place, cause in enumerate(causes)
            ),
        )

    await store.fire_due(line, limit=1)
    (claim,) = await claimed(store)
    clock.advance(1)
    await end(store, claim)
    assert await claimed(store) == []
    clock.advance(7)
    (claim,) = await claimed(store)
    assert (claim.run.fire_at, claim.run.available_at) == (START + 1, START + 8000)
    await end(store, claim)
    (last,) = await claimed(store)
    assert (last.run.fire_at, last.run.available_at) == (START + 2, START + 8000)
    assert (await schedule_of(store)).catch_up_stagger_seconds == 7
