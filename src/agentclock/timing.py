"""What the timing fields mean: reading them, putting them in place, and saying in English when a schedule fires."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from agentclock.core.cron import Cron, CronError
from agentclock.core.errors import InvalidField
from agentclock.core.instants import iso_utc
from agentclock.core.model import SECOND, Instant, Run, Schedule
from agentclock.core.timetable import is_due, next_fire, rearmed
from agentclock.core.zones import Zone, ZoneError
from agentclock.ports import ChangeFunction

_KINDS: Final = ("cron_expr", "run_at", "interval_seconds")
_BOUNDS: Final = ("start_at", "end_at", "max_runs")
_TIMING: Final = frozenset((*_KINDS, *_BOUNDS, "timezone"))

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: The first instant that is too far: the calendar of the standard library ends in the year 9999.
_TOO_LATE: Final = (datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
#: Numbers from here on (the year 5138 in seconds) are taken for milliseconds.
_MILLISECONDS_FROM: Final = 100_000_000_000


def parse_instant(field: str, text: str, zone: Zone) -> Instant:
    """An ISO 8601 time, with an offset or local to `zone`. A local time that a clock change skips means right
    after the jump, one that comes twice its first occurrence. Raises InvalidField.
    """
    try:
        stated = datetime.fromisoformat(text.strip())
        if stated.tzinfo is None:
            at = zone.to_epoch(*stated.timetuple()[:6]) * SECOND + stated.microsecond // 1000
        else:
            at = (stated - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        example = "2026-03-29T02:30:00+01:00, or without the offset for a time in the zone"
        raise InvalidField(field, f"is not an ISO 8601 time: write it like {example}") from None
    if not 0 <= at < _TOO_LATE:
        raise InvalidField(field, "must lie in the years 1970 to 9998")
    return at


def read_time(field: str, text: str) -> Instant:
    """An ISO 8601 time (UTC without an offset), or epoch seconds; from the year 5138 on, milliseconds.

    Raises InvalidField.
    """
    if not (text.isascii() and text.isdecimal()):
        return parse_instant(field, text, Zone.load("UTC"))
    number = int(text)
    at = number if number >= _MILLISECONDS_FROM else number * SECOND
    if at >= _TOO_LATE:
        raise InvalidField(field, "must lie in the years 1970 to 9998")
    return at


def load_zone(name: str) -> Zone:
    """Raises InvalidField with near matches."""
    try:
        return Zone.load(name)
    except ZoneError as error:
        raise InvalidField("timezone", str(error)) from None


def parse_cron(text: str) -> Cron:
    """Raises InvalidField with the cron field, the reason and the position in the text as context."""
    try:
        return Cron.parse(text)
    except CronError as error:
        message = f"{error.field}: {error.reason}"
        context = {"field": error.field, "reason": error.reason, "position": error.position}
        raise InvalidField("cron_expr", message, **context) from None


def retimed(schedule: Schedule, values: Mapping[str, Any], now: Instant) -> Schedule:
    """`schedule` with the timing fields among `values` (wire names) in place of its own.

    Where that changes the timetable, it takes effect `now`: the next fire is computed from then, never in the
    past. Raises InvalidField for what cannot be read, contradicts itself or leaves nothing to fire.
    """
    if not _TIMING & values.keys():
        return schedule
    zone = load_zone(values.get("timezone", schedule.timezone))
    timed = replace(schedule, timezone=zone.name, **_read_kind(values, zone), **_read_bounds(values, zone))
    if timed == schedule:
        return schedule
    timed = replace(timed, anchor_at=_anchor(timed, schedule, now))
    _check_future(timed, values, now)
    return rearmed(timed, now)


class FiresOwed(Exception):
    """The timetable cannot change before the fires that are due by the old one are on record."""


class Missed:
    """Collects fires that a change of their timetable makes vanish, from transactions that may be tried again."""

    def __init__(self) -> None:
        self._runs: dict[str, tuple[Schedule, Run]] = {}

    def note(self, schedule: Schedule, run: Run) -> None:
        """`schedule` as it is without them, `run` their record."""
        self._runs[run.id] = schedule, run

    def tell(self, told: Callable[[Schedule, Run], None]) -> None:
        for schedule, run in self._runs.values():
            told(schedule, run)


def unless_owed(change: ChangeFunction) -> ChangeFunction:
    """The same change, which raises FiresOwed where it would make due fires vanish without a record."""

    def guarded(schedule: Schedule, now: Instant) -> Schedule:
        changed = change(schedule, now)
        if is_due(schedule, now) and changed.next_fire_at != schedule.next_fire_at:
            raise FiresOwed
        return changed

    return guarded


def _read_kind(values: Mapping[str, Any], zone: Zone) -> dict[str, Any]:
    """The one kind of timetable that was given replaces the others; an empty cron expression replaces all."""
    given = [kind for kind in _KINDS if values.get(kind) not in (None, "")]
    if len(given) > 1:
        raise InvalidField(given[1], f"only one of {', '.join(_KINDS)} may be set, not {' and '.join(given)}")
    if not given and values.get("cron_expr") != "":
        return {kind: None for kind in _KINDS if kind in values}
    read: dict[str, Any] = dict.fromkeys(_KINDS)
    for kind in given:
        value = values[kind]
        if kind == "cron_expr":
            parse_cron(value)
        read[kind] = parse_instant(kind, value, zone) if kind == "run_at" else value
    return read


def _read_bounds(values: Mapping[str, Any], zone: Zone) -> dict[str, Any]:
    given = {bound: values[bound] for bound in _BOUNDS if bound in values}
    return {
        bound: parse_instant(bound, value, zone) if isinstance(value, str) else value for bound, value in given.items()
    }


def _anchor(timed: Schedule, before: Schedule, now: Instant) -> Instant | None:
    """Where an interval counts from: start_at, else the moment it was set, cut to the second."""
    if timed.interval_seconds is None:
        return None
    if (timed.interval_seconds, timed.start_at) == (before.interval_seconds, before.start_at):
        return before.anchor_at
    return now // SECOND * SECOND if timed.start_at is None else timed.start_at


def _check_future(timed: Schedule, values: Mapping[str, Any], now: Instant) -> None:
    start_at, end_at, run_at = timed.start_at, timed.end_at, timed.run_at
    if values.get("run_at") is not None and run_at is not None and run_at <= now:
        raise InvalidField("run_at", f"lies in the past: {iso_utc(run_at)}, and now it is {iso_utc(now)}")
    if start_at is not None and end_at is not None and end_at < start_at:
        raise InvalidField("end_at", f"lies before start_at: {iso_utc(end_at)} < {iso_utc(start_at)}")
    if values.get("end_at") is not None and end_at is not None and end_at <= now:
        raise InvalidField("end_at", f"lies in the past: {iso_utc(end_at)}, and now it is {iso_utc(now)}")
    if timed.cron_expr:
        parse_cron(timed.cron_expr)
    if is_on_demand(timed) or next_fire(timed, now) is not None:
        return
    if timed.max_runs is not None and timed.run_count >= timed.max_runs:
        raise InvalidField("max_runs", f"nothing is left to fire: it fired {timed.run_count} times already")
    kind = next(kind for kind in _KINDS if getattr(timed, kind))
    field = "end_at" if end_at is not None else "start_at" if start_at is not None else kind
    within = " within start_at and end_at" if field != kind else ""
    raise InvalidField(field, f"nothing is left to fire: {kind} has no fire time after {iso_utc(now)}{within}")


def is_on_demand(schedule: Schedule) -> bool:
    """Whether only `trigger` makes it run."""
    return not schedule.cron_expr and schedule.run_at is None and schedule.interval_seconds is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """When a schedule fires, in English, and what may surprise its author. No explanation: it cannot be read."""

    explanation: str | None
    warnings: tuple[str, ...] = ()


def explain(schedule: Schedule) -> str | None:
    """When it fires, in English; None: the timetable cannot be read (any more)."""
    try:
        zone = Zone.load(schedule.timezone)
        cron = Cron.parse(schedule.cron_expr or "")
    except (CronError, ZoneError):
        return None
    if is_on_demand(schedule):
        return cron.explain()
    return f"{_times(schedule, cron, zone)}, {zone.name}{_limits(schedule, zone)}"


def describe(schedule: Schedule, now: Instant) -> Description:
    """Never raises: a stored timetable that cannot be read (any more) is itself what to warn of."""
    try:
        zone = Zone.load(schedule.timezone)
        cron = Cron.parse(schedule.cron_expr or "")
    except (CronError, ZoneError) as error:
        return Description(explanation=None, warnings=(str(error),))
    if is_on_demand(schedule):
        bounds = [bound for bound in _BOUNDS if getattr(schedule, bound) is not None]
        useless = (f"without a timetable these have no effect: {', '.join(bounds)}",) if bounds else ()
        return Description(explanation=explain(schedule), warnings=useless)
    return Description(explanation=explain(schedule), warnings=tuple(cron.warnings(zone, now // SECOND)))


def _times(schedule: Schedule, cron: Cron, zone: Zone) -> str:
    if schedule.run_at is not None:
        return f"Once, at {_local(schedule.run_at, zone)}"
    if schedule.interval_seconds is not None:
        anchor = schedule.created_at if schedule.anchor_at is None else schedule.anchor_at
        return f"{_every(schedule.interval_seconds)}, counted from {_local(anchor, zone)}"
    return cron.explain()


def _every(seconds: int) -> str:
    for unit, size in (("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds % size == 0:
            count = seconds // size
            return f"Every {unit}" if count == 1 else f"Every {count} {unit}s"
    raise AssertionError("every number of seconds divides by one")


def _limits(schedule: Schedule, zone: Zone) -> str:
    parts = []
    if schedule.start_at is not None and schedule.interval_seconds is None:
        parts.append(f", from {_local(schedule.start_at, zone)}")
    if schedule.end_at is not None:
        parts.append(f", until {_local(schedule.end_at, zone)}")
    if schedule.max_runs is not None:
        parts.append(f", at most {schedule.max_runs} times" if schedule.max_runs > 1 else ", at most once")
    return "".join(parts)


def _local(at: Instant, zone: Zone) -> str:
    return zone.iso(at // SECOND)[:19].replace("T", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """One fire time. `local` is ISO 8601 with the offset; `note` tells what a clock change has to do with it."""

    at: Instant
    local: str
    offset: str
    note: str | None


def occurrences(schedule: Schedule, now: Instant, count: int) -> list[Occurrence]:
    """The next fires, at most `count`, as the engine would fire them.

    Raises CronError or ZoneError if the stored expression or zone cannot be read (any more).
    """
    zone = Zone.load(schedule.timezone)
    if schedule.max_runs is not None:
        count = min(count, schedule.max_runs - schedule.run_count)
    found: list[Occurrence] = []
    at = next_fire(schedule, now)
    while at is not None and len(found) < count:
        local = zone.iso(at // SECOND)
        found.append(Occurrence(at=at, local=local, offset=local[19:], note=_note(at // SECOND, zone)))
        at = next_fire(schedule, at)
    return found


def _note(at: int, zone: Zone) -> str | None:
    segment = zone.segment_at(at)
    before, change = zone.offset_at(segment.start - 1), zone.next_change(at)
    if at == segment.start and before < segment.offset:
        return "clocks go forward at this moment: a set time that they skip runs now"
    if before > segment.offset and at < segment.start + before - segment.offset:
        return "clocks went back: this local time comes the second time"
    if change is not None and change[2] < change[1] and at >= change[0] - (change[1] - change[2]):
        return "clocks will go back: this local time comes the first time"
    return None
