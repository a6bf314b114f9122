"""Gathers what needs somebody's attention."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from agentclock.core.concerns import (
    LONG_SECONDS,
    URGENT_APPROVAL_SECONDS,
    URGENT_FAILURES,
    Concern,
    ConcernKind,
    Severity,
    failures_in_a_row,
    is_long,
    length_text,
    most_urgent_first,
    usual_ms,
)
from agentclock.core.figures import UNSUCCESSFUL
from agentclock.core.fingerprints import hint
from agentclock.core.model import SECOND, Instant, Reason, Run, RunStatus
from agentclock.insight.reading import DAY_MS, briefs_by_id, marks_of
from agentclock.ports import (
    Failure,
    PageRequest,
    RunFilter,
    RunMark,
    ScheduleBrief,
    ScheduleCount,
    ScheduleFilter,
    Store,
)

OfSchedule = TypeVar("OfSchedule", RunMark, Failure)

#: Schedules, or runs, of one kind of concern that are looked at.
MOST_OF_A_KIND: Final = 100
#: A schedule that has not run for longer than this is not said to be failing.
FAILING_MS: Final = 7 * DAY_MS
#: Runs of a schedule that are looked at to tell how many failed in a row, and how long one takes.
_FIRST_LOOK_RUNS: Final = 4
_ROW_RUNS: Final = 20
_USUAL_RUNS: Final = 50
#: The planner may be this late without anything being wrong.
_LEAST_OVERDUE_SECONDS: Final = 5
_COUNTED: Final = 1_000
_RUNNING: Final = 1_000
_LONG_LOOKED_AT: Final = 100
_TITLE_CHARACTERS: Final = 300

_FAILED: Final = tuple(sorted(UNSUCCESSFUL))
_ENDED: Final = {RunStatus.FAILED: "failed", RunStatus.TIMEOUT: "took too long", RunStatus.LOST: "was lost"}
_BY_ERROR: Final = frozenset({ConcernKind.FAILING, ConcernKind.LOST})


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Most urgent first. `is_complete` False: there is more, less urgent or of the same kind."""

    concerns: Sequence[Concern]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class _Found:
    concerns: Sequence[Concern]
    is_complete: bool = True


async def attention(
    store: Store, user_id: str | None, limit: int, engine_runs: Callable[[], Awaitable[bool]]
) -> Attention:
    """What this owner has to look into (None: everybody's)."""
    look = _Look(store, user_id, await store.now())
    found = await asyncio.gather(
        _no_worker(engine_runs),
        look.overdue(),
        look.failing(),
        look.lost(),
        look.paused(),
        look.disabled(),
        look.missed(),
        look.long_running(),
    )
    concerns = _once(most_urgent_first(concern for one in found for concern in one.concerns))
    return Attention(
        concerns=await _advised(store, await _named(store, concerns[:limit])),
        is_complete=len(concerns) <= limit and all(one.is_complete for one in found),
    )


async def _no_worker(engine_runs: Callable[[], Awaitable[bool]]) -> _Found:
    if await engine_runs():
        return _Found(())
    advice = "Start a worker: agentclock worker, or agentclock serve with its engine on. What is due meanwhile waits."
    title = "No engine executes runs"
    return _Found([Concern(kind=ConcernKind.NO_WORKER, severity=Severity.URGENT, title=title, hint=advice)])


