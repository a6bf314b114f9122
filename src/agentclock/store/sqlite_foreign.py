"""Runs that other software made, in SQLite: each function is one operation inside a transaction of its caller."""

from __future__ import annotations

from agentclock.core.model import Instant
from agentclock.ports import ForeignRun
from agentclock.store.filters import decoded
from agentclock.store.foreign import LISTED, decode_foreign, encode_foreign
from agentclock.store.rows import clean_text
from agentclock.store.sqlite_file import Session


def put(session: Session, run: ForeignRun) -> None:
    session.run("put_foreign_run", **encode_foreign(run))


def get(session: Session, run_id: str) -> ForeignRun | None:
    row = session.row("get_foreign_run", id=clean_text(run_id))
    return None if row is None else decode_foreign(row)


def list_of(session: Session, schedule_id: str) -> list[ForeignRun]:
    rows = session.rows("foreign_runs_of", schedule_id=clean_text(schedule_id), limit=LISTED)
    return list(decoded(rows, decode_foreign)[0])


def delete(session: Session, schedule_id: str, before: Instant | None) -> int:
    return session.run("delete_foreign_runs", schedule_id=clean_text(schedule_id), before=before)
