"""How late runs begin, how long they take, how many go well, and what they use up: schedule by schedule."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from agentclock.core.errors import NotFound
from agentclock.core.figures import ABSENT, UNSUCCESSFUL, Spread, duration_ms, lateness_ms, spread_of, success_rate
from agentclock.core.model import Instant, RunStatus
from agentclock.core.storable import text_fault
from agentclock.insight.reading import (
    DAY_MS,
    MOST_SCHEDULES,
    Window,
    briefs_by_id,
    check_filter,
    is_narrow,
    marks_of,
    window,
)
from agentclock.ports import PageRequest, RunFilter, RunMark, ScheduleBrief, ScheduleFilter, ScheduleOrder, Store
from agentclock.runs import check_page

#: The newest runs of a schedule that its figures are made of: in a list, and by itself.
LISTED_RUNS: Final = 200
SERIES_RUNS: Final = 500
#: What is looked at to put schedules in order by their figures: so many schedules; the newest runs of each for how long
#: and how late they were; all runs of so much of the time, its end, for how many there were.
COMPARED_SCHEDULES: Final = 1_000
COMPARED_RUNS: Final = 50
_COUNTED_MS: Final = {StatisticsOrder.FAILURES: 7 * DAY_MS}
_LEAST_COUNTED_MS: Final = DAY_MS

#: States in which fires end that made a run.
_ENDED: Final = tuple(sorted({RunStatus.SUCCESS, RunStatus.CANCELLED, *UNSUCCESSFUL}))
_DEFAULT_MS: Final = 7 * DAY_MS
_MOST_MS: Final = 3_700 * DAY_MS


class StatisticsOrder(StrEnum):
    NAME = "name"
    LATENESS = "lateness"
    FAILURES = "failures"
    DURATION = "duration"
    RUNS = "runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of a schedule's runs; fires that made none do not count. `unsuccessful`: failed, timed out or lost. `is_sample`:
    of the newest runs only, there are more. None: nobody can tell."""

    schedule: ScheduleBrief
    runs: int
    success: int
    unsuccessful: int
    success_rate: float | None
    duration: Spread | None
    lateness: Spread | None
    total_tokens: int | None
    cost: float | None
    is_sample: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """`compared`: the schedules that were put in order; there are `total_count`, and the others cannot be reached."""

    period: Window
    figures: Sequence[Figures]
    total_count: int
    compared: int


async def statistics(
    store: Store,
    since: Instant | None,
    until: Instant | None,
    *,
    where: ScheduleFilter,
    order: StatisticsOrder,
    page: PageRequest,
) -> Statistics:
    """By name, or the greatest figures first. Raises InvalidField."""
    check_filter(where)
    check_page(page)
    period = window(since, until, await store.now(), _DEFAULT_MS, _MOST_MS)
    if order is StatisticsOrder.NAME:
        found = await store.list_schedules(where, page, ScheduleOrder.NAME)
        ids, total, compared = [row.id for row in found.items], found.total_count, found.total_count
    else:
        total = (await store.list_schedules(where, PageRequest(limit=1))).total_count
        ordered = await _ordered(store, where, order, period, total)
        ids, compared = ordered[(page.page - 1) * page.limit : page.page * page.limit], len(ordered)
    briefs = await briefs_by_id(store, ids, where.user_id)
    present = [briefs[schedule_id] for schedule_id in ids if schedule_id in briefs]
    marks = await marks_of(store, [brief.id for brief in present], LISTED_RUNS + 1, period, with_usage=True)
    figures = await asyncio.to_thread(_all_figures, present, marks, LISTED_RUNS)
    return Statistics(period=period, figures=figures, total_count=total, compared=compared)


async def schedule_statistics(
    store: Store, schedule_id: str, since: Instant | None, until: Instant | None, *, user_id: str | None
) -> tuple[Figures, Sequence[RunMark]]:
    """Of one schedule, with the runs that the figures are made of, the newest first. Without `since`: from the oldest
    run on. Raises NotFound, InvalidField."""
    now = await store.now()
    brief = None if text_fault(schedule_id) else (await briefs_by_id(store, [schedule_id], user_id)).get(schedule_id)
    if brief is None:
        raise NotFound("Schedule")
    period = None if since is None and until is None else window(since, until, now, _MOST_MS, _MOST_MS)
    marks = await marks_of(store, [schedule_id], SERIES_RUNS + 1, period, with_usage=True)
    figures = await asyncio.to_thread(figures_of, brief, marks[schedule_id], SERIES_RUNS)
    return figures, marks[schedule_id][:SERIES_RUNS]


