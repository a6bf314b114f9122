"""Runs that other software made, in PostgreSQL: each function is one operation inside a transaction of its caller."""

from __future__ import annotations

from agentclock.core.model import Instant
from agentclock.ports import ForeignRun
from agentclock.store.filters import decoded
from agentclock.store.foreign import LISTED, decode_foreign, encode_foreign
from agentclock.store.postgres_pool import Session
from agentclock.store.rows import clean_text


async def put(session: Session, run: ForeignRun) -> None:
    await session.rows("put_foreign_run", **encode_foreign(run))


async def get(session: Session, run_id: str) -> ForeignRun | None:
    row = await session.row("get_foreign_run", id=clean_text(run_id))
    return None if row is None else decode_foreign(row)


async def list_of(session: Session, schedule_id: str) -> list[ForeignRun]:
    rows = await session.rows("foreign_runs_of", schedule_id=clean_text(schedule_id), limit=LISTED)
    return list(decoded(rows, decode_foreign)[0])


async def delete(session: Session, schedule_id: str, before: Instant | None) -> int:
    return len(await session.rows("delete_foreign_runs", schedule_id=clean_text(schedule_id), before=before))
