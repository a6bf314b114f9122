"""Revisions of schedules, to and from the database. Shared by both stores."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from agentclock.core.actors import Actor, name_of
from agentclock.core.errors import CorruptRow
from agentclock.core.model import Instant, Schedule
from agentclock.core.revisions import Revision, RevisionKind
from agentclock.store.columns import TABLES
from agentclock.store.rows import clean_text, decode_schedule, encode_json, encode_schedule

#: Who disables a schedule that cannot be planned.
OURSELVES: Final = Actor("agentclock")


def created(schedules: Iterable[Schedule], by: Actor | None) -> list[Revision]:
    """The first revisions of new schedules, in force since their timetables are: a fire may be due before the row is
    written."""
    return [
        Revision(
            version=schedule.version,
            at=max(schedule.created_at, schedule.timetable_since),
            by=name_of(by),
            kind=RevisionKind.CREATED,
            schedule=schedule,
        )
        for schedule in schedules
    ]


def changed(before: Schedule, after: Schedule, now: Instant, by: Actor | None) -> list[Revision]:
    """What a change of a schedule is to leave. The first one counts only if the version has no revision yet."""
    made = Revision(version=after.version, at=now, by=name_of(by), kind=RevisionKind.CHANGED, schedule=after)
    return [_found(before), made]


def deleted(before: Schedule, now: Instant, by: Actor | None) -> list[Revision]:
    after = replace(before, version=before.version + 1, enabled=False, next_fire_at=None)
    made = Revision(version=after.version, at=now, by=name_of(by), kind=RevisionKind.DELETED, schedule=after)
    return [_found(before), made]


def disabled(faulty: Iterable[tuple[Schedule, str]], now: Instant) -> list[Revision]:
    """Of schedules that could not be planned, with the reasons."""
    return [
        revision
        for before, reason in faulty
        for revision in changed(
            before,
            replace(before, version=before.version + 1, enabled=False, disabled_reason=reason, updated_at=now),
            now,
            OURSELVES,
        )
    ]


def _found(schedule: Schedule) -> Revision:
    """A version that nobody noted. What it owed counts from the start of its timetable, whatever else was changed
    since. Only a schedule that was switched off may have been so later: a fault does that to a timetable which goes on
    ruling up to then."""
    at = schedule.timetable_since
    if not schedule.enabled:
        at = max(at, schedule.created_at if schedule.updated_at is None else schedule.updated_at)
    return Revision(version=schedule.version, at=at, kind=RevisionKind.FOUND, schedule=schedule)


def encode_revision(revision: Revision) -> dict[str, Any]:
    return {
        "schedule_id": clean_text(revision.schedule.id),
        "version": revision.version,
        "at": revision.at,
        "changed_by": clean_text(revision.by),
        "kind": revision.kind.value,
        "body": encode_json(encode_schedule(revision.schedule)),
    }


def decode_revision(row: Sequence[Any]) -> Revision:
    """What the body lacks, older code did not know. Raises CorruptRow."""
    schedule_id, version, at, by, kind, body = row
    try:
        values = json.loads(body)
        columns = TABLES["schedules"].items()
        schedule = decode_schedule([values.get(name, column.absent) for name, column in columns])
        return Revision(version=version, at=at, by=by, kind=RevisionKind(kind), schedule=schedule)
    except (TypeError, ValueError, AttributeError, RecursionError, CorruptRow) as error:
        raise CorruptRow("schedule_revisions", f"{schedule_id}/{version}", str(error)) from error
