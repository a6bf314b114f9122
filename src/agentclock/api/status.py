"""Is it alive, is it ready, what is it: /health, /ready and /info."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field

from agentclock import __version__
from agentclock.api.auth import Admission, Guard, OpenGuard, Permission
from agentclock.api.errors import RETRY_AFTER_SECONDS
from agentclock.api.requests import ApiRoute
from agentclock.api.schemas import ANSWERS
from agentclock.api.vitals import Part, Vitals
from agentclock.core.zones import tzdata_version
from agentclock.scheduler import Scheduler


class Health(BaseModel):
    status: str = Field(examples=["ok"])
    version: str
    tzdata_version: str = Field(description="IANA version of the zone data in use.", examples=["2026f"])


class Readiness(BaseModel):
    """Not ready as long as the database does not answer or no engine runs; a listener only makes it quicker."""

    status: str = Field(examples=["ready", "not ready"])
    database: Part
    engine: Part
    listener: Part


class Database(BaseModel):
    backend: str
    version: str
    schema_version: int
    latency_ms: float
    clock_difference_ms: int
    warnings: list[str]


class Info(BaseModel):
    name: str
    version: str
    tzdata_version: str
    targets: list[str]
    database: Database


def build_status_router(
    scheduler: Scheduler,
    *,
    guard: Guard | None = None,
    listener: Callable[[], str] | None = None,
    version: str = __version__,
) -> APIRouter:
    """`guard` None: everybody may ask; /health and /ready answer everybody in any case. `listener` says "ok", or why
    wake-ups from other processes do not arrive."""
    return StatusRoutes(scheduler, listener, version).router(guard or OpenGuard())


class StatusRoutes:
    def __init__(self, scheduler: Scheduler, listener: Callable[[], str] | None, version: str) -> None:
        self._scheduler = scheduler
        self._vitals = Vitals(scheduler, listener)
        self._version = version

    def router(self, guard: Guard) -> APIRouter:
        router = APIRouter(tags=["Status"], route_class=ApiRoute)
        not_ready: dict[int | str, dict[str, Any]] = {503: {"model": Readiness, "description": "Not ready."}}
        router.add_api_route("/health", self.health, methods=["GET"])
        router.add_api_route("/ready", self.ready, methods=["GET"], responses=not_ready)
        admission = Depends(Admission(guard, Permission.READ))
        errors: dict[int | str, dict[str, Any]] = {code: ANSWERS[code] for code in (401, 403, 414, 429, 503)}
        router.add_api_route("/info", self.info, methods=["GET"], dependencies=[admission], responses=errors)
        return router

    async def health(self) -> Health:
        """The process is alive. Asks nobody else."""
        return Health(status="ok", version=self._version, tzdata_version=tzdata_version())

    async def ready(self, response: Response) -> Readiness:
        """Whether schedules are kept: 200, or 503 with the part that is missing."""
        database = await self._vitals.database()
        engine = await self._vitals.engine()
        ready = database.ok and engine.ok
        if not ready:
            response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
            response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return Readiness(
            status="ready" if ready else "not ready",
            database=database,
            engine=engine,
            listener=self._vitals.listener(),
        )

    async def info(self) -> Info:
        """Versions and configuration, without anything secret."""
        health = await self._scheduler.health()
        return Info(
            name="agentclock",
            version=self._version,
            tzdata_version=tzdata_version(),
            targets=sorted(self._scheduler.targets),
            database=Database(
                backend=health.backend,
                version=health.version,
                schema_version=health.schema_version,
                latency_ms=health.latency_ms,
                clock_difference_ms=health.clock_difference_ms,
                warnings=list(health.warnings),
            ),
        )
