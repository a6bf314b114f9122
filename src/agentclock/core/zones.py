"""Time zones: from IANA's data, with its version, to UTC offsets.

Why not ``zoneinfo``: it prefers the operating system's data even when that is older than the ``tzdata``
package's, cannot tell its version, and has no "when does the offset change next". An outdated table fires
schedules an hour wrong.

``core`` does no I/O, with one exception, here: the zone tables are static data that belongs to this
package's dependencies, like a constant that is too large to be written out. `_sources`, `_names` and
`_read_zone` read them, through ``importlib.resources`` and ``pathlib``, once per process; all else is arithmetic.

Instants are epoch seconds (UTC), offsets are seconds east of UTC.
"""

import re
import zoneinfo
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from difflib import get_close_matches
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

from agentclock.core.tzif import YearRule, ZoneHistory, parse_tzif

_EVER = 1 << 60
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_SUMMARY = "tzdata.zi"
_NOT_A_PLACE = frozenset({"factory", "localtime", "posixrules"})

# Rule years are computed in pages of 2**30 seconds, about 34 years, to the end of the calendar.
_PAGE_BITS = 30
_LAST_DAY = date.max.toordinal()

# Debian cron's limits, in minutes: up to 5 counts as having overslept, beyond 180 as a new clock.
_OVERSLEPT = 5
_CATCH_UP = 180


class ZoneError(ValueError):
    """There is no such time zone. The message names it and what may have been meant."""


class Segment(NamedTuple):
    """A time span ``start <= t < end`` of one UTC offset.

    ``wildcard_from`` and ``fixed_from`` are the local minutes (since 1970) at which cron jobs of each kind
    go on after the clock change at ``start``: earlier than the clock shows where a gap is made up,
    later where an overlap is not repeated. A minute that the clock skipped belongs to ``start`` itself.
    """

    start: int
    end: int
    offset: int
    wildcard_from: int
    fixed_from: int


