"""What is asked of the store and what it answers, besides the model itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeAlias, TypeVar

from agentclock.core.audit import Action
from agentclock.core.errors import CorruptRow
from agentclock.core.model import Cause, Claim, Instant, Json, Reason, Run, RunStatus, Schedule, Usage
from agentclock.core.notices import NoticeStatus
from agentclock.core.planning import Absence, Plan, Situation

Row = TypeVar("Row")

#: The pure function that decides what becomes of a schedule; called inside the store's transaction with the
#: locked schedule, what is known of its runs, and the ruling time.
PlanFunction = Callable[[Schedule, Situation, Instant], Plan]

#: Likewise for a change of a schedule's own fields.
ChangeFunction = Callable[[Schedule, Instant], Schedule]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFilter:
    """`target` matches the named base URL, the agent, team or workflow id, or the whole endpoint. `name`: the whole
    name, exactly; `name_contains`: a part of it, in any case. `text`: a part of name, description, endpoint or a tag,
    in any case. `managed_by`: exactly. `ids`, `names`: one of these.
    `disabled_by_itself`: not by a person, there is a reason."""

    user_id: str | None = None
    ids: tuple[str, ...] | None = None
    name: str | None = None
    names: tuple[str, ...] | None = None
    enabled: bool | None = None
    name_contains: str | None = None
    tag: str | None = None
    target: str | None = None
    text: str | None = None
    managed_by: str | None = None
    disabled_by_itself: bool | None = None


class ScheduleOrder(StrEnum):
    """NEXT_FIRE: soonest first, those that are due for nothing last. NAME: in any case."""

    NEWEST = "newest"
    NEXT_FIRE = "next_fire"
    NAME = "name"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """`since` and `until` bound the fire time: since <= fire_at < until. `schedule_ids`: of one of these."""

    schedule_id: str | None = None
    schedule_ids: tuple[str, ...] | None = None
    user_id: str | None = None
    statuses: tuple[RunStatus, ...] = ()
    causes: tuple[Cause, ...] = ()
    since: Instant | None = None
    until: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """`since` and `until` bound the time: since <= at < until. `user_id`: only what is about this owner's schedules."""

    user_id: str | None = None
    actor: str | None = None
    actions: tuple[Action, ...] = ()
    schedule_id: str | None = None
    run_id: str | None = None
    since: Instant | None = None
    until: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeFilter:
    user_id: str | None = None
    webhook: str | None = None
    status: NoticeStatus | None = None
    schedule_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggered:
    """`is_replay`: the run is the one that an earlier trigger with the same key made."""

    schedule: Schedule
    run: Run
    is_replay: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """Either `cursor` (from the page before; constant cost) or `page` from 1 (cost grows with it)."""

    limit: int = 100
    page: int = 1
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Row]):
    """Newest first. `next_cursor` None: this is the last page. `faults`: rows left out as unreadable."""

    items: tuple[Row, ...]
    total_count: int
    next_cursor: str | None = None
    faults: tuple[CorruptRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleBrief:
    """A schedule's name and timetable without the rest, for looking at thousands. Fields as in `Schedule`."""

    id: str
    name: str
    user_id: str | None = None
    enabled: bool = True
    timezone: str = "UTC"
    cron_expr: str | None = None
    run_at: Instant | None = None
    interval_seconds: int | None = None
    anchor_at: Instant | None = None
    start_at: Instant | None = None
    end_at: Instant | None = None
    max_runs: int | None = None
    run_count: int = 0
    jitter_seconds: int = 0
    misfire_grace_seconds: int = 60
    next_fire_at: Instant | None = None
    created_at: Instant = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleCount:
    """How many `runs` of a schedule match, how many `fires` they stand for, and when the newest fired."""

    schedule_id: str
    runs: int
    fires: int
    newest_fire_at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMark:
    """A run without what may be large, for strips, timelines, figures. `total_tokens` and `cost` of all its attempts,
    None: nobody said, or they were not asked for."""

    run_id: str
    schedule_id: str
    cause: Cause
    status: RunStatus
    fire_at: Instant
    last_fire_at: Instant | None = None
    fire_count: int = 1
    attempt: int = 0
    created_at: Instant = 0
    available_at: Instant | None = None
    started_at: Instant | None = None
    completed_at: Instant | None = None
    worker: str | None = None
    reason: Reason | None = None
    total_tokens: int | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BinCount:
    """`fires` fires that became `status` in bin number `number`, counted from 0."""

    number: int
    status: RunStatus
    fires: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A run that failed, timed out or was lost. `error`: its first 2,000 characters."""

    run_id: str
    schedule_id: str
    status: RunStatus
    fire_at: Instant
    completed_at: Instant | None = None
    status_code: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """How many there are of what. `next_fire`: the schedule that is due next, None: nothing is."""

    enabled: int
    disabled: int
    pending: int
    running: int
    paused: int
    next_fire: Schedule | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InsertSchedule:
    schedule: Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSchedule:
    """`forfeit`: what is due is recorded as missed first, and this is told of the schedule as it is then and of each
    record; within the transaction, which may yet fail or be tried again. None: `change` sees what is due."""

    schedule_id: str
    change: ChangeFunction
    expected_version: int | None = None
    forfeit: Callable[[Schedule, Run], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteSchedule:
    schedule_id: str
    expected_version: int | None = None


#: One step of `Store.write_schedules`.
ScheduleWrite: TypeAlias = InsertSchedule | ChangeSchedule | DeleteSchedule


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """One incarnation of a worker: `id` is new at every start, `name` is for people (host and process). `slots`: how
    many runs it executes at a time, None: it did not say."""

    id: str
    name: str
    app_version: str
    slots: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    info: WorkerInfo
    started_at: Instant
    lease_until: Instant
    running: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """What one planning transaction wrote. `claims` are those of `runs` that the calling worker holds already;
    `schedules` has those of `runs` and `absences` by id, as they were before.

    `next_due_ms`: time from the store's now until the earliest next_fire_at of all enabled schedules (negative:
    overdue), None without any.
    """

    planned: int = 0
    runs: tuple[Run, ...] = ()
    claims: tuple[Claim, ...] = ()
    absences: tuple[tuple[str, Absence], ...] = ()
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    faults: tuple[CorruptRow, ...] = ()
    next_due_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """`next_available_ms`: time until the earliest pending run that is not yet available, None without any."""

    claims: tuple[Claim, ...] = ()
    faults: tuple[CorruptRow, ...] = ()
    next_available_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """Answer to a lease renewal. `alive` False: this incarnation was declared dead, stop writing.

    `cancel_requested`: runs of this worker that somebody wants cancelled.
    """

    alive: bool
    cancel_requested: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounting:
    """Fires of one schedule that history accounts for in a range of fire times, by what they became.

    A row counts where its first fire is in the range. `across`: the skipped and missed rows that reach over an end of
    the range, whose fires must be divided by whoever knows the timetable.
    """

    runs: int = 0
    skipped: int = 0
    missed: int = 0
    across: tuple[Run, ...] = ()

    @property
    def total(self) -> int:
        return self.runs + self.skipped + self.missed


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent:
    """One event of a run, as its log keeps it. `seq` counts from 1 within the run, without gaps.

    `type` and `data` are the agent framework's, or ours: `attempt` begins an attempt, `cut` stands for events that
    could not be kept. `source_index`: the framework's own number of the (last) event in it, None if it has none.
    """

    run_id: str
    seq: int
    attempt: int
    at: Instant
    type: str
    data: Json
    source_index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventBatch:
    """New events of one run, written if `fence` still holds; those before `keep_from_seq` make room for them."""

    run_id: str
    fence: int
    events: tuple[LoggedEvent, ...]
    keep_from_seq: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EventCursor:
    """Where a run's event log stands. `seq` 0: nothing is logged; `kept_from_seq` above 1: the older ones are gone.

    `source_index` is that of the newest event of attempt number `attempt` which has one.
    """

    seq: int = 0
    kept_from_seq: int = 1
    attempt: int = 0
    source_index: int | None = None
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignRun:
    """A run that other software made itself; `body` is what it told us of it. Our engine never looks at it."""

    id: str
    schedule_id: str
    created_at: Instant
    completed_at: Instant | None
    body: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTotal:
    """What `attempts` attempts used up with one model, added up. None: no attempt said."""

    usage: Usage
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHealth:
    """`clock_difference_ms`: the database's clock minus ours, 0 for an embedded store. `oldest_snapshot_seconds`: how
    long the oldest transaction has kept dead rows from being cleared away, None where there is no such thing."""

    backend: str
    version: str
    schema_version: int
    latency_ms: float
    clock_difference_ms: int
    oldest_snapshot_seconds: int | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """How far the database is behind. `due_lag_ms`: how long the earliest fire that is due has waited to be planned;
    `queue_lag_ms`: how long the earliest run that is available has waited to be claimed; 0 where nothing waits."""

    due_lag_ms: int = 0
    queue_lag_ms: int = 0
    pending: int = 0
    running: int = 0
    paused: int = 0
