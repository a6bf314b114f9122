"""What screens and figures are made of, in SQLite: each function is one operation on a connection of its caller."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

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
from agentclock.store.rows import clean_text
from agentclock.store.sqlite_file import Session, id_list
from agentclock.store.sqlite_history import bounded_selection, late_id, only_active, selection
from agentclock.store.sqlite_schedules import selection as schedules_chosen


def briefs(session: Session, where: ScheduleFilter, limit: int, order: ScheduleOrder) -> list[ScheduleBrief]:
    chosen = schedules_chosen(where)
    values = chosen.values | {"limit": max(0, limit), "never": NEVER}
    return readable_briefs(session.rows(listing(order).briefs, chosen.conditions, **values))


def schedule_names(session: Session, schedule_ids: Sequence[str]) -> dict[str, str]:
    return dict(session.rows("schedule_names", ids=id_list(schedule_ids)))


def overview(session: Session, user_id: str | None) -> Overview:
    user_id = clean_text(user_id)
    if user_id is None:
        schedules = session.rows("schedules_in_all")[0]
    else:
        schedules = session.rows("schedules_in_all_of_user", user_id=user_id)[0]
    of_user = user_id is not None
    runs = session.rows("active_in_all", ["runs_of_user"] if of_user else [], user_id=user_id)[0]
    due = session.rows(
        "next_to_fire", ["schedules_of_user"] if of_user else [], user_id=user_id, limit=NEXT_FIRE_CANDIDATES
    )
    return overview_of(schedules, runs, due)


def marks(
    session: Session,
    schedule_ids: Sequence[str],
    limit: int,
    since: Instant | None,
    until: Instant | None,
    with_usage: bool,
) -> dict[str, list[RunMark]]:
    chosen = bounded_selection(RunFilter(since=since, until=until), late_id(session, until))
    query = "marks_of_with_usage" if with_usage else "marks_of"
    ids = list(dict.fromkeys(schedule_ids))
    rows = [
        row
        for of in ids
        for row in session.rows(
            query, chosen.conditions, schedule_id=clean_text(of), limit=max(0, limit), **chosen.values
        )
    ]
    return marks_by_schedule(ids, rows)


def count_fires(session: Session, where: RunFilter, count: int) -> list[BinCount]:
    bins, wanted = bins_of(where, count), asked(where)
    if bins is None:
        return []
    # The bins bound what is counted, and each state is counted by itself.
    chosen, bounds = selection(replace(where, since=None, until=None, statuses=())), json.dumps(bins.bounds())
    counted = [
        (number, status.value, fires)
        for name, statuses in (("count_final_runs", wanted.ended), ("count_absences", wanted.absent))
        for status in statuses
        for number, fires in session.rows(name, of_status(chosen, status).conditions, bins=bounds, **chosen.values)
    ]
    active = selection(where)
    still_active = session.rows("active_fires", active.conditions, **active.values) if wanted.active else []
    return bin_counts(bins, counted, still_active)


def newest_marks(session: Session, where: RunFilter, limit: int) -> list[RunMark]:
    chosen = bounded_selection(where, late_id(session, where.until))
    query = "newest_active_marks" if only_active(where) else "newest_marks"
    return readable_marks(session.rows(query, chosen.conditions, limit=max(0, limit), **chosen.values))


def counts_by_schedule(session: Session, where: RunFilter, limit: int) -> list[ScheduleCount]:
    wanted, chosen, active = asked(where), selection(replace(where, statuses=())), selection(where)
    rows = [
        row
        for name, statuses in (("final_runs_by_schedule", wanted.ended), ("absences_by_schedule", wanted.absent))
        for status in statuses
        for row in session.rows(name, of_status(chosen, status).conditions, **chosen.values)
    ]
    if wanted.active:
        rows += session.rows("active_runs_by_schedule", active.conditions, **active.values)
    return most_fires(rows, limit)


def failures(session: Session, where: RunFilter, limit: int) -> list[Failure]:
    chosen = selection(replace(where, statuses=()))
    rows = [
        row
        for status in failed(where)
        for row in session.rows("failures", of_status(chosen, status).conditions, limit=max(0, limit), **chosen.values)
    ]
    return newest_failures(rows, limit)


def held_runs(session: Session, worker_ids: Sequence[str], limit: int) -> dict[str, list[RunMark]]:
    """Every worker asked for has a list, if an empty one."""
    return {
        worker_id: readable_marks(session.rows("marks_held", worker_id=clean_text(worker_id), limit=max(0, limit)))
        for worker_id in worker_ids
    }
