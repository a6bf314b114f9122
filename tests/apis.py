"""A scheduler, and its API, on a store in memory and a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
from fastapi import FastAPI

from agentclock.api import add_routes
from agentclock.core.lifecycle import settle
from agentclock.core.model import Outcome, OutcomeKind, Run
from agentclock.engine.bus import Bus
from agentclock.ports import WorkerInfo
from agentclock.scheduler import EngineState, Scheduler
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import SUCCESS, FakeClock

DRAFT: dict[str, Any] = {"name": "nightly", "endpoint": "/agents/assistant/runs", "cron_expr": "0 3 * * *"}
WORKER = WorkerInfo(id="00000000-0000-4000-8000-000000000001", name="worker-1", app_version="test")


@dataclass(slots=True)
class World:
    """`engine` is what the engine says of itself; tests put another state there. `wakes` counts wake-ups."""

    clock: FakeClock
    store: SqliteStore
    bus: Bus
    engine: EngineState = field(default_factory=lambda: EngineState(status="running"))
    listener: str = "ok"
    wakes: int = 0
    scheduler: Scheduler = field(init=False)

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(
            self.store,
            clock=self.clock,
            wakeup=self._wake,
            engine_state=lambda: self.engine,
            watch=self.bus.watch,
            targets=("default", "hooks"),
        )

    def _wake(self) -> None:
        self.wakes += 1

    async def create(self, **fields: Any) -> str:
        """The id of a schedule made of DRAFT and `fields`."""
        return (await self.scheduler.create(DRAFT | fields)).id

    async def execute(self, outcome: Outcome = SUCCESS) -> Run:
        """Does what a worker does with the one run that is available."""
        await self.store.acquire_engine(WORKER, 60)
        claimed = await self.store.claim(WORKER.id, 1)
        claim = claimed.claims[0]
        await self.store.settle([settle(claim, outcome, self.clock.now())])
        return claim.run


PAUSED = Outcome(kind=OutcomeKind.PAUSED, requirements=[{"tool": "pay"}], agent_run_id="agent-run-1")


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    clock = FakeClock()
    store = SqliteStore(":memory:", clock=clock)
    await store.open()
    try:
        yield World(clock, store, Bus())
    finally:
        await store.close()


def app_of(somewhere: World, *, trigger_wait_seconds: float = 0) -> FastAPI:
    app = FastAPI()
    add_routes(app, somewhere.scheduler, trigger_wait_seconds=trigger_wait_seconds, listener=lambda: somewhere.listener)
    return app


def client_of(app: FastAPI) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://agentclock.test")
