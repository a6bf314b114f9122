"""The hot queries on big tables: what the planner chooses, and how little of the table it touches.

Pages touched are counted, not milliseconds: they do not depend on how busy the machine is.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from tests.conformance.helpers import START
from tests.pg import execute

from agentclock.core.model import RunStatus
from agentclock.ports import RunFilter
from agentclock.store.filters import first_run_id, run_selection
from agentclock.store.queries import Queries

pytestmark = pytest.mark.postgres

SCHEDULES = 50_000
RUNS = 100_000
PAUSED = 5_000
#: So many runs of one schedule wait for one another, and as many of a backfill of the same schedule.
LINE = 5_000
#: So many of the oldest runs have so many events each.
LOGGED, EVENTS = 500, 100

FILL = (
    """
    INSERT INTO agentclock.schedules (
        id, name, target, method, endpoint, cron_expr, timezone, jitter_seconds, overlap, catch_up,
        catch_up_window_seconds, misfire_grace_seconds, timeout_seconds, max_retries, retry_delay_seconds,
        retry_backoff, retry_max_delay_seconds, tags, enabled, next_fire_at, run_count, timetable_since, version,
        created_at, folded_name)
    SELECT 's' || n, 'name ' || n, 'default', 'POST', '/agents/echo/runs', '* * * * *', 'UTC', 0, 'skip', 'latest',
        86400, 60, 3600, 0, 60, 'fixed', 3600, '[]', n % 10 > 0, to_timestamp({start} + n), 0, to_timestamp(0), 1,
        to_timestamp({start} - n), 'name ' || n
    FROM generate_series(1, {schedules}) n
    """,
    """
    INSERT INTO agentclock.runs (
        id, schedule_id, user_id, cause, fire_at, status, available_at, worker_id, created_at)
    SELECT (lpad(to_hex(({start}::bigint + n) * 1000), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
        's' || n % 1000, CASE WHEN n % 100 = 0 THEN 'ann' END, 'schedule', to_timestamp({start} + n),
        CASE WHEN n > {runs} - 200 THEN 'pending' WHEN n > {runs} - 300 THEN 'running'
            WHEN n % 5000 = 0 THEN 'failed' ELSE 'success' END,
        to_timestamp({start} + n), 'w1', to_timestamp({start} + n)
    FROM generate_series(1, {runs}) n
    """,
    "INSERT INTO agentclock.workers VALUES ('w1', 'host', '1', now(), 'infinity')",
    """
    INSERT INTO agentclock.runs (id, schedule_id, cause, fire_at, status, created_at, paused_at, review_at)
    SELECT (lpad(to_hex(({start}::bigint + n) * 1000), 12, '0') || '70018000' || lpad(to_hex(n), 12, '0'))::uuid,
        's' || n % 1000, 'schedule', to_timestamp({start} + n), 'paused', to_timestamp({start}),
        to_timestamp({start}), to_timestamp({start} + n)
    FROM generate_series(1, {paused}) n
    """,
    """
    INSERT INTO agentclock.runs (id, schedule_id, cause, fire_at, status, created_at)
    SELECT (lpad(to_hex(({start}::bigint + n) * 1000), 12, '0') || c.middle || lpad(to_hex(n), 12, '0'))::uuid,
        'line', c.cause, to_timestamp({start} + n), 'pending', to_timestamp({start})
    FROM generate_series(1, {line}) n, (VALUES ('70028000', 'catch_up'), ('70038000', 'backfill')) c (middle, cause)
    """,
    """
    INSERT INTO agentclock.backfills (
        id, schedule_id, from_at, until_at, existing, concurrency, fires, created_at)
    VALUES ('b1', 'line', to_timestamp({start}), to_timestamp({start}), 'skip', 3, {line}, to_timestamp({start}))
    """,
    """
    INSERT INTO agentclock.schedule_revisions (schedule_id, version, at, kind, body)
    SELECT 's' || n, v, to_timestamp({start} + v), CASE v WHEN 1 THEN 'created' ELSE 'changed' END, repeat('x', 1000)
    FROM generate_series(1, 20000) n, generate_series(1, CASE WHEN n % 100 = 0 THEN 5 ELSE 1 END) v
    """,
    """
    INSERT INTO agentclock.attempts (run_id, number, status, started_at, model, total_tokens)
    SELECT r.id, 1, r.status, r.fire_at, 'small', 12 FROM agentclock.runs r
    """,
    """
    INSERT INTO agentclock.run_events (run_id, seq, attempt, at, type, data)
    SELECT r.id, n, 1, r.fire_at, 'RunContent', repeat('x', 100)
    FROM (SELECT o.id, o.fire_at FROM agentclock.runs o ORDER BY o.id LIMIT {logged}) r,
        generate_series(1, {events}) n
    """,
    """
    VACUUM ANALYZE agentclock.schedules, agentclock.runs, agentclock.attempts, agentclock.run_events,
        agentclock.workers, agentclock.schedule_revisions, agentclock.backfills
    """,
)


@pytest.fixture(scope="module")
def filled(postgres_dsn: str) -> str:
    values = {
        "start": START // 1000,
        "schedules": SCHEDULES,
        "runs": RUNS,
        "paused": PAUSED,
        "line": LINE,
        "logged": LOGGED,
        "events": EVENTS,
    }
    execute(postgres_dsn, *(statement.format(**values) for statement in FILL))
    return postgres_dsn


@pytest.fixture(params=["auto", "force_generic_plan"])
async def connection(filled: str, request: pytest.FixtureRequest) -> AsyncIterator[asyncpg.Connection[Any]]:
    """As the planner decides after five uses of a prepared statement, and as it must decide without any values."""
    connection = await asyncpg.connect(filled)
    await connection.execute(f"SET plan_cache_mode = {request.param}; SET jit = off")
    yield connection
    await connection.close()


async def explain(
    connection: asyncpg.Connection[Any], name: str, conditions: tuple[str, ...] = (), /, **values: Any
) -> Any:
    """The plan as executed, as nested nodes; what it wrote is taken back."""
    query = Queries("postgres").get(name, conditions)
    given = ", ".join(literal(values.get(parameter)) for parameter in query.parameters)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(f"PREPARE hot AS {query.sql}")
    found = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE hot ({given})")
    await transaction.rollback()
    await connection.execute("DEALLOCATE hot")
    return json.loads(found)[0]["Plan"]


def literal(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case list():
            return "'{" + ", ".join("NULL" if item is None else f'"{item}"' for item in value) + "}'"
        case datetime():
            return f"'{value.isoformat()}'"
        case str():
            return "'" + value.replace("'", "''") + "'"
        case _:
            return str(value)


def at(instant: int) -> datetime:
    return datetime.fromtimestamp(instant / 1000, UTC)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def indexes(plan: dict[str, Any]) -> set[str]:
    return {node["Index Name"] for node in nodes(plan) if "Index Name" in node}


def pages(plan: dict[str, Any]) -> int:
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def scans_a_table(plan: dict[str, Any]) -> bool:
    return any(
        node["Node Type"] == "Seq Scan"
        and node["Relation Name"]
        in (
            "schedules",
            "runs",
            "attempts",
            "run_events",
            "schedule_revisions",
        )
        for node in nodes(plan)
    )


async def test_one_due_schedule_among_many(connection: asyncpg.Connection[Any]) -> None:
    due = await explain(connection, "due_schedules", now=at(START + 2000), limit=200, worker_id="w1")
    assert (due["Actual Rows"], "schedules_due" in indexes(due), scans_a_table(due)) == (2, True, False)
    assert pages(due) < 30
    upcoming = await explain(connection, "next_due", now=at(START))
    assert (upcoming["Actual Rows"], indexes(upcoming)) == (1, {"schedules_due"})
    assert pages(upcoming) < 10


async def test_many_due_schedules_are_read_in_order(connection: asyncpg.Connection[Any]) -> None:
    due = await explain(connection, "due_schedules", now=at(START + 10**9), limit=100, worker_id="w1")
    assert (due["Actual Rows"], "schedules_due" in indexes(due), scans_a_table(due)) == (100, True, False)
    assert not any(node["Node Type"] == "Sort" for node in nodes(due))
    assert pages(due) < 500


async def test_situations_look_only_at_their_schedules(connection: asyncpg.Connection[Any]) -> None:
    found = await explain(connection, "situations", ids=[f"s{number}" for number in range(100)])
    assert found["Actual Rows"] == 100
    assert not scans_a_table(found)
    assert pages(found) < 100 * 12


async def test_a_claim_reads_the_queue_alone(connection: asyncpg.Connection[Any]) -> None:
    claimed = await explain(connection, "claim_runs", now=at(START + 10**9), limit=100, worker_id="w1")
    assert (claimed["Actual Rows"], "runs_queue" in indexes(claimed), scans_a_table(claimed)) == (100, True, False)
    later = await explain(connection, "next_available", now=at(START))
    assert (indexes(later), pages(later) < 10) == ({"runs_queue"}, True)


async def test_settling_finds_its_rows_by_id(connection: asyncpg.Connection[Any]) -> None:
    ids = [row[0] for row in await connection.fetch("SELECT id FROM agentclock.runs WHERE status = 'running'")]
    ids = [str(run_id) for run_id in ids]
    nothing: list[Any] = [None] * len(ids)
    values: dict[str, list[Any]] = {
        "ids": ids,
        "fences": [0] * len(ids),
        "statuses": ["success"] * len(ids),
        "attempts": [1] * len(ids),
        "attempt_numbers": [1] * len(ids),
        "attempt_statuses": ["success"] * len(ids),
        "refusals": [0] * len(ids),
        "ended_at": [at(START)] * len(ids),
        "completed_at": [at(START)] * len(ids),
    }
    for name in Queries("postgres").get("settle_runs").parameters:
        values.setdefault(name, nothing)
    settled = await explain(connection, "settle_runs", **values)
    assert settled["Actual Rows"] == 100
    assert not scans_a_table(settled)


async def test_the_keeper_looks_at_running_and_waiting_runs_alone(connection: asyncpg.Connection[Any]) -> None:
    orphaned = await explain(connection, "orphaned", limit=100)
    assert not scans_a_table(orphaned)
    assert pages(orphaned) < 1000
    for name, values in {"release_waiting": {"limit": 500}, "release_waiting_of": {"ids": ["s1", "s2"]}}.items():
        released = await explain(connection, name, **values)
        assert not scans_a_table(released)
        assert pages(released) < 50


async def test_a_long_line_costs_no_more_than_a_short_one(connection: asyncpg.Connection[Any]) -> None:
    """Thousands of runs of one schedule wait, and of a backfill as many: what looks for one of them reads one."""
    listed = await explain(connection, "release_waiting", limit=500)
    assert (listed["Actual Rows"], scans_a_table(listed)) == (1, False)
    assert pages(listed) < 50
    released = await explain(connection, "release_waiting_of", ids=["line"])
    assert (released["Actual Rows"], scans_a_table(released)) == (1, False)
    assert pages(released) < 60
    several = await explain(connection, "release_backfills_of", ids=["line"])
    assert (several["Actual Rows"], scans_a_table(several)) == (3, False)
    assert pages(several) < 100


async def test_a_backfill_is_in_no_plans_way(connection: asyncpg.Connection[Any]) -> None:
    found = await explain(connection, "situations", ids=["line"])
    assert not scans_a_table(found)
    (line,) = [node for node in nodes(found) if node.get("Index Name") == "runs_active"]
    assert LINE <= line["Actual Rows"] < LINE + 100  # what another test has taken back may still be there


async def test_accounts_read_what_they_count(connection: asyncpg.Connection[Any]) -> None:
    end_id = first_run_id(START + RUNS * 1000)
    across = await explain(connection, "absent_across", schedule_id="s5", at=at(START + RUNS * 1000), end_id=end_id)
    assert indexes(across) == {"runs_history"}
    assert pages(across) < 20
    first_id = first_run_id(START + 1)
    counted = await explain(
        connection,
        "accounting",
        schedule_id="s5",
        first_id=first_id,
        end_id=end_id,
        after=at(START),
        until=at(START + RUNS * 1000),
    )
    assert indexes(counted) == {"runs_history"}
    assert pages(counted) < 400 * 3


async def test_schedules_that_changed_lately_are_read_alone(connection: asyncpg.Connection[Any]) -> None:
    found = await explain(connection, "schedules_since", since=at(START - 50_500), limit=500)
    assert (found["Actual Rows"], scans_a_table(found)) == (50, False)
    assert pages(found) < 200
    many = await explain(connection, "schedules_since", since=at(0), limit=500)
    assert (many["Actual Rows"], scans_a_table(many)) == (500, False)
    assert pages(many) < 1000


async def test_the_backlog_is_cheap(connection: asyncpg.Connection[Any]) -> None:
    found = await explain(connection, "backlog")
    assert not scans_a_table(found)
    assert indexes(found) == {"schedules_due", "runs_queue", "runs_active"}


async def test_old_revisions_are_found_by_what_replaced_them(connection: asyncpg.Connection[Any]) -> None:
    none = await explain(connection, "prune_revisions", before=at(START), limit=1000)
    assert ("schedule_revisions_later" in indexes(none), scans_a_table(none)) == (True, False)
    assert pages(none) < 10
    read = await explain(connection, "revisions", schedule_id="s100", limit=1000)
    assert (read["Actual Rows"], pages(read) < 20) == (5, True)


async def test_a_review_reads_what_is_due_alone(connection: asyncpg.Connection[Any]) -> None:
    due = await explain(connection, "paused_due", now=at(START + 10**9), limit=100)
    assert (due["Actual Rows"], "runs_paused" in indexes(due), scans_a_table(due)) == (100, True, False)
    assert not any(node["Node Type"] == "Sort" for node in nodes(due))
    assert pages(due) < 500
    none = await explain(connection, "paused_due", now=at(START - 1000), limit=100)
    assert (none["Actual Rows"], pages(none) < 10) == (0, True)


async def test_a_worker_looks_for_cancels_among_its_runs_alone(connection: asyncpg.Connection[Any]) -> None:
    wanted = await explain(connection, "cancel_requests", worker_id="w1")
    assert (indexes(wanted), wanted["Actual Rows"], pages(wanted) < 200) == ({"runs_live"}, 0, True)


async def test_a_log_is_read_on_from_where_a_viewer_is(connection: asyncpg.Connection[Any]) -> None:
    run_id = str(await connection.fetchval("SELECT id FROM agentclock.runs ORDER BY id OFFSET 100 LIMIT 1"))
    more = await explain(connection, "events_after", id=run_id, seq=90, limit=500)
    assert (more["Actual Rows"], indexes(more)) == (10, {"run_events_pkey"})
    assert pages(more) < 20
    cursor = await explain(connection, "event_cursor", id=run_id)
    assert (cursor["Actual Rows"], indexes(cursor)) == (1, {"run_events_pkey"})
    assert pages(cursor) < EVENTS * 3


async def test_writing_events_touches_their_runs_alone(connection: asyncpg.Connection[Any]) -> None:
    rows = await connection.fetch("SELECT id FROM agentclock.runs WHERE status = 'running' LIMIT 50")
    values = {
        "run_ids": [str(row[0]) for row in rows],
        "fences": [0] * 50,
        "keep_from_seqs": [2] * 50,
        "batch_numbers": list(range(1, 51)),
        "seqs": [2] * 50,
        "attempts": [1] * 50,
        "at": [at(START)] * 50,
        "types": ["RunContent"] * 50,
        "data": ["x"] * 50,
        "source_indexes": [None] * 50,
    }
    written = await explain(connection, "append_events", **values)
    assert written["Actual Rows"] == 50
    assert not scans_a_table(written)
    assert pages(written) < 50 * 30


async def test_usage_and_recent_runs_touch_what_they_answer(connection: asyncpg.Connection[Any]) -> None:
    ids = {"first_id": first_run_id(START), "last_id": first_run_id(START + 10**9)}
    used = await explain(connection, "usage", schedule_id="s5", since=at(START), until=at(START + 10**9), **ids)
    assert (used["Actual Rows"], scans_a_table(used)) == (1, False)
    assert pages(used) < 400 * 12
    since = START + (RUNS - 100) * 1000
    newest = await explain(connection, "newest_runs", from_id=first_run_id(since), since=at(since), limit=500)
    assert (newest["Actual Rows"], scans_a_table(newest)) == (101, False)
    assert pages(newest) < 300
    active = await explain(connection, "active_runs", limit=100)
    assert (active["Actual Rows"], scans_a_table(active)) == (100, False)


LISTS = {
    "newest": (RunFilter(), 50),
    "of a schedule": (RunFilter(schedule_id="s5"), 50),
    "of a user": (RunFilter(user_id="ann"), 50),
    "failed": (RunFilter(statuses=(RunStatus.FAILED,)), 50),
    "failed of a schedule": (RunFilter(statuses=(RunStatus.FAILED,), schedule_id="s0"), 50),
    "running": (RunFilter(statuses=(RunStatus.RUNNING,)), 50),
}


@pytest.mark.parametrize("which", LISTS)
async def test_a_page_of_history_touches_little(connection: asyncpg.Connection[Any], which: str) -> None:
    where, limit = LISTS[which]
    chosen = run_selection(where)
    page = await explain(connection, "list_runs", chosen.conditions, limit=limit, offset=0, **chosen.values)
    assert page["Actual Rows"] > 0
    assert not scans_a_table(page)
    assert pages(page) < 500
