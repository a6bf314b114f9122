"""The API as an app of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from agentclock import __version__
from agentclock.api import Guard, RequestLimits, TrailingSlash, add_routes, build_metrics_router, build_status_router
from agentclock.api.clients import Proxies, RealClients
from agentclock.api.cookies import Sessions
from agentclock.api.errors import unexpected
from agentclock.api.headers import SafeHeaders
from agentclock.api.limits import LimitedRates, Rates
from agentclock.api.paths import method_not_allowed
from agentclock.api.sessions import stranger
from agentclock.app.clockwork import Clockwork
from agentclock.app.desks import target_desk
from agentclock.app.guarding import keep_strangers_out, make_guard
from agentclock.ui import add_dashboard


def create_app(clockwork: Clockwork, *, guard: Guard | None = None) -> FastAPI:
    """API and dashboard on an app of their own; its lifespan starts and stops the clockwork. `guard` None: as the
    settings say.

    Raises ConfigError.
    """
    settings = clockwork.settings
    app = _empty_app(clockwork)
    add_routes(
        app,
        clockwork.scheduler,
        clockwork.runs,
        clockwork.hub,
        guard=guard or make_guard(clockwork),
        trigger_wait_seconds=settings.trigger_wait_seconds,
        listener=lambda: clockwork.wakeup.state,
        exposition=clockwork.telemetry.exposition,
        webhooks=clockwork.webhooks.desk,
        targets=target_desk(clockwork),
        limits=RequestLimits(body_bytes=settings.body_limit_bytes, streams_per_client=settings.streams_per_client),
    )
    if settings.dashboard_path != "off":
        add_dashboard(app, home=settings.dashboard_path or "/")
    return app


def create_status_app(clockwork: Clockwork, *, guard: Guard | None = None) -> FastAPI:
    """As `create_app`, with nothing but /health, /ready, /info and /metrics: for a process that only works."""
    app = _empty_app(clockwork)
    guard = guard or make_guard(clockwork)
    app.include_router(build_status_router(clockwork.scheduler, guard=guard, listener=lambda: clockwork.wakeup.state))
    app.include_router(build_metrics_router(clockwork.telemetry.exposition, guard=guard))
    return app


def _empty_app(clockwork: Clockwork) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await clockwork.start()
        try:
            yield
        finally:
            await clockwork.stop()

    app = FastAPI(
        title="agentclock",
        version=__version__,
        summary="The clock AI agents run by.",
        lifespan=lifespan,
        redirect_slashes=False,  # see TrailingSlash
    )
    app.add_exception_handler(HTTPStatus.METHOD_NOT_ALLOWED, method_not_allowed)
    app.add_exception_handler(Exception, unexpected)
    _add_layers(app, clockwork)
    return app


def _add_layers(app: FastAPI, clockwork: Clockwork) -> None:
    """What every request goes through, the innermost first."""
    settings = clockwork.settings
    # Lists are long and say the same words in each row. Streams and what is compressed already are left as they are.
    app.add_middleware(GZipMiddleware, minimum_size=2_000, compresslevel=4)
    app.add_middleware(TrailingSlash)
    app.add_middleware(Sessions, public_url=settings.public_url, stranger=stranger)
    keep_strangers_out(app, settings)
    app.add_middleware(
        LimitedRates,
        requests=Rates(settings.requests_per_second, settings.request_burst),
        failures=Rates(settings.failures_per_second, settings.failure_burst),
        clock=clockwork.clock,
    )
    app.add_middleware(RealClients, proxies=Proxies(settings.trusted_proxies))
    app.add_middleware(SafeHeaders, is_https=(settings.public_url or "").startswith("https://"))
