"""Agent runs that outlive a claim: let go, paused, answered, called off."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.conformance.conftest import Backend
from tests.conformance.helpers import (
    CANCELLED,
    DETACHED,
    LATER,
    MINUTE,
    PAUSED,
    START,
    SUCCESS,
    detached,
    end,
    firing,
    held,
    paused,
    queued,
    register,
    run_of,
    schedule,
    schedule_of,
)

from agentclock.core.errors import CorruptRow
from agentclock.core.ids import fire_run_id
from agentclock.core.lifecycle import settle
from agentclock.core.model import (
    Attempt,
    Claim,
    Instruction,
    InstructionKind,
    Outcome,
    OutcomeKind,
    RetryPolicy,
    RunStatus,
    Usage,
)
from agentclock.ports import Store
from agentclock.testing import FakeClock

ATTACH = Instruction(kind=InstructionKind.ATTACH)
CONTINUE = Instruction(
    kind=InstructionKind.CONTINUE, answers=[{"confirmed": True, "note": "\0 \ud800 ü"}], by="ann", why="looks fine"
)
NOT_APPROVED = Instruction(kind=InstructionKind.CANCEL, why="not approved within 60 s", ends_as=RunStatus.FAILED)
HOUR = 60 * MINUTE
LEASE = 36_000


async def claimed(store: Store, worker_id: str = "w1") -> Claim:
    (claim,) = (await store.claim(worker_id, 10)).claims
    return claim


# let go


async def test_a_run_that_is_let_go_waits_for_whoever_takes_it_up(store: Store, clock: FakeClock) -> None:
    await register(store)
    claim = await held(store)
    await store.note_agent_run(claim.run.id, claim.run.fence, "agent-1", "session-1")
    clock.advance(2)
    await end(store, claim, DETACHED)
    assert await run_of(store, claim.run.id) == replace(
        claim.run,
        status=RunStatus.PENDING,
        available_at=clock.now(),
        worker_id=None,
        instruction=ATTACH,
        agent_run_id="agent-1",
        session_id="session-1",
    )
    attempt = Attempt(run_id=claim.run.id, number=1, worker="host w1", started_at=START, agent_run_id="agent-1")
    assert await store.attempts(claim.run.id) == [attempt]


async def test_a_claim_of_it_goes_on_with_the_same_attempt(store: Store, clock: FakeClock) -> None:
    await register(store)
    await register(store, "w2")
    run = await detached(store)
    clock.advance(7)
    claim = await claimed(store, "w2")
    assert claim.elapsed_ms == 7000
    assert claim.run == replace(run, status=RunStatus.RUNNING, fence=2, worker_id="w2", worker="host w2")
    assert await run_of(store, run.id) == claim.run
    attempt = Attempt(run_id=run.id, number=1, worker="host w2", started_at=START, agent_run_id="agent-1")
    assert await store.attempts(run.id) == [attempt]
    await end(store, claim)
    done = await run_of(store, run.id)
    assert (done.status, done.attempt, done.instruction) == (RunStatus.SUCCESS, 1, None)
    assert await store.attempts(run.id) == [
        replace(attempt, status=RunStatus.SUCCESS, completed_at=clock.now(), status_code=200)
    ]


async def test_the_run_of_a_killed_worker_is_taken_up_by_another(store: Store, clock: FakeClock) -> None:
    await register(store, lease_seconds=30)
    await register(store, "w2", lease_seconds=LEASE)
    claim = await held(store)
    clock.advance(31)
    (orphan,) = await store.orphans(10)
    await end(store, orphan, DETACHED)
    clock.advance(9)
    taken = await claimed(store, "w2")
    assert (taken.run.id, taken.run.attempt, taken.run.fence) == (claim.run.id, 1, 3)
    assert (taken.run.instruction, taken.elapsed_ms) == (ATTACH, 40_000)
    assert await store.settle([settle(claim, SUCCESS, clock.now())]) == frozenset()
    await end(store, taken)


async def test_each_attempt_counts_its_own_time(store: Store, clock: FakeClock) -> None:
    await register(store, lease_seconds=LEASE)
    policy = RetryPolicy(max_retries=1, delay_seconds=60)
    await store.insert_schedules([schedule(retry=policy)])
    (first,) = (await store.fire_due(firing(START), limit=1, worker_id="w1", slots=1)).claims
    assert (first.run.attempt_started_at, first.elapsed_ms) == (START, 0)
    await end(store, first, LATER)
    clock.advance(60)
    second = await claimed(store)
    assert (second.run.started_at, second.run.attempt_started_at, second.elapsed_ms) == (START, START + MINUTE, 0)
    await end(store, second, DETACHED)
    clock.advance(5)
    assert (await claimed(store)).elapsed_ms == 5000


async def test_an_agent_is_seen_to_though_its_schedule_was_deleted(store: Store) -> None:
    await register(store)
    run = await detached(store)
    await queued(store, "other")
    for schedule_id in ("s1", "other"):
        await store.delete_schedule(schedule_id)
    claim = await claimed(store)
    assert (claim.run.id, claim.schedule.id) == (run.id, "s1")
    await end(store, claim, CANCELLED)


async def test_a_refused_connection_keeps_the_instruction(store: Store, clock: FakeClock) -> None:
    await register(store)
    run = await detached(store)
    await end(store, await claimed(store), Outcome(kind=OutcomeKind.REFUSED, error="nobody answers"))
    waiting = await run_of(store, run.id)
    assert (waiting.status, waiting.attempt, waiting.refusals) == (RunStatus.PENDING, 1, 1)
    assert (waiting.instruction, waiting.agent_run_id) == (ATTACH, "agent-1")
    assert [a.status for a in await store.attempts(run.id)] == [RunStatus.RUNNING]
    assert (await store.claim("w1", 1)).claims == ()
    clock.advance(1)
    assert (await claimed(store)).elapsed_ms == 1000


@pytest.mark.parametrize(
    "bad",
    [
        "{",
        "7",
        "null",
        '"attach"',
        '{"kind":"whim"}',
        '{"why":"x"}',
        '{"kind":"attach","by":3}',
        '{"kind":"cancel","why":["x"]}',
        '{"kind":"cancel","ends_as":"whim"}',
        '{"kind":"attach","more":1}',
    ],
)
async def test_an_instruction_that_cannot_be_read_ends_its_run_alone(
    store: Store, backend: Backend, clock: FakeClock, bad: str
) -> None:
    await register(store)
    run = await detached(store)
    good = await detached(store, "good")
    await backend.execute(f"UPDATE {{prefix}}runs SET instruction = '{bad}' WHERE schedule_id = 's1'")
    with pytest.raises(CorruptRow, match="instruction"):
        await store.get_run(run.id)
    found = await store.claim("w1", 10)
    assert [claim.run.id for claim in found.claims] == [good.id]
    assert [fault.row_id for fault in found.faults] == [run.id]
    failed = await run_of(store, run.id)
    assert (failed.status, failed.instruction) == (RunStatus.FAILED, None)


# paused


async def test_a_paused_run_is_nobodys_and_knows_when_it_is_looked_at(store: Store, clock: FakeClock) -> None:
    await register(store)
    await store.insert_schedules([schedule(approval_timeout_seconds=60)])
    (claim,) = (await store.fire_due(firing(START), limit=1, worker_id="w1", slots=1)).claims
    clock.advance(3)
    await end(store, claim, PAUSED)
    assert await run_of(store, claim.run.id) == replace(
        claim.run,
        status=RunStatus.PAUSED,
        available_at=None,
        worker_id=None,
        attempt_started_at=None,
        paused_at=clock.now(),
        review_at=clock.now() + 5000,
        approval_due_at=clock.now() + MINUTE,
        agent_run_id="agent-1",
        requirements=PAUSED.requirements,
    )
    assert [(a.status, a.completed_at) for a in await store.attempts(claim.run.id)] == [(RunStatus.PAUSED, clock.now())]
    assert (await store.claim("w1", 10)).claims == ()


async def test_an_answer_goes_on_with_the_attempt_and_its_time_anew(store: Store, clock: FakeClock) -> None:
    await register(store, lease_seconds=LEASE)
    run = await paused(store)
    clock.advance(3600)
    told = await store.instruct(run.id, CONTINUE)
    assert told == replace(
        run,
        status=RunStatus.PENDING,
        available_at=clock.now(),
        instruction=CONTINUE,
        paused_at=None,
        review_at=None,
        approval_due_at=None,
    )
    assert await run_of(store, run.id) == told
    clock.advance(2)
    claim = await claimed(store)
    assert (claim.run.instruction, claim.run.requirements) == (CONTINUE, PAUSED.requirements)
    assert (claim.run.attempt, claim.run.fence, claim.elapsed_ms) == (1, 2, 0)
    assert (claim.run.started_at, claim.run.attempt_started_at) == (START, clock.now())
    assert [(a.number, a.status, a.completed_at) for a in await store.attempts(run.id)] == [
        (1, RunStatus.RUNNING, None)
    ]


async def test_an_answer_outlives_the_worker_that_was_to_bring_it(store: Store, clock: FakeClock) -> None:
    await register(store, lease_seconds=LEASE)
    run = await paused(store)
    await store.instruct(run.id, CONTINUE)
    await end(store, await claimed(store), DETACHED)
    clock.advance(4)
    again = await claimed(store)
    assert (again.run.instruction, again.run.requirements) == (CONTINUE, PAUSED.requirements)
    assert again.elapsed_ms == 4000
    await end(store, again)
    done = await run_of(store, run.id)
    assert (done.instruction, done.requirements) == (None, None)


async def test_a_run_may_pause_again(store: Store, clock: FakeClock) -> None:
    await register(store, lease_seconds=LEASE)
    run = await paused(store)
    await store.instruct(run.id, CONTINUE)
    claim = await claimed(store)
    clock.advance(9)
    await end(store, claim, replace(PAUSED, requirements=[{"tool": "ship"}]))
    again = await run_of(store, run.id)
    assert (again.status, again.instruction, again.paused_at) == (RunStatus.PAUSED, None, clock.now())
    assert again.requirements == [{"tool": "ship"}]


async def test_only_a_paused_run_takes_an_answer(store: Store) -> None:
    await register(store)
    claim = await held(store)
    (pending,) = await queued(store, "pending")
    for run_id in (claim.run.id, pending.id, fire_run_id("nobody", 1), "no id at all \ud800"):
        assert await store.instruct(run_id, CONTINUE) is None
    run = await paused(store, "p")
    assert await store.instruct(run.id, CONTINUE) is not None
    assert await store.instruct(run.id, ATTACH) is None  # the first answer counts
    assert await run_of(store, claim.run.id) == claim.run


async def test_a_paused_run_is_looked_at_ever_more_rarely(store: Store, clock: FakeClock) -> None:
    await register(store, lease_seconds=LEASE)
    run = await paused(store)
    assert await store.paused_due(10) == []
    clock.advance(5)
    (claim,) = await store.paused_due(10)
    assert claim == Claim(run=run, schedule=await schedule_of(store))
    assert (await run_of(store, run.id)).review_at == clock.now() + 5000
    assert await store.paused_due(10) == []
    clock.advance(200)
    assert len(await store.paused_due(10)) == 1
    looked_at = await run_of(store, run.id)
    assert looked_at == replace(run, review_at=clock.now() + 20_500)


async def test_reviews_come_the_longest_due_first_in_portions(store: Store, clock: FakeClock) -> None:
    await register(store, lease_seconds=LEASE)
    runs = []
    for schedule_id in ("a", "b", "c"):
        runs.append(await paused(store, schedule_id))
        clock.advance(1)
    clock.advance(60)
    assert await store.paused_due(0) == []
    assert [claim.run.id for claim in await store.paused_due(2)] == [run.id for run in runs[:2]]
    assert [claim.run.id for claim in await store.paused_due(2)] == [runs[2].id]


async def test_each_paused_run_is_given_to_one_caller(store: Store, backend: Backend, clock: FakeClock) -> None:
    await register(store, lease_seconds=LEASE)
    runs = [await paused(store, f"s{number}") for number in range(20)]
    clock.advance(6)
    other = await backend.open() if backend.dialect == "postgres" else store
    found = await asyncio.gather(*(each.paused_due(7) for each in (store, other) * 4))
    given = [claim.run.id for claims in found for claim in claims]
    assert sorted(given) == sorted(run.id for run in runs)


@pytest.mark.parametrize(("table", "column"), [("runs", "cause"), ("schedules", "overlap")])
async def test_an_unreadable_paused_run_is_left_to_wait(
    store: Store, backend: Backend, clock: FakeClock, table: str, column: str
) -> None:
    await register(store, lease_seconds=LEASE)
    bad, good = await paused(store, "bad"), await paused(store, "good")
    key = "schedule_id" if table == "runs" else "id"
    await backend.execute(f"UPDATE {{prefix}}{table} SET {column} = 'whim' WHERE {key} = 'bad'")
    clock.advance(5)
    assert [claim.run.id for claim in await store.paused_due(10)] == [good.id]
    mended = "schedule" if table == "runs" else "skip"
    await backend.execute(f"UPDATE {{prefix}}{table} SET {column} = '{mended}' WHERE {key} = 'bad'")
    assert await run_of(store, bad.id) == replace(bad, review_at=clock.now() + MINUTE)
    clock.advance(60)
    assert {claim.run.id for claim in await store.paused_due(10)} == {bad.id, good.id}


# cancelled


async def test_a_paused_run_is_cancelled_by_reaching_its_agent(store: Store, clock: FakeClock) -> None:
    await register(store)
    run = await paused(store)
    clock.advance(1)
    assert await store.request_cancel(run.id, "ann had enough") is RunStatus.PENDING
    assert await run_of(store, run.id) == replace(
        run,
        status=RunStatus.PENDING,
        available_at=clock.now(),
        cancel_requested=True,
        instruction=Instruction(kind=InstructionKind.CANCEL, why="ann had enough"),
        paused_at=None,
        review_at=None,
        approval_due_at=None,
    )
    await end(store, await claimed(store), CANCELLED)
    assert (await run_of(store, run.id)).status is RunStatus.CANCELLED


async def test_a_run_that_was_let_go_is_cancelled_by_reaching_its_agent(store: Store) -> None:
    await register(store)
    run = await detached(store)
    assert await store.request_cancel(run.id, "ann had enough") is RunStatus.PENDING
    claim = await claimed(store)
    assert claim.run.cancel_requested
    assert claim.run.instruction == Instruction(kind=InstructionKind.CANCEL, why="ann had enough")


async def test_a_pending_run_says_why_it_was_cancelled(store: Store) -> None:
    (run,) = await queued(store, "s1")
    assert await store.request_cancel(run.id, "ann had enough \0") is RunStatus.CANCELLED
    assert await run_of(store, run.id) == replace(
        run, status=RunStatus.CANCELLED, completed_at=START, available_at=None, error="ann had enough �"
    )


async def test_a_worker_reads_which_of_its_runs_are_to_be_cancelled(store: Store) -> None:
    await register(store)
    await register(store, "w2")
    claim, other = await held(store), await held(store, "s2", "w2")
    assert await store.cancel_requests("w1") == ()
    for run in (claim.run, other.run):
        assert await store.request_cancel(run.id) is RunStatus.RUNNING
    assert await store.cancel_requests("w1") == (claim.run.id,)
    await end(store, claim)
    assert await store.cancel_requests("w1") == ()
    assert await store.cancel_requests("nobody \ud800") == ()


@pytest.mark.parametrize("outcome", [DETACHED, Outcome(kind=OutcomeKind.REFUSED, error="nobody answers")])
async def test_a_cancel_during_the_last_moment_leaves_the_agent_to_be_reached(store: Store, outcome: Outcome) -> None:
    await register(store)
    run = await detached(store)
    claim = await claimed(store)
    await store.request_cancel(run.id)
    await end(store, claim, outcome)
    after = await run_of(store, run.id)
    assert (after.status, after.instruction, after.cancel_requested) == (RunStatus.PENDING, ATTACH, True)


async def test_a_cancel_during_the_last_moment_waits_for_no_human(store: Store, clock: FakeClock) -> None:
    await register(store)
    claim = await held(store)
    await store.request_cancel(claim.run.id)
    clock.advance(1)
    await end(store, claim, PAUSED)
    run = await run_of(store, claim.run.id)
    assert (run.status, run.available_at, run.cancel_requested) == (RunStatus.PENDING, clock.now(), True)
    assert run.instruction == Instruction(kind=InstructionKind.CANCEL, why="cancelled")
    assert (run.paused_at, run.review_at, run.approval_due_at, run.worker_id) == (None, None, None, None)
    assert (await claimed(store)).run.attempt == 1


async def test_how_a_cancelled_run_ends_comes_back_as_it_was_told(store: Store) -> None:
    await register(store)
    run = await paused(store)
    await store.instruct(run.id, NOT_APPROVED)
    assert (await claimed(store)).run.instruction == NOT_APPROVED


# used up

FEW = Usage(model="small", input_tokens=10, output_tokens=2, total_tokens=12, cost=0.25)
MANY = Usage(model="large \0", input_tokens=100, output_tokens=20, total_tokens=120)


async def spent(store: Store, schedule_id: str, at: int, usage: Usage | None) -> str:
    await store.change_schedule(schedule_id, lambda s, now: replace(s, next_fire_at=START))
    (claim,) = (await store.fire_due(firing(at), limit=1, worker_id="w1", slots=1)).claims
    await end(store, claim, replace(SUCCESS, usage=usage))
    return claim.run.id


async def test_what_an_attempt_used_up_is_on_its_row(store: Store) -> None:
    await register(store)
    await store.insert_schedules([schedule(next_fire_at=None)])
    few = await spent(store, "s1", START, FEW)
    many = await spent(store, "s1", START + 1, MANY)
    silent = await spent(store, "s1", START + 2, None)
    absurd = Usage(model="m", input_tokens=10**30, output_tokens=1, cost=float("nan"))
    odd = await spent(store, "s1", START + 3, absurd)
    attempts = await store.attempts_of([few, many, silent, odd])
    assert {run_id: of[0].usage for run_id, of in attempts.items()} == {
        few: FEW,
        many: replace(MANY, model="large �"),
        silent: None,
        odd: Usage(model="m", output_tokens=1),
    }


async def test_what_was_used_up_before_a_pause_is_not_forgotten(store: Store) -> None:
    await register(store)
    claim = await held(store)
    await end(store, claim, replace(PAUSED, usage=FEW))
    await store.instruct(claim.run.id, CONTINUE)
    assert [a.usage for a in await store.attempts(claim.run.id)] == [FEW]
    await end(store, await claimed(store), Outcome(kind=OutcomeKind.LOST))
    assert [a.usage for a in await store.attempts(claim.run.id)] == [FEW]


async def test_usage_is_added_up_by_model(store: Store) -> None:
    await register(store)
    await store.insert_schedules([schedule(next_fire_at=None), schedule("s2", next_fire_at=None)])
    for at, usage in enumerate((FEW, FEW, MANY, None, Usage(output_tokens=1), Usage(model="free"))):
        await spent(store, "s1", START + at, usage)
    await spent(store, "s2", START, FEW)
    totals = await store.usage("s1", None, None)
    doubled = Usage(model="small", input_tokens=20, output_tokens=4, total_tokens=24, cost=0.5)
    assert [(total.usage, total.attempts) for total in totals[:2]] == [
        (replace(MANY, model="large �"), 1),
        (doubled, 2),
    ]
    assert {(total.usage, total.attempts) for total in totals[2:]} == {
        (Usage(output_tokens=1), 1),
        (Usage(model="free"), 1),
    }
    assert [total.attempts for total in await store.usage("s1", START + 1, START + 2)] == [1]
    assert await store.usage("s1", START + 6, None) == []
    assert await store.usage("s1", None, START) == []
    assert await store.usage("nobody \ud800", None, None) == []


# several runs at once


async def test_runs_by_id(store: Store, backend: Backend) -> None:
    a, b, bad = await queued(store, "a", "b", "bad")
    runs = {run.schedule_id: run for run in (a, b, bad)}
    await backend.execute("UPDATE {prefix}runs SET cause = 'whim' WHERE schedule_id = 'bad'")
    wanted = [run.id for run in runs.values()] + [fire_run_id("nobody", 1), "no id at all \ud800"]
    found = await store.runs_by_id(wanted)
    assert {run.schedule_id: run for run in found} == {name: runs[name] for name in ("a", "b")}
    assert await store.runs_by_id([]) == []


async def test_recent_runs_are_the_active_and_the_newest(store: Store, clock: FakeClock) -> None:
    await register(store, lease_seconds=LEASE)
    old = [await held(store, "done"), await held(store, "held")]
    await end(store, old[0])
    waiting = await paused(store, "paused")
    clock.advance(3601)
    new = await queued(store, "new-1", at=START + HOUR) + await queued(store, "new-2", at=START + HOUR + 1)
    found = await store.recent_runs(START + HOUR, 10)
    assert {run.id for run in found} == {old[1].run.id, waiting.id, *(run.id for run in new)}
    assert len(found) == 4
    assert len(await store.recent_runs(START, 10)) == 5
    assert {run.id for run in await store.recent_runs(START + HOUR, 1)} == {new[1].id}
    assert len(await store.recent_runs(START + HOUR, 3)) == 3
    assert await store.recent_runs(START, 0) == []
