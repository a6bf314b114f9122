"""Runs and workers in SQLite: each function is one operation inside a transaction of its caller."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from agentclock.core.actors import Actor
from agentclock.core.errors import CorruptRow
from agentclock.core.lifecycle import Settlement
from agentclock.core.model import SECOND, Claim, Instant, Instruction, Run, RunStatus
from agentclock.ports import Backlog, Beat, Claimed, WorkerInfo, WorkerRow
from agentclock.store import auditing, sqlite_notices
from agentclock.store.claiming import backlog_of, claim_of, report, reviews_of, tried
from agentclock.store.columns import RUN_COLUMNS
from agentclock.store.filters import decoded
from agentclock.store.firing import doomed
from agentclock.store.rows import (
    CALLED_OFF,
    clean_text,
    decode_run,
    decode_schedule,
    decode_worker,
    encode_cancel,
    encode_instruction,
    encode_settlement,
)
from agentclock.store.sqlite_audit import record
from agentclock.store.sqlite_disabling import disable
from agentclock.store.sqlite_file import Session, id_list
from agentclock.store.sqlite_waiting import let_go

_CAUSE, _AGENT_RUN_ID = map(RUN_COLUMNS.index, ("cause", "agent_run_id"))
_STATUS, _ATTEMPT, _FENCE, _WORKER_ID, _WORKER, _INSTRUCTION, _STARTED_AT, _ATTEMPT_STARTED_AT = map(
    RUN_COLUMNS.index,
    ("status", "attempt", "fence", "worker_id", "worker", "instruction", "started_at", "attempt_started_at"),
)


def claim(session: Session, worker_id: str, limit: int) -> Claimed:
    now = session.now
    worker = session.row("live_worker", worker_id=worker_id, now=now)
    if worker is None:
        return Claimed()

    def take(run: list[Any]) -> None:
        run[_STATUS] = RunStatus.RUNNING
        run[_FENCE] += 1
        run[_WORKER_ID], run[_WORKER] = worker_id, worker[0]
        if run[_STARTED_AT] is None:
            run[_STARTED_AT] = now
        if run[_INSTRUCTION] is None:
            run[_ATTEMPT] += 1
            run[_ATTEMPT_STARTED_AT] = now
            run[_AGENT_RUN_ID] = None
        elif run[_ATTEMPT_STARTED_AT] is None:
            run[_ATTEMPT_STARTED_AT] = now

    claims, faults = _claims(session, session.rows("claimable", now=now, limit=max(0, limit)), take)
    session.run_many("claim_run", (_claim_values(held.run) for held in claims))
    attempts = [_attempt_values(held.run, now) for held in claims if held.run.instruction is None]
    session.run_many("start_attempt", attempts)
    if len(attempts) < len(claims):
        resumed = (_attempt_values(held.run, now) for held in claims if held.run.instruction is not None)
        session.run_many("resume_attempt", resumed)
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
    report(faults)
    return claims


def _claim_values(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "attempt": run.attempt,
        "fence": run.fence,
        "worker_id": run.worker_id,
        "worker": run.worker,
        "started_at": run.started_at,
        "attempt_started_at": run.attempt_started_at,
        "agent_run_id": run.agent_run_id,
    }


def _attempt_values(run: Run, now: Instant) -> dict[str, Any]:
    return {"run_id": run.id, "number": run.attempt, "worker": run.worker, "now": now}


def _claims(
    session: Session, rows: Iterable[Sequence[Any]], change: Callable[[list[Any]], None]
) -> tuple[list[Claim], list[CorruptRow]]:
    """Claims out of joined rows; a run that cannot be read, or whose schedule cannot, ends as failed."""
    claims: list[Claim] = []
    faults: list[CorruptRow] = []
    width = len(RUN_COLUMNS)
    for row in rows:
        try:
            claims.append(claim_of(decode_run(row[:width], change), decode_schedule(row[width:]), session.now))
        except CorruptRow as fault:
            faults.append(fault)
            run_id, schedule_id, cause = row[0], row[1], row[_CAUSE]
            session.run("fail_run", id=run_id, error=str(fault), now=session.now)
            session.run("fail_attempts", id=run_id, error=str(fault), now=session.now)
            let_go(session, [(str(schedule_id), cause)])
    return claims, faults


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
    held = {row[0]: row[1:] for row in session.rows("held_runs", ids=ids)}
    valid = {s.run_id: s for s in reversed(settlements) if held.get(s.run_id, (None,))[0] == s.fence}
    rows = [encode_settlement(settlement) for settlement in valid.values()]
    rows = [_not_going_on(row) if held[row["id"]][1] else row for row in rows]
    session.run_many("settle_run", rows)
    session.run_many("finish_attempt", (row for row in rows if row["attempt_status"] is not None))
    session.run_many("forget_attempt", (row for row in rows if row["attempt_status"] is None))
    if session.subscriptions:
        as_told = [valid[row["id"]] for row in rows if row["status"] == valid[row["id"]].status]
        sqlite_notices.tell_ends(session, as_told)
    let_go(session, ((settlement.schedule_id, held[run_id][2]) for run_id, settlement in valid.items()))
    disable(session, doomed(valid.values()))
    return frozenset(valid)


def _not_going_on(row: dict[str, Any]) -> dict[str, Any]:
    """Somebody may have asked for a cancel after the worker last looked: then there is no further attempt, and no
    human is waited for."""
    if row["retry"]:
        return row | {"status": "cancelled", "completed_at": row["now"], "available_at": None}
    if row["paused_at"] is not None:
        waits = {"paused_at": None, "review_at": None, "approval_due_at": None}
        return row | waits | {"status": "pending", "available_at": row["now"], "instruction": CALLED_OFF}
    return row


def request_cancel(session: Session, run_id: str, why: str, by: Actor | None) -> RunStatus | None:
    run_id = clean_text(run_id) or ""
    before = session.row("run_state", id=run_id)
    if before is None:
        return None
    session.run("cancel_runs", ("cancelled_run",), id=run_id, now=session.now, **encode_cancel(why, asked=True))
    after = session.rows("run_state", id=run_id)[0]
    status, schedule_id, cause = after[:3]
    if status == RunStatus.CANCELLED != before[0]:
        let_go(session, [(schedule_id, cause)])
    if after != before:
        record(session, auditing.cancelled(run_id, schedule_id), by)
    try:
        return RunStatus(status)
    except ValueError as error:
        raise CorruptRow("runs", run_id, f"status: {error}") from error


def instruct(session: Session, run_id: str, instruction: Instruction, by: Actor | None) -> Run | None:
    values = {"id": clean_text(run_id), "instruction": encode_instruction(instruction), "now": session.now}
    if not session.run("instruct", **values):
        return None
    run = decode_run(session.rows("get_run", **values)[0])
    record(session, auditing.instructed(run, instruction), by)
    return run


def paused_due(session: Session, limit: int) -> list[Claim]:
    now, width = session.now, len(RUN_COLUMNS)
    found = []
    for row in session.rows("paused_due", now=now, limit=max(0, limit)):
        run = tried(decode_run, row[:width])
        found.append((row[0], run, tried(decode_schedule, row[width:])))
    reviews = reviews_of(found, now)
    session.run_many("put_off_review", ({"id": run_id, "at": at} for run_id, at in reviews.next_at.items()))
    report(reviews.faults)
    return list(reviews.claims)


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
        slots=worker.slots,
        now=session.now,
        lease_until=_lease_end(session.now, lease_seconds),
    )


def renew_lease(session: Session, worker_id: str, lease_seconds: float) -> Beat:
    lease_until = _lease_end(session.now, lease_seconds)
    alive = session.run("renew_lease", worker_id=worker_id, lease_until=lease_until) > 0
    return Beat(alive=alive, cancel_requested=cancel_requests(session, worker_id))


def cancel_requests(session: Session, worker_id: str) -> tuple[str, ...]:
    return tuple(row[0] for row in session.rows("cancel_requests", worker_id=clean_text(worker_id)))


def _lease_end(now: Instant, lease_seconds: float) -> Instant:
    return now + round(lease_seconds * SECOND)


def end_lease(session: Session, worker_id: str) -> None:
    session.run("end_lease", worker_id=worker_id, now=session.now)


def workers(session: Session) -> list[WorkerRow]:
    rows, faults = decoded(session.rows("list_workers"), decode_worker)
    report(faults)
    return list(rows)


def backlog(session: Session) -> Backlog:
    return backlog_of(session.rows("backlog", now=session.now)[0])
