"""Moving into an AgentOS: its settings, its credentials, and the place of its schedule routes."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, Self
from urllib.parse import urlsplit

import structlog
from agno.os import AgentOS
from agno.os.settings import AgnoAPISettings
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from agentclock.agno import permissions
from agentclock.agno.adapter import Binding, bind
from agentclock.agno.continuing import ContinueAsOwner
from agentclock.agno.databases import database_for
from agentclock.agno.guard import AgnoGuard
from agentclock.agno.guard_rails import GuardRails
from agentclock.agno.left_behind import look_for_another_scheduler, look_for_schedules_left_behind
from agentclock.agno.permits import AgnoPermits
from agentclock.app import Clockwork, assemble, is_postgres
from agentclock.auth.keys import split_keys
from agentclock.config import Settings, TargetEntry, TargetKind
from agentclock.core.errors import ConfigError
from agentclock.embed import embed
from agentclock.logs import join_host_logging

_ROOT: Final = "/schedules"
#: The attribute of a database object that leads to its `_Tools`.
_KEPT_AS: Final = "_agentclock_tools"
#: The attribute of an AgentOS with the settings of the agentclock that it got.
_TAKEN_WITH: Final = "_agentclock_settings"
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
    join_host_logging(settings.log_level)
    told, derived = settings.model_fields_set, dict[str, Any]()
    if "database" not in told:
        derived["database"] = database_for(db)
    if "poll_seconds" not in told and poll_seconds is not None:
        shortest, longest = _POLL_SECONDS
        derived["poll_seconds"] = min(max(float(poll_seconds), shortest), longest)
    inside = TargetEntry(kind=TargetKind.AGENTOS, in_process=True, base_url=_origin(base_url))
    derived["targets"] = {"default": inside} | (settings.targets if "targets" in told else {})
    return settings.model_copy(update=derived)


def install(
    app: Starlette,
    settings: Settings,
    os_settings: AgnoAPISettings | None = None,
    *,
    db: object = None,
    may_cover: bool = True,
) -> Clockwork:
    """Puts a clockwork into the app of an AgentOS, once; it starts and stops with the app. `app.state.agentclock` is
    the clockwork.

    `os_settings`: those of the AgentOS, if they are known. `db`: its database, where agno's own scheduler may have left
    something. `may_cover`: whether routes under /schedules that are not agno's either may be there, behind ours. Raises
    ConfigError.
    """
    present: Clockwork | None = getattr(app.state, "agentclock", None)
    if present is not None:
        _check_same(present.settings, settings)
        return present
    if not getattr(app.state, "internal_service_token", None):
        app.state.internal_service_token = _service_token(app, settings, os_settings)
    own_targets = [name for name, target in settings.targets.items() if target.in_process]
    clockwork = assemble(
        settings,
        app=app,
        token=lambda: app.state.internal_service_token,
        permits=lambda store: AgnoPermits(store, app, own_targets=own_targets),
    )
    _drop_agnos(app)
    _check_covered(app, may_cover=may_cover)
    app.user_middleware.append(Middleware(ContinueAsOwner, settings=os_settings))
    guard = AgnoGuard(os_settings, own_targets=own_targets, owners=clockwork.scheduler.owners)
    embed(app, clockwork, guard=guard)
    clockwork.at_start.append(partial(look_for_another_scheduler, app))
    if hasattr(db, "get_schedule"):
        clockwork.at_start.append(partial(look_for_schedules_left_behind, db, clockwork))
    app.state.agentclock = clockwork
    return clockwork


def take_over(agent_os: AgentOS, settings: Settings, *, rails: GuardRails | None = None) -> None:
    """Lets the apps that `agent_os` makes from now on have agentclock for their scheduler, and agno's schedule tools
    write to it, from now on as well. Raises ConfigError."""
    if getattr(agent_os, "company", None) is not None:
        raise ConfigError(["company: its routines run on agno's own scheduler only; use agno.os.AgentOS for them"])
    present: Settings | None = getattr(agent_os, _TAKEN_WITH, None)
    if present is not None:
        _check_same(present, settings)
        return
    _warn_of_earlier_apps(agent_os)
    setattr(agent_os, _TAKEN_WITH, settings)
    get_app, resync, tools = agent_os.get_app, agent_os.resync, _Tools.on(agent_os.db)
    # For what a script schedules before it asks for the app. This clockwork never starts, and never calls anything.
    tools.lead_to(assemble(settings, app=_never), rails)

    def get_app_with_clockwork() -> FastAPI:
        app = get_app()
        may_cover = agent_os.on_route_conflict != "error"
        clockwork = install(app, settings, agent_os.settings, db=agent_os.db, may_cover=may_cover)
        serve_tools(agent_os.db, clockwork, rails)
        return app

    def resync_with_clockwork(app: FastAPI) -> None:
        resync(app)
        _drop_agnos(app)

    agent_os._scheduler_enabled = False
    agent_os.get_app = get_app_with_clockwork  # type: ignore[method-assign]
    agent_os.resync = resync_with_clockwork  # type: ignore[method-assign]


def serve_tools(db: object, clockwork: Clockwork, rails: GuardRails | None) -> None:
    """Lets agno's schedule tools on the database object `db` write to `clockwork`."""
    _Tools.on(db).lead_to(clockwork, rails)


