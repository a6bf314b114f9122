"""Runs that wait for others in PostgreSQL: each function is one operation inside a transaction of its caller."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from agentclock.core.model import Cause
from agentclock.store.postgres_pool import Session

#: Schedules whose waiting runs are looked at in one transaction.
RELEASE_BATCH: Final = 500


async def let_go(session: Session, ended: Iterable[tuple[str, str]]) -> None:
    """What waited for runs that ended, each given as its schedule and cause. Those of backfills and the others are not
    in each other's way."""
    found = set(ended)
    if ordinary := {schedule_id for schedule_id, cause in found if cause != Cause.BACKFILL}:
        await release_one_of_each(session, ordinary)
    if backfilled := {schedule_id for schedule_id, cause in found if cause == Cause.BACKFILL}:
        await release_backfills(session, backfilled)


async def release_one_of_each(session: Session, schedule_ids: Collection[str]) -> int:
    return len(await session.rows("release_waiting_of", ids=sorted(schedule_ids)))


async def release_backfills(session: Session, schedule_ids: Collection[str]) -> int:
    ids = sorted(schedule_ids)
    await session.rows("lock_backfills", ids=ids)
    return len(await session.rows("release_backfills_of", ids=ids))


async def release_waiting(session: Session) -> int:
    free = await session.rows("release_waiting", limit=RELEASE_BATCH)
    one_of = [schedule_id for schedule_id, for_one, _ in free if for_one]
    several_of = [schedule_id for schedule_id, _, for_backfills in free if for_backfills]
    released = await release_one_of_each(session, one_of) if one_of else 0
    return released + (await release_backfills(session, several_of) if several_of else 0)
