"""Figures out of runs: how late they began, how long they took, how many went well."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from agentclock.core.ids import spread_ms
from agentclock.core.model import Cause, Instant, RunStatus

#: Ends that somebody has to look into.
UNSUCCESSFUL: Final = frozenset({RunStatus.FAILED, RunStatus.TIMEOUT, RunStatus.LOST})
#: Fires that made no run.
ABSENT: Final = frozenset({RunStatus.SKIPPED, RunStatus.MISSED})


class Timed(Protocol):
    """A run, or a mark of one."""

    @property
    def schedule_id(self) -> str: ...
    @property
    def cause(self) -> Cause: ...
    @property
    def status(self) -> RunStatus: ...
    @property
    def fire_at(self) -> Instant: ...
    @property
    def started_at(self) -> Instant | None: ...
    @property
    def completed_at(self) -> Instant | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How `count` values are spread. Percentiles are values that occur (nearest rank)."""

    p50: int
    p95: int
    p99: int
    most: int
    count: int


def percentile(ordered: Sequence[int], percent: int) -> int:
    """The least of the values, in order, that `percent` % of them do not exceed. Raises IndexError without any."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def spread_of(values: Iterable[int]) -> Spread | None:
    """None without any value."""
    ordered = sorted(values)
    if not ordered:
        return None
    return Spread(
        p50=percentile(ordered, 50),
        p95=percentile(ordered, 95),
        p99=percentile(ordered, 99),
        most=ordered[-1],
        count=len(ordered),
    )


def lateness_ms(run: Timed, jitter_seconds: int) -> int | None:
    """How long after its fire time and the schedule's own delay within its jitter the run's first attempt began.

    None: it did not begin, or nobody promised when (only fires of the timetable are on time or late).
    """
    if run.started_at is None or run.cause is not Cause.SCHEDULE:
        return None
    return max(0, run.started_at - run.fire_at - spread_ms(run.schedule_id, jitter_seconds))


def duration_ms(run: Timed) -> int | None:
    """From the start of the first attempt to the end, pauses included. None: it did not begin, or is not over."""
    if run.started_at is None or run.completed_at is None:
        return None
    return max(0, run.completed_at - run.started_at)


def success_rate(success: int, unsuccessful: int) -> float | None:
    """The share of those that went well among those that ended by themselves, 0 to 1; None: none did."""
    ended = success + unsuccessful
    return round(success / ended, 4) if ended else None
