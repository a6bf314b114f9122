"""In whose name a paused run is continued inside an AgentOS.

Our calls carry the token by which an AgentOS calls itself. Its routes that start runs know to take the owner of the
schedule for the user then; those that continue runs take the token's own name for one, under which no run is found.
"""

from __future__ import annotations

import hmac
import re
from typing import Final
from urllib.parse import unquote

from agno.db.schemas.scheduler import INTERNAL_SCHEDULER_USER_ID, SCHEDULE_OWNER_HEADER
from agno.os.settings import AgnoAPISettings
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

_CONTINUE: Final = re.compile(r"/(agents|teams|workflows)/[^/]+/runs/[^/]+/continue/?")


class ContinueAsOwner:
    """The layer next to the routes, behind all authentication: here the token becomes the schedule's owner."""

    def __init__(self, app: ASGIApp, *, settings: AgnoAPISettings | None) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and _CONTINUE.search(scope["path"]):
            scope = self._as_owner(scope)
        await self._app(scope, receive, send)

    def _as_owner(self, scope: Scope) -> Scope:
        headers = Headers(scope=scope)
        if not _is_ours(headers, getattr(scope["app"].state, "internal_service_token", None)):
            return scope
        if scope.get("state", {}).get("user_id") == INTERNAL_SCHEDULER_USER_ID:
            return _in_the_name_of(headers.get(SCHEDULE_OWNER_HEADER), scope)
        return _with_credentials(scope, self._settings.os_security_key if self._settings else None)


def _is_ours(headers: Headers, token: str | None) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return bool(token) and scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), str(token).encode())


def _with_credentials(scope: Scope, key: str | None) -> Scope:
    """Nobody has looked at the token yet; where none tells users apart, the form says whose run it is."""
    changed = {**scope, "headers": list(scope["headers"])}
    headers = MutableHeaders(scope=changed)
    del headers["authorization"]
    if key:
        headers["authorization"] = f"Bearer {key}"
    return changed


def _in_the_name_of(owner: str | None, scope: Scope) -> Scope:
    """AgentOS's middleware has let the token pass. A schedule without an owner is the system's, confined to nobody."""
    state = {**scope.get("state", {}), "user_id": unquote(owner) if owner else None}
    if not owner:
        state["user_isolation_enabled"] = False
    return {**scope, "state": state}
