"""`agentclock serve` as a process: fires, kill -9, restart, two of them on one database."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.processes import Target, serving, until


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "agentclock.db")
    return str(request.getfixturevalue("empty_postgres_dsn"))


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def test_a_schedule_made_over_rest_fires_and_is_recorded(database: str) -> None:
    async with Target() as target, serving(database, target) as serve:
        made = await serve.post("/schedules", {"name": "soon", "run_at": soon(3), "endpoint": "/hook"})
        await until(lambda: target.calls)
        async with serve.session.get("/schedules/?limit=1", allow_redirects=False) as answer:
            assert (answer.status, (await answer.json())["meta"]["total_count"]) == (200, 1)

        async def settled() -> bool:
            return bool((await serve.get(f"/schedules/{made['id']}/runs"))["data"][0]["status"] == "success")

        await until(settled)
        assert await serve.end(signal.SIGTERM) == 0
    assert target.attempts == [1]


async def test_kill_9_during_a_retry_delay_loses_and_doubles_no_attempt(database: str) -> None:
    async with Target() as target:
        target.status = 503
        async with serving(database, target) as serve:
            draft = {"name": "r", "endpoint": "/hook", "max_retries": 2, "retry_delay_seconds": 5}
            made = await serve.post("/schedules", draft)
            await serve.post(f"/schedules/{made['id']}/trigger?wait=0")

            async def waits() -> bool:
                [run] = (await serve.get(f"/schedules/{made['id']}/runs"))["data"]
                return bool(run["status"] == "pending" and run["attempt"] == 1)

            await until(waits)
            await serve.end(signal.SIGKILL)
        async with serving(database, target) as serve:

            async def over() -> bool:
                [run] = (await serve.get(f"/schedules/{made['id']}/runs"))["data"]
                return bool(run["status"] == "failed")

            await until(over)
    assert target.attempts == [1, 2, 3]


async def test_a_fire_that_came_due_while_nothing_ran_is_made_up_once(database: str) -> None:
    async with Target() as target:
        async with serving(database, target) as serve:
            made = await serve.post("/schedules", {"name": "once", "run_at": soon(4), "endpoint": "/hook"})
            await serve.end(signal.SIGKILL)
        due = datetime.fromisoformat(made["run_at"])
        await until(lambda: datetime.now(UTC) > due)
        assert not target.calls
        async with serving(database, target) as serve:
            await until(lambda: target.calls)
            [run] = (await serve.get(f"/schedules/{made['id']}/runs"))["data"]
    assert run["fire_at"] == made["run_at"]
    assert len(target.calls) == 1


async def test_a_second_process_on_a_file_stands_by_and_takes_over(tmp_path: Path) -> None:
    database = str(tmp_path / "agentclock.db")
    async with Target() as target, serving(database, target) as owner, serving(database, target) as second:
        engine = (await second.get("/ready"))["engine"]
        assert engine["status"] == "standby"
        assert engine["detail"].startswith("runs in ")
        made = await second.post("/schedules", {"name": "x", "interval_seconds": 1, "endpoint": "/hook"})
        await until(lambda: target.calls)
        await owner.end(signal.SIGKILL)

        async def took_over() -> bool:
            return bool((await second.get("/ready"))["engine"]["status"] == "running")

        await until(took_over)
        before = len(target.calls)
        await until(lambda: len(target.calls) > before)
        assert (await second.get(f"/schedules/{made['id']}"))["enabled"]
    assert set(target.fires.values()) == {1}


async def test_two_processes_share_one_postgresql_and_fire_each_schedule_once(empty_postgres_dsn: str) -> None:
    async with (
        Target() as target,
        serving(empty_postgres_dsn, target) as first,
        serving(empty_postgres_dsn, target) as second,
    ):
        at = soon(6)
        schedules = [{"name": f"s{number}", "run_at": at, "endpoint": "/hook"} for number in range(100)]
        await first.post("/schedules/apply", {"manager": "first", "schedules": schedules[:50]})
        await second.post("/schedules/apply", {"manager": "second", "schedules": schedules[50:]})
        await until(lambda: len(target.fires) == 100)
    assert set(target.fires.values()) == {1}
