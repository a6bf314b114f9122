"""Past and future of all schedules on one timeline."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agentclock.core.model import Instant, RunStatus
from agentclock.core.timelines import MINUTE_MS, Forecast, Grid, Seam, forecast, planned_fires, seams
from agentclock.insight.reading import DAY_MS, MOST_SCHEDULES, Window, check_filter, is_narrow, marks_of, window
from agentclock.ports import BinCount, PageRequest, RunFilter, RunMark, ScheduleBrief, ScheduleFilter, Store
from agentclock.runs import check_page

#: Fires to come that are computed for one timeline, those of each distinct timetable counted once.
MOST_FIRES: Final = 500_000
#: What is shown of one lane.
LANE_RUNS: Final = 200
LANE_FIRES: Final = 300
MOST_SEAMS: Final = 50

_HALF_DAY_MS: Final = DAY_MS // 2
_MOST_MS: Final = 366 * DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineDraft:
    """What is asked for. Without bounds: twelve hours back, twelve ahead. `page`: of lanes, from 1."""

    since: Instant | None = None
    until: Instant | None = None
    bins: int = 288
    lanes: int = 40
    page: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One schedule. `planned`: fires to come, soonest first; `marks`: its runs, newest first. `is_complete` False:
    there are more of them."""

    schedule: ScheduleBrief
    planned: Sequence[Instant]
    marks: Sequence[RunMark]
    is_complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """`counts`: the fires of history, by state and bin. `is_counted` False: more schedules match than
    were looked at."""

    grid: Grid
    now: Instant
    counts: Mapping[RunStatus, Sequence[int]]
    is_counted: bool
    forecast: Forecast
    seams: Sequence[Seam]
    lanes: Sequence[Lane]
    lanes_total: int


async def timeline(store: Store, draft: TimelineDraft, where: ScheduleFilter) -> Timeline:
    """Of the schedules that match, the lanes in the order of their next fires. Raises InvalidField."""
    check_filter(where)
    check_page(PageRequest(limit=max(1, draft.lanes), page=draft.page))
    now = await store.now()
    period = _period(draft, now)
    grid = Grid(since=period.since, until=period.until, bins=draft.bins)
    found = await store.briefs(where, MOST_SCHEDULES + 1)
    briefs, is_whole = found[:MOST_SCHEDULES], len(found) <= MOST_SCHEDULES
    shown = briefs[(draft.page - 1) * draft.lanes : draft.page * draft.lanes]
    counts, marks = await asyncio.gather(
        store.count_fires(_fires_of(where, briefs, period), draft.bins),
        marks_of(store, [brief.id for brief in shown], LANE_RUNS + 1, period),
    )
    total = len(briefs) if is_whole else (await store.list_schedules(where, PageRequest(limit=1))).total_count
    coming = await asyncio.to_thread(forecast, briefs, grid, most_fires=MOST_FIRES)
    return Timeline(
        grid=grid,
        now=now,
        counts=_series(counts, draft.bins),
        is_counted=is_whole or not is_narrow(where),
        forecast=coming if is_whole else replace(coming, is_complete=False),
        seams=await asyncio.to_thread(_seams, briefs, period),
        lanes=await asyncio.to_thread(_lanes, shown, marks, period),
        lanes_total=total,
    )


def _period(draft: TimelineDraft, now: Instant) -> Window:
    """By itself it begins at a full minute, so that the bins of two looks within a minute are the same."""
    minute = now // MINUTE_MS * MINUTE_MS
    until = draft.until
    if until is None:
        ahead = minute + _HALF_DAY_MS
        until = ahead if draft.since is None or draft.since < ahead else draft.since + DAY_MS
    return window(draft.since, until, now, DAY_MS, _MOST_MS)


def _fires_of(where: ScheduleFilter, briefs: Sequence[ScheduleBrief], period: Window) -> RunFilter:
    ids = tuple(brief.id for brief in briefs) if is_narrow(where) else None
    return RunFilter(user_id=where.user_id, schedule_ids=ids, since=period.since, until=period.until)


def _series(counts: Sequence[BinCount], bins: int) -> Mapping[RunStatus, Sequence[int]]:
    series = {status: [0] * bins for status in RunStatus}
    for count in counts:
        series[count.status][count.number] += count.fires
    return series


def _seams(briefs: Sequence[ScheduleBrief], period: Window) -> list[Seam]:
    zones = {brief.timezone for brief in briefs if brief.cron_expr}
    return seams(zones, period.since, period.until, MOST_SEAMS)


def _lanes(shown: Sequence[ScheduleBrief], marks: Mapping[str, Sequence[RunMark]], period: Window) -> list[Lane]:
    return [_lane(brief, marks[brief.id], period) for brief in shown]


def _lane(brief: ScheduleBrief, marks: Sequence[RunMark], period: Window) -> Lane:
    planned = planned_fires(brief, period.since, period.until, LANE_FIRES + 1)
    return Lane(
        schedule=brief,
        planned=planned[:LANE_FIRES],
        marks=marks[:LANE_RUNS],
        is_complete=len(planned) <= LANE_FIRES and len(marks) <= LANE_RUNS,
    )
