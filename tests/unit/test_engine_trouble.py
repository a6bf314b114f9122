"""Outages, frozen workers and clocks that are wrong: the engine's loops, stepped by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog
from tests.rig import LEASE_SECONDS, NoWakeup, Rig, add, only

from agentclock.core.errors import StoreUnavailable
from agentclock.core.events import EngineRecovered, EngineTrouble, Event, ResultDropped, RunTakenOver
from agentclock.core.model import RunStatus, Target
from agentclock.engine.bus import Bus
from agentclock.engine.eventlog import log_event
from agentclock.engine.keeper import Declared, Keeper
from agentclock.engine.outage import Outage
from agentclock.engine.service import LEAVING, Engine, EngineOptions
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import FakeClock, ScriptedExecutor

AWAY = StoreUnavailable("PostgreSQL at db: connection refused")
PLAIN = {"target": Target(endpoint="/hook"), "cron_expr": "* * * * *", "run_at": None}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(clock: FakeClock) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(":memory:", clock=clock)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def ours(store: SqliteStore, clock: FakeClock) -> Rig:
    return await Rig(store, clock, ScriptedExecutor()).begin()


@pytest.fixture
async def theirs(store: SqliteStore, clock: FakeClock) -> Rig:
    return await Rig(store, clock, ScriptedExecutor()).begin()


async def hold_one(rig: Rig, **changes: Any) -> None:
    """A run in this rig's hands whose target does not answer yet."""
    rig.executor.hold()
    await rig.keeper.step()
    await add(rig.store, rig.clock, **PLAIN, **changes)
    await rig.planner.step()
    await rig.executor.started()


# one beginning, one end


def heard(bus: Bus) -> list[Event]:
    events: list[Event] = []
    bus.subscribe(events.append)
    return events


def test_an_outage_begins_and_ends_once(clock: FakeClock) -> None:
    bus = Bus()
    events, outage = heard(bus), Outage(clock, bus)
    bus.subscribe(log_event)
    with structlog.testing.capture_logs() as lines:
        for part in ("planner", "keeper", "planner", "worker"):
            outage.failed(part, AWAY, 0.5)
        clock.advance(60)
        for part in ("planner", "worker", "recorder"):
            outage.succeeded(part)
        assert outage.error == f"keeper: {AWAY}"
        outage.succeeded("keeper")
    assert [event.is_new for event in events if isinstance(event, EngineTrouble)] == [True, False, False, False]
    assert events[-1] == EngineRecovered(after_seconds=60)
    said = [(line["event"], line["log_level"]) for line in lines if line["log_level"] != "debug"]
    assert said == [("database_unavailable", "error"), ("database_available", "info")]
    assert outage.error is None


def test_a_fault_of_ours_is_no_outage(clock: FakeClock) -> None:
    bus = Bus()
    bus.subscribe(log_event)
    with structlog.testing.capture_logs() as lines:
        Outage(clock, bus).failed("planner", ZeroDivisionError(), 10)
    assert [line["event"] for line in lines] == ["engine_trouble"]


def test_who_leaves_says_so(store: SqliteStore, clock: FakeClock) -> None:
    engine = Engine(
        store=store,
        executor=ScriptedExecutor(),
        clock=clock,
        bus=Bus(),
        wakeup=NoWakeup(),
        options=EngineOptions(),
    )
    assert engine.trouble is None
    engine.leave()
    assert engine.trouble == LEAVING


# results that wait for the database


