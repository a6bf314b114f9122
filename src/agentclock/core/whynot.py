"""Why did it run at that time, or why not? From a schedule's revisions and runs to one plain sentence.

What was due the books tell, what became of it the run's row. Everything here is about one moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from agentclock.core.audit import Action, AuditEntry
from agentclock.core.books import Books, Period
from agentclock.core.cron import Cron, CronError, CronKind
from agentclock.core.model import SECOND, Attempt, Cause, Instant, Run, RunStatus, Schedule
from agentclock.core.moments import Moment, spoken
from agentclock.core.revisions import Revision, RevisionKind
from agentclock.core.timetable import CronTimetable, Interval, OneOff, timetable_of
from agentclock.core.zones import Zone, ZoneError

#: Fires of one minute that are told apart.
_MOST_IN_A_MINUTE: Final = 60
_OF_THE_TIMETABLE: Final = frozenset({Cause.SCHEDULE, Cause.CATCH_UP})


class Verdict(StrEnum):
    """What the answer comes to."""

    RAN = "ran"
    RUNNING = "running"
    WAITING = "waiting"
    SKIPPED = "skipped"
    MISSED = "missed"
    NOT_DUE = "not_due"
    DOES_NOT_EXIST = "does_not_exist"
    DISABLED = "disabled"
    NOT_YET_CREATED = "not_yet_created"
    OUTSIDE_WINDOW = "outside_window"
    MAX_RUNS = "max_runs"
    OVERDUE = "overdue"
    UNKNOWN = "unknown"
    FUTURE = "future"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that the answer rests on. `kind` is one word for programs."""

    kind: str
    text: str
    at: Instant | None = None
    by: str | None = None
    run_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Because:
    """`at`: the fire that it is about, None: there is none. `run_id`: the row that tells what became of it."""

    verdict: Verdict
    answer: str
    at: Instant | None = None
    facts: tuple[Fact, ...] = ()
    run_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """Who executes runs. `alive`: workers that are. `last_seen_at`: when the last of those that are not was.
    `holder_until`: until when the worker that holds the run has its lease, None: nobody holds it."""

    alive: int
    last_seen_at: Instant | None = None
    holder_until: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is known. `schedule`: as it is, or was when it was deleted. `revisions`, and `entries` of the audit log
    that are about the schedule: oldest first. `record`: the row that tells of the moment, with its `attempts`;
    `rival`: the run that was in its way; `others`: what else ran in that minute; `later`: what made up for it, or did
    it again. `kept_since`: older history may be deleted."""

    schedule: Schedule
    revisions: Sequence[Revision]
    entries: Sequence[AuditEntry]
    books: Books
    moment: Moment
    now: Instant
    hands: Hands
    kept_since: Instant | None = None
    record: Run | None = None
    attempts: Sequence[Attempt] = ()
    rival: Run | None = None
    others: Sequence[Run] = ()
    later: Sequence[Run] = ()

    def time(self, at: Instant) -> str:
        """As clocks of the schedule show it; with the day, unless it is that of the moment."""
        return spoken(at, self.moment.zone, self.moment.at)

    @property
    def then(self) -> str:
        """ "03:00 on 29 March 2026"."""
        return f"{self.moment.clock} on {self.moment.day}"

    @property
    def deletion(self) -> Revision | None:
        last = self.revisions[-1] if self.revisions else None
        return last if last is not None and last.kind is RevisionKind.DELETED else None


def ruling(books: Books, at: Instant) -> Period | None:
    """What said what was due at the moment; None: nothing did, or nobody knows."""
    return next((period for period in books.periods if period.after < at <= period.until), None)


def due_in(row: Schedule, moment: Moment) -> Instant | None:
    """The fire of the timetable that is meant: at the very moment, else the last before it in its minute, else the
    first. Bounds and being disabled are left out."""
    try:
        timetable = timetable_of(row)
    except (CronError, ZoneError):
        return None
    minute = moment.minute
    fires = timetable.between(minute.start - 1, minute.stop - 1, _MOST_IN_A_MINUTE)
    earlier = [fire for fire in fires if fire <= moment.at]
    return earlier[-1] if earlier else fires[0] if fires else None


def record_of(runs: Sequence[Run], due: Instant | None, moment: Moment) -> Run | None:
    """The row that tells what became of the fire. Without one: what was in no timetable, and yet there is a row."""
    rows = [run for run in runs if run.cause in _OF_THE_TIMETABLE]
    if due is not None:
        return next((run for run in rows if run.fire_at <= due <= _last(run)), None)
    return next((run for run in rows if run.fire_at in moment.minute), None)


def others_of(runs: Sequence[Run], moment: Moment) -> list[Run]:
    """What somebody had run in that minute."""
    return [run for run in runs if run.cause not in _OF_THE_TIMETABLE and run.fire_at in moment.minute]


def rival_of(runs: Sequence[Run], record: Run, due: Instant) -> Run | None:
    """The run that was active when this fire was planned."""
    at = record.created_at if record.fire_count == 1 else due

    def is_active(run: Run) -> bool:
        if run.id == record.id or run.status in (RunStatus.SKIPPED, RunStatus.MISSED):
            return False
        return run.created_at <= at and (run.completed_at is None or run.completed_at >= at)

    active = list(filter(is_active, runs))
    begun = (run for run in active if run.started_at is not None and run.started_at <= at)
    return next(begun, active[0] if active else None)


def later_of(runs: Sequence[Run], record: Run) -> list[Run]:
    """Of later runs, newest first: those that did `record` again, and the first to make up for it if it was missed."""
    again = [run for run in runs if run.trigger_note is not None and run.trigger_note.retry_of == record.id]
    made_up = [run for run in runs if run.cause is Cause.CATCH_UP and run.created_at >= record.created_at]
    return again + (made_up[-1:] if record.status is RunStatus.MISSED else [])


def near(row: Schedule, moment: Moment) -> tuple[Instant | None, Instant | None]:
    """The fires of the timetable before and after the minute, within its bounds."""
    minute = moment.minute
    try:
        timetable = timetable_of(row)
        following = timetable.next(max(minute.stop - 1, (row.start_at or 0) - 1))
        previous = _previous(row, min(minute.start, minute.start if row.end_at is None else row.end_at + 1))
    except (CronError, ZoneError):
        return None, None
    if following is not None and row.end_at is not None and following > row.end_at:
        following = None
    if previous is not None and previous < max(row.start_at or 0, 0):
        previous = None
    return previous, following


def _previous(row: Schedule, before: Instant) -> Instant | None:
    match timetable_of(row):
        case CronTimetable(cron, zone):
            found = cron.prev(-(-before // SECOND), zone)
            return None if found is None else found * SECOND
        case OneOff(run_at):
            return run_at if run_at < before else None
        case Interval(period_ms, anchor):
            periods = (before - 1 - anchor) // period_ms
            return anchor + periods * period_ms if periods >= 0 else None
        case _:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """When and by whom a schedule was switched off, and on again. None: nobody said, or it was not."""

    off_at: Instant | None
    off_by: str | None
    reason: str | None
    on_at: Instant | None = None
    on_by: str | None = None


def switch_around(evidence: Evidence) -> Switch:
    """Of a moment at which the schedule was disabled."""
    at = evidence.moment.at
    before = [one for one in evidence.revisions if one.at <= at]
    off = next(
        (
            one
            for one, earlier in zip(reversed(before), [*reversed(before[:-1]), None], strict=True)
            if not one.schedule.enabled and (earlier is None or earlier.schedule.enabled)
        ),
        None,
    )
    on = next((one for one in evidence.revisions if one.at > at and one.schedule.enabled), None)
    said = [one for one in evidence.entries if one.action is Action.DISABLED and one.at <= at]
    entry = said[-1] if said else None
    reason = entry.details.get("reason") if entry is not None and isinstance(entry.details, dict) else None
    if reason is None and off is not None:
        reason = off.schedule.disabled_reason
    return Switch(
        off_at=entry.at if entry is not None else off.at if off is not None else None,
        off_by=(entry.actor if entry is not None else None) or (off.by if off is not None else None),
        reason=str(reason) if reason else None,
        on_at=None if on is None else on.at,
        on_by=None if on is None else on.by,
    )


def is_due_as_shown(row: Schedule, moment: Moment) -> bool:
    """Whether the timetable names the time that clocks skipped, as if no clock were ever changed."""
    if not row.cron_expr or row.run_at is not None or row.interval_seconds is not None:
        return False
    try:
        cron, utc = Cron.parse(row.cron_expr), Zone.load("UTC")
    except (CronError, ZoneError):
        return False
    minute = moment.shown // SECOND // 60 * 60
    return cron.next(minute - 1, utc) == minute


def is_made_up(row: Schedule, moment: Moment) -> bool:
    """Whether a fire at a time that clocks skip comes right after the jump."""
    try:
        return Cron.parse(row.cron_expr or "").kind is CronKind.FIXED and due_in(row, moment) == moment.at
    except CronError:
        return False


def with_record(evidence: Evidence, runs: Sequence[Run], due: Instant | None) -> Evidence:
    """`evidence` with what of `runs` (those of fires up to the end of the minute, newest first) tells of it."""
    record = record_of(runs, due, evidence.moment)
    fire_at = due if due is not None else evidence.moment.at
    rival = None if record is None else rival_of(runs, record, fire_at)
    return replace(evidence, record=record, rival=rival, others=others_of(runs, evidence.moment))


def _last(run: Run) -> Instant:
    return run.fire_at if run.last_fire_at is None else run.last_fire_at
