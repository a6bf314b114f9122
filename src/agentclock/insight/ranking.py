"""Which schedules come first by their figures: at a cost that does not grow with how many there are."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from agentclock.core.figures import UNSUCCESSFUL, duration_ms, lateness_ms, spread_of
from agentclock.core.model import Instant, RunStatus
from agentclock.insight.reading import DAY_MS, MOST_SCHEDULES, Window, briefs_by_id, is_narrow, marks_of
from agentclock.ports import PageRequest, RunFilter, RunMark, ScheduleBrief, ScheduleFilter, Store

#: So many schedules are compared at most, by the newest runs of each,
COMPARED_SCHEDULES: Final = 1_000
COMPARED_RUNS: Final = 50
#: or by how many runs, or failures, there were towards the end of the time asked for.
COUNTED_RUNS_MS: Final = DAY_MS
COUNTED_FAILURES_MS: Final = 7 * DAY_MS

#: States in which fires end that made a run.
_ENDED: Final = tuple(sorted({RunStatus.SUCCESS, RunStatus.CANCELLED, *UNSUCCESSFUL}))
_FAILED: Final = tuple(sorted(UNSUCCESSFUL))


class StatisticsOrder(StrEnum):
    """LATENESS by its 99th percentile, DURATION by its 95th; the greatest first."""

    NAME = "name"
    LATENESS = "lateness"
    FAILURES = "failures"
    DURATION = "duration"
    RUNS = "runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Ids of schedules, those with the greatest weights first; those without one come last. `since`: the first fire
    time that counts. `total_count`: of the schedules that match; the others were not compared."""

    schedule_ids: Sequence[str]
    weights: Mapping[str, int]
    since: Instant
    total_count: int


async def rank(store: Store, where: ScheduleFilter, order: StatisticsOrder, period: Window) -> Ranking:
    """Of more schedules than can be compared it is those with the most runs (or failures) that are."""
    total = (await store.list_schedules(where, PageRequest(limit=1))).total_count
    is_whole = total <= COMPARED_SCHEDULES
    briefs = await store.briefs(where, COMPARED_SCHEDULES) if is_whole else []
    is_counted = order in (StatisticsOrder.RUNS, StatisticsOrder.FAILURES)
    counted_in = _counted_in(order, period)
    weights: Mapping[str, int] = {}
    if is_counted or not is_whole:
        weights = await _counts(store, where, order, counted_in, [brief.id for brief in briefs] if is_whole else None)
    if not is_whole:
        briefs = list((await briefs_by_id(store, list(weights), where.user_id)).values())
    if not is_counted:
        marks = await marks_of(store, [brief.id for brief in briefs], COMPARED_RUNS, period)
        weights = await asyncio.to_thread(_weights, briefs, marks, order)
    by_name = sorted(briefs, key=lambda brief: brief.name.casefold())
    ordered = sorted(by_name, key=lambda brief: -weights.get(brief.id, -1))
    return Ranking(
        schedule_ids=[brief.id for brief in ordered],
        weights=weights,
        since=counted_in.since if is_counted else period.since,
        total_count=total,
    )


def _counted_in(order: StatisticsOrder, period: Window) -> Window:
    most_ms = COUNTED_FAILURES_MS if order is StatisticsOrder.FAILURES else COUNTED_RUNS_MS
    return Window(since=max(period.since, period.until - most_ms), until=period.until)


async def _counts(
    store: Store, where: ScheduleFilter, order: StatisticsOrder, period: Window, schedule_ids: Sequence[str] | None
) -> dict[str, int]:
    """Of the schedules with the most; `schedule_ids` None: they are too many to be named, if all of them are meant."""
    if schedule_ids is None and is_narrow(where):
        schedule_ids = [brief.id for brief in await store.briefs(where, MOST_SCHEDULES)]
    runs = RunFilter(
        user_id=where.user_id,
        schedule_ids=None if schedule_ids is None else tuple(schedule_ids),
        statuses=_FAILED if order is StatisticsOrder.FAILURES else _ENDED,
        since=period.since,
        until=period.until,
    )
    return {count.schedule_id: count.runs for count in await store.counts_by_schedule(runs, COMPARED_SCHEDULES)}


def _weights(
    schedules: Sequence[ScheduleBrief], marks: Mapping[str, Sequence[RunMark]], order: StatisticsOrder
) -> dict[str, int]:
    found = {schedule.id: _weight(schedule, marks[schedule.id], order) for schedule in schedules}
    return {schedule_id: weight for schedule_id, weight in found.items() if weight is not None}


def _weight(schedule: ScheduleBrief, marks: Sequence[RunMark], order: StatisticsOrder) -> int | None:
    match order:
        case StatisticsOrder.LATENESS:
            spread = spread_of(late for run in marks if (late := lateness_ms(run, schedule.jitter_seconds)) is not None)
            return None if spread is None else spread.p99
        case StatisticsOrder.DURATION:
            spread = spread_of(took for run in marks if (took := duration_ms(run)) is not None)
            return None if spread is None else spread.p95
        case StatisticsOrder.NAME | StatisticsOrder.RUNS | StatisticsOrder.FAILURES:
            return None
        case never:
            assert_never(never)
