"""What a worker knows of the request that it is about to send again, and that it sends nothing before it knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.rig import LEASE_SECONDS, Rig, add, only

from agentclock.core.errors import StoreUnavailable
from agentclock.core.events import EngineTrouble, ResultDropped
from agentclock.core.model import (
    Attempt,
    OnLost,
    Outcome,
    OutcomeKind,
    RetryPolicy,
    RunStatus,
    Schedule,
    Target,
)
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import SUCCESS, FakeClock, ScriptedExecutor

LOST = Outcome(kind=OutcomeKind.LOST, error="the connection broke")
TIMEOUT = Outcome(kind=OutcomeKind.TIMEOUT, error="no complete answer")
FAILED = Outcome(kind=OutcomeKind.FAILED, retryable=True, status_code=500, error="HTTP 500")
REFUSED = Outcome(kind=OutcomeKind.REFUSED, retryable=True, error="connection refused")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(clock: FakeClock) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(":memory:", clock=clock)
    await store.open()
    yield store
    await store.close()


class Away:
    """A database that is away for those who ask for attempts, while `is_away`."""

    def __init__(self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_away = False
        self.asked = 0
        self._real = store.attempts
        monkeypatch.setattr(store, "attempts", self)

    async def __call__(self, run_id: str) -> list[Attempt]:
        self.asked += 1
        if self.is_away:
            raise StoreUnavailable("the database is away")
        return await self._real(run_id)


@pytest.fixture
def away(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> Away:
    return Away(store, monkeypatch)


async def add_hook(store: SqliteStore, clock: FakeClock, **changes: Any) -> Schedule:
    """A schedule of a plain endpoint that may be called again, due now."""
    policy = {"on_lost": OnLost.RETRY, "retry": RetryPolicy(max_retries=9, delay_seconds=10), "timeout_seconds": 60}
    return await add(store, clock, target=Target(endpoint="/hook"), **{**policy, **changes})


async def lost_once(store: SqliteStore, clock: FakeClock, executor: ScriptedExecutor) -> Rig:
    """A rig whose run was lost in its first attempt; the next one is available."""
    await add_hook(store, clock)
    rig = await Rig(store, clock, executor).begin()
    await rig.tick()
    clock.advance(seconds=10)
    return rig


async def begins_to_wait(rig: Rig) -> None:
    """The second attempt is claimed, and its worker waits for the database."""
    await rig.worker.step()
    await rig.clock.until_sleeping()


def deliveries(executor: ScriptedExecutor) -> list[tuple[int, int]]:
    return [(context.claim.run.attempt, context.delivery) for context in executor.contexts]


async def test_attempts_after_one_of_unknown_end_repeat_its_request(store: SqliteStore, clock: FakeClock) -> None:
    await add_hook(store, clock)
    executor = ScriptedExecutor([LOST, TIMEOUT, FAILED, FAILED, LOST, REFUSED, SUCCESS])
    rig = await Rig(store, clock, executor).begin()
    for _ in range(7):
        await rig.tick()
        clock.advance(seconds=10)
    assert (await only(rig)).status is RunStatus.SUCCESS
    assert deliveries(executor) == [(1, 0), (2, 1), (3, 1), (4, 4), (5, 5), (6, 5), (6, 5)]


async def test_a_first_attempt_asks_nothing(store: SqliteStore, clock: FakeClock, away: Away) -> None:
    away.is_away = True
    await add_hook(store, clock)
    rig = await Rig(store, clock, ScriptedExecutor()).begin()
    await rig.tick()
    assert (deliveries(rig.executor), away.asked) == ([(1, 0)], 0)


async def test_the_request_of_a_worker_that_died_is_repeated_with_its_key(store: SqliteStore, clock: FakeClock) -> None:
    await add_hook(store, clock)
    executor = ScriptedExecutor()
    executor.hold()
    dead = await Rig(store, clock, executor).begin()
    await dead.tick()
    clock.advance(seconds=LEASE_SECONDS + 1)
    rig = await Rig(store, clock, ScriptedExecutor()).begin()
    await rig.tick()
    clock.advance(seconds=10)
    await rig.tick()
    assert deliveries(rig.executor) == [(2, 1)]
    await dead.worker.abandon()


async def test_nothing_is_sent_before_the_database_is_back(store: SqliteStore, clock: FakeClock, away: Away) -> None:
    rig = await lost_once(store, clock, ScriptedExecutor([LOST, SUCCESS]))
    away.is_away = True
    await begins_to_wait(rig)
    assert deliveries(rig.executor) == [(1, 0)]
    assert [event.loop for event in rig.seen(EngineTrouble)] == ["worker"]
    away.is_away = False
    clock.advance(seconds=1)
    await rig.executor.started(2)
    await rig.settled()
    assert deliveries(rig.executor) == [(1, 0), (2, 1)]
    assert ((await only(rig)).status, (await only(rig)).attempt) == (RunStatus.SUCCESS, 2)


async def test_an_attempt_that_waited_in_vain_is_not_spent(store: SqliteStore, clock: FakeClock, away: Away) -> None:
    rig = await lost_once(store, clock, ScriptedExecutor([LOST, SUCCESS]))
    away.is_away = True
    await begins_to_wait(rig)
    clock.advance(seconds=60)
    await rig.until(lambda: not rig.worker.busy)
    run = await only(rig)
    assert (run.status, run.attempt, run.refusals) == (RunStatus.PENDING, 1, 1)
    assert "nothing was sent" in str(run.error)
    away.is_away = False
    clock.advance(seconds=10)
    await rig.tick()
    assert deliveries(rig.executor) == [(1, 0), (2, 1)]
    assert (await only(rig)).status is RunStatus.SUCCESS


async def test_a_worker_that_stops_leaves_a_waiting_attempt_to_others(
    store: SqliteStore, clock: FakeClock, away: Away
) -> None:
    rig = await lost_once(store, clock, ScriptedExecutor([LOST, SUCCESS]))
    away.is_away = True
    await begins_to_wait(rig)
    stopping = asyncio.create_task(rig.worker.stop(0))
    await rig.until(lambda: clock.advance(ms=1) or stopping.done())
    run = await only(rig)
    assert (run.status, run.attempt, len(rig.executor.contexts)) == (RunStatus.PENDING, 1, 1)


async def test_an_attempt_interrupted_while_it_asks_is_not_lost(
    store: SqliteStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that does not even answer: the stop does not wait for it."""
    rig = await lost_once(store, clock, ScriptedExecutor([LOST, SUCCESS]))
    asked, never = asyncio.Event(), asyncio.Event()

    async def silent(_: str) -> list[Attempt]:
        asked.set()
        await never.wait()
        return []

    monkeypatch.setattr(store, "attempts", silent)
    monkeypatch.setattr("agentclock.engine.worker.LETTING_GO_SECONDS", 0.0)
    await rig.worker.step()
    await asked.wait()
    await rig.worker.stop(0)
    run = await only(rig)
    assert (run.status, run.attempt, len(rig.executor.contexts)) == (RunStatus.PENDING, 1, 1)


