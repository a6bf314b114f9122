"""What was due of a schedule, and when: its books, written from its revisions.

They are a row of periods, each with the timetable that ruled, and of stretches of which nobody knows what did. Counting
is exact, to the fire, in any range.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Final

from agentclock.core.cron import CronError
from agentclock.core.model import Instant, Schedule
from agentclock.core.revisions import Revision, RevisionKind
from agentclock.core.timetable import timetable_of
from agentclock.core.zones import ZoneError, tzdata_version

#: Later than every fire.
_EVER: Final = 2**53

#: What a period is known by: where all of these stay, a revision begins no new one.
_timing: Final = attrgetter(
    *("cron_expr", "run_at", "interval_seconds", "anchor_at", "timezone", "start_at", "end_at", "max_runs", "enabled"),
    "zone_data_version",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """`after` < fire time <= `until`: the time in which `schedule` said what was due.

    `began_at` and `by`: the revision that it began with. `last_due_at`: no later fire of it was due (max_runs was
    reached, or it was disabled).
    """

    after: Instant
    until: Instant
    began_at: Instant
    by: str | None
    schedule: Schedule
    last_due_at: Instant = _EVER

    @property
    def has_other_zone_data(self) -> bool:
        """Whether its fires were computed with zone data that may differ from ours in them."""
        schedule = self.schedule
        if not schedule.cron_expr or schedule.timezone == "UTC" or schedule.zone_data_version is None:
            return False
        return schedule.zone_data_version != tzdata_version() and not self.is_idle

    def due(self, after: Instant, until: Instant) -> int:
        """Fires of the timetable that were due in `after < t <= until`, as far as that belongs to the period."""
        bounds = self.schedule
        after, until = max(after, self.after), min(until, self.until, self.last_due_at)
        if bounds.start_at is not None:
            after = max(after, bounds.start_at - 1)
        if bounds.end_at is not None:
            until = min(until, bounds.end_at)
        return timetable_of(bounds).count(after, until) if until > after else 0

    @property
    def is_idle(self) -> bool:
        return self.last_due_at <= self.after


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """`after` < t <= `until`: nobody knows what was due. Neither fires nor rows of that time are counted."""

    after: Instant
    until: Instant
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the books that is compared by itself. `is_certain` False: other zone data may have ruled in it."""

    after: Instant
    until: Instant
    periods: tuple[Period, ...]

    @property
    def is_certain(self) -> bool:
        return not any(period.has_other_zone_data for period in self.periods)


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What is known of a schedule: `periods` and `unknown` from the oldest on. `asked`: fires beside the timetable that
    somebody asked for. `known_after`: here its records begin. `known_until`: everything due up to here is planned.
    `overdue_ms`: for how long something has been due that is not."""

    schedule: Schedule
    periods: tuple[Period, ...]
    unknown: tuple[Unknown, ...]
    asked: tuple[Instant, ...]
    known_after: Instant
    known_until: Instant
    overdue_ms: int

    @property
    def begin_after(self) -> Instant:
        """As `known_after`, with what is unknown before."""
        return min((self.known_after, *(gap.after for gap in self.unknown)))

    def due(self, after: Instant, until: Instant) -> int:
        """Fires with `after` < t <= `until`, those included that are not planned yet."""
        asked = sum(after < at <= until for at in self.asked)
        return asked + sum(period.due(after, until) for period in self.periods)

    def is_known(self, after: Instant, until: Instant) -> bool:
        """Whether `due` can tell all of this range."""
        return after >= self.known_after and not any(
            max(after, gap.after) < min(until, gap.until) for gap in self.unknown
        )

    def sections(self, after: Instant, until: Instant, *, by_period: bool = False) -> list[Section]:
        """The parts of `after` < t <= `until` that can be accounted for: as few as may be, or one for each period."""
        found: list[Section] = []
        for period in self.periods:
            begin, end = max(after, period.after), min(until, period.until, self.known_until)
            if end <= begin:
                continue
            section = Section(after=begin, until=end, periods=(period,))
            before = found[-1] if found else None
            if before and not by_period and (before.until, before.is_certain) == (begin, section.is_certain):
                found[-1] = Section(after=before.after, until=end, periods=(*before.periods, period))
            else:
                found.append(section)
        return found


def open_books(schedule: Schedule, revisions: Sequence[Revision], now: Instant) -> Books:
    """`schedule`: as it is at present; `revisions` in any order, some or all of them may be missing."""
    chain = _chain(schedule, revisions)
    periods, unknown = _history(chain)
    due_at = schedule.next_fire_at
    known_until = now if schedule.last_fire_at is None else max(now, schedule.last_fire_at)
    overdue_ms = 0
    if due_at is not None and due_at <= known_until:
        known_until = due_at - 1
        overdue_ms = max(0, now - due_at) if schedule.enabled else 0
    books = Books(
        schedule=schedule,
        periods=tuple(periods),
        unknown=tuple(unknown),
        asked=(),
        known_after=min(link.after for link in chain),
        known_until=known_until,
        overdue_ms=overdue_ms,
    )
    return replace(books, asked=tuple(_asked(chain, books)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    """A revision, the row that it left in the end (`end`: as the next one found it), and since when it rules."""

    revision: Revision
    end: Schedule
    after: Instant
    unknown_after: Instant | None = None


def _chain(schedule: Schedule, revisions: Sequence[Revision]) -> list[_Link]:
    known = sorted((one for one in revisions if one.version <= schedule.version), key=lambda one: one.version)
    if not known or known[-1].version < schedule.version:
        at = schedule.created_at if schedule.updated_at is None else schedule.updated_at
        known.append(Revision(version=schedule.version, at=at, kind=RevisionKind.FOUND, schedule=schedule))
    ends = [*(one.schedule for one in known[1:]), schedule]
    links: list[_Link] = []
    for revision, end in zip(known, ends, strict=True):
        links.append(_link(revision, end, links[-1] if links else None))
    return links


def _link(revision: Revision, end: Schedule, before: _Link | None) -> _Link:
    """Since when a revision rules: from when it was written if it followed upon the one before, else since its
    timetable took effect, which the row itself tells."""
    row = revision.schedule
    if revision.kind is RevisionKind.DELETED:
        # What was due and not planned yet went with it.
        return _Link(revision=revision, end=end, after=_last(row, row.timetable_since))
    if revision.kind is RevisionKind.CREATED:
        after = max(revision.effective_from, row.timetable_since)
        if end.version == revision.version:
            after = min(after, end.timetable_since)  # a row that was moved in time tells it better than what it was
        # Made to be due at once: no fire before that was anybody's.
        after = after if row.next_fire_at is None else min(after, row.next_fire_at - 1)
        return _Link(revision=revision, end=end, after=after)
    since = max(row.timetable_since, row.created_at - 1)
    if before is None:
        return _Link(revision=revision, end=end, after=since)
    follows = revision.version == before.revision.version + 1
    if follows and revision.kind is not RevisionKind.FOUND:
        after = max(revision.effective_from, row.timetable_since)
        # Written while something was due, of which not all could run: the last to run ended the time before it, too.
        after = min(after, max(_last(end, 0), row.timetable_since)) if _is_exhausted(row, end) else after
        return _Link(revision=revision, end=end, after=after)
    if row.timetable_since == before.revision.schedule.timetable_since:
        return _Link(revision=revision, end=end, after=before.after)
    return _Link(revision=revision, end=end, after=since, unknown_after=None if follows else before.after)


def _history(chain: Sequence[_Link]) -> tuple[list[Period], list[Unknown]]:
    """From the newest to the oldest: where clocks were set back, what came later rules."""
    periods: list[Period] = []
    unknown: list[Unknown] = []
    ceiling = _EVER
    for link in reversed(chain):
        for period in reversed(list(_periods(link, ceiling))):
            fault = None if period.is_idle else _fault(period.schedule)
            if fault is None:
                _put_before(periods, period)
            else:
                _lose(unknown, period.after, period.until, f"the timetable cannot be read: {fault}")
        ceiling = min(ceiling, link.after)
        if link.unknown_after is not None:
            _lose(unknown, link.unknown_after, ceiling, "versions are missing between two revisions of the schedule")
            ceiling = min(ceiling, link.unknown_after)
    first = chain[0].revision
    if first.kind is not RevisionKind.CREATED:
        _lose(unknown, first.schedule.created_at - 1, ceiling, "the schedule is older than its oldest revision")
    return periods, unknown


def _lose(unknown: list[Unknown], after: Instant, until: Instant, why: str) -> None:
    if after < until:
        unknown.insert(0, Unknown(after=after, until=until, why=why))


def _periods(link: _Link, ceiling: Instant) -> Iterator[Period]:
    """What a revision says of its time up to `ceiling`; two periods if it was disabled in the course of it."""
    row, end = link.revision.schedule, link.end
    ruled = Period(
        after=link.after,
        until=ceiling,
        began_at=link.revision.at,
        by=link.revision.by,
        schedule=row,
    )
    if link.revision.kind is RevisionKind.DELETED:
        yield replace(ruled, last_due_at=link.after, schedule=replace(row, enabled=False))
    elif row.enabled or row.next_fire_at is not None:
        # Disabled with a fire ahead of it: by a fault. What has become due since is on record when that is mended.
        yield replace(ruled, last_due_at=_last(end, link.after)) if _is_exhausted(row, end) else ruled
    else:
        # Its row is all that is known of when it was disabled: whatever was due before is accounted for.
        known_from_row = link.after < link.revision.effective_from
        disabled_at = min(ceiling, _last(row, link.after)) if known_from_row else link.after
        if disabled_at > link.after:
            yield replace(ruled, until=disabled_at, schedule=replace(row, enabled=True))
        yield replace(ruled, after=disabled_at, last_due_at=disabled_at)


def _is_exhausted(row: Schedule, end: Schedule) -> bool:
    return row.max_runs is not None and end.run_count >= row.max_runs


def _last(row: Schedule, after: Instant) -> Instant:
    return after if row.last_fire_at is None else max(after, row.last_fire_at)


def _put_before(periods: list[Period], period: Period) -> None:
    """Joins it to the one that follows if nothing changed between them in what is due."""
    follower = periods[0] if periods else None
    if period.after > period.until:
        return
    if follower is not None and period.until == follower.after and _rules(period) == _rules(follower):
        last_due_at = period.after if follower.is_idle else follower.last_due_at
        periods[0] = replace(
            follower, after=period.after, began_at=period.began_at, by=period.by, last_due_at=last_due_at
        )
    elif period.until > period.after:
        periods.insert(0, period)


def _rules(period: Period) -> tuple[object, ...]:
    return (period.is_idle, *_timing(period.schedule))


def _fault(schedule: Schedule) -> str | None:
    try:
        timetable_of(schedule)
    except (CronError, ZoneError) as error:
        return str(error)
    return None


def _asked(chain: Sequence[_Link], books: Books) -> Iterator[Instant]:
    """Next fires that were in no timetable and yet have come: somebody asked for a run, or the zone data was another.
    One that was taken back before anybody planned it was never due."""
    ends = {link.revision.schedule.next_fire_at: link.end for link in chain}
    for at, end in ends.items():
        has_come = at is not None and end.last_fire_at is not None and end.last_fire_at >= at
        if at is not None and has_come and not books.due(at - 1, at):
            yield at
