"""Plan, claim and settle through SqliteStore, as a share of the speed of the same statements bare.

    python tests/bench/bench_store.py            BENCH_QUICK=1 for a small round

Both take turns, batch by batch, so that a busy machine slows both; the medians are compared. `together`: runs are
claimed in the transaction that plans them, as an engine with free slots does.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from agentclock.core.lifecycle import Settlement, settle
from agentclock.core.model import Claim, Outcome, OutcomeKind, Overlap, RunStatus, Schedule, Target
from agentclock.core.planning import plan
from agentclock.ports import WorkerInfo
from agentclock.store.queries import Queries
from agentclock.store.rows import encode_run, encode_settlement
from agentclock.store.sqlite import SqliteStore
from agentclock.store.sqlite_file import connect, id_list
from agentclock.testing import FakeClock

ROUNDS = 6 if os.environ.get("BENCH_QUICK") else 30
BATCHES = (10, 100, 500)
SUCCESS = Outcome(kind=OutcomeKind.SUCCESS, status_code=200, output={"content": "done"}, agent_run_id="a" * 36)
TARGET = 0.7

#: A statement with its arguments, or with those of each of its executions.
Read = tuple[str, list[Any]]
Write = tuple[str, list[list[Any]]]


def schedules(count: int, now: int) -> list[Schedule]:
    target = Target(endpoint="/agents/echo/runs", payload={"message": "hello"})
    return [
        Schedule(
            id=f"schedule-{number:06}",
            name=f"schedule {number}",
            target=target,
            cron_expr="* * * * *",
            overlap=Overlap.ALLOW,
            next_fire_at=now,
            created_at=now,
        )
        for number in range(count)
    ]


async def compare(batch: int, *, together: bool) -> tuple[float, float]:
    """Median seconds a batch: through the store, and bare."""
    with tempfile.TemporaryDirectory() as folder:
        clock, stores = FakeClock(), []
        for name in ("ours", "bare"):
            store = SqliteStore(str(Path(folder, name)), clock=clock)
            await store.open()
            await store.insert_schedules(schedules(batch, clock.now()))
            stores.append(store)
        ours, other = stores
        await other.close()
        await ours.acquire_engine(WorkerInfo(id="w1", name="bench", app_version="1"), 10**7)
        connection = connect(str(Path(folder, "bare")), "FULL")
        times = []
        for _ in range(ROUNDS):
            seconds, claims, settlements = await through_the_store(ours, batch, clock, together=together)
            times.append((seconds, bare(connection, claims, settlements, together=together)))
            clock.advance(60)
        count = connection.execute("SELECT count(*) FROM agentclock_runs WHERE status = 'success'").fetchone()[0]
        assert count == batch * ROUNDS
        connection.close()
        await ours.close()
    return median(ours for ours, _ in times), median(bare for _, bare in times)


async def through_the_store(
    store: SqliteStore, batch: int, clock: FakeClock, *, together: bool
) -> tuple[float, Sequence[Claim], list[Settlement]]:
    started = time.perf_counter()
    claims = (await store.fire_due(plan, limit=batch, worker_id="w1", slots=batch if together else 0)).claims
    if not together:
        claims = (await store.claim("w1", batch)).claims
    settlements = [settle(claim, SUCCESS, clock.now()) for claim in claims]
    applied = await store.settle(settlements)
    seconds = time.perf_counter() - started
    assert len(applied) == batch
    return seconds, claims, settlements


def bare(
    connection: sqlite3.Connection, claims: Sequence[Claim], settlements: Sequence[Settlement], *, together: bool
) -> float:
    """Seconds for the same statements in the same transactions; arguments are ready, answers are dropped."""
    transactions = _transactions(claims, settlements, together=together)
    started = time.perf_counter()
    for reads, writes in transactions:
        connection.execute("BEGIN IMMEDIATE")
        for sql, args in reads:
            connection.execute(sql, args).fetchall()
        for sql, rows in writes:
            connection.executemany(sql, rows)
        connection.execute("COMMIT")
    return time.perf_counter() - started


def _transactions(
    claims: Sequence[Claim], settlements: Sequence[Settlement], *, together: bool
) -> list[tuple[list[Read], list[Write]]]:
    queries = Queries("sqlite")
    now, limit = claims[0].run.created_at, len(claims)
    run_ids = id_list(claim.run.id for claim in claims)
    schedule_ids = id_list(claim.schedule.id for claim in claims)

    def read(name: str, **values: Any) -> Read:
        query = queries.get(name)
        return query.sql, query.args(values)

    def write(name: str, values: Callable[[Any], dict[str, Any]], items: Sequence[Any]) -> Write:
        query = queries.get(name)
        return query.sql, [query.args(values(item)) for item in items]

    due = [
        read("due_schedules", now=now, limit=limit),
        read("situations", ids=schedule_ids),
        read("live_worker", worker_id="w1", now=now),
        read("existing_runs", ids=run_ids),
        read("next_due"),
    ]
    insert = write("insert_run", _running if together else _pending, claims)
    advance = write("advance_schedule", _advance, claims)
    attempts = write("start_attempt", _attempt, claims)
    settling = [
        write("settle_run", encode_settlement, settlements),
        write("finish_attempt", encode_settlement, settlements),
    ]
    ends = ([read("held_runs", ids=run_ids), read("release_waiting_of", ids=schedule_ids, now=now)], settling)
    if together:
        return [(due, [insert, advance, attempts]), ends]
    queue = [read("claimable", now=now, limit=limit), read("next_available", now=now)]
    return [(due, [insert, advance]), (queue, [write("claim_run", _running, claims), attempts]), ends]


def _running(claim: Claim) -> dict[str, Any]:
    return encode_run(claim.run)


def _pending(claim: Claim) -> dict[str, Any]:
    run = replace(claim.run, status=RunStatus.PENDING, attempt=0, fence=0, worker_id=None, worker=None, started_at=None)
    return encode_run(run)


def _advance(claim: Claim) -> dict[str, Any]:
    schedule = claim.schedule
    return {
        "id": schedule.id,
        "old_next_fire_at": schedule.last_fire_at,
        "next_fire_at": schedule.next_fire_at,
        "last_fire_at": schedule.last_fire_at,
        "run_count": schedule.run_count,
    }


def _attempt(claim: Claim) -> dict[str, Any]:
    return {"run_id": claim.run.id, "number": 1, "worker": "bench", "now": claim.run.started_at}


def main() -> None:
    print(f"SQLite {sqlite3.sqlite_version}, synchronous=FULL, medians of {ROUNDS} batches of plan + claim + settle")
    print(f"speed as a share of the bare statements' (target {TARGET} at 100 and more)")
    for together in (False, True):
        for batch in BATCHES:
            ours, ceiling = asyncio.run(compare(batch, together=together))
            print(f"claimed {'together' if together else 'apart':8}  batch {batch:4}  {ceiling / ours:.2f}")


if __name__ == "__main__":
    main()
