"""Marks of runs, counts of fires and failures, out of what the databases answer. Shared by both stores."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from agentclock.core.errors import CorruptRow
from agentclock.core.model import ACTIVE_STATUSES, Instant, RunStatus, Schedule
from agentclock.ports import BinCount, Failure, Overview, RunFilter, RunMark, ScheduleBrief, ScheduleCount
from agentclock.store.claiming import report
from agentclock.store.filters import Selection, decoded, one_of
from agentclock.store.many_rows import decode_briefs, decode_failures, decode_marks
from agentclock.store.rows import decode_schedule

#: Schedules that are looked at for the next fire: one that cannot be read must not hide the others.
NEXT_FIRE_CANDIDATES: Final = 5

_ABSENT: Final = (RunStatus.SKIPPED, RunStatus.MISSED)
_ENDED: Final = tuple(status for status in RunStatus if status not in (*_ABSENT, *ACTIVE_STATUSES))
_FAILED: Final = (RunStatus.FAILED, RunStatus.TIMEOUT, RunStatus.LOST)


@dataclass(frozen=True, slots=True)
class Bins:
    """`count` bins of equal length from `since` up to `until`, which is after it. An instant is in bin number
    (at - since) * count // (until - since)."""

    since: Instant
    until: Instant
    count: int

    @property
    def span_ms(self) -> int:
        return self.until - self.since

    def number(self, at: Instant) -> int:
        return (at - self.since) * self.count // self.span_ms

    def bounds(self) -> list[tuple[Instant, Instant]]:
        """Where each begins, and where the next one does."""
        # Divided by a negative number, which rounds the other way.
        edges = [self.since - number * self.span_ms // -self.count for number in range(self.count + 1)]
        return list(pairwise(edges))


def bins_of(where: RunFilter, count: int) -> Bins | None:
    """None: there is nothing to count in. Raises ValueError without both ends of the range."""
    if where.since is None or where.until is None:
        raise ValueError("fires are counted between two instants: since and until")
    return Bins(where.since, where.until, count) if where.since < where.until and count > 0 else None


@dataclass(frozen=True, slots=True)
class Asked:
    """The states that a filter asks for, by how their fires are counted."""

    ended: tuple[RunStatus, ...]
    absent: tuple[RunStatus, ...]
    active: bool


def asked(where: RunFilter) -> Asked:
    wanted = frozenset(where.statuses or RunStatus)
    return Asked(
        ended=tuple(status for status in _ENDED if status in wanted),
        absent=tuple(status for status in _ABSENT if status in wanted),
        active=not wanted.isdisjoint(ACTIVE_STATUSES),
    )


def failed(where: RunFilter) -> tuple[RunStatus, ...]:
    return tuple(status for status in _FAILED if not where.statuses or status in where.statuses)


def of_status(chosen: Selection, *statuses: RunStatus) -> Selection:
    return chosen.after(one_of("r.status", statuses)[0])


def bin_counts(
    bins: Bins, counted: Iterable[tuple[int, str, int | None]], active: Iterable[Sequence[Any]]
) -> list[BinCount]:
    """`counted`: number of the bin, state, fires; `active`: state, fire time and fires of single runs."""
    fires: Counter[tuple[int, str]] = Counter()
    for number, status, count in counted:
        fires[number, status] += count or 0
    for status, fire_at, count in active:
        fires[bins.number(fire_at), status] += count
    found: list[BinCount] = []
    for (number, status), count in sorted(fires.items()):
        try:
            found.extend([BinCount(number=number, status=RunStatus(status), fires=count)] if count else [])
        except ValueError as error:
            report([CorruptRow("runs", "?", f"status: {error}")])
    return found


def most_fires(rows: Iterable[Sequence[Any]], limit: int) -> list[ScheduleCount]:
    """`rows`: schedule, runs, fires and the newest fire time, several for a schedule."""
    found: dict[str, ScheduleCount] = {}
    for schedule_id, runs, fires, newest_at in rows:
        known = found.get(schedule_id)
        found[schedule_id] = ScheduleCount(
            schedule_id=schedule_id,
            runs=runs if known is None else runs + known.runs,
            fires=fires if known is None else fires + known.fires,
            newest_fire_at=newest_at if known is None else max(newest_at, known.newest_fire_at),
        )
    return heapq.nsmallest(max(0, limit), found.values(), key=lambda count: (-count.fires, count.schedule_id))


def readable_briefs(rows: Sequence[Sequence[Any]]) -> list[ScheduleBrief]:
    readable, faults = decode_briefs(rows)
    report(faults)
    return readable


def newest_failures(rows: Sequence[Sequence[Any]], limit: int) -> list[Failure]:
    readable, faults = decode_failures(rows)
    report(faults)
    return sorted(readable, key=lambda failure: (failure.fire_at, failure.run_id), reverse=True)[: max(0, limit)]


def marks_by_schedule(schedule_ids: Iterable[str], rows: Sequence[Sequence[Any]]) -> dict[str, list[RunMark]]:
    """Every schedule asked for has a list, if an empty one."""
    found: dict[str, list[RunMark]] = {schedule_id: [] for schedule_id in schedule_ids}
    for mark in readable_marks(rows):
        found.setdefault(mark.schedule_id, []).append(mark)
    return found


def readable_marks(rows: Sequence[Sequence[Any]]) -> list[RunMark]:
    readable, faults = decode_marks(rows)
    report(faults)
    return readable


def overview_of(schedules: Sequence[Any], runs: Sequence[Any], candidates: Iterable[Sequence[Any]]) -> Overview:
    """`schedules`: all and the enabled ones; `runs`: pending, running, paused."""
    readable, faults = decoded(candidates, decode_schedule)
    report(faults)
    total, enabled = schedules
    pending, running, paused = runs
    due: Schedule | None = readable[0] if readable else None
    return Overview(
        enabled=enabled, disabled=total - enabled, pending=pending, running=running, paused=paused, next_fire=due
    )
