"""`next_run_at` as other software writes it. Here a schedule's timetable decides; two things are left of such a time.

One that has come asks for a run: the schedule is due at that moment, beside its timetable, for whoever comes first
(`due_now`). Until somebody does, a change may take that back (`unless_taken_back`).

One to come is what a poller that is not ours means to go by. It is shown to such pollers and rules what they may claim,
for as long as no engine of ours works (`ToldTimes`). Our engine knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from agentclock.core.model import SECOND, Instant, Schedule
from agentclock.core.timetable import next_fire, timetable_of
from agentclock.core.zones import tzdata_version
from agentclock.ports import ChangeFunction
from agentclock.timing import unless_owed

#: Schedules whose told time is remembered.
_REMEMBERED: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """`beside`: our own next fire when it was told. Once that is another one, this is out of date."""

    at: Instant
    beside: Instant | None


class ToldTimes:
    """Kept by the process that was told: any other, and this one after a restart, goes by the timetable."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}

    def note(self, schedule: Schedule, at: Instant) -> None:
        self.forget(schedule.id)
        next_fire_at = schedule.next_fire_at
        if schedule.enabled and (next_fire_at is None or at // SECOND != next_fire_at // SECOND):
            self._told[schedule.id] = _Told(at=at, beside=next_fire_at)
        if len(self._told) > _REMEMBERED:
            del self._told[next(iter(self._told))]

    def of(self, schedule: Schedule) -> Instant | None:
        told = self._told.get(schedule.id)
        holds = told is not None and schedule.enabled and told.beside == schedule.next_fire_at
        return told.at if told is not None and holds else None

    def come(self, now: Instant) -> list[str]:
        """The schedules whose time was told as one that has come."""
        return [schedule_id for schedule_id, told in self._told.items() if told.at <= now]

    def waiting(self, now: Instant) -> int:
        """How many were told to wait longer, at most."""
        return sum(told.at > now for told in self._told.values())

    def forget(self, schedule_id: str) -> None:
        self._told.pop(schedule_id, None)

    def forget_all(self) -> None:
        self._told.clear()

    def holds_back(self, schedule: Schedule, now: Instant) -> bool:
        told = self.of(schedule)
        return told is not None and told > now


def due_now(schedule: Schedule, now: Instant) -> Schedule:
    """Due at this moment, as if by its timetable, which counts anew from here."""
    at = now if schedule.last_fire_at is None else max(now, schedule.last_fire_at + 1)
    if schedule.next_fire_at is not None and schedule.next_fire_at <= at:
        return schedule
    return replace(schedule, next_fire_at=at, timetable_since=at)


def unless_taken_back(note: Callable[[Instant], None], change: ChangeFunction) -> ChangeFunction:
    """As `unless_owed`, but a change may take back a run that was asked for: no fire of the timetable is missed by
    that. `note` hears of it."""

    def guarded(schedule: Schedule, now: Instant) -> Schedule:
        asked_at = schedule.next_fire_at
        if asked_at is None or not _is_beside_timetable(schedule, asked_at):
            return unless_owed(change)(schedule, now)
        changed = change(schedule, now)
        if changed.next_fire_at == asked_at:
            return changed
        without = replace(schedule, next_fire_at=next_fire(schedule, asked_at))
        changed = unless_owed(change)(without, now)
        note(asked_at)
        return changed

    return guarded


def _is_beside_timetable(schedule: Schedule, at: Instant) -> bool:
    """Whether `at` is certainly no fire time. With other zone data than it was computed with, nothing is certain."""
    if schedule.zone_data_version != tzdata_version():
        return False
    try:
        return timetable_of(schedule).next(at - 1) != at
    except ValueError:
        return False
