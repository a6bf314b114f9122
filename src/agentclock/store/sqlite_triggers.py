"""Triggers in SQLite: each function is one operation inside a transaction of its caller."""

from __future__ import annotations

from agentclock.core.actors import Actor
from agentclock.core.errors import KeyReused, NotFound
from agentclock.core.model import Run
from agentclock.core.triggers import KEY_HOURS, TriggerKey
from agentclock.ports import PlanFunction, Triggered
from agentclock.store import auditing
from agentclock.store.rows import clean_text, decode_run
from agentclock.store.sqlite_audit import record
from agentclock.store.sqlite_file import Session
from agentclock.store.sqlite_schedules import fire, get_schedule


def trigger(
    session: Session,
    schedule_id: str,
    plan: PlanFunction,
    user_id: str | None,
    key: TriggerKey | None,
    by: Actor | None,
) -> Triggered:
    schedule = get_schedule(session, schedule_id, user_id)
    if schedule is None:
        raise NotFound("Schedule")
    earlier = None if key is None else _run_of(session, schedule.id, key)
    if earlier is not None:
        return Triggered(schedule=schedule, run=earlier, is_replay=True)
    schedule, run = fire(session, schedule, plan)
    if key is not None:
        values = {"schedule_id": schedule.id, "key": clean_text(key.key), "fingerprint": key.fingerprint}
        session.run("put_trigger_key", run_id=run.id, now=session.now, **values)
    record(session, auditing.triggered(run), by)
    return Triggered(schedule=schedule, run=run)


def _run_of(session: Session, schedule_id: str, key: TriggerKey) -> Run | None:
    """What the key stands for; None: nothing yet, or a run that is deleted by now. Raises KeyReused."""
    known = session.row(
        "trigger_key", now=session.now, hours=KEY_HOURS, schedule_id=schedule_id, key=clean_text(key.key)
    )
    if known is None:
        return None
    fingerprint, run_id = known
    if fingerprint != key.fingerprint:
        raise KeyReused
    row = session.row("get_run", id=run_id)
    return None if row is None else decode_run(row)
