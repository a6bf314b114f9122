"""What screens and figures are made of, in PostgreSQL: each function is one operation on a connection of its caller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from agentclock.core.model import Instant
from agentclock.ports import (
    BinCount,
    Failure,
    Overview,
    RunFilter,
    RunMark,
    ScheduleBrief,
    ScheduleCount,
    ScheduleFilter,
    ScheduleOrder,
)
from agentclock.store.filters import run_selection
from agentclock.store.insight_rows import (
    NEXT_FIRE_CANDIDATES,
    asked,
    bin_counts,
    bins_of,
    failed,
    marks_by_schedule,
    most_fires,
    newest_failures,
    of_status,
    overview_of,
    readable_briefs,
    readable_marks,
)
from agentclock.store.listing import NEVER, listing
from agentclock.store.postgres_history import bounded, late_id
from agentclock.store.postgres_pool import Row, Session
from agentclock.store.postgres_schedules import selection
from agentclock.store.rows import clean_text

T = TypeVar("T")

#: More rows than this are made into marks beside the event loop.
_MANY_ROWS: Final = 1_000


async def briefs(session: Session, where: ScheduleFilter, limit: int, order: ScheduleOrder) -> list[ScheduleBrief]:
    chosen = selection(where)
    values = chosen.values | {"limit": max(0, limit), "never": NEVER}
    rows = await session.rows(listing(order).briefs, chosen.conditions, **values)
    return await _beside(rows, lambda: readable_briefs(rows))


async def schedule_names(session: Session, schedule_ids: Sequence[str]) -> dict[str, str]:
    rows = await session.rows("schedule_names", ids=[clean_text(of) for of in schedule_ids])
    return {row[0]: row[1] for row in rows}


async def overview(session: Session, user_id: str | None) -> Overview:
    user_id = clean_text(user_id)
    if user_id is None:
        schedules = await session.rows("schedules_in_all")
    else:
        schedules = await session.rows("schedules_in_all_of_user", user_id=user_id)
    of_user = user_id is not None
    runs = await session.rows("active_in_all", ["runs_of_user"] if of_user else [], user_id=user_id)
    due = await session.rows(
        "next_to_fire", ["schedules_of_user"] if of_user else [], user_id=user_id, limit=NEXT_FIRE_CANDIDATES
    )
    return overview_of(schedules[0], runs[0], due)


async def marks(
    session: Session,
    schedule_ids: Sequence[str],
    limit: int,
    since: Instant | None,
    until: Instant | None,
    with_usage: bool,
) -> dict[str, list[RunMark]]:
    chosen = bounded(RunFilter(since=since, until=until), await late_id(session, until))
    ids = list(dict.fromkeys(schedule_ids))
    rows = await session.rows(
        "marks_of_with_usage" if with_usage else "marks_of",
        chosen.conditions,
        schedule_ids=[clean_text(of) for of in ids],
        limit=max(0, limit),
        **chosen.values,
    )
    return await _beside(rows, lambda: marks_by_schedule(ids, rows))


async def _beside(rows: Sequence[Row], make: Callable[[], T]) -> T:
    return await asyncio.to_thread(make) if len(rows) > _MANY_ROWS else make()


async def count_fires(session: Session, where: RunFilter, count: int) -> list[BinCount]:
    bins = bins_of(where, count)
    if bins is None:
        return []
    counted = await _final(
        session, where, "count_final_runs", "count_absences", since_ms=bins.since, span_ms=bins.span_ms, bins=bins.count
    )
    active = await _active(session, where, "active_fires")
    return bin_counts(bins, ((row[0], row[1], row[2]) for row in counted), active)


async def newest_marks(session: Session, where: RunFilter, limit: int) -> list[RunMark]:
    chosen = bounded(where, await late_id(session, where.until))
    rows = await session.rows("newest_marks", chosen.conditions, limit=max(0, limit), **chosen.values)
    return await _beside(rows, lambda: readable_marks(rows))


async def counts_by_schedule(session: Session, where: RunFilter, limit: int) -> list[ScheduleCount]:
    rows = await _final(session, where, "final_runs_by_schedule", "absences_by_schedule")
    rows += await _active(session, where, "active_runs_by_schedule")
    return await _beside(rows, lambda: most_fires(rows, limit))


async def _final(session: Session, where: RunFilter, of_ended: str, of_absent: str, **values: Any) -> list[Row]:
    """What the two queries answer for the final states that are asked for.

    Absences are read themselves, for their numbers of fires: whichever index the planner takes, of their range alone.
    """
    wanted, rows = asked(where), []
    if wanted.ended:
        chosen = run_selection(replace(where, statuses=wanted.ended))
        rows += await session.rows(of_ended, chosen.conditions, **chosen.values, **values)
    if wanted.absent:
        chosen = bounded(replace(where, statuses=wanted.absent), await late_id(session, where.until))
        rows += await session.rows(of_absent, chosen.conditions, **chosen.values, **values)
    return rows


async def _active(session: Session, where: RunFilter, query: str) -> list[Row]:
    chosen = run_selection(where)
    return await session.rows(query, chosen.conditions, **chosen.values) if asked(where).active else []


async def failures(session: Session, where: RunFilter, limit: int) -> list[Failure]:
    chosen = run_selection(replace(where, statuses=()))
    rows: list[Row] = []
    for status in failed(where):
        conditions = of_status(chosen, status).conditions
        rows += await session.rows("failures", conditions, limit=max(0, limit), **chosen.values)
    return await _beside(rows, lambda: newest_failures(rows, limit))


async def held_runs(session: Session, worker_ids: Sequence[str], limit: int) -> dict[str, list[RunMark]]:
    """Every worker asked for has a list, if an empty one."""
    found: dict[str, list[RunMark]] = {}
    for worker_id in worker_ids:
        rows = await session.rows("marks_held", worker_id=clean_text(worker_id), limit=max(0, limit))
        found[worker_id] = readable_marks(rows)
    return found
