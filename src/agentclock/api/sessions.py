"""Logging in with a browser: who is it, and what may they do."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from agentclock import __version__
from agentclock.api.auth import Doorkeeper, Guard, Mode, Permission, Standing
from agentclock.api.cookies import BEARER, COOKIE_BYTES, SESSION_SECONDS, VISIT, Visit, bearing
from agentclock.api.values import iso_or_null
from agentclock.auth.tokens import TOKEN_BYTES
from agentclock.core.errors import Forbidden, InvalidField, Unauthenticated
from agentclock.core.model import SECOND
from agentclock.scheduler import Scheduler

_TOO_LONG: Final = (
    f"is longer than browsers keep a cookie ({COOKIE_BYTES:,} characters with its attributes): use a shorter token, or "
    "send this one in the Authorization header"
)


class Login(BaseModel):
    """What opens a session."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"token": "the security key, or a JWT"}]})

    token: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=TOKEN_BYTES, pattern=f"^{BEARER.pattern}$"),
        Field(description="The security key or JSON Web Token that would stand in the Authorization header."),
    ]


class Session(BaseModel):
    """Who somebody is to this server, and what they may do."""

    mode: Mode = Field(description="How callers show who they are; `open`: nobody is asked; `host`: as the app around.")
    authenticated: bool = Field(description="Whether the caller has shown who they are, or need not (mode `open`).")
    name: str | None = Field(description="Whom records name; null: nobody in particular.")
    user_id: str | None = Field(description="Whom the caller's schedules belong to; null: nobody in particular.")
    may: list[Permission] = Field(description="What the caller may do, as far as routes ask for it.")
    expires_at: str | None = Field(description="Until when the token is good; null: for ever, or nobody knows.")
    version: str = Field(description="Version of agentclock.")
    cookie: bool = Field(description="Whether it is the session's cookie that tells.")


class SessionRoutes:
    def __init__(self, guard: Guard, scheduler: Scheduler) -> None:
        self._guard = guard
        self._scheduler = scheduler

    async def get_session(self, request: Request, response: Response) -> Session:
        """Who is asking, and what they may do. Open to everybody; credentials that are not good (any more) get 401, and
        lose their cookie."""
        response.headers["Cache-Control"] = "no-store"
        visit: Visit | None = request.scope.get(VISIT)
        standing = await standing_of(self._guard, request)
        return session_out(standing, by_cookie=visit is not None and visit.has_session)

    async def create_session(self, login: Login, request: Request, response: Response) -> Session:
        """Log in. The answer sets the cookie `agentclock_session`, for this server's own pages only (HttpOnly,
        SameSite=Strict), good for 12 hours at most and never longer than the token. Where nobody is asked for a token
        there is no cookie either."""
        response.headers["Cache-Control"] = "no-store"
        standing = await standing_of(self._guard, Request(bearing(request.scope, login.token)))
        if not standing.is_known:
            raise Unauthenticated("The token is not valid (any more)")
        visit: Visit | None = request.scope.get(VISIT)
        if visit is None or standing.mode is Mode.OPEN:
            return session_out(standing, by_cookie=False)
        cookie = visit.cookie(login.token, self._seconds(standing))
        if cookie is None:
            raise InvalidField("token", _TOO_LONG)
        response.headers["Set-Cookie"] = cookie
        return session_out(standing, by_cookie=True)

    async def delete_session(self, request: Request, response: Response) -> None:
        """Log out: the browser forgets its cookie. The token stays good for whoever else has it."""
        visit: Visit | None = request.scope.get(VISIT)
        if visit is not None:
            response.headers["Set-Cookie"] = visit.farewell

    def _seconds(self, standing: Standing) -> int:
        if standing.expires_at is None:
            return SESSION_SECONDS
        return max(1, min(SESSION_SECONDS, (standing.expires_at - self._scheduler.now()) // SECOND))


async def standing_of(guard: Guard, request: Request) -> Standing:
    """Who calls. A guard that cannot say is asked for one thing after the other. Raises Unauthenticated."""
    if isinstance(guard, Doorkeeper):
        return await guard.about(request)
    may: list[Permission] = []
    name = user_id = None
    for permission in Permission:
        try:
            caller = await guard.admit(request, permission)
        except Unauthenticated:
            if "authorization" in request.headers:
                raise
            return Standing(mode=Mode.HOST)
        except Forbidden:
            continue
        may.append(permission)
        name, user_id = caller.name, caller.owner
    return Standing(mode=Mode.HOST, is_known=True, name=name, user_id=user_id, may=tuple(may))


def stranger() -> JSONResponse:
    """What a host's stranger is told by /session."""
    content: dict[str, Any] = session_out(Standing(mode=Mode.HOST), by_cookie=False).model_dump(mode="json")
    return JSONResponse(content, headers={"Cache-Control": "no-store"})


def session_out(standing: Standing, *, by_cookie: bool) -> Session:
    return Session(
        mode=standing.mode,
        authenticated=standing.is_known,
        name=standing.name,
        user_id=standing.user_id,
        may=list(standing.may),
        expires_at=iso_or_null(standing.expires_at),
        version=__version__,
        cookie=by_cookie,
    )
