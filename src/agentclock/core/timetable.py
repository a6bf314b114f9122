"""When a schedule is due: one interface over cron expressions, one-offs, intervals and "on demand"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from agentclock.core.cron import Cron
from agentclock.core.model import SECOND, Instant, Schedule
from agentclock.core.zones import Zone, tzdata_version


class Timetable(Protocol):
    """The nominal fire times of a schedule, strictly increasing, without regard to its bounds."""

    def next(self, after: Instant) -> Instant | None:
        """The first fire time strictly after `after`."""

    def between(self, after: Instant, until: Instant, limit: int) -> list[Instant]:
        """The first `limit` fire times in `after < t <= until`."""

    def count(self, after: Instant, until: Instant) -> int:
        """How many fire times there are in `after < t <= until`; quick however many."""


class Timed(Protocol):
    """A schedule, as far as its timetable goes."""

    @property
    def cron_expr(self) -> str | None: ...
    @property
    def run_at(self) -> Instant | None: ...
    @property
    def interval_seconds(self) -> int | None: ...
    @property
    def anchor_at(self) -> Instant | None: ...
    @property
    def timezone(self) -> str: ...
    @property
    def created_at(self) -> Instant: ...


@dataclass(frozen=True, slots=True)
class CronTimetable:
    cron: Cron
    zone: Zone

    def next(self, after: Instant) -> Instant | None:
        found = self.cron.next(after // SECOND, self.zone)
        return None if found is None else found * SECOND

    def between(self, after: Instant, until: Instant, limit: int) -> list[Instant]:
        found = self.cron.between(after // SECOND, until // SECOND, self.zone, limit)
        return [second * SECOND for second in found]

    def count(self, after: Instant, until: Instant) -> int:
        return self.cron.count(after // SECOND, until // SECOND, self.zone)


@dataclass(frozen=True, slots=True)
class OneOff:
    run_at: Instant

    def next(self, after: Instant) -> Instant | None:
        return self.run_at if self.run_at > after else None

    def between(self, after: Instant, until: Instant, limit: int) -> list[Instant]:
        return [self.run_at][:limit] if after < self.run_at <= until else []

    def count(self, after: Instant, until: Instant) -> int:
        return int(after < self.run_at <= until)


@dataclass(frozen=True, slots=True)
class Interval:
    """`anchor`, `anchor` + one period, + two periods ...; the anchor itself is a fire time."""

    period_ms: int
    anchor: Instant

    def next(self, after: Instant) -> Instant:
        periods = max(0, (after - self.anchor) // self.period_ms + 1)
        return self.anchor + periods * self.period_ms

    def between(self, after: Instant, until: Instant, limit: int) -> list[Instant]:
        first = self.next(after)
        return list(range(first, until + 1, self.period_ms)[:limit])

    def count(self, after: Instant, until: Instant) -> int:
        return len(range(self.next(after), until + 1, self.period_ms))


@dataclass(frozen=True, slots=True)
class OnDemand:
    def next(self, after: Instant) -> None:
        return None

    def between(self, after: Instant, until: Instant, limit: int) -> list[Instant]:
        return []

    def count(self, after: Instant, until: Instant) -> int:
        return 0


def timetable_of(schedule: Timed) -> Timetable:
    """Raises CronError or ZoneError if the stored expression or zone cannot be read (any more)."""
    if schedule.run_at is not None:
        return OneOff(schedule.run_at)
    if schedule.interval_seconds is not None:
        anchor = schedule.created_at if schedule.anchor_at is None else schedule.anchor_at
        return Interval(schedule.interval_seconds * SECOND, anchor)
    if schedule.cron_expr:
        return CronTimetable(Cron.parse(schedule.cron_expr), Zone.load(schedule.timezone))
    return OnDemand()


def is_due(schedule: Schedule, now: Instant) -> bool:
    return schedule.next_fire_at is not None and schedule.next_fire_at <= now


def next_fire(schedule: Schedule, after: Instant) -> Instant | None:
    """The first fire time strictly after `after`, at or after start_at, and not past end_at or max_runs.

    Never one that was fired before: a clock set back does not repeat what is accounted for already.
    """
    if schedule.max_runs is not None and schedule.run_count >= schedule.max_runs:
        return None
    if schedule.start_at is not None:
        after = max(after, schedule.start_at - 1)
    if schedule.last_fire_at is not None:
        after = max(after, schedule.last_fire_at)
    found = timetable_of(schedule).next(after)
    if found is None or (schedule.end_at is not None and found > schedule.end_at):
        return None
    return found


def rearmed(schedule: Schedule, now: Instant) -> Schedule:
    """`schedule` with its timetable in effect from `now` on: never firing in the past, nor, where the clock was set
    back, what was accounted for already. Raises CronError or ZoneError.
    """
    return replace(
        schedule,
        next_fire_at=next_fire(schedule, now) if schedule.enabled else None,
        timetable_since=now if schedule.last_fire_at is None else max(now, schedule.last_fire_at),
        zone_data_version=tzdata_version(),
    )
