"""Cron expressions in a time zone: when is the next one due.

All in whole seconds since 1970 (UTC). The meaning of an expression, clock changes included, is Debian
cron's (3.0pl1-162). A job is *wildcard* if its minute or hour field starts with ``*``; otherwise it is
*fixed-time*.

* Clocks go forward: a fixed-time job due in the gap runs once, right after the jump.
* Clocks go back: a fixed-time job runs once, at the first occurrence; wildcard jobs run in both passes.
* Three hours forward or more, or more than three hours back, is a new clock: nothing is made up or held back.

How it works: an expression is a set of local minutes, and local time is a row of segments of constant
offset (`agentclock.core.zones.Segment`). A segment tells from which local minute on jobs of each kind count
in it; the instant of a local minute is that of the clock, but never before the segment's start. That is
all there is to daylight saving.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from agentclock.core.cron_explain import explain, warnings
from agentclock.core.cron_parse import MAX_LENGTH, CronError, Field, read_fields, word_position
from agentclock.core.zones import Segment, Zone

__all__ = ["MAX_LENGTH", "Cron", "CronError", "CronKind"]

_DAY = 1440
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_EPOCH_WEEKDAY = 4  # 1970-01-01 was a Thursday; Sunday is 0
_MORE_THAN_28 = (0, 3, 0, 3, 2, 3, 2, 3, 3, 2, 3, 2, 3)  # by month, 1 to 12

# Twice the longest gap between two matching dates (29 February on a given weekday, 40 years across 2100):
# the first of them may fall into a day that the zone skipped.
_HORIZON_YEARS = 82

# Instants from the year 100 to 9000: the calendar of the standard library ends at 9999.
_EARLIEST, _LATEST = -59_000_000_000, 221_000_000_000


class CronKind(StrEnum):
    """How a job takes clock changes; ``on_demand`` is the empty expression, which never fires."""

    WILDCARD = "wildcard"
    FIXED = "fixed"
    ON_DEMAND = "on_demand"


class DayTable(NamedTuple):
    """The matching days of every kind of month.

    `rows` goes by weekday of the 1st (Sunday is 0), then by length minus 28; bit d means day d matches.
    `lengths` has bit n set if some month of 28 + n days has a matching day. In the Gregorian calendar each
    month, of each length it can have, starts on every weekday sooner or later, so that a date that is in
    none of the rows of its length never comes, and any other comes within 40 years.
    """

    rows: tuple[tuple[int, ...], ...]
    lengths: int
    every_day: bool


_NO_DAYS = DayTable((), 0, every_day=False)


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression, read and checked. Equal if the canonical texts are."""

    canonical: str
    kind: CronKind = field(compare=False)
    fields: tuple[Field, ...] = field(repr=False, compare=False)
    # Bit m: due at minute m of a matching day.
    _times: int = field(repr=False, compare=False)
    # Bit m: month m matches.
    _months: int = field(repr=False, compare=False)
    _days: DayTable = field(repr=False, compare=False)
    _every_day: bool = field(repr=False, compare=False)

    @staticmethod
    def parse(text: str) -> "Cron":
        """Read an expression; ``""`` means on demand. Raises CronError, also for dates that never come."""
        return _parse(text)

    def next(self, after: int, zone: Zone) -> int | None:
        """The first due instant strictly after `after`; None for on demand and beyond the year 9000."""
        if not self._times or not _EARLIEST <= after <= _LATEST:
            return None
        segment = zone.segment_at(after)
        start = max(self._resumes(segment), (after + segment.offset) // 60 + 1)
        searched, minute = start, self._match_from(start)
        while minute is not None:
            due = minute * 60 - segment.offset
            if due < segment.end:
                return max(due, segment.start)
            segment = zone.segment_at(segment.end)
            start = self._resumes(segment)
            if not searched <= start <= minute:
                searched, minute = start, self._match_from(start)
        return None

    def prev(self, before: int, zone: Zone) -> int | None:
        """The last due instant strictly before `before`; None for on demand and before the year 100."""
        if not self._times or not _EARLIEST <= before <= _LATEST:
            return None
        segment = zone.segment_at(before - 1)
        searched = (before - 1 + segment.offset) // 60
        minute = self._match_until(searched)
        while minute is not None:
            if minute >= self._resumes(segment):
                return max(minute * 60 - segment.offset, segment.start)
            at = segment.start - 1
            segment = zone.segment_at(at)
            shown = (at + segment.offset) // 60
            if not minute <= shown <= searched:
                searched, minute = shown, self._match_until(shown)
        return None

    def between(self, a: int, b: int, zone: Zone, limit: int) -> list[int]:
        """The first `limit` due instants in ``a < t <= b`` (`a` exclusive, `b` inclusive), ascending."""
        found: list[int] = []
        due = self.next(a, zone)
        while due is not None and due <= b and len(found) < limit:
            found.append(due)
            segment = zone.segment_at(due)
            if due + _DAY * 60 < min(b, segment.end):
                found += self._within(segment, due, b, limit - len(found))
            due = self.next(found[-1], zone)
        return found

    def _within(self, segment: Segment, after: int, until: int, limit: int) -> list[int]:
        """The first `limit` due instants in ``after < t <= until`` of one segment that has begun to count, day by day:
        many at a time are found much faster than one by one."""
        first = max(self._resumes(segment), (after + segment.offset) // 60 + 1)
        last = (min(until, segment.end - 1) + segment.offset) // 60
        of_a_day = _minutes(self._times)
        minutes: list[int] = []
        day: int | None = first // _DAY
        while day is not None and day * _DAY <= last and len(minutes) < limit + len(of_a_day):
            day = day if self._every_day else self._day_from(day)
            if day is not None:
                minutes += [day * _DAY + minute for minute in of_a_day]
                day += 1
        begin, end = bisect_left(minutes, first), bisect_right(minutes, last)
        return [minute * 60 - segment.offset for minute in minutes[begin : min(end, begin + limit)]]

    def count(self, a: int, b: int, zone: Zone) -> int:
        """How many due instants there are in ``a < t <= b``, without looking at each of them."""
        total, due = 0, self.next(a, zone)
        while due is not None and due <= b:
            # What follows the first due minute of a segment is due at its own minute, up to the segment's end.
            segment = zone.segment_at(due)
            last = min(b, segment.end - 1)
            total += 1 + self._matching((due + segment.offset) // 60 + 1, (last + segment.offset) // 60)
            due = self.next(last, zone)
        return total

    def explain(self) -> str:
        """One English sentence without a full stop, such as ``At 03:00, every day``."""
        return explain(self.fields) if self.fields else "Only when triggered"

    def warnings(self, zone: Zone, at: int) -> list[str]:
        """What may surprise the author, in English; the zone's next clock change after `at` included."""
        if not self.fields:
            return []
        return warnings(self.fields) + list(self._change_warnings(zone, at))

    def _resumes(self, segment: Segment) -> int:
        return segment.fixed_from if self.kind is CronKind.FIXED else segment.wildcard_from

    def _match_from(self, minute: int) -> int | None:
        """The first matching local minute (since 1970) that is not before `minute`."""
        day, minute_of_day = divmod(minute, _DAY)
        times = self._times >> minute_of_day
        found = day if self._every_day else self._day_from(day)
        if found == day:
            if times:
                return minute + (times & -times).bit_length() - 1
            found = day + 1 if self._every_day else self._day_from(day + 1)
        if found is None:
            return None
        return found * _DAY + (self._times & -self._times).bit_length() - 1

    def _match_until(self, minute: int) -> int | None:
        """The last matching local minute that is not after `minute`."""
        day, minute_of_day = divmod(minute, _DAY)
        times = self._times & ((2 << minute_of_day) - 1)
        found = day if self._every_day else self._day_until(day)
        if found == day:
            if times:
                return day * _DAY + times.bit_length() - 1
            found = day - 1 if self._every_day else self._day_until(day - 1)
        if found is None:
            return None
        return found * _DAY + self._times.bit_length() - 1

    def _day_from(self, day: int) -> int | None:
        """The first matching day (since 1970) that is not before `day`."""
        shown = date.fromordinal(day + _EPOCH_ORDINAL)
        year, month, skip = shown.year, shown.month, shown.day
        horizon = year + _HORIZON_YEARS
        while year < horizon:
            months = self._months >> month
            if not months:
                year, month, skip = year + 1, 1, 1
                continue
            if not months & 1:
                month, skip = month + (months & -months).bit_length() - 1, 1
            first, days = self._month(year, month)
            days >>= skip
            if days:
                return first + skip + (days & -days).bit_length() - 2
            month, skip = month + 1, 1
        return None

    def _day_until(self, day: int) -> int | None:
        """The last matching day that is not after `day`."""
        shown = date.fromordinal(day + _EPOCH_ORDINAL)
        year, month, keep = shown.year, shown.month, shown.day
        horizon = year - _HORIZON_YEARS
        while year > horizon:
            found = (self._months & ((2 << month) - 1)).bit_length() - 1
            if found < 0:
                year, month, keep = year - 1, 12, 31
                continue
            if found < month:
                month, keep = found, 31
            first, days = self._month(year, month)
            days &= (2 << keep) - 1
            if days:
                return first + days.bit_length() - 2
            month, keep = month - 1, 31
        return None

    def _matching(self, first: int, last: int) -> int:
        """How many local minutes from `first` to `last`, both included, match."""
        if last < first:
            return 0
        (first_day, begin), (last_day, end) = divmod(first, _DAY), divmod(last, _DAY)
        total = self._matching_days(first_day, last_day) * self._times.bit_count()
        if self._matching_days(first_day, first_day):
            total -= (self._times & ((1 << begin) - 1)).bit_count()
        if self._matching_days(last_day, last_day):
            total -= (self._times >> end + 1).bit_count()
        return total

    def _matching_days(self, first: int, last: int) -> int:
        """How many days (since 1970) from `first` to `last`, both included, match."""
        if self._every_day:
            return last - first + 1
        total = 0
        while first <= last:
            shown = date.fromordinal(first + _EPOCH_ORDINAL)
            month_first, days = self._month(shown.year, shown.month)
            if self._months >> shown.month & 1:
                days &= (2 << last - month_first + 1) - 1
                total += (days >> shown.day).bit_count()
            first = date(shown.year + shown.month // 12, shown.month % 12 + 1, 1).toordinal() - _EPOCH_ORDINAL
        return total

    def _month(self, year: int, month: int) -> tuple[int, int]:
        """The month's first day (since 1970) and its matching days as bits."""
        first = date(year, month, 1).toordinal() - _EPOCH_ORDINAL
        leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        return first, self._days.rows[(first + _EPOCH_WEEKDAY) % 7][_MORE_THAN_28[month] + leap]

    def _change_warnings(self, zone: Zone, at: int) -> Iterator[str]:
        """What happens to runs in the zone's next gap or overlap, if there are any."""
        change = zone.next_change(at)
        every_hour = self.fields[1].bits == (1 << 24) - 1
        if change is None or (self.kind is CronKind.WILDCARD and every_hour):
            return
        instant, old, new = change
        low, high = sorted(((instant + old) // 60, (instant + new) // 60))
        minute = self._match_from(low)
        if minute is None or minute >= high:
            return
        clock = f"{minute % _DAY // 60:02}:{minute % 60:02}"
        day = date.fromordinal(minute // _DAY + _EPOCH_ORDINAL).isoformat()
        if new > old:
            fate = f"does not exist on {day} in {zone.name} (clocks go forward)"
            made_up = self.kind is CronKind.FIXED and high - low < 180
            then = f"that run happens at {zone.iso(instant)}" if made_up else "nothing runs at that time"
        else:
            fate = f"comes twice on {day} in {zone.name} (clocks go back)"
            once = self.kind is CronKind.FIXED and high - low <= 180
            then = "it runs the first time only" if once else "it runs both times"
        yield f"{clock} {fate}: {then}"


@lru_cache(maxsize=4096)
def _parse(text: str) -> Cron:
    if not text:
        return Cron("", CronKind.ON_DEMAND, (), 0, 0, _NO_DAYS, _every_day=False)
    fields = read_fields(text)
    minutes, hours, days, months, weekdays = fields
    macro = text.lstrip().startswith("@")
    canonical = text.strip().lower() if macro else " ".join([field.text for field in fields])
    table = _day_table(days, weekdays)
    if not table.lengths & _lengths(months.bits):
        reason = f"never fires: no year has a day like {canonical!r}"
        raise CronError("day-of-month", reason, word_position(text, 2))
    kind = CronKind.WILDCARD if minutes.star or hours.star else CronKind.FIXED
    # Minutes fit into 60 bits, so one multiplication repeats them at every hour's place.
    times = minutes.bits * _hours_apart(hours.bits)
    return Cron(canonical, kind, fields, times, months.bits, table, table.every_day and months.bits == 0x1FFE)


@lru_cache(maxsize=64)
def _minutes(times: int) -> tuple[int, ...]:
    """The bits that are set: minutes of a day."""
    return tuple(minute for minute in range(_DAY) if times >> minute & 1)


@lru_cache(maxsize=1024)
def _hours_apart(hours: int) -> int:
    return sum(1 << hour * 60 for hour in range(24) if hours >> hour & 1)


@lru_cache(maxsize=1024)
def _lengths(months: int) -> int:
    """Bit n is set if one of the months can have 28 + n days."""
    found = 2 if months >> 2 & 1 else 0
    for month in range(1, 13):
        found |= (months >> month & 1) << _MORE_THAN_28[month]
    return found


@lru_cache(maxsize=1024)
def _day_table(days: Field, weekdays: Field) -> DayTable:
    rows = tuple(tuple(_matching_days(days, weekdays, first, length) for length in range(28, 32)) for first in range(7))
    lengths = sum(1 << extra for extra in range(4) if any(row[extra] for row in rows))
    return DayTable(rows, lengths, every_day=all(row[3] == 0xFFFFFFFE for row in rows))


def _matching_days(days: Field, weekdays: Field, first: int, length: int) -> int:
    """Bit d is set if day d matches in a month of `length` days whose 1st is weekday `first`.

    Debian cron's rule: both day fields must match if either starts with ``*``, otherwise one is enough.
    """
    month = (1 << length + 1) - 2
    by_day = days.bits
    by_weekday = sum(1 << day for day in range(1, length + 1) if weekdays.bits >> (first + day - 1) % 7 & 1)
    for special in days.specials:
        by_day |= 1 << _special_day(special.sign, special.day, first, length)
    for special in weekdays.specials:
        earliest = 1 + (special.day - first) % 7
        last = earliest + (length - earliest) // 7 * 7
        by_weekday |= 1 << (last if special.sign == "dL" else earliest + 7 * (special.nth - 1))
    both = days.star or weekdays.star
    return month & (by_day & by_weekday if both else by_day | by_weekday)


def _special_day(sign: str, day: int, first: int, length: int) -> int:
    """The day that ``L``, ``LW`` or ``nW`` means in such a month; one past its end if there is none."""
    if sign == "L":
        return length
    day = length if sign == "LW" else day
    if day > length:
        return day
    weekday = (first + day - 1) % 7
    if weekday == 6:
        return day - 1 if day > 1 else 3
    if weekday == 0:
        return day + 1 if day < length else day - 2
    return day
