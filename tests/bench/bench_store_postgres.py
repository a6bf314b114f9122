"""PostgresStore against pgbench, which replays the very statements that the store sends, and its hot queries.

    python tests/bench/bench_store_postgres.py [--fires 20000] [--batch 100] [--schedules 1000000] [--durable]

BENCH_QUICK=1 makes the counts small. Only ratios are printed: they hold on any machine.

Part one fires `--fires` schedules that are due at one instant, then claims and settles their runs. This is done once
to write down every statement with its values; then the store (on a copy of the database) and a pgbench script of those
statements (on another copy) take turns. pgbench plans nothing and builds no objects: it is the ceiling for any client;
bare asyncpg replaying them shows what the driver takes.
Part two looks at one due schedule and at claims among `--schedules`, measured in round trips to the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a script, it would not find its own package

from tests.pg import PostgresServer, execute

from agentclock.core.lifecycle import settle
from agentclock.core.model import Instant, Outcome, OutcomeKind, Schedule, Target
from agentclock.core.planning import plan
from agentclock.ports import WorkerInfo
from agentclock.store import postgres_pool
from agentclock.store.postgres import PostgresStore
from agentclock.store.postgres_pool import PostgresPool, Session
from agentclock.store.queries import Queries
from agentclock.testing import FakeClock

SUCCESS = Outcome(
    kind=OutcomeKind.SUCCESS, status_code=200, output={"content": "It's done."}, agent_run_id="run", session_id="s"
)
WORKER = WorkerInfo(id="bench", name="bench", app_version="0")
LEASE_SECONDS = 86_400.0
PHASES = ("plan", "claim + settle")
#: Store and ceiling take turns after so many batches: a busy machine slows both.
CHUNK = 10

#: The named queries of one transaction, with their values.
Transaction: TypeAlias = list[tuple[str, list[Any]]]

FILL = """
INSERT INTO agentclock.schedules (
    id, name, target, method, endpoint, payload, cron_expr, timezone, jitter_seconds, overlap, catch_up,
    catch_up_window_seconds, misfire_grace_seconds, timeout_seconds, max_retries, retry_delay_seconds,
    retry_backoff, retry_max_delay_seconds, tags, enabled, next_fire_at, run_count, timetable_since, version,
    created_at, folded_name)
SELECT md5(n::text)::uuid::text, 'name ' || n, 'default', 'POST', '/agents/echo/runs', '{{"message": "hello"}}',
    '0 9 * * *', 'Europe/Berlin', 0, 'skip', 'latest', 86400, 60, 3600, 0, 60, 'fixed', 3600, '[]', true,
    to_timestamp({first_due} + {spacing} * n), 0, to_timestamp(0), 1, to_timestamp({first_due} - n), 'name ' || n
FROM generate_series(1, {count}) n
"""


@dataclass(slots=True)
class Tape:
    """Every transaction of a store, by phase."""

    phase: str = ""
    transactions: dict[str, list[Transaction]] = field(default_factory=dict)

    @contextmanager
    def recording(self) -> Iterator[None]:
        rows, transact = Session.rows, PostgresPool.transact

        async def rows_taped(session: Session, name: str, conditions: Any = (), /, **values: Any) -> Any:
            args = session._queries.get(name, conditions).args({"now": session._now} | values)
            self.transactions[self.phase][-1].append((name, args))
            return await rows(session, name, conditions, **values)

        async def transact_taped(pool: PostgresPool, now: Any, work: Any) -> Any:
            self.transactions.setdefault(self.phase, []).append([])
            return await transact(pool, now, work)

        Session.rows, PostgresPool.transact = rows_taped, transact_taped  # type: ignore[method-assign]
        try:
            yield
        finally:
            Session.rows, PostgresPool.transact = rows, transact  # type: ignore[method-assign]


def steps_of(store: PostgresStore, batch: int, now: Instant) -> dict[str, Callable[[], Awaitable[int]]]:
    """What one batch of each phase does, answering the number of its rows."""

    async def plan_batch() -> int:
        return (await store.fire_due(plan, limit=batch)).planned

    async def run_batch() -> int:
        claims = (await store.claim(WORKER.id, batch)).claims
        return len(await store.settle([settle(claim, SUCCESS, now) for claim in claims]))

    return dict(zip(PHASES, (plan_batch, run_batch), strict=True))


# the same statements without us


def script(queries: Queries, transactions: list[Transaction]) -> str:
    """A pgbench script: the store's prepared statements, then its transactions with the values it sent."""
    names = sorted({name for transaction in transactions for name, _ in transaction})
    lines = [f"PREPARE {name} AS {_without_comments(queries.get(name).sql)};" for name in names]
    begin = postgres_pool._BEGIN.replace("; ", " \\; ")
    for transaction in transactions:
        lines.append(f"{begin};")
        for name, args in transaction:
            sql = queries.get(name).sql
            values = ", ".join(literal(value, _type_of(sql, place)) for place, value in enumerate(args, 1))
            lines.append(f"EXECUTE {name}({values});" if values else f"EXECUTE {name};")
        lines.append("COMMIT;")
    return "\n".join(lines)


