"""The command line, as a person meets it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import sys
from pathlib import Path

import pytest
from tests.processes import Target, serving, until
from typer.testing import CliRunner, Result

from agentclock import __version__
from agentclock.cli.main import app


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "NO_COLOR": "1"})


async def in_thread(*arguments: str) -> Result:
    return await asyncio.to_thread(run, *arguments)


def test_help_lists_every_command_with_an_example() -> None:
    shown = run("--help")
    assert shown.exit_code == 0
    for command in ("serve", "worker", "cron", "db", "doctor", "demo"):
        assert command in shown.output
        assert run(command, "--help").exit_code == 0
    assert "Example:" in run("serve", "--help").output


def test_version_names_the_zone_data() -> None:
    assert re.fullmatch(
        rf"agentclock {re.escape(__version__)} \(time zone data 20\d\d[a-z]\)\n", run("--version").output
    )


def test_cron_explain() -> None:
    shown = run("cron", "explain", "0 3 * * *", "--timezone", "America/New_York")
    assert "At 03:00, every day, America/New_York" in shown.output
    answer = json.loads(run("cron", "explain", "*/7 * * * *", "--json").output)
    assert answer["canonical"] == "*/7 * * * *"
    assert "does not divide" in answer["warnings"][0]


def test_cron_next_shows_the_night_the_clocks_change() -> None:
    shown = run("cron", "next", "30 2 * * *", "-z", "Europe/Berlin", "-n", "2", "--after", "1774652400", "--json")
    assert [fire["local"] for fire in json.loads(shown.output)] == [
        "2026-03-28T02:30:00+01:00",
        "2026-03-29T03:00:00+02:00",
    ]


def test_cron_check_points_at_what_is_wrong() -> None:
    assert run("cron", "check", "0 3 * * *").exit_code == 0
    shown = run("cron", "check", "0 3 * * *", "0 25 * * *")
    assert shown.exit_code == 1
    assert "       ^ hour: 25 is not in 0-23" in shown.output
    assert run("cron", "next", "0 3 * * *", "-z", "Europe/Berln").exit_code == 1


def test_db_looks_before_it_makes(tmp_path: Path) -> None:
    database = tmp_path / "clock.db"
    assert run("db", "version", "-d", str(database)).exit_code == 1
    assert not database.exists()
    assert "up to date" in run("db", "upgrade", "-d", str(database)).output
    assert re.fullmatch(r"schema version \d+\n", run("db", "version", "-d", str(database)).output)


def test_settings_are_refused_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTCLOCK_CONCURRENCY", "0")
    shown = run("serve", "--port", "99999", "--target", "default=ftp://x")
    assert shown.exit_code == 2
    assert "concurrency (AGENTCLOCK_CONCURRENCY)" in shown.output
    assert "port (AGENTCLOCK_PORT)" in shown.output
    monkeypatch.delenv("AGENTCLOCK_CONCURRENCY")
    unusable = run("serve", "--target", "default=ftp://x", "-d", ":memory:")
    assert unusable.exit_code == 2
    assert "ftp://x" in unusable.output


def test_a_settings_file_is_overruled_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "agentclock.toml"
    file.write_text('[agentclock]\nlog_level = "loud"\nconcurrency = "many"\n')
    monkeypatch.setenv("AGENTCLOCK_CONCURRENCY", "7")
    shown = run("serve", "--config", str(file))
    assert "log_level" in shown.output
    assert "concurrency" not in shown.output


def test_a_busy_port_is_a_short_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        shown = run("serve", "-d", ":memory:", "--port", str(busy.getsockname()[1]))
    assert shown.exit_code == 1
    assert "Cannot listen on 127.0.0.1" in shown.output
    assert "--port" in shown.output


def test_doctor_without_a_database(tmp_path: Path) -> None:
    shown = run("doctor", "-d", str(tmp_path / "none.db"))
    assert shown.exit_code == 1
    assert "does not exist yet" in shown.output
    assert not (tmp_path / "none.db").exists()


async def test_doctor_on_a_running_server(tmp_path: Path) -> None:
    database = str(tmp_path / "clock.db")
    async with Target() as target, serving(database, target) as serve:
        await serve.post("/schedules", {"name": "often", "interval_seconds": 1, "endpoint": "/hook"})
        await until(lambda: len(target.calls) >= 2)
        shown = await in_thread("doctor", "-d", database, "-t", f"default={target.url}")
        assert shown.exit_code == 0, shown.output
        assert "reachable" in shown.output
        assert re.search(r"\d+ fires due = \d+ runs \+ 0 skipped \+ 0 missed, over 1 schedules", shown.output)
        unreachable = await in_thread("doctor", "-d", database, "-t", "default=http://127.0.0.1:9")
        assert unreachable.exit_code == 1


async def test_doctor_finds_a_fire_that_vanished(tmp_path: Path) -> None:
    """The accounting can fail: take one row away and it says so."""
    import sqlite3

    path = tmp_path / "clock.db"
    async with Target() as target:
        async with serving(str(path), target) as serve:
            await serve.post("/schedules", {"name": "often", "interval_seconds": 1, "endpoint": "/hook"})
            await until(lambda: len(target.calls) >= 3)
            await serve.end(signal.SIGTERM)
        with sqlite3.connect(path) as connection:
            connection.execute("DELETE FROM agentclock_runs WHERE id = (SELECT min(id) FROM agentclock_runs)")
        connection.close()
        shown = await in_thread("doctor", "-d", str(path), "-t", f"default={target.url}")
    assert shown.exit_code == 1
    assert re.search(r"(\d+) fires were due, \d+ are accounted for", shown.output)


async def test_the_worker_runs_without_an_api(tmp_path: Path) -> None:
    database = str(tmp_path / "clock.db")
    async with Target() as target:
        async with serving(database, target) as serve:
            await serve.post("/schedules", {"name": "often", "interval_seconds": 1, "endpoint": "/hook"})
            await serve.end(signal.SIGTERM)
        target.calls.clear()
        command = [sys.executable, "-m", "agentclock", "worker", "-d", database, "-t", f"default={target.url}"]
        worker = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
        await until(lambda: target.calls)
        worker.send_signal(signal.SIGTERM)
        assert await worker.wait() == 0


async def test_the_demo_shows_an_agents_answer_and_stops_cleanly() -> None:
    command = [sys.executable, "-m", "agentclock", "demo", "--port", "0", "--plain"]
    demo = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert demo.stdout is not None
    said = ""
    while "success   agent-once-in-10-s" not in said:
        line = await demo.stdout.readline()
        assert line, said
        said += line.decode()
    assert "ms late" in said
    demo.send_signal(signal.SIGINT)
    rest = (await demo.stdout.read()).decode()
    assert await demo.wait() == 0
    assert "lateness p50" in rest
