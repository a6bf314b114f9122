"""Times and durations as people write and read them. Without an offset they are of this machine's zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from agentclock.cli.client import ExitCode, Trouble
from agentclock.core.zones import Zone, ZoneError

_UNITS: Final = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AWAY: Final = re.compile(r"([+-]?)(\d{1,6})\s*(s|min|m|h|d|w)")
_DAYS: Final = {"today": 0, "yesterday": -1, "tomorrow": 1}
_TIME_OF_DAY: Final = re.compile(r"([01]?\d|2[0-3]):[0-5]\d")
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def read_moment(option: str, text: str, now: datetime | None = None) -> str:
    """RFC 3339 in UTC. `-2h` (or `2h`) is so long ago, `+2h` from now; `now`, `today` and `yesterday` are words.
    Raises Trouble."""
    now = now or datetime.now(UTC)
    words = text.strip().lower()
    if words == "now":
        return rfc3339(now)
    if words in _DAYS:
        midnight = now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        return rfc3339((midnight + timedelta(days=_DAYS[words])).astimezone())
    if found := _AWAY.fullmatch(words):
        distance = timedelta(**{_UNITS[found[3]]: int(found[2])})
        return rfc3339(now + distance if found[1] == "+" else now - distance)
    try:
        return rfc3339(datetime.fromisoformat(text.strip()).astimezone())
    except (ValueError, OverflowError):
        hint = "write 2026-03-01, 2026-03-01T03:00, 2026-03-01T03:00+01:00, yesterday, -24h or +30min"
        raise Trouble(f"{option}: {text!r} is no time: {hint}", ExitCode.USAGE) from None


def read_local(option: str, text: str, zone_name: str, now: datetime | None = None) -> str:
    """As `read_moment`, but without an offset it is a time of that zone, and left for the API to read; `03:00` is the
    last one there. Raises Trouble."""
    words = text.strip().lower()
    if _AWAY.fullmatch(words) or words == "now":
        return read_moment(option, text, now)
    if not _TIME_OF_DAY.fullmatch(words):
        return text.strip()
    there = _there(now or datetime.now(UTC), zone_name)
    days = 1 if f"{there:%H:%M}" < words.rjust(5, "0") else 0
    return f"{there.date() - timedelta(days=days)}T{words.rjust(5, '0')}"


def rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_wire(text: str | None) -> datetime | None:
    """What the API says, in this machine's zone."""
    return None if text is None else datetime.fromisoformat(text).astimezone()


def from_ms(at_ms: float) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone()


def clock(text: str | None, zone_name: str | None = None) -> str:
    """As short as it can be read: without the day if it is today's, without the year if it is this year's. In that
    zone, or in this machine's."""
    if text is None:
        return ""
    at, now = (_there(moment, zone_name) for moment in (datetime.fromisoformat(text), datetime.now(UTC)))
    if at.date() == now.date():
        return f"{at:%H:%M:%S}"
    return f"{at:%a %d %b %H:%M:%S}" if at.year == now.year else f"{at:%Y-%m-%d %H:%M:%S}"


def _there(at: datetime, zone_name: str | None) -> datetime:
    if zone_name is None:
        return at.astimezone()
    try:
        return datetime.fromisoformat(Zone.load(zone_name).iso(int(at.timestamp())))
    except ZoneError:
        return at.astimezone(UTC)


def away(text: str | None) -> str:
    """How far from now: `in 3 h`, `5 min ago`."""
    at = from_wire(text)
    if at is None:
        return ""
    seconds = (at - datetime.now(UTC)).total_seconds()
    return f"in {roughly(seconds)}" if seconds >= 0 else f"{roughly(-seconds)} ago"


def roughly(seconds: float) -> str:
    """In one unit."""
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= 2 * unit or (unit != _DAY and seconds >= 1.5 * unit):
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


def lasted(ms: float | None) -> str:
    """A duration, with three digits or so."""
    if ms is None:
        return ""
    seconds = ms / 1000
    if abs(ms) < 1_000:
        return f"{ms:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    if seconds < 100 * _MINUTE:
        return f"{seconds / _MINUTE:.1f} min"
    return f"{seconds / _HOUR:.1f} h" if seconds < 2 * _DAY else f"{seconds / _DAY:.1f} d"
