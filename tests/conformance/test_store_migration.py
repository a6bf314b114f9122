"""Databases that an older version made and may go on using."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conformance.conftest import FILE_AND_SERVER, Backend
from tests.conformance.helpers import CANCELLED, START, SUCCESS, end, firing, register, run_of, schedule
from tests.conformance.older import database_at

from agentclock.core.ids import fire_run_id
from agentclock.core.model import Attempt, Cause, Instruction, InstructionKind, Run, RunStatus
from agentclock.store.migrating import load_migrations
from agentclock.store.queries import Dialect
from agentclock.testing import FakeClock

#: As the first version wrote them; {now} is START in the words of the database, {id} the run's id.
OLD_SCHEDULE = """
    INSERT INTO {prefix}schedules (
        id, name, description, user_id, target, method, endpoint, payload, cron_expr, run_at, interval_seconds,
        anchor_at, timezone, start_at, end_at, max_runs, jitter_seconds, overlap, catch_up, catch_up_window_seconds,
        misfire_grace_seconds, timeout_seconds, max_retries, retry_delay_seconds, retry_backoff,
        retry_max_delay_seconds, tags, enabled, disabled_reason, managed_by, next_fire_at, last_fire_at, run_count,
        timetable_since, zone_data_version, version, created_at, updated_at
    ) VALUES (
        'old', 'old', NULL, NULL, 'default', 'POST', '/agents/echo/runs', NULL, '* * * * *', NULL, NULL, NULL, 'UTC',
        NULL, NULL, NULL, 0, 'skip', 'latest', 86400, 60, 3600, 0, 60, 'fixed', 3600, '[]', true, NULL, NULL, {now},
        NULL, 0, {now}, NULL, 1, {now}, NULL
    )
"""
OLD_RUN = """
    INSERT INTO {prefix}runs (
        id, schedule_id, user_id, cause, fire_at, last_fire_at, fire_count, status, reason, attempt, refusals,
        available_at, worker_id, worker, fence, cancel_requested, created_at, started_at, completed_at
    ) VALUES (
        '{id}', 'old', NULL, 'schedule', {now}, NULL, 1, '{status}', NULL, 1, 0, {available}, 'w0', 'host w0', 1,
        false, {now}, {now}, NULL
    )
"""
OLD_ATTEMPT = """
    INSERT INTO {prefix}attempts (run_id, number, status, worker, started_at)
    VALUES ('{id}', 1, '{status}', 'host w0', {now})
"""
#: How the first version let a run wait for a human.
OLD_PAUSE = """
    UPDATE {prefix}runs SET status = 'paused', available_at = NULL, requirements = '[1]', agent_run_id = 'agent-1'
    WHERE id = '{id}'
"""

RUN_IDS = {status: fire_run_id(status, START) for status in ("pending", "running", "paused")}


def old_rows(dialect: str) -> list[str]:
    now = str(START) if dialect == "sqlite" else f"to_timestamp({START // 1000})"
    statements = [OLD_SCHEDULE]
    for status, run_id in RUN_IDS.items():
        available = now if status == "pending" else "NULL"
        begun = "running" if status == "paused" else status
        for text in (OLD_RUN, OLD_ATTEMPT, OLD_PAUSE)[: 3 if status == "paused" else 2]:
            filled = text.replace("{id}", run_id).replace("{status}", begun).replace("{available}", available)
            statements.append(filled)
    return [text.replace("{now}", now) for text in statements]


@pytest.fixture(params=FILE_AND_SERVER)
async def old(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Backend]:
    """A database as the first version left it, with rows in it."""
    dialect: Dialect = "sqlite" if request.param == "file" else "postgres"
    where = str(tmp_path / "agentclock.db") if dialect == "sqlite" else request.getfixturevalue("empty_postgres_dsn")
    made = database_at(1, dialect, where, clock, *old_rows(dialect))
    yield made
    await made.close()


async def test_old_rows_mean_what_they_meant(old: Backend) -> None:
    store = await old.open()
    assert (await store.health()).schema_version == len(load_migrations(old.dialect))
    assert await store.get_schedule("old") == schedule(
        "old",
        name="old",
        target=replace(schedule().target, payload=None),
        next_fire_at=START,
        timetable_since=START,
        created_at=START,
    )
    expected = Run(
        id=RUN_IDS["running"],
        schedule_id="old",
        cause=Cause.SCHEDULE,
        fire_at=START,
        status=RunStatus.RUNNING,
        attempt=1,
        worker_id="w0",
        worker="host w0",
        fence=1,
        created_at=START,
        started_at=START,
    )
    assert await run_of(store, expected.id) == expected
    attempt = Attempt(run_id=expected.id, number=1, worker="host w0", started_at=START)
    assert await store.attempts(expected.id) == [attempt]


async def test_old_runs_go_on(old: Backend, clock: FakeClock) -> None:
    store = await old.open()
    await register(store)
    clock.advance(4)
    claims = (await store.claim("w1", 10)).claims
    assert [(claim.run.id, claim.run.attempt, claim.elapsed_ms) for claim in claims] == [(RUN_IDS["pending"], 2, 0)]
    assert [orphan.run.id for orphan in await store.orphans(10)] == [RUN_IDS["running"]]
    await end(store, claims[0])


async def test_a_run_that_paused_before_is_looked_at_and_cancelled(old: Backend, clock: FakeClock) -> None:
    store = await old.open()
    await register(store)
    run_id = RUN_IDS["paused"]
    (found,) = await store.paused_due(10)
    assert (found.run.id, found.run.approval_due_at, found.run.agent_run_id) == (run_id, None, "agent-1")
    assert await store.paused_due(10) == []
    assert await store.request_cancel(run_id) is RunStatus.PENDING
    claims = (await store.claim("w1", 10)).claims
    (claim,) = [claim for claim in claims if claim.run.id == run_id]
    assert (claim.run.instruction, claim.run.attempt, claim.elapsed_ms) == (
        Instruction(kind=InstructionKind.CANCEL, why="cancelled"),
        1,
        0,
    )
    await end(store, claim, CANCELLED)


async def test_the_first_version_may_go_on_writing(old: Backend, clock: FakeClock) -> None:
    """Two versions on one database, as during an upgrade of many processes."""
    store = await old.open()
    for table in ("schedules", "runs", "attempts"):
        await old.execute(f"DELETE FROM {{prefix}}{table}")
    for statement in old_rows(old.dialect):
        await old.execute(statement)
    await register(store)
    found = await store.get_schedule("old")
    assert found is not None
    assert (found.approval_timeout_seconds, found.on_lost, found.provenance) == (86_400, None, None)
    assert [claim.run.id for claim in await store.paused_due(10)] == [RUN_IDS["paused"]]
    fired = await store.fire_due(firing(START + 1), limit=1, worker_id="w1", slots=1)
    claims = (*fired.claims, *(await store.claim("w1", 10)).claims)
    assert len(claims) == 2
    for claim in claims:
        await end(store, claim, SUCCESS)


def test_both_first_steps_are_as_they_were() -> None:
    """What was applied somewhere is never edited: a new step is written instead."""
    sums = [load_migrations(dialect)[0].checksum[:12] for dialect in ("sqlite", "postgres")]
    assert sums == ["6f32cb7ef151", "5a44a71cbf93"]
