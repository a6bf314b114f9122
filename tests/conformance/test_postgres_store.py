"""What only PostgreSQL has: many processes, pools, a server that goes away."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from tests.conformance.conftest import TABLES
from tests.conformance.helpers import (
    ALL,
    MINUTE,
    START,
    SUCCESS,
    end,
    firing,
    history,
    manual_id,
    queued,
    register,
    run_of,
    schedule,
    schedule_of,
)
from tests.pg import PostgresServer, execute
from tests.pooler import TransactionPooler

from agentclock.core.errors import ConfigError, NotFound, StoreUnavailable
from agentclock.core.lifecycle import settle
from agentclock.core.model import Instant, Overlap, RunStatus, Schedule
from agentclock.core.planning import Plan, Situation, plan, plan_trigger
from agentclock.ports import RunFilter, ScheduleFilter
from agentclock.store import postgres_address, postgres_pool, postgres_runs
from agentclock.store.migrating import load_migrations
from agentclock.store.postgres import PostgresStore
from agentclock.testing import FakeClock

pytestmark = pytest.mark.postgres

OpenStore = Callable[..., Awaitable[PostgresStore]]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def dsn(postgres_dsn: str) -> str:
    execute(postgres_dsn, f"TRUNCATE {', '.join(f'agentclock.{table}' for table in TABLES)}")
    return postgres_dsn


@pytest.fixture
async def open_store(clock: FakeClock, dsn: str) -> AsyncIterator[OpenStore]:
    stores: list[PostgresStore] = []

    async def made(at: str = dsn, **options: Any) -> PostgresStore:
        store = PostgresStore(at, **({"clock": clock} | options))
        await store.open()
        stores.append(store)
        return store

    yield made
    for store in stores:
        await store.close()


@asynccontextmanager
async def raw(dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def until_blocked(connection: asyncpg.Connection[asyncpg.Record], sessions: int = 1) -> None:
    """Returns when that many sessions wait for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    while await connection.fetchval(waiting) < sessions:  # noqa: ASYNC110 - only the server knows
        await asyncio.sleep(0.01)


# schema

STARTER = """
import asyncio, sys
from agentclock.engine.clock import SystemClock
from agentclock.store.postgres import PostgresStore

async def main():
    store = PostgresStore(sys.argv[1], clock=SystemClock(), pool_size=1)
    print("ready", flush=True)
    sys.stdin.readline()
    await store.open()
    print((await store.health()).schema_version, flush=True)
    await store.close()

asyncio.run(main())
"""


