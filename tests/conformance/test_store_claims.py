"""Claiming, settling, waiting and cancelling."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.conformance.conftest import Backend
from tests.conformance.helpers import (
    CANCELLED,
    LATER,
    MINUTE,
    PAUSED,
    REFUSED,
    START,
    SUCCESS,
    end,
    firing,
    held,
    history,
    queued,
    register,
    run_of,
    schedule,
    schedule_of,
)

from agentclock.core.ids import fire_run_id
from agentclock.core.lifecycle import settle
from agentclock.core.model import (
    Attempt,
    Claim,
    Outcome,
    OutcomeKind,
    Overlap,
    RetryPolicy,
    Run,
    RunStatus,
)
from agentclock.ports import Claimed, Store
from agentclock.testing import FakeClock


async def test_a_claim_takes_the_run_with_its_schedule(store: Store, clock: FakeClock) -> None:
    await register(store)
    (run,) = await queued(store, "s1")
    clock.advance(2)
    claimed = await store.claim("w1", 10)
    now = clock.now()
    expected = replace(
        run,
        status=RunStatus.RUNNING,
        attempt=1,
        fence=1,
        worker_id="w1",
        worker="host w1",
        started_at=now,
        attempt_started_at=now,
    )
    assert claimed == Claimed(claims=(Claim(run=expected, schedule=await schedule_of(store)),))
    assert await store.get_run(run.id) == expected
    assert await store.attempts(run.id) == [Attempt(run_id=run.id, number=1, worker="host w1", started_at=now)]
    assert await store.claim("w1", 10) == Claimed()


async def test_the_oldest_available_runs_go_first(store: Store) -> None:
    await register(store)
    for schedule_id, at in (("c", START - 1), ("a", START - 3), ("b", START - 2)):
        await queued(store, schedule_id, at=at)
    assert [claim.run.schedule_id for claim in (await store.claim("w1", 2)).claims] == ["a", "b"]
    assert (await store.claim("w1", 0)).claims == ()
    assert [claim.run.schedule_id for claim in (await store.claim("w1", 2)).claims] == ["c"]


async def test_runs_are_taken_when_available_and_not_before(store: Store, clock: FakeClock) -> None:
    await register(store)
    await store.insert_schedules([schedule("a"), schedule("b")])
    await store.fire_due(firing(START, available=START + 7), limit=2)
    assert await store.claim("w1", 5) == Claimed(next_available_ms=7)
    clock.advance(ms=7)
    assert len((await store.claim("w1", 1)).claims) == 1
    claimed = await store.claim("w1", 5)
    assert (len(claimed.claims), claimed.next_available_ms) == (1, None)


async def test_what_is_owed_is_run_though_the_schedule_is_disabled_by_now(store: Store) -> None:
    await register(store)
    await queued(store, "s1")
    await store.change_schedule("s1", lambda s, now: replace(s, enabled=False))
    (claim,) = (await store.claim("w1", 1)).claims
    assert not claim.schedule.enabled


async def test_a_worker_without_a_lease_claims_nothing(store: Store, clock: FakeClock) -> None:
    await queued(store, "s1")
    assert (await store.claim("stranger", 5)).claims == ()
    await register(store, lease_seconds=10)
    clock.advance(10)
    assert (await store.claim("w1", 5)).claims == ()
    assert [run.status for run in await history(store)] == [RunStatus.PENDING]


@pytest.mark.parametrize("column", ["cause", "reason"])
async def test_an_unreadable_run_fails_alone(store: Store, backend: Backend, column: str) -> None:
    await register(store)
    bad, good = await queued(store, "bad", at=START - 1) + await queued(store, "good")
    await backend.execute(f"UPDATE {{prefix}}runs SET {column} = 'whim' WHERE schedule_id = 'bad'")
    claimed = await store.claim("w1", 10)
    assert [claim.run.id for claim in claimed.claims] == [good.id]
    assert [(fault.table, fault.row_id) for fault in claimed.faults] == [("runs", bad.id)]
    mended = "'schedule'" if column == "cause" else "NULL"
    await backend.execute(f"UPDATE {{prefix}}runs SET {column} = {mended} WHERE schedule_id = 'bad'")
    failed = await run_of(store, bad.id)
    assert (failed.status, failed.completed_at) == (RunStatus.FAILED, START)
    assert failed.error is not None
    assert "whim" in failed.error


async def test_a_run_of_an_unreadable_schedule_fails_alone(store: Store, backend: Backend) -> None:
    await register(store)
    bad, good = await queued(store, "bad", at=START - 1) + await queued(store, "good")
    await backend.execute("UPDATE {prefix}schedules SET overlap = 'whim' WHERE id = 'bad'")
    claimed = await store.claim("w1", 10)
    assert [claim.run.id for claim in claimed.claims] == [good.id]
    assert len(claimed.faults) == 1
    assert (await run_of(store, bad.id)).status is RunStatus.FAILED


# settling

FULL = Outcome(
    kind=OutcomeKind.SUCCESS,
    status_code=201,
    error="none \0 really \ud800",
    agent_run_id="agent-1",
    session_id="session-1",
    input={"message": "hi \ud800 \0"},
    output=["ünï", {"deep": [None, 1.5, True]}],
    requirements=[{"only": "when paused"}],
    metrics={"tokens": 12},
)


async def test_a_settled_run_shows_its_outcome(store: Store, clock: FakeClock) -> None:
    await register(store)
    claim = await held(store)
    clock.advance(3)
    await end(store, claim, FULL)
    assert await run_of(store, claim.run.id) == replace(
        claim.run,
        status=RunStatus.SUCCESS,
        available_at=None,
        completed_at=clock.now(),
        status_code=201,
        error="none � really ?",
        agent_run_id="agent-1",
        session_id="session-1",
        input=FULL.input,
        output=FULL.output,
        metrics=FULL.metrics,
    )
    (attempt,) = await store.attempts(claim.run.id)
    assert (attempt.status, attempt.completed_at) == (RunStatus.SUCCESS, clock.now())
    assert (attempt.status_code, attempt.error, attempt.agent_run_id) == (201, "none � really ?", "agent-1")


async def test_a_paused_run_keeps_what_it_waits_for(store: Store) -> None:
    await register(store)
    claim = await held(store)
    await end(store, claim, PAUSED)
    run = await run_of(store, claim.run.id)
    assert (run.status, run.requirements, run.completed_at) == (RunStatus.PAUSED, PAUSED.requirements, None)


async def test_numbers_that_json_lacks_become_text(store: Store) -> None:
    await register(store)
    claim = await held(store)
    await end(store, claim, Outcome(kind=OutcomeKind.SUCCESS, output={"x": [float("nan"), float("-inf"), 1.0]}))
    assert (await run_of(store, claim.run.id)).output == {"x": ["nan", "-inf", 1.0]}


async def retrying(store: Store, max_retries: int = 0, delay_seconds: int = 60) -> Claim:
    await register(store, lease_seconds=36_000)
    policy = RetryPolicy(max_retries=max_retries, delay_seconds=delay_seconds)
    await store.insert_schedules([schedule(retry=policy)])
    return (await store.fire_due(firing(START), limit=1, worker_id="w1", slots=1)).claims[0]


async def test_a_retry_waits_and_is_claimed_again(store: Store, clock: FakeClock) -> None:
    first = await retrying(store, max_retries=1, delay_seconds=60)
    await end(store, first, replace(LATER, agent_run_id="agent-1", session_id="session-1"))
    waiting = await run_of(store, first.run.id)
    assert (waiting.status, waiting.available_at) == (RunStatus.PENDING, START + MINUTE)
    assert (waiting.worker_id, waiting.attempt, waiting.error) == (None, 1, "try again")
    clock.advance(60)
    (second,) = (await store.claim("w1", 1)).claims
    assert (second.run.attempt, second.run.fence, second.run.started_at) == (2, 2, START)
    assert (second.run.agent_run_id, second.run.session_id) == (None, "session-1")
    await end(store, second, replace(SUCCESS, agent_run_id="agent-2"))
    done = await run_of(store, first.run.id)
    assert (done.status, done.agent_run_id, done.session_id) == (RunStatus.SUCCESS, "agent-2", "session-1")
    assert done.error is None
    assert [(a.number, a.status, a.error) for a in await store.attempts(done.id)] == [
        (1, RunStatus.FAILED, "try again"),
        (2, RunStatus.SUCCESS, None),
    ]
    assert [a.agent_run_id for a in await store.attempts(done.id)] == ["agent-1", "agent-2"]


async def test_a_refused_connection_spends_no_attempt(store: Store, clock: FakeClock) -> None:
    first = await retrying(store)
    await end(store, first, REFUSED)
    run = await run_of(store, first.run.id)
    assert (run.status, run.attempt, run.refusals) == (RunStatus.PENDING, 0, 1)
    assert await store.attempts(run.id) == []
    clock.advance(60)
    (second,) = (await store.claim("w1", 1)).claims
    assert (second.run.attempt, second.run.fence, second.run.refusals) == (1, 2, 1)
    assert [a.number for a in await store.attempts(run.id)] == [1]


async def test_an_attempt_row_that_is_there_already_starts_afresh(
    store: Store, backend: Backend, clock: FakeClock
) -> None:
    """Say the row of a refused attempt was put back by a restore: its number is used again."""
    first = await retrying(store)
    await backend.execute("UPDATE {prefix}attempts SET worker = 'old', error = 'old', agent_run_id = 'old'")
    await backend.execute("UPDATE {prefix}runs SET status = 'pending', attempt = 0")
    clock.advance(5)
    await store.claim("w1", 1)
    assert await store.attempts(first.run.id) == [
        Attempt(run_id=first.run.id, number=1, worker="host w1", started_at=clock.now())
    ]


async def test_a_stale_token_changes_nothing(store: Store, clock: FakeClock) -> None:
    first = await retrying(store, max_retries=5, delay_seconds=0)
    await end(store, first, LATER)
    (second,) = (await store.claim("w1", 1)).claims
    stale = settle(first, SUCCESS, clock.now())
    assert await store.settle([stale]) == frozenset()
    assert not await store.note_agent_run(first.run.id, first.run.fence, "stale", None)
    assert await run_of(store, first.run.id) == second.run
    assert [a.status for a in await store.attempts(first.run.id)] == [RunStatus.FAILED, RunStatus.RUNNING]
    await end(store, second)
    assert await store.settle([settle(second, LATER, clock.now())]) == frozenset()
    assert (await run_of(store, first.run.id)).status is RunStatus.SUCCESS


async def test_a_batch_settles_what_it_may(store: Store, clock: FakeClock) -> None:
    await register(store)
    await queued(store, "a", "b", "c")
    claims = (await store.claim("w1", 3)).claims
    now = clock.now()
    a, b, c = [settle(claim, SUCCESS, now) for claim in claims]
    assert await store.settle([]) == frozenset()
    assert await store.settle([a, replace(b, fence=99), replace(c, run_id=fire_run_id("x", 1)), a]) == {a.run_id}
    assert [(await run_of(store, claim.run.id)).status for claim in claims] == [
        RunStatus.SUCCESS,
        RunStatus.RUNNING,
        RunStatus.RUNNING,
    ]


async def test_the_targets_own_ids_are_stored_at_once(store: Store) -> None:
    await register(store)
    claim = await held(store)
    assert await store.note_agent_run(claim.run.id, claim.run.fence, "agent-1", "session-1")
    assert await store.note_agent_run(claim.run.id, claim.run.fence, "agent-2", None)
    run = await run_of(store, claim.run.id)
    assert (run.agent_run_id, run.session_id) == ("agent-2", "session-1")
    assert [a.agent_run_id for a in await store.attempts(run.id)] == ["agent-2"]
    await end(store, claim)
    assert not await store.note_agent_run(claim.run.id, claim.run.fence, "agent-3", None)


# waiting runs


async def waiting_behind(store: Store, *fires: int) -> tuple[Claim, list[Run]]:
    """A running run at START and waiting ones behind it."""
    await register(store, lease_seconds=36_000)
    await store.insert_schedules([schedule(overlap=Overlap.QUEUE)])
    first = await store.fire_due(firing(START, again_at=START), limit=1, worker_id="w1", slots=1)
    waiting = await store.fire_due(firing(*fires, available=None), limit=1)
    return first.claims[0], sorted(waiting.runs, key=lambda run: run.id)


async def test_waiting_runs_go_one_after_another(store: Store, clock: FakeClock) -> None:
    claim, waiting = await waiting_behind(store, START + 2, START + 1)
    for run in waiting:
        assert (await store.claim("w1", 5)).claims == ()
        clock.advance(1)
        await end(store, claim)
        (claim,) = (await store.claim("w1", 5)).claims
        assert (claim.run.id, claim.run.available_at) == (run.id, clock.now())
    await end(store, claim)
    assert await store.release_waiting() == 0


async def test_a_retry_or_a_pause_keeps_the_others_waiting(store: Store, clock: FakeClock) -> None:
    claim, (run,) = await waiting_behind(store, START + 1)
    await end(store, claim, REFUSED)
    assert (await run_of(store, run.id)).available_at is None
    clock.advance(60)
    (claim,) = (await store.claim("w1", 5)).claims
    await end(store, claim, PAUSED)
    assert (await run_of(store, run.id)).available_at is None
    assert await store.request_cancel(claim.run.id) is RunStatus.PENDING
    assert (await run_of(store, run.id)).available_at is None
    (claim,) = (await store.claim("w1", 5)).claims
    await end(store, claim, CANCELLED)
    assert (await run_of(store, run.id)).available_at == clock.now()


async def test_the_keeper_frees_what_nobody_else_did(store: Store, backend: Backend, clock: FakeClock) -> None:
    _, (first, second) = await waiting_behind(store, START + 1, START + 2)
    await queued(store, "elsewhere")
    await backend.execute("UPDATE {prefix}runs SET status = 'failed' WHERE status = 'running'")
    clock.advance(5)
    assert await store.release_waiting() == 1
    assert (await run_of(store, first.id)).available_at == clock.now()
    assert (await run_of(store, second.id)).available_at is None
    assert await store.release_waiting() == 0


# cancelling


async def test_a_pending_run_is_cancelled_at_once(store: Store) -> None:
    (run,) = await queued(store, "s1")
    assert await store.request_cancel(run.id) is RunStatus.CANCELLED
    cancelled = await run_of(store, run.id)
    assert (cancelled.status, cancelled.completed_at, cancelled.error) == (RunStatus.CANCELLED, START, "cancelled")
    assert await store.request_cancel(run.id, "again") is RunStatus.CANCELLED
    assert await run_of(store, run.id) == cancelled
    assert await store.request_cancel(fire_run_id("nobody", 1)) is None
    assert await store.request_cancel("no id at all \ud800") is None


async def test_a_running_run_is_marked_for_its_worker(store: Store) -> None:
    await register(store)
    claim = await held(store)
    other = await held(store, "s2")
    assert (await store.renew_lease("w1", 30)).cancel_requested == ()
    assert await store.request_cancel(claim.run.id) is RunStatus.RUNNING
    assert (await store.renew_lease("w1", 30)).cancel_requested == (claim.run.id,)
    await end(store, claim)
    assert (await store.renew_lease("w1", 30)).cancel_requested == ()
    assert await store.request_cancel(claim.run.id) is RunStatus.SUCCESS
    assert not (await run_of(store, other.run.id)).cancel_requested


async def test_a_cancel_that_comes_during_the_last_moment_prevents_the_retry(store: Store, clock: FakeClock) -> None:
    """The worker's claim does not know of the cancel yet, so it settles for another attempt."""
    claim = await retrying(store, max_retries=3)
    await store.request_cancel(claim.run.id)
    clock.advance(1)
    await end(store, claim, LATER)
    run = await run_of(store, claim.run.id)
    assert (run.status, run.completed_at, run.available_at) == (RunStatus.CANCELLED, clock.now(), None)
