"""Real processes, real databases, kill -9. Slower than `make test` allows; `make chaos` runs it."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import ClientError
from tests.pg import PostgresServer, execute
from tests.processes import Serve, Target, serving, until

pytestmark = pytest.mark.timeout(600)


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def test_an_overdue_fire_is_made_up_once_in_ten_restarts_of_ten(tmp_path: Path) -> None:
    database = str(tmp_path / "agentclock.db")
    async with Target() as target:
        serve = await Serve.start(database, target)
        for number in range(10):
            target.calls.clear()
            made = await serve.post("/schedules", {"name": f"o{number}", "run_at": soon(3), "endpoint": "/hook"})
            await serve.end(signal.SIGKILL)
            due = datetime.fromisoformat(made["run_at"])
            await until(lambda due=due: datetime.now(UTC) > due)
            serve = await Serve.start(database, target)
            await until(lambda: target.calls)
        await serve.end()
    assert len(target.calls) == 1


async def test_500_schedules_due_at_one_instant_on_two_processes(empty_postgres_dsn: str) -> None:
    async with (
        Target() as target,
        serving(empty_postgres_dsn, target) as first,
        serving(empty_postgres_dsn, target) as second,
    ):
        at = soon(20)
        for number in range(500):
            serve = (first, second)[number % 2]
            await serve.post("/schedules", {"name": f"s{number}", "run_at": at, "endpoint": "/hook"})
        await until(lambda: len(target.fires) == 500)
    assert set(target.fires.values()) == {1}


async def test_postgresql_killed_and_restarted_under_a_running_server(chaos_server: PostgresServer) -> None:
    """Not ready while it is away, and on again by itself; every fire has one row and one call."""
    execute(chaos_server.dsn(), "CREATE DATABASE clock")
    async with Target() as target, serving(chaos_server.dsn("clock"), target) as serve:
        made = await serve.post("/schedules", {"name": "often", "interval_seconds": 1, "endpoint": "/hook"})
        await until(lambda: len(target.calls) >= 2)
        await asyncio.to_thread(chaos_server.kill)

        async def not_ready() -> bool:
            return not await serve.is_ready()

        await until(not_ready)
        async with serve.session.get("/schedules") as answer:
            assert answer.status == 503
        await asyncio.to_thread(chaos_server.restart)
        await until(serve.is_ready)
        before = len(target.calls)
        await until(lambda: len(target.calls) >= before + 3)
        runs = (await serve.get(f"/schedules/{made['id']}/runs?limit=1000"))["data"]
    assert set(target.fires.values()) == {1}
    assert len({run["fire_at"] for run in runs}) == len(runs)
    known = {run["fire_at"] for run in runs if run["status"] == "success"}
    assert {fire_at for _, fire_at in target.fires} <= known | {run["fire_at"] for run in runs}


async def test_rolling_kills_under_load_double_nothing(empty_postgres_dsn: str) -> None:
    """Two of three processes are killed, one after the other, while 40 schedules fire every second."""
    async with Target() as target:
        fleet = [await Serve.start(empty_postgres_dsn, target) for _ in range(3)]
        for number in range(40):
            draft = {"name": f"s{number}", "interval_seconds": 1, "endpoint": "/hook", "overlap": "allow"}
            await fleet[0].post("/schedules", draft)
        for victim in (1, 2):
            before = len(target.calls)
            await until(lambda before=before: len(target.calls) > before + 80)
            await fleet[victim].end(signal.SIGKILL)
        before = len(target.calls)
        await until(lambda: len(target.calls) > before + 80)
        for serve in fleet:
            await serve.end()
    assert set(target.fires.values()) == {1}


async def test_a_target_that_comes_up_late_is_waited_for(tmp_path: Path) -> None:
    target = Target()
    async with target:
        url = target.url
    assert url  # closed again: connections are refused from here on
    async with serving(str(tmp_path / "clock.db"), target) as serve:
        made = await serve.post("/schedules", {"name": "r", "endpoint": "/hook", "timeout_seconds": 3})
        await serve.post(f"/schedules/{made['id']}/trigger?wait=0")

        async def over() -> bool:
            try:
                [run] = (await serve.get(f"/schedules/{made['id']}/runs"))["data"]
            except ClientError:
                return False
            return bool(run["status"] == "failed" and "refused" in run["error"])

        await until(over)