async def test_ten_processes_may_start_at_once(empty_postgres_dsn: str) -> None:
    async def launch() -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-c", STARTER, empty_postgres_dsn)
        return await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)

    async def ready(process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"

    processes = [await launch() for _ in range(10)]
    await asyncio.gather(*map(ready, processes))
    answers = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    versions = [step.version for step in load_migrations("postgres")]
    assert [(out, errors) for out, errors in answers] == [(b"%d\n" % versions[-1], b"")] * 10
    async with raw(empty_postgres_dsn) as connection:
        applied = "SELECT array_agg(version ORDER BY version) FROM agentclock.migrations"
        assert await connection.fetchval(applied) == versions


async def test_a_database_that_is_behind_is_left_alone_when_told_so(
    empty_postgres_dsn: str, open_store: OpenStore
) -> None:
    with pytest.raises(StoreUnavailable, match="agentclock db upgrade"):
        await open_store(empty_postgres_dsn, auto_migrate=False)
    async with raw(empty_postgres_dsn) as connection:
        assert await connection.fetchval("SELECT to_regnamespace('agentclock')") is None


@pytest.mark.parametrize(("breaking", "usable"), [(False, True), (True, False)])
async def test_a_newer_schema(empty_postgres_dsn: str, open_store: OpenStore, breaking: bool, usable: bool) -> None:
    await open_store(empty_postgres_dsn)
    newer = f"INSERT INTO agentclock.migrations VALUES (999, {breaking}, '9.9', 'x', now())"
    async with raw(empty_postgres_dsn) as connection:
        await connection.execute(newer)
    if usable:
        assert "newer" in (await (await open_store(empty_postgres_dsn)).health()).warnings[0]
    else:
        with pytest.raises(StoreUnavailable, match="upgrade agentclock"):
            await open_store(empty_postgres_dsn)


async def test_two_schemas_in_one_database_do_not_meet(empty_postgres_dsn: str, open_store: OpenStore) -> None:
    one = await open_store(empty_postgres_dsn)
    other = await open_store(empty_postgres_dsn, schema="other_clock")
    await one.insert_schedules([schedule()])
    assert await other.get_schedule("s1") is None


# many at once


async def test_two_stores_fire_everything_once(open_store: OpenStore) -> None:
    stores = [await open_store(pool_size=4), await open_store(pool_size=4)]
    await stores[0].insert_schedules([schedule(f"s{number}", next_fire_at=START) for number in range(500)])
    for number, store in enumerate(stores):
        await register(store, f"w{number}")

    async def fire(number: int) -> list[str]:
        fired, claimed = [], 0
        while True:
            batch = await stores[number % 2].fire_due(plan, limit=40, worker_id=f"w{number % 2}", slots=30)
            if not batch.planned and (batch.next_due_ms is None or batch.next_due_ms > 0):
                return fired
            fired += [run.id for run in batch.runs]
            claimed += len(batch.claims)

    fired = [run_id for found in await asyncio.gather(*(fire(number) for number in range(8))) for run_id in found]
    assert (len(fired), len(set(fired))) == (500, 500)
    assert (await stores[0].list_runs(RunFilter(), ALL)).total_count == 500


async def test_concurrent_claims_never_share_a_run(open_store: OpenStore) -> None:
    stores = [await open_store(), await open_store()]
    for number, store in enumerate(stores):
        await register(store, f"w{number}")
    await queued(stores[0], *(f"s{number}" for number in range(300)))

    async def claim(number: int) -> list[str]:
        held: list[str] = []
        while claims := (await stores[number % 2].claim(f"w{number % 2}", 7)).claims:
            held += [claim.run.id for claim in claims]
        return held

    held = Counter(run_id for found in await asyncio.gather(*map(claim, range(8))) for run_id in found)
    assert (len(held), set(held.values())) == (300, {1})


async def test_batches_settled_in_opposite_order_do_not_stop_each_other(open_store: OpenStore) -> None:
    stores = [await open_store(), await open_store()]
    await register(stores[0])
    await queued(stores[0], *(f"s{number}" for number in range(200)))
    claims = (await stores[0].claim("w1", 200)).claims
    settlements = [settle(claim, SUCCESS, START) for claim in claims]
    applied = await asyncio.gather(
        *(store.settle(settlements[::step]) for store in stores for step in (1, -1) for _ in range(2))
    )
    assert sorted(len(ids) for ids in applied)[-1] == 200
    assert sum(len(ids) for ids in applied) == 200


@pytest.mark.parametrize("end_first", [True, False])
async def test_a_run_that_begins_to_wait_while_the_other_ends_is_let_go(
    open_store: OpenStore, dsn: str, end_first: bool
) -> None:
    """Neither of two transactions at the same time sees what the other writes; together they must not forget it."""
    store = await open_store()
    await register(store)
    await store.insert_schedules([schedule(overlap=Overlap.QUEUE, next_fire_at=START)])
    (claim,) = (await store.fire_due(firing(START, again_at=START), limit=1, worker_id="w1", slots=1)).claims
    wait = store.fire_due(firing(START + MINUTE, available=None), limit=1)
    async with raw(dsn) as blocker, raw(dsn) as observer:
        # Both transactions are stopped half-way: one by a lock on the run, the other behind it.
        table, lock = ("runs", "FOR NO KEY UPDATE") if end_first else ("attempts", "FOR UPDATE")
        await blocker.execute("BEGIN")
        await blocker.execute(f"SELECT FROM agentclock.{table} {lock}")
        ending = asyncio.create_task(end(store, claim))
        await until_blocked(observer)
        waiting = asyncio.create_task(wait)
        await until_blocked(observer, 2)
        await blocker.execute("COMMIT")
        await asyncio.gather(ending, waiting)
    newest = (await history(store))[-1]
    assert (newest.status, newest.available_at is not None) == (RunStatus.PENDING, True)


async def test_a_trigger_waits_for_the_schedule_and_then_sees_its_runs(open_store: OpenStore, dsn: str) -> None:
    store = await open_store()
    await store.insert_schedules([schedule(next_fire_at=None)])
    async with raw(dsn) as blocker, raw(dsn) as observer:
        await blocker.execute("BEGIN")
        await blocker.execute("SELECT FROM agentclock.schedules FOR NO KEY UPDATE")
        first, second = (asyncio.create_task(store.trigger("s1", plan_now)) for _ in range(2))
        await until_blocked(observer, 2)
        await blocker.execute("COMMIT")
        statuses = {(await first).run.status, (await second).run.status}
    assert statuses == {RunStatus.PENDING, RunStatus.SKIPPED}


def plan_now(found: Schedule, situation: Situation, now: Instant) -> Plan:
    return plan_trigger(found, situation, now, manual_id(now))


async def test_a_deadlock_is_tried_again(open_store: OpenStore, dsn: str) -> None:
    store = await open_store()
    await store.insert_schedules([schedule("a"), schedule("b")])
    tries = 0
    ours_holds_a, theirs_waits = asyncio.Event(), asyncio.Event()

    async def work(session: postgres_pool.Session) -> str:
        nonlocal tries
        tries += 1
        await session.script("SET LOCAL deadlock_timeout = '10ms'")
        await session.rows("lock_schedule", id="a", user_id=None)
        ours_holds_a.set()
        await theirs_waits.wait()
        await session.rows("lock_schedule", id="b", user_id=None)
        return "done"

    async with raw(dsn) as other, raw(dsn) as observer:
        await other.execute("BEGIN; SET LOCAL deadlock_timeout = '1min'")
        await other.execute("SELECT FROM agentclock.schedules WHERE id = 'b' FOR UPDATE")
        ours = asyncio.create_task(store._pool.transact(None, work))
        await ours_holds_a.wait()
        theirs = asyncio.create_task(other.execute("SELECT FROM agentclock.schedules WHERE id = 'a' FOR UPDATE"))
        await until_blocked(observer)
        theirs_waits.set()
        await theirs
        await other.execute("COMMIT")
        assert await ours == "done"
    # More than twice if we take the row again before the other one has noticed that it is free.
    assert tries >= 2


# a server that goes away


async def answered(store: PostgresStore) -> None:
    """A server that was away is not knocked at with each call: it takes a moment until it is found to be back."""
    while True:
        try:
            await store.now()
        except StoreUnavailable:
            await asyncio.sleep(0.01)
        else:
            return


async def test_the_pool_recovers_when_the_server_restarts(open_store: OpenStore, chaos_server: PostgresServer) -> None:
    store = await open_store(chaos_server.dsn())
    await register(store)
    (run,) = await queued(store, "s1")
    await asyncio.gather(*(store.get_run(run.id) for _ in range(8)))  # every connection of the pool has been used
    await asyncio.to_thread(chaos_server.stop)
    for call in (store.get_run(run.id), store.claim("w1", 1), store.now(), store.health()):
        with pytest.raises(StoreUnavailable, match=r"PostgreSQL at 127\.0\.0\.1"):
            await call
    await asyncio.to_thread(chaos_server.start)
    await answered(store)
    answers = await asyncio.gather(*(store.get_run(run.id) for _ in range(8)))
    assert answers == [run] * 8
    assert len((await store.claim("w1", 1)).claims) == 1


async def test_what_was_answered_survives_a_kill(open_store: OpenStore, chaos_server: PostgresServer) -> None:
    store = await open_store(chaos_server.dsn())
    await register(store)
    await queued(store, *(f"s{number}" for number in range(50)))
    settled: set[str] = set()

    async def work() -> None:
        while claims := (await store.claim("w1", 3)).claims:
            settled.update(await store.settle([settle(claim, SUCCESS, START) for claim in claims]))
            if len(settled) > 20:
                await asyncio.to_thread(chaos_server.kill)

    with pytest.raises(StoreUnavailable):
        await work()
    await asyncio.to_thread(chaos_server.start)
    await answered(store)
    assert len(settled) > 20
    for run_id in settled:
        assert (await run_of(store, run_id)).status is RunStatus.SUCCESS


async def test_a_transaction_cut_off_leaves_nothing(open_store: OpenStore, chaos_server: PostgresServer) -> None:
    store = await open_store(chaos_server.dsn())
    await store.insert_schedules([schedule("a"), schedule("b")])

    async def work(session: postgres_pool.Session) -> None:
        await session.rows("delete_schedule", id="a", user_id=None)
        await asyncio.to_thread(chaos_server.kill)
        await session.rows("delete_schedule", id="b", user_id=None)

    with pytest.raises(StoreUnavailable):
        await store._pool.transact(None, work)
    await asyncio.to_thread(chaos_server.start)
    await answered(store)
    assert (await store.list_schedules(ScheduleFilter(), ALL)).total_count == 2


async def test_a_claim_whose_commit_was_not_confirmed_is_not_stuck(open_store: OpenStore, dsn: str) -> None:
    """The worker knows nothing of it and keeps its lease: nobody else would ever take the run."""
    async with TransactionPooler(dsn) as pooler:
        store = await open_store(pooler.dsn, pooler=True)
        await register(store)
        (run,) = await queued(store, "s1")
        pooler.lose_next_commit = True
        with pytest.raises(StoreUnavailable):
            await store.claim("w1", 1)
        assert (await run_of(store, run.id)).status is RunStatus.RUNNING
        (claim,) = (await store.claim("w1", 1)).claims
        assert (claim.run.id, claim.run.attempt, claim.run.fence) == (run.id, 1, 2)
        assert [attempt.number for attempt in await store.attempts(run.id)] == [1]
        await end(store, claim)


async def test_an_unconfirmed_claim_leaves_other_workers_alone(open_store: OpenStore, dsn: str) -> None:
    """Rolled back, it carries the very fence that another worker's claim gets."""
    store, other = await open_store(), await open_store()
    await register(store, "w1")
    await register(other, "w2")
    (run,) = await queued(store, "s1")

    async def cut(session: postgres_pool.Session) -> Any:
        claimed = await postgres_runs.claim(session, "w1", 1)
        await session.script(f"SELECT pg_terminate_backend({session._connection.get_server_pid()})")
        return claimed

    with pytest.raises(StoreUnavailable):
        await store._claiming(cut)
    (claim,) = (await other.claim("w2", 1)).claims
    await store.claim("w1", 1)
    held = await run_of(store, run.id)
    assert (held.status, held.worker_id, held.fence) == (RunStatus.RUNNING, "w2", claim.run.fence)


async def test_a_server_that_never_answers_is_not_waited_for(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_pool, "CONNECT_SECONDS", 0.2)

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silence, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port}"):
        await open_store(f"postgresql://u:geheim@127.0.0.1:{port}/db")
    server.close()


