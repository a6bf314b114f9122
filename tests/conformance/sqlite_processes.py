"""Other processes of the SQLite tests: `python sqlite_processes.py <what> <file>`."""

from __future__ import annotations

import asyncio
import sys

from agentclock.core.model import Schedule, Target
from agentclock.core.planning import plan
from agentclock.ports import WorkerInfo
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import FakeClock


async def start(path: str) -> None:
    """Waits for the line that says go, opens, writes one row and leaves."""
    print("ready", flush=True)
    name = sys.stdin.readline().strip()
    store = SqliteStore(path, clock=FakeClock())
    await store.open()
    await store.insert_schedules([Schedule(id=name, name=name, target=Target(endpoint="/x"))])
    await store.close()


async def own(path: str) -> None:
    """Takes the engine, claims what is due, and then does nothing more until it is killed."""
    store = SqliteStore(path, clock=FakeClock())
    await store.open()
    owner = await store.acquire_engine(WorkerInfo(id="w1", name="the owner", app_version="1"), 3600)
    assert owner is None, owner
    fired = await store.fire_due(plan, limit=10, worker_id="w1", slots=10)
    print(f"holds {len(fired.claims)}", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    asyncio.run({"start": start, "own": own}[sys.argv[1]](sys.argv[2]))
