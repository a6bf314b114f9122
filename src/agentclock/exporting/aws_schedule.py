"""Our timetables in the schedule expressions of AWS: ``cron(...)`` with six fields, ``rate(...)`` and ``at(...)``.

Only what AWS documents is written: weekdays by name (its 1 is Sunday), steps only to a field's end, ranges only
upwards, exactly one of the day fields a ``?``, ``L``, ``W`` and ``#`` only alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from agentclock.core.cron import Cron
from agentclock.core.cron_parse import DAY, HOUR, MINUTE, MONTH, Field, Spec
from agentclock.core.model import SECOND, Instant, Schedule
from agentclock.exporting.handover import Inexpressible, day_rule, runs_of, values_of

_WEEKDAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_UNITS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"))
#: The last day that every month has: what AWS makes of ``31W`` in a shorter month is not documented.
_IN_EVERY_MONTH: Final = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsTimes:
    """An entry's `expression`, read in `zone`, between the bounds."""

    expression: str
    zone: str
    start: str | None = None
    end: str | None = None


def aws_times(schedule: Schedule, now: Instant) -> AwsTimes:
    """Raises Inexpressible, also for what is over."""
    if schedule.max_runs is not None:
        raise Inexpressible("max_runs", "AWS cannot count fires; give the schedule an end_at instead")
    if schedule.run_at is not None:
        if schedule.run_at <= now:
            raise Inexpressible("run_at", "lies in the past")
        return AwsTimes(expression=f"at({_stamp(schedule.run_at)})", zone="UTC")
    if schedule.end_at is not None and schedule.end_at <= now:
        raise Inexpressible("end_at", "lies in the past: nothing is due any more")
    is_interval = schedule.interval_seconds is not None
    expression = aws_rate(schedule.interval_seconds or 0) if is_interval else aws_cron(Cron.parse(_cron(schedule)))
    # AWS takes no start in the past; one that has passed changes nothing.
    starts = schedule.start_at is not None and schedule.start_at > now
    return AwsTimes(
        expression=expression,
        zone=schedule.timezone,
        start=f"{_stamp(schedule.start_at)}Z" if starts and schedule.start_at is not None else None,
        end=None if schedule.end_at is None else f"{_stamp(_just_after(schedule.end_at))}Z",
    )


def aws_rate(seconds: int) -> str:
    """Raises Inexpressible."""
    for size, unit in _UNITS:
        if seconds % size == 0:
            count = seconds // size
            return f"rate({count} {unit}{'' if count == 1 else 's'})"
    raise Inexpressible("interval_seconds", f"{seconds} s are no whole minutes, and AWS counts in these")


def aws_cron(cron: Cron) -> str:
    """Raises Inexpressible."""
    minute, hour, _, month, _ = cron.fields
    rule = day_rule(cron)
    if rule.days and rule.weekdays:
        joined = "or" if rule.either else "and"
        reason = f"{rule.days.text} {joined} {rule.weekdays.text}: AWS takes only one of the two day fields"
        raise Inexpressible("day-of-month", reason + ("; make two schedules of it" if rule.either else ""))
    days, weekdays = "*", "?"
    if rule.days:
        days = _days(rule.days)
    if rule.weekdays:
        days, weekdays = "?", _weekdays(rule.weekdays)
    return f"cron({_listed(MINUTE, minute)} {_listed(HOUR, hour)} {days} {_listed(MONTH, month)} {weekdays} *)"


def _cron(schedule: Schedule) -> str:
    if not schedule.cron_expr:
        raise Inexpressible("cron_expr", "the schedule has no timetable: it is on demand")
    return schedule.cron_expr


def _listed(spec: Spec, field: Field) -> str:
    """By values alone: as a star, as a step to the field's end, or one by one."""
    values = values_of(field.bits)
    if len(values) == spec.high - spec.low + 1:
        return "*"
    step = values[1] - values[0] if len(values) > 2 else 0
    if step > 1 and values == list(range(values[0], spec.high + 1, step)):
        return f"{values[0]}/{step}"
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs_of(values))


def _days(field: Field) -> str:
    if not field.specials:
        return _listed(DAY, field)
    special = field.specials[0]
    if len(field.specials) > 1 or field.items:
        raise Inexpressible("day-of-month", f"{field.text}: AWS takes L and W only alone, not in a list")
    if special.sign == "LW":
        raise Inexpressible("day-of-month", "LW: AWS documents L and W, but not both together")
    if special.sign == "W" and special.day > _IN_EVERY_MONTH:
        raise Inexpressible("day-of-month", f"{field.text}: not every month has that day; use one up to 28W")
    return field.text


def _weekdays(field: Field) -> str:
    if not field.specials:
        runs = runs_of(values_of(field.bits))
        pairs = ((_WEEKDAYS[first], _WEEKDAYS[last]) for first, last in runs)
        return ",".join(first if first == last else f"{first}-{last}" for first, last in pairs)
    special = field.specials[0]
    if len(field.specials) > 1 or field.items:
        raise Inexpressible("day-of-week", f"{field.text}: AWS takes # and L only alone, not in a list")
    return f"{special.day + 1}L" if special.sign == "dL" else f"{special.day + 1}#{special.nth}"


def _just_after(end_at: Instant) -> Instant:
    """Half a minute past it: whether AWS still fires at the end itself is not documented, and fires come by minutes."""
    return end_at - end_at % (60 * SECOND) + 30 * SECOND


def _stamp(at: Instant) -> str:
    return datetime.fromtimestamp(at // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%S")