async def test_a_statement_that_hangs_is_given_up(
    open_store: OpenStore, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_pool, "COMMAND_SECONDS", 0.3)
    store = await open_store(pool_size=1)
    await store.insert_schedules([schedule()])
    async with raw(dsn) as blocker:
        await blocker.execute("BEGIN")
        await blocker.execute("LOCK TABLE agentclock.schedules IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailable):
            await store.get_schedule("s1")
        with pytest.raises(StoreUnavailable):
            await store.fire_due(plan, limit=1)
        await blocker.execute("ROLLBACK")
    assert await schedule_of(store) == schedule()


async def test_too_few_connections_are_said_to_be_busy(
    open_store: OpenStore, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_pool, "ACQUIRE_SECONDS", 0.2)
    store = await open_store(pool_size=1)
    entered = asyncio.Event()
    leave = asyncio.Event()

    async def hold(session: postgres_pool.Session) -> None:
        entered.set()
        await leave.wait()

    holding = asyncio.create_task(store._pool.transact(None, hold))
    await entered.wait()
    with pytest.raises(StoreUnavailable, match="1 of 1 connections are busy"):
        await store.now()
    leave.set()
    await holding
    await store.now()


async def test_a_cancelled_caller_leaves_no_transaction_behind(open_store: OpenStore, dsn: str) -> None:
    store = await open_store(pool_size=1)
    await store.insert_schedules([schedule()])
    entered = asyncio.Event()

    async def hang(session: postgres_pool.Session) -> None:
        await session.rows("delete_schedule", id="s1", user_id=None)
        entered.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store._pool.transact(None, hang))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.change_schedule("s1", lambda s, now: replace(s, description="still here"))


