"""Putting a clockwork into an app: the layer around it, and our routes in front of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from agentclock.api import RequestLimits, build_router
from agentclock.api.auth import Guard
from agentclock.api.cookies import Sessions
from agentclock.api.sessions import stranger
from agentclock.app import Clockwork, assemble, target_desk
from agentclock.auth.permits import OwnerPermits
from agentclock.config import Settings, TargetEntry, TargetKind
from agentclock.core.errors import ConfigError
from agentclock.embed.layer import Layer
from agentclock.embed.life import Life
from agentclock.embed.routes import Annex, BesideAnnex, Frontage, leave_to_host, put_in_front
from agentclock.logs import join_host_logging
from agentclock.ui import Dashboard


def attach(
    app: Starlette,
    database: str | None = None,
    *,
    targets: Mapping[str, TargetEntry | Mapping[str, Any] | str] | None = None,
    guard: Guard | None = None,
    token: Callable[[], str | None] | None = None,
    prefix: str = "",
    **settings: Any,
) -> Clockwork:
    """Gives a FastAPI or Starlette app schedules that call its endpoints, with the routes under /schedules and /runs.

    `targets`: further ones by name, beside `default`, which is `app` itself; a text is a base URL. `guard`: who may
    do what, by default everybody everything. `token`: what our calls of `app` carry as bearer token. `settings`: as
    in `Settings`; they beat AGENTCLOCK_* variables. Raises ConfigError. Any other ASGI app is for `embed`, which
    answers what is to be served in its place.
    """
    if not isinstance(app, Starlette):
        raise TypeError(f"attach takes a FastAPI or Starlette app, not {type(app).__name__}; embed takes any ASGI app")
    named: dict[str, object] = {"default": TargetEntry(kind=TargetKind.HTTP, in_process=True)}
    for name, target in (targets or {}).items():
        named[name] = {"base_url": target} if isinstance(target, str) else target
    loaded = Settings.load(database=database, targets=named, **settings)
    join_host_logging(loaded.log_level)
    # Who may is the guard's to say. It is not here at a fire; whom somebody has revoked is known all the same.
    clockwork = assemble(loaded, app=app, token=token, permits=lambda store: OwnerPermits(store, by_scopes=False))
    embed(app, clockwork, guard=guard, prefix=prefix)
    return clockwork


def embed(
    app: ASGIApp, clockwork: Clockwork, *, routes: bool = True, prefix: str = "", guard: Guard | None = None
) -> ASGIApp:
    """Lets `clockwork` live inside `app`, and answers what is to be served.

    That is `app` itself if it is a Starlette or FastAPI app, and for any other ASGI app a new one around it. `prefix`
    begins with a slash and stands before our routes; without `routes` there are none. Raises ConfigError for an app
    that has a clockwork already or has begun to serve.
    """
    life = Life(clockwork, clockwork.executor.host)
    router = _router(clockwork, guard) if routes else None
    pages = _pages(clockwork.settings, prefix) if routes else APIRouter()
    if isinstance(app, Starlette):
        if problem := _unfit(app):
            raise ConfigError([problem])
        frontage = put_in_front(app, router, prefix=prefix) if router is not None else None
        app.add_middleware(Layer, life=life, frontage=frontage)
        if frontage is not None:
            leave_to_host(app, pages, prefix)
            sessions = Middleware(Sessions, **_session_options(clockwork, frontage, prefix))
            _put_outermost(app, Middleware(BesideAnnex, annex=Annex(pages, prefix)), sessions)
        return app
    if isinstance(app, Layer):
        raise ConfigError([_TWICE])
    inner, frontage = app, None
    if router is not None:
        frontage = Frontage(None, [], router, prefix)
        beside = BesideAnnex(app, Annex(router, prefix))
        asking = Sessions(beside, **_session_options(clockwork, frontage, prefix))
        inner = BesideAnnex(asking, Annex(pages, prefix))
    layer = Layer(inner, life=life, frontage=frontage)
    if clockwork.executor.host is not None:
        clockwork.executor.host.app = layer
    return layer


_TWICE = "agentclock is attached to this app already"


def _session_options(clockwork: Clockwork, frontage: Frontage, prefix: str) -> dict[str, Any]:
    public_url = clockwork.settings.public_url
    return {"is_ours": frontage.owns, "prefix": prefix, "public_url": public_url, "stranger": stranger}


def _put_outermost(app: Starlette, *layers: Middleware) -> None:
    """Around all middleware of the host, also around what it adds later: who asks for tokens must see those that
    browsers have in a cookie, and must not ask for one before there is a page to log in at."""
    build = app.build_middleware_stack

    def build_within() -> ASGIApp:
        app.user_middleware[:0] = layers
        try:
            return build()
        finally:
            del app.user_middleware[: len(layers)]

    app.build_middleware_stack = build_within  # type: ignore[method-assign]


def _unfit(app: Starlette) -> str | None:
    if any(
        isinstance(middleware.cls, type) and issubclass(middleware.cls, Layer) for middleware in app.user_middleware
    ):
        return _TWICE
    if app.middleware_stack is not None:
        return "agentclock must be attached before the app serves its first request"
    return None


def _router(clockwork: Clockwork, guard: Guard | None) -> APIRouter:
    settings = clockwork.settings
    return build_router(
        clockwork.scheduler,
        clockwork.runs,
        clockwork.hub,
        guard=guard,
        trigger_wait_seconds=settings.trigger_wait_seconds,
        webhooks=clockwork.webhooks.desk,
        targets=target_desk(clockwork),
        listener=lambda: clockwork.wakeup.state,
        limits=RequestLimits(body_bytes=settings.body_limit_bytes, streams_per_client=settings.streams_per_client),
    )


def _pages(settings: Settings, prefix: str) -> APIRouter:
    if settings.dashboard_path == "off":
        return APIRouter()
    return Dashboard(api_root=prefix, home=prefix + (settings.dashboard_path or "/scheduler")).router(prefix)
