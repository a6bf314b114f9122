"""agno's rules on who may do what, asked of the very functions that agno's own routes ask.

All that agentclock needs of agno's authorization stands here: a release of agno that moves one of these functions
breaks this module and no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import NoReturn

from agno.db.schemas.scheduler import INTERNAL_SCHEDULER_USER_ID
from agno.os.auth import (
    _authorization_context,
    _provider_for,
    acheck_resource_access,
    get_authentication_dependency,
    security,
)
from agno.os.authz.audit import arecord_decision
from agno.os.middleware.user_scope import caller_is_admin, get_scoped_user_id
from agno.os.settings import AgnoAPISettings
from fastapi import HTTPException, Request

from agentclock.core.errors import Forbidden, Unauthenticated
from agentclock.core.model import TargetType


async def authenticate(request: Request, settings: AgnoAPISettings) -> None:
    """Whether the caller is let in at all. AgentOS's middleware has mostly decided that before. Raises
    Unauthenticated, Forbidden."""
    with _in_our_words():
        await get_authentication_dependency(settings)(request, await security(request))


def is_internal(request: Request) -> bool:
    """Whether the credential is the token by which this AgentOS calls itself."""
    state = request.state
    return getattr(state, "is_internal_service", False) or getattr(state, "user_id", None) == INTERNAL_SCHEDULER_USER_ID


def caller_id(request: Request) -> str | None:
    """Who the caller is, None if nobody in particular (no authentication, or the security key)."""
    return getattr(request.state, "user_id", None) or None


def scoped_user_id(request: Request) -> str | None:
    """The owner to whose rows the caller is confined, None: not confined. Raises Forbidden."""
    with _in_our_words():
        return get_scoped_user_id(request)


async def require_any(request: Request, scopes: Sequence[str]) -> None:
    """One of `scopes` is enough; where AgentOS asks for no scopes, so do we not. Raises Forbidden."""
    if not _asks_for_scopes(request):
        return
    provider, context = _provider_for(request), _authorization_context(request)
    for scope in scopes:
        if await provider.aauthorize_route(context, [scope]):
            return
    await _deny(request, scopes, f"Insufficient permissions. Required scope(s): {' or '.join(scopes)}")


async def require_run(request: Request, component: TargetType, component_id: str) -> None:
    """The permission to run this agent, team or workflow. Raises Forbidden."""
    kind = f"{component}s"
    if _asks_for_scopes(request) and not await acheck_resource_access(request, component_id, kind, "run"):
        await _deny(request, [f"{kind}:run"], f"Insufficient permissions. Required scope(s): {kind}:run")


async def require_admin(request: Request) -> None:
    """Raises Forbidden."""
    if _asks_for_scopes(request) and not caller_is_admin(request):
        await _deny(request, ["agent_os:admin"], "Only admins can schedule an endpoint that is not a run endpoint")


def _asks_for_scopes(request: Request) -> bool:
    return bool(getattr(request.state, "authorization_enabled", False))


async def _deny(request: Request, scopes: Sequence[str], message: str) -> NoReturn:
    """Refuses, and leaves a trace in agno's audit log as its own routes do."""
    await arecord_decision(
        request,
        allowed=False,
        target=f"{request.method} {request.url.path}",
        principal=caller_id(request),
        required_scopes=list(scopes),
        scopes=list(getattr(request.state, "scopes", None) or []),
        claims=getattr(request.state, "claims", None),
        reason="schedule_access_denied",
    )
    raise Forbidden(message)


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except HTTPException as error:
        match error.status_code:
            case HTTPStatus.UNAUTHORIZED:
                raise Unauthenticated(str(error.detail)) from None
            case HTTPStatus.FORBIDDEN:
                raise Forbidden(str(error.detail)) from None
        raise
