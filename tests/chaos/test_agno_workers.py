"""`agent_os.serve(workers=2)`: on PostgreSQL all of them run schedules, on SQLite one does and the others stand by."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientError, ClientSession
from tests.executor_help import unused_port
from tests.processes import Target, until

_MODULE = """
import os
from agno.agent import Agent
from agno.db.postgres import AsyncPostgresDb
from agno.db.sqlite import SqliteDb
from agentclock.agno import AgentOS
from agentclock.agno.offline import OfflineModel

url = os.environ["TEST_DATABASE"]
db = AsyncPostgresDb(db_url=url) if "://" in url else SqliteDb(db_file=url)
agent_os = AgentOS(
    agents=[Agent(id="greeter", model=OfflineModel(), telemetry=False)],
    db=db,
    enable_scheduler=True,
    scheduler={"lease_seconds": 2, "targets": {"hooks": {"base_url": os.environ["TEST_HOOKS"], "kind": "http"}}},
    telemetry=False,
)
app = agent_os.get_app()
"""

#: Workers import this file before they answer their parent's first questions, for which it waits a few seconds only.
_SCRIPT = """
if __name__ == "__main__":
    import os
    from host import agent_os

    agent_os.serve(app="host:app", host="127.0.0.1", port=int(os.environ["TEST_PORT"]), workers=2)
"""


@asynccontextmanager
async def serving(folder: Path, database: str, hooks: str) -> AsyncIterator[ClientSession]:
    (folder / "host.py").write_text(_MODULE)
    (folder / "serve.py").write_text(_SCRIPT)
    port = unused_port()
    told = {"TEST_DATABASE": database, "TEST_HOOKS": hooks, "TEST_PORT": str(port)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "serve.py", cwd=folder, env=os.environ | told, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with ClientSession(f"http://127.0.0.1:{port}") as session:

            async def answers() -> bool:
                assert process.returncode is None
                try:
                    async with session.get("/health") as answer:
                        return answer.status == 200
                except ClientError:
                    return False

            await until(answers)
            yield session
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()


async def create(session: ClientSession, **draft: Any) -> str:
    async with session.post("/schedules", json=draft) as answer:
        made = await answer.json()
        assert answer.status == 201, made
        return str(made["id"])


async def runs(session: ClientSession, path: str = "/runs?limit=1000") -> list[dict[str, Any]]:
    async with session.get(path) as answer:
        found: list[dict[str, Any]] = (await answer.json())["data"]
        return found


@pytest.mark.postgres
async def test_on_postgresql_all_workers_fire_and_each_fire_is_one(empty_postgres_dsn: str, tmp_path: Path) -> None:
    database = empty_postgres_dsn.replace("postgresql://", "postgresql+asyncpg://")
    async with Target() as hooks, serving(tmp_path, database, hooks.url) as session:
        connection = await asyncpg.connect(empty_postgres_dsn)

        async def both_work() -> bool:
            query = "SELECT count(*) FROM agentclock.workers WHERE lease_until > now()"
            return bool(await connection.fetchval(query) == 2)

        await until(both_work)
        at = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        for number in range(100):
            await create(session, name=f"s{number}", run_at=at, endpoint="/hook", target="hooks")
        # All come due at one instant, however long it took to make them; one more wakes everybody.
        await connection.execute("UPDATE agentclock.schedules SET run_at = now(), next_fire_at = now()")
        await connection.close()
        await create(session, name="by hand", endpoint="/hook", target="hooks")

        async def all_over() -> bool:
            return [run["status"] for run in await runs(session)] == ["success"] * 100

        await until(all_over)
    assert len(hooks.calls) == len(hooks.fires) == 100


async def test_on_sqlite_one_worker_fires_and_another_takes_over(tmp_path: Path) -> None:
    async with Target() as hooks, serving(tmp_path, "scheduler.db", hooks.url) as session:
        schedule = await create(session, name="often", interval_seconds=1, endpoint="/hook", target="hooks")
        await until(lambda: len(hooks.calls) >= 2)
        workers = {run["worker"] for run in await runs(session)}
        assert len(workers) == 1
        os.kill(int(workers.pop().rpartition(":")[2]), signal.SIGKILL)

        async def another_fires() -> bool:
            try:
                found = await runs(session, f"/schedules/{schedule}/runs")
            except ClientError:
                return False  # the connection was one to the worker that is gone
            return len({run["worker"] for run in found if run["worker"] is not None}) == 2

        await until(another_fires)
    assert set(hooks.fires.values()) == {1}
