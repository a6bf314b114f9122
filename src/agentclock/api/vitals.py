"""How the parts are that the work needs: database, engine, listener."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from pydantic import BaseModel, Field

from agentclock.core.errors import StoreUnavailable
from agentclock.scheduler import Scheduler

#: A database that takes longer than this does not count as ready.
DATABASE_SECONDS: Final = 5.0


class Part(BaseModel):
    ok: bool
    status: str
    detail: str | None = Field(description="What is wrong, or which process does the work.")


class Vitals:
    """`listener` says "ok", or why wake-ups from other processes do not arrive; None: there is none."""

    def __init__(self, scheduler: Scheduler, listener: Callable[[], str] | None) -> None:
        self._scheduler = scheduler
        self._listener = listener

    async def database(self) -> Part:
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                health = await self._scheduler.health()
        except (StoreUnavailable, TimeoutError):
            return Part(ok=False, status="unavailable", detail="the database does not answer")
        return Part(ok=True, status="ok", detail="; ".join(health.warnings) or None)

    async def engine(self) -> Part:
        state = self._scheduler.engine_state()
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                owner = await self._scheduler.engine_owner()
        except (StoreUnavailable, TimeoutError):
            owner = None
        if owner is None or state.trouble is not None:
            return Part(ok=False, status=state.status, detail=state.trouble or "no engine executes runs")
        return Part(ok=True, status=state.status, detail=f"runs in {owner}")

    def listener(self) -> Part:
        """Without a listener the poll interval does the work: slower, but nothing is lost."""
        if self._listener is None:
            return Part(ok=True, status="none", detail="changes by other processes are found by polling")
        state = self._listener()
        if state == "ok":
            return Part(ok=True, status="ok", detail=None)
        return Part(ok=False, status="polling", detail=state)
