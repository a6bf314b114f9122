"""The history of runs in SQLite: each function is one operation inside a transaction of its caller."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from agentclock.core.model import ACTIVE_STATUSES, DAY_SECONDS, SECOND, Attempt, Instant, Run, RunStatus, Usage
from agentclock.core.triggers import KEY_HOURS
from agentclock.ports import Accounting, Page, PageRequest, RunFilter, UsageTotal
from agentclock.store import sqlite_notices
from agentclock.store.claiming import report
from agentclock.store.filters import (
    PRUNED_EVENTS,
    Selection,
    decode_cursor,
    decoded,
    each_by_itself,
    first_run_id,
    is_of_few,
    last_run_id,
    offset,
    page_of,
    run_selection,
    usage_bounds,
)
from agentclock.store.rows import clean_text, decode_attempt, decode_run, decode_usage
from agentclock.store.sqlite_file import Session, id_list

#: A manual run's id is made a moment before its fire time is read.
ID_SLACK_MS: Final = 60_000

_UNSUCCESSFUL: Final = frozenset(RunStatus) - {RunStatus.PENDING, RunStatus.RUNNING, RunStatus.SUCCESS}

#: Workers that died longer ago than this are forgotten.
WORKER_MEMORY_SECONDS: Final = 7 * DAY_SECONDS


def get_run(session: Session, run_id: str) -> Run | None:
    row = session.row("get_run", id=clean_text(run_id))
    return None if row is None else decode_run(row)


def runs_by_id(session: Session, run_ids: Sequence[str]) -> list[Run]:
    return _readable(session.rows("runs_by_id", ids=id_list(run_ids)))


def recent_runs(session: Session, since: Instant, limit: int) -> list[Run]:
    from_id = first_run_id(since - ID_SLACK_MS)
    newest = session.rows("newest_runs", from_id=from_id, since=since, limit=max(0, limit))
    active = session.rows("active_runs", limit=max(0, limit))
    return _readable({row[0]: row for row in (*newest, *active)}.values())


def _readable(rows: Iterable[Sequence[Any]]) -> list[Run]:
    runs, faults = decoded(rows, decode_run)
    report(faults)
    return list(runs)


def attempts_of(session: Session, run_ids: Sequence[str]) -> dict[str, list[Attempt]]:
    """Every run asked for has a list, if an empty one."""
    rows, faults = decoded(session.rows("attempts_of", ids=id_list(run_ids)), decode_attempt)
    report(faults)
    found: dict[str, list[Attempt]] = {run_id: [] for run_id in run_ids}
    for attempt in rows:
        found[attempt.run_id].append(attempt)
    return found


def list_runs(session: Session, where: RunFilter, page: PageRequest) -> Page[Run]:
    chosen = bounded_selection(where, late_id(session, where.until))
    total = session.value("count_runs", chosen.conditions, **chosen.values)
    if page.cursor is not None:
        (run_id,) = decode_cursor(page.cursor, str)
        chosen = chosen.after("runs_after", cursor_id=run_id)
    query = "list_active_runs" if only_active(where) else "list_runs"
    if is_of_few(where):
        query, chosen = "list_runs_of_few", each_by_itself(chosen)
    rows = session.rows(query, chosen.conditions, limit=page.limit + 1, offset=offset(page), **chosen.values)
    return page_of(rows, total_count=total, limit=page.limit, decode=decode_run, position=lambda row: (row[0],))


def late_id(session: Session, until: Instant | None) -> str | None:
    """The newest run that has a fire time before `until` and an id of much later."""
    row = None if until is None else session.row("late_run", until=until)
    return None if row is None else str(row[0])


def bounded_selection(where: RunFilter, late_id: str | None = None) -> Selection:
    """What `where` asks for, with the words that let SQLite use an index: bounds of fire times as bounds of ids
    too, and the very condition of the partial index that holds every state asked for."""
    chosen = selection(where)
    if where.since is not None:
        chosen = chosen.after("runs_from_id", from_id=first_run_id(where.since - ID_SLACK_MS))
    if where.until is not None:
        chosen = chosen.after("runs_to_id", to_id=last_run_id(where.until + ID_SLACK_MS, late_id))
    if only_active(where):
        return chosen.after("r.status IN ('pending', 'running', 'paused')")
    if where.statuses and _UNSUCCESSFUL.issuperset(where.statuses):
        return chosen.after("r.status IN ('failed', 'timeout', 'lost', 'cancelled', 'skipped', 'missed', 'paused')")
    return chosen


def selection(where: RunFilter) -> Selection:
    chosen = run_selection(where)
    ids = chosen.values.get("schedule_ids")
    return chosen if ids is None else replace(chosen, values=chosen.values | {"schedule_ids": id_list(ids)})


def only_active(where: RunFilter) -> bool:
    return bool(where.statuses) and ACTIVE_STATUSES.issuperset(where.statuses)


def usage(session: Session, schedule_id: str, since: Instant | None, until: Instant | None) -> list[UsageTotal]:
    rows = session.rows("usage", **usage_bounds(schedule_id, since, until, ID_SLACK_MS, late_id(session, until)))
    return [UsageTotal(usage=decode_usage(row[:-1]) or Usage(), attempts=row[-1]) for row in rows]


def accounting(session: Session, schedule_id: str, after: Instant, until: Instant) -> Accounting:
    of = clean_text(schedule_id)
    found = session.rows("accounting", schedule_id=of, after=after, until=until)
    across = {
        row[0]: row
        for at in (after, until)
        for row in session.rows("absent_across", schedule_id=of, at=at, end_id=first_run_id(at + 1))
    }
    runs, skipped, missed = found[0]
    return Accounting(runs=runs, skipped=skipped, missed=missed, across=tuple(_readable(across.values())))


def prune(session: Session, before: Instant, limit: int) -> int:
    rows = session.rows("prunable", end_id=first_run_id(before), before=before, limit=max(0, limit))
    ids = id_list(row[0] for row in rows)
    if session.run("prune_events", ids=ids, event_limit=PRUNED_EVENTS) == PRUNED_EVENTS:
        return limit
    session.run("prune_attempts", ids=ids)
    session.run("prune_runs", ids=ids)
    gone = id_list(row[0] for row in session.rows("prunable_schedules", limit=max(0, limit)))
    for name in ("prune_schedules", "prune_revisions_of", "prune_backfills_of"):
        session.run(name, ids=gone)
    session.run("prune_revisions", before=before, limit=max(0, limit))
    session.run("prune_backfills", before=before)
    sqlite_notices.prune(session, before)
    session.run("prune_trigger_keys", now=session.now, hours=KEY_HOURS, limit=max(0, limit))
    session.run("prune_workers", dead_since=session.now - WORKER_MEMORY_SECONDS * SECOND)
    return len(rows)
