"""`agentclock doctor` on accounts: of all schedules, and of one in detail."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from agentclock.cli.main import app
from agentclock.core.actors import Actor
from agentclock.core.planning import plan
from agentclock.scheduler import EngineState, Scheduler
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import FakeClock

TARGET = ("-t", "default=http://127.0.0.1:9")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *arguments], env={"COLUMNS": "200", "NO_COLOR": "1"})


async def _lived(path: Path) -> None:
    """Ten schedules with two hours behind them, one of them changed in between."""
    clock = FakeClock()
    store = SqliteStore(str(path), clock=clock, synchronous="NORMAL")
    await store.open()
    scheduler = Scheduler(
        store, clock=clock, wakeup=lambda: None, engine_state=lambda: EngineState(status="running"), entropy=bytes
    )
    for number in range(10):
        clock.advance(ms=1)
        draft = {"name": f"s{number}", "endpoint": "/x", "interval_seconds": 600, "overlap": "allow"}
        made = await scheduler.create(draft, by=Actor("ada"))
    for half in range(2):
        for _ in range(6):
            clock.advance(600)
            await store.fire_due(plan, limit=100)
        if not half:
            await scheduler.change(made.id, {"interval_seconds": 1_200}, by=Actor("bob"))
    await scheduler.disable(made.id, by=Actor("eve"))
    for schedule in (await scheduler.list()).items:
        await scheduler.disable(schedule.id)  # or all of the years since would be overdue
    await store.close()


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("doctor") / "clock.db"
    asyncio.run(_lived(path))
    return path


@pytest.fixture
def database(pristine: Path, tmp_path: Path) -> str:
    """A copy that a test may damage."""
    copy = tmp_path / "clock.db"
    with sqlite3.connect(pristine) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    return str(copy)


def damage(database: str, sql: str) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute(sql)
    connection.close()


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTCLOCK_HISTORY_DAYS", "none")


@pytest.mark.usefixtures("kept")
def test_all_schedules_add_up(database: str) -> None:
    shown = json.loads(run("-d", database, *TARGET, "--json").output)
    accounting = [finding for finding in shown["findings"] if finding["check"] in ("accounting", "schedule")]
    detail = "117 fires due = 117 runs + 0 skipped + 0 missed, over 10 schedules"
    assert accounting == [{"check": "accounting", "verdict": "ok", "detail": detail}]


@pytest.mark.usefixtures("kept")
def test_trouble_is_named_and_counted(database: str) -> None:
    one = "(SELECT id FROM agentclock_schedules WHERE name = 's1')"
    damage(database, f"DELETE FROM agentclock_runs WHERE schedule_id = {one} AND fire_at % 3600000 = 0")
    damage(database, "UPDATE agentclock_schedules SET cron_expr = 'x', interval_seconds = NULL WHERE name = 's3'")
    damage(database, "UPDATE agentclock_schedules SET tags = 'junk' WHERE name = 's4'")
    answered = run("-d", database, *TARGET, "--json")
    assert answered.exit_code == 1
    details = [finding["detail"] for finding in json.loads(answered.output)["findings"]]
    assert any("fires were due" in detail and "are accounted for" in detail for detail in details)
    assert any("s3 (" in detail and "the timetable cannot be read" in detail for detail in details)
    assert any("unreadable (" in detail and "tags" in detail for detail in details)


@pytest.mark.usefixtures("kept")
def test_what_is_unknown_is_a_warning(database: str) -> None:
    where = "schedule_id = (SELECT id FROM agentclock_schedules WHERE name = 's9') AND version = 2"
    damage(database, f"DELETE FROM agentclock_schedule_revisions WHERE {where}")
    findings = json.loads(run("-d", database, *TARGET, "--json").output)["findings"]
    [doubt] = [finding for finding in findings if finding["check"] == "schedule"]
    assert doubt["verdict"] == "warning"
    assert "s9 (" in doubt["detail"]
    assert "is unknown: versions are missing" in doubt["detail"]


def _statement(*arguments: str) -> dict[str, Any]:
    answered = run(*arguments, "--json")
    assert answered.exit_code == 0, answered.output
    [found] = json.loads(answered.output)["accounting"]
    return dict(found)


@pytest.mark.usefixtures("kept")
def test_one_schedule_in_detail(database: str) -> None:
    found = _statement("-d", database, "--schedule", "s9")
    assert [(period["by"], period["due"], period["runs"]) for period in found["periods"]] == [
        ("ada", 6, 6),
        ("bob", 3, 3),
        ("eve", 0, 0),
    ]
    part = _statement("-d", database, "--schedule", "s9", "--from", "2026-01-01T00:30Z", "--to", "2026-01-01T00:50:01Z")
    assert (part["due"], part["runs"], part["balanced"]) == (3, 3, True)
    shown = run("-d", database, "--schedule", found["schedule_id"])
    assert "Every 10 minutes, counted from 2026-01-01 00:00:00" in shown.output
    assert "in all" in shown.output
    damage(database, "DELETE FROM agentclock_runs WHERE id = (SELECT max(id) FROM agentclock_runs)")
    damage(database, "DELETE FROM agentclock_runs WHERE fire_at = (SELECT min(fire_at) FROM agentclock_runs)")
    lost = run("-d", database, "--schedule", "s9")
    assert lost.exit_code == 1
    assert "differs" in lost.output


def test_a_schedule_that_is_not_there_and_times_that_are_none(database: str) -> None:
    missing = run("-d", database, "--schedule", "s99")
    assert missing.exit_code == 1
    assert "no schedule with the name or id 's99'" in missing.output
    assert run("-d", database, "--schedule", "s1", "--from", "yesterday").exit_code == 2
