"""Backfills in PostgreSQL: each function is one operation inside a transaction of its caller."""

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
from agentclock.store.postgres_audit import record
from agentclock.store.postgres_pool import Session, filled
from agentclock.store.postgres_waiting import release_backfills
from agentclock.store.rows import clean_text, encode_cancel, encode_run


async def insert(session: Session, backfill: Backfill, runs: Sequence[Run], by: Actor | None) -> int:
    schedule_id = clean_text(backfill.schedule_id) or ""
    if await session.row("lock_schedule", id=schedule_id, user_id=None) is None:
        raise NotFound("Schedule")
    rows = [encode_run(run) for run in runs]
    written = await session.rows(
        "insert_backfill_runs",
        **filled(
            ids=[row["id"] for row in rows],
            schedule_ids=[row["schedule_id"] for row in rows],
            user_ids=[row["user_id"] for row in rows],
            fires_at=[row["fire_at"] for row in rows],
            created_at=[row["created_at"] for row in rows],
        ),
    )
    await session.rows("insert_backfill", **encode_backfill(backfill, len(written)))
    await release_backfills(session, [schedule_id])
    await record(session, auditing.backfilled(backfill, len(written)), by)
    return len(written)


async def list_of(session: Session, schedule_id: str) -> list[Backfill]:
    rows = await session.rows("backfills", schedule_id=clean_text(schedule_id), limit=LISTED)
    readable, faults = decoded(rows, decode_backfill)
    report(faults)
    return list(readable)


async def states_of(session: Session, backfill: Backfill) -> dict[RunStatus, int]:
    return decode_states(await session.rows("backfill_states", **range_of(backfill)))


async def cancel(session: Session, backfill_id: str, by: Actor | None) -> int | None:
    row = await session.row("get_backfill", id=clean_text(backfill_id))
    if row is None:
        return None
    backfill = decode_backfill(row)
    of = {"schedule_id": backfill.schedule_id, "created_at": backfill.created_at}
    values = encode_cancel(CANCELLED, asked=True)
    cancelled = await session.rows("cancel_runs", ("cancelled_of_backfill",), **of, **values)
    await session.rows("end_backfill", id=backfill.id)
    await release_backfills(session, [backfill.schedule_id])
    if backfill.cancelled_at is None:
        await record(session, auditing.backfill_cancelled(backfill), by)
    return len(cancelled)
