"""What agno would fire and what we fire: the same year computed twice, and expressions of croniter in our words.

agno asks croniter anew after each run, so that is what happens here. It takes a tenth of a millisecond a fire:
schedules that fire often are compared where the two can differ at all, on single days and around clock changes, and
what thousands of schedules have in common is compared once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from agentclock.core.cron import Cron, CronError
from agentclock.core.model import DAY_SECONDS
from agentclock.core.zones import Zone

YEAR_SECONDS: Final = 366 * DAY_SECONDS
#: Up to so many fires a year, each of them is compared.
_EVERY_FIRE: Final = 1_500
_AROUND_CHANGE_SECONDS: Final = DAY_SECONDS // 2
_NEAR_CHANGE_SECONDS: Final = 4 * 3600
_SHOWN: Final = 3

_FIELD_NAMES: Final = ("minute", "hour", "day-of-month", "month", "day-of-week")
_RANDOM: Final = re.compile(r"(^|,)[rh](\(|/|$|,)", re.IGNORECASE)

#: The first fire of an expression in a zone after an instant, all as agno has them: epoch seconds.
NextRun = Callable[[str, str, int], int]


class NoComparison(Exception):
    """croniter cannot be asked; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """An expression of agno's as we take it. `text` differs from agno's where ours has other words for it."""

    text: str
    rewritten: bool = False


def agno_next_run() -> NextRun:
    """What agno's `compute_next_run` does, for any time and not only from this moment on.

    Raises NoComparison if what agno needs for it is not installed.
    """
    try:
        import pytz  # type: ignore[import-untyped]  # noqa: PLC0415 - extras of agno
        from croniter import croniter  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError as error:
        raise NoComparison(f"{error.name} is not installed here: pip install 'agno[scheduler]'") from None

    def next_run(text: str, zone: str, after: int) -> int:
        base = datetime.fromtimestamp(after, tz=pytz.timezone(zone))
        return int(croniter(text, base).get_next(datetime).timestamp())

    return next_run


def read_expression(text: str) -> Reading:
    """The expression in our words. Raises CronError, as our own parser does, where there are none."""
    try:
        Cron.parse(text)
    except CronError as error:
        translated = _translated(text)
        if translated is None:
            raise
        try:
            Cron.parse(translated)
        except CronError:
            raise error from None
        return Reading(text=translated, rewritten=True)
    return Reading(text=text)


def _translated(text: str) -> str | None:
    """The fields we do not read, written out as croniter reads them; None if there is no such way."""
    words = text.split()
    if len(words) not in (5, 6) or any(_RANDOM.search(word) for word in words):
        return None
    try:
        from croniter import croniter  # noqa: PLC0415 - an extra

        expanded, nth = croniter.expand(text)
    except (ImportError, ValueError, KeyError):
        return None
    if len(words) == 6 and expanded[5] != [0]:
        return None
    return " ".join(
        word if _is_ours(place, word) else _written_out(expanded[place], nth if place == 4 else {})
        for place, word in enumerate(words[:5])
    )


def _is_ours(place: int, word: str) -> bool:
    try:
        Cron.parse(" ".join(word if n == place else "*" for n in range(5)))
    except CronError as error:
        return error.reason.startswith("never fires")
    return True


def _written_out(values: list[Any], nth: dict[int, set[Any]]) -> str:
    if nth:
        return ",".join(
            f"{day}L" if which == "l" else f"{day}#{which}" for day, all_of in nth.items() for which in sorted(all_of)
        )
    numbers = sorted(value for value in values if isinstance(value, int))
    words = [str(value).upper() for value in values if not isinstance(value, int)]
    return ",".join([*_ranges(numbers), *words])


def _ranges(numbers: list[int]) -> Iterator[str]:
    """`0,1,2,5` as `0-2`, `5`."""
    start = 0
    for end in range(1, len(numbers) + 1):
        if end == len(numbers) or numbers[end] != numbers[end - 1] + 1:
            first, last = numbers[start], numbers[end - 1]
            yield str(first) if first == last else f"{first}-{last}"
            start = end


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A year of fires, in epoch seconds: those that only one of the two makes. `agno_fault`: croniter gave up."""

    only_agno: tuple[int, ...] = ()
    only_ours: tuple[int, ...] = ()
    agno_fault: str | None = None

    @property
    def is_equal(self) -> bool:
        return not (self.only_agno or self.only_ours or self.agno_fault)


def compare_year(agno_text: str, agno_zone: str, cron: Cron, zone: Zone, now: int, next_run: NextRun) -> Comparison:
    """`cron` and `zone` are ours, the texts agno's; from `now` (epoch seconds) on."""
    return _compared(_windows(agno_text, cron, zone, now), agno_zone, zone, next_run)


def _compared(windows: Iterable[_Window], agno_zone: str, zone: Zone, next_run: NextRun) -> Comparison:
    try:
        agno, ours = set[int](), set[int]()
        for window in windows:
            agno |= _agno_fires(window, agno_zone, next_run)
            ours |= set(window.cron.between(window.start, window.end, zone, limit=2 * DAY_SECONDS))
    except (ValueError, KeyError, OverflowError) as error:
        return Comparison(agno_fault=str(error) or type(error).__name__)
    return Comparison(only_agno=tuple(sorted(agno - ours)), only_ours=tuple(sorted(ours - agno)))