class _Look:
    """Each method finds the concerns of one kind."""

    def __init__(self, store: Store, user_id: str | None, now: Instant) -> None:
        self._store = store
        self._user_id = user_id
        self._now = now

    async def overdue(self) -> _Found:
        """Due, and not planned within the misfire grace."""
        where = ScheduleFilter(user_id=self._user_id, enabled=True)
        briefs = await self._store.briefs(where, MOST_OF_A_KIND + 1)
        late = [brief for brief in briefs if _overdue_ms(brief, self._now) > _grace_ms(brief)]
        concerns = [
            Concern(
                kind=ConcernKind.OVERDUE,
                severity=Severity.URGENT,
                title=f"Due {length_text(_overdue_ms(brief, self._now))} ago, and no engine has planned it",
                since=brief.next_fire_at,
                schedule_id=brief.id,
                schedule_name=brief.name,
                hint="See whether a worker is alive and the database keeps up. The fire is not lost: it waits.",
            )
            for brief in late[:MOST_OF_A_KIND]
        ]
        return _Found(concerns, len(late) <= MOST_OF_A_KIND)

    async def failing(self) -> _Found:
        """The newest runs of an enabled schedule that are over failed."""
        counts = await self._with_failures(DAY_MS)
        if len(counts) < MOST_OF_A_KIND:
            counts = await self._with_failures(FAILING_MS)
        newest = sorted(counts, key=lambda count: -count.newest_fire_at)[:MOST_OF_A_KIND]
        briefs = await briefs_by_id(self._store, [count.schedule_id for count in newest], self._user_id)
        rows = await self._rows_of_failures([brief.id for brief in briefs.values() if brief.enabled])
        concerns = [_failing(briefs[schedule_id], row) for schedule_id, row in rows.items() if row]
        return _Found(concerns, len(counts) < MOST_OF_A_KIND)

    async def _with_failures(self, within_ms: int) -> Sequence[ScheduleCount]:
        where = RunFilter(user_id=self._user_id, statuses=_FAILED, since=self._now - within_ms)
        return await self._store.counts_by_schedule(where, _COUNTED)

    async def _rows_of_failures(self, schedule_ids: Sequence[str]) -> dict[str, Sequence[RunMark]]:
        """The newest runs of each, as far as they failed without a break. Most rows are short: few runs say so."""
        marks = await marks_of(self._store, schedule_ids, _FIRST_LOOK_RUNS)
        rows = {schedule_id: failures_in_a_row(marks[schedule_id]) for schedule_id in schedule_ids}
        unbroken = [of for of in schedule_ids if len(marks[of]) == _FIRST_LOOK_RUNS and not _is_broken(marks[of])]
        longer = await marks_of(self._store, unbroken, _ROW_RUNS)
        return rows | {schedule_id: failures_in_a_row(longer[schedule_id]) for schedule_id in unbroken}

    async def lost(self) -> _Found:
        """Lost within a day, whatever came after."""
        where = RunFilter(user_id=self._user_id, statuses=(RunStatus.LOST,), since=self._now - DAY_MS)
        runs = await self._store.failures(where, MOST_OF_A_KIND)
        groups = await self._by_schedule(runs)
        return _Found([_lost(brief, of_one) for brief, of_one in groups], len(runs) < MOST_OF_A_KIND)

    async def paused(self) -> _Found:
        where = RunFilter(user_id=self._user_id, statuses=(RunStatus.PAUSED,))
        page = await self._store.list_runs(where, PageRequest(limit=MOST_OF_A_KIND))
        return _Found([_paused(run, self._now) for run in page.items], page.next_cursor is None)

    async def disabled(self) -> _Found:
        """By agentclock itself, with its reason."""
        if not (await self._store.overview(self._user_id)).disabled:
            return _Found(())
        where = ScheduleFilter(user_id=self._user_id, enabled=False, disabled_by_itself=True)
        page = await self._store.list_schedules(where, PageRequest(limit=MOST_OF_A_KIND))
        concerns = [
            Concern(
                kind=ConcernKind.DISABLED,
                severity=Severity.WARNING,
                title=f"Disabled: {row.disabled_reason}"[:_TITLE_CHARACTERS],
                since=row.updated_at,
                schedule_id=row.id,
                schedule_name=row.name,
                hint="Mend what the reason says and enable it again; until then it does not fire.",
            )
            for row in page.items
        ]
        return _Found(concerns, page.next_cursor is None)

    async def missed(self) -> _Found:
        """Fires of the last day; a row of them may have begun before."""
        day_ago = self._now - DAY_MS
        where = RunFilter(user_id=self._user_id, statuses=(RunStatus.MISSED,), since=self._now - FAILING_MS)
        rows = await self._store.newest_marks(where, MOST_OF_A_KIND)
        recent = [row for row in rows if (row.last_fire_at or row.fire_at) >= day_ago]
        groups = await self._by_schedule(recent)
        return _Found([_missed(brief, of_one) for brief, of_one in groups], len(rows) < MOST_OF_A_KIND)

    async def long_running(self) -> _Found:
        """Those that have run the longest are looked at."""
        began_before = self._now - LONG_SECONDS * SECOND
        where = RunFilter(user_id=self._user_id, statuses=(RunStatus.RUNNING,), until=began_before + 1)
        marks = await self._store.newest_marks(where, _RUNNING)
        started = [(mark.started_at, mark) for mark in marks if mark.started_at is not None]
        oldest = [mark for at, mark in sorted(started, key=lambda pair: pair[0]) if at <= began_before]
        looked_at = await self._by_schedule(oldest[:_LONG_LOOKED_AT])
        usual = await marks_of(self._store, [brief.id for brief, _ in looked_at], _USUAL_RUNS)
        found = [_long_running(brief, of_one, usual[brief.id], self._now) for brief, of_one in looked_at]
        return _Found([one for one in found if one is not None], len(oldest) <= _LONG_LOOKED_AT)

    async def _by_schedule(self, runs: Sequence[OfSchedule]) -> list[tuple[ScheduleBrief, list[OfSchedule]]]:
        """In the order they come; those of schedules that are gone are left out."""
        groups: dict[str, list[OfSchedule]] = {}
        for run in runs:
            groups.setdefault(run.schedule_id, []).append(run)
        briefs = await briefs_by_id(self._store, list(groups), self._user_id)
        return [(briefs[of], of_one) for of, of_one in groups.items() if of in briefs]


def _overdue_ms(brief: ScheduleBrief, now: Instant) -> int:
    return 0 if brief.next_fire_at is None else max(0, now - brief.next_fire_at)


def _grace_ms(brief: ScheduleBrief) -> int:
    return max(brief.misfire_grace_seconds, _LEAST_OVERDUE_SECONDS) * SECOND