def _without_comments(sql: str) -> str:
    return " ".join(line for line in sql.splitlines() if not line.lstrip().startswith("--"))


def _type_of(sql: str, place: int) -> str:
    found = re.search(rf"\${place}::(\w+)", sql)
    return found[1] if found else ""


def literal(value: Any, type_name: str) -> str:
    match value:
        case None:
            return "NULL"
        case list():
            return "'{" + ",".join(_element(item, type_name) for item in value).replace("'", "''") + "}'"
        case _:
            return "'" + _plain(value, type_name).replace("'", "''") + "'"


def _element(value: Any, type_name: str) -> str:
    if value is None:
        return "NULL"
    return json.dumps(_plain(value, type_name), ensure_ascii=False)


def _plain(value: Any, type_name: str) -> str:
    if type_name == "timestamptz":
        return datetime.fromtimestamp(value / 1000, UTC).isoformat()
    return str(value)


class Pgbench:
    """Replays transactions with pgbench; its own preparations are left out of the time."""

    name = "pgbench"

    def __init__(self, program: Path, dsn: str, queries: Queries) -> None:
        self._command = [str(program), "--no-vacuum", "--client=1", "--transactions=1", "--report-per-command"]
        self._dsn = dsn
        self._queries = queries

    async def seconds(self, transactions: list[Transaction]) -> float:
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
            file.write(script(self._queries, transactions))
            file.flush()
            command = [*self._command, f"--file={file.name}", self._dsn]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        if done.returncode or "ERROR" in done.stderr:
            raise RuntimeError(f"pgbench failed:\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}")
        return (
            sum(float(ms) for ms in re.findall(r"^ +([\d.]+) .* (?:BEGIN|EXECUTE|COMMIT)\b", done.stdout, re.M)) / 1000
        )


class BareAsyncpg:
    """Replays them with the driver alone, nothing around it."""

    name = "bare asyncpg"

    def __init__(self, dsn: str, queries: Queries) -> None:
        self._dsn = dsn
        self._queries = queries
        self._connection: asyncpg.Connection[Any] | None = None

    async def seconds(self, transactions: list[Transaction]) -> float:
        if self._connection is None:
            self._connection = await asyncpg.connect(self._dsn)
            await postgres_pool.prepare_connection(self._connection)
        started = time.perf_counter()
        for transaction in transactions:
            await self._connection.execute(postgres_pool._BEGIN)
            for name, args in transaction:
                await self._connection.fetch(self._queries.get(name).sql, *args)
            await self._connection.execute("COMMIT")
        return time.perf_counter() - started

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()


