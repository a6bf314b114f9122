"""Schedules that agno's own scheduler kept do not fall silent unnoticed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import agno.os
import pytest
from agno.db.sqlite import SqliteDb
from structlog.testing import capture_logs
from tests.agno_host import greeter, living
from tests.processes import until

from agentclock.agno import attach
from agentclock.agno.left_behind import look_for_schedules_left_behind
from agentclock.app import Clockwork, assemble
from agentclock.config import Settings


def agnos(schedule_id: str, *, enabled: bool = True) -> dict[str, object]:
    return {
        "id": schedule_id,
        "name": f"schedule-{schedule_id}",
        "method": "POST",
        "endpoint": "/agents/a/runs",
        "payload": {"message": "hi"},
        "cron_expr": "0 7 * * *",
        "timezone": "UTC",
        "timeout_seconds": 60,
        "max_retries": 0,
        "retry_delay_seconds": 60,
        "enabled": enabled,
        "next_run_at": int(time.time()) + 3600,
        "created_at": int(time.time()),
    }


@pytest.fixture
async def clockwork(tmp_path: Path) -> AsyncIterator[Clockwork]:
    made = assemble(Settings(database=str(tmp_path / "ours.db")))
    await made.start()
    yield made
    await made.stop()


async def test_what_fires_no_more_is_named_with_the_remedy(clockwork: Clockwork, tmp_path: Path) -> None:
    db = SqliteDb(db_file=str(tmp_path / "theirs.db"))
    for row in (agnos("one"), agnos("two"), agnos("off", enabled=False)):
        db.create_schedule(row)
    with capture_logs() as logs:
        await look_for_schedules_left_behind(db, clockwork)
    (line,) = [entry for entry in logs if entry["event"] == "schedules_left_behind"]
    assert line["count"] == 2
    assert "agentclock import agno" in line["hint"]


@pytest.mark.parametrize("by_app", [False, True], ids=["AgentOS", "its app"])
async def test_an_app_says_so_when_it_starts_and_has_the_tools(tmp_path: Path, by_app: bool) -> None:
    db = SqliteDb(db_file=str(tmp_path / "theirs.db"))
    db.create_schedule(agnos("one"))
    agent_os = agno.os.AgentOS(agents=[greeter()], db=db, telemetry=False)
    app = attach(agent_os.get_app(), db) if by_app else attach(agent_os).get_app()
    with capture_logs() as logs:
        async with living(app) as client:
            await until(lambda: any(entry["event"] == "schedules_left_behind" for entry in logs))
            made = await asyncio.to_thread(db.create_schedule, agnos("two"))
            assert made is not None
            shown = (await client.get("/schedules")).json()["data"]
    assert [schedule["id"] for schedule in shown] == ["two"]


async def test_nothing_is_said_where_agno_kept_none(clockwork: Clockwork, tmp_path: Path) -> None:
    empty = SqliteDb(db_file=str(tmp_path / "theirs.db"))
    disabled = SqliteDb(db_file=str(tmp_path / "other.db"))
    disabled.create_schedule(agnos("off", enabled=False))
    with capture_logs() as logs:
        for db in (empty, disabled, SqliteDb(db_url="sqlite:///:memory:")):
            await look_for_schedules_left_behind(db, clockwork)
    assert not [entry for entry in logs if entry["event"] == "schedules_left_behind"]
