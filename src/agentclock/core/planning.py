"""From a due schedule to what happens with its fires. Pure: the store calls it inside its transaction.

Every due fire time ends in exactly one place: a run, or part of a `skipped` or `missed` record. Two questions
are asked of each, in this order: is it too late (misfire grace, catch-up policy)? Is an earlier run still
active (overlap policy)?
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from agentclock.core.ids import fire_run_id, spread_ms
from agentclock.core.model import (
    SECOND,
    CatchUp,
    Cause,
    Instant,
    Overlap,
    Reason,
    RunStatus,
    Schedule,
)
from agentclock.core.timetable import next_fire, timetable_of

#: No single catch-up runs more than this many fires; the older ones are missed.
CATCH_UP_CAP = 100

#: Due fire times looked at in one plan. A longer backlog takes several plans, so that no transaction is long.
CHUNK = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The newest row of a schedule's history, when it is a `skipped` or `missed` one that may be extended."""

    run_id: str
    status: RunStatus
    reason: Reason
    last_fire_at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the store knows of a schedule's runs at planning time.

    `active` counts pending, running and paused runs; `waiting` those among them that wait for another run to end.
    """

    active: int = 0
    waiting: int = 0
    tail: Tail | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fire:
    """A run to be made. `available_at` None: it waits until the schedule's other runs are over."""

    run_id: str
    fire_at: Instant
    cause: Cause
    available_at: Instant | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """`count` consecutive fires that make no run. `extends` names the row they are added to, if one fits."""

    run_id: str
    status: RunStatus
    reason: Reason
    cause: Cause
    fire_at: Instant
    last_fire_at: Instant
    count: int
    extends: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that one transaction writes for one schedule.

    `cancel_active` asks the store to cancel the schedule's other runs. `fault` set: the schedule cannot be
    planned; disable it with this reason and write nothing else.
    """

    schedule_id: str
    fires: tuple[Fire, ...] = ()
    absences: tuple[Absence, ...] = ()
    next_fire_at: Instant | None = None
    last_fire_at: Instant | None = None
    run_count: int = 0
    cancel_active: bool = False
    fault: str | None = None


def plan(schedule: Schedule, situation: Situation, now: Instant) -> Plan:
    """What is owed for every fire time of `schedule` up to `now`, and when it is due next.

    Raises CronError or ZoneError if the stored expression or zone cannot be read.
    """
    return _plain_plan(schedule, situation, now) or _full_plan(schedule, situation, now)


def _plain_plan(schedule: Schedule, situation: Situation, now: Instant) -> Plan | None:
    """The plan of nearly every schedule, nearly always: one fire is due, it is in time, and no other run is active.
    None if that is not so. A short cut: the full plan comes to the same."""
    fire_at = schedule.next_fire_at
    if fire_at is None or not 0 <= now - fire_at <= schedule.misfire_grace_seconds * SECOND:
        return None
    if situation.active or schedule.max_runs is not None or (schedule.last_fire_at or 0) > fire_at:
        return None
    next_fire_at = next_fire(schedule, fire_at)
    if next_fire_at is not None and next_fire_at <= now:
        return None
    fire = Fire(
        run_id=fire_run_id(schedule.id, fire_at),
        fire_at=fire_at,
        cause=Cause.SCHEDULE,
        available_at=fire_at + spread_ms(schedule.id, schedule.jitter_seconds),
    )
    return Plan(
        schedule_id=schedule.id,
        fires=(fire,),
        last_fire_at=fire_at,
        next_fire_at=next_fire_at,
        run_count=schedule.run_count + 1,
    )


def _full_plan(schedule: Schedule, situation: Situation, now: Instant) -> Plan:
    due, truncated = _due(schedule, now)
    verdicts = dict.fromkeys(due, Reason.CATCH_UP_CAP) if truncated else _misfires(schedule, due, now)
    ledger = _Ledger(schedule, situation)
    last_to_run = max((fire_at for fire_at in due if fire_at not in verdicts), default=None)
    seen = schedule.last_fire_at
    for fire_at in due:
        if schedule.max_runs is not None and ledger.run_count >= schedule.max_runs:
            break
        seen = fire_at
        reason = verdicts.get(fire_at)
        if reason is not None:
            ledger.absent(fire_at, RunStatus.MISSED, reason)
        elif schedule.overlap is Overlap.CANCEL and fire_at != last_to_run:
            ledger.absent(fire_at, RunStatus.SKIPPED, Reason.OVERLAP)
        else:
            late = now - fire_at > schedule.misfire_grace_seconds * SECOND
            ledger.fire(fire_at, Cause.CATCH_UP if late else Cause.SCHEDULE)
    next_fire_at = schedule.next_fire_at
    if due:
        # The count matters to max_runs alone; a copy of the schedule is the dearest part of a plan.
        done = schedule if schedule.max_runs is None else replace(schedule, run_count=ledger.run_count)
        next_fire_at = next_fire(done, due[-1])
    return ledger.plan(last_fire_at=seen, next_fire_at=next_fire_at)


def plan_trigger(schedule: Schedule, situation: Situation, now: Instant, run_id: str) -> Plan:
    """One manual run now, under the schedule's overlap policy; its timetable is left alone."""
    ledger = _Ledger(schedule, situation)
    ledger.fire(now, Cause.MANUAL, run_id)
    return replace(
        ledger.plan(last_fire_at=schedule.last_fire_at, next_fire_at=schedule.next_fire_at),
        run_count=schedule.run_count,
    )


