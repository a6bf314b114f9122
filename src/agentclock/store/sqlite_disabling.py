"""Schedules that may not fire again, in SQLite: one operation inside the transaction that settles their runs."""

from __future__ import annotations

from collections.abc import Mapping

from agentclock.core.lifecycle import Settlement
from agentclock.core.model import Schedule
from agentclock.core.planning import plan_forfeit
from agentclock.core.timetable import is_due
from agentclock.store import auditing
from agentclock.store.claiming import tried
from agentclock.store.firing import switched_off
from agentclock.store.notice_rows import notices_of_change
from agentclock.store.revising import OURSELVES, changed
from agentclock.store.rows import decode_schedule, encode_schedule
from agentclock.store.sqlite_audit import record
from agentclock.store.sqlite_file import Session
from agentclock.store.sqlite_notices import tell
from agentclock.store.sqlite_schedules import fire, note_revisions


def disable(session: Session, doomed: Mapping[str, Settlement]) -> None:
    """Disables those that are enabled still. What is due of them is recorded as missed first."""
    for schedule_id, settlement in sorted(doomed.items()):
        row = session.row("get_schedule", id=schedule_id, user_id=None)
        schedule = None if row is None else tried(decode_schedule, row)
        if isinstance(schedule, Schedule) and schedule.enabled:
            _disable(session, schedule, settlement)


def _disable(session: Session, schedule: Schedule, settlement: Settlement) -> None:
    now, reason = session.now, settlement.outcome.disables
    while is_due(schedule, now):
        schedule, _ = fire(session, schedule, plan_forfeit)
    after = switched_off(schedule, reason, now)
    session.run("update_schedule", **encode_schedule(after))
    note_revisions(session, changed(schedule, after, now, OURSELVES))
    record(session, [auditing.disabled(schedule.id, reason, settlement.run_id)], OURSELVES)
    tell(session, notices_of_change(session.subscriptions, schedule, after, now, OURSELVES))