def figures_of(schedule: ScheduleBrief, marks: Sequence[RunMark], most: int) -> Figures:
    """`marks`: one more than `most` if there are so many, newest first."""
    runs = [mark for mark in marks[:most] if mark.status not in ABSENT]
    success = sum(run.status is RunStatus.SUCCESS for run in runs)
    unsuccessful = sum(run.status in UNSUCCESSFUL for run in runs)
    late = [lateness_ms(run, schedule.jitter_seconds) for run in runs]
    took = [duration_ms(run) for run in runs]
    tokens = [run.total_tokens for run in runs if run.total_tokens is not None]
    costs = [run.cost for run in runs if run.cost is not None]
    return Figures(
        schedule=schedule,
        runs=len(runs),
        success=success,
        unsuccessful=unsuccessful,
        success_rate=success_rate(success, unsuccessful),
        duration=spread_of(value for value in took if value is not None),
        lateness=spread_of(value for value in late if value is not None),
        total_tokens=sum(tokens) if tokens else None,
        cost=round(sum(costs), 6) if costs else None,
        is_sample=len(marks) > most,
    )


def _all_figures(
    schedules: Sequence[ScheduleBrief], marks: Mapping[str, Sequence[RunMark]], most: int
) -> list[Figures]:
    return [figures_of(schedule, marks[schedule.id], most) for schedule in schedules]


async def _ordered(
    store: Store, where: ScheduleFilter, order: StatisticsOrder, period: Window, total: int
) -> list[str]:
    """The ids of the schedules that were compared, the greatest figure first. Of more than can be compared it is those
    with the most runs (or failures) in the period."""
    briefs, counted = await _compared(store, where, order, period, total)
    weights: Mapping[str, int]
    match order:
        case StatisticsOrder.RUNS | StatisticsOrder.FAILURES | StatisticsOrder.NAME:
            weights = counted
        case StatisticsOrder.LATENESS | StatisticsOrder.DURATION:
            marks = await marks_of(store, [brief.id for brief in briefs], COMPARED_RUNS, period)
            weights = await asyncio.to_thread(_weights, briefs, marks, order)
        case never:
            assert_never(never)
    by_name = sorted(briefs, key=lambda brief: brief.name.casefold())
    return [brief.id for brief in sorted(by_name, key=lambda brief: -weights.get(brief.id, -1))]


async def _compared(
    store: Store, where: ScheduleFilter, order: StatisticsOrder, period: Window, total: int
) -> tuple[Sequence[ScheduleBrief], Mapping[str, int]]:
    """The schedules, and how many runs (or failures) those have that have any."""
    all_fit = total <= COMPARED_SCHEDULES
    briefs = await store.briefs(where, COMPARED_SCHEDULES) if all_fit else []
    ids = [brief.id for brief in briefs]
    if not all_fit and is_narrow(where):
        ids = [brief.id for brief in await store.briefs(where, MOST_SCHEDULES)]
    runs = RunFilter(
        user_id=where.user_id,
        schedule_ids=tuple(ids) if all_fit or is_narrow(where) else None,
        statuses=tuple(sorted(UNSUCCESSFUL)) if order is StatisticsOrder.FAILURES else _ENDED,
        since=period.since,
        until=period.until,
    )
    counted = {count.schedule_id: count.runs for count in await store.counts_by_schedule(runs, COMPARED_SCHEDULES)}
    if not all_fit:
        briefs = list((await briefs_by_id(store, list(counted), where.user_id)).values())
    return briefs, counted


def _weights(
    schedules: Sequence[ScheduleBrief], marks: Mapping[str, Sequence[RunMark]], order: StatisticsOrder
) -> dict[str, int]:
    """What they are put in order by: lateness in its 99th percentile, duration in its 95th."""
    weights = {}
    for one in _all_figures(schedules, marks, COMPARED_RUNS):
        spread = one.lateness if order is StatisticsOrder.LATENESS else one.duration
        if spread is not None:
            weights[one.schedule.id] = spread.p99 if order is StatisticsOrder.LATENESS else spread.p95
    return weights
