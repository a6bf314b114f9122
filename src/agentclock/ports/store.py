"""The database, as the engine and the use cases see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agentclock.core.actors import Actor
from agentclock.core.audit import AuditEntry
from agentclock.core.backfills import Backfill
from agentclock.core.lifecycle import Settlement
from agentclock.core.model import Attempt, Claim, Instant, Instruction, Run, RunStatus, Schedule
from agentclock.core.notices import Delivery, NoticeRow
from agentclock.core.owners import Owner
from agentclock.core.revisions import Revision
from agentclock.core.triggers import TriggerKey
from agentclock.ports.records import (
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
    StoreHealth,
    Triggered,
    UsageTotal,
    WorkerInfo,
    WorkerRow,
)


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

    # `by`: who does it. Where it is given, an entry in the audit log is part of the transaction.

    async def insert_schedules(
        self, schedules: Sequence[Schedule], *, by: Actor | None = None, owner_limit: int | None = None
    ) -> None:
        """All or none, each with its first revision. `owner_limit`: no owner may have more schedules afterwards; those
        without an owner are not counted. Raises NameTaken, LimitReached."""

    async def get_schedule(self, schedule_id: str, user_id: str | None = None) -> Schedule | None:
        """`user_id` narrows to the rows of one owner. Raises CorruptRow."""

    async def change_schedule(
        self,
        schedule_id: str,
        change: ChangeFunction,
        *,
        user_id: str | None = None,
        expected_version: int | None = None,
        by: Actor | None = None,
    ) -> Schedule:
        """Locks the row, writes what `change` makes of it with version + 1, updated_at and a revision that names `by`
        (nothing if it is equal).

        Raises NotFound, NameTaken, VersionConflict, CorruptRow, and whatever `change` raises.
        """

    async def delete_schedule(self, schedule_id: str, user_id: str | None = None, *, by: Actor | None = None) -> bool:
        """Gone for every reader at once; its pending runs are cancelled; its history is purged later."""

    async def write_schedules(
        self,
        writes: Sequence[ScheduleWrite],
        *,
        user_id: str | None = None,
        by: Actor | None = None,
        owner_limit: int | None = None,
    ) -> list[Schedule | None]:
        """All of it or nothing, each as the method for one would do it; answers the schedules as they are now (None: it
        was deleted). Deletions go first, so that names are free. `user_id` narrows changes and deletions.

        Raises what those methods raise; NotFound also for a schedule to delete that is gone.
        """

    async def list_schedules(
        self, where: ScheduleFilter, page: PageRequest, order: ScheduleOrder = ScheduleOrder.NEWEST
    ) -> Page[Schedule]: ...

    async def briefs(
        self, where: ScheduleFilter, limit: int, order: ScheduleOrder = ScheduleOrder.NEXT_FIRE
    ) -> list[ScheduleBrief]:
        """The first `limit` schedules in that order, thousands if need be; those that cannot be read are left out."""

    async def schedule_names(self, schedule_ids: Sequence[str]) -> dict[str, str]:
        """Of those that exist, and of deleted ones that are not purged yet."""

    async def overview(self, user_id: str | None = None) -> Overview: ...

    async def revisions(self, schedule_id: str, limit: int = 1_000) -> list[Revision]:
        """Newest first; of a deleted schedule, too. What older code wrote leaves a gap in the versions. A revision that
        cannot be read is left out (a gap as well)."""

    async def stale_zone_schedules(self, version: str, limit: int) -> list[str]:
        """Ids of enabled, due-some-time schedules whose next_fire_at was computed with other zone data."""

    async def schedules_since(self, since: Instant, limit: int) -> dict[str, int]:
        """Ids and versions of those created, changed or deleted at or after `since`: the newest `limit`."""

    # firing

    async def fire_due(self, plan: PlanFunction, *, limit: int, worker_id: str | None = None, slots: int = 0) -> Fired:
        """Plans up to `limit` due schedules, skipping those locked by others, and writes the plans.

        Up to `slots` of the new runs that may start at once are claimed for `worker_id` in the same transaction.
        """

    async def trigger(
        self,
        schedule_id: str,
        plan: PlanFunction,
        *,
        user_id: str | None = None,
        key: TriggerKey | None = None,
        by: Actor | None = None,
    ) -> Triggered:
        """Plans one schedule whether due or not, and answers the first row written. A `key` that was used for this
        schedule within KEY_HOURS answers the run that it made, as it is now, whatever became of the schedule; one whose
        run is deleted already makes another.

        Raises KeyReused (its fingerprint differs), NotFound, whatever `plan` raises, and SchemaBehind for a key or a
        payload of the run's own.
        """

    async def claim(self, worker_id: str, limit: int) -> Claimed:
        """Takes available pending runs, oldest first: attempt + 1, fence + 1, an attempts row each."""

    async def note_agent_run(self, run_id: str, fence: int, agent_run_id: str | None, session_id: str | None) -> bool:
        """Stores the target's own ids at once; False when the fence is stale."""

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[str]:
        """Writes each settlement whose fence still holds and answers their run ids; lets waiting runs go."""

    async def request_cancel(self, run_id: str, why: str = "cancelled", *, by: Actor | None = None) -> RunStatus | None:
        """Answers the state afterwards, None: no such run.

        Pending before an attempt: cancelled at once. Running: marked for its worker. Paused, or pending with an agent
        run: pending with the instruction to cancel it. Over: nothing changes.
        """

    async def instruct(self, run_id: str, instruction: Instruction, *, by: Actor | None = None) -> Run | None:
        """A paused run becomes pending, available at once, with `instruction`. None: it is not paused (any more)."""

    async def paused_due(self, limit: int) -> list[Claim]:
        """Paused runs whose `review_at` has come, with their schedules; each gets its next one (`next_review_at`).

        Several callers at once get different runs. The claims give no right to write: the runs stay paused.
        """

    # backfills

    async def insert_backfill(self, backfill: Backfill, runs: Sequence[Run], *, by: Actor | None = None) -> int:
        """Writes it and those of its runs (pending, waiting, with its `created_at`) whose ids are new, lets as many go
        as may run at a time, and answers how many were written (also as the stored backfill's `fires`).

        Raises NotFound, and like all of these SchemaBehind.
        """

    async def backfills(self, schedule_id: str) -> list[Backfill]:
        """Newest first, at most a hundred."""

    async def backfill_states(self, backfill: Backfill) -> dict[RunStatus, int]:
        """How many of its runs (those in its range with its `created_at`) are in which state."""

    async def cancel_backfill(self, backfill_id: str, *, by: Actor | None = None) -> int | None:
        """Those of its runs (they have its `created_at`) that did not begin are cancelled at once, the others marked.

        Answers how many that were, None: no such backfill.
        """

    # workers

    async def acquire_engine(self, worker: WorkerInfo, lease_seconds: float) -> str | None:
        """Registers the worker. None: it may run the engine; else the name of the process that owns it."""

    async def renew_lease(self, worker_id: str, lease_seconds: float) -> Beat: ...

    async def release_engine(self, worker_id: str) -> None:
        """The worker's lease ends now; whatever it still holds is orphaned."""

    async def cancel_requests(self, worker_id: str) -> tuple[str, ...]:
        """The running runs of this worker that somebody wants cancelled. A read: costs next to nothing."""

    async def orphans(self, limit: int) -> list[Claim]:
        """Running runs whose worker's lease is over, fence raised so that the old worker's writes are refused."""

    async def release_waiting(self) -> int:
        """Lets the oldest waiting run go of each schedule that has no other active run; and of backfills as many as
        their concurrency has room for (of several at once on one schedule, that of the newest)."""

    async def backlog(self) -> Backlog:
        """Cheap enough to ask every few seconds."""

    async def workers(self) -> list[WorkerRow]: ...

    # history

    async def get_run(self, run_id: str) -> Run | None:
        """Raises CorruptRow."""

    async def attempts(self, run_id: str) -> list[Attempt]: ...

    async def attempts_of(self, run_ids: Sequence[str]) -> dict[str, list[Attempt]]: ...

    async def list_runs(self, where: RunFilter, page: PageRequest) -> Page[Run]: ...

    async def runs_by_id(self, run_ids: Sequence[str]) -> list[Run]:
        """Those that exist and can be read, in no order."""

    async def marks(
        self,
        schedule_ids: Sequence[str],
        *,
        limit: int,
        since: Instant | None = None,
        until: Instant | None = None,
        with_usage: bool = False,
    ) -> dict[str, list[RunMark]]:
        """The newest `limit` runs of each of these schedules with since <= fire_at < until, newest first."""

    async def count_fires(self, where: RunFilter, bins: int) -> list[BinCount]:
        """The fires of history, whatever became of them, in `bins` bins of equal length between `where.since` and
        `where.until` (both needed); bins and states without any are left out."""

    async def newest_marks(self, where: RunFilter, limit: int) -> list[RunMark]:
        """The newest `limit` runs, of whichever schedules, newest first; without what they used up."""

    async def counts_by_schedule(self, where: RunFilter, limit: int) -> list[ScheduleCount]:
        """Of each schedule with such runs; the `limit` with the most fires, most first."""

    async def failures(self, where: RunFilter, limit: int) -> list[Failure]:
        """Runs that failed, timed out or were lost (`where.statuses` narrows that), newest first."""

    async def held_runs(self, worker_ids: Sequence[str], limit: int) -> dict[str, list[RunMark]]:
        """What these workers have in hand, at most `limit` each, oldest first."""

    async def recent_runs(self, since: Instant, limit: int) -> list[Run]:
        """Active runs, and those that fired at or after `since`: the newest `limit` of each, in no order."""

    async def usage(self, schedule_id: str, since: Instant | None, until: Instant | None) -> list[UsageTotal]:
        """Of attempts of runs with since <= fire_at < until, by model; most tokens first."""

    async def accounting(self, schedule_id: str, after: Instant, until: Instant) -> Accounting:
        """Fires with after < fire_at <= until, manual and backfill runs left out."""

    async def insert_history(self, runs: Sequence[Run], attempts: Sequence[Attempt]) -> int:
        """Finished runs that another scheduler made, with their attempts; those whose id is there stay as they are.

        Answers how many runs were written.
        """

    async def prune(self, before: Instant, limit: int) -> int:
        """Deletes final runs with a fire time before `before` (manual ones only if made before it, too), their events,
        leftovers of deleted schedules, and keys of triggers that count no more.

        Answers the number of runs, or `limit` if there is more to delete.
        """

    # event logs of runs

    async def append_events(self, batches: Sequence[EventBatch]) -> frozenset[str]:
        """Writes the batches whose run is running under its batch's fence, and answers their run ids.

        An event that is there already (its reply was lost) is left as it is.
        """

    async def event_cursor(self, run_id: str) -> EventCursor: ...

    async def events_after(self, run_id: str, seq: int, limit: int) -> list[LoggedEvent]:
        """The events with a greater number, in order."""

    # runs that other software made

    async def put_foreign_run(self, run: ForeignRun) -> None:
        """Writes it, in place of the one with the same id if there is one (schedule and creation stay)."""

    async def get_foreign_run(self, run_id: str) -> ForeignRun | None:
        """Raises CorruptRow."""

    async def foreign_runs(self, schedule_id: str) -> list[ForeignRun]:
        """Newest first, at most a thousand."""

    async def delete_foreign_runs(self, schedule_id: str, before: Instant | None = None) -> int:
        """Those completed before `before`, or all. Answers how many."""

    # the audit log (all of these, and those below, raise SchemaBehind)

    async def audit(self, where: AuditFilter, page: PageRequest) -> Page[AuditEntry]:
        """Newest first."""

    # owners

    async def see_owner(self, user_id: str, scopes: Sequence[str], issued_at: Instant | None) -> None:
        """Notes what an owner's token grants. One that was issued before the noted one changes nothing but `seen_at`,
        and none lifts a revocation."""

    async def owner(self, user_id: str) -> Owner | None: ...

    async def owners(self, page: PageRequest) -> Page[Owner]:
        """In the order of their ids."""

    async def revoke_owner(self, user_id: str, revoked: bool, *, by: Actor) -> Owner:
        """Revokes or restores, also an owner who was never seen. Doing it twice changes nothing."""

    # notices

    async def claim_notices(self, limit: int, lease_seconds: float) -> list[NoticeRow]:
        """Pending notices whose time has come, oldest first, `tries` raised by one. Nobody else gets them within
        `lease_seconds`."""

    async def settle_notices(self, deliveries: Sequence[Delivery]) -> None:
        """Writes each whose `tries` is still the notice's own; one that is delivered stays so."""

    async def next_notice_ms(self) -> int | None:
        """How long until the next pending notice is to be tried, by the ruling clock; None: there is none."""

    async def hasten_notices(self, webhook: str, after_seconds: float) -> None:
        """Pending notices of this webhook whose next try is more than `after_seconds` away are due now."""

    async def notices(self, where: NoticeFilter, page: PageRequest) -> Page[NoticeRow]:
        """Newest first."""

    async def retry_notice(self, notice_id: str, *, user_id: str | None = None, by: Actor | None = None) -> bool:
        """Lets a dead notice be tried again, from its first try on. False: there is no such one (any more)."""
