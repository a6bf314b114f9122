"""Our routes within the host: in front of all others, whatever the host does with its own later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.datastructures import URLPath
from starlette.routing import BaseRoute, Match, NoMatchFound, Route, compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

#: Here a route of the host gives way: it is what we have come for.
_OURS: Final = "/schedules"


class Frontage:
    """`entries` are what stands for the routes of `router` in the list of `app` (None: a host without such a list)."""

    def __init__(self, app: Starlette | None, entries: list[BaseRoute], router: APIRouter, prefix: str) -> None:
        self._app = app
        self._entries = entries
        routes = (route for route in router.routes if isinstance(route, Route))
        self._paths = [(compile_path(prefix + route.path)[0], frozenset(route.methods or ())) for route in routes]

    def prepared(self, scope: Scope) -> Scope:
        """Before each request: our routes stand in front, and a trailing slash is no other path of ours."""
        self._keep()
        path = scope["path"]
        if path.endswith("/") and self._is_ours(path.removeprefix(scope.get("root_path", "")).rstrip("/")):
            return {**scope, "path": path.rstrip("/")}
        return scope

    def owns(self, scope: Scope) -> bool:
        """Whether it is a route of ours that answers."""
        path = scope["path"].removeprefix(scope.get("root_path", "")).rstrip("/")
        return any(pattern.match(path) and scope["method"] in methods for pattern, methods in self._paths)

    def _is_ours(self, path: str) -> bool:
        return any(pattern.match(path) for pattern, _ in self._paths)

    def _keep(self) -> None:
        # Hosts add routes late, and AgentOS makes its list anew when its agents change.
        if self._app is None:
            return
        routes = self._app.router.routes
        if not routes or routes[0] is not self._entries[0]:
            self.place()

    def place(self) -> None:
        if self._app is not None:
            self._app.router.routes[:] = [*self._entries, *self._others(self._app)]

    @contextmanager
    def documented(self) -> Iterator[None]:
        """Within the block our routes come last, because in OpenAPI the last of two routes of one path wins."""
        if self._app is None:
            yield
            return
        self._app.router.routes[:] = [*self._others(self._app), *self._entries]
        try:
            yield
        finally:
            self.place()

    def _others(self, app: Starlette) -> list[BaseRoute]:
        return [route for route in app.router.routes if not any(route is entry for entry in self._entries)]


class Annex(BaseRoute):
    """Our routes for a host that is no FastAPI app: they live in an app of ours, and only what they know goes there."""

    def __init__(self, router: APIRouter, prefix: str) -> None:
        self._app = FastAPI(openapi_url=None)
        self._app.include_router(router, prefix=prefix)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        found = (route.matches(dict(scope))[0] for route in self._app.router.routes)
        return max(found, key=lambda match: match.value, default=Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        raise NoMatchFound(name, path_params)


class BesideAnnex:
    """An app with our routes in front of it: one that has no list of routes, or whose middleware is to be kept out."""

    def __init__(self, app: ASGIApp, annex: Annex) -> None:
        self._app = app
        self._annex = annex

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        known = self._annex.matches(scope)[0] is Match.FULL
        await (self._annex.handle if known else self._app)(scope, receive, send)


def put_in_front(app: Starlette, router: APIRouter, *, prefix: str) -> Frontage:
    """Makes the routes of `router` the first of `app`; in a FastAPI app they are in its documentation as well.

    What the host has at a path of ours outside /schedules stays the host's: such words are not ours alone.
    """
    leave_to_host(app, router, prefix)
    if not isinstance(app, FastAPI):
        frontage = Frontage(app, [Annex(router, prefix)], router, prefix)
        frontage.place()
        return frontage
    before = len(app.router.routes)
    app.include_router(router, prefix=prefix)
    frontage = Frontage(app, app.router.routes[before:], router, prefix)
    frontage.place()
    _document(app, frontage)
    return frontage


def leave_to_host(app: Starlette, router: APIRouter, prefix: str) -> None:
    """Takes out of `router` what the host has itself, but for what is below /schedules."""
    taken = {(path, method) for route in app.router.routes for path, method in _places(route)}
    left = [
        route
        for route in router.routes
        if not getattr(route, "path", "").startswith(_OURS)
        and any((prefix + path, method) in taken for path, method in _places(route))
    ]
    if left:
        router.routes[:] = [route for route in router.routes if route not in left]
        paths = sorted({f"{prefix}{getattr(route, 'path', '')}" for route in left})
        log = structlog.get_logger("agentclock.embed")
        log.warning("routes_left_to_host", paths=paths, detail="the app has routes of its own there; see `prefix`")


def _places(route: BaseRoute) -> Iterator[tuple[str, str]]:
    """Path and method of a route, or of those in a router that was included as one."""
    included = getattr(route, "original_router", None)
    if included is not None:
        for inner in included.routes:
            yield from _places(inner)
    for method in getattr(route, "methods", None) or ():
        yield getattr(route, "path", ""), method


def _document(app: FastAPI, frontage: Frontage) -> None:
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        with frontage.documented():
            return describe()

    app.openapi_schema = None
    app.openapi = openapi  # type: ignore[method-assign]