@pytest.fixture
def limited(dsn: str) -> Iterator[str]:
    """A user who may do what the tests need, over one connection at most."""
    execute(
        dsn,
        "DROP ROLE IF EXISTS agentclock_limited",
        "CREATE ROLE agentclock_limited LOGIN PASSWORD 'sesam/öffne' CONNECTION LIMIT 1",
        "GRANT USAGE ON SCHEMA agentclock TO agentclock_limited",
        "GRANT SELECT ON ALL TABLES IN SCHEMA agentclock TO agentclock_limited",
    )
    user = "agentclock_limited:sesam%2F%C3%B6ffne@"
    yield dsn.replace(dsn[len("postgresql://") : dsn.index("@") + 1], user)
    execute(dsn, "DROP OWNED BY agentclock_limited", "DROP ROLE agentclock_limited")


async def test_a_refused_connection_or_privilege_is_unavailability(
    open_store: OpenStore, limited: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_pool, "ACQUIRE_SECONDS", 0.2)
    store = await open_store(limited, pool_size=2)
    entered, leave = asyncio.Event(), asyncio.Event()

    async def hold(session: postgres_pool.Session) -> None:
        entered.set()
        await leave.wait()

    with pytest.raises(StoreUnavailable, match="lacks a privilege"):
        await store.insert_schedules([schedule()])
    holding = asyncio.create_task(store._pool.transact(None, hold))
    await entered.wait()
    with pytest.raises(StoreUnavailable, match="too many connections"):
        await store.now()
    leave.set()
    await holding


