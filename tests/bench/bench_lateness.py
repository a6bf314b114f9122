"""How late requests arrive: real `agentclock serve` processes, one schedule, an idle machine.

Prints the arrival of the request at the target minus the fire time, in ms, for SQLite and PostgreSQL.
BENCH_QUICK=1: few fires.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[2]))

from aiohttp import web
from tests.pg import PostgresServer, execute
from tests.processes import Target, serving, until

FIRES = 4 if os.environ.get("BENCH_QUICK") else 30


class Stopwatch(Target):
    """A target that notes how late each request is."""

    def __init__(self) -> None:
        super().__init__()
        self.late_ms: list[float] = []

    async def _answer(self, request: web.Request) -> web.Response:
        due = datetime.fromisoformat(request.headers["X-Agentclock-Fire-At"].replace("Z", "+00:00"))
        self.late_ms.append((time.time() - due.timestamp()) * 1000)
        return await super()._answer(request)


async def measure(name: str, database: str) -> None:
    async with Stopwatch() as target, serving(database, target) as serve:
        await serve.post("/schedules", {"name": "tick", "interval_seconds": 1, "endpoint": "/tick"})
        await until(lambda: len(target.late_ms) >= FIRES)
    late = sorted(target.late_ms[:FIRES])
    worst = late[min(len(late) - 1, round(len(late) * 0.99))]
    print(
        f"{name:<12} {len(late):>3} fires   p50 {median(late):5.1f} ms   p99 {worst:5.1f} ms   best {late[0]:5.1f} ms"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure("SQLite", str(Path(folder) / "clock.db")))
    server = PostgresServer(durable=True)
    try:
        server.start()
        execute(server.dsn(), "CREATE DATABASE clock")
        asyncio.run(measure("PostgreSQL", server.dsn("clock")))
    finally:
        server.remove()


if __name__ == "__main__":
    main()
