"""Agent runs in the engine: their events, and workers that go away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
import structlog
from tests.rig import LEASE_SECONDS, NoWakeup, Rig, add, only

from agentclock.core.errors import LeaseLost, StoreUnavailable
from agentclock.core.events import AgentEvent, EventsLogged, ResultDropped, RunSettled
from agentclock.core.model import (
    SECOND,
    Cause,
    Instruction,
    InstructionKind,
    OnLost,
    Outcome,
    OutcomeKind,
    RetryPolicy,
    Run,
    RunStatus,
    Target,
)
from agentclock.engine import worker as worker_module
from agentclock.engine.bus import Bus
from agentclock.engine.eventlog import log_event
from agentclock.engine.keeper import Declared
from agentclock.engine.reviewer import EVERY_SECONDS
from agentclock.engine.service import Engine, EngineOptions
from agentclock.ports import News, RunContext, Said
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import SUCCESS, FakeClock, ScriptedExecutor

STARTED = Said(type="RunStarted", data={"run_id": "a1"}, index=0)
WORDS = [Said(type="RunContent", data={"content": word}, index=1 + n, is_text=True) for n, word in enumerate("abc")]
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


async def types(store: SqliteStore, run: Run) -> list[str]:
    return [event.type for event in await store.events_after(run.id, 0, 100)]


async def begun(rig: Rig) -> Run:
    """An agent run that its executor holds open, with an agent run on record."""
    rig.executor.hold()
    await rig.tick()
    await rig.executor.started(1)
    await rig.executor.contexts[0].note_agent_run("a1", "s1")
    return await only(rig)


async def test_what_an_agent_says_is_on_record_before_its_run_is_settled(store: SqliteStore, clock: FakeClock) -> None:
    await add(store, clock)
    rig = await Rig(store, clock, ScriptedExecutor(says=[STARTED, *WORDS])).begin()
    await rig.tick()
    run = await only(rig)
    attempt, started, text = await store.events_after(run.id, 0, 100)
    assert [event.seq for event in (attempt, started, text)] == [1, 2, 3]
    assert attempt.data == {"number": 1, "cause": "schedule", "worker": "here:1"}
    assert (text.type, text.data["content"], text.source_index, text.attempt) == ("RunContent", "abc", 3, 1)
    assert [event.type for event in rig.seen(AgentEvent)] == ["RunStarted", *["RunContent"] * 3]
    order = [type(event) for event in rig.events if isinstance(event, EventsLogged | RunSettled)]
    assert order[-1] is RunSettled
    assert rig.seen(EventsLogged)[-1].seq == 3
    assert rig.wakeup.told.count(run.id) >= 3  # begun, logged, settled


async def test_a_plain_call_costs_no_more_than_ever(
    store: SqliteStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(store, clock, target=Target(endpoint="/hook"))
    rig = await Rig(store, clock, ScriptedExecutor(says=[STARTED])).begin()
    calls: list[str] = []

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return real(*args, **kwargs)

        return call

    for name in [name for name in dir(store) if not name.startswith("_")]:
        if asyncio.iscoroutinefunction(getattr(store, name)):
            monkeypatch.setattr(store, name, counted(name, getattr(store, name)))
    await rig.planner.step()
    await rig.settled()
    assert calls == ["fire_due", "now", "settle"]
    assert await types(store, await only(rig)) == []


async def test_each_attempt_begins_with_a_mark_but_not_one_that_was_refused(
    store: SqliteStore, clock: FakeClock
) -> None:
    await add(store, clock, retry=RetryPolicy(max_retries=1, delay_seconds=1))
    refused = Outcome(kind=OutcomeKind.REFUSED, error="connection refused")
    failed = Outcome(kind=OutcomeKind.FAILED, retryable=True, error="503")
    rig = await Rig(store, clock, ScriptedExecutor([refused, failed, SUCCESS])).begin()
    for _ in range(3):
        await rig.tick()
        clock.advance(seconds=1)
    events = await store.events_after((await only(rig)).id, 0, 100)
    assert [(event.seq, event.type, event.data["number"]) for event in events] == [(1, "attempt", 1), (2, "attempt", 2)]


async def test_another_worker_takes_the_agent_run_up(store: SqliteStore, clock: FakeClock) -> None:
    await add(store, clock, retry=RetryPolicy(max_retries=3))
    dead = await Rig(store, clock, ScriptedExecutor(says=[STARTED, *WORDS], attachable=True)).begin()
    run = await begun(dead)
    await dead.until(lambda: dead.seen(EventsLogged))
    clock.advance(seconds=LEASE_SECONDS + 1)

    healthy = await Rig(store, clock, ScriptedExecutor(says=[STARTED], attachable=True)).begin()
    await healthy.tick()
    [context] = healthy.executor.contexts
    claim = context.claim
    assert (claim.run.id, claim.run.attempt, claim.run.agent_run_id) == (run.id, 1, "a1")
    assert claim.run.instruction == Instruction(kind=InstructionKind.ATTACH)
    assert (context.seen_index, claim.elapsed_ms) == (3, (LEASE_SECONDS + 1) * SECOND)
    over = await only(healthy)
    assert (over.status, over.attempt, over.instruction) == (RunStatus.SUCCESS, 1, None)
    assert [attempt.status for attempt in await store.attempts(run.id)] == [RunStatus.SUCCESS]
    assert await types(store, run) == ["attempt", "RunStarted", "RunContent", "RunStarted"]
    assert healthy.wakeup.sent >= 1
    settled = healthy.seen(RunSettled)
    assert [(event.status, event.goes_on) for event in settled] == [
        (RunStatus.PENDING, InstructionKind.ATTACH),
        (RunStatus.SUCCESS, None),
    ]


async def test_an_agent_that_dies_with_its_worker_is_lost(store: SqliteStore, clock: FakeClock) -> None:
    await add(store, clock, on_lost=OnLost.RETRY, retry=RetryPolicy(max_retries=1, delay_seconds=1))
    dead = await Rig(store, clock, ScriptedExecutor()).begin()
    await begun(dead)
    clock.advance(seconds=LEASE_SECONDS + 1)
    healthy = await Rig(store, clock, ScriptedExecutor()).begin()
    await healthy.tick()
    clock.advance(seconds=1)
    await healthy.tick()
    run = await only(healthy)
    assert (run.status, run.attempt) == (RunStatus.SUCCESS, 2)
    assert [attempt.status for attempt in await store.attempts(run.id)] == [RunStatus.LOST, RunStatus.SUCCESS]


async def test_a_worker_learns_from_the_log_that_its_run_is_anothers(store: SqliteStore, clock: FakeClock) -> None:
    """It was frozen, say, and others have taken the run over: it stops following the agent at once."""
    await add(store, clock)
    frozen = await Rig(store, clock, ScriptedExecutor(says=[STARTED], attachable=True)).begin()
    await begun(frozen)
    await frozen.until(lambda: frozen.seen(EventsLogged))
    clock.advance(seconds=LEASE_SECONDS + 1)
    healthy = await Rig(store, clock, ScriptedExecutor(attachable=True)).begin()
    healthy.executor.hold()
    await healthy.tick()
    frozen.executor.contexts[0].emit(WORDS[0])
    await frozen.until(lambda: not frozen.worker.busy)
    assert frozen.executor.interrupted == 1
    assert len(frozen.seen(ResultDropped)) == 1
    assert not frozen.seen(RunSettled)
    with pytest.raises(LeaseLost):
        await frozen.executor.contexts[0].note_agent_run("a1", "s1")
    assert "RunContent" not in await types(store, await only(healthy))
    healthy.executor.release()
    await healthy.settled()


@pytest.mark.parametrize("attachable", [True, False])
async def test_a_stop_hands_over_what_goes_on_without_us(
    store: SqliteStore, clock: FakeClock, attachable: bool
) -> None:
    await add(store, clock)
    rig = await Rig(store, clock, ScriptedExecutor(attachable=attachable)).begin()
    await begun(rig)
    sent = rig.wakeup.sent
    await rig.worker.stop(0)
    run = await only(rig)
    assert not rig.worker.busy
    assert rig.executor.interrupted == 0
    if attachable:
        assert (run.status, run.instruction) == (RunStatus.PENDING, Instruction(kind=InstructionKind.ATTACH))
        assert (run.agent_run_id, run.attempt) == ("a1", 1)
        assert rig.wakeup.sent == sent + 1
    else:
        assert run.status is RunStatus.LOST


class Stubborn(ScriptedExecutor):
    """Does not let go of a run when its worker stops."""

    async def execute(self, context: RunContext) -> Outcome:
        return await super().execute(replace(context, stopping=asyncio.Event()))


@pytest.mark.parametrize("attachable", [True, False])
async def test_an_executor_that_does_not_let_go_is_interrupted(
    store: SqliteStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, attachable: bool
) -> None:
    monkeypatch.setattr(worker_module, "LETTING_GO_SECONDS", 0)
    await add(store, clock)
    rig = await Rig(store, clock, Stubborn(attachable=attachable)).begin()
    await begun(rig)
    await rig.worker.stop(0)
    assert rig.executor.interrupted == 1
    run = await only(rig)
    assert (run.status, run.agent_run_id) == (RunStatus.PENDING if attachable else RunStatus.LOST, "a1")


async def test_a_stop_does_not_wait_for_ever_for_the_database(
    store: SqliteStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: object) -> frozenset[str]:
        raise UNAVAILABLE

    monkeypatch.setattr(worker_module, "LETTING_GO_SECONDS", 0)
    monkeypatch.setattr(worker_module, "SETTLING_SECONDS", 0)
    await add(store, clock)
    rig = await Rig(store, clock, ScriptedExecutor()).begin()
    await begun(rig)
    with monkeypatch.context() as patch:
        patch.setattr(store, "append_events", away)
        patch.setattr(store, "settle", away)
        await rig.worker.stop(0)
        await rig.until(lambda: not rig.worker.busy)
        await rig.completer.close()
        await rig.recorder.close()
    assert (await only(rig)).status is RunStatus.RUNNING  # others take it over once the lease has ended


async def test_a_worker_that_was_declared_dead_drops_its_runs(store: SqliteStore, clock: FakeClock) -> None:
    await add(store, clock)
    rig = await Rig(store, clock, ScriptedExecutor(attachable=True)).begin()
    await begun(rig)
    clock.advance(seconds=LEASE_SECONDS + 1)
    other = await Rig(store, clock, ScriptedExecutor(attachable=True)).begin()
    await other.keeper.step()
    with pytest.raises(Declared):
        await rig.keeper.step()
    await rig.worker.abandon()
    assert not rig.worker.busy
    assert len(rig.seen(ResultDropped)) == 1
    assert not rig.seen(RunSettled)
    assert (await only(rig)).status is RunStatus.PENDING


async def test_a_wish_to_cancel_needs_no_heartbeat(
    store: SqliteStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(store, clock)
    rig = await Rig(store, clock, ScriptedExecutor()).begin()
    run = await begun(rig)

    async def unwanted(*_: object) -> None:
        raise AssertionError("a lease that is still long is not renewed")

    monkeypatch.setattr(store, "renew_lease", unwanted)
    await store.request_cancel(run.id)
    await rig.keeper.step()
    await rig.settled()
    assert (await only(rig)).status is RunStatus.CANCELLED


async def test_leases_are_renewed_in_time_however_often_the_keeper_is_rung(
    store: SqliteStore, clock: FakeClock
) -> None:
    rig = await Rig(store, clock, ScriptedExecutor()).begin()
    await rig.keeper.step()
    for _ in range(20):
        clock.advance(seconds=1)
        assert rig.keeper.idle_seconds(30) <= max(EVERY_SECONDS, LEASE_SECONDS / 3)
        await rig.keeper.step()
    [worker] = await store.workers()
    assert worker.lease_until >= clock.now() + (LEASE_SECONDS * 2 / 3) * SECOND
    assert 0 < rig.keeper.idle_seconds(30) <= EVERY_SECONDS
    assert rig.keeper.idle_seconds(0.5) == 0.5


async def test_a_wish_to_cancel_outlives_the_worker_that_heard_it(store: SqliteStore, clock: FakeClock) -> None:
    await add(store, clock)
    dead = await Rig(store, clock, ScriptedExecutor(attachable=True)).begin()
    run = await begun(dead)
    await store.request_cancel(run.id)
    clock.advance(seconds=LEASE_SECONDS + 1)
    healthy = await Rig(store, clock, ScriptedExecutor(attachable=True)).begin()
    healthy.executor.hold()
    await healthy.tick()
    await healthy.executor.started(1)
    assert healthy.executor.contexts[0].cancelled.is_set()
    await healthy.settled()
    assert (await only(healthy)).status is RunStatus.CANCELLED


async def test_news_of_a_run_of_ours_has_its_wishes_read(store: SqliteStore, clock: FakeClock) -> None:
    await add(store, clock)
    executor = ScriptedExecutor()
    executor.hold()
    service = Engine(
        store=store,
        executor=executor,
        clock=clock,
        bus=Bus(),
        wakeup=NoWakeup(),
        options=EngineOptions(shutdown_grace_seconds=0, poll_seconds=300, lease_seconds=900),
    )
    service.start()
    await executor.started(1)
    run = executor.contexts[0].claim.run
    await store.request_cancel(run.id)
    service.hear(News(run_ids=frozenset({"another"})))
    service.hear(News(run_ids=frozenset({run.id})))
    async with asyncio.timeout(60):  # the next heartbeat is five minutes away
        await executor.contexts[0].cancelled.wait()
    await service.stop()


def test_the_log_tells_a_hand_over_from_a_failure() -> None:
    run = Run(id="r", schedule_id="s", cause=Cause.SCHEDULE, fire_at=0, attempt=1)
    settled = RunSettled(
        run=run,
        schedule_name="s",
        status=RunStatus.PENDING,
        available_at=5,
        attempt_spent=True,
        error=None,
        output=None,
        at=5,
    )
    with structlog.testing.capture_logs() as lines:
        log_event(settled)
        log_event(replace(settled, goes_on=InstructionKind.ATTACH))
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("attempt_failed", "warning"),
        ("run_handed_over", "info"),
    ]