async def test_a_read_only_server_is_unavailability(open_store: OpenStore, empty_postgres_dsn: str) -> None:
    await open_store(empty_postgres_dsn)
    name = empty_postgres_dsn.rpartition("/")[2]
    execute(empty_postgres_dsn, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    store = await open_store(empty_postgres_dsn)
    assert await store.get_schedule("s1") is None
    with pytest.raises(StoreUnavailable, match="standby"):
        await store.insert_schedules([schedule()])


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg_async", "postgresql+asyncpg"])
async def test_urls_of_other_drivers_are_understood(open_store: OpenStore, dsn: str, scheme: str) -> None:
    store = await open_store(dsn.replace("postgresql", scheme, 1))
    assert (await store.health()).backend == "postgresql"


# passwords

SECRET = "hush%20hush"
ADDRESSES = ["127.0.0.1:1/db", "no-such-host.invalid/db", "127.0.0.1:1/db?sslmode=verify-full", "127.0.0.1:1/%zz"]


@pytest.mark.parametrize("address", ADDRESSES)
async def test_no_error_tells_the_password(open_store: OpenStore, address: str) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        await open_store(f"postgresql://clock:{SECRET}@{address}")
    told = "".join(traceback.format_exception(caught.value, chain=True, limit=0))
    assert "PostgreSQL at" in told
    assert "hush" not in told


async def test_nor_does_a_server_that_refuses_it(open_store: OpenStore, limited: str) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        await open_store(limited + "_missing")
    assert "does not exist" in str(caught.value)
    assert "sesam" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://clock:hush#1@host/db",
        "postgresql://clock:hush@host:hush/db",
        "postgresql://clock:hu[sh@host/db",
        "mysql://clock:hush@host/db",
        "clock:hush@host",
    ],
)
def test_nor_does_a_url_that_cannot_be_read(clock: FakeClock, url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PostgresStore(url, clock=clock)
    told = "".join(traceback.format_exception(caught.value, limit=0))
    assert "hush" not in told.replace("'clock'", "")


def test_a_secret_inside_an_error_is_blotted_out() -> None:
    address = postgres_address.Address.read("postgresql://u:hush%20hush@host/db")
    with pytest.raises(StoreUnavailable) as caught, address.answering():
        raise OSError("cannot use 'hush hush' (hush%20hush)")
    assert "hush" not in "".join(traceback.format_exception(caught.value, limit=0))


# behind a pooler


async def test_nothing_depends_on_a_session(open_store: OpenStore, dsn: str, clock: FakeClock) -> None:
    """No two transactions meet the same server session."""
    async with TransactionPooler(dsn) as pooler:
        store = await open_store(pooler.dsn, pooler=True)
        await register(store)
        await store.insert_schedules([schedule("a"), schedule("b")])
        fired = await store.fire_due(plan, limit=10, worker_id="w1", slots=1)
        claims = (*fired.claims, *(await store.claim("w1", 5)).claims)
        assert len(await store.settle([settle(claim, SUCCESS, START) for claim in claims])) == 2
        await store.change_schedule("a", lambda s, now: replace(s, description="x"))
        assert (await store.list_schedules(ScheduleFilter(tag="none"), ALL)).total_count == 0
        assert len((await store.list_runs(RunFilter(schedule_id="a"), ALL)).items) == 1
        assert (await store.renew_lease("w1", 30)).alive
        assert await store.delete_schedule("a")
        with pytest.raises(NotFound):
            await store.trigger("a", plan)
        assert (await store.health()).warnings == ()
        await asyncio.gather(*(store.now() for _ in range(20)))


async def test_a_pooler_nobody_spoke_of_is_named_as_the_likely_cause(open_store: OpenStore, dsn: str) -> None:
    async with TransactionPooler(dsn) as pooler:
        store = await open_store(pooler.dsn, pooler=False)

        async def again_and_again() -> None:
            for _ in range(10):
                await store.now()

        with pytest.raises(StoreUnavailable, match="pooler=true"):
            await again_and_again()


async def test_migrating_behind_a_pooler(open_store: OpenStore, empty_postgres_dsn: str) -> None:
    async with TransactionPooler(empty_postgres_dsn) as pooler:
        await asyncio.gather(*(open_store(pooler.dsn, pooler=True) for _ in range(2)))
    async with raw(empty_postgres_dsn) as connection:
        steps = len(load_migrations("postgres"))
        assert await connection.fetchval("SELECT count(*) FROM agentclock.migrations") == steps
