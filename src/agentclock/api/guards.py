"""Who may do what on the stand-alone server: holders of a security key everything, others what their tokens say."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, TypeAlias, assert_never

from fastapi import Request

from agentclock.api.auth import SCOPES, Caller, Mode, Permission, Standing
from agentclock.api.clients import client_key
from agentclock.auth import (
    KEY_HOLDER,
    SERVICE,
    Authenticator,
    Identity,
    KeyHolder,
    Refusal,
    RefusalLog,
    Service,
    TokenClaims,
    TokenRefused,
)
from agentclock.core.errors import Forbidden, StoreUnavailable, Unauthenticated
from agentclock.core.model import Instant, Target
from agentclock.core.scopes import ADMIN, permits, scope_to_call

#: Told of every genuine token: whose it is, what it grants, when it was issued. Raises StoreUnavailable.
Seen: TypeAlias = Callable[[str, Sequence[str], Instant | None], Awaitable[None]]

_IDENTITY: Final = "agentclock.identity"
_BEARER: Final = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([\x21-\x7e]+) *")


class TokenGuard:
    """`agentos_targets`: the names of the targets that are an AgentOS. `seen`: told of tokens that are good."""

    def __init__(
        self, authenticator: Authenticator, *, agentos_targets: Collection[str], seen: Seen, log: RefusalLog
    ) -> None:
        self._authenticator = authenticator
        self._agentos_targets = frozenset(agentos_targets)
        self._seen = seen
        self._log = log

    async def admit(self, request: Request, permission: Permission) -> Caller:
        """Raises Unauthenticated, Forbidden; Unavailable while nobody can say whether a token is good."""
        identity = request.scope[_IDENTITY] = await self._identify(request)
        match identity:
            case KeyHolder():
                return Caller(name=KEY_HOLDER)
            case Service():
                _let_only_read(permission)
                return Caller(name=SERVICE)
            case TokenClaims():
                await self._note(identity, permission)
                _require(identity, *SCOPES[permission])
                owner = identity.subject
                is_admin = permits(identity.scopes, ADMIN)
                return Caller(user_id=None if is_admin else owner, owner=owner, name=owner)
        assert_never(identity)

    async def may_call(self, request: Request, target: Target) -> None:
        """Raises Forbidden."""
        identity: Identity = request.scope[_IDENTITY]
        match identity:
            case KeyHolder():
                return
            case Service():
                _let_only_read(Permission.WRITE)
            case TokenClaims():
                _require(identity, scope_to_call(target, is_agentos=target.name in self._agentos_targets))
            case _:
                assert_never(identity)

    async def could_call(self, request: Request, target: Target) -> bool:
        try:
            await self.may_call(request, target)
        except Forbidden:
            return False
        return True

    async def about(self, request: Request) -> Standing:
        """Raises Unauthenticated, Unavailable."""
        if not any(name == b"authorization" for name, _ in request.scope["headers"]):
            return Standing(mode=self._mode)
        match identity := await self._identify(request):
            case KeyHolder():
                return Standing(mode=self._mode, is_known=True, name=KEY_HOLDER, may=tuple(Permission))
            case Service():
                return Standing(mode=self._mode, is_known=True, name=SERVICE, may=(Permission.READ,))
            case TokenClaims():
                return Standing(
                    mode=self._mode,
                    is_known=True,
                    name=identity.subject,
                    user_id=identity.subject,
                    may=tuple(one for one in Permission if _has_any(identity, SCOPES[one])),
                    expires_at=identity.expires_at,
                )
        assert_never(identity)

    @property
    def _mode(self) -> Mode:
        if not self._authenticator.reads_tokens:
            return Mode.KEY
        return Mode.KEY_OR_TOKEN if self._authenticator.knows_keys else Mode.TOKEN

    async def _identify(self, request: Request) -> Identity:
        try:
            return await self._authenticator.identify(_bearer_of(request))
        except TokenRefused as error:
            source = request.client.host if request.client else None
            self._log.note(error, source=source, client=client_key(source))
            raise

    async def _note(self, claims: TokenClaims, permission: Permission) -> None:
        """A token that cannot make schedules says nothing of what they may have called. Who only reads is not kept from
        it by a database that cannot be written."""
        if not permits(claims.scopes, Permission.WRITE):
            return
        try:
            await self._seen(claims.subject, claims.scopes, claims.issued_at)
        except StoreUnavailable:
            if permission is not Permission.READ:
                raise


def _bearer_of(request: Request) -> bytes:
    """The token in the Authorization header. Nowhere else: what stands in a URL gets into logs and histories.

    Raises Unauthenticated.
    """
    given = [value for name, value in request.scope["headers"] if name == b"authorization"]
    if not given:
        raise Unauthenticated("Authentication required: send a bearer token in the Authorization header")
    found = _BEARER.fullmatch(given[0])
    if len(given) > 1 or found is None:
        raise TokenRefused(Refusal.HEADER)
    return found[1]


def _let_only_read(permission: Permission) -> None:
    if permission is not Permission.READ:
        raise Forbidden("The service token may only read")


def _require(claims: TokenClaims, *scopes: str) -> None:
    """One of `scopes` is enough."""
    if not _has_any(claims, scopes):
        raise Forbidden(f"Insufficient permissions. Required scope(s): {' or '.join(scopes)}")


def _has_any(claims: TokenClaims, scopes: Sequence[str]) -> bool:
    return any(permits(claims.scopes, scope) for scope in scopes)