async def test_what_ended_while_the_database_was_away_counts_although_the_lease_was_over(
    ours: Rig, theirs: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hold_one(ours)
    real = ours.store.settle

    async def away(*_: Any) -> frozenset[str]:
        raise AWAY

    monkeypatch.setattr(ours.store, "settle", away)
    ours.executor.release()
    await ours.until(lambda: ours.seen(EngineTrouble))
    ours.clock.advance(60)
    monkeypatch.setattr(ours.store, "settle", real)
    await theirs.keeper.step()  # it was late as well, and blames nobody
    ours.clock.advance(5)
    await ours.until(lambda: not ours.worker.busy)
    assert (await only(ours)).status is RunStatus.SUCCESS
    assert not theirs.seen(RunTakenOver)


async def test_a_result_that_no_database_takes_stands_in_nobodys_way(
    ours: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours.executor.hold()
    await ours.keeper.step()
    for schedule_id in ("good", "bad", "fine"):
        await add(ours.store, ours.clock, id=schedule_id, name=schedule_id, **PLAIN)
    await ours.planner.step()
    await ours.executor.started(3)
    real, bad = ours.store.settle, next(run for run in await ours.runs() if run.schedule_id == "bad")

    async def choosy(settlements: Any) -> frozenset[str]:
        if any(settlement.run_id == bad.id for settlement in settlements):
            raise ValueError("a lone surrogate")
        return await real(settlements)

    monkeypatch.setattr(ours.store, "settle", choosy)
    ours.executor.release()
    await ours.until(lambda: not ours.worker.busy)
    statuses = {run.schedule_id: run.status for run in await ours.runs()}
    assert statuses == {"good": RunStatus.SUCCESS, "fine": RunStatus.SUCCESS, "bad": RunStatus.RUNNING}


# patience with others


async def test_who_was_late_himself_blames_nobody_for_a_lease(ours: Rig, theirs: Rig) -> None:
    """Two thirds of a lease are enough: who had renewed just before the outage has lost his by its end."""
    await hold_one(theirs)
    await theirs.keeper.step()
    ours.clock.advance(1)
    await ours.keeper.step()
    ours.clock.advance(LEASE_SECONDS - 0.5)
    await ours.keeper.step()
    assert (await only(ours)).status is RunStatus.RUNNING
    ours.clock.advance(LEASE_SECONDS / 3)
    await theirs.keeper.step()
    ours.clock.advance(LEASE_SECONDS)
    await theirs.keeper.step()
    assert not ours.seen(RunTakenOver)
    theirs.executor.release()
    await theirs.settled()
    assert (await only(theirs)).status is RunStatus.SUCCESS


@pytest.mark.parametrize("is_patient", [False, True])
async def test_a_keeper_that_begins_after_an_outage_gives_others_a_lease_of_time(
    ours: Rig, theirs: Rig, is_patient: bool
) -> None:
    await hold_one(theirs)
    ours.clock.advance(LEASE_SECONDS + 1)
    fresh = Keeper(
        ours.store,
        ours.worker,
        ours.completer,
        ours.clock,
        ours.bus,
        executor=ours.executor,
        wakeup=ours.wakeup,
        lease_seconds=LEASE_SECONDS,
        history_days=None,
        is_patient=is_patient,
    )
    await fresh.step()
    assert bool(ours.seen(RunTakenOver)) is not is_patient
    for _ in range(3):
        ours.clock.advance(LEASE_SECONDS / 3)
        await fresh.step()
    assert ours.seen(RunTakenOver)  # that was time enough


def test_an_outage_is_remembered_for_a_while(clock: FakeClock) -> None:
    outage = Outage(clock, Bus())
    assert not outage.ended_within(LEASE_SECONDS)
    outage.failed("open", AWAY, 1)
    assert outage.ended_within(LEASE_SECONDS)
    outage.succeeded("open")
    clock.advance(LEASE_SECONDS - 1)
    assert outage.ended_within(LEASE_SECONDS)
    clock.advance(1)
    assert not outage.ended_within(LEASE_SECONDS)


# frozen workers


async def frozen_before_the_request(rig: Rig, seconds: float) -> None:
    """The claim is written, then the process stands still: its task does not make a step before the time is over."""
    await rig.keeper.step()
    await add(rig.store, rig.clock, **PLAIN)
    await rig.planner.step()
    rig.clock.advance(seconds)
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_worker_that_froze_sends_nothing_before_its_lease_is_renewed(ours: Rig) -> None:
    await frozen_before_the_request(ours, LEASE_SECONDS)
    assert (ours.worker.busy, ours.executor.contexts) == (1, [])
    await ours.keeper.step()  # nobody called it dead
    await ours.settled()
    assert (await only(ours)).status is RunStatus.SUCCESS


async def test_a_worker_that_others_called_dead_sends_nothing_at_all(store: SqliteStore, ours: Rig) -> None:
    await frozen_before_the_request(ours, LEASE_SECONDS + 1)
    theirs = await Rig(store, ours.clock, ScriptedExecutor()).begin()
    await theirs.keeper.step()
    assert theirs.seen(RunTakenOver)
    with pytest.raises(Declared):
        await ours.keeper.step()
    await ours.worker.abandon()
    assert not ours.executor.contexts
    assert len(ours.seen(ResultDropped)) == 1
    assert (await only(ours)).status is RunStatus.LOST


async def test_a_stop_before_it_could_ask_sends_nothing_and_spends_no_attempt(ours: Rig) -> None:
    await frozen_before_the_request(ours, LEASE_SECONDS)
    ours.executor.attachable = True  # whoever took it up would look for an agent that was never started
    await ours.worker.stop(0)
    run = await only(ours)
    assert (run.status, run.attempt, run.instruction) == (RunStatus.PENDING, 0, None)
    assert not ours.executor.contexts


async def test_an_answer_that_came_while_the_worker_was_frozen_is_dropped(ours: Rig, theirs: Rig) -> None:
    await hold_one(ours)
    for _ in range(4):
        await theirs.keeper.step()
        ours.clock.advance(LEASE_SECONDS / 3)
    await theirs.keeper.step()
    ours.executor.release()
    await ours.until(lambda: not ours.worker.busy)
    assert len(ours.seen(ResultDropped)) == 1
    assert (await only(ours)).status is RunStatus.LOST


# clocks that are wrong


class Wrong(FakeClock):
    """This machine's clock is off by `by_ms`, and its monotonic time began at another moment; the database's rules."""

    def __init__(self, right: FakeClock, by_ms: int) -> None:
        super().__init__()
        self._right = right
        self._by_ms = by_ms

    def now(self) -> int:
        return self._right.now() + self._by_ms

    def store_now(self) -> int:
        return self._right.store_now()

    def monotonic(self) -> float:
        return self._right.monotonic() + self._by_ms


@pytest.mark.parametrize("by_ms", [-3_600_000, 3_600_000, 86_400_000])
async def test_whose_clock_is_wrong_fires_and_leases_like_the_others(
    store: SqliteStore, clock: FakeClock, by_ms: int
) -> None:
    right = await Rig(store, clock, ScriptedExecutor()).begin()
    wrong = await Rig(store, Wrong(clock, by_ms), ScriptedExecutor()).begin()
    due = await add(store, clock, **PLAIN)
    first = due.next_fire_at
    for minute in range(6):
        for rig in (wrong, right) if minute % 2 else (right, wrong):
            await rig.tick()
        for _ in range(12):
            clock.advance(LEASE_SECONDS / 3)
            await wrong.keeper.step()
            await right.keeper.step()
    runs = await right.runs()
    assert first is not None
    assert [run.fire_at for run in runs] == [first + 60_000 * minute for minute in range(6)]
    assert {run.status for run in runs} == {RunStatus.SUCCESS}
    assert {run.started_at for run in runs} == {run.fire_at for run in runs}
    assert not right.seen(RunTakenOver) + wrong.seen(RunTakenOver)
    assert len(right.executor.contexts) + len(wrong.executor.contexts) == 6
