"""Owners of schedules: what their tokens grant, and that nothing is called for them any more."""

from __future__ import annotations

import re
import time
from typing import Annotated, Final, TypeAlias

from fastapi import Path
from pydantic import AfterValidator, BaseModel, Field

from agentclock.api.auth import TheCaller
from agentclock.api.parameters import Cursor, Limit, PageNumber
from agentclock.api.schemas import Meta, meta_out
from agentclock.api.values import iso_or_null, ms_since
from agentclock.core.instants import iso_utc
from agentclock.core.owners import Owner as OwnerRow
from agentclock.ports import PageRequest
from agentclock.scheduler import Scheduler

UserId: TypeAlias = Annotated[
    str,
    Path(description="Id of the owner: the `sub` of their tokens. A slash in it is written %252F.", max_length=512),
    AfterValidator(lambda text: _SLASH.sub("/", text)),
]

#: What is left of %252F in a path: %2F itself ends there, since servers take it for the slash between two parts.
_SLASH: Final = re.compile("%2[fF]")


class Owner(BaseModel):
    """Somebody whose token was seen, or who was revoked. Times are RFC 3339."""

    user_id: str
    scopes: list[str] = Field(description="What the newest token that was seen grants.")
    issued_at: str | None = Field(description="When that token was issued; null: it does not say.")
    seen_at: str
    revoked_at: str | None = Field(description="Since when nothing is called for them; null: they are not revoked.")
    revoked_by: str | None


class OwnerList(BaseModel):
    data: list[Owner] = Field(description="In the order of their ids.")
    meta: Meta


class OwnerRoutes:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    async def list_owners(self, limit: Limit = 100, page: PageNumber = 1, cursor: Cursor = None) -> OwnerList:
        """Owners of schedules, in the order of their ids."""
        began = time.perf_counter()
        found = await self._scheduler.owners.list(PageRequest(limit=limit, page=page, cursor=cursor))
        meta = meta_out(found, page=page, limit=limit, search_time_ms=ms_since(began))
        return OwnerList(data=[owner_out(row) for row in found.items], meta=meta)

    async def revoke_owner(self, user_id: UserId, caller: TheCaller) -> Owner:
        """Have nothing called for this owner any more, whatever their tokens say: a run whose turn comes fails, and its
        schedule is disabled with it; a run that waits for a human cannot be continued. What is running goes on to its
        end, unless it is cancelled. Doing it twice changes nothing."""
        return owner_out(await self._scheduler.owners.revoke(user_id, by=caller.actor))

    async def restore_owner(self, user_id: UserId, caller: TheCaller) -> Owner:
        """Let the owner's newest token count again. Schedules that were disabled meanwhile stay so until somebody
        enables them."""
        return owner_out(await self._scheduler.owners.restore(user_id, by=caller.actor))


def owner_out(row: OwnerRow) -> Owner:
    return Owner(
        user_id=row.user_id,
        scopes=list(row.scopes),
        issued_at=iso_or_null(row.issued_at),
        seen_at=iso_utc(row.seen_at),
        revoked_at=iso_or_null(row.revoked_at),
        revoked_by=row.revoked_by,
    )
