"""Somebody who changes schedules and triggers runs while everything breaks, and remembers what was promised."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any, Final

from tests.chaos.fleet import Fleet, WorkerProcess
from tests.chaos.journal import Journal

PAUSE_SECONDS: Final = (0.5, 3.0)
#: What is done, and how often of a hundred times.
DEEDS: Final = {"trigger": 45, "retime": 20, "describe": 15, "switch": 20}


class Bystander:
    """Asks whichever worker comes first; what was answered with success must be there at the end."""

    def __init__(self, fleet: Fleet, schedules: Sequence[dict[str, Any]], journal: Journal, seed: str) -> None:
        self._fleet = fleet
        self._schedules = schedules
        self._journal = journal
        self._draw = random.Random(f"{seed}/bystander")

    async def meddle(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._draw.uniform(*PAUSE_SECONDS))
            deed = self._draw.choices(list(DEEDS), list(DEEDS.values()))[0]
            schedule, worker = self._draw.choice(self._schedules), self._draw.choice(self._fleet.serving)
            await self._do(deed, schedule["id"], schedule, worker)

    async def _do(self, deed: str, schedule_id: str, schedule: dict[str, Any], worker: WorkerProcess) -> None:
        path = f"/schedules/{schedule_id}"
        match deed:
            case "trigger":
                status, answer = await self._fleet.ask(worker, "POST", f"{path}/trigger?wait=0")
                if status in (200, 202):
                    self._journal.note("triggered", schedule=schedule_id, run=answer["id"])
            case "switch":
                status, _ = await self._fleet.ask(worker, "POST", f"{path}/disable")
                await asyncio.sleep(self._draw.uniform(0, 2))
                await self._fleet.ask(worker, "POST", f"{path}/enable")
            case _:
                status, answer = await self._fleet.ask(worker, "PATCH", path, self._patch(deed, schedule))
                if status == 200:
                    self._journal.note("changed", schedule=schedule_id, version=answer["version"])
        self._journal.note("deed", deed=deed, schedule=schedule_id, status=status, worker=worker.number)

    def _patch(self, deed: str, schedule: dict[str, Any]) -> dict[str, Any]:
        """A change that keeps the load as it is: intervals swing around what they were."""
        if deed == "describe":
            return {"description": f"seen {self._draw.random():.3f}"}
        was = schedule["interval_seconds"]
        return {"cron_expr": "* * * * *"} if was is None else {"interval_seconds": was + self._draw.randint(0, 1)}
