"""The store in one SQLite file, or in memory: `SqliteStore(":memory:", clock=...)` is the fake for tests.

One thread of the process writes and commits in groups; reads have connections of their own. One process at a time
runs the engine on a file, held by `<file>.lock`; others serve their API and stand by.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agentclock.core.actors import Actor
from agentclock.core.audit import AuditEntry
from agentclock.core.backfills import Backfill
from agentclock.core.lifecycle import Settlement
from agentclock.core.model import Attempt, Claim, Instant, Instruction, Run, RunStatus, Schedule
from agentclock.core.notices import Delivery, NoticeRow
from agentclock.core.owners import Owner
from agentclock.core.revisions import Revision
from agentclock.core.triggers import TriggerKey
from agentclock.ports import (
    Accounting,
    AuditFilter,
    Backlog,
    Beat,
    BinCount,
    ChangeFunction,
    Claimed,
    EventBatch,
    EventCursor,
    Failure,
    Fired,
    ForeignRun,
    LoggedEvent,
    NoticeFilter,
    Overview,
    Page,
    PageRequest,
    PlanFunction,
    RunFilter,
    RunMark,
    ScheduleBrief,
    ScheduleCount,
    ScheduleFilter,
    ScheduleOrder,
    ScheduleWrite,
    Triggered,
    UsageTotal,
    WorkerInfo,
    WorkerRow,
)
from agentclock.store import (
    sqlite_audit,
    sqlite_backfills,
    sqlite_events,
    sqlite_foreign,
    sqlite_history,
    sqlite_imports,
    sqlite_insight,
    sqlite_notices,
    sqlite_owners,
    sqlite_runs,
    sqlite_schedules,
    sqlite_triggers,
    sqlite_waiting,
    sqlite_writes,
)
from agentclock.store.firing import with_room
from agentclock.store.queries import NOTICES_SINCE
from agentclock.store.sqlite_database import SqliteDatabase


class SqliteStore(SqliteDatabase):
    """Implements `ports.Store`."""

    # schedules

    async def insert_schedules(
        self, schedules: Sequence[Schedule], *, by: Actor | None = None, owner_limit: int | None = None
    ) -> None:
        await self._write(sqlite_schedules.insert_schedules, schedules, by, owner_limit)

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

    async def write_schedules(
        self,
        writes: Sequence[ScheduleWrite],
        *,
        user_id: str | None = None,
        by: Actor | None = None,
        owner_limit: int | None = None,
    ) -> list[Schedule | None]:
        return await self._write(sqlite_writes.write_schedules, writes, user_id, by, owner_limit)

    async def list_schedules(
        self, where: ScheduleFilter, page: PageRequest, order: ScheduleOrder = ScheduleOrder.NEWEST
    ) -> Page[Schedule]:
        return await self._read(sqlite_schedules.list_schedules, where, page, order)

    async def briefs(
        self, where: ScheduleFilter, limit: int, order: ScheduleOrder = ScheduleOrder.NEXT_FIRE
    ) -> list[ScheduleBrief]:
        return await self._read(sqlite_insight.briefs, where, limit, order)

    async def schedule_names(self, schedule_ids: Sequence[str]) -> dict[str, str]:
        return await self._read(sqlite_insight.schedule_names, schedule_ids)

    async def overview(self, user_id: str | None = None) -> Overview:
        return await self._read(sqlite_insight.overview, user_id)

    async def stale_zone_schedules(self, version: str, limit: int) -> list[str]:
        return await self._read(sqlite_schedules.stale_zone_schedules, version, limit)

    async def schedules_since(self, since: Instant, limit: int) -> dict[str, int]:
        return await self._read(sqlite_schedules.schedules_since, since, limit)

    # firing

    async def fire_due(self, plan: PlanFunction, *, limit: int, worker_id: str | None = None, slots: int = 0) -> Fired:
        return await self._write(sqlite_schedules.fire_due, plan, limit, worker_id, slots)

    async def trigger(
        self,
        schedule_id: str,
        plan: PlanFunction,
        *,
        user_id: str | None = None,
        key: TriggerKey | None = None,
        by: Actor | None = None,
    ) -> Triggered:
        if key is not None:
            await self._require(5)
        roomy = with_room(plan, self._queries.require)
        return await self._write(sqlite_triggers.trigger, schedule_id, roomy, user_id, key, by)

    async def claim(self, worker_id: str, limit: int) -> Claimed:
        return await self._write(sqlite_runs.claim, worker_id, limit)

    async def note_agent_run(self, run_id: str, fence: int, agent_run_id: str | None, session_id: str | None) -> bool:
        return await self._write(sqlite_runs.note_agent_run, run_id, fence, agent_run_id, session_id)

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[str]:
        return await self._write(sqlite_runs.settle, settlements)

    async def request_cancel(self, run_id: str, why: str = "cancelled", *, by: Actor | None = None) -> RunStatus | None:
        return await self._write(sqlite_runs.request_cancel, run_id, why, by)

    async def instruct(self, run_id: str, instruction: Instruction, *, by: Actor | None = None) -> Run | None:
        return await self._write(sqlite_runs.instruct, run_id, instruction, by)

    async def paused_due(self, limit: int) -> list[Claim]:
        return await self._write(sqlite_runs.paused_due, limit)

    # backfills

    async def insert_backfill(self, backfill: Backfill, runs: Sequence[Run], *, by: Actor | None = None) -> int:
        await self._require(4)
        return await self._write(sqlite_backfills.insert, backfill, runs, by)

    async def backfills(self, schedule_id: str) -> list[Backfill]:
        await self._require(4)
        return await self._read(sqlite_backfills.list_of, schedule_id)

    async def backfill_states(self, backfill: Backfill) -> dict[RunStatus, int]:
        await self._require(4)
        return await self._read(sqlite_backfills.states_of, backfill)

    async def cancel_backfill(self, backfill_id: str, *, by: Actor | None = None) -> int | None:
        await self._require(4)
        return await self._write(sqlite_backfills.cancel, backfill_id, by)

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

    async def marks(
        self,
        schedule_ids: Sequence[str],
        *,
        limit: int,
        since: Instant | None = None,
        until: Instant | None = None,
        with_usage: bool = False,
    ) -> dict[str, list[RunMark]]:
        return await self._read(sqlite_insight.marks, schedule_ids, limit, since, until, with_usage)

    async def count_fires(self, where: RunFilter, bins: int) -> list[BinCount]:
        return await self._read(sqlite_insight.count_fires, where, bins)

    async def newest_marks(self, where: RunFilter, limit: int) -> list[RunMark]:
        return await self._read(sqlite_insight.newest_marks, where, limit)

    async def counts_by_schedule(self, where: RunFilter, limit: int) -> list[ScheduleCount]:
        return await self._read(sqlite_insight.counts_by_schedule, where, limit)

    async def failures(self, where: RunFilter, limit: int) -> list[Failure]:
        return await self._read(sqlite_insight.failures, where, limit)

    async def held_runs(self, worker_ids: Sequence[str], limit: int) -> dict[str, list[RunMark]]:
        return await self._read(sqlite_insight.held_runs, worker_ids, limit)

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

    # the audit log

    async def audit(self, where: AuditFilter, page: PageRequest) -> Page[AuditEntry]:
        await self._require(5)
        return await self._read(sqlite_audit.entries, where, page)

    # owners

    async def see_owner(self, user_id: str, scopes: Sequence[str], issued_at: Instant | None) -> None:
        await self._require(5)
        await self._write(sqlite_owners.see, user_id, scopes, issued_at)

    async def owner(self, user_id: str) -> Owner | None:
        await self._require(5)
        return await self._read(sqlite_owners.get, user_id)

    async def owners(self, page: PageRequest) -> Page[Owner]:
        await self._require(5)
        return await self._read(sqlite_owners.list_all, page)

    async def revoke_owner(self, user_id: str, revoked: bool, *, by: Actor) -> Owner:
        await self._require(5)
        return await self._write(sqlite_owners.revoke, user_id, revoked, by)

    # notices

    async def claim_notices(self, limit: int, lease_seconds: float) -> list[NoticeRow]:
        await self._require(NOTICES_SINCE)
        return await self._write(sqlite_notices.claim, limit, lease_seconds)

    async def settle_notices(self, deliveries: Sequence[Delivery]) -> None:
        await self._require(NOTICES_SINCE)
        if deliveries:
            await self._write(sqlite_notices.settle, deliveries)

    async def next_notice_ms(self) -> int | None:
        await self._require(NOTICES_SINCE)
        return await self._read(sqlite_notices.next_ms)

    async def hasten_notices(self, webhook: str, after_seconds: float) -> None:
        await self._require(NOTICES_SINCE)
        await self._write(sqlite_notices.hasten, webhook, after_seconds)

    async def notices(self, where: NoticeFilter, page: PageRequest) -> Page[NoticeRow]:
        await self._require(NOTICES_SINCE)
        return await self._read(sqlite_notices.page, where, page)

    async def retry_notice(self, notice_id: str, *, user_id: str | None = None, by: Actor | None = None) -> bool:
        await self._require(NOTICES_SINCE)
        return await self._write(sqlite_notices.retry, notice_id, user_id, by)
