"""Runs and workers in SQLite: each function is one operation inside a transaction of its caller."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import structlog

from agentclock.core.errors import CorruptRow
from agentclock.core.lifecycle import Settlement
from agentclock.core.model import ACTIVE_STATUSES, DAY_SECONDS, SECOND, Attempt, Claim, Instant, Run, RunStatus
from agentclock.ports import (
    Accounting,
    Beat,
    Claimed,
    Page,
    PageRequest,
    RunFilter,
    WorkerInfo,
    WorkerRow,
)
from agentclock.store.columns import RUN_COLUMNS
from agentclock.store.filters import (
    Selection,
    decode_cursor,
    decoded,
    first_run_id,
    offset,
    page_of,
    run_selection,
)
from agentclock.store.rows import (
    clean_text,
    decode_attempt,
    decode_run,
    decode_schedule,
    decode_worker,
    encode_settlement,
)
from agentclock.store.sqlite_file import Session, id_list

#: A manual run's id is made a moment before its fire time is read.
ID_SLACK_MS: Final = 60_000

_UNSUCCESSFUL: Final = frozenset(RunStatus) - {RunStatus.PENDING, RunStatus.RUNNING, RunStatus.SUCCESS}

#: Workers that died longer ago than this are forgotten.
WORKER_MEMORY_SECONDS: Final = 7 * DAY_SECONDS

_STATUS, _ATTEMPT, _FENCE, _WORKER_ID, _WORKER, _STARTED_AT = map(
    RUN_COLUMNS.index, ("status", "attempt", "fence", "worker_id", "worker", "started_at")
)


def claim(session: Session, worker_id: str, limit: int) -> Claimed:
    now = session.now
    worker = session.row("live_worker", worker_id=worker_id, now=now)
    if worker is None:
        return Claimed()

    def take(run: list[Any]) -> None:
        run[_STATUS] = RunStatus.RUNNING
        run[_ATTEMPT] += 1
        run[_FENCE] += 1
        run[_WORKER_ID], run[_WORKER] = worker_id, worker[0]
        if run[_STARTED_AT] is None:
            run[_STARTED_AT] = now

    claims, faults = _claims(session, session.rows("claimable", now=now, limit=max(0, limit)), take)
    session.run_many("claim_run", ({**_claim_values(held.run), "started_at": held.run.started_at} for held in claims))
    session.run_many(
        "start_attempt",
        ({"run_id": held.run.id, "number": held.run.attempt, "worker": held.run.worker, "now": now} for held in claims),
    )
    next_at: Instant | None = session.value("next_available", now=now)
    return Claimed(
        claims=tuple(claims),
        faults=tuple(faults),
        next_available_ms=None if next_at is None else next_at - now,
    )


def orphans(session: Session, limit: int) -> list[Claim]:
    session.run("retire_workers", now=session.now)
    rows = session.rows("orphaned", limit=max(0, limit))

    def take(run: list[Any]) -> None:
        run[_FENCE] += 1

    claims, faults = _claims(session, rows, take)
    session.run_many("raise_fence", (_claim_values(held.run) for held in claims))
    _report(faults)
    return claims


def _claim_values(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "attempt": run.attempt,
        "fence": run.fence,
        "worker_id": run.worker_id,
        "worker": run.worker,
    }


def _claims(
    session: Session, rows: Iterable[Sequence[Any]], change: Callable[[list[Any]], None]
) -> tuple[list[Claim], list[CorruptRow]]:
    """Claims out of joined rows; a run that cannot be read, or whose schedule cannot, ends as failed."""
    claims: list[Claim] = []
    faults: list[CorruptRow] = []
    width = len(RUN_COLUMNS)
    for row in rows:
        try:
            claims.append(Claim(run=decode_run(row[:width], change), schedule=decode_schedule(row[width:])))
        except CorruptRow as fault:
            faults.append(fault)
            run_id, schedule_id = row[:2]
            session.run("fail_run", id=run_id, error=str(fault), now=session.now)
            session.run("fail_attempts", id=run_id, error=str(fault), now=session.now)
            session.run("release_waiting_of", ids=id_list([str(schedule_id)]), now=session.now)
    return claims, faults


def _report(faults: Iterable[CorruptRow]) -> None:
    for fault in faults:
        structlog.get_logger("agentclock.store").error("unreadable row", **vars(fault))


def note_agent_run(session: Session, run_id: str, fence: int, agent_run_id: str | None, session_id: str | None) -> bool:
    values = {
        "id": clean_text(run_id),
        "fence": fence,
        "agent_run_id": clean_text(agent_run_id),
        "session_id": clean_text(session_id),
    }
    noted = session.run("note_agent_run", **values) > 0
    if noted:
        session.run("note_agent_run_of_attempt", **values)
    return noted


def settle(session: Session, settlements: Sequence[Settlement]) -> frozenset[str]:
    ids = id_list(settlement.run_id for settlement in settlements)
    fences = dict(session.rows("running_fences", ids=ids))
    valid = {s.run_id: s for s in reversed(settlements) if fences.get(s.run_id) == s.fence}
    rows = [encode_settlement(settlement) for settlement in valid.values()]
    session.run_many("settle_run", rows)
    session.run_many("finish_attempt", (row for row in rows if row["attempt_status"] is not None))
    session.run_many("forget_attempt", (row for row in rows if row["attempt_status"] is None))
    if valid:
        of = id_list({settlement.schedule_id for settlement in valid.values()})
        session.run("release_waiting_of", ids=of, now=session.now)
    return frozenset(valid)


def request_cancel(session: Session, run_id: str) -> RunStatus | None:
    run_id = clean_text(run_id) or ""
    row = session.row("run_state", id=run_id)
    if row is None:
        return None
    status, schedule_id = row
    if session.run("cancel_run", id=run_id, now=session.now):
        session.run("release_waiting_of", ids=id_list([schedule_id]), now=session.now)
        return RunStatus.CANCELLED
    session.run("request_cancel", id=run_id)
    try:
        return RunStatus(status)
    except ValueError as error:
        raise CorruptRow("runs", run_id, f"status: {error}") from error


def release_waiting(session: Session) -> int:
    return session.run("release_waiting", now=session.now)


# workers


def register_worker(session: Session, worker: WorkerInfo, lease_seconds: float, *, alone: bool) -> None:
    """`alone`: whoever else has a lease is dead, for the engine's lock is ours."""
    if alone:
        session.run("end_other_leases", now=session.now)
    session.run(
        "register_worker",
        id=clean_text(worker.id),
        name=clean_text(worker.name),
        app_version=clean_text(worker.app_version),
        now=session.now,
        lease_until=_lease_end(session.now, lease_seconds),
    )


