"""Whether an owner may still have a schedule's target called: by what the owner's newest token granted."""

from __future__ import annotations

from collections.abc import Collection

from agentclock.core.errors import SchemaBehind
from agentclock.core.model import Claim, Schedule
from agentclock.core.owners import Owner
from agentclock.core.scopes import permits, scope_to_call
from agentclock.ports import Store


class OwnerPermits:
    """Implements `ports.Permits` for agentclock on its own.

    `agentos`: the names of the targets that are one. `by_scopes`: owners come with tokens, so that one who was never
    seen has nothing; otherwise owners are somebody else's, and only those who were revoked are refused.
    """

    def __init__(self, store: Store, *, agentos: Collection[str] = (), by_scopes: bool) -> None:
        self._store = store
        self._agentos = frozenset(agentos)
        self._by_scopes = by_scopes

    async def refusal(self, claim: Claim) -> str | None:
        """Raises StoreUnavailable, SchemaBehind (only if owners come with tokens)."""
        schedule = claim.schedule
        if schedule.user_id is None:
            return None
        owner = await known_owner(self._store, schedule.user_id, must_exist=self._by_scopes)
        if owner is not None and owner.revoked_at is not None:
            return revocation_of(owner)
        return self._lack(schedule, owner) if self._by_scopes else None

    def _lack(self, schedule: Schedule, owner: Owner | None) -> str | None:
        wanted = scope_to_call(schedule.target, is_agentos=schedule.target.name in self._agentos)
        if owner is None:
            return (
                f"the owner {schedule.user_id!r} is not known here: no token of theirs that may write schedules was "
                f"seen. They have to send any request with one that has the scope {wanted}, and enable the schedule "
                "again"
            )
        if permits(owner.scopes, wanted):
            return None
        return (
            f"the owner {schedule.user_id!r} may not have this target called any more: the newest token seen of theirs "
            f"lacks the scope {wanted}"
        )


async def known_owner(store: Store, user_id: str, *, must_exist: bool) -> Owner | None:
    """Without `must_exist` nobody is known to a database that has no place for owners yet: nobody was revoked there.

    Raises StoreUnavailable, and SchemaBehind if it must exist.
    """
    try:
        return await store.owner(user_id)
    except SchemaBehind:
        if must_exist:
            raise
        return None


def revocation_of(owner: Owner) -> str:
    by = f" by {owner.revoked_by}" if owner.revoked_by else ""
    return (
        f"the owner {owner.user_id!r} was revoked{by}: nothing is called for them until they are restored, and the "
        "schedule is enabled again"
    )
