"""From a due schedule to what happens with its fires. Pure: the store calls it inside its transaction.

Every due fire time ends in exactly one place: a run, or part of a `skipped` or `missed` record. Two questions
are asked of each, in this order: is it too late (misfire grace, catch-up policy)? Is an earlier run still
active (overlap policy)?
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
    TriggerNote,
)
from agentclock.core.timetable import next_fire, timetable_of

#: Due fire times recorded in one plan. A longer backlog takes several plans, so that no transaction is long.
CHUNK = 20_000

#: No schedule's `catch_up_limit` is greater.
MOST_CAUGHT_UP = 1_000

#: Of fires that are late within their grace, so many run after one outage: the newest.
MOST_IN_TIME = 1_000

#: The newest fires of a backlog, which may have to run, are in one plan, all of them.
_NEWEST = MOST_CAUGHT_UP + MOST_IN_TIME

#: Nobody notices a fire in the very millisecond: within a second it is never late, whatever the grace.
_LEAST_GRACE_MS = SECOND


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
    """A run to be made. `available_at` None: it waits until the schedule's other runs are over. `note`: what its
    trigger said of it."""

    run_id: str
    fire_at: Instant
    cause: Cause
    available_at: Instant | None
    note: TriggerNote | None = None


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
    note: TriggerNote | None = None


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
    if fire_at is None or not 0 <= now - fire_at <= _grace_ms(schedule):
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
    ledger = _Ledger(schedule, situation, now)
    verdict = _judge(schedule, _Due([]) if ledger.is_exhausted else _due(schedule, now), now)
    seen = schedule.last_fire_at
    for fires, reason in verdict.missed:
        ledger.absent(fires, RunStatus.MISSED, reason)
        seen = fires[-1]
    owed = [*verdict.late, *verdict.in_time]
    # A newer one would cancel it at once. Who asks for all of them gets them in line, where none is in the way.
    is_replaced = schedule.overlap is Overlap.CANCEL and schedule.catch_up is not CatchUp.ALL
    for place, fire_at in enumerate(owed):
        if ledger.is_exhausted:
            break
        seen = fire_at
        if is_replaced and fire_at != owed[-1]:
            ledger.absent([fire_at], RunStatus.SKIPPED, Reason.OVERLAP)
        else:
            ledger.fire(fire_at, Cause.CATCH_UP if place < len(verdict.late) else Cause.SCHEDULE)
    next_fire_at = schedule.next_fire_at
    if next_fire_at is not None and next_fire_at <= now:
        # The count matters to max_runs alone; a copy of the schedule is the dearest part of a plan.
        done = schedule if schedule.max_runs is None else replace(schedule, run_count=ledger.run_count)
        next_fire_at = next_fire(done, next_fire_at if seen is None else seen)
    return ledger.plan(last_fire_at=seen, next_fire_at=next_fire_at)


def plan_trigger(
    schedule: Schedule,
    situation: Situation,
    now: Instant,
    run_id: str,
    *,
    fire_at: Instant | None = None,
    note: TriggerNote | None = None,
) -> Plan:
    """One manual run now, under the schedule's overlap policy; its timetable is left alone.

    `fire_at`: the occurrence that it is for, if that is not now. The run starts now all the same, and its id, which
    places it in history, tells when it was asked for.
    """
    ledger = _Ledger(schedule, situation, now)
    ledger.fire(now if fire_at is None else fire_at, Cause.MANUAL, run_id)
    made = ledger.plan(last_fire_at=schedule.last_fire_at, next_fire_at=schedule.next_fire_at)
    return replace(
        made,
        fires=tuple(replace(fire, note=note) for fire in made.fires),
        absences=tuple(replace(absence, note=note) for absence in made.absences),
        run_count=schedule.run_count,
    )


def plan_forfeit(schedule: Schedule, situation: Situation, now: Instant) -> Plan:
    """Records what is due and not planned yet as missed, because the timetable is about to change.

    An edit never fires in the past, and no fire vanishes without a record either.
    """
    ledger = _Ledger(schedule, situation, now)
    try:
        due = _due(schedule, now).fires
    except ValueError:
        # An unreadable timetable must be open to repair; of its fires only the stored one is known.
        ledger.absent([schedule.next_fire_at or now], RunStatus.MISSED, Reason.CHANGED)
        return ledger.plan(last_fire_at=schedule.next_fire_at, next_fire_at=None)
    if not due:
        return ledger.plan(last_fire_at=schedule.last_fire_at, next_fire_at=schedule.next_fire_at)
    if ledger.is_exhausted:
        due = due[:1]  # somebody asked for it; of the timetable nothing is left
    ledger.absent(due, RunStatus.MISSED, Reason.CHANGED)
    return ledger.plan(last_fire_at=due[-1], next_fire_at=next_fire(schedule, due[-1]))


def _grace_ms(schedule: Schedule) -> int:
    return max(schedule.misfire_grace_seconds * SECOND, _LEAST_GRACE_MS)


@dataclass(frozen=True, slots=True)
class _Due:
    """Fires that are due, oldest first. `is_cut`: the newest `_NEWEST` of all that are due are not among them."""

    fires: list[Instant]
    is_cut: bool = False


def _due(schedule: Schedule, now: Instant) -> _Due:
    """What is due by `now`; of a long backlog, the oldest."""
    first = schedule.next_fire_at
    if first is None or first > now:
        return _Due([])
    until = now if schedule.end_at is None else min(now, schedule.end_at)
    most = CHUNK + _NEWEST
    # A first one that somebody asked for may come before all others.
    after = first if schedule.start_at is None else max(first, schedule.start_at - 1)
    due = [first, *timetable_of(schedule).between(after, until, most)]
    return _Due(due) if len(due) <= most else _Due(due[:CHUNK], is_cut=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    """What the catch-up policy makes of due fires, oldest first: `missed` ones, in stretches of one reason, then the
    `late` ones that run nevertheless, then those `in_time`."""

    missed: list[tuple[list[Instant], Reason]]
    late: list[Instant] = field(default_factory=list)
    in_time: list[Instant] = field(default_factory=list)


def _judge(schedule: Schedule, due: _Due, now: Instant) -> _Verdict:
    fires = due.fires
    in_time = bisect_left(fires, now - _grace_ms(schedule))
    if fires[in_time : in_time + 1] == [now - _grace_ms(schedule)] and in_time + 1 < len(fires):
        # At the very end of its grace, and a newer one is due: no two are in time where they are a grace apart.
        in_time += 1
    recent = min(in_time, bisect_left(fires, now - schedule.catch_up_window_seconds * SECOND))
    match schedule.catch_up:
        case CatchUp.NONE:
            owed, reason = 0, Reason.CATCH_UP_NONE
        case CatchUp.LATEST:
            owed, reason = int(in_time == len(fires)), Reason.SUPERSEDED
        case CatchUp.ALL:
            owed, reason = min(schedule.catch_up_limit, MOST_CAUGHT_UP), Reason.CATCH_UP_CAP
        case never:
            assert_never(never)
    runs_from = max(recent, in_time - owed)
    if due.is_cut:
        runs_from = len(fires)
    elif len(fires) - in_time > MOST_IN_TIME:
        runs_from = len(fires) - MOST_IN_TIME
    stretches = [
        (fires[:recent], Reason.OUTSIDE_WINDOW),
        (fires[recent : min(in_time, runs_from)], reason),
        (fires[in_time:runs_from], Reason.CATCH_UP_CAP),
    ]
    missed = [stretch for stretch in stretches if stretch[0]]
    if due.is_cut:
        # Another plan follows, and what slips out of the window until then begins another row. So this one either
        # goes far beyond the place where the reason changes or ends there.
        while len(missed) > 1 and len(missed[-1][0]) < CHUNK // 2:
            missed.pop()
        return _Verdict(missed=missed)
    return _Verdict(missed=missed, late=fires[runs_from:in_time], in_time=fires[max(runs_from, in_time) :])


class _Ledger:
    """Collects a plan while it walks through the fires, counting what the plan itself makes active."""

    def __init__(self, schedule: Schedule, situation: Situation, now: Instant) -> None:
        self._schedule = schedule
        self._now = now
        self._active = situation.active
        self._waiting = situation.waiting
        self._tail = situation.tail
        self._fires: list[Fire] = []
        self._absences: list[Absence] = []
        self._open: Absence | None = None
        self._cancel_active = False
        self.run_count = schedule.run_count

    @property
    def is_exhausted(self) -> bool:
        """Whether no fire is left: nothing that is due counts any more."""
        return self._schedule.max_runs is not None and self.run_count >= self._schedule.max_runs

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
                    return self.absent([fire_at], RunStatus.SKIPPED, Reason.OVERLAP, cause, run_id)
                waits = False
            case Overlap.QUEUE:
                if overlapping and self._waiting:
                    return self.absent([fire_at], RunStatus.SKIPPED, Reason.QUEUE_FULL, cause, run_id)
                waits = overlapping
            case Overlap.CANCEL:
                waits = overlapping
                if not self._fires:  # what this plan makes itself is not in its own way
                    self._cancel_active = overlapping
            case never:
                assert_never(never)
        available_at = None if waits else self._start_of(fire_at, cause)
        self._active += 1
        self._waiting += waits
        self._fires.append(Fire(run_id=run_id, fire_at=fire_at, cause=cause, available_at=available_at))
        self._open = self._tail = None
        self.run_count += 1
        return None

    def _start_of(self, fire_at: Instant, cause: Cause) -> Instant:
        """When the run may start. What is caught up is spread from now on, since its own time is long past: schedules
        that missed the same instants must not all start at once, nor all the fires of one."""
        if cause is Cause.MANUAL:
            return self._now
        spread = spread_ms(self._schedule.id, self._schedule.jitter_seconds)
        if cause is not Cause.CATCH_UP:
            return fire_at + spread
        return self._now + spread + len(self._fires) * self._schedule.catch_up_stagger_seconds * SECOND

    def absent(
        self,
        fires: Sequence[Instant],
        status: RunStatus,
        reason: Reason,
        cause: Cause = Cause.SCHEDULE,
        run_id: str | None = None,
    ) -> None:
        """Notes consecutive fires that make no run; those with the same reason share one record."""
        cause = Cause.MANUAL if cause is Cause.MANUAL else Cause.SCHEDULE
        grown = self._open
        if grown is not None and cause is not Cause.MANUAL and (grown.status, grown.reason) == (status, reason):
            self._open = replace(grown, last_fire_at=fires[-1], count=grown.count + len(fires))
            self._absences[-1] = self._open
            return
        absence = Absence(
            run_id=run_id or fire_run_id(self._schedule.id, fires[0]),
            status=status,
            reason=reason,
            cause=cause,
            fire_at=fires[0],
            last_fire_at=fires[-1],
            count=len(fires),
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
