"""All that the engine and the use cases need from the world. Every port has at least two real implementations."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from agentclock.core.errors import CorruptRow
from agentclock.core.lifecycle import Settlement
from agentclock.core.model import (
    Attempt,
    Cause,
    Claim,
    Instant,
    Json,
    Outcome,
    Run,
    RunStatus,
    Schedule,
)
from agentclock.core.planning import Absence, Plan, Situation

Row = TypeVar("Row")


class Clock(Protocol):
    """Time, injected everywhere. Real: SystemClock. Tests and simulation: FakeClock."""

    def now(self) -> Instant:
        """This process's idea of the time."""

    def store_now(self) -> Instant | None:
        """The time that SQL must use, or None: the database's own clock rules."""

    def monotonic(self) -> float:
        """Seconds that never go back, for measuring and for deadlines."""

    async def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFilter:
    """`target` matches the named base URL, the agent, team or workflow id, or the whole endpoint."""

    user_id: str | None = None
    enabled: bool | None = None
    name_contains: str | None = None
    tag: str | None = None
    target: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """`since` and `until` bound the fire time: since <= fire_at < until."""

    schedule_id: str | None = None
    user_id: str | None = None
    statuses: tuple[RunStatus, ...] = ()
    causes: tuple[Cause, ...] = ()
    since: Instant | None = None
    until: Instant | None = None


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
class WorkerInfo:
    """One incarnation of a worker: `id` is new at every start, `name` is for people (host and process)."""

    id: str
    name: str
    app_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    info: WorkerInfo
    started_at: Instant
    lease_until: Instant
    running: int


#: The pure function that decides what becomes of a schedule; called inside the store's transaction with the
#: locked schedule, what is known of its runs, and the ruling time.
PlanFunction = Callable[[Schedule, Situation, Instant], Plan]

#: Likewise for a change of a schedule's own fields.
ChangeFunction = Callable[[Schedule, Instant], Schedule]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """What one planning transaction wrote. `claims` are those of `runs` that the calling worker holds already.

    `next_due_ms`: time from the store's now until the earliest next_fire_at of all enabled schedules (negative:
    overdue), None without any.
    """

    planned: int = 0
    runs: tuple[Run, ...] = ()
    claims: tuple[Claim, ...] = ()
    absences: tuple[tuple[str, Absence], ...] = ()
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
    """Fires of one schedule that history accounts for in a range of fire times, by what they became."""

    runs: int = 0
    skipped: int = 0
    missed: int = 0

    @property
    def total(self) -> int:
        return self.runs + self.skipped + self.missed


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHealth:
    """`clock_difference_ms`: the database's clock minus ours, 0 for an embedded store."""

    backend: str
    version: str
    schema_version: int
    latency_ms: float
    clock_difference_ms: int
    warnings: tuple[str, ...] = ()


