"""Backfills in SQLite: each function is one operation inside a transaction of its caller."""

from __future__ import annotations

from collections.abc import Sequence

from agentclock.core.actors import Actor
from agentclock.core.backfills import Backfill
from agentclock.core.errors import NotFound
from agentclock.core.model import Run, RunStatus
from agentclock.store import auditing
from agentclock.store.backfill_rows import CANCELLED, LISTED, decode_backfill, decode_states, encode_backfill, range_of
from agentclock.store.claiming import report
from agentclock.store.filters import decoded
from agentclock.store.rows import clean_text, encode_cancel, encode_run
from agentclock.store.sqlite_audit import record
from agentclock.store.sqlite_file import Session, id_list
from agentclock.store.sqlite_waiting import release_backfills


def insert(session: Session, backfill: Backfill, runs: Sequence[Run], by: Actor | None) -> int:
    schedule_id = clean_text(backfill.schedule_id) or ""
    if session.row("get_schedule", id=schedule_id, user_id=None) is None:
        raise NotFound("Schedule")
    there = {row[0] for row in session.rows("existing_runs", ids=id_list(run.id for run in runs))}
    new = {run.id: run for run in runs if run.id not in there}
    session.run_many("insert_run", map(encode_run, new.values()))
    session.run("insert_backfill", **encode_backfill(backfill, len(new)))
    release_backfills(session, [schedule_id])
    record(session, auditing.backfilled(backfill, len(new)), by)
    return len(new)


def list_of(session: Session, schedule_id: str) -> list[Backfill]:
    readable, faults = decoded(
        session.rows("backfills", schedule_id=clean_text(schedule_id), limit=LISTED), decode_backfill
    )
    report(faults)
    return list(readable)


def states_of(session: Session, backfill: Backfill) -> dict[RunStatus, int]:
    return decode_states(session.rows("backfill_states", **range_of(backfill)))


def cancel(session: Session, backfill_id: str, by: Actor | None) -> int | None:
    row = session.row("get_backfill", id=clean_text(backfill_id))
    if row is None:
        return None
    backfill = decode_backfill(row)
    of = {"schedule_id": backfill.schedule_id, "created_at": backfill.created_at}
    values = encode_cancel(CANCELLED, asked=True)
    cancelled = session.run("cancel_runs", ("cancelled_of_backfill",), now=session.now, **of, **values)
    session.run("end_backfill", id=backfill.id, now=session.now)
    release_backfills(session, [backfill.schedule_id])
    if backfill.cancelled_at is None:
        record(session, auditing.backfill_cancelled(backfill), by)
    return cancelled
