"""agno's rules on who may do what, asked of the very functions that agno's own routes ask.

All that agentclock needs of agno's authorization stands here: a release of agno that moves one of these functions
breaks this module and no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final, NoReturn

import structlog
from agno.db.schemas.scheduler import INTERNAL_SCHEDULER_USER_ID
from agno.db.schemas.service_accounts import SERVICE_ACCOUNT_PRINCIPAL_PREFIX
from agno.os.auth import (
    _authorization_context,
    _default_authorization_provider,
    _provider_for,
    acheck_resource_access,
    get_authentication_dependency,
    get_effective_auth_mode,
    resolve_authorization_provider,
    security,
    token_scopes_are_authoritative,
)
from agno.os.authz.audit import arecord_decision
from agno.os.authz.engine import normalize_roles_claim
from agno.os.authz.provider import AuthorizationContext
from agno.os.middleware.jwt import AuthMiddleware
from agno.os.middleware.user_scope import caller_is_admin, get_scoped_user_id
from agno.os.settings import AgnoAPISettings
from agno.registry._reserved import RESERVED_MEMBER_IDS
from agno.run.authorization import RunAuthorization, current_authorization
from fastapi import HTTPException, Request
from starlette.applications import Starlette

from agentclock.core.errors import Conflict, Forbidden, Unauthenticated, Unavailable
from agentclock.core.model import SECOND, Instant, Target, TargetType
from agentclock.core.scopes import permits
from agentclock.owners import issued_at_of

#: Stands before a role that a token claims, among the scopes that are noted of its owner.
_ROLE: Final = "agno_role:"
#: The last second of the year 9999.
_LATEST_SECOND: Final = 253_402_300_799


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What somebody's token, or their agent's tool, was found to bring along. `authority`: agno's own form of it, of a
    tool's caller."""

    user_id: str
    scopes: tuple[str, ...]
    issued_at: Instant | None
    authority: RunAuthorization | None = None

    @property
    def may_schedule(self) -> bool:
        """Whether schedules can be made with it: a token that only reads says nothing of what they may have called.
        What roles allow is known elsewhere."""
        return any(scope.startswith(_ROLE) for scope in self.scopes) or permits(self.scopes, "schedules:write")


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


def expiry_of(request: Request) -> Instant | None:
    """Until when the caller's token is good, None: it does not say, or there is none."""
    expires = (getattr(request.state, "claims", None) or {}).get("exp")
    if isinstance(expires, bool) or not isinstance(expires, int | float) or not 0 <= expires <= _LATEST_SECOND:
        return None
    return int(expires * SECOND)


def scoped_user_id(request: Request) -> str | None:
    """The owner to whose rows the caller is confined, None: not confined. Raises Forbidden."""
    with _in_our_words():
        return get_scoped_user_id(request)


async def require_any(request: Request, scopes: Sequence[str]) -> None:
    """One of `scopes` is enough; where AgentOS asks for no scopes, so do we not. Raises Forbidden."""
    if not asks_for_scopes(request):
        return
    if not await has_any(request, scopes):
        await _deny(request, scopes, f"Insufficient permissions. Required scope(s): {' or '.join(scopes)}")


async def has_any(request: Request, scopes: Sequence[str]) -> bool:
    """Whether the caller has one of `scopes`, where AgentOS asks for such."""
    provider, context = _provider_for(request), _authorization_context(request)
    for scope in scopes:
        if await provider.aauthorize_route(context, [scope]):
            return True
    return False


async def require_run(request: Request, component: TargetType, component_id: str) -> None:
    """The permission to run this agent, team or workflow. Raises Forbidden, Conflict."""
    if component_id in RESERVED_MEMBER_IDS:
        raise Conflict("Manager specialists are internal. Schedule OS Manager instead.")
    if not await could_run(request, component, component_id):
        scope = f"{component}s:run"
        await _deny(request, [scope], f"Insufficient permissions. Required scope(s): {scope}")


async def could_run(request: Request, component: TargetType, component_id: str) -> bool:
    return not asks_for_scopes(request) or await acheck_resource_access(request, component_id, f"{component}s", "run")


async def require_admin(request: Request) -> None:
    """Raises Forbidden."""
    if not is_admin(request):
        await _deny(request, ["agent_os:admin"], "Only admins can schedule an endpoint that is not a run endpoint")


def is_admin(request: Request) -> bool:
    """Whether the caller may do everything; also where AgentOS asks for no scopes."""
    return not asks_for_scopes(request) or caller_is_admin(request)


def grant_of(request: Request) -> Grant | None:
    """What the caller may, as far as the credential tells; None: it is nobody's in particular."""
    state, user_id = request.state, caller_id(request)
    if user_id is None or is_internal(request) or not getattr(state, "authenticated", False):
        return None
    claims = getattr(state, "claims", None) or {}
    return _grant(_provider_for(request), user_id, getattr(state, "scopes", None), claims)


