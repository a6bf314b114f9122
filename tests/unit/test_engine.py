"""The engine's loops, stepped by hand: real use of the embedded store, a clock that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from tests.rig import LEASE_SECONDS, NoWakeup, Rig

from agentclock.core.errors import StoreUnavailable
from agentclock.core.events import EngineTrouble, Event, FiresAbsent, ResultDropped, RunSettled, ScheduleChanged
from agentclock.core.model import (
    Cause,
    Outcome,
    OutcomeKind,
    Overlap,
    RetryPolicy,
    RunStatus,
    Schedule,
    Target,
)
from agentclock.core.planning import plan_trigger
from agentclock.engine.bus import Bus
from agentclock.engine.service import Engine, EngineOptions, EngineStatus
from agentclock.ports import PageRequest, RunFilter, WorkerInfo
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import SUCCESS, FakeClock, ScriptedExecutor

MINUTE = 60_000
FAILURE = Outcome(kind=OutcomeKind.FAILED, retryable=True, status_code=503, error="503 from the target")
REFUSED = Outcome(kind=OutcomeKind.REFUSED, error="connection refused")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(clock: FakeClock) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(":memory:", clock=clock)
    await store.open()
    yield store
    await store.close()


async def add(store: SqliteStore, clock: FakeClock, schedule_id: str = "s1", **changes: Any) -> Schedule:
    base = Schedule(
        id=schedule_id,
        name=schedule_id,
        target=Target(endpoint="/x"),
        cron_expr="* * * * *",
        next_fire_at=clock.now(),
        created_at=clock.now(),
    )
    schedule = replace(base, **changes)
    await store.insert_schedules([schedule])
    return schedule


async def test_a_due_fire_is_delivered_and_settled(store: SqliteStore, clock: FakeClock) -> None:
    await add(store, clock)
    rig = await Rig(store, clock, ScriptedExecutor()).begin()
    await rig.tick()
    [run] = await rig.runs()
    assert (run.status, run.attempt, run.cause, run.fire_at) == (RunStatus.SUCCESS, 1, Cause.SCHEDULE, clock.now())
    assert run.output == SUCCESS.output
    [attempt] = await store.attempts(run.id)
    assert (attempt.number, attempt.status) == (1, RunStatus.SUCCESS)
    assert [event.status for event in rig.seen(RunSettled)] == [RunStatus.SUCCESS]
    await rig.tick()
    assert len(rig.executor.contexts) == 1


async def test_a_retry_is_a_row_that_becomes_available(store: SqliteStore, clock: FakeClock) -> None:
    await add(store, clock, run_at=clock.now(), cron_expr=None, retry=RetryPolicy(max_retries=1, delay_seconds=30))
    rig = await Rig(store, clock, ScriptedExecutor([FAILURE, SUCCESS])).begin()
    await rig.tick()
    [run] = await rig.runs()
    assert (run.status, run.attempt, run.available_at) == (RunStatus.PENDING, 1, clock.now() + 30_000)
    clock.advance(seconds=29)
    await rig.tick()
    assert len(rig.executor.contexts) == 1
    clock.advance(seconds=1)
    await rig.tick()
    [run] = await rig.runs()
    assert (run.status, run.attempt) == (RunStatus.SUCCESS, 2)
    assert [attempt.status for attempt in await store.attempts(run.id)] == [RunStatus.FAILED, RunStatus.SUCCESS]


async def test_a_restart_during_the_retry_delay_loses_and_doubles_nothing(store: SqliteStore, clock: FakeClock) -> None:
    await add(store, clock, run_at=clock.now(), cron_expr=None, retry=RetryPolicy(max_retries=2, delay_seconds=30))
    executor = ScriptedExecutor([FAILURE])
    await (await Rig(store, clock, executor).begin()).tick()
    for _ in range(4):
        clock.advance(seconds=30)
        await (await Rig(store, clock, executor).begin()).tick()
    [run] = await Rig(store, clock, executor).runs()
    assert (run.status, run.attempt) == (RunStatus.FAILED, 3)
    assert [context.claim.run.attempt for context in executor.contexts] == [1, 2, 3]


async def test_a_refused_connection_spends_no_attempt(store: SqliteStore, clock: FakeClock) -> None:
    await add(store, clock, run_at=clock.now(), cron_expr=None)
    rig = await Rig(store, clock, ScriptedExecutor([REFUSED, REFUSED, SUCCESS])).begin()
    for _ in range(3):
        await rig.tick()
        clock.advance(seconds=5)
    [run] = await rig.runs()
    assert (run.status, run.attempt) == (RunStatus.SUCCESS, 1)
    assert [context.claim.run.attempt for context in rig.executor.contexts] == [1, 1, 1]
    assert [attempt.number for attempt in await store.attempts(run.id)] == [1]


async def test_no_more_runs_at_a_time_than_slots(store: SqliteStore, clock: FakeClock) -> None:
    for number in range(5):
        await add(store, clock, f"s{number}", run_at=clock.now(), cron_expr=None)
    rig = await Rig(store, clock, ScriptedExecutor(), slots=2).begin()
    rig.executor.hold()
    await rig.tick()
    await rig.executor.started(2)
    await rig.tick()
    assert rig.worker.busy == 2
    rig.executor.release()
    while len(rig.executor.contexts) < 5 or rig.worker.busy:
        await rig.tick()
    assert rig.executor.peak_running == 2
    assert {run.status for run in await rig.runs()} == {RunStatus.SUCCESS}


async def test_a_worker_turned_away_by_the_planner_looks_again(store: SqliteStore, clock: FakeClock) -> None:
    """Both are woken by one change; whoever comes second finds all slots set aside for the moment."""
    rig = await Rig(store, clock, ScriptedExecutor()).begin()
    with rig.worker.room() as planners:
        assert planners.slots == 10
        assert not await rig.worker.step()
        assert rig.wakes == 0
    assert rig.wakes == 1
    assert not await rig.worker.step()
    assert rig.wakes == 1


async def test_overlap_skip_leaves_one_growing_record(store: SqliteStore, clock: FakeClock) -> None:
    await add(store, clock)
    rig = await Rig(store, clock, ScriptedExecutor()).begin()
    rig.executor.hold()
    await rig.tick()
    for _ in range(3):
        clock.advance(seconds=60)
        await rig.keeper.step()
        await rig.tick()
    first, skipped = await rig.runs()
    assert first.status is RunStatus.RUNNING
    assert (skipped.status, skipped.fire_count) == (RunStatus.SKIPPED, 3)
    assert len(rig.seen(FiresAbsent)) == 3
    rig.executor.release()
    await rig.settled()
    clock.advance(seconds=60)
    await rig.tick()
    assert len(rig.executor.contexts) == 2


async def test_overlap_queue_lets_the_next_run_go_when_the_first_is_over(store: SqliteStore, clock: FakeClock) -> None:
    await add(store, clock, overlap=Overlap.QUEUE)
    rig = await Rig(store, clock, ScriptedExecutor()).begin()
    rig.executor.hold()
    await rig.tick()
    clock.advance(seconds=60)
    await rig.tick()
    assert len(rig.executor.contexts) == 1
    rig.executor.release()
    await rig.settled()
    await rig.tick()
    assert [run.status for run in await rig.runs()] == [RunStatus.SUCCESS] * 2


async def test_overlap_cancel_ends_the_old_run_first(store: SqliteStore, clock: FakeClock) -> None:
    await add(store, clock, overlap=Overlap.CANCEL)
    rig = await Rig(store, clock, ScriptedExecutor()).begin()
    rig.executor.hold()
    await rig.tick()
    clock.advance(seconds=60)
    await rig.tick()
    await rig.keeper.step()
    rig.executor.release()
    await rig.settled()
    await rig.tick()
    assert [run.status for run in await rig.runs()] == [RunStatus.CANCELLED, RunStatus.SUCCESS]


async def test_a_dead_workers_run_is_lost_and_its_late_result_dropped(store: SqliteStore, clock: FakeClock) -> None:
    await add(store, clock, run_at=clock.now(), cron_expr=None)
    frozen = await Rig(store, clock, ScriptedExecutor()).begin()
    frozen.executor.hold()
    await frozen.tick()
    clock.advance(seconds=LEASE_SECONDS + 1)
    healthy = await Rig(store, clock, ScriptedExecutor()).begin()
    while await healthy.keeper.step():
        pass
    [run] = await healthy.runs()
    assert run.status is RunStatus.LOST
    assert [event.status for event in healthy.seen(RunSettled)] == [RunStatus.LOST]
    frozen.executor.release()
    await frozen.settled()
    assert frozen.seen(ResultDropped)
    assert not frozen.seen(RunSettled)
    assert (await healthy.runs())[0].status is RunStatus.LOST
    assert not healthy.executor.contexts


async def test_a_fault_of_the_executor_itself_is_a_failed_run(store: SqliteStore, clock: FakeClock) -> None:
    await add(store, clock, run_at=clock.now(), cron_expr=None, retry=RetryPolicy(max_retries=3))
    rig = await Rig(store, clock, ScriptedExecutor([RuntimeError("oops")])).begin()
    await rig.tick()
    [run] = await rig.runs()
    assert run.status is RunStatus.FAILED
    assert "oops" in (run.error or "")


async def test_results_wait_for_a_database_that_is_away(
    store: SqliteStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(store, clock, run_at=clock.now(), cron_expr=None)
    rig = await Rig(store, clock, ScriptedExecutor()).begin()
    real, failures = store.settle, 2

    async def flaky(settlements: Any) -> frozenset[str]:
        nonlocal failures
        if failures:
            failures -= 1
            raise StoreUnavailable("the database is away")
        return await real(settlements)

    monkeypatch.setattr(store, "settle", flaky)
    await rig.planner.step()
    for troubles in (1, 2):
        await rig.until(lambda troubles=troubles: len(rig.seen(EngineTrouble)) == troubles and clock.sleeping)
        clock.advance(seconds=10)
    await rig.settled()
    assert [run.status for run in await rig.runs()] == [RunStatus.SUCCESS]


def engine(
    store: SqliteStore, clock: FakeClock, executor: ScriptedExecutor, grace_seconds: float = 0, **options: Any
) -> Engine:
    return Engine(
        store=store,
        executor=executor,
        clock=clock,
        bus=Bus(),
        wakeup=NoWakeup(),
        options=replace(EngineOptions(shutdown_grace_seconds=grace_seconds, history_days=None), **options),
    )


async def test_the_service_runs_and_settles_what_it_must_leave(store: SqliteStore, clock: FakeClock) -> None:
    await add(store, clock, run_at=clock.now(), cron_expr=None)
    executor = ScriptedExecutor()
    executor.hold()
    running = engine(store, clock, executor)
    running.start()
    await executor.started(1)
    assert running.status is EngineStatus.RUNNING
    await running.stop()
    assert running.status is EngineStatus.STOPPED
    [run] = (await store.list_runs(RunFilter(), PageRequest())).items
    assert run.status is RunStatus.LOST
    assert run.error is not None
    now = await store.now()
    assert not [worker for worker in await store.workers() if worker.lease_until > now]


@pytest.mark.parametrize("by_hand", [False, True])
async def test_overlap_cancel_does_not_wait_for_the_next_heartbeat(
    store: SqliteStore, clock: FakeClock, by_hand: bool
) -> None:
    schedule = await add(store, clock, overlap=Overlap.CANCEL)
    executor = ScriptedExecutor()
    executor.hold()
    service = engine(store, clock, executor, poll_seconds=300, lease_seconds=900)
    service.start()
    await executor.started(1)
    if by_hand:
        await store.trigger(schedule.id, lambda row, situation, now: plan_trigger(row, situation, now, "by-hand"))
    else:
        clock.advance(seconds=60)
    service.ring()
    async with asyncio.timeout(60):  # the next heartbeat is five minutes away
        await executor.started(2)
    await service.stop()


async def test_a_stop_in_the_middle_of_a_claim_loses_no_run(
    store: SqliteStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim is committed, its answer on the way, when the stop comes."""
    await add(store, clock, run_at=clock.now(), cron_expr=None)
    committed, answer = asyncio.Event(), asyncio.Event()
    real = store.fire_due

    async def slow(*args: Any, **kwargs: Any) -> Any:
        fired = await real(*args, **kwargs)
        committed.set()
        await answer.wait()
        return fired

    monkeypatch.setattr(store, "fire_due", slow)
    service = engine(store, clock, ScriptedExecutor(), grace_seconds=5)
    service.start()
    await committed.wait()
    stopping = asyncio.create_task(service.stop())
    await asyncio.sleep(0)
    answer.set()
    await stopping
    [run] = (await store.list_runs(RunFilter(), PageRequest())).items
    assert run.status is RunStatus.SUCCESS


