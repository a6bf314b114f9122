"""What is said about paths before and after routes are looked for."""

from __future__ import annotations

from typing import Final

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send


class TrailingSlash:
    """ASGI middleware: `/schedules/` means `/schedules`, as it does in AgentOS. Without it the framework answers with a
    redirect, which many clients do not follow."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith("/"):
            path, root = scope["path"].rstrip("/"), scope.get("root_path", "").rstrip("/")
            scope = {**scope, "path": f"{path}/" if path == root else path}
        await self._app(scope, receive, send)


_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


async def method_not_allowed(request: Request, _: Exception) -> JSONResponse:
    """The handler of 405. The framework names the methods of the first route of that path only."""
    scope = dict(request.scope)
    routes = request.app.router.routes
    allowed = [
        method
        for method in _METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    ]
    return JSONResponse({"detail": "Method Not Allowed"}, 405, headers={"Allow": ", ".join(allowed)})
