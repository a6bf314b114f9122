"""The accounts of many schedules: due = runs + skipped + missed, for each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from agentclock.accounts import Inquiry, account_for, kept_since_of
from agentclock.core.accounting import Statement
from agentclock.core.errors import CorruptRow
from agentclock.core.model import Instant, Schedule
from agentclock.insight.reading import DAY_MS, check_filter, window
from agentclock.ports import Page, PageRequest, ScheduleFilter, ScheduleOrder, Store
from agentclock.runs import check_page

#: Accounts that are drawn up at a time.
_AT_ONCE: Final = 4
_DEFAULT_MS: Final = DAY_MS
_MOST_MS: Final = 3_700 * DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLine:
    """`trouble` set and no `statement`: what is stored of the schedule's past cannot be read."""

    schedule: Schedule
    statement: Statement | None
    trouble: str | None


async def ledger(
    store: Store,
    since: Instant | None,
    until: Instant | None,
    *,
    where: ScheduleFilter,
    page: PageRequest,
    history_days: int | None,
) -> Page[LedgerLine]:
    """In the order of the schedules' names; the last 24 hours unless the bounds say otherwise. Raises InvalidField."""
    check_filter(where)
    check_page(page)
    now = await store.now()
    period = window(since, until, now, _DEFAULT_MS, _MOST_MS)
    found = await store.list_schedules(where, page, ScheduleOrder.NAME)
    inquiry = Inquiry(since=period.since, until=period.until, kept_since=kept_since_of(history_days, now))
    gate = asyncio.Semaphore(_AT_ONCE)

    async def line(schedule: Schedule) -> LedgerLine:
        async with gate:
            return await _line(store, schedule, inquiry)

    lines = await asyncio.gather(*map(line, found.items))
    return Page(items=tuple(lines), total_count=found.total_count, next_cursor=found.next_cursor, faults=found.faults)


async def _line(store: Store, schedule: Schedule, inquiry: Inquiry) -> LedgerLine:
    try:
        statement = await account_for(store, schedule, inquiry)
    except CorruptRow as error:
        return LedgerLine(schedule=schedule, statement=None, trouble=error.reason)
    return LedgerLine(schedule=schedule, statement=statement, trouble=statement.trouble)
