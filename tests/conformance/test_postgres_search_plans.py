"""Lookups by name, by owner and by key, and pages of the audit log, on big tables: as in test_postgres_plans."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from tests.conformance.helpers import START
from tests.conformance.test_postgres_plans import at, explain, indexes, nodes, pages, scans_a_table
from tests.pg import execute

from agentclock.core.audit import Action
from agentclock.ports import AuditFilter, ScheduleFilter
from agentclock.store.auditing import audit_selection
from agentclock.store.filters import first_run_id, schedule_selection

pytestmark = pytest.mark.postgres

SCHEDULES, OWNERS, ENTRIES, KEYS = 40_000, 40, 30_000, 20_000

FILL = (
    # Each name in use by the first of the owners, too; every owner has 100 schedules, nobody has the others.
    """
    INSERT INTO agentclock.schedules (
        id, name, user_id, target, method, endpoint, cron_expr, timezone, jitter_seconds, overlap, catch_up,
        catch_up_window_seconds, misfire_grace_seconds, timeout_seconds, max_retries, retry_delay_seconds,
        retry_backoff, retry_max_delay_seconds, tags, enabled, next_fire_at, run_count, timetable_since, version,
        created_at, folded_name)
    SELECT 's' || n, 'name ' || n / 2, CASE WHEN n % 10 = 1 THEN 'u' || n / 10 % {owners} END, 'default', 'POST',
        '/x', '* * * * *', 'UTC', 0, 'skip', 'latest', 86400, 60, 3600, 0, 60, 'fixed', 3600, '[]', true,
        to_timestamp({start} + n), 0, to_timestamp(0), 1, to_timestamp({start} + n), 'name ' || n / 2
    FROM generate_series(1, {schedules}) n WHERE n % 10 IN (0, 1, 3, 5, 7)
    """,
    """
    INSERT INTO agentclock.audit_log (id, at, action, actor, user_id, schedule_id, run_id)
    SELECT (lpad(to_hex(({start}::bigint + n) * 1000), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
        to_timestamp({start} + n), CASE WHEN n % 3 = 0 THEN 'schedule.changed' ELSE 'schedule.triggered' END,
        CASE WHEN n % 1000 = 0 THEN 'ann' ELSE 'key' END, 'u' || n % 300, 's' || n % 500,
        (lpad(to_hex(n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid
    FROM generate_series(1, {entries}) n
    """,
    """
    INSERT INTO agentclock.trigger_keys
    SELECT 's' || n % 50, 'key ' || n, 'f', gen_random_uuid(), to_timestamp({start} + n)
    FROM generate_series(1, {keys}) n
    """,
    "VACUUM ANALYZE agentclock.schedules, agentclock.audit_log, agentclock.trigger_keys",
)


@pytest.fixture(scope="module")
def searched(postgres_dsn: str) -> str:
    values = {
        "start": START // 1000,
        "schedules": SCHEDULES,
        "owners": OWNERS,
        "entries": ENTRIES,
        "keys": KEYS,
    }
    execute(postgres_dsn, *(statement.format(**values) for statement in FILL))
    return postgres_dsn


@pytest.fixture(params=["auto", "force_generic_plan"])
async def connection(searched: str, request: pytest.FixtureRequest) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection = await asyncpg.connect(searched)
    await connection.execute(f"SET plan_cache_mode = {request.param}; SET jit = off")
    yield connection
    await connection.close()


NAMED = [
    (ScheduleFilter(name="name 5"), 2, 60 + 8 * OWNERS),
    (ScheduleFilter(name="name 5", user_id="u1"), 1, 20),
    (ScheduleFilter(name="nobody's"), 0, 60 + 8 * OWNERS),
]


@pytest.mark.parametrize(("where", "count", "most"), NAMED)
async def test_a_name_is_looked_up_among_many(
    connection: asyncpg.Connection[Any], where: ScheduleFilter, count: int, most: int
) -> None:
    """Of all owners, or of one: so many pages, however many schedules there are."""
    chosen = schedule_selection(where)
    for query in ("list_schedules", "count_schedules"):
        found = await explain(connection, query, chosen.conditions, limit=10, offset=0, **chosen.values)
        assert not scans_a_table(found)
        assert "schedules_name" in indexes(found)
        assert pages(found) < most
        if query == "list_schedules":
            assert found["Actual Rows"] == count


async def test_counting_an_owners_schedules_stops_at_the_limit(connection: asyncpg.Connection[Any]) -> None:
    await connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
    for user_id, most, expected in (("u1", 1000, 100), ("u1", 5, 5), ("nobody", 1000, 0)):
        found = await explain(connection, "count_of_owner", user_id=user_id, most=most)
        assert indexes(found) == {"schedules_name"}
        (limit,) = [node for node in nodes(found) if node["Node Type"] == "Limit"]
        assert limit["Actual Rows"] == expected
        assert pages(found) <= expected + 10


async def test_a_key_is_looked_up_among_many(connection: asyncpg.Connection[Any]) -> None:
    values = {"schedule_id": "s7", "hours": 48, "now": at(START)}
    found = await explain(connection, "trigger_key", key="key 57", **values)
    assert (found["Actual Rows"], indexes(found), pages(found) < 10) == (1, {"trigger_keys_pkey"}, True)
    pruned = await explain(connection, "prune_trigger_keys", now=at(START), hours=48, limit=100)
    assert "trigger_keys_old" in indexes(pruned)
    assert pages(pruned) < 10


PAGES = [
    (AuditFilter(), 100, {"audit_log_pkey"}),
    (AuditFilter(schedule_id="s7"), 60, {"audit_log_of_schedule"}),
    (AuditFilter(actor="ann"), 30, {"audit_log_by_actor"}),
    (AuditFilter(user_id="u7"), 100, {"audit_log_of_user"}),
    (AuditFilter(since=START + 10_000, until=START + 20_000), 10, {"audit_log_pkey"}),
    (AuditFilter(actions=(Action.CHANGED,)), 100, {"audit_log_pkey"}),
]


@pytest.mark.parametrize(("where", "count", "expected"), PAGES)
async def test_a_page_of_the_audit_log_reads_itself(
    connection: asyncpg.Connection[Any], where: AuditFilter, count: int, expected: set[str]
) -> None:
    chosen = audit_selection(where)
    found = await explain(connection, "list_audit", chosen.conditions, limit=100, offset=0, **chosen.values)
    assert (found["Actual Rows"], indexes(found)) == (count, expected)
    assert pages(found) < 350


async def test_a_page_further_on_costs_no_more(connection: asyncpg.Connection[Any]) -> None:
    cursor = first_run_id(START + 1_000_000)
    found = await explain(connection, "list_audit", ("audit_after",), limit=100, offset=0, cursor_id=cursor)
    assert (found["Actual Rows"], indexes(found)) == (100, {"audit_log_pkey"})
    assert pages(found) < 20
