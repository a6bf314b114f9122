"""Is every due fire accounted for? fires due = runs + skipped + missed, for each schedule since its timetable
last changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from agentclock.core.model import SECOND, Instant, Schedule
from agentclock.core.timetable import timetable_of
from agentclock.ports import Accounting, PageRequest, ScheduleFilter, Store

#: A schedule may be overdue for a moment while the planner works; beyond this nobody plans it.
OVERDUE_SECONDS = 60

#: Fires of one schedule that are counted at most; beyond it the audit says that it is not complete.
LONGEST = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """`due` fires against what history accounts for, in `after < fire time <= until`."""

    schedule: Schedule
    after: Instant
    until: Instant
    due: int
    accounted: Accounting
    complete: bool = True
    overdue_seconds: float = 0

    @property
    def trouble(self) -> str | None:
        if self.complete and self.due != self.accounted.total:
            return f"{self.due} fires were due, {self.accounted.total} are accounted for"
        if self.overdue_seconds > OVERDUE_SECONDS:
            return f"due {self.overdue_seconds:.0f} s ago and not planned: no engine runs"
        return None


async def audit_schedule(store: Store, schedule: Schedule, now: Instant, horizon: Instant = 0) -> Audit:
    """Compares the timetable with the rows. History before `horizon` may have been pruned and is left out.

    Raises CronError or ZoneError if the timetable cannot be read.
    """
    after = max(schedule.timetable_since, horizon)
    until = after if schedule.last_fire_at is None else max(after, schedule.last_fire_at)
    timetable = timetable_of(schedule)
    begin = after if schedule.start_at is None else max(after, schedule.start_at - 1)
    due = len(timetable.between(begin, until, LONGEST)) if until > begin else 0
    overdue = 0.0
    if schedule.enabled and schedule.next_fire_at is not None:
        overdue = max(0, now - schedule.next_fire_at) / SECOND
    accounted = await store.accounting(schedule.id, after, until)
    return Audit(
        schedule=schedule,
        after=after,
        until=until,
        due=due,
        accounted=accounted,
        complete=due < LONGEST,
        overdue_seconds=overdue,
    )


async def all_schedules(store: Store) -> AsyncIterator[Schedule]:
    cursor: str | None = None
    while True:
        page = await store.list_schedules(ScheduleFilter(), PageRequest(limit=500, cursor=cursor))
        for schedule in page.items:
            yield schedule
        if page.next_cursor is None:
            return
        cursor = page.next_cursor
