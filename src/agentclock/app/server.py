"""The API as an app of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from agentclock import __version__
from agentclock.api import TrailingSlash, add_routes, build_metrics_router, build_status_router
from agentclock.app.clockwork import Clockwork


def create_app(clockwork: Clockwork) -> FastAPI:
    """The API on its own app; its lifespan starts and stops the clockwork."""
    app = _empty_app(clockwork)
    app.add_middleware(TrailingSlash)
    add_routes(
        app,
        clockwork.scheduler,
        clockwork.runs,
        clockwork.hub,
        trigger_wait_seconds=clockwork.settings.trigger_wait_seconds,
        listener=lambda: clockwork.wakeup.state,
        exposition=clockwork.telemetry.exposition,
    )
    return app


def create_status_app(clockwork: Clockwork) -> FastAPI:
    """As `create_app`, with nothing but /health, /ready, /info and /metrics: for a process that only works."""
    app = _empty_app(clockwork)
    app.include_router(build_status_router(clockwork.scheduler, listener=lambda: clockwork.wakeup.state))
    app.include_router(build_metrics_router(clockwork.telemetry.exposition))
    return app


def _empty_app(clockwork: Clockwork) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await clockwork.start()
        try:
            yield
        finally:
            await clockwork.stop()

    return FastAPI(title="agentclock", version=__version__, summary="The clock AI agents run by.", lifespan=lifespan)
