"""All of it asynchronous: an async database, an async client, ten schedules that are due at the same moment.

python examples/04_async_scheduler.py
"""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
from agno.agent import Agent
from agno.db.sqlite import AsyncSqliteDb
from agno.scheduler import ScheduleManager
from serving import scratch_file, served

from agentclock.agno import AgentOS
from agentclock.agno.offline import OfflineModel

db = AsyncSqliteDb(db_file=scratch_file("agno.db"))
agent = Agent(id="async-agent", model=OfflineModel(seconds=1), instructions="You are a concise assistant.")
agent_os = AgentOS(agents=[agent], db=db, enable_scheduler=True)
app = agent_os.get_app()


async def finished(client: httpx.AsyncClient, schedule_id: str) -> dict:
    """The schedule's only run, once it is over."""
    while True:
        runs = (await client.get(f"/schedules/{schedule_id}/runs")).json()["data"]
        if runs and runs[0]["completed_at"] is not None:
            return runs[0]
        await asyncio.sleep(0.1)


def milliseconds(start: str, end: str) -> int:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)) // timedelta(milliseconds=1)


async def main(base_url: str) -> None:
    async with httpx.AsyncClient(base_url=base_url, timeout=60) as client:
        soon = datetime.now(UTC) + timedelta(seconds=5)
        drafts = [
            {
                "name": f"all-at-once-{number}",
                "run_at": soon.isoformat(timespec="seconds"),
                "endpoint": "/agents/async-agent/runs",
                "payload": {"message": f"Say number {number}."},
            }
            for number in range(10)
        ]
        answers = await asyncio.gather(*(client.post("/schedules", json=draft) for draft in drafts))
        ids = [answer.raise_for_status().json()["id"] for answer in answers]

        listed = await ScheduleManager(db).alist()
        print(f"{len(listed)} schedules are due at {soon:%H:%M:%S}; each keeps its agent busy for a second")

        runs = await asyncio.gather(*(finished(client, schedule_id) for schedule_id in ids))
        late = [milliseconds(run["fire_at"], run["attempts"][0]["started_at"]) for run in runs]
        took = max(milliseconds(run["fire_at"], run["attempts"][0]["completed_at"]) for run in runs)
        print(f"{sum(run['status'] == 'success' for run in runs)} ran well, all of them within {took / 1000:.1f} s")
        print(f"started {min(late)} to {max(late)} ms after they were due")


if __name__ == "__main__":
    with served(app) as server:
        asyncio.run(main(str(server.base_url)))
