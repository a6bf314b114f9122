"""Who may use our routes inside an AgentOS: whoever may use agno's own, by the same credentials and scopes.

agno's middleware knows the routes that agno itself has. It lets any valid token pass to others, so that what our
routes need is asked here, for all of them alike.
"""

from __future__ import annotations

from collections.abc import Collection

from agno.os.settings import AgnoAPISettings
from fastapi import Request

from agentclock.agno import permissions
from agentclock.api.auth import SCOPES, Caller, Mode, Permission, Standing
from agentclock.auth import KEY_HOLDER
from agentclock.core.errors import Forbidden, StoreUnavailable, Unauthenticated
from agentclock.core.model import Target
from agentclock.owners import Owners


class AgnoGuard:
    """`settings` None: all authentication is the middleware's. `own_targets`: the names of the targets that lead to
    this AgentOS; whatever else may be called is for admins, since agno's run permissions speak of this one only.
    `owners`: are told what callers' credentials grant."""

    def __init__(
        self,
        settings: AgnoAPISettings | None = None,
        *,
        own_targets: Collection[str] = ("default",),
        owners: Owners | None = None,
    ) -> None:
        self._settings = settings or AgnoAPISettings(os_security_key=None)
        self._own_targets = frozenset(own_targets)
        self._owners = owners

    async def admit(self, request: Request, permission: Permission) -> Caller:
        """Raises Unauthenticated, Forbidden."""
        await permissions.authenticate(request, self._settings)
        await self._note(request, permission)
        if permissions.is_internal(request):
            # What the executor calls must not be able to make, repoint or end schedules.
            if permission is not Permission.READ:
                raise Forbidden("The internal service token may only read schedules")
        else:
            await permissions.require_any(request, SCOPES[permission])
        confined_to, caller = permissions.scoped_user_id(request), permissions.caller_id(request)
        if permission is Permission.ADMIN and confined_to is not None and not permissions.asks_for_scopes(request):
            raise Forbidden("This is for admins only")
        return Caller(user_id=confined_to, owner=confined_to or caller, name=caller)

    async def may_call(self, request: Request, target: Target) -> None:
        """Raises Forbidden."""
        if target.name in self._own_targets and target.component is not None:
            await permissions.require_run(request, *target.component)
        else:
            await permissions.require_admin(request)

    async def could_call(self, request: Request, target: Target) -> bool:
        if target.name in self._own_targets and target.component is not None:
            return await permissions.could_run(request, *target.component)
        return permissions.is_admin(request)

    async def about(self, request: Request) -> Standing:
        """Raises Unauthenticated."""
        if not permissions.asks_for_credentials(request.app, self._settings):
            return Standing(mode=Mode.OPEN, is_known=True, may=tuple(Permission))
        try:
            await permissions.authenticate(request, self._settings)
        except Unauthenticated:
            if "authorization" in request.headers:
                raise
            return Standing(mode=Mode.HOST)
        name = permissions.caller_id(request)
        return Standing(
            mode=Mode.HOST,
            is_known=True,
            name=name or KEY_HOLDER,
            user_id=name,
            may=tuple([one for one in Permission if await self._may(request, one)]),
            expires_at=permissions.expiry_of(request),
        )

    async def _may(self, request: Request, permission: Permission) -> bool:
        if permissions.is_internal(request):
            return permission is Permission.READ
        if permissions.asks_for_scopes(request):
            return await permissions.has_any(request, SCOPES[permission])
        return permission is not Permission.ADMIN or permissions.scoped_user_id(request) is None

    async def _note(self, request: Request, permission: Permission) -> None:
        """Who only reads is not kept from it by a database that cannot be written."""
        grant = permissions.grant_of(request)
        if self._owners is None or grant is None or not grant.may_schedule:
            return
        try:
            await self._owners.seen(grant.user_id, grant.scopes, grant.issued_at)
        except StoreUnavailable:
            if permission is not Permission.READ:
                raise