def _service_token(app: Starlette, settings: Settings, os_settings: AgnoAPISettings | None) -> str:
    """The token by which the AgentOS calls itself, where it has been given none. Raises ConfigError where one that this
    process makes up would not do: another process would refuse it."""
    given = split_keys(settings.service_token)
    if given:
        return given[0]
    if is_postgres(settings.database) and permissions.asks_for_credentials(app, os_settings):
        raise ConfigError(
            [
                "service_token: this AgentOS asks for credentials, and several processes may serve it on one database: "
                "give all of them the same token, AgentOS(internal_service_token=...) or the setting service_token "
                '(AGENTCLOCK_SERVICE_TOKEN), made by `python -c "import secrets; print(secrets.token_urlsafe(32))"`'
            ]
        )
    return secrets.token_urlsafe(32)


def _check_same(present: Settings, wanted: Settings) -> None:
    """Attaching twice is attaching once, as long as both mean the same."""
    differing = [name for name in Settings.model_fields if getattr(present, name) != getattr(wanted, name)]
    if differing:
        raise ConfigError([f"agentclock is attached already, with other settings: {', '.join(differing)} differ"])


def _warn_of_earlier_apps(agent_os: AgentOS) -> None:
    if agent_os.base_app is None and getattr(agent_os, "_cors_origin_policy", None) is not None:
        structlog.get_logger("agentclock.agno").warning(
            "app_made_before",
            detail="apps that this AgentOS made before keep agno's schedules; ask get_app() for a new one",
        )


async def _never(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("nothing is called before the app is made")


class _Tools:
    """Where agno's schedule tools on a database object write to. There is one of these for each such object, whatever
    number of AgentOS share it."""

    def __init__(self, db: object) -> None:
        self._db = db
        self._clockwork: Clockwork | None = None
        self._binding: Binding | None = None

    @classmethod
    def on(cls, db: object) -> _Tools:
        present = getattr(db, _KEPT_AS, None)
        if isinstance(present, cls):
            return present
        made = cls(db)
        if hasattr(db, "get_schedule"):
            setattr(db, _KEPT_AS, made)
        return made

    def lead_to(self, clockwork: Clockwork, rails: GuardRails | None) -> None:
        """An AgentOS makes a new app each time it is asked for one. Whichever lives has the tools, else the newest."""
        present = self._clockwork
        if clockwork is present or not hasattr(self._db, "get_schedule"):
            return
        if present is not None and present.home is not None:
            return
        if self._binding is not None:
            self._binding.unbind()
        self._clockwork, self._binding = clockwork, bind(self._db, clockwork, rails=rails)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """agno copies agents together with what hangs on their database."""
        return self


def _drop_agnos(app: Starlette) -> None:
    """Takes agno's own routes under /schedules out of the app, and with them out of its documentation."""
    app.router.routes[:] = [route for route in app.router.routes if not _is_agnos(route)]
    if isinstance(app, FastAPI):
        app.openapi_schema = None


def _check_covered(app: Starlette, *, may_cover: bool) -> None:
    found = {path for route in app.router.routes for path in _paths(route)}
    others = sorted(path for path in found if _is_below_root(path))
    if others and not may_cover:
        raise ConfigError([f"on_route_conflict: the app has routes where agentclock's are: {', '.join(others)}"])
    if others:
        structlog.get_logger("agentclock.agno").warning("routes_covered", paths=others, by="agentclock")


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