def grant_here() -> Grant | None:
    """What the caller may in whose name agno executes a tool around us; to be asked in the caller's own context.

    None: nobody's, as in a run that a schedule started, or where AgentOS does not ask for scopes.
    """
    authority = current_authorization()
    context = None if authority is None else getattr(authority, "context", None)
    if context is None or not context.principal_id:
        return None
    provider = getattr(authority, "provider", None)
    return replace(_grant(provider, context.principal_id, context.scopes, context.claims or {}), authority=authority)


async def require_target(grant: Grant, target: Target) -> None:
    """As agno's own schedule tools ask it, of every caller. Raises Forbidden."""
    if grant.authority is not None and (lack := await _lack(grant.authority, target.component)):
        raise Forbidden(f"{grant.user_id} may not have this scheduled: {lack}")


def asks_for_credentials(app: Starlette, settings: AgnoAPISettings | None) -> bool:
    """Whether an AgentOS lets in nobody without a token or key."""
    if get_effective_auth_mode(settings or AgnoAPISettings(), app=app) != "none":
        return True
    return any(options.get("security_key") for options in _auth_layers(app))


async def owner_refusal(
    app: Starlette, owner: str, scopes: Sequence[str] | None, component: tuple[TargetType, str] | None
) -> str | None:
    """Why AgentOS would not let `owner` run `component` (None: something that only admins may) now; None: it would.

    `scopes`: what the owner's newest token granted, None if none was seen. What AgentOS keeps itself (directory, roles)
    is asked of it. Where only the token counts and none was seen, the decision that was made when the schedule was
    created stands, as it does in agno. Raises Unavailable.
    """
    if await _is_disabled(app, owner):
        return f"the owner {owner!r} is disabled in the user directory of this AgentOS"
    is_account = owner.startswith(SERVICE_ACCOUNT_PRINCIPAL_PREFIX)
    if not is_account and not any(map(_enforces_scopes, _auth_layers(app))):
        return None
    provider = _default_authorization_provider() if is_account else resolve_authorization_provider(app)
    roles_claim = _roles_claim(provider)
    if scopes is None and (is_account or roles_claim or token_scopes_are_authoritative(app)):
        return None
    roles = [scope.removeprefix(_ROLE) for scope in scopes or () if scope.startswith(_ROLE)]
    context = AuthorizationContext(
        principal_id=owner,
        scopes=[scope for scope in scopes or () if not scope.startswith(_ROLE)],
        claims={roles_claim: roles} if roles_claim and roles else {},
        admin_scope=_admin_scope(app),
    )
    lack = await _lack(RunAuthorization(provider, context, is_account), component)
    return None if lack is None else f"the owner {owner!r} may not have this called any more: {lack}"


async def _lack(authority: RunAuthorization, component: tuple[TargetType, str] | None) -> str | None:
    """What is missing to run `component`, None: nothing. Raises Unavailable."""
    try:
        if component is None:
            await authority.arequire("agent_os", "admin")
        else:
            await authority.arequire(f"{component[0]}s", "run", component[1])
    except PermissionError as error:
        return str(error)
    except Exception as error:
        # An outage of whoever decides is no decision.
        raise Unavailable(f"AgentOS cannot decide: {type(error).__name__}") from error
    return None


async def _is_disabled(app: Starlette, owner: str) -> bool:
    """Raises Unavailable if the directory does not answer and its owner wants that to count as a no."""
    directory = getattr(app.state, "user_store", None)
    if directory is None:
        return False
    try:
        return bool(await directory.ais_disabled(owner))
    except Exception as error:
        if getattr(app.state, "user_directory_fail_closed", False):
            raise Unavailable("the user directory of this AgentOS does not answer") from error
        structlog.get_logger("agentclock.agno").warning("user_directory_silent", error=type(error).__name__)
        return False


def _grant(provider: object, user_id: str, scopes: Any, claims: dict[str, Any]) -> Grant:
    roles = normalize_roles_claim(claims, _roles_claim(provider)) or ()
    granted = [scope for scope in scopes or () if isinstance(scope, str) and not scope.startswith(_ROLE)]
    granted += [f"{_ROLE}{role}" for role in roles if isinstance(role, str)]
    return Grant(user_id=user_id, scopes=tuple(granted), issued_at=issued_at_of(claims.get("iat")))


def _roles_claim(provider: object) -> str | None:
    """The claim of a token whose roles decide, None: none does."""
    planes = [provider, *(getattr(provider, "providers", None) or ())]
    return next((claim for plane in planes if (claim := getattr(plane, "_roles_claim", None))), None)


def _auth_layers(app: Starlette) -> list[dict[str, Any]]:
    """How agno's authentication was put into the app."""
    return [
        dict(layer.kwargs)
        for layer in app.user_middleware
        if isinstance(layer.cls, type) and issubclass(layer.cls, AuthMiddleware)
    ]


def _enforces_scopes(options: dict[str, Any]) -> bool:
    told = options.get("authorization")
    return bool(told) or (told is None and options.get("scope_mappings") is not None)


def _admin_scope(app: Starlette) -> str | None:
    named = [options["admin_scope"] for options in _auth_layers(app) if options.get("admin_scope")]
    return named[0] if named else getattr(app.state, "admin_scope", None)


def asks_for_scopes(request: Request) -> bool:
    """Whether what the caller may is decided by scopes, or by whatever AgentOS has in their place."""
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
