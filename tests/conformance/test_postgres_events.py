"""Event logs, reviews and take-overs that meet each other in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from tests.conformance.conftest import PostgresBackend
from tests.conformance.helpers import DETACHED, START, SUCCESS, detached, held, paused, register, run_of
from tests.pooler import TransactionPooler

from agentclock.core.errors import StoreUnavailable
from agentclock.core.lifecycle import settle
from agentclock.core.model import Claim, RunStatus
from agentclock.ports import EventBatch, LoggedEvent
from agentclock.store import postgres_events, postgres_runs
from agentclock.store.postgres import PostgresStore
from agentclock.store.postgres_pool import Session
from agentclock.testing import FakeClock

pytestmark = pytest.mark.postgres

OpenStore = Callable[..., Awaitable[PostgresStore]]


@pytest.fixture
async def open_store(clock: FakeClock, postgres_dsn: str) -> AsyncIterator[OpenStore]:
    backend = PostgresBackend(postgres_dsn, clock)
    await backend.empty()
    stores: list[PostgresStore] = []

    async def made(dsn: str = postgres_dsn, **options: Any) -> PostgresStore:
        store = PostgresStore(dsn, clock=clock, **options)
        await store.open()
        stores.append(store)
        return store

    yield made
    for store in stores:
        await store.close()


def batch(claim: Claim, seq: int) -> EventBatch:
    event = LoggedEvent(run_id=claim.run.id, seq=seq, attempt=1, at=START, type="x", data=None)
    return EventBatch(run_id=claim.run.id, fence=claim.run.fence, events=(event,))


@asynccontextmanager
async def held_open(store: PostgresStore, operation: Callable[..., Awaitable[Any]], *args: Any) -> AsyncIterator[Any]:
    """What the operation answered, its transaction open until the block is left."""
    answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    leave = asyncio.Event()

    async def work(session: Session) -> None:
        answered.set_result(await operation(session, *args))
        await leave.wait()

    working = asyncio.create_task(store._pool.transact(store._clock.store_now(), work))
    try:
        yield await answered
    finally:
        leave.set()
        await working


async def until_blocked(dsn: str) -> None:
    """Returns when a session waits for a lock."""
    connection = await asyncpg.connect(dsn)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    try:
        while not await connection.fetchval(waiting):  # noqa: ASYNC110 - only the server knows
            await asyncio.sleep(0.01)
    finally:
        await connection.close()


async def test_a_run_ends_after_the_events_that_are_being_written(open_store: OpenStore, postgres_dsn: str) -> None:
    store = await open_store()
    await register(store)
    claim = await held(store)
    async with held_open(store, postgres_events.append_events, [batch(claim, 1)]) as written:
        assert written == {claim.run.id}
        settling = asyncio.create_task(store.settle([settle(claim, SUCCESS, START)]))
        await until_blocked(postgres_dsn)
    assert await settling == {claim.run.id}
    assert len(await store.events_after(claim.run.id, 0, 10)) == 1


async def test_events_that_come_during_a_take_over_are_refused(open_store: OpenStore, postgres_dsn: str) -> None:
    store = await open_store()
    await register(store)
    claim = await held(store)
    await store.release_engine("w1")
    async with held_open(store, postgres_runs.orphans, 10) as orphans:
        assert [orphan.run.id for orphan in orphans] == [claim.run.id]
        writing = asyncio.create_task(store.append_events([batch(claim, 1)]))
        await until_blocked(postgres_dsn)
    assert await writing == frozenset()
    assert await store.events_after(claim.run.id, 0, 10) == []


async def test_batches_of_many_workers_do_not_wait_in_a_circle(open_store: OpenStore) -> None:
    store = await open_store()
    await register(store)
    claims = [await held(store, f"s{number}") for number in range(8)]

    async def write(order: list[Claim], seq: int) -> None:
        assert len(await store.append_events([batch(claim, seq) for claim in order])) == len(claims)

    await asyncio.gather(*(write(claims[:: 1 if seq % 2 else -1], seq) for seq in range(1, 21)))
    for claim in claims:
        assert len(await store.events_after(claim.run.id, 0, 100)) == 20


async def test_a_run_under_review_is_not_waited_for(open_store: OpenStore, clock: FakeClock) -> None:
    store, other = await open_store(), await open_store()
    await register(store)
    runs = [await paused(store, "a"), await paused(store, "b")]
    clock.advance(5)
    async with held_open(store, postgres_runs.paused_due, 1) as first:
        second = await other.paused_due(10)
    assert {claim.run.id for claim in (*first, *second)} == {run.id for run in runs}
    assert (len(first), len(second)) == (1, 1)


async def test_an_unconfirmed_claim_of_an_agent_run_is_taken_back_whole(
    open_store: OpenStore, postgres_dsn: str, clock: FakeClock
) -> None:
    async with TransactionPooler(postgres_dsn) as pooler:
        store = await open_store(pooler.dsn, pooler=True)
        await register(store)
        run = await detached(store)
        clock.advance(3)
        pooler.lose_next_commit = True
        with pytest.raises(StoreUnavailable):
            await store.claim("w1", 1)
        assert (await run_of(store, run.id)).status is RunStatus.RUNNING
        (claim,) = (await store.claim("w1", 1)).claims
        assert claim.run == replace(run, status=RunStatus.RUNNING, fence=3, worker_id="w1")
        assert claim.elapsed_ms == 3000
        assert [attempt.status for attempt in await store.attempts(run.id)] == [RunStatus.RUNNING]
        assert await store.settle([settle(claim, DETACHED, clock.now())]) == {run.id}
