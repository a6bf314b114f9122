"""Time zone data as compiled by IANA's ``zic``: TZif files and the POSIX rule at their end (RFC 9636).

Pure: bytes in, instants and UTC offsets out, all in seconds.
"""

import re
import struct
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import pairwise

_HEADER = struct.Struct(">4sc15x6L")
_EPOCH_DAY = date(1970, 1, 1).toordinal()

_NAME = r"(?:<[A-Za-z0-9+-]+>|[A-Za-z]+)"
_TIME = r"[+-]?\d{1,3}(?::\d\d){0,2}"
_DAY = r"(?:M\d{1,2}\.\d\.\d|J?\d{1,3})"
_POSIX_RULE = re.compile(
    rf"{_NAME}(?P<std>{_TIME})"
    rf"(?:{_NAME}(?P<dst>{_TIME})?,(?P<start>{_DAY})(?:/(?P<start_at>{_TIME}))?"
    rf",(?P<end>{_DAY})(?:/(?P<end_at>{_TIME}))?)?"
)


class TzifError(ValueError):
    """The bytes are not TZif data, version 2 or later."""


@dataclass(frozen=True, slots=True, eq=False)
class YearRule:
    """The daylight saving rule that holds for every year after the listed changes.

    ``start`` and ``end`` are (day rule, seconds after midnight local time) of the change to and from
    daylight saving; offsets are seconds east of UTC.
    """

    standard: int
    daylight: int
    start: tuple[str, int]
    end: tuple[str, int]

    def changes(self, year: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """The year's two changes as (epoch second, offset from then on), in no particular order."""
        start = _day_of_rule(year, self.start[0]) * 86_400 + self.start[1] - self.standard
        end = _day_of_rule(year, self.end[0]) * 86_400 + self.end[1] - self.daylight
        return (start, self.daylight), (end, self.standard)


@dataclass(frozen=True, slots=True)
class ZoneHistory:
    """A zone's offsets: ``first_offset``, then each change as (epoch second, offset from then on).

    From ``rule_from`` on ``rule`` says what changes follow; without a rule the last offset stays.
    """

    first_offset: int
    changes: tuple[tuple[int, int], ...]
    rule: YearRule | None
    rule_from: int


def parse_tzif(data: bytes) -> ZoneHistory:
    """Read a TZif file. Changes that leave the offset as it was (a new abbreviation) are dropped.

    Raises TzifError.
    """
    try:
        first, changes, footer = _read_blocks(data)
        rule, standard = _parse_rule(footer)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise TzifError(f"damaged TZif data: {error}") from None
    if not changes:
        first = standard
    rule_from = changes[-1][0] if changes else 0
    offsets = [first, *(offset for _, offset in changes)]
    kept = [change for change, (old, new) in zip(changes, pairwise(offsets), strict=True) if old != new]
    return ZoneHistory(first, tuple(kept), rule, rule_from)


def _read_blocks(data: bytes) -> tuple[int, list[tuple[int, int]], str]:
    """First offset, changes and footer of the 64-bit block, which follows the 32-bit one."""
    magic, version, isutc, isstd, leaps, times, types, chars = _HEADER.unpack_from(data)
    if magic != b"TZif" or version < b"2":
        raise TzifError("not TZif data of version 2 or later")
    start = _HEADER.size + times * 5 + types * 6 + chars + leaps * 8 + isstd + isutc
    _, _, isutc, isstd, leaps, times, types, chars = _HEADER.unpack_from(data, start)
    start += _HEADER.size
    instants = struct.unpack_from(f">{times}q", data, start)
    indexes = data[start + times * 8 : start + times * 9]
    start += times * 9
    offsets = [struct.unpack_from(">l", data, start + 6 * index)[0] for index in range(types)]
    start += types * 6 + chars + leaps * 12 + isstd + isutc
    changes = [(at, offsets[index]) for at, index in zip(instants, indexes, strict=True)]
    return offsets[0], changes, data[start:].decode("ascii").strip("\n")


def _parse_rule(footer: str) -> tuple[YearRule | None, int]:
    """The yearly rule, if the footer (a POSIX TZ string) has one, and the standard offset."""
    match = _POSIX_RULE.fullmatch(footer)
    if match is None:
        raise TzifError(f"unknown POSIX time zone rule {footer!r}")
    # POSIX counts offsets west of Greenwich; everyone else counts east.
    standard = -_seconds(match["std"])
    if match["start"] is None:
        return None, standard
    daylight = -_seconds(match["dst"]) if match["dst"] else standard + 3600
    start = (match["start"], _seconds(match["start_at"] or "2"))
    end = (match["end"], _seconds(match["end_at"] or "2"))
    return YearRule(standard, daylight, start, end), standard


def _seconds(text: str) -> int:
    hours, minutes, seconds = [*(int(part) for part in text.lstrip("+-").split(":")), 0, 0][:3]
    total = hours * 3600 + minutes * 60 + seconds
    return -total if text.startswith("-") else total


@lru_cache(maxsize=1024)
def _day_of_rule(year: int, rule: str) -> int:
    """Days since 1970 of a POSIX day rule: Mm.w.d, Jn (29 February never counted) or n (from 0)."""
    new_year = date(year, 1, 1).toordinal() - _EPOCH_DAY
    if rule.startswith("M"):
        month, week, weekday = map(int, rule[1:].split("."))
        first = date(year, month, 1).toordinal()
        day = first + (weekday - first) % 7 + 7 * (week - 1)
        end = date(year + month // 12, month % 12 + 1, 1).toordinal()
        return (day if day < end else day - 7) - _EPOCH_DAY
    if rule.startswith("J"):
        day_of_year = int(rule[1:])
        leap_day = day_of_year > 59 and date(year, 12, 31).timetuple().tm_yday == 366
        return new_year + day_of_year - 1 + leap_day
    return new_year + int(rule)
