"""Outside clocks that repeat themselves, at several processes: one occurrence is one run."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path

import pytest
from tests.processes import Serve, Target, serving, until


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "agentclock.db")
    return str(request.getfixturevalue("empty_postgres_dsn"))


async def fire(serve: Serve, key: str, wait: str = "0") -> tuple[int, str | None, bool]:
    """As EventBridge does: status, the run's id, whether it was a replay."""
    url = f"/schedules/by-name/nightly/trigger?wait={wait}"
    async with serve.session.post(url, json={"reason": "outside"}, headers={"Idempotency-Key": key}) as answer:
        body = await answer.json()
        return answer.status, body.get("id"), answer.headers.get("Idempotent-Replayed") == "true"


async def test_two_hundred_at_once_with_one_key_at_two_processes(database: str) -> None:
    async with Target() as target, serving(database, target) as one, serving(database, target, "--port", "0") as two:
        await one.post("/schedules", {"name": "nightly", "endpoint": "/hook", "overlap": "allow"})
        answers = await asyncio.gather(*(fire(serve, "k") for _ in range(100) for serve in (one, two)))
        assert Counter(status in (200, 202) for status, _, _ in answers) == {True: 200}
        assert len({run for _, run, _ in answers}) == 1
        assert sum(not replayed for _, _, replayed in answers) == 1
        await until(lambda: target.calls)
        assert (await fire(two, "k", wait="20"))[0] == 200
    assert target.attempts == [1]


async def test_a_clock_that_repeats_itself_for_a_day_past_a_crash(tmp_path: Path) -> None:
    database = str(tmp_path / "agentclock.db")
    async with Target() as target:
        target.pause = asyncio.Event()
        async with serving(database, target) as serve:
            await serve.post("/schedules", {"name": "nightly", "endpoint": "/hook", "timeout_seconds": 60})
            before = [await fire(serve, "occurrence") for _ in range(20)]
            await until(lambda: target.calls)
            await serve.end(signal.SIGKILL)
        target.pause.set()
        async with serving(database, target) as serve:
            after = [await fire(serve, "occurrence") for _ in range(165)]
            [run] = (await serve.get("/runs"))["data"]
    assert {run_id for _, run_id, _ in before + after} == {run["id"]}
    assert len(target.calls) == 1
