"""Counts of fires, failures and marks on a big table: as in test_postgres_plans."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from tests.conformance.helpers import START
from tests.conformance.test_postgres_plans import at, explain, indexes, nodes, pages, scans_a_table
from tests.pg import execute

from agentclock.core.model import RunStatus
from agentclock.ports import RunFilter
from agentclock.store.filters import first_run_id, one_of, run_selection
from agentclock.store.postgres_history import bounded

pytestmark = pytest.mark.postgres

#: One run a minute for half a year, of a thousand schedules and three owners; four of a hundred failed, as many timed
#: out, ten were skipped.
RUNS = 250_000
MINUTE, DAY = 60_000, 86_400_000

FILL = (
    """
    INSERT INTO agentclock.runs (id, schedule_id, user_id, cause, fire_at, status, attempt, created_at, error)
    SELECT (lpad(to_hex(({start}::bigint + n * 60) * 1000), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
        's' || n % 1000, CASE WHEN n % 100 < 3 THEN 'u' || n % 3 END, 'schedule', to_timestamp({start} + n * 60),
        CASE WHEN n % 25 = 1 THEN 'failed' WHEN n % 25 = 2 THEN 'timeout' WHEN n % 10 = 3 THEN 'skipped'
            ELSE 'success' END,
        1, to_timestamp({start} + n * 60), CASE WHEN n % 25 < 3 THEN repeat('x', 200) END
    FROM generate_series(0, {runs} - 1) n
    """,
    """
    INSERT INTO agentclock.attempts (run_id, number, status, started_at, total_tokens)
    SELECT r.id, 1, r.status, r.fire_at, 12 FROM agentclock.runs r
    """,
    "VACUUM ANALYZE agentclock.runs, agentclock.attempts",
)


@pytest.fixture(scope="module")
def lived(postgres_dsn: str) -> str:
    execute(postgres_dsn, *(statement.format(start=START // 1000, runs=RUNS) for statement in FILL))
    return postgres_dsn


@pytest.fixture(params=["auto", "force_generic_plan"])
async def connection(lived: str, request: pytest.FixtureRequest) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection = await asyncpg.connect(lived)
    await connection.execute(f"SET plan_cache_mode = {request.param}; SET jit = off")
    yield connection
    await connection.close()


def chosen(days: int, *statuses: RunStatus, **fields: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The last `days` of the table, as the store asks for them."""
    until = START + RUNS * MINUTE
    where = RunFilter(since=until - days * DAY, until=until, **fields)
    # What is read itself is bounded by its ids as well.
    found = bounded(where, None) if set(statuses) == set(ABSENT) else run_selection(where)
    values = found.values | {"since": at(until - days * DAY), "until": at(until)}
    values |= {"since_ms": until - days * DAY, "span_ms": days * DAY, "bins": 100, "limit": 100}
    if "schedule_ids" in values:
        values["schedule_ids"] = list(values["schedule_ids"])
    return (*found.conditions, *one_of("r.status", statuses)), values


ENDED = (RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.TIMEOUT, RunStatus.CANCELLED, RunStatus.LOST)
ABSENT = (RunStatus.SKIPPED, RunStatus.MISSED)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"user_id": "u1"},
        {"schedule_ids": tuple(f"s{n}" for n in range(300))},
        {"schedule_ids": tuple(f"s{n}" for n in range(0, 1000, 2)), "user_id": "u1"},
    ],
)
@pytest.mark.parametrize("name", ["count_final_runs", "final_runs_by_schedule"])
async def test_fires_are_counted_from_the_index_alone(
    connection: asyncpg.Connection[Any], name: str, fields: dict[str, Any]
) -> None:
    conditions, values = chosen(7, *ENDED, **fields)
    found = await explain(connection, name, conditions, **values)
    assert not scans_a_table(found)
    if not fields:
        assert indexes(found) == {"runs_fires"}
        assert any(node["Node Type"] == "Index Only Scan" for node in nodes(found))
    # A week has 10,080 runs; half a year of them would be thousands of pages.
    assert pages(found) < 1_500


@pytest.mark.parametrize("name", ["count_absences", "absences_by_schedule"])
async def test_absences_are_read_of_their_range_alone(connection: asyncpg.Connection[Any], name: str) -> None:
    conditions, values = chosen(7, *ABSENT)
    found = await explain(connection, name, conditions, **values)
    assert not scans_a_table(found)
    assert pages(found) < 3_500


@pytest.mark.parametrize("fields", [{}, {"user_id": "u1"}, {"schedule_ids": ("s1", "s26")}])
async def test_failures_are_read_in_their_order(connection: asyncpg.Connection[Any], fields: dict[str, Any]) -> None:
    conditions, values = chosen(170, RunStatus.FAILED, **fields)
    found = await explain(connection, "failures", conditions, **values)
    assert not scans_a_table(found)
    assert found["Actual Rows"] == 100
    # 10,000 runs failed.
    assert pages(found) < 2_500


async def test_marks_read_the_newest_runs_of_each_schedule(connection: asyncpg.Connection[Any]) -> None:
    ids = [f"s{number}" for number in range(20)]
    found = await explain(connection, "marks_of_with_usage", schedule_ids=ids, limit=10)
    assert (found["Actual Rows"], scans_a_table(found)) == (200, False)
    assert {"runs_history", "attempts_pkey"} <= indexes(found)
    assert pages(found) < 200 * 12


async def test_a_page_of_a_few_schedules_reads_no_more_of_each(connection: asyncpg.Connection[Any]) -> None:
    values = {"schedule_ids": ["s1", "s101"], "limit": 10, "offset": 0}
    cursor = first_run_id(START + RUNS * MINUTE)
    found = await explain(connection, "list_runs_of_few", ("runs_after",), cursor_id=cursor, **values)
    assert (found["Actual Rows"], scans_a_table(found)) == (10, False)
    assert pages(found) < 200


async def test_runs_in_order_are_not_taken_from_the_index_of_fires(connection: asyncpg.Connection[Any]) -> None:
    """It holds every final run, but in another order than anybody pages through."""
    conditions = one_of("r.status", (RunStatus.FAILED, RunStatus.TIMEOUT))
    found = await explain(connection, "list_runs", tuple(conditions), limit=100, offset=0)
    assert (found["Actual Rows"], "runs_fires" in indexes(found)) == (100, False)
