"""Moves agno's schedules and their history into agentclock's database, or says what that would do.

Ids stay, so that URLs stay valid. Doing it again changes nothing: what is there is compared and left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from agentclock.accounts import all_schedules
from agentclock.agno.importer_cron import Comparer, NextRun
from agentclock.agno.importer_history import History, read_history
from agentclock.agno.importer_schedule import Remark, changed_fields, remarks_on, schedule_of
from agentclock.agno.importer_source import AgnoSource, Row
from agentclock.core.actors import Actor
from agentclock.core.errors import Conflict, InvalidField, NameTaken
from agentclock.core.model import SECOND, Instant, Run, Schedule
from agentclock.ports import Store

_HISTORY_BATCH: Final = 500


class Fate(StrEnum):
    """What becomes of one of agno's schedules."""

    NEW = "new"
    EQUAL = "equal"
    CHANGED = "changed"
    NAME_TAKEN = "name_taken"
    REFUSED = "refused"

    @property
    def is_here(self) -> bool:
        """Whether the schedule is, or is about to be, in our database under its id."""
        return self in (Fate.NEW, Fate.EQUAL, Fate.CHANGED)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryReport:
    """Runs by what becomes of them; `left_out` by the reason."""

    new: int = 0
    there: int = 0
    left_out: tuple[tuple[str, int], ...] = ()
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleReport:
    """`why`: the field and the reason where it is not imported; `schedule`: as it is, or would be, with us."""

    id: str
    name: str
    fate: Fate
    why: Remark | None = None
    schedule: Schedule | None = None
    agno_cron: str = ""
    agno_next_at: Instant | None = None
    remarks: tuple[Remark, ...] = ()
    history: HistoryReport = field(default_factory=HistoryReport)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """`applied` False: nothing was written. `compared`: the fires of a year were computed both ways."""

    applied: bool
    compared: bool
    schedules: tuple[ScheduleReport, ...]

    def count(self, fate: Fate) -> int:
        return sum(schedule.fate is fate for schedule in self.schedules)

    @property
    def is_complete(self) -> bool:
        """Whether every schedule of agno's is, or would be, with us."""
        return all(schedule.fate.is_here for schedule in self.schedules)

    @property
    def new_runs(self) -> int:
        return sum(schedule.history.new for schedule in self.schedules)


