"""Who did what, and from where."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, Field

from agentclock.api.auth import TheCaller
from agentclock.api.parameters import Cursor, Limit, PageNumber, Time, read_instant
from agentclock.api.schemas import Meta, meta_out
from agentclock.api.values import ms_since, presentable
from agentclock.core.audit import Action
from agentclock.core.audit import AuditEntry as EntryRow
from agentclock.core.instants import iso_utc
from agentclock.ports import AuditFilter, PageRequest
from agentclock.scheduler import Scheduler

Actions = Annotated[list[Action] | None, Query(max_length=32, description="Repeat it for several.")]
ScheduleOnly = Annotated[str | None, Query(max_length=64, description="Only what was done to this schedule.")]
RunOnly = Annotated[str | None, Query(max_length=64, description="Only what was done to this run.")]


class AuditEntry(BaseModel):
    """One thing that somebody did. Entries are never changed."""

    id: str
    at: str = Field(description="RFC 3339, UTC.")
    action: Action
    actor: str | None = Field(description="Who did it: a user, a key, a part of agentclock; null: nobody said.")
    source: str | None = Field(description="Where the request came from: an address, or `cli`; null: from within.")
    user_id: str | None = Field(description="The owner of what it is about.")
    schedule_id: str | None
    schedule_name: str | None = Field(description="As it was called then.")
    run_id: str | None = Field(description="`id` of the run.")
    details: Any = Field(description="What the action alone does not tell, such as the fields that were changed.")


class AuditList(BaseModel):
    data: list[AuditEntry]
    meta: Meta


class AuditRoutes:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    async def list_audit_entries(
        self,
        caller: TheCaller,
        actor: Annotated[str | None, Query(max_length=255, description="Who did it.")] = None,
        action: Actions = None,
        schedule_id: ScheduleOnly = None,
        run_id: RunOnly = None,
        since: Time = None,
        until: Time = None,
        limit: Limit = 100,
        page: PageNumber = 1,
        cursor: Cursor = None,
    ) -> AuditList:
        """Who created, changed, triggered, cancelled or answered what, newest first; since <= time < until. Callers
        who see their own schedules only see what was done to those."""
        began = time.perf_counter()
        where = AuditFilter(
            user_id=caller.user_id,
            actor=actor,
            actions=tuple(action or ()),
            schedule_id=schedule_id,
            run_id=run_id,
            since=read_instant("since", since),
            until=read_instant("until", until),
        )
        found = await self._scheduler.audit.entries(where, PageRequest(limit=limit, page=page, cursor=cursor))
        meta = meta_out(found, page=page, limit=limit, search_time_ms=ms_since(began))
        return AuditList(data=[_entry_out(row) for row in found.items], meta=meta)


def _entry_out(row: EntryRow) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        at=iso_utc(row.at),
        action=row.action,
        actor=row.actor,
        source=row.source,
        user_id=row.user_id,
        schedule_id=row.schedule_id,
        schedule_name=row.schedule_name,
        run_id=row.run_id,
        details=presentable(row.details),
    )
