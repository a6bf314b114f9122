"""Many schedules written at once, in SQLite: one operation inside a transaction of its caller, which takes all of it
back if it raises."""

from __future__ import annotations

from collections.abc import Sequence

from agentclock.core.actors import Actor
from agentclock.core.errors import NotFound
from agentclock.core.model import Schedule
from agentclock.core.planning import plan_forfeit
from agentclock.core.timetable import is_due
from agentclock.ports import ChangeSchedule, DeleteSchedule, InsertSchedule, ScheduleWrite
from agentclock.store.sqlite_file import Session
from agentclock.store.sqlite_schedules import change_schedule, delete_schedule, fire, get_schedule, insert_schedules


def write_schedules(
    session: Session, writes: Sequence[ScheduleWrite], user_id: str | None, by: Actor | None, owner_limit: int | None
) -> list[Schedule | None]:
    """Deletions, then changes, then insertions."""
    for write in writes:
        if isinstance(write, DeleteSchedule) and not delete_schedule(
            session, write.schedule_id, user_id, by, write.expected_version
        ):
            raise NotFound("Schedule")
    answers: list[Schedule | None] = [None] * len(writes)
    for place, write in enumerate(writes):
        if isinstance(write, ChangeSchedule):
            _forfeit(session, write, user_id)
            answers[place] = change_schedule(
                session, write.schedule_id, write.change, user_id, write.expected_version, by
            )
        elif isinstance(write, InsertSchedule):
            answers[place] = write.schedule
    insert_schedules(
        session, [write.schedule for write in writes if isinstance(write, InsertSchedule)], by, owner_limit
    )
    return answers


def _forfeit(session: Session, write: ChangeSchedule, user_id: str | None) -> None:
    schedule = None if write.forfeit is None else get_schedule(session, write.schedule_id, user_id)
    while schedule is not None and is_due(schedule, session.now):
        schedule, missed = fire(session, schedule, plan_forfeit)
        if write.forfeit is not None:
            write.forfeit(schedule, missed)
