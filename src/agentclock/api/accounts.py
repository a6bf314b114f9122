"""A schedule's accounts and revisions: is every fire accounted for, who changed what when."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Query
from pydantic import BaseModel, Field

from agentclock.api.auth import TheCaller
from agentclock.api.parameters import Limit, ScheduleId, read_instant
from agentclock.api.schemas import schedule_fields
from agentclock.core.accounting import Account, Statement
from agentclock.core.books import Period as BookPeriod
from agentclock.core.instants import iso_utc
from agentclock.core.model import Instant
from agentclock.core.revisions import Revision as RevisionRow
from agentclock.core.revisions import RevisionKind
from agentclock.scheduler import Scheduler
from agentclock.timing import describe

#: What changes by itself, or follows from other fields.
_DERIVED: Final = frozenset(
    {
        *("id", "version", "created_at", "updated_at", "next_run_at", "next_fire_at"),
        *("target_type", "target_id", "retries_lost"),
    }
)


class Tally(BaseModel):
    """Fires that were due, and what became of them: due = runs + skipped + missed."""

    from_at: str = Field(serialization_alias="from", description="The first instant that counts.")
    until: str = Field(description="The first instant that does not.")
    due: int
    runs: int
    skipped: int
    missed: int
    balanced: bool = Field(description="Whether due = runs + skipped + missed.")


class Period(Tally):
    """A stretch of time in which one timetable ruled."""

    timetable: str = Field(examples=["At 07:00, Monday to Friday, Europe/Berlin"])
    cron_expr: str | None
    run_at: str | None
    interval_seconds: int | None
    timezone: str
    enabled: bool
    since: str = Field(description="When the revision was written that it began with.")
    by: str | None = Field(description="Who wrote it; null: nobody said.")
    zone_data_version: str | None


class Unknown(BaseModel):
    """A stretch of which nobody knows what was due; neither fires nor runs in it are counted."""

    from_at: str = Field(serialization_alias="from")
    until: str
    why: str


class Accounting(Tally):
    """A schedule's accounts."""

    schedule_id: str
    trouble: str | None = Field(description="What is certainly wrong; null: nothing.")
    accounted_until: str = Field(description="Everything that was due before is planned.")
    overdue_ms: int = Field(description="For how long a fire has been due that is not planned.")
    periods: list[Period] = Field(description="Oldest first.")
    unknown: list[Unknown]
    notes: list[str]


class Revision(BaseModel):
    """A version of a schedule, and what changed with it."""

    version: int
    at: str
    by: str | None = Field(description="Who wrote it; null: nobody said.")
    kind: RevisionKind
    compared_with: int | None = Field(description="The version before it on record; null: none.")
    changes: dict[str, dict[str, Any]] = Field(
        description="What differs from that version, by field.",
        examples=[{"timezone": {"from": "UTC", "to": "Asia/Tokyo"}}],
    )


class RevisionList(BaseModel):
    data: list[Revision] = Field(description="Newest first.")
    next_before_version: int | None = Field(description="Send it as before_version; null: these are the last.")


class AccountRoutes:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    async def get_schedule_accounting(
        self,
        schedule_id: ScheduleId,
        caller: TheCaller,
        since: Annotated[
            str | None,
            Query(alias="from", max_length=64, description="Fire time, ISO 8601 or epoch seconds. Default: the first."),
        ] = None,
        until: Annotated[
            str | None,
            Query(alias="to", max_length=64, description="The first fire time that does not count. Default: now."),
        ] = None,
    ) -> Accounting:
        """Every fire that was due, against what became of it: due = runs + skipped + missed, for any range of time,
        across changes of the schedule. Manual and backfill runs are not counted."""
        first, last = read_instant("from", since), read_instant("to", until)
        found = await self._scheduler.accounts.statement(schedule_id, first, last, user_id=caller.user_id)
        return accounting_out(found)

    async def list_schedule_revisions(
        self,
        schedule_id: ScheduleId,
        caller: TheCaller,
        limit: Limit = 100,
        before_version: Annotated[int | None, Query(ge=1, description="Only older ones.")] = None,
    ) -> RevisionList:
        """What the schedule was, version by version, newest first: who changed what when. Of a deleted one, too."""
        rows = await self._scheduler.accounts.revisions(schedule_id, user_id=caller.user_id)
        older = [row for row in rows if before_version is None or row.version < before_version]
        shown = older[:limit]
        neighbours = [*older[1 : len(shown) + 1], None][: len(shown)]
        return RevisionList(
            data=[revision_out(row, before) for row, before in zip(shown, neighbours, strict=True)],
            next_before_version=shown[-1].version if len(older) > len(shown) else None,
        )


def accounting_out(found: Statement) -> Accounting:
    return Accounting(
        schedule_id=found.books.schedule.id,
        **_range(found.after, found.until),
        due=found.due,
        runs=found.runs,
        skipped=found.skipped,
        missed=found.missed,
        balanced=found.is_balanced,
        trouble=found.trouble,
        accounted_until=iso_utc(found.books.known_until + 1),
        overdue_ms=found.books.overdue_ms,
        periods=[_period_out(account) for account in found.accounts],
        unknown=[Unknown(**_range(gap.after, gap.until), why=gap.why) for gap in found.unknown],
        notes=list(found.notes),
    )


def timetable_text(period: BookPeriod) -> str:
    """In English; "Disabled" where nothing was due by itself."""
    row = period.schedule
    if not row.enabled:
        return f"Disabled: {row.disabled_reason}" if row.disabled_reason else "Disabled"
    return describe(row, period.began_at).explanation or row.cron_expr or ""


def _period_out(account: Account) -> Period:
    period = account.section.periods[0]
    fields = schedule_fields(period.schedule)
    return Period(
        **_range(account.section.after, account.section.until),
        due=account.due,
        runs=account.runs,
        skipped=account.skipped,
        missed=account.missed,
        balanced=account.is_balanced,
        timetable=timetable_text(period),
        since=iso_utc(period.began_at),
        by=period.by,
        zone_data_version=period.schedule.zone_data_version,
        **{name: fields[name] for name in ("cron_expr", "run_at", "interval_seconds", "timezone", "enabled")},
    )


def _range(after: Instant, until: Instant) -> dict[str, Any]:
    return {"from_at": iso_utc(after + 1), "until": iso_utc(until + 1)}


def revision_out(row: RevisionRow, before: RevisionRow | None) -> Revision:
    """`before`: the next older one on record."""
    now, then = schedule_fields(row.schedule), {} if before is None else schedule_fields(before.schedule)
    changes = {
        name: {"from": then.get(name), "to": value}
        for name, value in now.items()
        if name not in _DERIVED and value != then.get(name)
    }
    return Revision(
        version=row.version,
        at=iso_utc(row.at),
        by=row.by,
        kind=row.kind,
        compared_with=None if before is None else before.version,
        changes=changes,
    )
