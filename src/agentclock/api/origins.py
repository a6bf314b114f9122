"""Which web pages a server without authentication listens to: none but those that came from itself.

A browser on this machine reaches it for every page that it shows. So a page must not get here by a name of its own
that leads to this machine (DNS rebinding), nor write by sending a form (cross-site request forgery).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from typing import Final

import structlog
from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from agentclock.api.errors import error_response
from agentclock.core.errors import Forbidden

_HARMLESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/?#@\[\]]+)(?::([0-9]{1,5}))?")
_ANOTHER_HOST: Final = (
    "This server asks nobody for a token, so it answers only to its own names: 127.0.0.1 and localhost. Use one of "
    "these, set public_url if a proxy serves it by another one, or set security_key or jwt_*"
)
_ANOTHER_SITE: Final = "This server asks nobody for a token, so web pages of other sites may change nothing here"


class OwnPagesOnly:
    """ASGI middleware. `names`: hosts that are ours beside this machine's own (localhost, loopback addresses); None:
    by whatever name we are called."""

    def __init__(self, app: ASGIApp, *, names: Collection[str] | None) -> None:
        self._app = app
        self._names = None if names is None else frozenset(map(_normal, names))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
            return
        structlog.get_logger("agentclock.api").debug("page_refused", method=scope["method"], reason=refusal)
        await error_response(Forbidden(refusal), Request(scope))(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers = _single(scope)
        host = headers.get(b"host", "")
        if self._names is not None and not self._is_ours(host) and not _is_in_process(scope):
            return _ANOTHER_HOST
        if scope["method"] in _HARMLESS:
            return None
        origin = headers.get(b"origin")
        is_foreign = origin is not None and origin.partition("://")[2].lower() != host.lower()
        return _ANOTHER_SITE if is_foreign or headers.get(b"sec-fetch-site") == "cross-site" else None

    def _is_ours(self, host: str) -> bool:
        found = _AUTHORITY.fullmatch(host)
        if found is None:
            return False
        name = _normal(found[1])
        return is_loopback_name(name) or (self._names is not None and name in self._names)


def is_loopback_name(host: str) -> bool:
    """Whether `host` can only mean this machine: an address that is, or a name that no DNS may say anything about."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_in_process(scope: Scope) -> bool:
    """Whether an app in this process calls us: then no browser does. Servers say at which of their addresses a request
    arrived."""
    server = scope.get("server")
    if not server:
        return False
    try:
        ipaddress.ip_address(server[0].partition("%")[0])
    except ValueError:
        return True
    return False


def _normal(host: str) -> str:
    return host.strip("[]").lower().removesuffix(".")


def _single(scope: Scope) -> dict[bytes, str]:
    """Headers by name; of one that comes twice nobody knows which counts, so that it is like none of ours."""
    found: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        found[name] = "?" if name in found else value.decode("latin-1")
    return found
