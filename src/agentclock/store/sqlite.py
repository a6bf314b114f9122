"""The store in one SQLite file, or in memory: `SqliteStore(":memory:", clock=...)` is the fake for tests.

One thread of the process writes and commits in groups; reads have connections of their own. One process at a time
runs the engine on a file, held by `<file>.lock`; others serve their API and stand by.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from agentclock import __version__
from agentclock.core.actors import Actor
from agentclock.core.backfills import Backfill
from agentclock.core.lifecycle import Settlement
from agentclock.core.model import Attempt, Claim, Instant, Instruction, Run, RunStatus, Schedule
from agentclock.core.revisions import Revision
from agentclock.ports import (
    Accounting,
    Backlog,
    Beat,
    ChangeFunction,
    Claimed,
    Clock,
    EventBatch,
    EventCursor,
    Fired,
    ForeignRun,
    LoggedEvent,
    Page,
    PageRequest,
    PlanFunction,
    RunFilter,
    ScheduleFilter,
    StoreHealth,
    UsageTotal,
    WorkerInfo,
    WorkerRow,
)
from agentclock.store import (
    sqlite_backfills,
    sqlite_events,
    sqlite_foreign,
    sqlite_history,
    sqlite_imports,
    sqlite_runs,
    sqlite_schedules,
    sqlite_waiting,
)
from agentclock.store.columns import NEWEST_SCHEMA
from agentclock.store.migrating import Applied, drift, load_migrations, version_of
from agentclock.store.queries import Queries
from agentclock.store.sqlite_file import (
    MEMORY,
    Session,
    Synchronous,
    applied_steps,
    connect,
    connect_reader,
    migrate,
    unavailable,
)
from agentclock.store.sqlite_lock import EngineLock
from agentclock.store.sqlite_watch import FileWatch
from agentclock.store.sqlite_writer import Readers, Writer

T = TypeVar("T")
P = ParamSpec("P")


class SqliteStore:
    """Implements `ports.Store`.

    `synchronous` NORMAL is faster and may lose the newest transactions in a power failure (never the file).
    """

    def __init__(
        self, path: str, *, clock: Clock, synchronous: Synchronous = "FULL", auto_migrate: bool = True
    ) -> None:
        self._path = path
        self._clock = clock
        self._synchronous: Synchronous = synchronous
        self._auto_migrate = auto_migrate
        self._queries = Queries("sqlite")
        self._steps = load_migrations("sqlite")
        self._writer = Writer(self._connect)
        # A second connection would see a memory of its own.
        self._readers = None if path == MEMORY else Readers(partial(connect_reader, path))
        self._lock = None if path == MEMORY else EngineLock(path)
        # The workers of this process that run the engine, and whose turn it is to change that.
        self._engines: set[str] = set()
        self._engine_change = asyncio.Lock()
        self._owner_elsewhere: str | None = None
        self._watch = FileWatch(path)

    # life

    async def open(self) -> None:
        await self._guarded(self._writer.start())
        if self._readers is not None:
            self._readers.start()
        await asyncio.to_thread(self._watch.remember_file)

    async def close(self) -> None:
        if self._readers is not None:
            await self._readers.stop()
        await self._writer.stop()
        if self._lock is not None:
            self._lock.release()

    async def health(self) -> StoreHealth:
        started = self._clock.monotonic()
        await asyncio.to_thread(self._watch.check_file)
        schema_version, warnings = await self._write(self._inspect)
        return StoreHealth(
            backend="sqlite",
            version=sqlite3.sqlite_version,
            schema_version=schema_version,
            latency_ms=(self._clock.monotonic() - started) * 1000,
            clock_difference_ms=0,
            warnings=warnings,
        )

    async def now(self) -> Instant:
        return self._now()

    # schedules

    async def insert_schedules(self, schedules: Sequence[Schedule], *, by: Actor | None = None) -> None:
        await self._write(sqlite_schedules.insert_schedules, schedules, by)

    async def get_schedule(self, schedule_id: str, user_id: str | None = None) -> Schedule | None:
        return await self._read(sqlite_schedules.get_schedule, schedule_id, user_id)

    async def change_schedule(
        self,
        schedule_id: str,
        change: ChangeFunction,
        *,
        user_id: str | None = None,
        expected_version: int | None = None,
        by: Actor | None = None,
    ) -> Schedule:
        return await self._write(sqlite_schedules.change_schedule, schedule_id, change, user_id, expected_version, by)

    async def delete_schedule(self, schedule_id: str, user_id: str | None = None, *, by: Actor | None = None) -> bool:
        return await self._write(sqlite_schedules.delete_schedule, schedule_id, user_id, by)

    async def revisions(self, schedule_id: str, limit: int = 1_000) -> list[Revision]:
        return await self._read(sqlite_schedules.revisions, schedule_id, limit)

    async def list_schedules(self, where: ScheduleFilter, page: PageRequest) -> Page[Schedule]:
        return await self._read(sqlite_schedules.list_schedules, where, page)

    async def stale_zone_schedules(self, version: str, limit: int) -> list[str]:
        return await self._read(sqlite_schedules.stale_zone_schedules, version, limit)

    async def schedules_since(self, since: Instant, limit: int) -> dict[str, int]:
        return await self._read(sqlite_schedules.schedules_since, since, limit)

    # firing

    async def fire_due(self, plan: PlanFunction, *, limit: int, worker_id: str | None = None, slots: int = 0) -> Fired:
        return await self._write(sqlite_schedules.fire_due, plan, limit, worker_id, slots)

    async def fire_one(
        self, schedule_id: str, plan: PlanFunction, *, user_id: str | None = None
    ) -> tuple[Schedule, Run]:
        return await self._write(sqlite_schedules.fire_one, schedule_id, plan, user_id)

    async def claim(self, worker_id: str, limit: int) -> Claimed:
        return await self._write(sqlite_runs.claim, worker_id, limit)

    async def note_agent_run(self, run_id: str, fence: int, agent_run_id: str | None, session_id: str | None) -> bool:
        return await self._write(sqlite_runs.note_agent_run, run_id, fence, agent_run_id, session_id)

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[str]:
        return await self._write(sqlite_runs.settle, settlements)

    async def request_cancel(self, run_id: str, why: str = "cancelled") -> RunStatus | None:
        return await self._write(sqlite_runs.request_cancel, run_id, why)

    async def instruct(self, run_id: str, instruction: Instruction) -> Run | None:
        return await self._write(sqlite_runs.instruct, run_id, instruction)

    async def paused_due(self, limit: int) -> list[Claim]:
        return await self._write(sqlite_runs.paused_due, limit)

    # backfills

    async def insert_backfill(self, backfill: Backfill, runs: Sequence[Run]) -> int:
        await self._require(4)
        return await self._write(sqlite_backfills.insert, backfill, runs)

    async def backfills(self, schedule_id: str) -> list[Backfill]:
        await self._require(4)
        return await self._read(sqlite_backfills.list_of, schedule_id)

    async def backfill_states(self, backfill: Backfill) -> dict[RunStatus, int]:
        await self._require(4)
        return await self._read(sqlite_backfills.states_of, backfill)

    async def cancel_backfill(self, backfill_id: str) -> int | None:
        await self._require(4)
        return await self._write(sqlite_backfills.cancel, backfill_id)

    # workers

    async def acquire_engine(self, worker: WorkerInfo, lease_seconds: float) -> str | None:
        async with self._engine_change:
            owner = None if self._lock is None else await asyncio.to_thread(self._lock.acquire, worker.name)
            self._owner_elsewhere = owner
            if owner is not None:
                return owner
            try:
                await self._write(sqlite_runs.register_worker, worker, lease_seconds, alone=not self._engines)
            except BaseException:
                await self._free_lock()
                raise
            self._engines.add(worker.id)
            return None

    async def renew_lease(self, worker_id: str, lease_seconds: float) -> Beat:
        await asyncio.to_thread(self._watch.check_file)
        await self._keep_up()
        return await self._write(sqlite_runs.renew_lease, worker_id, lease_seconds)

    async def release_engine(self, worker_id: str) -> None:
        async with self._engine_change:
            try:
                await self._write(sqlite_runs.end_lease, worker_id)
            finally:
                self._engines.discard(worker_id)
                await self._free_lock()

    async def cancel_requests(self, worker_id: str) -> tuple[str, ...]:
        return await self._read(sqlite_runs.cancel_requests, worker_id)

    async def orphans(self, limit: int) -> list[Claim]:
        return await self._write(sqlite_runs.orphans, limit)

    async def release_waiting(self) -> int:
        return await self._write(sqlite_waiting.release_waiting)

    async def backlog(self) -> Backlog:
        return await self._read(sqlite_runs.backlog)

    async def workers(self) -> list[WorkerRow]:
        return await self._read(sqlite_runs.workers)

    # history

    async def get_run(self, run_id: str) -> Run | None:
        return await self._read(sqlite_history.get_run, run_id)

    async def attempts(self, run_id: str) -> list[Attempt]:
        return (await self.attempts_of([run_id]))[run_id]

    async def attempts_of(self, run_ids: Sequence[str]) -> dict[str, list[Attempt]]:
        return await self._read(sqlite_history.attempts_of, run_ids)

    async def list_runs(self, where: RunFilter, page: PageRequest) -> Page[Run]:
        return await self._read(sqlite_history.list_runs, where, page)

    async def runs_by_id(self, run_ids: Sequence[str]) -> list[Run]:
        return await self._read(sqlite_history.runs_by_id, run_ids)

    async def recent_runs(self, since: Instant, limit: int) -> list[Run]:
        return await self._read(sqlite_history.recent_runs, since, limit)

    async def usage(self, schedule_id: str, since: Instant | None, until: Instant | None) -> list[UsageTotal]:
        return await self._read(sqlite_history.usage, schedule_id, since, until)

    async def accounting(self, schedule_id: str, after: Instant, until: Instant) -> Accounting:
        return await self._read(sqlite_history.accounting, schedule_id, after, until)

    async def insert_history(self, runs: Sequence[Run], attempts: Sequence[Attempt]) -> int:
        return await self._write(sqlite_imports.insert_history, runs, attempts)

    async def prune(self, before: Instant, limit: int) -> int:
        return await self._write(sqlite_history.prune, before, limit)

    # runs that other software made

    async def put_foreign_run(self, run: ForeignRun) -> None:
        await self._write(sqlite_foreign.put, run)

    async def get_foreign_run(self, run_id: str) -> ForeignRun | None:
        return await self._read(sqlite_foreign.get, run_id)

    async def foreign_runs(self, schedule_id: str) -> list[ForeignRun]:
        return await self._read(sqlite_foreign.list_of, schedule_id)

    async def delete_foreign_runs(self, schedule_id: str, before: Instant | None = None) -> int:
        return await self._write(sqlite_foreign.delete, schedule_id, before)

    # event logs of runs

    async def append_events(self, batches: Sequence[EventBatch]) -> frozenset[str]:
        return await self._write(sqlite_events.append_events, batches) if batches else frozenset()

    async def event_cursor(self, run_id: str) -> EventCursor:
        return await self._read(sqlite_events.event_cursor, run_id)

    async def events_after(self, run_id: str, seq: int, limit: int) -> list[LoggedEvent]:
        return await self._read(sqlite_events.events_after, run_id, seq, limit)

    # within

    def _now(self) -> Instant:
        ruling = self._clock.store_now()
        return self._clock.now() if ruling is None else ruling

    def _connect(self) -> sqlite3.Connection:
        """The writing connection, its schema up to date. Runs on the writer's thread."""
        connection = connect(self._path, self._synchronous)
        try:
            migrate(
                connection,
                self._queries,
                self._steps,
                app_version=__version__,
                now=self._now(),
                auto=self._auto_migrate,
            )
            self._use_schema(applied_steps(self._session(connection)))
            self._watch.remember_content(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _inspect(self, session: Session) -> tuple[int, tuple[str, ...]]:
        """The schema's version, and warnings. Runs on the writer's thread."""
        applied = applied_steps(session)
        version = self._use_schema(applied)
        shared = self._owner_elsewhere is not None
        warnings = self._watch.warnings(session.connection, shared=shared)
        return version, (*drift(self._steps, applied), *warnings)

    def _use_schema(self, applied: Sequence[Applied]) -> int:
        version = version_of(applied)
        self._queries.use(version)
        return version

    async def _keep_up(self) -> None:
        """Somebody may have upgraded the schema since we last looked."""
        if self._queries.version < NEWEST_SCHEMA:
            await self._write(self._inspect)

    async def _require(self, step: int) -> None:
        """Raises SchemaBehind."""
        await self._keep_up()
        self._queries.require(step)

    async def _free_lock(self) -> None:
        if self._lock is not None and not self._engines:
            await asyncio.to_thread(self._lock.release)

    async def _write(self, operation: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._guarded(
            self._writer.run(lambda connection: operation(self._session(connection), *args, **kwargs))
        )

    async def _read(self, operation: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._readers is None:
            return await self._write(operation, *args, **kwargs)
        return await self._guarded(
            self._readers.run(lambda connection: operation(self._session(connection), *args, **kwargs))
        )

    def _session(self, connection: sqlite3.Connection) -> Session:
        return Session(connection, self._queries, self._now())

    async def _guarded(self, work: Awaitable[T]) -> T:
        try:
            return await work
        except (sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.IntegrityError):
            raise  # our own mistakes, not the database's absence
        except sqlite3.Error as error:
            raise unavailable(self._path, error) from error
