"""Several real processes in trouble: a network that swallows, a process that stands still, restarts under load."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from typing import Any

import pytest
from tests.gateway import Gateway
from tests.processes import Serve, Target, serving, until

pytestmark = [pytest.mark.timeout(300), pytest.mark.postgres]

LOGGED = ("--log-level", "info", "--log-format", "json")
OFTEN = {"interval_seconds": 1, "endpoint": "/hook", "overlap": "allow"}


async def schedule_often(serve: Serve, count: int) -> list[dict[str, Any]]:
    return [await serve.post("/schedules", {"name": f"s{number}", **OFTEN}) for number in range(count)]


async def disable(serve: Serve, made: list[dict[str, Any]]) -> None:
    for schedule in made:
        await serve.post(f"/schedules/{schedule['id']}/disable")


async def history(serve: Serve, made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of all these schedules, once none of them is active."""
    while True:
        pages = [await serve.get(f"/schedules/{schedule['id']}/runs?limit=1000") for schedule in made]
        rows = [row for page in pages for row in page["data"]]
        if all(row["status"] not in ("pending", "running") for row in rows):
            return rows
        await asyncio.sleep(0.2)


async def test_a_network_that_swallows_everything(empty_postgres_dsn: str) -> None:
    async with (
        Target() as target,
        Gateway(empty_postgres_dsn) as gateway,
        serving(gateway.dsn, target, *LOGGED) as serve,
    ):
        made = await schedule_often(serve, 20)
        await until(lambda: len(target.calls) >= 20)
        gateway.most_in_a_second()
        gateway.swallow()

        async def is_known() -> bool:
            """Callers need not find out for themselves any more: they are told at once, and alike."""
            async with asyncio.timeout(60), serve.session.get("/schedules") as answer:
                assert answer.status in (200, 503)
            async with serve.session.get("/ready") as ready:
                return "no answer within 5 s" in (await ready.json())["engine"]["detail"]

        await until(is_known)
        await until(lambda: len(gateway.attempts) >= 3)
        async with serve.session.get("/health") as answer:
            assert answer.status == 200
        gateway.open()
        await until(serve.is_ready)
        before = len(target.calls)
        await until(lambda: len(target.calls) >= before + 60)
        assert gateway.most_in_a_second() < 5
        await disable(serve, made)
        rows = await history(serve, made)
        assert await serve.end(signal.SIGTERM) == 0
        said = Counter(line["event"] for line in await serve.log())
    assert set(target.fires.values()) == {1}
    assert Counter(row["status"] for row in rows) == {"success": len(target.calls)}
    assert (said["database_unavailable"], said["database_available"]) == (1, 1)


async def test_a_worker_that_stands_still_for_longer_than_its_lease(
    empty_postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its requests are lost, for nobody knows; it drops what it holds, begins anew, and nothing is sent twice."""
    monkeypatch.setenv("AGENTCLOCK_LEASE_SECONDS", "2")
    async with Target() as target:
        fleet = [await Serve.start(empty_postgres_dsn, target, *LOGGED) for _ in range(3)]
        made = await schedule_often(fleet[0], 30)
        await until(lambda: len(target.calls) >= 60)
        fleet[1].tell(signal.SIGSTOP)
        before = len(target.calls)
        await until(lambda: len(target.calls) >= before + 180)  # six seconds
        fleet[1].tell(signal.SIGCONT)
        before = len(target.calls)
        await until(lambda: len(target.calls) >= before + 90)
        await disable(fleet[0], made)
        rows = await history(fleet[0], made)
        for serve in fleet:
            assert await serve.end(signal.SIGTERM) == 0
        said = [Counter(line["event"] for line in await serve.log()) for serve in fleet]
    assert [each["worker_declared_dead"] for each in said] == [0, 1, 0]
    assert [each["engine_running"] for each in said] == [1, 2, 1]
    assert set(target.fires.values()) == {1}
    statuses = Counter(row["status"] for row in rows)
    assert statuses.keys() <= {"success", "lost"}
    assert statuses["lost"] == said[0]["run_lost"] + said[2]["run_lost"]
    called = {call["X-Agentclock-Run"] for call in target.calls}
    assert {row["id"] for row in rows if row["status"] == "success"} <= called


async def test_one_restart_after_another_loses_and_doubles_nothing(empty_postgres_dsn: str) -> None:
    async with Target() as target:
        fleet = [await Serve.start(empty_postgres_dsn, target) for _ in range(3)]
        made = await schedule_often(fleet[0], 50)
        for number in range(6):
            before = len(target.calls)
            await until(lambda before=before: len(target.calls) > before + 150)
            assert await fleet[number % 3].end(signal.SIGTERM) == 0
            fleet[number % 3] = await Serve.start(empty_postgres_dsn, target)
        await disable(fleet[0], made)
        rows = await history(fleet[0], made)
        for serve in fleet:
            assert await serve.end(signal.SIGTERM) == 0
    assert set(target.fires.values()) == {1}
    assert Counter(row["status"] for row in rows) == {"success": len(target.calls)}
