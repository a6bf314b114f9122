"""Who may use our routes inside an AgentOS: whoever may use agno's own, by the same credentials and scopes.

agno's middleware knows the routes that agno itself has. It lets any valid token pass to others, so that what our
routes need is asked here, for all of them alike.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from agno.os.settings import AgnoAPISettings
from fastapi import Request

from agentclock.agno import permissions
from agentclock.api.auth import Caller, Permission
from agentclock.core.errors import Forbidden
from agentclock.core.model import Target

#: Each one is enough for the permission. Who may write schedules may also end and answer their runs.
_SCOPES: Final[Mapping[Permission, tuple[str, ...]]] = {
    Permission.READ: (Permission.READ,),
    Permission.WRITE: (Permission.WRITE,),
    Permission.DELETE: (Permission.DELETE,),
    Permission.CANCEL: (Permission.CANCEL, Permission.WRITE),
    Permission.APPROVE: (Permission.APPROVE, Permission.WRITE),
}


class AgnoGuard:
    """`settings` None: all authentication is the middleware's. `own_targets`: the names of the targets that lead to
    this AgentOS; whatever else may be called is for admins, since agno's run permissions speak of this one only."""

    def __init__(self, settings: AgnoAPISettings | None = None, *, own_targets: Collection[str] = ("default",)) -> None:
        self._settings = settings or AgnoAPISettings(os_security_key=None)
        self._own_targets = frozenset(own_targets)

    async def admit(self, request: Request, permission: Permission) -> Caller:
        """Raises Unauthenticated, Forbidden."""
        await permissions.authenticate(request, self._settings)
        if permissions.is_internal(request):
            # What the executor calls must not be able to make, repoint or end schedules.
            if permission is not Permission.READ:
                raise Forbidden("The internal service token may only read schedules")
        else:
            await permissions.require_any(request, _SCOPES[permission])
        confined_to, caller = permissions.scoped_user_id(request), permissions.caller_id(request)
        return Caller(user_id=confined_to, owner=confined_to or caller, name=caller)

    async def may_call(self, request: Request, target: Target) -> None:
        """Raises Forbidden."""
        if target.name in self._own_targets and target.component is not None:
            await permissions.require_run(request, *target.component)
        else:
            await permissions.require_admin(request)
