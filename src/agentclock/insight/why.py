"""Gathers what is needed to tell why a schedule ran at a time, or why not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from agentclock.accounts import MOST_REVISIONS, kept_since_of
from agentclock.core.audit import Action, AuditEntry
from agentclock.core.books import open_books
from agentclock.core.errors import NotFound, SchemaBehind
from agentclock.core.model import Cause, Instant, Run, Schedule
from agentclock.core.moments import Moment, moment_at, moment_shown
from agentclock.core.revisions import Revision, RevisionKind
from agentclock.core.storable import text_fault
from agentclock.core.whynot import Because, Evidence, Hands, due_in, later_of, near, ruling, with_record
from agentclock.core.whynot_reasons import explain
from agentclock.core.zones import Zone, ZoneError
from agentclock.ports import AuditFilter, PageRequest, RunFilter, Store
from agentclock.timing import parse_instant

#: Rows of the schedule's history that are looked at, from the moment on backwards.
LOOKED_AT: Final = 200
_LOST_PLUS: Final = re.compile(r"(T[0-9:.]+) ([0-9]{2}:?[0-9]{2})$")
_ACTIONS: Final = (Action.DISABLED, Action.ENABLED, Action.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """`near`: the fires of the timetable before and after the moment."""

    schedule: Schedule
    moment: Moment
    because: Because
    before: Instant | None
    after: Instant | None


async def why(store: Store, schedule_id: str, at: str | None, *, user_id: str | None, history_days: int | None) -> Why:
    """Raises NotFound, InvalidField, CorruptRow."""
    schedule, revisions = await _find(store, schedule_id, user_id)
    now = await store.now()
    moment = _moment(schedule, at, now)
    books = open_books(schedule, revisions, now)
    period = ruling(books, moment.at)
    row = schedule if period is None else period.schedule
    evidence = Evidence(
        schedule=schedule,
        revisions=sorted(revisions, key=lambda one: one.version),
        entries=await _entries(store, schedule_id),
        books=books,
        moment=moment,
        now=now,
        hands=Hands(alive=0),
        kept_since=kept_since_of(history_days, now),
    )
    runs = await store.list_runs(
        RunFilter(schedule_id=schedule_id, until=moment.minute.stop), PageRequest(limit=LOOKED_AT)
    )
    evidence = with_record(evidence, runs.items, due_in(row, moment))
    if (record := evidence.record) is not None:
        later = RunFilter(schedule_id=schedule_id, causes=(Cause.MANUAL, Cause.CATCH_UP), since=record.fire_at)
        found = await store.list_runs(later, PageRequest(limit=LOOKED_AT))
        evidence = replace(evidence, attempts=await store.attempts(record.id), later=later_of(found.items, record))
    evidence = replace(evidence, hands=await _hands(store, record, now))
    before, after = near(row, moment)
    return Why(schedule=schedule, moment=moment, because=explain(evidence), before=before, after=after)


async def _find(store: Store, schedule_id: str, user_id: str | None) -> tuple[Schedule, list[Revision]]:
    """The schedule, also one that was deleted, with its revisions. Raises NotFound, CorruptRow."""
    if text_fault(schedule_id):
        raise NotFound("Schedule")
    schedule = await store.get_schedule(schedule_id, user_id)
    revisions: list[Revision] = []
    with suppress(SchemaBehind):
        revisions = await store.revisions(schedule_id, MOST_REVISIONS)
    if schedule is not None:
        return schedule, revisions
    last = revisions[0] if revisions else None
    if last is None or last.kind is not RevisionKind.DELETED or user_id not in (None, last.schedule.user_id):
        raise NotFound("Schedule")
    return last.schedule, revisions


def _moment(schedule: Schedule, at: str | None, now: Instant) -> Moment:
    """Raises InvalidField."""
    try:
        zone = Zone.load(schedule.timezone)
    except ZoneError:
        zone = Zone.load("UTC")  # the answer will be that the timetable cannot be read
    if at is None:
        return moment_at(_of_interest(schedule, now), zone)
    # In a URL "+" means a blank, unless somebody has written it as %2B.
    at = _LOST_PLUS.sub(r"\1+\2", at.strip())
    instant = parse_instant("at", at, zone)
    stated = datetime.fromisoformat(at)
    return moment_shown(stated, zone) if stated.tzinfo is None else moment_at(instant, zone)


def _of_interest(schedule: Schedule, now: Instant) -> Instant:
    """What is due and not planned yet; else the latest fire; else the next."""
    ahead, past = schedule.next_fire_at, schedule.last_fire_at
    if ahead is not None and (ahead <= now or past is None):
        return ahead
    return now if past is None else past


async def _entries(store: Store, schedule_id: str) -> Sequence[AuditEntry]:
    where = AuditFilter(schedule_id=schedule_id, actions=_ACTIONS)
    try:
        found = await store.audit(where, PageRequest(limit=LOOKED_AT))
    except SchemaBehind:
        return ()
    return tuple(reversed(found.items))


async def _hands(store: Store, record: Run | None, now: Instant) -> Hands:
    rows = await store.workers()
    gone = [row.lease_until for row in rows if row.lease_until <= now]
    holder = next((row for row in rows if record is not None and row.info.id == record.worker_id), None)
    return Hands(
        alive=sum(row.lease_until > now for row in rows),
        last_seen_at=max(gone, default=None),
        holder_until=None if holder is None else holder.lease_until,
    )