class Store(Protocol):
    """Schedules, runs and workers, durable. Real: SqliteStore, PostgresStore.

    Every method is one transaction. StoreUnavailable is raised whenever the database does not answer. A row that
    cannot be read is reported as CorruptRow in the answer and never breaks it; a schedule found unreadable while
    planning is disabled with the reason.
    """

    async def open(self) -> None:
        """Connects and brings the schema up to date (unless told not to). Safe with many at once."""

    async def close(self) -> None: ...

    async def health(self) -> StoreHealth: ...

    async def now(self) -> Instant:
        """The time that rules what is due."""

    # schedules

    async def insert_schedules(self, schedules: Sequence[Schedule]) -> None:
        """All or none. Raises NameTaken."""

    async def get_schedule(self, schedule_id: str, user_id: str | None = None) -> Schedule | None:
        """`user_id` narrows to the rows of one owner. Raises CorruptRow."""

    async def change_schedule(
        self,
        schedule_id: str,
        change: ChangeFunction,
        *,
        user_id: str | None = None,
        expected_version: int | None = None,
    ) -> Schedule:
        """Locks the row, writes what `change` makes of it with version + 1 and updated_at (nothing if it is equal).

        Raises NotFound, NameTaken, VersionConflict, CorruptRow, and whatever `change` raises.
        """

    async def delete_schedule(self, schedule_id: str, user_id: str | None = None) -> bool:
        """Gone for every reader at once; its pending runs are cancelled; its history is purged later."""

    async def list_schedules(self, where: ScheduleFilter, page: PageRequest) -> Page[Schedule]: ...

    async def stale_zone_schedules(self, version: str, limit: int) -> list[str]:
        """Ids of enabled, due-some-time schedules whose next_fire_at was computed with other zone data."""

    # firing

    async def fire_due(self, plan: PlanFunction, *, limit: int, worker_id: str | None = None, slots: int = 0) -> Fired:
        """Plans up to `limit` due schedules, skipping those locked by others, and writes the plans.

        Up to `slots` of the new runs that may start at once are claimed for `worker_id` in the same transaction.
        """

    async def fire_one(
        self, schedule_id: str, plan: PlanFunction, *, user_id: str | None = None
    ) -> tuple[Schedule, Run]:
        """Plans one schedule whether due or not; answers the first row written (run or absence).

        Raises NotFound, and whatever `plan` raises.
        """

    async def claim(self, worker_id: str, limit: int) -> Claimed:
        """Takes available pending runs, oldest first: attempt + 1, fence + 1, an attempts row each."""

    async def note_agent_run(self, run_id: str, fence: int, agent_run_id: str | None, session_id: str | None) -> bool:
        """Stores the target's own ids at once; False when the fence is stale."""

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[str]:
        """Writes each settlement whose fence still holds and answers their run ids; lets waiting runs go."""

    async def request_cancel(self, run_id: str) -> RunStatus | None:
        """Pending: cancelled at once. Running: marked for its worker. Answers the state then, None: no such run."""

    # workers

    async def acquire_engine(self, worker: WorkerInfo, lease_seconds: float) -> str | None:
        """Registers the worker. None: it may run the engine; else the name of the process that owns it."""

    async def renew_lease(self, worker_id: str, lease_seconds: float) -> Beat: ...

    async def release_engine(self, worker_id: str) -> None:
        """The worker's lease ends now; whatever it still holds is orphaned."""

    async def orphans(self, limit: int) -> list[Claim]:
        """Running runs whose worker's lease is over, fence raised so that the old worker's writes are refused."""

    async def release_waiting(self) -> int:
        """Lets the oldest waiting run go of each schedule that has no other active run."""

    async def workers(self) -> list[WorkerRow]: ...

    # history

    async def get_run(self, run_id: str) -> Run | None:
        """Raises CorruptRow."""

    async def attempts(self, run_id: str) -> list[Attempt]: ...

    async def attempts_of(self, run_ids: Sequence[str]) -> dict[str, list[Attempt]]: ...

    async def list_runs(self, where: RunFilter, page: PageRequest) -> Page[Run]: ...

    async def accounting(self, schedule_id: str, after: Instant, until: Instant) -> Accounting:
        """Fires with after < fire_at <= until, manual runs left out."""

    async def prune(self, before: Instant, limit: int) -> int:
        """Deletes final runs with a fire time before `before`, and leftovers of deleted schedules."""


class Wakeup(Protocol):
    """Tells engines on the same database to look again at once. Carries no data; losing one only costs time.

    Real: PostgresWakeup (LISTEN/NOTIFY), SqliteWakeup (watches the file's change counter).
    """

    async def start(self, on_wake: Callable[[], None]) -> None: ...

    def send(self) -> None:
        """Never blocks; many in a row may become one."""

    async def close(self) -> None: ...

    @property
    def state(self) -> str:
        """ "ok", or why wake-ups from other processes do not arrive (then polling does the work)."""


@dataclass(slots=True, kw_only=True)
class RunContext:
    """What a running attempt may ask of its worker."""

    claim: Claim
    #: Relays one event of the agent's stream (its type, its data); never blocks.
    emit: Callable[[str, Json], None]
    #: Stores the agent's run id and session id; raises LeaseLost when the run is no longer ours.
    note_agent_run: Callable[[str | None, str | None], Awaitable[None]]
    #: Set when somebody wants the run cancelled.
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)


class Executor(Protocol):
    """Makes one attempt. Real: HttpExecutor, AgentOSExecutor (and a chooser of both); tests: ScriptedExecutor.

    Never raises for what a target does: every ending is an Outcome. Enforces the schedule's timeout itself and
    cancels the agent before it answers TIMEOUT or CANCELLED. asyncio.CancelledError means that the worker stops.
    """

    async def execute(self, context: RunContext) -> Outcome: ...

    async def close(self) -> None: ...
