"""Moving into an AgentOS: its settings, its credentials, and the place of its schedule routes."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from agno.os import AgentOS
from agno.os.settings import AgnoAPISettings
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from agentclock.agno.databases import database_for
from agentclock.agno.guard import AgnoGuard
from agentclock.app import Clockwork, assemble
from agentclock.config import Settings, TargetEntry, TargetKind
from agentclock.core.errors import ConfigError
from agentclock.embed import embed

_ROOT: Final = "/schedules"
#: The bounds of the setting; agno has none.
_POLL_SECONDS: Final = (0.1, 300.0)


def embedded_settings(
    given: Mapping[str, Any] | Settings,
    *,
    db: object,
    base_url: str | None = None,
    poll_seconds: float | None = None,
) -> Settings:
    """Settings for life inside an AgentOS whose database is `db`: what is not set follows from the host.

    The target `default` is the AgentOS itself unless `given` names another one. `base_url`: the scheme and host that
    the AgentOS is to find in requests from us. Raises ConfigError.
    """
    settings = given if isinstance(given, Settings) else Settings.load(**given)
    told, derived = settings.model_fields_set, dict[str, Any]()
    if "database" not in told:
        derived["database"] = database_for(db)
    if "poll_seconds" not in told and poll_seconds is not None:
        shortest, longest = _POLL_SECONDS
        derived["poll_seconds"] = min(max(float(poll_seconds), shortest), longest)
    inside = TargetEntry(kind=TargetKind.AGENTOS, in_process=True, base_url=_origin(base_url))
    derived["targets"] = {"default": inside} | (settings.targets if "targets" in told else {})
    return settings.model_copy(update=derived)


def install(app: Starlette, settings: Settings, os_settings: AgnoAPISettings | None = None) -> Clockwork:
    """Puts a clockwork into the app of an AgentOS, once; it starts and stops with the app. `app.state.agentclock` is
    the clockwork. `os_settings`: those of the AgentOS, if they are known. Raises ConfigError."""
    present: Clockwork | None = getattr(app.state, "agentclock", None)
    if present is not None:
        return present
    if not getattr(app.state, "internal_service_token", None):
        app.state.internal_service_token = secrets.token_urlsafe(32)
    clockwork = assemble(settings, app=app, token=lambda: app.state.internal_service_token)
    own_targets = [name for name, target in settings.targets.items() if target.in_process]
    drop_schedule_routes(app)
    embed(app, clockwork, guard=AgnoGuard(os_settings, own_targets=own_targets))
    app.state.agentclock = clockwork
    return clockwork


def take_over(agent_os: AgentOS, settings: Settings) -> None:
    """Lets the apps that `agent_os` makes from now on have agentclock for their scheduler."""
    if agent_os.company is not None:
        message = "company: Company Routines run on agno's own scheduler only; use agno.os.AgentOS for them"
        raise ConfigError([message])
    get_app, resync = agent_os.get_app, agent_os.resync

    def get_app_with_clockwork() -> FastAPI:
        app = get_app()
        install(app, settings, agent_os.settings)
        return app

    def resync_with_clockwork(app: FastAPI) -> None:
        resync(app)
        drop_schedule_routes(app)

    agent_os._scheduler_enabled = False
    agent_os.get_app = get_app_with_clockwork  # type: ignore[method-assign]
    agent_os.resync = resync_with_clockwork  # type: ignore[method-assign]


def drop_schedule_routes(app: Starlette) -> None:
    """Takes agno's own routes under /schedules out of the app. What others have put there stays, behind ours."""
    app.router.routes[:] = [route for route in app.router.routes if not _is_agnos(route)]
    if others := sorted({path for route in app.router.routes for path in _paths(route) if _is_below_root(path)}):
        structlog.get_logger("agentclock.agno").warning("routes_covered", paths=others, by="agentclock")
    if isinstance(app, FastAPI):
        app.openapi_schema = None


def _is_agnos(route: BaseRoute) -> bool:
    endpoints = [getattr(single, "endpoint", None) for single in _flat(route)]
    from_agno = all(getattr(endpoint, "__module__", "").partition(".")[0] == "agno" for endpoint in endpoints)
    return from_agno and all(_is_below_root(path) for path in _paths(route)) and bool(endpoints)


def _paths(route: BaseRoute) -> list[str]:
    return [getattr(single, "path", "") for single in _flat(route)]


def _flat(route: BaseRoute) -> Sequence[BaseRoute]:
    """Newer FastAPI keeps an included router as one entry, older has its routes in the list."""
    included = getattr(route, "original_router", None)
    return [route] if included is None else [single for inner in included.routes for single in _flat(inner)]


def _is_below_root(path: str) -> bool:
    return path == _ROOT or path.startswith(f"{_ROOT}/")


def _origin(url: str | None) -> str:
    if not url:
        return ""
    parts = urlsplit(url)
    # A path before the app's own is for proxies; they are not on the way.
    return f"{parts.scheme}://{parts.netloc}"
