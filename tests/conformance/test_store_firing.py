"""From due schedules to runs, absences and advanced schedules, in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from tests.conformance.helpers import (
    CANCELLED,
    MINUTE,
    PAUSED,
    START,
    detached,
    end,
    firing,
    held,
    history,
    manual_id,
    nothing,
    paused,
    register,
    run_of,
    schedule,
    schedule_of,
    triggering,
)

from agentclock.core.ids import fire_run_id
from agentclock.core.model import (
    CatchUp,
    Cause,
    Instruction,
    InstructionKind,
    Overlap,
    Reason,
    Run,
    RunStatus,
    Schedule,
)
from agentclock.core.planning import Plan, Situation, plan
from agentclock.ports import Fired, Store
from agentclock.testing import FakeClock


async def fire(store: Store, clock: FakeClock, minutes: int = 1) -> list[Fired]:
    """Lets minutes pass and plans after each."""
    answers = []
    for _ in range(minutes):
        clock.advance(60)
        answers.append(await store.fire_due(plan, limit=10))
    return answers


async def test_a_due_schedule_fires_and_advances(store: Store) -> None:
    await store.insert_schedules([schedule(user_id="ann")])
    fired = await store.fire_due(plan, limit=10)
    expected = Run(
        id=fire_run_id("s1", START),
        schedule_id="s1",
        user_id="ann",
        cause=Cause.SCHEDULE,
        fire_at=START,
        available_at=START,
        created_at=START,
    )
    assert fired.schedules == {"s1": schedule(user_id="ann")}
    assert fired == Fired(planned=1, runs=(expected,), schedules=fired.schedules, next_due_ms=MINUTE)
    assert await store.get_run(expected.id) == expected
    after = await schedule_of(store)
    assert after == schedule(user_id="ann", next_fire_at=START + MINUTE, last_fire_at=START, run_count=1)
    assert await store.attempts(expected.id) == []


async def test_only_what_is_due_enabled_and_there_is_planned(store: Store, clock: FakeClock) -> None:
    await store.insert_schedules(
        [
            schedule("due"),
            schedule("later", next_fire_at=START + 1),
            schedule("off", enabled=False),
            schedule("on demand", next_fire_at=None),
        ]
    )
    seen: list[tuple[str, Situation, int]] = []

    def look(found: Schedule, situation: Situation, now: int) -> Plan:
        seen.append((found.id, situation, now))
        return nothing(found, situation, now)

    fired = await store.fire_due(look, limit=10)
    assert seen == [("due", Situation(), START)]
    assert (fired.planned, fired.next_due_ms) == (1, 1)
    clock.advance(ms=1)
    await store.fire_due(look, limit=10)
    assert [found for found, _, _ in seen] == ["due", "later"]


async def test_the_longest_overdue_come_first_and_the_limit_holds(store: Store) -> None:
    await store.insert_schedules([schedule(f"s{late}", next_fire_at=START - late) for late in (1, 3, 2)])
    seen: list[str] = []

    def look(found: Schedule, situation: Situation, now: int) -> Plan:
        seen.append(found.id)
        return nothing(found, situation, now)

    fired = await store.fire_due(look, limit=2)
    assert (sorted(seen), fired.next_due_ms) == (["s2", "s3"], -1)


async def test_nothing_to_do(store: Store) -> None:
    assert await store.fire_due(plan, limit=10) == Fired()
    await store.insert_schedules([schedule(next_fire_at=START + 5)])
    assert await store.fire_due(plan, limit=10) == Fired(next_due_ms=5)


async def test_a_fire_that_has_its_run_already_makes_no_second(store: Store) -> None:
    """Whatever brought the schedule's next_fire_at back: the run's id is the guard."""
    await store.insert_schedules([schedule(overlap=Overlap.ALLOW)])
    first = await store.fire_due(plan, limit=10)
    await store.change_schedule("s1", lambda s, now: replace(s, next_fire_at=START, last_fire_at=None))
    again = await store.fire_due(plan, limit=10)
    assert (len(first.runs), again.runs, again.planned) == (1, (), 1)
    assert [run.id for run in await history(store)] == [first.runs[0].id]
    assert (await schedule_of(store)).next_fire_at == START + MINUTE


# runs claimed as they are made


async def test_free_slots_take_new_runs_at_once(store: Store) -> None:
    await register(store)
    await store.insert_schedules([schedule(f"s{number}") for number in range(3)])
    fired = await store.fire_due(plan, limit=10, worker_id="w1", slots=2)
    assert (len(fired.runs), len(fired.claims)) == (3, 2)
    for claim in fired.claims:
        run = claim.run
        assert claim.schedule == await schedule_of(store, run.schedule_id)
        assert claim.schedule.next_fire_at == START + MINUTE
        assert await store.get_run(run.id) == run
        assert (run.status, run.attempt, run.fence) == (RunStatus.RUNNING, 1, 1)
        assert (run.worker_id, run.worker, run.started_at) == ("w1", "host w1", START)
        (attempt,) = await store.attempts(run.id)
        assert (attempt.number, attempt.status, attempt.worker) == (1, RunStatus.RUNNING, "host w1")
        assert attempt.started_at == START
    (left,) = (await store.claim("w1", 10)).claims
    assert left.run.id not in {claim.run.id for claim in fired.claims}
    for claim in fired.claims:
        await end(store, claim)


async def test_runs_that_may_not_start_yet_are_not_taken(store: Store) -> None:
    await register(store)
    await store.insert_schedules([schedule("spread"), schedule("waits")])

    def some(found: Schedule, situation: Situation, now: int) -> Plan:
        available = START + 1 if found.id == "spread" else None
        return firing(START, available=available)(found, situation, now)

    fired = await store.fire_due(some, limit=10, worker_id="w1", slots=5)
    assert (len(fired.runs), fired.claims) == (2, ())


async def test_a_worker_without_a_lease_takes_nothing(store: Store, clock: FakeClock) -> None:
    await store.insert_schedules([schedule("a"), schedule("b", next_fire_at=START + 31_000)])
    fired = await store.fire_due(firing(START), limit=10, worker_id="stranger", slots=5)
    assert (len(fired.runs), fired.claims) == (1, ())
    await register(store, lease_seconds=30)
    clock.advance(31)
    fired = await store.fire_due(firing(clock.now()), limit=10, worker_id="w1", slots=5)
    assert (len(fired.runs), fired.claims) == (1, ())


# overlap


async def test_the_situation_counts_runs_by_what_they_wait_for(store: Store) -> None:
    await register(store)
    await store.insert_schedules([schedule(next_fire_at=START)])
    fires = [START, START + 1, START + 2, START + 3]
    await store.fire_due(firing(*fires[:3], again_at=START), limit=1, worker_id="w1", slots=3)
    claims = (await store.claim("w1", 1)).claims
    assert claims == ()
    seen: list[Situation] = []

    def look(found: Schedule, situation: Situation, now: int) -> Plan:
        seen.append(situation)
        return firing(fires[3], available=None, again_at=START)(found, situation, now)

    running = [await run_of(store, run.id) for run in await history(store)]
    assert [run.status for run in running] == [RunStatus.RUNNING] * 3
    await store.fire_due(look, limit=1)
    await store.fire_due(look, limit=1)
    assert seen == [Situation(active=3), Situation(active=4, waiting=1)]


async def test_a_paused_run_is_active(store: Store, clock: FakeClock) -> None:
    await register(store)
    await end(store, await held(store), PAUSED)
    await store.change_schedule("s1", lambda s, now: replace(s, next_fire_at=START + MINUTE))
    (fired,) = await fire(store, clock)
    (skipped,) = [gap for _, gap in fired.absences]
    assert (skipped.status, skipped.reason) == (RunStatus.SKIPPED, Reason.OVERLAP)


async def test_overlap_queue_lets_one_wait_and_lets_it_go(store: Store, clock: FakeClock) -> None:
    await register(store, lease_seconds=3600)
    await store.insert_schedules([schedule(overlap=Overlap.QUEUE)])
    (first,) = (await store.fire_due(plan, limit=1, worker_id="w1", slots=1)).claims
    second, third = await fire(store, clock, 2)
    (waiting,) = second.runs
    assert waiting.available_at is None
    assert [(s, gap.reason) for s, gap in third.absences] == [("s1", Reason.QUEUE_FULL)]
    assert (await store.claim("w1", 5)).claims == ()
    assert await store.release_waiting() == 0
    await end(store, first)
    (claim,) = (await store.claim("w1", 5)).claims
    assert (claim.run.id, claim.run.available_at) == (waiting.id, clock.now())


async def test_overlap_cancel_ends_what_waits_and_marks_what_runs(store: Store, clock: FakeClock) -> None:
    await register(store, lease_seconds=3600)
    await store.insert_schedules([schedule(overlap=Overlap.CANCEL), schedule("other")])
    fired = await store.fire_due(plan, limit=2, worker_id="w1", slots=2)
    first = next(claim for claim in fired.claims if claim.run.schedule_id == "s1")
    other = next(claim for claim in fired.claims if claim.run.schedule_id == "other")
    (second,) = (await fire(store, clock))[0].runs[:1]
    assert second.schedule_id == "s1"
    assert second.available_at is None
    assert (await run_of(store, first.run.id)).cancel_requested
    assert not (await run_of(store, other.run.id)).cancel_requested
    assert set((await store.renew_lease("w1", 3600)).cancel_requested) == {first.run.id}
    third = next(run for run in (await fire(store, clock))[0].runs if run.schedule_id == "s1")
    replaced = await run_of(store, second.id)
    assert (replaced.status, replaced.completed_at) == (RunStatus.CANCELLED, clock.now())
    assert third.available_at is None
    await end(store, first)
    assert (await run_of(store, third.id)).available_at == clock.now()


async def test_overlap_cancel_of_what_does_not_run_starts_at_once(store: Store, clock: FakeClock) -> None:
    await register(store, lease_seconds=3600)
    await store.insert_schedules([schedule(overlap=Overlap.CANCEL)])
    (first,) = (await store.fire_due(plan, limit=1)).runs
    clock.advance(60)
    fired = await store.fire_due(plan, limit=1, worker_id="w1", slots=1)
    (claim,) = fired.claims
    assert (claim.run.available_at, claim.run.status) == (clock.now(), RunStatus.RUNNING)
    assert (await run_of(store, first.id)).status is RunStatus.CANCELLED


@pytest.mark.parametrize("unwatched", [paused, detached])
async def test_overlap_cancel_has_an_unwatched_agent_stopped_before_the_next_run(
    store: Store, clock: FakeClock, unwatched: Callable[[Store], Awaitable[Run]]
) -> None:
    await register(store, lease_seconds=3600)
    run = await unwatched(store)
    due = START + MINUTE
    await store.change_schedule("s1", lambda s, now: replace(s, overlap=Overlap.CANCEL, next_fire_at=due))
    (fired,) = await fire(store, clock)
    assert [run.available_at for run in fired.runs] == [None]
    (claim,) = (await store.claim("w1", 5)).claims
    assert (claim.run.id, claim.run.attempt, claim.run.cancel_requested) == (run.id, 1, False)
    why = "cancelled: a newer fire of the schedule replaced it"
    assert claim.run.instruction == Instruction(kind=InstructionKind.CANCEL, why=why)
    await end(store, claim, CANCELLED)
    assert [claim.run.id for claim in (await store.claim("w1", 5)).claims] == [run.id for run in fired.runs]


# absences


async def test_skipped_fires_share_one_row_across_plans(store: Store, clock: FakeClock) -> None:
    await store.insert_schedules([schedule()])
    await store.fire_due(plan, limit=1)
    answers = await fire(store, clock, 3)
    run, skipped = await history(store)
    assert run.status is RunStatus.PENDING
    assert skipped == Run(
        id=fire_run_id("s1", START + MINUTE),
        schedule_id="s1",
        cause=Cause.SCHEDULE,
        fire_at=START + MINUTE,
        last_fire_at=START + 3 * MINUTE,
        fire_count=3,
        status=RunStatus.SKIPPED,
        reason=Reason.OVERLAP,
        created_at=START + MINUTE,
        completed_at=START + 3 * MINUTE,
    )
    assert [[gap.extends for _, gap in answer.absences] for answer in answers] == [[None], [skipped.id], [skipped.id]]
    assert (await schedule_of(store)).last_fire_at == START + 3 * MINUTE


async def test_another_reason_or_a_run_between_starts_a_new_row(store: Store, clock: FakeClock) -> None:
    await store.insert_schedules([schedule(overlap=Overlap.SKIP, catch_up=CatchUp.NONE)])
    clock.advance(150)  # two fires beyond the grace, one within
    await store.fire_due(plan, limit=1)
    await fire(store, clock, 2)
    rows = [(row.status, row.reason, row.fire_count) for row in await history(store)]
    assert rows == [
        (RunStatus.MISSED, Reason.CATCH_UP_NONE, 2),
        (RunStatus.PENDING, None, 1),
        (RunStatus.SKIPPED, Reason.OVERLAP, 2),
    ]


async def test_a_skipped_manual_run_is_never_extended(store: Store, clock: FakeClock) -> None:
    await store.insert_schedules([schedule()])
    await store.fire_due(plan, limit=1)
    await fire(store, clock)
    clock.advance(1)
    run_id = manual_id(clock.now())
    refused = (await store.trigger("s1", triggering(run_id))).run
    assert (refused.id, refused.status, refused.cause) == (run_id, RunStatus.SKIPPED, Cause.MANUAL)
    await fire(store, clock, 2)
    rows = [(row.cause, row.status, row.fire_count) for row in await history(store)]
    assert rows[1:] == [
        (Cause.SCHEDULE, RunStatus.SKIPPED, 1),
        (Cause.MANUAL, RunStatus.SKIPPED, 1),
        (Cause.SCHEDULE, RunStatus.SKIPPED, 2),
    ]


async def test_a_month_of_outage_is_a_row_for_each_reason(store: Store, clock: FakeClock) -> None:
    """The backlog is longer than one plan looks at: absences coalesce across plans."""
    await store.insert_schedules([schedule(catch_up=CatchUp.NONE)])
    clock.advance(43_200 * 60 - 1)
    plans = 0
    while (await store.fire_due(plan, limit=1)).planned:
        plans += 1
    assert plans == 3
    rows = await history(store)
    assert [(row.reason, row.fire_count) for row in rows] == [
        (Reason.OUTSIDE_WINDOW, 43_200 - 1440),
        (Reason.CATCH_UP_NONE, 1439),
        (None, 1),
    ]
    assert (await store.accounting("s1", START - 1, clock.now())).total == 43_200
