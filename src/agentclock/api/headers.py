"""Headers that every answer of the stand-alone server has, for browsers that happen to read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: For an interface that no page is meant to show, run or keep. A route's own header counts for more.
SAFE_HEADERS: Final[Mapping[bytes, bytes]] = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"x-frame-options": b"DENY",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=()",
}
_DOCS: Final = frozenset({"/docs", "/docs/oauth2-redirect", "/redoc"})
#: The pages that show the interface are the framework's; their scripts and styles come from its network.
_DOCS_POLICY: Final = (
    b"default-src 'none'; script-src https://cdn.jsdelivr.net 'unsafe-inline'; "
    b"style-src https://cdn.jsdelivr.net https://fonts.googleapis.com 'unsafe-inline'; "
    b"font-src https://fonts.gstatic.com; img-src 'self' data: https://fastapi.tiangolo.com https://cdn.redoc.ly; "
    b"worker-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class SafeHeaders:
    """ASGI middleware. `is_https`: browsers reach this server by https:// and shall do so for a year."""

    def __init__(self, app: ASGIApp, *, is_https: bool = False) -> None:
        self._app = app
        strict = {b"strict-transport-security": b"max-age=31536000"} if is_https else {}
        self._headers: Final = {**SAFE_HEADERS, **strict}
        self._headers_of_docs: Final = {**self._headers, b"content-security-policy": _DOCS_POLICY}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wanted = self._headers_of_docs if scope["path"] in _DOCS else self._headers

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                there = {bytes(name).lower() for name, _ in given}
                message = {**message, "headers": given + [one for one in wanted.items() if one[0] not in there]}
            await send(message)

        await self._app(scope, receive, send_safely)
