"""The REST interface. `add_routes` puts all of it on an app; the routers can also be included one by one."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

from agentclock.api.auth import Caller, Guard, OpenGuard, Permission
from agentclock.api.guards import TokenGuard
from agentclock.api.limits import RequestLimits
from agentclock.api.metrics import Exposition, build_metrics_router
from agentclock.api.origins import OwnPagesOnly
from agentclock.api.paths import TrailingSlash
from agentclock.api.routes import build_router
from agentclock.api.status import build_status_router
from agentclock.api.targets import TargetDesk
from agentclock.live import Hub
from agentclock.runs import Runs
from agentclock.scheduler import Scheduler
from agentclock.webhooks.desk import WebhookDesk

__all__ = [
    "Caller",
    "Guard",
    "OpenGuard",
    "OwnPagesOnly",
    "Permission",
    "RequestLimits",
    "TokenGuard",
    "TrailingSlash",
    "add_routes",
    "build_metrics_router",
    "build_router",
    "build_status_router",
]


def add_routes(
    app: FastAPI,
    scheduler: Scheduler,
    runs: Runs,
    hub: Hub,
    *,
    guard: Guard | None = None,
    trigger_wait_seconds: float = 25,
    listener: Callable[[], str] | None = None,
    exposition: Exposition | None = None,
    webhooks: WebhookDesk | None = None,
    limits: RequestLimits | None = None,
    targets: TargetDesk | None = None,
) -> None:
    """/schedules, /runs and all below them, /health, /ready and /info; /metrics if there is an `exposition`, /webhooks
    if there is a desk for them.

    `guard` None: everybody may do everything. `trigger_wait_seconds`: how long a trigger or a cancel waits for the
    run's end unless the request says so. `listener` says "ok", or why wake-ups from other processes do not arrive.
    """
    router = build_router(
        scheduler,
        runs,
        hub,
        guard=guard,
        trigger_wait_seconds=trigger_wait_seconds,
        webhooks=webhooks,
        limits=limits,
        targets=targets,
        listener=listener,
    )
    # As routes of the app itself. Those of an included router FastAPI would analyse once more at the first request,
    # which then waits for it, and look through twice for each one.
    app.router.routes += router.routes
    app.router.routes += build_status_router(scheduler, guard=guard, listener=listener).routes
    if exposition is not None:
        app.router.routes += build_metrics_router(exposition, guard=guard).routes
