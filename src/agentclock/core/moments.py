"""A time of day as people ask for it: what clocks in a zone show, which may be there once, twice or never."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from agentclock.core.model import SECOND, Instant
from agentclock.core.zones import Zone

_EPOCH = datetime(1970, 1, 1)
_MINUTE_MS = 60 * SECOND
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """`shown`: what clocks show, in ms since 1970 as if they showed UTC. `at`: when that is; where a clock change skips
    it (`is_skipped`), the instant of the change. `twin`: the other instant at which clocks show the same, for clocks
    that are set back; `is_second`: it came before."""

    zone: Zone
    shown: int
    at: Instant
    is_skipped: bool = False
    twin: Instant | None = None
    is_second: bool = False

    @property
    def minute(self) -> range:
        """All instants of the same minute."""
        begin = self.at - self.at % _MINUTE_MS
        return range(begin, begin + _MINUTE_MS)

    @property
    def local(self) -> str:
        """ISO 8601, with the offset if there is one."""
        if self.is_skipped:
            return (_EPOCH + timedelta(milliseconds=self.shown)).isoformat(timespec="seconds")
        return self.zone.iso(self.at // SECOND)

    @property
    def clock(self) -> str:
        return clock_of(self.shown)

    @property
    def day(self) -> str:
        return day_of(self.shown)


def moment_at(at: Instant, zone: Zone) -> Moment:
    """The moment of an instant."""
    second = at // SECOND
    offset, twin, is_second = zone.offset_at(second), None, False
    segment, change = zone.segment_at(second), zone.next_change(second)
    before = zone.offset_at(segment.start - 1)
    if before > offset and second < segment.start + before - offset:
        twin, is_second = at - (before - offset) * SECOND, True
    elif change is not None and change[2] < change[1] and second >= change[0] - (change[1] - change[2]):
        twin = at + (change[1] - change[2]) * SECOND
    return Moment(zone=zone, shown=at + offset * SECOND, at=at, twin=twin, is_second=is_second)


def moment_shown(stated: datetime, zone: Zone) -> Moment:
    """The moment at which clocks show `stated` (without an offset), the first if there are two."""
    shown = (stated - _EPOCH) // timedelta(milliseconds=1)
    at = zone.to_epoch(*stated.timetuple()[:6]) * SECOND + shown % SECOND
    found = moment_at(at, zone)
    if found.shown // _MINUTE_MS == shown // _MINUTE_MS:
        return found
    return Moment(zone=zone, shown=shown, at=at - shown % SECOND, is_skipped=True)


def clock_of(shown: int) -> str:
    """`shown`: as in `Moment`. Seconds only where there are some."""
    stated = _EPOCH + timedelta(milliseconds=shown)
    return f"{stated:%H:%M:%S}" if stated.second else f"{stated:%H:%M}"


def day_of(shown: int) -> str:
    stated = _EPOCH + timedelta(milliseconds=shown)
    return f"{stated.day} {_MONTHS[stated.month - 1]} {stated.year}"


def spoken(at: Instant, zone: Zone, beside: Instant | None = None) -> str:
    """ "03:00 on 29 March 2026"; the time alone if it is on the same day as `beside`."""
    shown = at + zone.offset_at(at // SECOND) * SECOND
    if beside is not None and day_of(beside + zone.offset_at(beside // SECOND) * SECOND) == day_of(shown):
        return clock_of(shown)
    return f"{clock_of(shown)} on {day_of(shown)}"
