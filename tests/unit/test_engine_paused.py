"""Paused runs in the engine: humans who answer here, elsewhere, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import structlog
from tests.rig import LEASE_SECONDS, Rig, add, only

from agentclock.core.errors import StoreUnavailable
from agentclock.core.events import RunChanged
from agentclock.core.model import (
    SECOND,
    ApprovalAction,
    Claim,
    Instruction,
    InstructionKind,
    Outcome,
    OutcomeKind,
    RetryPolicy,
    RunStatus,
)
from agentclock.engine.reviewer import CONCURRENCY, EVERY_SECONDS
from agentclock.ports import RunContext
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import SUCCESS, FakeClock, ScriptedExecutor

PAUSED = Outcome(kind=OutcomeKind.PAUSED, agent_run_id="a1", session_id="s1", requirements=[{"id": "q1"}])
UNAVAILABLE = StoreUnavailable("the database is away")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(clock: FakeClock) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(":memory:", clock=clock)
    await store.open()
    yield store
    await store.close()


async def paused(store: SqliteStore, clock: FakeClock, executor: ScriptedExecutor, **changes: Any) -> Rig:
    await add(store, clock, **changes)
    rig = await Rig(store, clock, executor).begin()
    await rig.tick()
    assert (await only(rig)).status is RunStatus.PAUSED
    return rig


def ends_as_told(context: RunContext) -> Outcome:
    instruction = context.claim.run.instruction
    if instruction is None:
        return PAUSED
    if instruction.kind is InstructionKind.CANCEL:
        return Outcome(kind=OutcomeKind.CANCELLED, error=instruction.why)
    return SUCCESS


@pytest.mark.parametrize(
    ("action", "status"), [(ApprovalAction.CANCEL, RunStatus.CANCELLED), (ApprovalAction.FAIL, RunStatus.FAILED)]
)
async def test_a_run_that_nobody_approves_ends(
    store: SqliteStore, clock: FakeClock, action: ApprovalAction, status: RunStatus
) -> None:
    changes = {"approval_timeout_seconds": 60, "approval_timeout_action": action, "retry": RetryPolicy(max_retries=3)}
    rig = await paused(store, clock, ScriptedExecutor(ends_as_told), **changes)
    clock.advance(seconds=59)
    await rig.tick()
    assert (await only(rig)).status is RunStatus.PAUSED
    clock.advance(seconds=EVERY_SECONDS)
    await rig.tick()
    run = await only(rig)
    assert (run.status, run.error, run.attempt) == (status, "not approved within 60 s", 1)
    assert [event.run_id for event in rig.seen(RunChanged)] == [run.id]
    assert run.id in rig.wakeup.told


async def test_an_answer_given_elsewhere_is_noticed(store: SqliteStore, clock: FakeClock) -> None:
    executor = ScriptedExecutor(ends_as_told)
    rig = await paused(store, clock, executor)
    for _ in range(10):
        clock.advance(seconds=EVERY_SECONDS)
        await rig.tick()
    run = await only(rig)
    assert (run.status, len(executor.contexts)) == (RunStatus.PAUSED, 1)
    executor.moved_on.add(run.id)
    clock.advance(seconds=10)
    await rig.tick()
    told = executor.contexts[-1].claim.run.instruction
    assert told == Instruction(kind=InstructionKind.ATTACH, why="answered at AgentOS")
    assert (await only(rig)).status is RunStatus.SUCCESS


class Slow(ScriptedExecutor):
    """Its target takes its time to say how a paused run is doing."""

    def __init__(self) -> None:
        super().__init__(ends_as_told)
        self.answered = asyncio.Event()
        self.asked = 0

    async def has_moved_on(self, claim: Claim) -> bool:
        self.asked += 1
        await self.answered.wait()
        return True


async def test_a_slow_target_keeps_no_lease_from_being_renewed(store: SqliteStore, clock: FakeClock) -> None:
    executor = Slow()
    rig = await paused(store, clock, executor)
    clock.advance(seconds=5)
    assert not await rig.keeper.step()
    await rig.until(lambda: executor.asked)
    clock.advance(seconds=LEASE_SECONDS / 3)
    assert not await rig.keeper.step()
    [worker] = await store.workers()
    assert worker.lease_until == clock.now() + LEASE_SECONDS * SECOND
    executor.answered.set()
    await rig.tick()
    assert (await only(rig)).status is RunStatus.SUCCESS


async def test_targets_are_asked_about_ten_runs_at_a_time(store: SqliteStore, clock: FakeClock) -> None:
    executor = Slow()
    for number in range(CONCURRENCY + 5):
        await add(store, clock, id=f"s{number}", name=f"s{number}")
    rig = await Rig(store, clock, executor, slots=50).begin()
    await rig.tick()
    clock.advance(seconds=5)
    await rig.keeper.step()
    await rig.until(lambda: executor.asked >= CONCURRENCY)
    assert (executor.asked, rig.keeper.reviewer.asking) == (CONCURRENCY, CONCURRENCY + 5)
    executor.answered.set()
    await rig.tick()
    assert {run.status for run in await rig.runs()} == {RunStatus.SUCCESS}


async def test_what_is_being_asked_ends_with_the_keeper(store: SqliteStore, clock: FakeClock) -> None:
    executor = Slow()
    rig = await paused(store, clock, executor)
    clock.advance(seconds=5)
    await rig.keeper.step()
    await rig.until(lambda: executor.asked)
    await rig.keeper.close()
    assert rig.keeper.reviewer.asking == 0
    assert (await only(rig)).status is RunStatus.PAUSED


async def test_a_review_that_fails_is_made_again(
    store: SqliteStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = ScriptedExecutor(ends_as_told)
    rig = await paused(store, clock, executor)
    executor.moved_on.add((await only(rig)).id)

    async def away(*_: object) -> None:
        raise UNAVAILABLE

    clock.advance(seconds=5)
    with monkeypatch.context() as patch, structlog.testing.capture_logs() as lines:
        patch.setattr(store, "instruct", away)
        await rig.tick()
    assert [line["event"] for line in lines] == ["review_failed"]
    clock.advance(seconds=10)
    await rig.tick()
    assert (await only(rig)).status is RunStatus.SUCCESS


async def test_a_run_that_pauses_while_it_is_being_cancelled_is_cancelled(store: SqliteStore, clock: FakeClock) -> None:
    class Deaf(ScriptedExecutor):
        async def execute(self, context: RunContext) -> Outcome:
            return await super().execute(replace(context, cancelled=asyncio.Event()))

    await add(store, clock)
    executor = Deaf(ends_as_told)
    rig = await Rig(store, clock, executor).begin()
    executor.hold()
    await rig.tick()
    rig.worker.cancel([(await only(rig)).id])
    executor.release()
    await rig.settled()
    await rig.tick()
    assert [context.claim.run.instruction for context in executor.contexts] == [
        None,
        Instruction(kind=InstructionKind.CANCEL, why="cancelled"),
    ]
    assert (await only(rig)).status is RunStatus.CANCELLED