async def test_the_service_stands_by_and_takes_over(
    store: SqliteStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(store, clock, run_at=clock.now(), cron_expr=None)
    owner: str | None = "elsewhere:7"
    real = store.acquire_engine

    async def owned(worker: WorkerInfo, lease_seconds: float) -> str | None:
        return owner or await real(worker, lease_seconds)

    monkeypatch.setattr(store, "acquire_engine", owned)
    executor = ScriptedExecutor()
    standing_by = engine(store, clock, executor)
    standing_by.start()
    await clock.until_sleeping()
    assert (standing_by.status, standing_by.owner) == (EngineStatus.STANDBY, "elsewhere:7")
    owner = None
    clock.advance(seconds=1)
    await executor.started(1)
    assert (standing_by.status, standing_by.owner) == (EngineStatus.RUNNING, None)
    await standing_by.stop()


async def test_the_service_survives_a_database_that_goes_away(
    store: SqliteStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(store, clock, run_at=clock.now(), cron_expr=None)
    real, away = store.fire_due, True

    async def flaky(*args: Any, **kwargs: Any) -> Any:
        if away:
            raise StoreUnavailable("the database is away")
        return await real(*args, **kwargs)

    monkeypatch.setattr(store, "fire_due", flaky)
    executor = ScriptedExecutor()
    service = engine(store, clock, executor)
    service.start()
    await clock.until_sleeping()
    assert service.trouble == "planner: the database is away"
    away = False
    clock.advance(seconds=10)
    await executor.started(1)
    await service.stop()


async def test_a_listener_that_raises_disturbs_nobody() -> None:
    bus, seen = Bus(), list[Event]()

    def broken(_: Event) -> None:
        raise RuntimeError("broken listener")

    bus.subscribe(broken)
    end = bus.subscribe(seen.append)
    bus.publish(ResultDropped(run_id="r"))
    end()
    bus.publish(ResultDropped(run_id="r"))
    assert len(seen) == 1


async def test_an_end_that_disables_its_schedule_is_told_once(store: SqliteStore, clock: FakeClock) -> None:
    await add(store, clock)
    denied = Outcome(kind=OutcomeKind.FAILED, error="revoked", disables="owner 'ann' was revoked")
    rig = await Rig(store, clock, ScriptedExecutor([denied])).begin()
    await rig.tick()
    told = [event for event in rig.events if isinstance(event, RunSettled | ScheduleChanged)]
    assert [type(event) for event in told] == [RunSettled, ScheduleChanged]
    assert told[1] == ScheduleChanged(schedule_id="s1")
    found = await store.get_schedule("s1")
    assert found is not None
    assert (found.enabled, found.disabled_reason) == (False, "owner 'ann' was revoked")
    clock.advance(600)
    await rig.tick()
    assert (await store.list_runs(RunFilter(), PageRequest())).total_count == 1
