"""Gathers what `core.accounting` needs from the store: is every due fire of a schedule accounted for?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

from agentclock.core.accounting import Statement, account_of, statement
from agentclock.core.books import Books, open_books
from agentclock.core.errors import CorruptRow, InvalidField, NotFound, SchemaBehind
from agentclock.core.model import DAY_SECONDS, SECOND, Instant, Schedule
from agentclock.core.revisions import Revision, RevisionKind
from agentclock.core.storable import text_fault
from agentclock.ports import PageRequest, ScheduleFilter, Store

#: Revisions of a schedule that are looked at; what older ones said is unknown.
MOST_REVISIONS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """Which fires are asked for: `since` <= fire time < `until`, None: as far as is known. History before `kept_since`
    may be deleted already. `by_period`: an account of each period by itself."""

    since: Instant | None = None
    until: Instant | None = None
    kept_since: Instant | None = None
    by_period: bool = False


class Accounts:
    """The use cases: a schedule's accounts, and what it was, version by version; of a deleted one, too. `user_id`
    narrows both to one owner's schedules, None means all. Finished runs older than `history_days` may be deleted."""

    def __init__(self, store: Store, *, history_days: int | None = None) -> None:
        self._store = store
        self._history_days = history_days

    async def statement(
        self, schedule_id: str, since: Instant | None, until: Instant | None, *, user_id: str | None = None
    ) -> Statement:
        """For since <= fire time < until, period by period. Raises NotFound, InvalidField, CorruptRow."""
        if since is not None and until is not None and until <= since:
            raise InvalidField("to", "must lie after from")
        schedule = await self._find(schedule_id, user_id)
        kept_since = kept_since_of(self._history_days, await self._store.now())
        inquiry = Inquiry(since=since, until=until, kept_since=kept_since, by_period=True)
        return await account_for(self._store, schedule, inquiry)

    async def revisions(self, schedule_id: str, *, user_id: str | None = None) -> list[Revision]:
        """Newest first, the newest thousand. Raises NotFound, SchemaBehind."""
        with suppress(CorruptRow):  # what can be read of its past is worth all the more
            await self._find(schedule_id, user_id)
        return await self._store.revisions(schedule_id, MOST_REVISIONS)

    async def _find(self, schedule_id: str, user_id: str | None) -> Schedule:
        if text_fault(schedule_id):
            raise NotFound("Schedule")
        found = await self._store.get_schedule(schedule_id, user_id)
        if found is not None:
            return found
        last = next(iter(await _revisions(self._store, schedule_id, 1)), None)
        if last is None or last.kind is not RevisionKind.DELETED or user_id not in (None, last.schedule.user_id):
            raise NotFound("Schedule")
        return last.schedule


def kept_since_of(history_days: int | None, now: Instant) -> Instant | None:
    """None: all history is kept."""
    return None if history_days is None else now - history_days * DAY_SECONDS * SECOND


async def account_for(store: Store, schedule: Schedule, inquiry: Inquiry) -> Statement:
    """The accounts of `schedule`. What is wrong is read again before it is told: the planner may have written between
    two reads, and only what is wrong twice is wrong."""
    found = await _read(store, schedule, inquiry)
    if found.is_balanced and found.trouble is None:
        return found
    again = await store.get_schedule(schedule.id)
    return found if again is None else await _read(store, again, inquiry)


async def audit_schedule(store: Store, schedule: Schedule, now: Instant, horizon: Instant = 0) -> Statement:
    """The accounts of all that is known up to `now`. History before `horizon` may have been pruned and is left out."""
    inquiry = Inquiry(kept_since=horizon or None)
    return await _state(store, await _books(store, schedule, now), inquiry)


async def all_schedules(store: Store) -> AsyncIterator[Schedule]:
    """Those that can be read, newest first."""
    cursor: str | None = None
    while True:
        page = await store.list_schedules(ScheduleFilter(), PageRequest(limit=500, cursor=cursor))
        for schedule in page.items:
            yield schedule
        if page.next_cursor is None:
            return
        cursor = page.next_cursor


async def _read(store: Store, schedule: Schedule, inquiry: Inquiry) -> Statement:
    return await _state(store, await _books(store, schedule, await store.now()), inquiry)


async def _books(store: Store, schedule: Schedule, now: Instant) -> Books:
    return open_books(schedule, await _revisions(store, schedule.id, MOST_REVISIONS), now)


async def _revisions(store: Store, schedule_id: str, limit: int) -> list[Revision]:
    """None where the schema keeps none yet: then the books begin with the present timetable, and say so."""
    try:
        return await store.revisions(schedule_id, limit)
    except SchemaBehind:
        return []


async def _state(store: Store, books: Books, inquiry: Inquiry) -> Statement:
    after = books.known_after if inquiry.since is None else inquiry.since - 1
    until = books.known_until if inquiry.until is None else inquiry.until - 1
    kept_after = None if inquiry.kept_since is None else inquiry.kept_since - 1
    if kept_after is not None and kept_after <= max(after, books.begin_after):
        kept_after = None
    after = after if kept_after is None else kept_after
    accounts = []
    for section in books.sections(after, until, by_period=inquiry.by_period):
        recorded = await store.accounting(books.schedule.id, section.after, section.until)
        accounts.append(account_of(books, section, recorded))
    return statement(books, after, until, accounts, kept_after)
