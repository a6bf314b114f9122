"""`agentclock serve` in trouble: its database goes away, or it is told to stop while that is so."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError
from tests.gateway import Gateway
from tests.processes import Serve, Target, serving, until

from agentclock.core.errors import StoreUnavailable
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import FakeClock

LOGGED = ("--log-level", "info", "--log-format", "json")
OFTEN = {"interval_seconds": 1, "endpoint": "/hook", "overlap": "allow"}


@asynccontextmanager
async def probing(serve: Serve, path: str, every_seconds: float = 0.1) -> AsyncIterator[Counter[int]]:
    """Asks again and again, as a load balancer does; counts the answers by their status, 0: none."""
    statuses = Counter[int]()

    async def ask() -> None:
        while True:
            try:
                async with serve.session.get(path) as answer:
                    statuses[answer.status] += 1
            except ClientError:
                statuses[0] += 1
            await asyncio.sleep(every_seconds)

    asking = asyncio.create_task(ask())
    try:
        yield statuses
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


def words(lines: list[dict[str, Any]], *events: str) -> list[str]:
    return [line["event"] for line in lines if line["event"] in events]


@pytest.mark.postgres
async def test_a_database_that_goes_away_and_comes_back(empty_postgres_dsn: str) -> None:
    """Not ready meanwhile and alive all the time; few attempts, two lines in the log; nothing lost, nothing twice."""
    async with (
        Target() as target,
        Gateway(empty_postgres_dsn) as gateway,
        serving(gateway.dsn, target, *LOGGED) as serve,
    ):
        for number in range(20):
            await serve.post("/schedules", {"name": f"s{number}", **OFTEN})
        await until(lambda: len(target.calls) >= 20)
        gateway.most_in_a_second()
        async with probing(serve, "/ready") as ready, probing(serve, "/health") as health:
            async with probing(serve, "/schedules", 0.02) as answers:
                gateway.close()
                await until(lambda: len(gateway.attempts) >= 4)
                async with serve.session.get("/ready") as answer:
                    not_ready = await answer.json()
                async with serve.session.post("/schedules", json={"name": "x", **OFTEN}) as answer:
                    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
                gateway.open()
                await until(serve.is_ready)
            before = len(target.calls)
            await until(lambda: len(target.calls) >= before + 60)
        assert gateway.most_in_a_second() < 5
        assert "PostgreSQL at 127.0.0.1" in not_ready["engine"]["detail"]
        assert ready[503] > 5
        assert set(answers) == {200, 503}
        assert set(health) == {200}
        runs = (await serve.get("/runs?limit=1000"))["data"]
        assert await serve.end(signal.SIGTERM) == 0
        lines = await serve.log()
    assert set(target.fires.values()) == {1}
    assert {run["status"] for run in runs} <= {"success", "running"}
    assert words(lines, "database_unavailable", "database_available") == ["database_unavailable", "database_available"]
    assert len(words(lines, "wakeup_not_sent", "unavailable")) <= 1


@pytest.mark.postgres
async def test_a_stop_with_viewers_and_without_a_database(empty_postgres_dsn: str) -> None:
    async with (
        Target() as target,
        Gateway(empty_postgres_dsn) as gateway,
        serving(gateway.dsn, target) as serve,
        serve.session.get("/schedules/events") as stream,
    ):
        await stream.content.readline()
        gateway.close()

        async def not_ready() -> bool:
            return not await serve.is_ready()

        await until(not_ready)
        serve.tell(signal.SIGTERM)
        async for _ in stream.content:
            """Until the server ends it."""
        assert await serve.ended() == 0


async def test_not_ready_comes_before_refused(tmp_path: Path) -> None:
    """While runs end, requests are served: whoever asks hears that this process is no place to go any more."""
    async with Target() as target, serving(str(tmp_path / "clock.db"), target) as serve:
        target.pause = asyncio.Event()
        made = await serve.post("/schedules", {"name": "slow", "endpoint": "/hook"})
        await serve.post(f"/schedules/{made['id']}/trigger?wait=0")
        await until(lambda: target.calls)
        serve.tell(signal.SIGTERM)

        async def stops() -> bool:
            async with serve.session.get("/ready") as answer:
                return bool((await answer.json())["engine"]["detail"] == "this process stops")

        await until(stops)
        target.pause.set()
        assert await serve.ended() == 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_the_process_at_once(tmp_path: Path, how: signal.Signals) -> None:
    async with Target() as target, serving(str(tmp_path / "clock.db"), target) as serve:
        target.pause = asyncio.Event()
        made = await serve.post("/schedules", {"name": "slow", "endpoint": "/hook"})
        await serve.post(f"/schedules/{made['id']}/trigger?wait=0")
        await until(lambda: target.calls)
        serve.tell(how)

        async def not_ready() -> bool:
            return not await serve.is_ready()

        await until(not_ready)
        serve.tell(how)
        assert await serve.ended() == -how
        target.pause.set()


async def test_a_file_that_could_not_be_opened_is_used_once_it_can(tmp_path: Path) -> None:
    """Not only opened: what was handed to the writer in vain must not stay in its way."""
    path = tmp_path / "nowhere" / "clock.db"
    store = SqliteStore(str(path), clock=FakeClock())
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="does its folder exist"):
            await store.open()
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(StoreUnavailable, match="name another file, or move this one away"):
        await store.open()
    path.unlink()
    await store.open()
    assert (await store.health()).schema_version > 0
    await store.close()