def plan_forfeit(schedule: Schedule, situation: Situation, now: Instant) -> Plan:
    """Records what is due and not planned yet as missed, because the timetable is about to change.

    An edit never fires in the past, and no fire vanishes without a record either.
    """
    ledger = _Ledger(schedule, situation)
    try:
        due, _ = _due(schedule, now)
    except ValueError:
        # An unreadable timetable must be open to repair; of its fires only the stored one is known.
        ledger.absent(schedule.next_fire_at or now, RunStatus.MISSED, Reason.CHANGED)
        return ledger.plan(last_fire_at=schedule.next_fire_at, next_fire_at=None)
    for fire_at in due:
        ledger.absent(fire_at, RunStatus.MISSED, Reason.CHANGED)
    seen = due[-1] if due else schedule.last_fire_at
    next_fire_at = next_fire(replace(schedule, last_fire_at=seen), due[-1]) if due else schedule.next_fire_at
    return ledger.plan(last_fire_at=seen, next_fire_at=next_fire_at)


def _due(schedule: Schedule, now: Instant) -> tuple[list[Instant], bool]:
    """The fire times due by `now`, oldest first, and whether there are more than were looked at."""
    first = schedule.next_fire_at
    if first is None or first > now:
        return [], False
    until = now if schedule.end_at is None else min(now, schedule.end_at)
    due = [first, *timetable_of(schedule).between(first, until, CHUNK)]
    return due[:CHUNK], len(due) > CHUNK


def _misfires(schedule: Schedule, due: list[Instant], now: Instant) -> dict[Instant, Reason]:
    """The fire times that are too late to run, with the reason."""
    grace, window = schedule.misfire_grace_seconds * SECOND, schedule.catch_up_window_seconds * SECOND
    late = [fire_at for fire_at in due if now - fire_at > grace]
    recent = [fire_at for fire_at in late if now - fire_at <= window]
    verdicts = dict.fromkeys(late[: len(late) - len(recent)], Reason.OUTSIDE_WINDOW)
    match schedule.catch_up:
        case CatchUp.NONE:
            verdicts |= dict.fromkeys(recent, Reason.CATCH_UP_NONE)
        case CatchUp.LATEST:
            owed = recent[-1:] if len(late) == len(due) else []
            verdicts |= dict.fromkeys(recent[: len(recent) - len(owed)], Reason.SUPERSEDED)
        case CatchUp.ALL:
            pass
        case never:
            assert_never(never)
    runnable = [fire_at for fire_at in due if fire_at not in verdicts]
    verdicts |= dict.fromkeys(runnable[:-CATCH_UP_CAP], Reason.CATCH_UP_CAP)
    return verdicts


