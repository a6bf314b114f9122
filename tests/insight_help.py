"""Worlds with a past: the API on either store, with history as other tests need it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import httpx2
import pytest
from fastapi import Request
from tests.apis import World, app_of, client_of, world
from tests.pg import execute

from agentclock.api import Caller, Permission
from agentclock.core.ids import fire_run_id
from agentclock.core.model import Cause, Instant, Reason, Run, RunStatus, Schedule, Target
from agentclock.core.planning import Absence, Plan, Situation
from agentclock.engine.bus import Bus
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import FakeClock

BOTH_STORES = ["memory", pytest.param("postgres", marks=pytest.mark.postgres)]
#: Where every world's clock begins.
START: Instant = 1_767_225_600_000
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
_TABLES = ("schedules", "schedule_revisions", "runs", "attempts", "run_events", "workers", "notices", "audit_log")


@asynccontextmanager
async def world_on(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """On the store that the fixture's parameter names, empty."""
    if request.param == "memory":
        async with world() as made:
            yield made
        return
    from agentclock.store.postgres import PostgresStore

    dsn = request.getfixturevalue("postgres_dsn")
    execute(dsn, f"TRUNCATE {', '.join(f'agentclock.{table}' for table in _TABLES)}")
    clock = FakeClock()
    store = PostgresStore(dsn, clock=clock, pool_size=4)
    await store.open()
    made = World(clock, cast(SqliteStore, store), Bus())
    try:
        yield made
    finally:
        await made.hub.close()
        await store.close()


class ByHeader:
    """Whoever calls is who he says, and confined to his own rows; nobody in particular is not."""

    async def admit(self, request: Request, permission: Permission) -> Caller:
        user_id = request.headers.get("x-user")
        return Caller(user_id=user_id, owner=user_id, name=user_id)

    async def may_call(self, request: Request, target: Target) -> None:
        """Everybody may."""


def client_of_many(here: World) -> httpx2.AsyncClient:
    return client_of(app_of(here, guard=ByHeader()))


@dataclass(slots=True)
class Past:
    """Writes history for one schedule."""

    here: World
    schedule_id: str
    user_id: str | None = None

    async def run(self, fire_at: Instant, status: str = "success", **fields: Any) -> str:
        """A run of the past: it began 5 ms late and took a second, unless told otherwise. Answers its id."""
        run = Run(
            **{
                "id": fire_run_id(self.schedule_id, fire_at),
                "schedule_id": self.schedule_id,
                "user_id": self.user_id,
                "cause": Cause.SCHEDULE,
                "fire_at": fire_at,
                "status": RunStatus(status),
                "attempt": 1,
                "created_at": fire_at,
                "started_at": fire_at + 5,
                "completed_at": fire_at + 5 + SECOND,
            }
            | fields
        )
        assert await self.here.store.insert_history([run], []) == 1
        return run.id

    async def missed(
        self, fire_at: Instant, last_fire_at: Instant, count: int, reason: Reason = Reason.OUTSIDE_WINDOW
    ) -> str:
        """Fires of the past that came too late. Answers the id of their row."""
        absence = Absence(
            run_id=fire_run_id(self.schedule_id, fire_at),
            status=RunStatus.MISSED,
            reason=reason,
            cause=Cause.SCHEDULE,
            fire_at=fire_at,
            last_fire_at=last_fire_at,
            count=count,
        )

        def plan(schedule: Schedule, _: Situation, now: Instant) -> Plan:
            return Plan(schedule_id=schedule.id, absences=(absence,), next_fire_at=schedule.next_fire_at)

        await self.here.store.trigger(self.schedule_id, plan)
        return absence.run_id


async def schedule_with_past(here: World, *, user_id: str | None = None, **fields: Any) -> Past:
    draft = {"endpoint": "/agents/assistant/runs", "cron_expr": "0 3 * * *"} | fields
    schedule = await here.scheduler.create(draft, user_id=user_id)
    return Past(here, schedule.id, user_id)