@dataclass(frozen=True, slots=True, kw_only=True)
class Importer:
    """`store` None: our database does not exist yet, so nothing can be in the way. `kept_since`: older history
    would be pruned. `next_run` None: croniter is not there to be compared with."""

    source: AgnoSource
    store: Store | None
    now: Instant
    next_run: NextRun | None
    with_history: bool = True
    kept_since: Instant | None = None

    async def run(self, *, apply: bool) -> ImportReport:
        """Each schedule is written in a transaction of its own, before its history; a second run completes what the
        first was kept from. Raises SourceUnusable, StoreUnavailable.
        """
        if apply and self.store is None:
            raise ValueError("nothing can be written without a store")
        there, reports = await self._there(), []
        comparer = None if self.next_run is None else Comparer(self.now // SECOND, self.next_run)
        for row in await self.source.schedules():
            report = self._judged(row, there, comparer)
            if apply and report.fate is Fate.NEW:
                report = await self._insert(report)
            if report.fate is Fate.NEW and report.schedule is not None:
                there.add(report.schedule)
            if report.fate.is_here and self.with_history:
                report = replace(report, history=await self._history(report, apply=apply))
            reports.append(report)
        return ImportReport(applied=apply, compared=self.next_run is not None, schedules=tuple(reports))

    async def _there(self) -> _Known:
        known = _Known()
        if self.store is not None:
            async for schedule in all_schedules(self.store):
                known.add(schedule)
        return known

    def _judged(self, row: Row, there: _Known, comparer: Comparer | None) -> ScheduleReport:
        """What would become of the row; nothing is written."""
        report = ScheduleReport(
            id=str(row["id"]), name=str(row.get("name")), fate=Fate.REFUSED, agno_cron=str(row.get("cron_expr") or "")
        )
        planned = row.get("next_run_at")
        if isinstance(planned, int):
            report = replace(report, agno_next_at=planned * 1000)
        try:
            schedule = schedule_of(row, self.now)
        except InvalidField as error:
            return replace(report, why=Remark(field=error.field, text=error.message))
        ours = there.by_id.get(schedule.id)
        if ours is not None:
            changed = changed_fields(schedule, ours)
            why = Remark(field=", ".join(changed), text="differs from agno's and is left as it is") if changed else None
            return replace(report, fate=Fate.CHANGED if changed else Fate.EQUAL, why=why, schedule=ours)
        if (schedule.user_id, schedule.name) in there.names:
            return replace(report, fate=Fate.NAME_TAKEN, why=_taken(schedule))
        remarks = tuple(remarks_on(row, schedule, self.now, comparer))
        return replace(report, fate=Fate.NEW, schedule=schedule, remarks=remarks)

    async def _insert(self, report: ScheduleReport) -> ScheduleReport:
        if self.store is None or report.schedule is None:
            return report
        try:
            await self.store.insert_schedules([report.schedule], by=Actor("import", "cli"))
        except NameTaken:
            # Somebody was quicker than we.
            return replace(report, fate=Fate.NAME_TAKEN, why=_taken(report.schedule), schedule=None, remarks=())
        except Conflict:
            why = Remark(field="id", text="a schedule with this id was deleted here; ids are not used twice")
            return replace(report, fate=Fate.REFUSED, why=why, schedule=None, remarks=())
        return report

    async def _history(self, report: ScheduleReport, *, apply: bool) -> HistoryReport:
        if report.schedule is None:
            return HistoryReport()
        rows = await self.source.runs(report.id)
        history = read_history(report.schedule, rows, now=self.now, kept_since=self.kept_since)
        there = await self._runs_there(history.runs)
        missing = [run for run in history.runs if run.id not in there]
        if apply and self.store is not None:
            await self._write(self.store, missing, history)
        return HistoryReport(
            new=len(missing), there=len(there), left_out=tuple(_left_out(history)), remarks=tuple(_on_history(history))
        )

    async def _runs_there(self, runs: Sequence[Run]) -> frozenset[str]:
        found = set[str]()
        for batch in _batches(runs):
            if self.store is not None:
                found |= {run.id for run in await self.store.runs_by_id([run.id for run in batch])}
        return frozenset(found)

    async def _write(self, store: Store, runs: Sequence[Run], history: History) -> None:
        for batch in _batches(runs):
            ids = {run.id for run in batch}
            attempts = [attempt for attempt in history.attempts if attempt.run_id in ids]
            await store.insert_history(batch, attempts)


@dataclass(frozen=True, slots=True)
class _Known:
    """The schedules that we have already."""

    by_id: dict[str, Schedule] = field(default_factory=dict)
    names: set[tuple[str | None, str]] = field(default_factory=set)

    def add(self, schedule: Schedule) -> None:
        self.by_id[schedule.id] = schedule
        self.names.add((schedule.user_id, schedule.name))


def _taken(schedule: Schedule) -> Remark:
    owner = "" if schedule.user_id is None else f" of {schedule.user_id}"
    text = f"another schedule{owner} is called {schedule.name!r} here: rename one of the two"
    return Remark(field="name", text=text)


def _left_out(history: History) -> list[tuple[str, int]]:
    counts = [
        ("may still be running", history.unfinished),
        ("older than the history that is kept", history.too_old),
        ("unreadable", history.unreadable),
    ]
    return [(reason, count) for reason, count in counts if count]


def _on_history(history: History) -> list[Remark]:
    if not history.waiting_for_humans:
        return []
    text = f"waiting for a human under agno: {history.waiting_for_humans}; here they are lost, answer them in AgentOS"
    return [Remark(field="history", text=text)]


def _batches(runs: Sequence[Run]) -> list[Sequence[Run]]:
    return [runs[start : start + _HISTORY_BATCH] for start in range(0, len(runs), _HISTORY_BATCH)]
