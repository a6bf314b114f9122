"""Runs and workers in PostgreSQL: each function is one operation inside a transaction of its caller."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import structlog

from agentclock.core.errors import CorruptRow
from agentclock.core.lifecycle import Settlement
from agentclock.core.model import DAY_SECONDS, SECOND, Attempt, Claim, Instant, Run, RunStatus
from agentclock.ports import Accounting, Beat, Claimed, Page, PageRequest, RunFilter, WorkerInfo, WorkerRow
from agentclock.store.filters import (
    Selection,
    decode_cursor,
    decoded,
    first_run_id,
    offset,
    page_of,
    run_selection,
)
from agentclock.store.postgres_pool import Row, Session, filled
from agentclock.store.rows import (
    clean_text,
    decode_attempt,
    decode_run,
    decode_schedule,
    decode_worker,
    encode_settlement,
)

T = TypeVar("T")

#: Workers that died longer ago than this are forgotten.
WORKER_MEMORY_SECONDS: Final = 7 * DAY_SECONDS

#: A manual run's id carries the clock of whoever triggered it, its fire time the database's: ranges of ids are
#: taken this much wider than ranges of fire times.
ID_SLACK_MS: Final = DAY_SECONDS * SECOND

#: Schedules whose waiting runs are looked at in one transaction.
RELEASE_BATCH: Final = 500

_NO_RUN: Final = str(uuid.UUID(int=0))


async def claim(session: Session, worker_id: str, limit: int) -> Claimed:
    rows = await session.rows("claim_runs", worker_id=clean_text(worker_id), limit=max(0, limit))
    claims, faults = await _claims(session, rows)
    upcoming = await session.row("next_available")
    return Claimed(
        claims=tuple(claims),
        faults=tuple(faults),
        next_available_ms=None if upcoming is None else upcoming[0] - upcoming[1],
    )


async def orphans(session: Session, limit: int) -> list[Claim]:
    await session.rows("retire_workers")
    claims, faults = await _claims(session, await session.rows("orphaned", limit=max(0, limit)))
    _report(faults)
    return claims


async def _claims(session: Session, rows: Sequence[Row]) -> tuple[list[Claim], list[CorruptRow]]:
    """Claims out of taken runs; a run that cannot be read, or whose schedule cannot, ends as failed."""
    if not rows:
        return [], []
    found, runs = await session.rows_while(
        lambda: [_tried(decode_run, row) for row in rows], "schedules_by_id", ids=list({row[1] for row in rows})
    )
    schedules = {row[0]: _tried(decode_schedule, row) for row in found}
    claims: list[Claim] = []
    faults: dict[str, CorruptRow] = {}
    for row, run in zip(rows, runs, strict=True):
        schedule = schedules.get(row[1]) or CorruptRow("schedules", row[1], "there is no such schedule")
        if isinstance(schedule, CorruptRow):
            faults[row[0]] = schedule
        elif isinstance(run, CorruptRow):
            faults[row[0]] = run
        else:
            claims.append(Claim(run=run, schedule=schedule))
    if faults:
        reasons = [clean_text(str(fault)) for fault in faults.values()]
        of = await session.rows("fail_runs", ids=list(faults), errors=reasons)
        await session.rows("release_waiting_of", ids=sorted(row[0] for row in of))
    return claims, list(faults.values())


def _tried(decode: Callable[[Row], T], row: Row) -> T | CorruptRow:
    try:
        return decode(row)
    except CorruptRow as fault:
        return fault


def _report(faults: Iterable[CorruptRow]) -> None:
    for fault in faults:
        structlog.get_logger("agentclock.store").error("unreadable row", **vars(fault))


async def note_agent_run(
    session: Session, run_id: str, fence: int, agent_run_id: str | None, session_id: str | None
) -> bool:
    noted = await session.row(
        "note_agent_run",
        id=_uuid(run_id),
        fence=fence,
        agent_run_id=clean_text(agent_run_id),
        session_id=clean_text(session_id),
    )
    return noted is not None


async def settle(session: Session, settlements: Sequence[Settlement]) -> frozenset[str]:
    """Two statements for any number of settlements: the ends, then what they let go."""
    chosen = {(settlement.run_id, settlement.fence): settlement for settlement in reversed(settlements)}
    rows = [encode_settlement(settlement) for settlement in chosen.values()]
    settled = await session.rows("settle_runs", **_ends(rows))
    if settled:
        of = {settlement.schedule_id for settlement in chosen.values()}
        await session.rows("release_waiting_of", ids=sorted(of))
    return frozenset(row[0] for row in settled)


def _ends(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    return filled(
        ids=[row["id"] for row in rows],
        fences=[row["fence"] for row in rows],
        statuses=[row["status"] for row in rows],
        available_at=[row["available_at"] for row in rows],
        completed_at=[row["completed_at"] for row in rows],
        attempts=[row["attempt"] for row in rows],
        attempt_numbers=[row["attempt_number"] for row in rows],
        attempt_statuses=[row["attempt_status"] for row in rows],
        refusals=[row["refusals"] for row in rows],
        ended_at=[row["now"] for row in rows],
        status_codes=[row["status_code"] for row in rows],
        errors=[row["error"] for row in rows],
        agent_run_ids=[row["agent_run_id"] for row in rows],
        session_ids=[row["session_id"] for row in rows],
        inputs=[row["input"] for row in rows],
        outputs=[row["output"] for row in rows],
        requirements=[row["requirements"] for row in rows],
        metrics=[row["metrics"] for row in rows],
    )


async def request_cancel(session: Session, run_id: str) -> RunStatus | None:
    run_id = _uuid(run_id)
    row = await session.row("cancel_run", id=run_id)
    if row is not None and row[0] == RunStatus.CANCELLED:
        await session.rows("release_waiting_of", ids=[row[1]])
    row = row or await session.row("run_state", id=run_id)
    try:
        return None if row is None else RunStatus(row[0])
    except ValueError as error:
        raise CorruptRow("runs", run_id, f"status: {error}") from error


async def release_waiting(session: Session) -> int:
    free = await session.rows("release_waiting", limit=RELEASE_BATCH)
    return len(await session.rows("release_waiting_of", ids=sorted(row[0] for row in free))) if free else 0


# workers


async def register_worker(session: Session, worker: WorkerInfo, lease_seconds: float) -> None:
    await session.rows(
        "register_worker",
        id=clean_text(worker.id),
        name=clean_text(worker.name),
        app_version=clean_text(worker.app_version),
        lease_seconds=float(lease_seconds),
    )


async def renew_lease(session: Session, worker_id: str, lease_seconds: float) -> Beat:
    worker_id = clean_text(worker_id) or ""
    renewed = await session.row("renew_lease", worker_id=worker_id, lease_seconds=float(lease_seconds))
    wanted = await session.rows("cancel_requests", worker_id=worker_id)
    return Beat(alive=renewed is not None, cancel_requested=tuple(row[0] for row in wanted))


async def end_lease(session: Session, worker_id: str) -> None:
    await session.rows("end_lease", worker_id=clean_text(worker_id))


async def workers(session: Session) -> list[WorkerRow]:
    rows, faults = decoded(await session.rows("list_workers"), decode_worker)
    _report(faults)
    return list(rows)


# history


async def get_run(session: Session, run_id: str) -> Run | None:
    row = await session.row("get_run", id=_uuid(run_id))
    return None if row is None else decode_run(row)


async def attempts_of(session: Session, run_ids: Sequence[str]) -> dict[str, list[Attempt]]:
    """Every run asked for has a list, if an empty one."""
    rows, faults = decoded(await session.rows("attempts_of", ids=[_uuid(run_id) for run_id in run_ids]), decode_attempt)
    _report(faults)
    found: dict[str, list[Attempt]] = {}
    for attempt in rows:
        found.setdefault(attempt.run_id, []).append(attempt)
    return {run_id: found.get(_uuid(run_id), []) for run_id in run_ids}


async def list_runs(session: Session, where: RunFilter, page: PageRequest) -> Page[Run]:
    chosen = _bounded(run_selection(where), where)
    total = await session.value("count_runs", chosen.conditions, **chosen.values)
    if page.cursor is not None:
        (run_id,) = decode_cursor(page.cursor, str)
        chosen = chosen.after("runs_after", cursor_id=_uuid(run_id))
    rows = await session.rows(
        "list_runs", chosen.conditions, limit=page.limit + 1, offset=offset(page), **chosen.values
    )
    return page_of(rows, total_count=total, limit=page.limit, decode=decode_run, position=lambda row: (row[0],))


def _bounded(chosen: Selection, where: RunFilter) -> Selection:
    """Bounds of fire times as bounds of ids too, for ids are what history is indexed by."""
    if where.since is not None:
        chosen = chosen.after("runs_from_id", from_id=first_run_id(where.since - ID_SLACK_MS))
    if where.until is not None:
        chosen = chosen.after("runs_to_id", to_id=first_run_id(where.until + ID_SLACK_MS))
    return chosen


async def accounting(session: Session, schedule_id: str, after: Instant, until: Instant) -> Accounting:
    rows = await session.rows(
        "accounting",
        schedule_id=clean_text(schedule_id),
        first_id=first_run_id(after),
        end_id=first_run_id(until + 1),
        after=after,
        until=until,
    )
    runs, skipped, missed = rows[0]
    return Accounting(runs=runs, skipped=skipped, missed=missed)


async def prune(session: Session, before: Instant, limit: int) -> int:
    values = {"before": before, "end_id": first_run_id(before + ID_SLACK_MS), "limit": max(0, limit)}
    pruned: int = await session.value("prune_runs", **values)
    await session.rows("prune_schedules", limit=max(0, limit))
    await session.rows("prune_workers", memory_seconds=float(WORKER_MEMORY_SECONDS))
    return pruned


def _uuid(run_id: str) -> str:
    """The id as PostgreSQL takes it; for a text that is no run id, one that no run has."""
    try:
        return str(uuid.UUID(run_id)) if len(run_id) == 36 else _NO_RUN
    except ValueError:
        return _NO_RUN
