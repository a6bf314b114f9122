"""`agentclock import agno` on databases that agno itself wrote."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from agno.db.postgres import PostgresDb
from agno.db.sqlite import SqliteDb
from agno.scheduler import ScheduleManager
from typer.testing import CliRunner, Result

from agentclock.app import make_store
from agentclock.cli.main import app
from agentclock.config import Settings
from agentclock.core.model import RunStatus
from agentclock.engine.clock import SystemClock
from agentclock.ports import PageRequest, RunFilter, ScheduleFilter, Store


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["import", "agno", *arguments], env={"COLUMNS": "200", "NO_COLOR": "1"})


def told(*arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run(*arguments, "--json").output)
    return answer


def fill(db: Any) -> dict[str, str]:
    """Three schedules and the attempts of two runs, made as an AgentOS makes them. Answers ids by name."""
    manager = ScheduleManager(db)
    now = int(time.time())
    daily = manager.create(
        name="daily",
        cron="0 7 * * mon-fri",
        endpoint="/agents/greeter/runs",
        payload={"message": "hello", "deep": {"er": [1, 2]}},
        timezone="Europe/Berlin",
        max_retries=1,
        description="weekdays",
    )
    demand = manager.create(name="on demand", cron="", endpoint="/workflows/report/runs", user_id="mona")
    off = manager.create(name="off", cron="*/5 * * * *", endpoint="/hook", method="GET")
    manager.disable(off.id)
    attempts = (
        (1, now - 900, now - 890, "failed"),
        (2, now - 830, now - 800, "success"),
        (1, now - 7200, None, "running"),
    )
    for number, began, ended, status in attempts:
        db.create_schedule_run(
            {
                "id": f"row-{began}",
                "schedule_id": daily.id,
                "attempt": number,
                "triggered_at": began,
                "completed_at": ended,
                "status": status,
                "output": {"content": f"attempt {number}", "content_type": "str"},
                "created_at": began,
            }
        )
    return {schedule.name: schedule.id for schedule in (daily, demand, off)}


@pytest.fixture
def agno_file(tmp_path: Path) -> tuple[str, dict[str, str]]:
    file = tmp_path / "agno.db"
    db = SqliteDb(db_file=str(file))
    ids = fill(db)
    db.db_engine.dispose()
    return str(file), ids


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@asynccontextmanager
async def opened(database: str) -> AsyncIterator[Store]:
    store, _ = make_store(Settings(database=database), SystemClock())
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def check(database: str, ids: dict[str, str]) -> None:
    """What `fill` wrote has arrived, and nothing else."""
    async with opened(database) as store:
        page = await store.list_schedules(ScheduleFilter(), PageRequest())
        found = {schedule.name: schedule for schedule in page.items}
        assert {name: schedule.id for name, schedule in found.items()} == ids
        daily = found["daily"]
        assert daily.target.payload == {"message": "hello", "deep": {"er": [1, 2]}}
        assert (daily.cron_expr, daily.timezone, daily.retry.max_retries) == ("0 7 * * mon-fri", "Europe/Berlin", 1)
        assert daily.next_fire_at is not None
        assert daily.next_fire_at > await store.now()
        assert (found["on demand"].cron_expr, found["on demand"].user_id) == (None, "mona")
        assert (found["off"].enabled, found["off"].next_fire_at) == (False, None)
        runs = (await store.list_runs(RunFilter(schedule_id=ids["daily"]), PageRequest())).items
        assert [(one.status, one.attempt) for one in runs] == [(RunStatus.SUCCESS, 2), (RunStatus.LOST, 1)]
        assert runs[0].output == {"content": "attempt 2", "content_type": "str"}
        assert [one.number for one in await store.attempts(runs[0].id)] == [1, 2]


async def test_from_sqlite_to_the_file_beside_it(agno_file: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    source, ids = agno_file
    before = names_in(tmp_path)

    dry = await asyncio.to_thread(run, "--from", source)
    assert dry.exit_code == 0, dry.output
    assert "Nothing was written" in dry.output
    assert "3 schedules and 2 past runs to be imported" in dry.output
    assert names_in(tmp_path) == before

    done = await asyncio.to_thread(run, "--from", f"sqlite:///{source}", "--apply")
    assert done.exit_code == 0, done.output
    assert "3 schedules and 2 past runs imported" in done.output
    assert "switch agno's own scheduler off" in done.output
    await check(str(tmp_path / "agno.agentclock.db"), ids)

    again = await asyncio.to_thread(run, "--from", source, "--apply")
    assert "0 schedules and 0 past runs imported" in again.output
    assert "Nothing had to be changed" in again.output
    await check(str(tmp_path / "agno.agentclock.db"), ids)


async def test_to_a_database_of_choice(agno_file: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    source, ids = agno_file
    ours = str(tmp_path / "clock.db")
    assert (await asyncio.to_thread(run, "--from", source, "--database", ours, "--apply")).exit_code == 0
    await check(ours, ids)
    assert not (tmp_path / "agno.agentclock.db").exists()


@pytest.mark.postgres
@pytest.mark.parametrize("driver", ["postgresql+psycopg", "postgresql"])
async def test_from_postgres_into_the_same_database(empty_postgres_dsn: str, driver: str) -> None:
    db = PostgresDb(db_url=empty_postgres_dsn.replace("postgresql", "postgresql+psycopg", 1))
    ids = await asyncio.to_thread(fill, db)
    source = empty_postgres_dsn.replace("postgresql", driver, 1)

    dry = await asyncio.to_thread(told, "--from", source)
    assert (dry["applied"], dry["complete"], dry["new_runs"]) == (False, True, 2)
    assert [schedule["fate"] for schedule in dry["schedules"]] == ["new", "new", "new"]

    done = await asyncio.to_thread(told, "--from", source, "--apply")
    assert {**dry, "applied": True} == done
    await check(empty_postgres_dsn, ids)
    again = await asyncio.to_thread(told, "--from", source, "--apply")
    assert [schedule["fate"] for schedule in again["schedules"]] == ["equal", "equal", "equal"]
    assert again["new_runs"] == 0
    await asyncio.to_thread(db.db_engine.dispose)


def test_one_that_cannot_be_imported_is_the_exit_code(agno_file: tuple[str, dict[str, str]]) -> None:
    source, _ = agno_file
    with sqlite3.connect(source) as connection:
        connection.execute("UPDATE agno_schedules SET name = 'täglich' WHERE name = 'off'")
    connection.close()
    shown = run("--from", source, "--apply")
    assert shown.exit_code == 1
    assert "täglich: name: Must start with" in shown.output
    assert "2 schedules and 2 past runs imported" in shown.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from", "nowhere.db"], "there is no file nowhere.db"),
        (["--from", "mysql://user:secret@host/agno"], "mysql cannot be read"),
        (["--from", "postgresql://user:secret@127.0.0.1:1/agno"], "127.0.0.1:1"),
        (["--schedules-table", 'x"; --'], "is no name of a table"),
        (["--schedules-table", "other_schedules"], "there are agno_schedule_runs, agno_schedules"),
        (["--database", "oracle://x/y"], "oracle is not supported"),
    ],
)
def test_what_cannot_be_read_or_written(
    agno_file: tuple[str, dict[str, str]], arguments: list[str], words: str
) -> None:
    shown = run(*(arguments if "--from" in arguments else ["--from", agno_file[0], *arguments]))
    assert shown.exit_code == 2, shown.output
    assert words in shown.output
    assert "secret" not in shown.output


def test_without_agno_it_says_what_to_install(
    agno_file: tuple[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "agentclock.agno.importer_source", None)
    shown = run("--from", agno_file[0])
    assert shown.exit_code == 2
    assert "pip install 'agentclock[agno]'" in shown.output


def test_without_croniter_it_says_that_nothing_was_compared(
    agno_file: tuple[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "croniter", None)
    shown = run("--from", agno_file[0])
    assert shown.exit_code == 0
    assert "pip install 'agno[scheduler]'" in shown.output


def test_a_schedule_without_history_table(tmp_path: Path) -> None:
    """agno makes the table of runs with the first run."""
    source = str(tmp_path / "agno.db")
    db = SqliteDb(db_file=source)
    ScheduleManager(db).create(name="new", cron="0 7 * * *", endpoint="/agents/greeter/runs")
    db.db_engine.dispose()
    with sqlite3.connect(source) as connection:
        connection.execute("DROP TABLE IF EXISTS agno_schedule_runs")
    connection.close()
    assert told("--from", source, "--apply")["schedules"][0]["history"] == {"new": 0, "there": 0, "left_out": {}}