class Comparer:
    """Compares fires from `now` (epoch seconds) on, for many schedules: what they have in common is computed once."""

    def __init__(self, now: int, next_run: NextRun) -> None:
        self._now = now
        self._next_run = next_run
        self._alike: dict[tuple[str, str, str, str], bool] = {}
        self._differences: dict[tuple[str, str, str, str], tuple[str, ...]] = {}

    def differences(self, agno_text: str, agno_zone: str, cron: Cron, zone: Zone) -> tuple[str, ...]:
        """Of a year, in words; none if both fire alike. `cron` and `zone` are ours."""
        key = (agno_text, agno_zone, cron.canonical, zone.name)
        if key not in self._differences:
            self._differences[key] = tuple(self._found(agno_text, agno_zone, cron, zone))
        return self._differences[key]

    def _found(self, agno_text: str, agno_zone: str, cron: Cron, zone: Zone) -> Iterator[str]:
        if not self._is_alike(agno_text, agno_zone, cron, zone):
            year = compare_year(agno_text, agno_zone, cron, zone, self._now, self._next_run)
            yield from in_words(year, cron, zone)

    def _is_alike(self, agno_text: str, agno_zone: str, cron: Cron, zone: Zone) -> bool:
        """Whether the times of day and the days are alike, each on their own. Then so are all fires; if not, which
        fires differ remains to be seen."""
        theirs, ours = agno_text.split(), cron.canonical.split()
        if len(theirs) != len(ours) or len(ours) != len(_FIELD_NAMES):
            return False
        return self._is_part_alike([*theirs[:2], "*", "*", "*"], agno_zone, [*ours[:2], "*", "*", "*"], zone) and (
            self._is_part_alike(["0", "12", *theirs[2:]], agno_zone, ["0", "12", *ours[2:]], zone)
        )

    def _is_part_alike(self, theirs: list[str], agno_zone: str, ours: list[str], zone: Zone) -> bool:
        key = (" ".join(theirs), agno_zone, " ".join(ours), zone.name)
        if key not in self._alike:
            cron = Cron.parse(key[2])
            windows = _days if ours[2:] == ["*", "*", "*"] else _year
            found = _compared(windows(key[0], cron, zone, self._now), agno_zone, zone, self._next_run)
            self._alike[key] = found.is_equal
        return self._alike[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """A span in which both are asked for all fires of one expression: start < fire <= end."""

    text: str
    cron: Cron
    start: int
    end: int


def _windows(text: str, cron: Cron, zone: Zone, now: int) -> Iterator[_Window]:
    if len(cron.between(now, now + YEAR_SECONDS, zone, _EVERY_FIRE + 1)) <= _EVERY_FIRE:
        yield from _year(text, cron, zone, now)
        return
    yield from _days(text, cron, zone, now)
    # Which days match does not depend on the time of day: one fire at noon stands for all of a day's.
    yield from _year(_at_noon(text), Cron.parse(_at_noon(cron.canonical)), zone, now)


def _year(text: str, cron: Cron, zone: Zone, now: int) -> Iterator[_Window]:
    yield _Window(text=text, cron=cron, start=now, end=now + YEAR_SECONDS)


def _days(text: str, cron: Cron, zone: Zone, now: int) -> Iterator[_Window]:
    """One like most, and those around clock changes."""
    yield _Window(text=text, cron=cron, start=now, end=now + DAY_SECONDS)
    change = zone.next_change(now)
    while change is not None and change[0] < now + YEAR_SECONDS:
        at = change[0]
        start, stop = max(now, at - _AROUND_CHANGE_SECONDS), at + _AROUND_CHANGE_SECONDS
        yield _Window(text=text, cron=cron, start=start, end=stop)
        change = zone.next_change(at)


def _at_noon(text: str) -> str:
    return " ".join(["0", "12", *text.split()[2:5]]) if not text.lstrip().startswith("@") else "0 12 * * *"


def _agno_fires(window: _Window, zone: str, next_run: NextRun) -> set[int]:
    fires = set[int]()
    at = window.start
    while (at := next_run(window.text, zone, at)) <= window.end:
        if at in fires:
            raise ValueError("croniter names the same time again and again")
        fires.add(at)
    return fires


def in_words(comparison: Comparison, cron: Cron, zone: Zone) -> Iterator[str]:
    """What the comparison found, a sentence for each kind of difference."""
    if comparison.agno_fault is not None:
        yield f"agno cannot compute its fires ({comparison.agno_fault}) and would switch the schedule off"
    for fires, side in ((comparison.only_agno, "agno"), (comparison.only_ours, "agentclock")):
        night = [at for at in fires if _near_change(zone, at)]
        other = [at for at in fires if at not in set(night)]
        if night:
            yield f"clock changes: only {side} fires {_listed(night, zone)}"
        if other:
            yield f"only {side} fires {_listed(other, zone)}; here it means: {cron.explain()}"


def _near_change(zone: Zone, at: int) -> bool:
    change = zone.next_change(at - _NEAR_CHANGE_SECONDS)
    return change is not None and change[0] <= at + _NEAR_CHANGE_SECONDS


def _listed(fires: list[int], zone: Zone) -> str:
    shown = ", ".join(zone.iso(at) for at in fires[:_SHOWN])
    more = len(fires) - _SHOWN
    return f"{shown} and {more} more in a year" if more > 0 else shown
