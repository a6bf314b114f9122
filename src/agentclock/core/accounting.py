"""Is every due fire accounted for? `fires due = runs + skipped + missed`, for any schedule and any range of time.

What was due the books tell, what became of it the store; the sum comes out to the fire as long as the database is
sound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from agentclock.core.books import Books, Section, Unknown
from agentclock.core.instants import iso_utc
from agentclock.core.model import SECOND, Instant, Run, RunStatus
from agentclock.core.zones import tzdata_version

#: A schedule may be overdue for a moment while the planner works; beyond this nobody plans it.
OVERDUE_SECONDS: Final = 60


class Recorded(Protocol):
    """What the store has of a range, as `ports.Accounting` says."""

    @property
    def runs(self) -> int: ...
    @property
    def skipped(self) -> int: ...
    @property
    def missed(self) -> int: ...
    @property
    def across(self) -> tuple[Run, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A section of the books: what was due in it, and what became of that."""

    section: Section
    due: int
    runs: int
    skipped: int
    missed: int

    @property
    def accounted(self) -> int:
        return self.runs + self.skipped + self.missed

    @property
    def is_balanced(self) -> bool:
        return self.due == self.accounted


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """The accounts of `after` < fire time <= `until`, the part of the range asked for that can be accounted for.

    What `unknown` names is left out. `notes`: what else somebody should know who reads the figures.
    """

    books: Books
    after: Instant
    until: Instant
    accounts: tuple[Account, ...]
    unknown: tuple[Unknown, ...]
    notes: tuple[str, ...]

    @property
    def due(self) -> int:
        return sum(account.due for account in self.accounts)

    @property
    def runs(self) -> int:
        return sum(account.runs for account in self.accounts)

    @property
    def skipped(self) -> int:
        return sum(account.skipped for account in self.accounts)

    @property
    def missed(self) -> int:
        return sum(account.missed for account in self.accounts)

    @property
    def accounted(self) -> int:
        return self.runs + self.skipped + self.missed

    @property
    def is_balanced(self) -> bool:
        """In each section by itself: a fire too many in one does not make up for one that another lacks."""
        return all(account.is_balanced for account in self.accounts)

    @property
    def trouble(self) -> str | None:
        """What is certainly wrong. Where other zone data may have ruled, a difference proves nothing."""
        wrong = [account for account in self.accounts if account.section.is_certain and not account.is_balanced]
        if wrong:
            due, accounted = sum(one.due for one in wrong), sum(one.accounted for one in wrong)
            began, ended = wrong[0].section.after, wrong[-1].section.until
            within = f"between {iso_utc(began)} and {iso_utc(ended)}"
            return f"{within} {due} fires were due, {accounted} are accounted for"
        if self.books.overdue_ms > OVERDUE_SECONDS * SECOND:
            return f"due {self.books.overdue_ms / SECOND:.0f} s ago and not planned: no engine runs"
        return None


def account_of(books: Books, section: Section, recorded: Recorded) -> Account:
    """`recorded`: of just this section. A record that reaches over an end of it is divided by the timetable: it has in
    here what is left of its fires when those outside are taken away."""
    absent = {RunStatus.SKIPPED: recorded.skipped, RunStatus.MISSED: recorded.missed}
    for row in recorded.across:
        if section.after < row.fire_at <= section.until:
            absent[row.status] -= row.fire_count
        absent[row.status] += _inside(books, section, row)
    return Account(
        section=section,
        due=books.due(section.after, section.until),
        runs=recorded.runs,
        skipped=absent[RunStatus.SKIPPED],
        missed=absent[RunStatus.MISSED],
    )


def _inside(books: Books, section: Section, row: Run) -> int:
    first, last = row.fire_at, row.fire_at if row.last_fire_at is None else row.last_fire_at
    outside = [(first - 1, min(last, section.after)), (max(first - 1, section.until), last)]
    outside = [(after, until) for after, until in outside if until > after]
    if all(books.is_known(after, until) for after, until in outside):
        return row.fire_count - sum(books.due(after, until) for after, until in outside)
    return books.due(max(first - 1, section.after), min(last, section.until))


def statement(
    books: Books, after: Instant, until: Instant, accounts: Sequence[Account], kept_after: Instant | None = None
) -> Statement:
    """`accounts`: of the sections of this range. History up to `kept_after` may be gone; None: all of it is kept."""
    after, until = max(after, books.begin_after), min(until, books.known_until)
    until = max(after, until)
    unknown = [gap for gap in books.unknown if max(gap.after, after) < min(gap.until, until)]
    return Statement(
        books=books,
        after=after,
        until=until,
        accounts=tuple(accounts),
        unknown=tuple(unknown),
        notes=tuple(_notes(books, accounts, kept_after)),
    )


def _notes(books: Books, accounts: Sequence[Account], kept_after: Instant | None) -> Iterator[str]:
    schedule = books.schedule
    if kept_after is not None:
        yield f"history up to {iso_utc(kept_after)} may be deleted already: nothing up to then is compared"
    periods = [period for account in accounts for period in account.section.periods]
    versions = sorted({str(one.schedule.zone_data_version) for one in periods if one.has_other_zone_data})
    if versions:
        yield (
            f"fires were computed with zone data {', '.join(versions)} and are counted with {tzdata_version()} here: "
            "a difference in those periods need not mean that one is lacking"
        )
    due_at = schedule.next_fire_at
    if due_at is not None and due_at <= books.known_until + 1:
        if schedule.enabled:
            yield f"due since {iso_utc(due_at)} and not planned yet: what is due from then on is not counted"
        else:
            yield (
                f"disabled since a fault with a fire due at {iso_utc(due_at)}: what is due from then on is recorded as "
                "missed once the schedule is mended, and is not counted yet"
            )
