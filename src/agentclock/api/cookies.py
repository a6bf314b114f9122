"""The session of a browser: a cookie that holds the token its user has logged in with.

A browser sends cookies with whatever a page has it request, also a page of somebody else. So the cookie counts only in
requests that our own pages make, and only where no Authorization header says something else. It is strictly a copy of
the token: whoever refuses the token refuses the session.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentclock.api.errors import error_response
from agentclock.core.errors import Forbidden, TooLarge

SESSION_PATH: Final = "/session"
SESSION_SECONDS: Final = 12 * 3_600
#: What every browser keeps of one cookie, with its name and attributes.
COOKIE_BYTES: Final = 4_096
LOGIN_BYTES: Final = 65_536
VISIT: Final = "agentclock.visit"

_NAME: Final = "agentclock_session"
_HARMLESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
BEARER: Final = re.compile(r"[\x21-\x7e]+")
#: What browsers say of requests that no other site had them make.
_OWN_SITES: Final = frozenset({"same-origin", "none"})
_ANOTHER_SITE: Final = "Web pages of other sites can neither log in nor out here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What a request says of its browser. `home`: the path below which our routes are. `is_safe`: came over TLS, as far
    as anybody knows. `has_session`: what it shows is the cookie."""

    home: str
    is_safe: bool
    has_session: bool = False

    def cookie(self, token: str, seconds: int) -> str | None:
        """The header that makes a browser keep the token; None: the token is longer than a cookie may be."""
        value = quote(token, safe="!#$&'()*+/:<=>?@[]^_`{|}~.-")
        line = f"{_NAME}={value}; Max-Age={seconds}; {self._attributes}"
        return line if len(line) <= COOKIE_BYTES else None

    @property
    def farewell(self) -> str:
        """The header that makes a browser forget it."""
        return f"{_NAME}=; Max-Age=0; {self._attributes}"

    @property
    def _attributes(self) -> str:
        path = quote(self.home, safe="/-._~!$&'()*+=:@") or "/"
        return f"Path={path}; HttpOnly; SameSite=Strict{'; Secure' if self.is_safe else ''}"