class _Ledger:
    """Collects a plan while it walks through the fires, counting what the plan itself makes active."""

    def __init__(self, schedule: Schedule, situation: Situation) -> None:
        self._schedule = schedule
        self._active = situation.active
        self._waiting = situation.waiting
        self._tail = situation.tail
        self._fires: list[Fire] = []
        self._absences: list[Absence] = []
        self._open: Absence | None = None
        self._cancel_active = False
        self.run_count = schedule.run_count

    def fire(self, fire_at: Instant, cause: Cause, run_id: str | None = None) -> None:
        run_id = run_id or fire_run_id(self._schedule.id, fire_at)
        overlapping = self._active > 0
        # Whoever asks for every missed fire gets them one after another, not one run and the rest skipped; a fire
        # that is on time joins the line that this plan made.
        in_line = cause is Cause.CATCH_UP or bool(self._fires)
        backlog = in_line and self._schedule.catch_up is CatchUp.ALL
        match self._schedule.overlap:
            case Overlap.ALLOW:
                waits = False
            case Overlap.SKIP | Overlap.QUEUE if backlog:
                waits = overlapping
            case Overlap.SKIP:
                if overlapping:
                    return self.absent(fire_at, RunStatus.SKIPPED, Reason.OVERLAP, cause, run_id)
                waits = False
            case Overlap.QUEUE:
                if overlapping and self._waiting:
                    return self.absent(fire_at, RunStatus.SKIPPED, Reason.QUEUE_FULL, cause, run_id)
                waits = overlapping
            case Overlap.CANCEL:
                self._cancel_active = waits = overlapping
            case never:
                assert_never(never)
        self._active += 1
        self._waiting += waits
        spread = 0 if cause is Cause.MANUAL else spread_ms(self._schedule.id, self._schedule.jitter_seconds)
        available_at = None if waits else fire_at + spread
        self._fires.append(Fire(run_id=run_id, fire_at=fire_at, cause=cause, available_at=available_at))
        self._open = self._tail = None
        self.run_count += 1
        return None

    def absent(
        self,
        fire_at: Instant,
        status: RunStatus,
        reason: Reason,
        cause: Cause = Cause.SCHEDULE,
        run_id: str | None = None,
    ) -> None:
        """Notes a fire that makes no run; consecutive ones with the same reason share one record."""
        cause = Cause.MANUAL if cause is Cause.MANUAL else Cause.SCHEDULE
        grown = self._open
        if grown is not None and cause is not Cause.MANUAL and (grown.status, grown.reason) == (status, reason):
            self._absences[-1] = self._open = replace(grown, last_fire_at=fire_at, count=grown.count + 1)
            return
        absence = Absence(
            run_id=run_id or fire_run_id(self._schedule.id, fire_at),
            status=status,
            reason=reason,
            cause=cause,
            fire_at=fire_at,
            last_fire_at=fire_at,
            count=1,
            extends=None if cause is Cause.MANUAL else self._extendable(status, reason),
        )
        self._absences.append(absence)
        self._open, self._tail = absence, None

    def _extendable(self, status: RunStatus, reason: Reason) -> str | None:
        """The newest row, if this fire may be added to it. No row reaches back past a change of the timetable,
        so that fires and rows can be compared from the change on."""
        tail = self._tail
        if tail is None or (tail.status, tail.reason) != (status, reason):
            return None
        return tail.run_id if tail.last_fire_at > self._schedule.timetable_since else None

    def plan(self, *, last_fire_at: Instant | None, next_fire_at: Instant | None) -> Plan:
        return Plan(
            schedule_id=self._schedule.id,
            fires=tuple(self._fires),
            absences=tuple(self._absences),
            last_fire_at=last_fire_at,
            next_fire_at=next_fire_at,
            run_count=self.run_count,
            cancel_active=self._cancel_active,
        )