def renew_lease(session: Session, worker_id: str, lease_seconds: float) -> Beat:
    lease_until = _lease_end(session.now, lease_seconds)
    alive = session.run("renew_lease", worker_id=worker_id, lease_until=lease_until) > 0
    wanted = session.rows("cancel_requests", worker_id=worker_id)
    return Beat(alive=alive, cancel_requested=tuple(row[0] for row in wanted))


def _lease_end(now: Instant, lease_seconds: float) -> Instant:
    return now + round(lease_seconds * SECOND)


def end_lease(session: Session, worker_id: str) -> None:
    session.run("end_lease", worker_id=worker_id, now=session.now)


def workers(session: Session) -> list[WorkerRow]:
    rows, faults = decoded(session.rows("list_workers"), decode_worker)
    _report(faults)
    return list(rows)


# history


def get_run(session: Session, run_id: str) -> Run | None:
    row = session.row("get_run", id=clean_text(run_id))
    return None if row is None else decode_run(row)


def attempts_of(session: Session, run_ids: Sequence[str]) -> dict[str, list[Attempt]]:
    """Every run asked for has a list, if an empty one."""
    rows, faults = decoded(session.rows("attempts_of", ids=id_list(run_ids)), decode_attempt)
    _report(faults)
    found: dict[str, list[Attempt]] = {run_id: [] for run_id in run_ids}
    for attempt in rows:
        found[attempt.run_id].append(attempt)
    return found


def list_runs(session: Session, where: RunFilter, page: PageRequest) -> Page[Run]:
    chosen = bounded_selection(where)
    total = session.value("count_runs", chosen.conditions, **chosen.values)
    if page.cursor is not None:
        (run_id,) = decode_cursor(page.cursor, str)
        chosen = chosen.after("runs_after", cursor_id=run_id)
    query = "list_active_runs" if only_active(where) else "list_runs"
    rows = session.rows(query, chosen.conditions, limit=page.limit + 1, offset=offset(page), **chosen.values)
    return page_of(rows, total_count=total, limit=page.limit, decode=decode_run, position=lambda row: (row[0],))


def bounded_selection(where: RunFilter) -> Selection:
    """What `where` asks for, with the words that let SQLite use an index: bounds of fire times as bounds of ids
    too, and the very condition of the partial index that holds every state asked for."""
    chosen = run_selection(where)
    if where.since is not None:
        chosen = chosen.after("runs_from_id", from_id=first_run_id(where.since - ID_SLACK_MS))
    if where.until is not None:
        chosen = chosen.after("runs_to_id", to_id=first_run_id(where.until + ID_SLACK_MS))
    if only_active(where):
        return chosen.after("r.status IN ('pending', 'running', 'paused')")
    if where.statuses and _UNSUCCESSFUL.issuperset(where.statuses):
        return chosen.after("r.status IN ('failed', 'timeout', 'lost', 'cancelled', 'skipped', 'missed', 'paused')")
    return chosen


def only_active(where: RunFilter) -> bool:
    return bool(where.statuses) and ACTIVE_STATUSES.issuperset(where.statuses)


def accounting(session: Session, schedule_id: str, after: Instant, until: Instant) -> Accounting:
    row = session.rows(
        "accounting",
        schedule_id=clean_text(schedule_id),
        first_id=first_run_id(after),
        end_id=first_run_id(until + 1),
        after=after,
        until=until,
    )[0]
    return Accounting(runs=row[0], skipped=row[1], missed=row[2])


def prune(session: Session, before: Instant, limit: int) -> int:
    rows = session.rows("prunable", end_id=first_run_id(before), before=before, limit=max(0, limit))
    ids = id_list(row[0] for row in rows)
    session.run("prune_attempts", ids=ids)
    session.run("prune_runs", ids=ids)
    session.run("prune_schedules", limit=max(0, limit))
    session.run("prune_workers", dead_since=session.now - WORKER_MEMORY_SECONDS * SECOND)
    return len(rows)
