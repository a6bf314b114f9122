"""Schedules that may not fire again, in PostgreSQL: operations inside the transaction that settles their runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agentclock.core.lifecycle import Settlement
from agentclock.core.model import Instant, Schedule
from agentclock.core.planning import plan_forfeit
from agentclock.core.timetable import is_due
from agentclock.store import auditing
from agentclock.store.claiming import tried
from agentclock.store.columns import SCHEDULE_COLUMNS
from agentclock.store.firing import switched_off
from agentclock.store.notice_rows import notices_of_change
from agentclock.store.postgres_audit import record
from agentclock.store.postgres_notices import tell
from agentclock.store.postgres_pool import Session
from agentclock.store.postgres_schedules import fire, note_revisions, values_of
from agentclock.store.revising import OURSELVES, changed
from agentclock.store.rows import decode_schedule

_NOW = len(SCHEDULE_COLUMNS)


async def lock_doomed(session: Session, schedule_ids: Iterable[str]) -> None:
    """Before any of their runs is locked: everybody locks a schedule first, then its runs."""
    for schedule_id in sorted(schedule_ids):
        await session.row("lock_schedule", id=schedule_id, user_id=None)


async def disable(session: Session, doomed: Mapping[str, Settlement]) -> None:
    """Disables those that are enabled still. What is due of them is recorded as missed first."""
    for schedule_id, settlement in sorted(doomed.items()):
        row = await session.row("lock_schedule", id=schedule_id, user_id=None)
        schedule = None if row is None else tried(decode_schedule, row)
        if row is not None and isinstance(schedule, Schedule) and schedule.enabled:
            await _disable(session, schedule, settlement, row[_NOW])


async def _disable(session: Session, schedule: Schedule, settlement: Settlement, now: Instant) -> None:
    reason = settlement.outcome.disables
    while is_due(schedule, now):
        schedule, _ = await fire(session, schedule, plan_forfeit, now)
    after = switched_off(schedule, reason, now)
    await session.rows("update_schedule", **values_of(after))
    await note_revisions(session, changed(schedule, after, now, OURSELVES))
    await record(session, [auditing.disabled(schedule.id, reason, settlement.run_id)], OURSELVES)
    await tell(session, notices_of_change(session.subscriptions, schedule, after, now, OURSELVES))
