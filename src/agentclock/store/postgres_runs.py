"""Runs and workers in PostgreSQL: each function is one operation inside a transaction of its caller."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from agentclock.core.actors import Actor
from agentclock.core.errors import CorruptRow
from agentclock.core.lifecycle import Settlement
from agentclock.core.model import Claim, Instruction, Run, RunStatus, Schedule
from agentclock.ports import Backlog, Beat, Claimed, WorkerInfo, WorkerRow
from agentclock.store import auditing, postgres_notices
from agentclock.store.claiming import backlog_of, claim_of, report, reviews_of, tried
from agentclock.store.columns import RUN_COLUMNS
from agentclock.store.filters import decoded
from agentclock.store.firing import doomed
from agentclock.store.postgres_audit import record
from agentclock.store.postgres_disabling import disable, lock_doomed
from agentclock.store.postgres_pool import Row, Session, filled, run_uuid
from agentclock.store.postgres_waiting import let_go
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

#: Where the ruling time stands behind a run's columns.
_NOW: Final = len(RUN_COLUMNS)
_ATTEMPT, _WORKER, _INSTRUCTION = map(RUN_COLUMNS.index, ("attempt", "worker", "instruction"))


async def claim(session: Session, worker_id: str, limit: int) -> Claimed:
    rows = await session.rows("claim_runs", worker_id=clean_text(worker_id), limit=max(0, limit))
    if going_on := [row for row in rows if row[_INSTRUCTION] is not None]:
        ids, numbers = [row[0] for row in going_on], [row[_ATTEMPT] for row in going_on]
        await session.rows("resume_attempts", ids=ids, numbers=numbers, worker=going_on[0][_WORKER])
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
    report(faults)
    return claims


async def _claims(session: Session, rows: Sequence[Row]) -> tuple[list[Claim], list[CorruptRow]]:
    """Claims out of taken runs; a run that cannot be read, or whose schedule cannot, ends as failed."""
    if not rows:
        return [], []
    found, runs = await session.rows_while(
        lambda: [tried(decode_run, row) for row in rows], "schedules_by_id", ids=list({row[1] for row in rows})
    )
    schedules = _by_id(found)
    claims: list[Claim] = []
    faults: dict[str, CorruptRow] = {}
    for row, run in zip(rows, runs, strict=True):
        schedule = schedules[row[1]]
        if isinstance(schedule, CorruptRow):
            faults[row[0]] = schedule
        elif isinstance(run, CorruptRow):
            faults[row[0]] = run
        else:
            claims.append(claim_of(run, schedule, row[_NOW]))
    if faults:
        reasons = [clean_text(str(fault)) for fault in faults.values()]
        failed = await session.rows("fail_runs", ids=list(faults), errors=reasons)
        await let_go(session, ((schedule_id, cause) for schedule_id, cause in failed))
    return claims, list(faults.values())


class _Schedules(dict[str, Schedule | CorruptRow]):
    def __missing__(self, schedule_id: str) -> CorruptRow:
        return CorruptRow("schedules", schedule_id, "there is no such schedule")


def _by_id(rows: Iterable[Row]) -> _Schedules:
    return _Schedules({row[0]: tried(decode_schedule, row) for row in rows})


async def note_agent_run(
    session: Session, run_id: str, fence: int, agent_run_id: str | None, session_id: str | None
) -> bool:
    noted = await session.row(
        "note_agent_run",
        id=run_uuid(run_id),
        fence=fence,
        agent_run_id=clean_text(agent_run_id),
        session_id=clean_text(session_id),
    )
    return noted is not None


async def settle(session: Session, settlements: Sequence[Settlement]) -> frozenset[str]:
    """Two statements for any number of settlements: the ends, then what they let go."""
    chosen = {(settlement.run_id, settlement.fence): settlement for settlement in reversed(settlements)}
    rows = [encode_settlement(settlement) for settlement in chosen.values()]
    await lock_doomed(session, doomed(chosen.values()))
    settled = await session.rows("settle_runs", called_off=CALLED_OFF, **_ends(rows))
    if session.subscriptions:
        written = [chosen[row[0], row[3]] for row in settled if row[4] == chosen[row[0], row[3]].status]
        await postgres_notices.tell_ends(session, written)
    await let_go(session, ((row[1], row[2]) for row in settled))
    await disable(session, doomed(chosen[row[0], row[3]] for row in settled))
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
        instructions=[row["instruction"] for row in rows],
        paused_at=[row["paused_at"] for row in rows],
        review_at=[row["review_at"] for row in rows],
        approval_due_at=[row["approval_due_at"] for row in rows],
        models=[row["model"] for row in rows],
        input_tokens=[row["input_tokens"] for row in rows],
        output_tokens=[row["output_tokens"] for row in rows],
        total_tokens=[row["total_tokens"] for row in rows],
        costs=[row["cost"] for row in rows],
    )


async def request_cancel(session: Session, run_id: str, why: str, by: Actor | None) -> RunStatus | None:
    run_id = run_uuid(run_id)
    row = await session.row("cancel_runs", ("cancelled_run",), id=run_id, **encode_cancel(why, asked=True))
    if row is not None and row[0] == RunStatus.CANCELLED:
        await let_go(session, [(row[1], row[2])])
    if row is not None and not row[3]:  # nobody had asked before
        await record(session, auditing.cancelled(run_id, row[1]), by)
    row = row or await session.row("run_state", id=run_id)
    try:
        return None if row is None else RunStatus(row[0])
    except ValueError as error:
        raise CorruptRow("runs", run_id, f"status: {error}") from error


async def instruct(session: Session, run_id: str, instruction: Instruction, by: Actor | None) -> Run | None:
    row = await session.row("instruct", id=run_uuid(run_id), instruction=encode_instruction(instruction))
    if row is None:
        return None
    run = decode_run(row)
    await record(session, auditing.instructed(run, instruction), by)
    return run


async def paused_due(session: Session, limit: int) -> list[Claim]:
    rows = await session.rows("paused_due", limit=max(0, limit))
    if not rows:
        return []
    schedules = _by_id(await session.rows("schedules_by_id", ids=list({row[1] for row in rows})))
    reviews = reviews_of(((row[0], tried(decode_run, row), schedules[row[1]]) for row in rows), rows[0][_NOW])
    await session.rows("put_off_reviews", ids=list(reviews.next_at), at=list(reviews.next_at.values()))
    report(reviews.faults)
    return list(reviews.claims)


# workers


async def register_worker(session: Session, worker: WorkerInfo, lease_seconds: float) -> None:
    await session.rows(
        "register_worker",
        id=clean_text(worker.id),
        name=clean_text(worker.name),
        app_version=clean_text(worker.app_version),
        slots=worker.slots,
        lease_seconds=float(lease_seconds),
    )


async def renew_lease(session: Session, worker_id: str, lease_seconds: float) -> Beat:
    worker_id = clean_text(worker_id) or ""
    renewed = await session.row("renew_lease", worker_id=worker_id, lease_seconds=float(lease_seconds))
    return Beat(alive=renewed is not None, cancel_requested=await cancel_requests(session, worker_id))


async def cancel_requests(session: Session, worker_id: str) -> tuple[str, ...]:
    rows = await session.rows("cancel_requests", worker_id=clean_text(worker_id))
    return tuple(row[0] for row in rows)


async def end_lease(session: Session, worker_id: str) -> None:
    await session.rows("end_lease", worker_id=clean_text(worker_id))


async def workers(session: Session) -> list[WorkerRow]:
    rows, faults = decoded(await session.rows("list_workers"), decode_worker)
    report(faults)
    return list(rows)


async def backlog(session: Session) -> Backlog:
    return backlog_of((await session.rows("backlog"))[0])