async def test_a_run_cancelled_while_it_waits_sends_nothing(store: SqliteStore, clock: FakeClock, away: Away) -> None:
    rig = await lost_once(store, clock, ScriptedExecutor([LOST, SUCCESS]))
    away.is_away = True
    await begins_to_wait(rig)
    rig.worker.cancel([(await only(rig)).id])
    clock.advance(seconds=1)
    await rig.until(lambda: not rig.worker.busy)
    assert ((await only(rig)).status, len(rig.executor.contexts)) == (RunStatus.CANCELLED, 1)


async def test_an_attempt_that_others_ended_meanwhile_sends_nothing(
    store: SqliteStore, clock: FakeClock, away: Away
) -> None:
    """Its worker's lease was over before the database was back, and another worker declared it lost."""
    rig = await lost_once(store, clock, ScriptedExecutor([LOST, SUCCESS]))
    away.is_away = True
    await begins_to_wait(rig)
    clock.advance(seconds=LEASE_SECONDS + 1)
    other = await Rig(store, clock, ScriptedExecutor()).begin()
    await other.keeper.step()
    assert (await only(rig)).status is RunStatus.PENDING
    away.is_away = False
    clock.advance(seconds=5)
    await rig.until(lambda: not rig.worker.busy)
    assert deliveries(rig.executor) == [(1, 0)]
    assert rig.seen(ResultDropped)
    clock.advance(seconds=10)
    await other.tick()
    assert deliveries(other.executor) == [(3, 1)]
