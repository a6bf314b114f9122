"""A long history, made up but likely, written straight into a database: what months of running would have left there.

    python -m tests.history_loader WHERE [schedules] [runs] [days]

WHERE is a file, or the URL of a PostgreSQL database; it is brought to the newest schema first. A million runs of ten
thousand schedules take about a minute.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

import asyncpg

from agentclock.core.ids import fire_run_id
from agentclock.core.model import DAY_SECONDS, SECOND, Instant, Schedule, Target
from agentclock.engine.clock import SystemClock
from agentclock.ports import Store
from agentclock.store.postgres import PostgresStore
from agentclock.store.sqlite import SqliteStore

#: Of ten schedules in a row, how much more often than the rarest each of them fires.
_RATES: Final = (1, 1, 1, 2, 1, 1, 6, 1, 2, 20)
#: Of a thousand fires. What is left over goes well.
_ENDS: Final = (("failed", 30), ("timeout", 8), ("lost", 2), ("cancelled", 5), ("skipped", 10), ("missed", 5))
_ERRORS: Final = (
    "HTTP 502 from http://agents:7777/agents/{agent}/runs: upstream gave no answer to request {number}",
    "Connection refused: http://agents:7777 (tried {tries} times)",
    "Tool 'search' failed: quota of project {number} is used up until 00:00",
    "ValidationError: 1 validation error for Report\\nrows.{tries}.amount: Input should be a valid number",
    "The model answered with nothing (response {number})",
    "OutOfCredit: the account has 0.0{tries} left",
)
_TIMEOUT: Final = "No end after {seconds} s"
_LOST: Final = "The worker stopped while the run was on"
_KINDS: Final = ("Nightly report", "Inbox triage", "Price check", "Summary of tickets", "Backup of vectors")
_BATCH: Final = 20_000

_RUN: Final = (
    *("id", "schedule_id", "user_id", "cause", "fire_at", "last_fire_at", "fire_count", "status", "reason", "attempt"),
    *("refusals", "worker_id", "worker", "fence", "cancel_requested", "created_at", "started_at"),
    *("attempt_started_at", "completed_at", "status_code", "agent_run_id", "session_id", "error", "output"),
)
_ATTEMPT: Final = (
    *("run_id", "number", "status", "worker", "started_at", "completed_at", "status_code", "error", "model"),
    *("input_tokens", "output_tokens", "total_tokens", "cost"),
)
_INSTANTS: Final = frozenset(name for name in (*_RUN, *_ATTEMPT) if name.endswith("_at"))

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """`schedules`, in the order of their ids, and the range that the history covers: since <= fire_at < until."""

    schedules: tuple[Schedule, ...]
    runs: int
    since: Instant
    until: Instant


async def load_history(
    where: Store | str, *, schedules: int = 10_000, runs: int = 1_000_000, days: float = 30, now: Instant | None = None
) -> Loaded:
    """Writes so many schedules and runs, spread over the last `days` before `now` (the store's time). The same numbers
    make the same history.

    `where`: a store that is open, the path of a file, or a PostgreSQL URL.
    """
    store = store_at(where) if isinstance(where, str) else where
    if isinstance(where, str):
        await store.open()
    try:
        until = (await store.now()) // SECOND * SECOND if now is None else now
        since = until - round(days * DAY_SECONDS) * SECOND
        made = _schedules(schedules, runs, since, until)
        for start in range(0, len(made), 1_000):
            await store.insert_schedules(made[start : start + 1_000])
        count = await _write(store, where, _history(made, runs, since, until))
        return Loaded(schedules=tuple(made), runs=count, since=since, until=until)
    finally:
        if isinstance(where, str):
            await store.close()


def store_at(where: str) -> Store:
    clock = SystemClock()
    if "://" in where and not where.startswith("sqlite"):
        return PostgresStore(where, clock=clock)
    return SqliteStore(where.removeprefix("sqlite:///"), clock=clock, synchronous="NORMAL")


def _schedules(count: int, runs: int, since: Instant, until: Instant) -> list[Schedule]:
    share = runs / sum(_RATES[number % len(_RATES)] for number in range(count))
    made = []
    for number in range(count):
        fires = max(1, round(share * _RATES[number % len(_RATES)]))
        period = max(1, (until - since) // SECOND // fires)
        offset = random.Random(number).randrange(period)
        kind = _KINDS[number % len(_KINDS)]
        made.append(
            Schedule(
                id=str(uuid.UUID(int=number + 1, version=4)),
                name=f"{kind} {number:05}",
                description=f"{kind} of customer {number // 7}" if number % 3 else None,
                user_id=("ann", "bob", "eve")[number // 10 % 3] if number % 10 == 3 else None,
                target=Target(endpoint=f"/agents/agent-{number % 40}/runs", payload={"message": "Go on."}),
                interval_seconds=period,
                anchor_at=since + offset * SECOND,
                tags=(("nightly", "reports"), ("ops",), (), ())[number % 4],
                managed_by="apply:platform" if number % 20 == 0 else None,
                enabled=number % 25 != 24,
                next_fire_at=None if number % 25 == 24 else until + offset * SECOND,
                timetable_since=since,
                created_at=since + number,
            )
        )
    return made


def _history(schedules: Sequence[Schedule], runs: int, since: Instant, until: Instant) -> Iterator[tuple[Rows, Rows]]:
    """Runs with their attempts in batches, in the order of their fires, as an engine writes them."""
    fires = sorted(
        (at, number)
        for number, schedule in enumerate(schedules)
        for at in range(schedule.anchor_at or since, until, (schedule.interval_seconds or 1) * SECOND)
    )
    chance = random.Random(len(schedules))
    remaining = iter(fires[-runs:])
    while batch := list(islice(remaining, _BATCH)):
        made = [_run(schedules[number], at, chance) for at, number in batch]
        yield [run for run, _ in made], [attempt for _, attempts in made for attempt in attempts]


def _run(schedule: Schedule, at: Instant, chance: random.Random) -> tuple[tuple[Any, ...], Rows]:
    status, run_id = _end(chance.randrange(1_000)), fire_run_id(schedule.id, at)
    if status in ("skipped", "missed"):
        reason, fires = ("overlap", chance.choice((1, 1, 1, 4))) if status == "skipped" else ("catch_up_none", 1)
        last = at + (fires - 1) * (schedule.interval_seconds or 0) * SECOND if fires > 1 else None
        absent = (run_id, schedule.id, schedule.user_id, "schedule", at, last, fires, status, reason, 0, 0)
        return (*absent, None, None, 0, False, at, None, None, at, None, None, None, None, None), []
    error, code = _error(status, chance)
    count = chance.choice((1, 1, 2, 3)) if status in ("failed", "timeout") else 1
    started, took = at + chance.randrange(5, 900), chance.randrange(200, 90_000)
    ended = started + count * took
    head = (
        run_id,
        schedule.id,
        schedule.user_id,
        "schedule",
        at,
        None,
        1,
        status,
        None,
        count,
        0,
        "w0",
        "host:1",
        count,
    )
    agent = str(uuid.UUID(int=chance.getrandbits(128), version=4))
    output = '{"content":"It is done: 3 of 3 rows are as they should be."}' if status == "success" else None
    run = (*head, False, at, started, started, ended, code, agent, schedule.id, error, output)
    return run, [
        _attempt(run_id, number + 1, status, started + number * took, took, chance, code, error)
        for number in range(count)
    ]


def _end(number: int) -> str:
    for status, share in _ENDS:
        number -= share
        if number < 0:
            return status
    return "success"


def _error(status: str, chance: random.Random) -> tuple[str | None, int | None]:
    match status:
        case "success":
            return None, 200
        case "timeout":
            return _TIMEOUT.format(seconds=chance.choice((60, 300, 3600))), None
        case "lost":
            return _LOST, None
        case "cancelled":
            return "cancelled", None
    place = min(chance.randrange(len(_ERRORS)), chance.randrange(len(_ERRORS)))
    words = {
        "number": chance.randrange(10**6),
        "tries": chance.randrange(1, 9),
        "agent": f"agent-{chance.randrange(40)}",
    }
    return _ERRORS[place].format(**words), 502 if place == 0 else None


def _attempt(
    run_id: str,
    number: int,
    status: str,
    at: Instant,
    took: int,
    chance: random.Random,
    code: int | None,
    error: str | None,
) -> tuple[Any, ...]:
    read, written = chance.randrange(200, 9_000), chance.randrange(20, 2_000)
    used = ("small-2", read, written, read + written, round(read * 5e-7 + written * 2e-6, 6))
    return (
        run_id,
        number,
        status,
        "host:1",
        at,
        at + took,
        code,
        error,
        *(used if status == "success" else (None,) * 5),
    )


async def _write(store: Store, where: Store | str, batches: Iterator[tuple[Rows, Rows]]) -> int:
    if isinstance(store, SqliteStore):
        count = 0
        for runs, attempts in batches:
            count += await store._writer.run(lambda connection, r=runs, a=attempts: _into_sqlite(connection, r, a))
        return count
    assert isinstance(store, PostgresStore)
    connection = await asyncpg.connect(where if isinstance(where, str) else store._pool._address.url)
    try:
        return await _into_postgres(connection, batches, store._schema)
    finally:
        await connection.close()


def _into_sqlite(connection: sqlite3.Connection, runs: Rows, attempts: Rows) -> int:
    for table, names, rows in (("runs", _RUN, runs), ("attempts", _ATTEMPT, attempts)):
        places = ", ".join("?" * len(names))
        connection.executemany(f"INSERT INTO agentclock_{table} ({', '.join(names)}) VALUES ({places})", rows)
    return len(runs)


async def _into_postgres(connection: Any, batches: Iterator[tuple[Rows, Rows]], schema: str) -> int:
    count = 0
    for batch in batches:
        for table, names, rows in zip(("runs", "attempts"), (_RUN, _ATTEMPT), batch, strict=True):
            records = _converted(names, rows)
            await connection.copy_records_to_table(
                table, records=records, columns=names, schema_name=schema, timeout=120
            )
        count += len(batch[0])
    await connection.execute(f'VACUUM ANALYZE "{schema}".runs, "{schema}".attempts, "{schema}".schedules', timeout=300)
    return count


def _converted(names: Sequence[str], rows: Rows) -> Iterator[tuple[Any, ...]]:
    """Instants and ids as PostgreSQL's client wants them."""
    instants = [place for place, name in enumerate(names) if name in _INSTANTS]
    for row in rows:
        values = list(row)
        values[0] = uuid.UUID(values[0])
        for place in instants:
            if values[place] is not None:
                values[place] = datetime.fromtimestamp(values[place] / 1000, UTC)
        yield tuple(values)


def main() -> None:
    where, *numbers = sys.argv[1:]
    given = dict(zip(("schedules", "runs", "days"), map(int, numbers), strict=False))
    started = time.monotonic()
    loaded = asyncio.run(load_history(where, **given))
    print(f"{len(loaded.schedules):,} schedules, {loaded.runs:,} runs in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
