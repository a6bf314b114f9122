"""`agentclock backfill`, as a person meets it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from tests.processes import Target, serving
from typer.testing import CliRunner, Result

from agentclock.cli.main import app
from agentclock.core.model import Cause, Schedule
from agentclock.core.model import Target as CalledTarget
from agentclock.engine.clock import SystemClock
from agentclock.ports import PageRequest, RunFilter
from agentclock.store.sqlite import SqliteStore

RANGE = ("--from", "2026-01-01", "--until", "2026-01-03T12:00")


@pytest.fixture
def database(tmp_path: Path) -> str:
    """With a disabled daily schedule in Berlin."""
    path = str(tmp_path / "clock.db")

    async def fill() -> None:
        store = SqliteStore(path, clock=SystemClock())
        await store.open()
        daily = Schedule(
            id="s1", name="nightly report", target=CalledTarget(endpoint="/x"), cron_expr="0 3 * * *",
            timezone="Europe/Berlin", enabled=False,
        )  # fmt: skip
        await store.insert_schedules([daily])
        await store.close()

    asyncio.run(fill())
    return path


def backfill(database: str, *arguments: str) -> Result:
    command = ["backfill", "--database", database, *arguments]
    return CliRunner().invoke(app, command, env={"COLUMNS": "200", "NO_COLOR": "1"})


def causes(database: str) -> list[Cause]:
    async def read() -> list[Cause]:
        store = SqliteStore(database, clock=SystemClock())
        await store.open()
        page = await store.list_runs(RunFilter(), PageRequest())
        await store.close()
        return [run.cause for run in page.items]

    return asyncio.run(read())


def test_help_has_examples() -> None:
    shown = CliRunner().invoke(app, ["backfill", "--help"], env={"COLUMNS": "200"}).output
    assert "agentclock backfill nightly-report --from 2026-03-01" in shown


def test_a_dry_run_shows_each_fire_in_local_time_and_writes_nothing(database: str) -> None:
    shown = backfill(database, "nightly report", *RANGE, "--dry-run")
    assert shown.exit_code == 0, shown.output
    rows = re.findall(r"(2026-01-0\dT03:00:00\+01:00) . (\S+) +. (\w+) +. (\w+)", shown.output)
    assert rows == [
        (f"2026-01-0{day}T03:00:00+01:00", f"2026-01-0{day}T02:00:00Z", "none", "runs") for day in (1, 2, 3)
    ]
    assert "3 of 3 fires to be run. Nothing was written." in shown.output
    assert causes(database) == []


def test_a_real_one_says_when_nobody_is_there_to_carry_it_out(database: str) -> None:
    made = backfill(database, "s1", *RANGE, "--concurrency", "2")
    assert made.exit_code == 1
    assert re.search(r"nightly report: backfill \S+ runs 3 fires, 2 at a time\.", made.output)
    assert "No engine is alive on this database: start `agentclock serve`" in made.output
    assert causes(database) == [Cause.BACKFILL] * 3
    again = backfill(database, "s1", *RANGE, "--no-wait")
    assert again.exit_code == 0
    assert "0 of 3 fires to be run, 3 left as they are" in again.output
    found = re.search(r"backfill (\S+) runs", made.output)
    assert found is not None
    assert "Cancelled: 3 cancelled" in backfill(database, "s1", "--cancel", found[1]).output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nightly", *RANGE), "SCHEDULE 'nightly' is neither the name nor the id of a schedule: did you mean nightly"),
        (("s1",), "--from is missing: say --from 2026-03-01"),
        (("s1", "--from", "soon"), "--from is not an ISO 8601 time: write it like"),
        (("s1", "--from", "2026-01-01", "--until", "2999-01-01"), "--until lies in the future"),
        (("s1", "--cancel", "nothing"), "Backfill not found"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(database: str, arguments: tuple[str, ...], message: str) -> None:
    refused = backfill(database, *arguments)
    assert refused.exit_code == 2
    assert message in refused.output
    assert causes(database) == []


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    missing = tmp_path / "none.db"
    refused = backfill(str(missing), "s1", *RANGE)
    assert refused.exit_code == 2
    assert "does not exist" in refused.output
    assert not missing.exists()


async def test_a_real_one_waits_until_a_running_server_has_carried_it_out(database: str) -> None:
    async with Target() as target, serving(database, target):
        made = await asyncio.to_thread(backfill, database, "nightly report", *RANGE, "--concurrency", "3")
        assert made.exit_code == 0, made.output
        assert "3 success" in made.output
        assert "3/3" in made.output
        assert len(target.calls) == 3
        again = await asyncio.to_thread(backfill, database, "nightly report", *RANGE, "--existing", "failed")
        assert "0 of 3 fires to be run" in again.output
        assert len(target.calls) == 3