class Sessions:
    """ASGI middleware, around everything that asks for tokens: makes the cookie a token in the Authorization header,
    and likewise the token that somebody logs in with, so that whoever decides about tokens decides about these.

    `is_ours`: whether a route of ours answers. `prefix`: stands before our paths. `public_url`: where browsers reach
    us. `stranger`: what /session says to those that a host keeps from it because they show nothing.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        is_ours: Callable[[Scope], bool] = lambda _: True,
        prefix: str = "",
        public_url: str | None = None,
        stranger: Callable[[], JSONResponse],
    ) -> None:
        self._app = app
        self._is_ours = is_ours
        self._prefix = prefix
        self._public = urlsplit(public_url or "")
        self._stranger = stranger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._is_ours(scope):
            await self._app(scope, receive, send)
            return
        headers, method = _headers_of(scope), scope["method"]
        is_door = self._path_of(scope) == SESSION_PATH
        is_own_page = self._is_own_page(headers, scope)
        if is_door and method in ("POST", "DELETE") and is_own_page is False:
            await error_response(Forbidden(_ANOTHER_SITE), Request(scope))(scope, receive, send)
        elif is_door and method == "POST":
            await self._log_in(scope, receive, send)
        elif is_door and method == "DELETE":
            visit = self._visit(scope)
            instead = Response(status_code=HTTPStatus.NO_CONTENT, headers={"Set-Cookie": visit.farewell})
            await self._unless_refused({**scope, VISIT: visit}, receive, send, instead)
        elif b"authorization" in headers:
            await self._app({**scope, VISIT: self._visit(scope)}, receive, send)
        elif (is_own_page or (is_own_page is None and method in _HARMLESS)) and (token := _cookie_in(headers)):
            await self._with_cookie(token, scope, receive, send)
        elif is_door and method == "GET":
            await self._unless_refused({**scope, VISIT: self._visit(scope)}, receive, send, self._stranger())
        else:
            await self._app({**scope, VISIT: self._visit(scope)}, receive, send)

    async def _log_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        content = await _read(receive)
        if content is None:
            await error_response(TooLarge(LOGIN_BYTES), Request(scope))(scope, receive, send)
            return
        scope, token = {**scope, VISIT: self._visit(scope)}, _token_in(content)
        await self._app(scope if token is None else bearing(scope, token), _again(content, receive), send)

    async def _with_cookie(self, token: str, scope: Scope, receive: Receive, send: Send) -> None:
        """A cookie that is refused is taken back."""
        visit = self._visit(scope, has_session=True)

        async def send_and_see(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == HTTPStatus.UNAUTHORIZED:
                farewell = (b"set-cookie", visit.farewell.encode())
                message = {**message, "headers": [*message.get("headers", ()), farewell]}
            await send(message)

        await self._app(bearing({**scope, VISIT: visit}, token), receive, send_and_see)

    async def _unless_refused(self, scope: Scope, receive: Receive, send: Send, instead: Response) -> None:
        """A host may ask everybody for a token before our own route is asked, which would let them in."""
        is_refused = False

        async def send_and_see(message: Message) -> None:
            nonlocal is_refused
            is_refused |= message["type"] == "http.response.start" and message["status"] == HTTPStatus.UNAUTHORIZED
            if not is_refused:
                await send(message)

        await self._app(scope, receive, send_and_see)
        if is_refused:
            await instead(scope, receive, send)

    def _visit(self, scope: Scope, *, has_session: bool = False) -> Visit:
        home = scope.get("root_path", "").rstrip("/") + self._prefix
        is_safe = scope.get("scheme") == "https" or self._public.scheme == "https"
        return Visit(home=home, is_safe=is_safe, has_session=has_session)

    def _path_of(self, scope: Scope) -> str:
        path: str = scope["path"].removeprefix(scope.get("root_path", "")).rstrip("/")
        return path.removeprefix(self._prefix)

    def _is_own_page(self, headers: Mapping[bytes, str], scope: Scope) -> bool | None:
        """Whether a page of ours makes the request; None: it does not say. Pages cannot choose what is said there."""
        if (site := headers.get(b"sec-fetch-site")) is not None:
            return site in _OWN_SITES
        if (origin := headers.get(b"origin")) is None:
            return None
        scheme, _, authority = origin.lower().partition("://")
        if (scheme, authority) == (self._public.scheme, self._public.netloc.lower()):
            return True
        # A proxy may have taken the TLS away, nobody adds it.
        was_safer = scope.get("scheme") == "https" and scheme != "https"
        return bool(authority) and authority == headers.get(b"host", "").lower() and not was_safer


def bearing(scope: Scope, token: str) -> Scope:
    """The request as if it had the token in its header, and no other one."""
    others = [one for one in scope["headers"] if one[0] != b"authorization"]
    return {**scope, "headers": [*others, (b"authorization", b"Bearer " + token.encode())]}


def _headers_of(scope: Scope) -> dict[bytes, str]:
    """Cookies in one line. Of any other header that comes twice nobody knows which counts: it is like none of ours."""
    found: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        text = value.decode("latin-1")
        if name not in found:
            found[name] = text
        else:
            found[name] = f"{found[name]}; {text}" if name == b"cookie" else "?"
    return found


def _cookie_in(headers: Mapping[bytes, str]) -> str | None:
    """The token of the session. Of two cookies of that name a neighbouring site has planted one: none counts."""
    pairs = (pair.strip().partition("=") for pair in headers.get(b"cookie", "").split(";"))
    found = [value.strip() for name, _, value in pairs if name == _NAME]
    token = unquote(found[0]) if len(found) == 1 else ""
    return token if BEARER.fullmatch(token) else None


def _token_in(content: bytes) -> str | None:
    """The token that a login brings; None: it is none, which the route will say."""
    try:
        draft = json.loads(content)
    except (ValueError, RecursionError):
        return None
    token = draft.get("token") if isinstance(draft, dict) else None
    token = token.strip() if isinstance(token, str) else ""
    return token if BEARER.fullmatch(token) else None


async def _read(receive: Receive) -> bytes | None:
    """The whole body, None if there is too much of it."""
    content = bytearray()
    while True:
        message = await receive()
        content += message.get("body", b"")
        if len(content) > LOGIN_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(content)


def _again(content: bytes, receive: Receive) -> Receive:
    """What hears a body once more that was read, and then whatever else there is to hear."""
    messages: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

    async def hear() -> Message:
        return messages.pop() if messages else await receive()

    return hear
