"""Triggers in PostgreSQL: each function is one operation inside a transaction of its caller."""

from __future__ import annotations

from agentclock.core.actors import Actor
from agentclock.core.errors import KeyReused
from agentclock.core.model import Run
from agentclock.core.triggers import KEY_HOURS, TriggerKey
from agentclock.ports import PlanFunction, Triggered
from agentclock.store import auditing
from agentclock.store.postgres_audit import record
from agentclock.store.postgres_pool import Session
from agentclock.store.postgres_schedules import fire, locked
from agentclock.store.rows import clean_text, decode_run, decode_schedule


async def trigger(
    session: Session,
    schedule_id: str,
    plan: PlanFunction,
    user_id: str | None,
    key: TriggerKey | None,
    by: Actor | None,
) -> Triggered:
    """Whoever else triggers the schedule waits for its row, and then sees the key that was written. What was answered
    before is answered without waiting, so that callers who insist keep neither each other nor the planner."""
    if key is not None:
        row = await session.row("get_schedule", id=clean_text(schedule_id), user_id=clean_text(user_id))
        if row is not None and (earlier := await _run_of(session, row[0], key)) is not None:
            return Triggered(schedule=decode_schedule(row), run=earlier, is_replay=True)
    schedule, now = await locked(session, schedule_id, user_id)
    if key is not None and (earlier := await _run_of(session, schedule.id, key)) is not None:
        return Triggered(schedule=schedule, run=earlier, is_replay=True)
    schedule, run = await fire(session, schedule, plan, now)
    if key is not None:
        values = {"schedule_id": schedule.id, "key": clean_text(key.key), "fingerprint": key.fingerprint}
        await session.rows("put_trigger_key", run_id=run.id, **values)
    await record(session, auditing.triggered(run), by)
    return Triggered(schedule=schedule, run=run)


async def _run_of(session: Session, schedule_id: str, key: TriggerKey) -> Run | None:
    """What the key stands for; None: nothing yet, or a run that is deleted by now. Raises KeyReused."""
    known = await session.row("trigger_key", hours=KEY_HOURS, schedule_id=schedule_id, key=clean_text(key.key))
    if known is None:
        return None
    fingerprint, run_id = known
    if fingerprint != key.fingerprint:
        raise KeyReused
    row = await session.row("get_run", id=run_id)
    return None if row is None else decode_run(row)
