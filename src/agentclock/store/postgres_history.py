"""The history of runs in PostgreSQL: each function is one operation inside a transaction of its caller."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from agentclock.core.model import DAY_SECONDS, SECOND, Attempt, Instant, Run, Usage
from agentclock.core.triggers import KEY_HOURS
from agentclock.ports import Accounting, Page, PageRequest, RunFilter, UsageTotal
from agentclock.store import postgres_notices
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
from agentclock.store.postgres_pool import Row, Session, run_uuid
from agentclock.store.rows import clean_text, decode_attempt, decode_run, decode_usage

#: Workers that died longer ago than this are forgotten.
WORKER_MEMORY_SECONDS: Final = 7 * DAY_SECONDS

#: A manual run's id carries the clock of whoever triggered it, its fire time the database's: ranges of ids are
#: taken this much wider than ranges of fire times.
ID_SLACK_MS: Final = DAY_SECONDS * SECOND


async def get_run(session: Session, run_id: str) -> Run | None:
    row = await session.row("get_run", id=run_uuid(run_id))
    return None if row is None else decode_run(row)


async def runs_by_id(session: Session, run_ids: Sequence[str]) -> list[Run]:
    return _readable(await session.rows("runs_by_id", ids=[run_uuid(run_id) for run_id in run_ids]))


async def recent_runs(session: Session, since: Instant, limit: int) -> list[Run]:
    from_id = first_run_id(since - ID_SLACK_MS)
    newest = await session.rows("newest_runs", from_id=from_id, since=since, limit=max(0, limit))
    active = await session.rows("active_runs", limit=max(0, limit))
    return _readable({row[0]: row for row in (*newest, *active)}.values())


def _readable(rows: Iterable[Row]) -> list[Run]:
    runs, faults = decoded(rows, decode_run)
    report(faults)
    return list(runs)


async def attempts_of(session: Session, run_ids: Sequence[str]) -> dict[str, list[Attempt]]:
    """Every run asked for has a list, if an empty one."""
    ids = [run_uuid(run_id) for run_id in run_ids]
    rows, faults = decoded(await session.rows("attempts_of", ids=ids), decode_attempt)
    report(faults)
    found: dict[str, list[Attempt]] = {}
    for attempt in rows:
        found.setdefault(attempt.run_id, []).append(attempt)
    return {run_id: found.get(run_uuid(run_id), []) for run_id in run_ids}


async def list_runs(session: Session, where: RunFilter, page: PageRequest) -> Page[Run]:
    chosen = bounded(where, await late_id(session, where.until))
    total = await session.value("count_runs", chosen.conditions, **chosen.values)
    if page.cursor is not None:
        (run_id,) = decode_cursor(page.cursor, str)
        chosen = chosen.after("runs_after", cursor_id=run_uuid(run_id))
    query = "list_runs"
    if is_of_few(where):
        query, chosen = "list_runs_of_few", each_by_itself(chosen)
    rows = await session.rows(query, chosen.conditions, limit=page.limit + 1, offset=offset(page), **chosen.values)
    return page_of(rows, total_count=total, limit=page.limit, decode=decode_run, position=lambda row: (row[0],))


async def late_id(session: Session, until: Instant | None) -> str | None:
    """The newest run that has a fire time before `until` and an id of much later."""
    return None if until is None else await session.value("late_run", until=until)


def bounded(where: RunFilter, late_id: str | None) -> Selection:
    """Bounds of fire times as bounds of ids too, for ids are what history is indexed by."""
    chosen = run_selection(where)
    if where.since is not None:
        chosen = chosen.after("runs_from_id", from_id=first_run_id(where.since - ID_SLACK_MS))
    if where.until is not None:
        chosen = chosen.after("runs_to_id", to_id=last_run_id(where.until + ID_SLACK_MS, late_id))
    return chosen


async def usage(session: Session, schedule_id: str, since: Instant | None, until: Instant | None) -> list[UsageTotal]:
    bounds = usage_bounds(schedule_id, since, until, ID_SLACK_MS, await late_id(session, until))
    rows = await session.rows("usage", **bounds)
    return [UsageTotal(usage=decode_usage(row[:-1]) or Usage(), attempts=row[-1]) for row in rows]


async def accounting(session: Session, schedule_id: str, after: Instant, until: Instant) -> Accounting:
    of = clean_text(schedule_id)
    found = await session.rows("accounting", schedule_id=of, after=after, until=until)
    across = {
        row[0]: row
        for at in (after, until)
        for row in await session.rows("absent_across", schedule_id=of, at=at, end_id=first_run_id(at + 1))
    }
    runs, skipped, missed = found[0]
    return Accounting(runs=runs, skipped=skipped, missed=missed, across=tuple(_readable(across.values())))


async def prune(session: Session, before: Instant, limit: int) -> int:
    values = {"before": before, "end_id": first_run_id(before + ID_SLACK_MS), "limit": max(0, limit)}
    if await session.value("prune_events", event_limit=PRUNED_EVENTS, **values) == PRUNED_EVENTS:
        return limit
    pruned: int = await session.value("prune_runs", **values)
    await session.rows("prune_schedules", limit=max(0, limit))
    await session.rows("prune_revisions", before=before, limit=max(0, limit))
    await session.rows("prune_backfills", before=before)
    await postgres_notices.prune(session, before)
    await session.rows("prune_trigger_keys", hours=KEY_HOURS, limit=max(0, limit))
    await session.rows("prune_workers", memory_seconds=float(WORKER_MEMORY_SECONDS))
    return pruned
