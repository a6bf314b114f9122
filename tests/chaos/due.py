"""Which fires were due, reckoned without agentclock: every one of them has exactly one row, and no row has another."""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from tests.chaos.evidence import Row

_MINUTE_MS: Final = 60_000
_EVERY: Final = re.compile(r"\*(?:/(\d+))? \* \* \* \*")
#: Rows with another cause stand for no fire of the timetable.
_OF_TIMETABLE: Final = frozenset({"schedule", "catch_up"})
_ABSENT: Final = frozenset({"skipped", "missed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Fires of one schedule. `lost` have no row, `doubled` several, `stray` rows stand for no fire that was due;
    `miscounted` rows say another number of fires than were due from their first to their last."""

    due: int
    runs: int
    skipped: int
    missed: int
    lost: tuple[int, ...]
    doubled: tuple[int, ...]
    stray: tuple[int, ...]
    miscounted: tuple[str, ...]


def due_between(timetable: Row, after: int, until: int) -> list[int]:
    """The fire times in `after < t <= until`, of an interval or of `*/n * * * *`."""
    if timetable["interval_seconds"] is not None:
        period, anchor = timetable["interval_seconds"] * 1000, timetable["anchor_at"]
        first = max(0, (after - anchor) // period + 1)
        return list(range(anchor + first * period, until + 1, period))
    found = _EVERY.fullmatch(timetable["cron_expr"] or "")
    if found is None:
        raise ValueError(f"no timetable of ours: {timetable['cron_expr']!r}")
    every = int(found[1] or 1)
    minutes = range(after // _MINUTE_MS + 1, until // _MINUTE_MS + 1)
    return [minute * _MINUTE_MS for minute in minutes if minute % 60 % every == 0]


def account(schedule: Row, revisions: Sequence[Row], rows: Sequence[Row]) -> Account:
    due = sorted({at for row, after, until in _periods(schedule, revisions) for at in due_between(row, after, until)})
    covered: Counter[int] = Counter()
    totals: Counter[str] = Counter()
    miscounted = []
    for row in rows:
        if row["cause"] not in _OF_TIMETABLE:
            continue
        totals[row["status"] if row["status"] in _ABSENT else "runs"] += row["fire_count"]
        first, last = row["fire_at"], row["last_fire_at"] or row["fire_at"]
        within = due[bisect_left(due, first) : bisect_right(due, last)]
        if len(within) != row["fire_count"] and {first, last} <= set(due):
            miscounted.append(f"{row['id']}: {row['fire_count']} fires instead of {len(within)}")
        covered.update({*within, first, last})
    known = set(due)
    return Account(
        due=len(due),
        runs=totals["runs"],
        skipped=totals["skipped"],
        missed=totals["missed"],
        lost=tuple(at for at in due if not covered[at]),
        doubled=tuple(at for at, times in covered.items() if times > 1),
        stray=tuple(at for at in covered if at not in known),
        miscounted=tuple(miscounted),
    )


def _periods(schedule: Row, revisions: Sequence[Row]) -> Iterator[tuple[Row, int, int]]:
    """The timetables that ruled, each with the time after which and the time until which it did.

    Without revisions only the present one is known.
    """
    bodies = [(row["at"], _body(row)) for row in sorted(revisions, key=lambda row: int(row["version"]))]
    if not bodies:
        bodies = [(schedule["timetable_since"], schedule)]
    begins = [max(at, body["last_fire_at"] or 0) for at, body in bodies]
    for (_, body), (after, until) in zip(bodies, pairwise([*begins, _end(schedule, begins[-1])]), strict=True):
        if body["enabled"]:
            yield body, after, until


def _end(schedule: Row, begin: int) -> int:
    """Until when the present timetable is planned."""
    if not schedule["enabled"]:
        return max(begin, schedule["last_fire_at"] or 0)
    return int(schedule["next_fire_at"]) - 1


def _body(revision: Row) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(revision["body"])
    return body
