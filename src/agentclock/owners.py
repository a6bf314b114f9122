"""The use cases of owners: what their tokens grant is noted as they are seen; whoever may, revokes them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import structlog

from agentclock.core.actors import Actor
from agentclock.core.errors import InvalidField, NotFound, SchemaBehind
from agentclock.core.model import SECOND, Instant
from agentclock.core.owners import Owner
from agentclock.core.storable import text_fault
from agentclock.ports import Clock, Page, PageRequest, Store
from agentclock.runs import check_page

#: A token that says nothing new is written down so often at most.
SEEN_AGAIN_SECONDS: Final = 3_600
#: So many owners are remembered; of others it is written down more often than necessary.
_REMEMBERED: Final = 10_000
#: Longer ids are nobody's.
_ID_LENGTH: Final = 512


@dataclass(frozen=True, slots=True)
class _Sight:
    """What was written down last of an owner's tokens, and when, by `Clock.monotonic`."""

    scopes: tuple[str, ...]
    issued_at: Instant | None
    noted: float


class Owners:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._sights: OrderedDict[str, _Sight] = OrderedDict()
        self._is_behind = False

    async def seen(self, user_id: str, scopes: Collection[str], issued_at: Instant | None) -> None:
        """Notes what a token grants that was found genuine. `issued_at`: its `iat`.

        Cheap for a token that says what is known; a database that lacks the table is reported once, and changes
        nothing for whoever shows the token. Raises StoreUnavailable.
        """
        granted = tuple(sorted({scope for scope in scopes if text_fault(scope) is None}))
        if self._is_known(user_id, granted, issued_at) or _fault(user_id):
            return
        try:
            await self._store.see_owner(user_id, granted, issued_at)
        except SchemaBehind as error:
            self._report(error)
            return
        self._sights[user_id] = _Sight(granted, issued_at, self._clock.monotonic())
        self._sights.move_to_end(user_id)
        if len(self._sights) > _REMEMBERED:
            self._sights.popitem(last=False)

    async def list(self, page: PageRequest | None = None) -> Page[Owner]:
        """In the order of their ids. Raises InvalidField, SchemaBehind."""
        page = page or PageRequest()
        check_page(page)
        return await self._store.owners(page)

    async def get(self, user_id: str) -> Owner:
        """Raises NotFound, SchemaBehind."""
        found = None if _fault(user_id) else await self._store.owner(user_id)
        if found is None:
            raise NotFound("Owner")
        return found

    async def revoke(self, user_id: str, *, by: Actor) -> Owner:
        """From now on nothing is called for this owner, whatever any token says: a run whose turn comes fails, and its
        schedule is disabled with it. What is running already goes on. Also of an owner who was never seen.

        Raises InvalidField, SchemaBehind.
        """
        return await self._set(user_id, by, revoked=True)

    async def restore(self, user_id: str, *, by: Actor) -> Owner:
        """The owner's newest token counts again. Schedules that were disabled stay so. Raises InvalidField,
        SchemaBehind."""
        return await self._set(user_id, by, revoked=False)

    async def _set(self, user_id: str, by: Actor, *, revoked: bool) -> Owner:
        if fault := _fault(user_id):
            raise InvalidField("user_id", fault)
        owner = await self._store.revoke_owner(user_id, revoked, by=by)
        said = "owner_revoked" if revoked else "owner_restored"
        structlog.get_logger("agentclock.owners").info(said, user_id=user_id, by=by.name, source=by.source)
        return owner

    def _is_known(self, user_id: str, scopes: tuple[str, ...], issued_at: Instant | None) -> bool:
        """Whether the token changes nothing: it is the one that was noted, or an older one, and not long ago. One that
        does not tell its age is older than one that does."""
        last = self._sights.get(user_id)
        if last is None or self._clock.monotonic() - last.noted >= SEEN_AGAIN_SECONDS:
            return False
        if last.issued_at is not None and (issued_at is None or issued_at < last.issued_at):
            return True
        return (scopes, issued_at) == (last.scopes, last.issued_at)

    def _report(self, error: SchemaBehind) -> None:
        if not self._is_behind:
            self._is_behind = True
            structlog.get_logger("agentclock.owners").warning("owners_not_noted", reason=str(error))


def issued_at_of(iat: object) -> Instant | None:
    """A token's `iat`, seconds since the epoch, as an instant; None: it says none that can be read."""
    if isinstance(iat, bool) or not isinstance(iat, int | float) or not 0 <= iat < 1e11:
        return None
    return int(iat * SECOND)


def _fault(user_id: str) -> str | None:
    if not user_id:
        return "must not be empty"
    if len(user_id) > _ID_LENGTH:
        return f"has at most {_ID_LENGTH} characters"
    return text_fault(user_id)
