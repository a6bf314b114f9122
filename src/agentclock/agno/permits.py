"""Whether an owner may still have something run by the AgentOS that hosts us: by its own rules, at each fire."""

from __future__ import annotations

from collections.abc import Collection

from starlette.applications import Starlette

from agentclock.agno import permissions
from agentclock.auth.permits import known_owner, revocation_of
from agentclock.core.model import Claim
from agentclock.ports import Store


class AgnoPermits:
    """Implements `ports.Permits`. `own_targets`: the names of the targets that lead to `app`; whatever else may be
    called is for admins.

    agno asks for its user directory and its stored roles when a schedule's request arrives, and answers 403 each time;
    of scopes in tokens it knows nothing by then. Asked here, before, the run says why, and its schedule stops.
    """

    def __init__(self, store: Store, app: Starlette, *, own_targets: Collection[str] = ("default",)) -> None:
        self._store = store
        self._app = app
        self._own_targets = frozenset(own_targets)

    async def refusal(self, claim: Claim) -> str | None:
        """Raises Unavailable."""
        target, owner = claim.schedule.target, claim.schedule.user_id
        if owner is None:
            return None
        known = await known_owner(self._store, owner, must_exist=False)
        if known is not None and known.revoked_at is not None:
            return revocation_of(known)
        component = target.component if target.name in self._own_targets else None
        scopes = None if known is None else known.scopes
        return await permissions.owner_refusal(self._app, owner, scopes, component)