async def throughput(server: PostgresServer, options: argparse.Namespace) -> None:
    clock, queries = FakeClock(), Queries("postgres")
    fill = FILL.format(first_due=clock.now() // 1000 - 1, spacing=0, count=options.fires)
    await _prepare(server, "bench_base", clock, fill)
    batches = options.fires // options.batch
    tape = await _tape(await _copy(server, "bench_base", "bench_tape", clock), batches, options.batch, clock)
    for name in ("bench_pgbench", "bench_bare"):
        await (await _copy(server, "bench_base", name, clock)).close()
    program = server.bin / "pgbench"
    bare = BareAsyncpg(server.dsn("bench_bare"), queries)
    others: list[Pgbench | BareAsyncpg] = [bare]
    if program.exists():
        others.append(Pgbench(program, server.dsn("bench_pgbench"), queries))
    else:
        print("there is no pgbench here: the driver alone must do as the ceiling")
    store = await _copy(server, "bench_base", "bench_store", clock)
    print(f"\n{options.fires:,} fires in batches of {options.batch}, one connection, medians over {CHUNK} batches each")
    print(f"{'speed as a share of':24}" + "".join(f"{other.name:>16}" for other in others))
    totals = [0.0] * (1 + len(others))
    for phase, step in steps_of(store, options.batch, clock.now()).items():
        took: list[list[float]] = []
        each = len(tape.transactions[phase]) // batches
        for start in range(0, batches, CHUNK):
            stop = min(start + CHUNK, batches)
            rows = (stop - start) * options.batch
            started = time.perf_counter()
            for _ in range(start, stop):
                await step()
            ours = time.perf_counter() - started
            same = tape.transactions[phase][start * each : stop * each]
            took.append([ours / rows, *[await other.seconds(same) / rows for other in others]])
        medians = [statistics.median(side) for side in zip(*took, strict=True)]
        totals = [total + part for total, part in zip(totals, medians, strict=True)]
        _line(phase, medians)
    _line("all", totals)
    await bare.close()
    await store.close()
    store = await _copy(server, "bench_base", "bench_engine", clock)
    _line("all, as the engine does", [await _engines_way(store, options.batch, batches, clock.now()), *totals[1:]])
    await store.close()


async def _engines_way(store: PostgresStore, batch: int, batches: int, now: Instant) -> float:
    """Seconds a run where there are free slots: what is planned is claimed in the same transaction."""
    took: list[float] = []
    for _ in range(batches):
        started = time.perf_counter()
        claims = (await store.fire_due(plan, limit=batch, worker_id=WORKER.id, slots=batch)).claims
        await store.settle([settle(claim, SUCCESS, now) for claim in claims])
        took.append((time.perf_counter() - started) / batch)
    return statistics.median(took)


def _line(phase: str, seconds: list[float]) -> None:
    ours, *others = seconds
    print(f"{phase:24}" + "".join(f"{one / ours:16.2f}" for one in others))


async def _tape(store: PostgresStore, batches: int, batch: int, clock: FakeClock) -> Tape:
    tape = Tape()
    with tape.recording():
        for tape.phase, step in steps_of(store, batch, clock.now()).items():
            for _ in range(batches):
                if await step() != batch:
                    raise RuntimeError(f"{tape.phase}: a batch of less than {batch}")
    await store.close()
    return tape


async def big(server: PostgresServer, options: argparse.Namespace) -> None:
    """One schedule is due, all others later; then some thousands are, and their runs are claimed."""
    clock = FakeClock()
    fill = FILL.format(first_due=clock.now() // 1000 - 1, spacing=1, count=options.schedules)
    await _prepare(server, "bench_big", clock, fill, "VACUUM ANALYZE agentclock.schedules")
    connection = await asyncpg.connect(server.dsn("bench_big"))
    await postgres_pool.prepare_connection(connection)
    store = PostgresStore(server.dsn("bench_big"), clock=clock)
    await store.open()
    await store.acquire_engine(WORKER, LEASE_SECONDS)
    round_trip = await _median_ms(lambda: connection.fetch("SELECT 1"), times=200)

    def took(what: str, ms: float) -> None:
        print(f"{what:32}{ms / round_trip:9.2f}")

    print(f"\n{options.schedules:,} schedules, one due (medians of 20, in round trips)")
    for name in ("due_schedules", "next_due"):
        took(f"{name}, in the database", await _execution_ms(connection, name, clock, limit=200, worker_id=None))
    took("fire_due, nothing due, in all", await _median_ms(lambda: store.fire_due(plan, limit=0)))

    async def claim_full() -> None:
        if len((await store.claim(WORKER.id, 100)).claims) != 100:
            raise RuntimeError("there were not enough runs to claim")

    clock.advance(4000)
    while (await store.fire_due(plan, limit=500)).planned:
        pass
    in_database = await _execution_ms(connection, "claim_runs", clock, limit=100, worker_id=WORKER.id)
    in_all = await _median_ms(claim_full)
    took("claim of 100, in the database", in_database)
    took("claim of 100, in all", in_all)
    print(f"{'claim of 100, all to database':32}{in_all / in_database:9.2f}")
    await connection.close()
    await store.close()


async def _execution_ms(connection: asyncpg.Connection[Any], name: str, clock: FakeClock, **values: Any) -> float:
    """By EXPLAIN ANALYZE, planned as the store's transactions plan; what it wrote is taken back."""
    query = Queries("postgres").get(name)
    text = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {query.sql}"
    took = []
    for _ in range(20):
        await connection.execute(postgres_pool._BEGIN)
        found = await connection.fetchval(text, *query.args({"now": clock.now(), **values}))
        await connection.execute("ROLLBACK")
        took.append(json.loads(found)[0]["Execution Time"])
    return statistics.median(took)


async def _median_ms(call: Callable[[], Awaitable[Any]], times: int = 20) -> float:
    took = []
    for _ in range(times):
        started = time.perf_counter()
        await call()
        took.append((time.perf_counter() - started) * 1000)
    return statistics.median(took)


async def _prepare(server: PostgresServer, name: str, clock: FakeClock, *statements: str) -> None:
    execute(server.dsn(), f"CREATE DATABASE {name}")
    store = PostgresStore(server.dsn(name), clock=clock)
    await store.open()
    await store.acquire_engine(WORKER, LEASE_SECONDS)
    await store.insert_schedules([Schedule(id="warm", name="warm", target=Target(endpoint="/x"))])
    await store.delete_schedule("warm")
    await store.close()
    execute(server.dsn(name), *statements, "ANALYZE")


async def _copy(server: PostgresServer, base: str, name: str, clock: FakeClock) -> PostgresStore:
    execute(server.dsn(), f"CREATE DATABASE {name} TEMPLATE {base}")
    store = PostgresStore(server.dsn(name), clock=clock)
    await store.open()
    return store


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    quick = bool(os.environ.get("BENCH_QUICK"))
    parser.add_argument("--fires", type=int, default=2_000 if quick else 20_000)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--schedules", type=int, default=20_000 if quick else 1_000_000, help="0: leave part two out")
    parser.add_argument("--durable", action="store_true", help="fsync on")
    options = parser.parse_args()
    options.fires -= options.fires % options.batch
    server = PostgresServer(durable=options.durable, options=("shared_buffers=512MB", "max_wal_size=4GB"))
    try:
        server.start()
        asyncio.run(throughput(server, options))
        if options.schedules:
            asyncio.run(big(server, options))
    finally:
        server.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
