"""The store in PostgreSQL 13 or newer: any number of engines on one database."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import asyncpg

from agentclock.core.actors import Actor
from agentclock.core.backfills import Backfill
from agentclock.core.errors import ConfigError, NameTaken
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
    postgres_backfills,
    postgres_events,
    postgres_foreign,
    postgres_history,
    postgres_imports,
    postgres_runs,
    postgres_schedules,
    postgres_waiting,
)
from agentclock.store.columns import NEWEST_SCHEMA
from agentclock.store.migrating import Applied, drift, load_migrations, version_of
from agentclock.store.postgres_doubts import Doubts, undo_claims
from agentclock.store.postgres_pool import PostgresPool, Row, Session
from agentclock.store.postgres_schema import applied_steps, ensure_schema
from agentclock.store.queries import Queries

T = TypeVar("T")
Grant = TypeVar("Grant", Fired, Claimed)
P = ParamSpec("P")

#: A transaction open for longer than this keeps dead rows from being cleared away.
OLD_SNAPSHOT_SECONDS: Final = 600

_SCHEMA: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")


class PostgresStore:
    """Implements `ports.Store`. Raises ConfigError for a URL or a schema name that cannot be used.

    `pooler`: a connection pooler in transaction mode (PgBouncer and the like) stands before the server.
    """

    def __init__(
        self,
        dsn: str,
        *,
        clock: Clock,
        pool_size: int = 8,
        auto_migrate: bool = True,
        pooler: bool = False,
        schema: str = "agentclock",
    ) -> None:
        if not _SCHEMA.fullmatch(schema):
            raise ConfigError([f"schema name {schema!r}: use lower-case letters, digits and _, at most 63"])
        self._clock = clock
        self._schema = schema
        self._auto_migrate = auto_migrate
        self._steps = load_migrations("postgres", schema=schema)
        self._doubts = Doubts()
        self._queries = Queries("postgres", schema=schema)
        self._pool = PostgresPool(dsn, self._queries, size=pool_size, pooler=pooler)

    # life

    async def open(self) -> None:
        await self._pool.open()
        try:
            version = await ensure_schema(
                self._pool, self._steps, schema=self._schema, now=self._clock.store_now(), auto=self._auto_migrate
            )
        except BaseException:
            await self._pool.close()
            raise
        self._queries.use(version)

    async def close(self) -> None:
        await self._pool.close()

    async def health(self) -> StoreHealth:
        before, started = self._clock.now(), self._clock.monotonic()
        version, _, standby, theirs = (await self._read(_rows, "server"))[0]
        latency_ms = (self._clock.monotonic() - started) * 1000
        ours = (before + self._clock.now()) // 2
        applied = await self._look_at_schema()
        snapshot_seconds: int = await self._read(_value, "oldest_snapshot_seconds")
        warnings = list(drift(self._steps, applied))
        if standby:
            warnings.append("this server is a standby: nothing can be written")
        if snapshot_seconds > OLD_SNAPSHOT_SECONDS:
            warnings.append(
                f"a transaction is open for {snapshot_seconds} s; until it ends, claims get slower (look for "
                "backend_xmin in pg_stat_activity)"
            )
        return StoreHealth(
            backend="postgresql",
            version=version,
            schema_version=version_of(applied),
            latency_ms=latency_ms,
            clock_difference_ms=theirs - ours,
            oldest_snapshot_seconds=snapshot_seconds,
            warnings=tuple(warnings),
        )

    async def now(self) -> Instant:
        now: Instant = (await self._read(_rows, "ruling_time"))[0][0]
        return now

    # schedules

    async def insert_schedules(self, schedules: Sequence[Schedule], *, by: Actor | None = None) -> None:
        if not schedules:
            return
        try:
            await self._write(postgres_schedules.insert_schedules, schedules, by)
        except asyncpg.UniqueViolationError as error:
            raise await self._read(postgres_schedules.clash, schedules) from error

    async def get_schedule(self, schedule_id: str, user_id: str | None = None) -> Schedule | None:
        return await self._read(postgres_schedules.get_schedule, schedule_id, user_id)

    async def change_schedule(
        self,
        schedule_id: str,
        change: ChangeFunction,
        *,
        user_id: str | None = None,
        expected_version: int | None = None,
        by: Actor | None = None,
    ) -> Schedule:
        wanted: list[Schedule] = []

        def noted(schedule: Schedule, now: Instant) -> Schedule:
            wanted[:] = [change(schedule, now)]
            return wanted[0]

        try:
            return await self._write(
                postgres_schedules.change_schedule, schedule_id, noted, user_id, expected_version, by
            )
        except asyncpg.UniqueViolationError as error:
            raise NameTaken(wanted[0].name) from error

    async def delete_schedule(self, schedule_id: str, user_id: str | None = None, *, by: Actor | None = None) -> bool:
        return await self._write(postgres_schedules.delete_schedule, schedule_id, user_id, by)

    async def revisions(self, schedule_id: str, limit: int = 1_000) -> list[Revision]:
        return await self._read(postgres_schedules.revisions, schedule_id, limit)

    async def list_schedules(self, where: ScheduleFilter, page: PageRequest) -> Page[Schedule]:
        return await self._read(postgres_schedules.list_schedules, where, page)

    async def stale_zone_schedules(self, version: str, limit: int) -> list[str]:
        return await self._read(postgres_schedules.stale_zone_schedules, version, limit)

    async def schedules_since(self, since: Instant, limit: int) -> dict[str, int]:
        return await self._read(postgres_schedules.schedules_since, since, limit)

    # firing

    async def fire_due(self, plan: PlanFunction, *, limit: int, worker_id: str | None = None, slots: int = 0) -> Fired:
        return await self._claiming(postgres_schedules.fire_due, plan, limit, worker_id, slots)

    async def fire_one(
        self, schedule_id: str, plan: PlanFunction, *, user_id: str | None = None
    ) -> tuple[Schedule, Run]:
        return await self._write(postgres_schedules.fire_one, schedule_id, plan, user_id)

    async def claim(self, worker_id: str, limit: int) -> Claimed:
        return await self._claiming(postgres_runs.claim, worker_id, limit)

    async def note_agent_run(self, run_id: str, fence: int, agent_run_id: str | None, session_id: str | None) -> bool:
        return await self._write(postgres_runs.note_agent_run, run_id, fence, agent_run_id, session_id)

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[str]:
        return await self._write(postgres_runs.settle, settlements) if settlements else frozenset()

    async def request_cancel(self, run_id: str, why: str = "cancelled") -> RunStatus | None:
        return await self._write(postgres_runs.request_cancel, run_id, why)

    async def instruct(self, run_id: str, instruction: Instruction) -> Run | None:
        return await self._write(postgres_runs.instruct, run_id, instruction)

    async def paused_due(self, limit: int) -> list[Claim]:
        return await self._write(postgres_runs.paused_due, limit)

    # backfills

    async def insert_backfill(self, backfill: Backfill, runs: Sequence[Run]) -> int:
        await self._require(4)
        return await self._write(postgres_backfills.insert, backfill, runs)

    async def backfills(self, schedule_id: str) -> list[Backfill]:
        await self._require(4)
        return await self._read(postgres_backfills.list_of, schedule_id)

    async def backfill_states(self, backfill: Backfill) -> dict[RunStatus, int]:
        await self._require(4)
        return await self._read(postgres_backfills.states_of, backfill)

    async def cancel_backfill(self, backfill_id: str) -> int | None:
        await self._require(4)
        return await self._write(postgres_backfills.cancel, backfill_id)

    # workers

    async def acquire_engine(self, worker: WorkerInfo, lease_seconds: float) -> str | None:
        await self._write(postgres_runs.register_worker, worker, lease_seconds)
        return None

    async def renew_lease(self, worker_id: str, lease_seconds: float) -> Beat:
        await self._keep_up()
        return await self._write(postgres_runs.renew_lease, worker_id, lease_seconds)

    async def release_engine(self, worker_id: str) -> None:
        await self._write(postgres_runs.end_lease, worker_id)

    async def cancel_requests(self, worker_id: str) -> tuple[str, ...]:
        return await self._read(postgres_runs.cancel_requests, worker_id)

    async def orphans(self, limit: int) -> list[Claim]:
        return await self._write(postgres_runs.orphans, limit)

    async def release_waiting(self) -> int:
        return await self._write(postgres_waiting.release_waiting)

    async def backlog(self) -> Backlog:
        return await self._read(postgres_runs.backlog)

    async def workers(self) -> list[WorkerRow]:
        return await self._read(postgres_runs.workers)

    # history

    async def get_run(self, run_id: str) -> Run | None:
        return await self._read(postgres_history.get_run, run_id)

    async def attempts(self, run_id: str) -> list[Attempt]:
        return (await self.attempts_of([run_id]))[run_id]

    async def attempts_of(self, run_ids: Sequence[str]) -> dict[str, list[Attempt]]:
        return await self._read(postgres_history.attempts_of, run_ids)

    async def list_runs(self, where: RunFilter, page: PageRequest) -> Page[Run]:
        return await self._read(postgres_history.list_runs, where, page)

    async def runs_by_id(self, run_ids: Sequence[str]) -> list[Run]:
        return await self._read(postgres_history.runs_by_id, run_ids)

    async def recent_runs(self, since: Instant, limit: int) -> list[Run]:
        return await self._read(postgres_history.recent_runs, since, limit)

    async def usage(self, schedule_id: str, since: Instant | None, until: Instant | None) -> list[UsageTotal]:
        return await self._read(postgres_history.usage, schedule_id, since, until)

    async def accounting(self, schedule_id: str, after: Instant, until: Instant) -> Accounting:
        return await self._read(postgres_history.accounting, schedule_id, after, until)

    async def insert_history(self, runs: Sequence[Run], attempts: Sequence[Attempt]) -> int:
        return await self._write(postgres_imports.insert_history, runs, attempts)

    async def prune(self, before: Instant, limit: int) -> int:
        return await self._write(postgres_history.prune, before, limit)

    # runs that other software made

    async def put_foreign_run(self, run: ForeignRun) -> None:
        await self._write(postgres_foreign.put, run)

    async def get_foreign_run(self, run_id: str) -> ForeignRun | None:
        return await self._read(postgres_foreign.get, run_id)

    async def foreign_runs(self, schedule_id: str) -> list[ForeignRun]:
        return await self._read(postgres_foreign.list_of, schedule_id)

    async def delete_foreign_runs(self, schedule_id: str, before: Instant | None = None) -> int:
        return await self._write(postgres_foreign.delete, schedule_id, before)

    # event logs of runs

    async def append_events(self, batches: Sequence[EventBatch]) -> frozenset[str]:
        return await self._write(postgres_events.append_events, batches) if batches else frozenset()

    async def event_cursor(self, run_id: str) -> EventCursor:
        return await self._read(postgres_events.event_cursor, run_id)

    async def events_after(self, run_id: str, seq: int, limit: int) -> list[LoggedEvent]:
        return await self._read(postgres_events.events_after, run_id, seq, limit)

    # within

    async def _look_at_schema(self) -> list[Applied]:
        applied = await self._read(applied_steps)
        self._queries.use(version_of(applied))
        return applied

    async def _keep_up(self) -> None:
        """Somebody may have upgraded the schema since we last looked."""
        if self._queries.version < NEWEST_SCHEMA:
            await self._look_at_schema()

    async def _require(self, step: int) -> None:
        """Raises SchemaBehind."""
        await self._keep_up()
        self._queries.require(step)

    async def _claiming(
        self, operation: Callable[Concatenate[Session, P], Awaitable[Grant]], *args: P.args, **kwargs: P.kwargs
    ) -> Grant:
        """A write that claims runs; what an earlier one may have claimed unknown to its worker is undone first."""
        if self._doubts:
            with self._doubts.noted() as still_doubtful:
                still_doubtful[:] = self._doubts.take()
                await self._write(undo_claims, still_doubtful)
        with self._doubts.noted() as about_to_claim:

            async def noting(session: Session) -> Grant:
                granted = await operation(session, *args, **kwargs)
                about_to_claim[:] = granted.claims
                return granted

            return await self._pool.transact(self._clock.store_now(), noting)

    async def _write(
        self, operation: Callable[Concatenate[Session, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self._pool.transact(self._clock.store_now(), lambda session: operation(session, *args, **kwargs))

    async def _read(
        self, operation: Callable[Concatenate[Session, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self._pool.read(self._clock.store_now(), lambda session: operation(session, *args, **kwargs))


async def _rows(session: Session, name: str) -> list[Row]:
    return await session.rows(name)


async def _value(session: Session, name: str) -> Any:
    return await session.value(name)
