"""What holds for every outside clock: which timetables can be handed over, how late a fire may come, what to note."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from agentclock.core.cron import Cron
from agentclock.core.cron_parse import Field
from agentclock.core.model import SECOND, CatchUp, Instant, Schedule
from agentclock.core.zones import Zone

_EVERY_DAY: Final = (1 << 32) - 2
_EVERY_WEEKDAY: Final = (1 << 7) - 1


class Inexpressible(ValueError):
    """The outside clock cannot keep this timetable. `field`: of the schedule or of its cron expression."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """What the outside clock is given for one schedule. `remarks`: what will be different there, for people."""

    schedule: Schedule
    content: dict[str, Any]
    remarks: tuple[str, ...] = ()


def fires_by_itself(schedule: Schedule) -> bool:
    """An outside clock beside it would make everything happen twice."""
    return schedule.enabled and has_timetable(schedule)


def has_timetable(schedule: Schedule) -> bool:
    return bool(schedule.cron_expr) or schedule.run_at is not None or schedule.interval_seconds is not None


def trigger_url(base_url: str, schedule: Schedule) -> str:
    """Answered at once: the run goes on without the caller."""
    return f"{base_url.rstrip('/')}/schedules/{schedule.id}/trigger?wait=0"


def fingerprint(schedule: Schedule) -> str:
    """Eight characters that differ between schedules, for names made from it."""
    return hashlib.sha256(schedule.id.encode()).hexdigest()[:8]


def late_seconds(schedule: Schedule) -> int:
    """How late a fire may come and still be worth a run, by the schedule's own policies."""
    if schedule.catch_up is CatchUp.NONE:
        return schedule.misfire_grace_seconds
    return max(schedule.misfire_grace_seconds, schedule.catch_up_window_seconds)


def zone_changes(schedule: Schedule, now: Instant) -> bool:
    """Whether the zone's clocks will be changed again."""
    return Zone.load(schedule.timezone).segment_at(now // SECOND).end < 1 << 50


def remarks_on_policies(schedule: Schedule) -> Iterator[str]:
    """What agentclock does for timetables of its own and cannot do for an outside clock's."""
    if schedule.jitter_seconds:
        yield f"jitter_seconds ({schedule.jitter_seconds}) is not applied: a trigger starts at once"
    if schedule.catch_up is CatchUp.ALL:
        yield "catch_up 'all' is not kept: after an outage the clock makes up for the newest fire at most"


@dataclass(frozen=True, slots=True)
class DayRule:
    """The day fields that leave days out; None: that field matches every day. With both set, a day matches `either`
    of them, or else both."""

    days: Field | None
    weekdays: Field | None
    either: bool


def day_rule(cron: Cron) -> DayRule:
    """Cron's rule on its two day fields, without its special cases."""
    _, _, days, _, weekdays = cron.fields
    any_day, any_weekday = days.bits == _EVERY_DAY, weekdays.bits == _EVERY_WEEKDAY
    either = not (days.star or weekdays.star)
    if either and (any_day or any_weekday):
        return DayRule(None, None, either)
    return DayRule(None if any_day else days, None if any_weekday else weekdays, either)


def values_of(bits: int) -> list[int]:
    return [value for value in range(bits.bit_length()) if bits >> value & 1]


def runs_of(values: list[int]) -> list[tuple[int, int]]:
    """The unbroken stretches of ascending values, as first and last."""
    runs: list[tuple[int, int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], value)
        else:
            runs.append((value, value))
    return runs
