"""How late runs begin, how long they take, how many go well, and what they use up: schedule by schedule."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agentclock.core.errors import NotFound
from agentclock.core.figures import ABSENT, UNSUCCESSFUL, Spread, duration_ms, lateness_ms, spread_of, success_rate
from agentclock.core.model import Instant, RunStatus
from agentclock.core.storable import text_fault
from agentclock.insight.ranking import COMPARED_RUNS, StatisticsOrder, rank
from agentclock.insight.reading import DAY_MS, Window, briefs_by_id, check_filter, marks_of, window
from agentclock.ports import PageRequest, RunMark, ScheduleBrief, ScheduleFilter, ScheduleOrder, Store
from agentclock.runs import check_page

#: The newest runs of a schedule that its figures are made of: in a list, and by itself.
LISTED_RUNS: Final = 200
SERIES_RUNS: Final = 500

_DEFAULT_MS: Final = 7 * DAY_MS
_MOST_MS: Final = 3_700 * DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of a schedule's runs; fires that made none do not count. `unsuccessful`: failed, timed out or lost. `is_sample`:
    of the newest runs only, there are more. `weight`: what gave it its place in a list. None: nobody can tell."""

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
    weight: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """`total_count` schedules match, of which `compared` were put in order, by their runs from `ranked_since` on (None:
    by name); the others are on no page. `runs_per_schedule`: the newest ones that figures are made of."""

    period: Window
    figures: Sequence[Figures]
    total_count: int
    compared: int
    ranked_since: Instant | None
    runs_per_schedule: int


async def all_statistics(
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
    weights: Mapping[str, int] = {}
    if order is StatisticsOrder.NAME:
        found = await store.list_schedules(where, page, ScheduleOrder.NAME)
        ids, ranked_since = [row.id for row in found.items], None
        total = compared = found.total_count
    else:
        ranking = await rank(store, where, order, period)
        ids = list(ranking.schedule_ids[(page.page - 1) * page.limit : page.page * page.limit])
        total, compared, weights = ranking.total_count, len(ranking.schedule_ids), ranking.weights
        ranked_since = ranking.since
    # Where the newest runs made the order, the figures are of just those.
    most = COMPARED_RUNS if order in (StatisticsOrder.LATENESS, StatisticsOrder.DURATION) else LISTED_RUNS
    return Statistics(
        period=period,
        figures=await _figures(store, ids, where.user_id, most, period, weights),
        total_count=total,
        compared=compared,
        ranked_since=ranked_since,
        runs_per_schedule=most,
    )


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


async def _figures(
    store: Store, ids: Sequence[str], user_id: str | None, most: int, period: Window, weights: Mapping[str, int]
) -> list[Figures]:
    """In the order of `ids`; those of schedules that are gone by now are left out."""
    briefs = await briefs_by_id(store, ids, user_id)
    present = [briefs[schedule_id] for schedule_id in ids if schedule_id in briefs]
    marks = await marks_of(store, [brief.id for brief in present], most + 1, period, with_usage=True)

    def make() -> list[Figures]:
        return [figures_of(brief, marks[brief.id], most, weights.get(brief.id)) for brief in present]

    return await asyncio.to_thread(make)


def figures_of(schedule: ScheduleBrief, marks: Sequence[RunMark], most: int, weight: int | None = None) -> Figures:
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
        weight=weight,
    )
