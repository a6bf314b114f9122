"""The part of `agentclock doctor` that looks at accounts: those of all schedules, and those of one in detail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from rich.table import Table

from agentclock.accounts import Inquiry, account_for, kept_since_of
from agentclock.api.accounts import timetable_text
from agentclock.cli.findings import Finding, Verdict
from agentclock.config import Settings
from agentclock.core.accounting import Statement
from agentclock.core.errors import CorruptRow
from agentclock.core.instants import iso_utc
from agentclock.core.model import Instant, Schedule
from agentclock.ports import Page, PageRequest, ScheduleFilter, Store
from agentclock.timing import describe

#: Schedules that are looked at at a time: a database elsewhere answers several as quickly as one.
_AT_A_TIME: Final = 8
_PAGE: Final = 500
#: Findings of one kind that are listed; the others are counted.
_LISTED: Final = 20


@dataclass(slots=True)
class _Tally:
    """The sums over all schedules, and the first of what is wrong or doubtful with any."""

    schedules: int = 0
    due: int = 0
    runs: int = 0
    skipped: int = 0
    missed: int = 0
    wrong: int = 0
    doubtful: int = 0
    listed: list[Finding] = field(default_factory=list)
    remarks: list[Finding] = field(default_factory=list)

    def add(self, schedule: Schedule, found: Statement) -> None:
        self.due, self.runs = self.due + found.due, self.runs + found.runs
        self.skipped, self.missed = self.skipped + found.skipped, self.missed + found.missed
        unreadable = not describe(schedule, found.books.known_until).explanation
        if found.trouble is not None:
            self.blame(schedule.name, schedule.id, found.trouble)
        elif unreadable:
            why = schedule.disabled_reason or "; ".join(describe(schedule, found.books.known_until).warnings)
            self.blame(schedule.name, schedule.id, f"the timetable cannot be read: {why}")
        elif doubt := _doubt(found):
            self.doubtful += 1
            if len(self.remarks) < _LISTED:
                self.remarks.append(Finding("schedule", Verdict.WARNING, f"{schedule.name} ({schedule.id}): {doubt}"))

    def blame(self, name: str, schedule_id: str, why: str) -> None:
        self.wrong += 1
        if len(self.listed) < _LISTED:
            self.listed.append(Finding("schedule", Verdict.TROUBLE, f"{name} ({schedule_id}): {why}"))

    def findings(self) -> Iterator[Finding]:
        sums = f"{self.due} fires due = {self.runs} runs + {self.skipped} skipped + {self.missed} missed"
        verdict = Verdict.TROUBLE if self.wrong else Verdict.OK
        yield Finding("accounting", verdict, f"{sums}, over {self.schedules} schedules")
        yield from self.listed
        if self.wrong > len(self.listed):
            yield Finding("schedule", Verdict.TROUBLE, f"and {self.wrong - len(self.listed)} more")
        yield from self.remarks
        if self.doubtful > len(self.remarks):
            yield Finding("schedule", Verdict.WARNING, f"and {self.doubtful - len(self.remarks)} more")


def _doubt(found: Statement) -> str | None:
    if not found.is_balanced:
        return f"{found.due} fires due, {found.accounted} accounted for; {found.notes[0]}"
    if found.unknown:
        gap = found.unknown[0]
        return f"what was due from {iso_utc(gap.after + 1)} to {iso_utc(gap.until)} is unknown: {gap.why}"
    return None


async def examine_accounts(
    settings: Settings, store: Store, progress: Callable[[int, int], None]
) -> AsyncIterator[Finding]:
    """fires due = runs + skipped + missed, for every schedule. `progress` is told how many of how many are done."""
    tally = _Tally()
    inquiry = Inquiry(kept_since=kept_since_of(settings.history_days, await store.now()))
    async for page in _pages(store):
        for start in range(0, len(page.items), _AT_A_TIME):
            some = page.items[start : start + _AT_A_TIME]
            found = await asyncio.gather(*(account_for(store, schedule, inquiry) for schedule in some))
            for schedule, statement in zip(some, found, strict=True):
                tally.add(schedule, statement)
            tally.schedules += len(some)
            progress(tally.schedules, page.total_count)
        for fault in page.faults:
            tally.schedules += 1
            tally.blame("unreadable", fault.row_id, fault.reason)
    for finding in tally.findings():
        yield finding


async def _pages(store: Store) -> AsyncIterator[Page[Schedule]]:
    cursor: str | None = None
    while True:
        page = await store.list_schedules(ScheduleFilter(), PageRequest(limit=_PAGE, cursor=cursor))
        yield page
        if page.next_cursor is None:
            return
        cursor = page.next_cursor


async def find_schedules(store: Store, wanted: str) -> list[Schedule]:
    """The schedule with this id, or those of this name: each owner may have one."""
    try:
        found = await store.get_schedule(wanted)
    except CorruptRow:
        found = None
    if found is not None:
        return [found]
    cursor, named = None, list[Schedule]()
    while True:
        page = await store.list_schedules(ScheduleFilter(name_contains=wanted), PageRequest(limit=_PAGE, cursor=cursor))
        named += [schedule for schedule in page.items if schedule.name == wanted]
        cursor = page.next_cursor
        if cursor is None:
            return named


async def statements_of(
    settings: Settings, store: Store, wanted: str, since: Instant | None, until: Instant | None
) -> list[Statement]:
    """Of each schedule that `wanted` means, period by period."""
    kept_since = kept_since_of(settings.history_days, await store.now())
    inquiry = Inquiry(since=since, until=until, kept_since=kept_since, by_period=True)
    return [await account_for(store, schedule, inquiry) for schedule in await find_schedules(store, wanted)]


def statement_table(found: Statement) -> Table:
    schedule = found.books.schedule
    table = Table(title=f"{schedule.name} ({schedule.id})", title_justify="left", show_footer=True)
    sums = (found.due, found.runs, found.skipped, found.missed)
    for name, total in zip(("from", "until", "timetable", "by"), ("in all", "", "", ""), strict=True):
        table.add_column(name, total, overflow="fold")
    for name, amount in zip(("due", "runs", "skipped", "missed"), sums, strict=True):
        table.add_column(name, str(amount), justify="right")
    table.add_column("", _mark(found.is_balanced))
    for account in found.accounts:
        section, period = account.section, account.section.periods[0]
        figures = (account.due, account.runs, account.skipped, account.missed)
        table.add_row(
            _shown(section.after + 1),
            _shown(section.until + 1),
            timetable_text(period),
            period.by or "",
            *map(str, figures),
            _mark(account.is_balanced),
        )
    return table


def _shown(at: Instant) -> str:
    """In two words, so that a narrow table can put one below the other."""
    return iso_utc(at).replace("T", " ")


def _mark(is_balanced: bool) -> str:
    return "[green]ok[/]" if is_balanced else "[bold red]differs[/]"


def remarks_on(found: Statement) -> Iterator[Finding]:
    """What the table does not say."""
    if found.trouble is not None:
        yield Finding("accounting", Verdict.TROUBLE, found.trouble)
    for gap in found.unknown:
        detail = f"{iso_utc(gap.after + 1)} to {iso_utc(gap.until + 1)}: {gap.why}"
        yield Finding("unknown", Verdict.WARNING, detail)
    for note in found.notes:
        yield Finding("note", Verdict.WARNING, note)