class LocalTime(NamedTuple):
    """What a wall clock and calendar show."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int


@dataclass(frozen=True, slots=True)
class Zone:
    """An IANA time zone. Two loads of one name and data version are equal."""

    name: str
    data_version: str
    _segments: tuple[Segment, ...] = field(repr=False, compare=False)
    _starts: tuple[int, ...] = field(repr=False, compare=False)
    _rule: YearRule | None = field(repr=False, compare=False)

    @classmethod
    def load(cls, name: str) -> "Zone":
        """The zone of an IANA name in any case; `name` of the result is spelt as IANA does.

        Raises ZoneError.
        """
        return _load(name)

    def segment_at(self, at: int) -> Segment:
        """The span of constant offset that contains the instant."""
        last = self._segments[-1]
        if at >= last.end and self._rule is not None:
            starts, segments = _rule_page(self._rule, at >> _PAGE_BITS)
            return segments[bisect_right(starts, at) - 1]
        return self._segments[bisect_right(self._starts, at) - 1]

    def offset_at(self, at: int) -> int:
        """Seconds east of UTC."""
        return self.segment_at(at).offset

    def next_change(self, after: int) -> tuple[int, int, int] | None:
        """The first clock change strictly after the instant: (instant, offset before, offset after)."""
        segment = self.segment_at(after)
        if segment.end >= _EVER:
            return None
        return segment.end, segment.offset, self.offset_at(segment.end)

    def local(self, at: int) -> LocalTime:
        """What clocks in the zone show at the instant (years 1 to 9999)."""
        day, second = divmod(at + self.offset_at(at), 86_400)
        shown = date.fromordinal(day + _EPOCH_DAY)
        hour, second = divmod(second, 3600)
        return LocalTime(shown.year, shown.month, shown.day, hour, *divmod(second, 60))

    def to_epoch(self, year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> int:
        """The instant at which clocks show this time.

        A time that occurs twice means its first occurrence; one that a clock change skips means the
        instant right after the jump. Raises ValueError if there is no such date or time of day.
        """
        if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 60):
            raise ValueError(f"no such time of day: {hour:02}:{minute:02}:{second:02}")
        days = date(year, month, day).toordinal() - _EPOCH_DAY
        shown = days * 86_400 + hour * 3600 + minute * 60 + second
        # No offset reaches 26 hours, so the span wanted is this one or a later one.
        segment = self.segment_at(shown - 26 * 3600)
        while shown - segment.offset >= segment.end:
            segment = self.segment_at(segment.end)
        return max(segment.start, shown - segment.offset)

    def iso(self, at: int) -> str:
        """ISO 8601 with the offset, as in ``2026-03-29T03:00:00+02:00``."""
        offset = self.offset_at(at)
        sign = "-" if offset < 0 else "+"
        hours, seconds = divmod(abs(offset), 3600)
        tail = f":{seconds % 60:02}" if seconds % 60 else ""
        shown = self.local(at)
        return (
            f"{shown.year:04}-{shown.month:02}-{shown.day:02}"
            f"T{shown.hour:02}:{shown.minute:02}:{shown.second:02}"
            f"{sign}{hours:02}:{seconds // 60:02}{tail}"
        )


def tzdata_version() -> str:
    """The IANA version of the data in use, such as ``2026f``: the newer of package and system."""
    return _sources()[0].version


def available() -> list[str]:
    """All zone names, sorted."""
    return sorted(_names(0).values())


@lru_cache(maxsize=2048)
def _load(name: str) -> Zone:
    for index, source in enumerate(_sources()):
        spelt = _names(index).get(name.lower())
        data = _read_zone(source.root, spelt) if spelt else None
        if spelt and data is not None:
            return _build(spelt, source.version, parse_tzif(data))
    hint = _near_names(name)
    raise ZoneError(f"unknown time zone {name!r}" + (f": did you mean {hint}?" if hint else ""))


def _near_names(name: str) -> str:
    """Up to three names like the one given: same city first, then similar spelling."""
    known = _names(0)
    wanted = name.strip().lower().replace(" ", "_")
    city = wanted.rpartition("/")[2]
    same_city = [low for low in known if low.rpartition("/")[2] == city]
    cities = {low.rpartition("/")[2]: low for low in known if "/" in low}
    similar = get_close_matches(wanted, known, n=3, cutoff=0.75)
    similar += [cities[low] for low in get_close_matches(city, cities, n=2, cutoff=0.8)]
    return " or ".join([known[low] for low in dict.fromkeys(same_city + similar)][:3])


def _build(name: str, version: str, history: ZoneHistory) -> Zone:
    spans = [(-_EVER, history.first_offset), *history.changes]
    end = _EVER
    if history.rule is not None:
        year = _year_of(history.rule_from)
        changes = sorted(change for y in range(year - 1, year + 3) for change in history.rule.changes(y))
        end = next(at for at, offset in changes if at > history.rule_from and offset != spans[-1][1])
    segments = tuple(_link(spans, end))
    return Zone(name, version, segments, tuple(segment.start for segment in segments), history.rule)


def _link(spans: list[tuple[int, int]], end: int) -> Iterator[Segment]:
    """Spans, given by (start, offset), as segments that know how cron jobs cross their starts."""
    shown = reached = -_EVER
    ends = [*(start for start, _ in spans[1:]), end]
    for (start, offset), until in zip(spans, ends, strict=True):
        wildcard_from, fixed_from = _resume(shown, reached, (start + offset) // 60)
        yield Segment(start, until, offset, wildcard_from, fixed_from)
        shown = (until - 1 + offset) // 60
        reached = max(shown, fixed_from - 1)


def _resume(shown: int, reached: int, current: int) -> tuple[int, int]:
    """Where wildcard and fixed-time jobs go on when the clock changes to the local minute `current`.

    `shown` is the minute the clock showed just before, `reached` the latest minute whose fixed-time jobs
    have run. The rules are those of Debian cron's main loop, which compares the clock with a virtual one:
    a little ahead, run all that was missed; ahead by up to three hours, run the missed fixed-time jobs;
    behind by less than three hours, hold fixed-time jobs until the virtual time is reached again;
    anything else is a new clock and makes nothing up.
    """
    ahead = current - reached
    if 0 < ahead <= _OVERSLEPT:
        return reached + 1, reached + 1
    if 0 < ahead <= _CATCH_UP:
        return current, reached + 1
    if -_CATCH_UP < ahead <= 0:
        # A change by seconds may stay within the minute, whose jobs have run.
        return current + (current == shown), reached + 1
    return current, current


@lru_cache(maxsize=4096)
def _rule_page(rule: YearRule, page: int) -> tuple[tuple[int, ...], tuple[Segment, ...]]:
    """Starts and segments that cover the page's 2**30 seconds and a little more; the last change of the calendar's
    last year is for ever."""
    first, last = _year_of(page << _PAGE_BITS), _year_of((page + 1) << _PAGE_BITS)
    years = range(first - 1, min(last + 1, date.max.year) + 1)
    spans = sorted(change for year in years for change in rule.changes(year))
    segments = tuple(_link(spans, _EVER) if last == date.max.year else _link(spans[:-1], spans[-1][0]))
    return tuple(segment.start for segment in segments), segments


def _year_of(at: int) -> int:
    return date.fromordinal(min(at // 86_400 + _EPOCH_DAY, _LAST_DAY)).year


class _Source(NamedTuple):
    """A directory of compiled zone files with IANA's one-file summary of them, ``tzdata.zi``."""

    version: str
    root: Traversable


@lru_cache(maxsize=1)
def _sources() -> tuple[_Source, ...]:
    """The zone data at hand, newest first: the ``tzdata`` package's and the system's.

    Data that does not tell its version is not used.
    """
    found = []
    for root in (resources.files("tzdata") / "zoneinfo", *map(Path, zoneinfo.TZPATH)):
        try:
            with (root / _SUMMARY).open(encoding="utf-8") as summary:
                version = re.match(r"# version (\S+)", summary.readline())
        except OSError:
            continue
        if version:
            found.append(_Source(version[1], root))
    return tuple(sorted(found, key=lambda source: source.version, reverse=True))


@lru_cache(maxsize=8)
def _names(source: int) -> dict[str, str]:
    """Names in lower case to names as IANA spells them; nothing else is ever opened.

    In the summary zones are lines ``Z name ...`` and links ``L target name``.
    """
    text = (_sources()[source].root / _SUMMARY).read_text(encoding="utf-8")
    names = [line.split(" ", 1)[0] for line in text.split("\nZ ")[1:]]
    names += [line.split("\n", 1)[0].split(" ")[1] for line in text.split("\nL ")[1:]]
    return {name.lower(): name for name in names if name.lower() not in _NOT_A_PLACE}


def _read_zone(root: Traversable, name: str) -> bytes | None:
    """The compiled zone; None where the summary lists a name that is not installed."""
    try:
        return root.joinpath(*name.split("/")).read_bytes()
    except OSError:
        return None