def _failing(brief: ScheduleBrief, row: Sequence[RunMark]) -> Concern:
    newest, count = row[0], len(row)
    is_lost = newest.status is RunStatus.LOST
    if count == 1:
        title = f"The newest run {_ENDED[newest.status]}"
    else:
        title = f"The newest {count} runs{' or more' if count == _ROW_RUNS else ''} failed"
    return Concern(
        kind=ConcernKind.LOST if is_lost else ConcernKind.FAILING,
        severity=Severity.URGENT if count >= URGENT_FAILURES else Severity.WARNING,
        title=title,
        since=row[-1].fire_at,
        count=count,
        schedule_id=brief.id,
        schedule_name=brief.name,
        run_id=newest.run_id,
    )


def _is_broken(marks: Sequence[RunMark]) -> bool:
    return any(mark.status is RunStatus.SUCCESS for mark in marks)


def _lost(brief: ScheduleBrief, runs: Sequence[Failure]) -> Concern:
    count = len(runs)
    return Concern(
        kind=ConcernKind.LOST,
        severity=Severity.NOTICE,
        title=f"{count} run{'s were' if count > 1 else ' was'} lost within 24 hours",
        since=min(run.fire_at for run in runs),
        count=count,
        schedule_id=brief.id,
        schedule_name=brief.name,
        run_id=runs[0].run_id,
    )


def _paused(run: Run, now: Instant) -> Concern:
    due_at = run.approval_due_at
    is_pressing = due_at is not None and due_at - now <= URGENT_APPROVAL_SECONDS * SECOND
    until = "" if due_at is None else f", for another {length_text(due_at - now)}"
    return Concern(
        kind=ConcernKind.PAUSED,
        severity=Severity.URGENT if is_pressing else Severity.WARNING,
        title=f"A run waits for a human{until}",
        since=run.paused_at,
        schedule_id=run.schedule_id,
        run_id=run.id,
        hint="Approve or reject what it waits for.",
    )


def _missed(brief: ScheduleBrief, rows: Sequence[RunMark]) -> Concern:
    count = sum(row.fire_count for row in rows)
    reason = rows[0].reason
    is_asked_for = reason is Reason.CHANGED
    return Concern(
        kind=ConcernKind.MISSED,
        severity=Severity.NOTICE if is_asked_for else Severity.WARNING,
        title=f"{count} fire{'s were' if count > 1 else ' was'} missed",
        since=min(row.fire_at for row in rows),
        count=count,
        schedule_id=brief.id,
        schedule_name=brief.name,
        run_id=rows[0].run_id,
        hint=None if reason is None else reason.text,
    )


def _long_running(
    brief: ScheduleBrief, running: Sequence[RunMark], known: Sequence[RunMark], now: Instant
) -> Concern | None:
    """`running`: those of the schedule, the oldest first."""
    oldest, usual = running[0], usual_ms(known)
    began_at = now if oldest.started_at is None else oldest.started_at
    if usual is None or not is_long(now - began_at, usual):
        return None
    return Concern(
        kind=ConcernKind.LONG_RUNNING,
        severity=Severity.NOTICE,
        title=f"Running for {length_text(now - began_at)}; nearly all runs take {length_text(usual)} at most",
        since=began_at,
        schedule_id=brief.id,
        schedule_name=brief.name,
        run_id=oldest.run_id,
        hint="Look at what it does; cancel it if it hangs. timeout_seconds ends such runs by itself.",
    )


def _once(concerns: Sequence[Concern]) -> list[Concern]:
    """A schedule whose runs fail is said to be failing or to lose runs, not both."""
    seen: set[tuple[ConcernKind, str | None]] = set()
    kept = []
    for concern in concerns:
        kind = ConcernKind.FAILING if concern.kind is ConcernKind.LOST else concern.kind
        of = concern.run_id if kind is ConcernKind.PAUSED else concern.schedule_id
        if (kind, of) not in seen:
            seen.add((kind, of))
            kept.append(concern)
    return kept


async def _named(store: Store, concerns: Sequence[Concern]) -> list[Concern]:
    unnamed = {one.schedule_id for one in concerns if one.schedule_id is not None and one.schedule_name is None}
    names = await store.schedule_names(sorted(unnamed)) if unnamed else {}
    return [replace(one, schedule_name=one.schedule_name or names.get(one.schedule_id or "")) for one in concerns]


async def _advised(store: Store, concerns: Sequence[Concern]) -> list[Concern]:
    """What failed says what to do; an error of no common kind speaks for itself."""
    failed = [one.run_id for one in concerns if one.run_id is not None and one.kind in _BY_ERROR]
    runs = {run.id: run for run in await store.runs_by_id(failed)} if failed else {}
    return [
        replace(one, hint=_advice(runs[one.run_id])) if one.kind in _BY_ERROR and one.run_id in runs else one
        for one in concerns
    ]


def _advice(run: Run) -> str | None:
    known = hint(run.status, run.status_code, run.error)
    return known or (None if run.error is None else run.error[:_TITLE_CHARACTERS])
