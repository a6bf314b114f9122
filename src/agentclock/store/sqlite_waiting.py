"""Runs that wait for others in SQLite: each function is one operation inside a transaction of its caller."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from agentclock.core.model import Cause
from agentclock.store.sqlite_file import Session, id_list

#: Schedules whose waiting runs are looked at in one transaction.
RELEASE_BATCH: Final = 500


def let_go(session: Session, ended: Iterable[tuple[str, str]]) -> None:
    """What waited for runs that ended, each given as its schedule and cause. Those of backfills and the others are not
    in each other's way."""
    found = set(ended)
    if ordinary := {schedule_id for schedule_id, cause in found if cause != Cause.BACKFILL}:
        release_one_of_each(session, ordinary)
    release_backfills(session, {schedule_id for schedule_id, cause in found if cause == Cause.BACKFILL})


def release_one_of_each(session: Session, schedule_ids: Collection[str]) -> int:
    return session.run("release_waiting_of", ids=id_list(schedule_ids), now=session.now)


def release_backfills(session: Session, schedule_ids: Collection[str]) -> int:
    return sum(session.run("release_backfills_of", schedule_id=of, now=session.now) for of in schedule_ids)


def release_waiting(session: Session) -> int:
    free = session.rows("release_waiting", limit=RELEASE_BATCH)
    one_of = [schedule_id for schedule_id, for_one, _ in free if for_one]
    several_of = [schedule_id for schedule_id, _, for_backfills in free if for_backfills]
    return release_one_of_each(session, one_of) + release_backfills(session, several_of)
