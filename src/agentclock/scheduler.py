"""The use cases: everything that REST, CLI, dashboard and tools can ask of agentclock, and the rules of input.

Callers speak wire field names (`drafts`), answers are the model's own types. `user_id` narrows every use case to
one owner's rows; None means all. `by`: who a change is put down to, None: nobody said.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

import structlog

from agentclock.accounts import Accounts
from agentclock.applying import Applying
from agentclock.auditing import AuditLog
from agentclock.backfilling import Backfilling
from agentclock.calling import CallRules
from agentclock.changing import Changes, with_zone_data
from agentclock.core.actors import Actor
from agentclock.core.errors import (
    CorruptRow,
    NotFound,
)
from agentclock.core.events import FiresAbsent, RunChanged, ScheduleChanged
from agentclock.core.ids import uuid7
from agentclock.core.model import DAY_SECONDS, Instant, Json, Reason, Run, Schedule, Target
from agentclock.core.storable import text_fault
from agentclock.core.zones import tzdata_version
from agentclock.drafts import PreviewDraft, ScheduleDraft, SchedulePatch, read_draft
from agentclock.insight import Insight
from agentclock.insight.reading import check_filter
from agentclock.owners import Owners
from agentclock.ports import (
    ChangeFunction,
    ChangeSchedule,
    Clock,
    Page,
    PageRequest,
    RunFilter,
    ScheduleFilter,
    ScheduleOrder,
    Store,
    StoreHealth,
)
from agentclock.runs import RunDetail, RunReader, RunWatch, check_page
from agentclock.switching import Switching
from agentclock.timing import (
    Description,
    FiresOwed,
    Missed,
    Occurrence,
    describe,
    occurrences,
    retimed,
    unless_owed,
)
from agentclock.triggering import Triggering

ZONE_BATCH: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineState:
    """What this process's engine says of itself. `status` is "running" only while it executes runs; `owner` names
    the process that does while this one stands by; `trouble` is what keeps it from working."""

    status: str
    owner: str | None = None
    trouble: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    timezone: str
    description: Description
    occurrences: tuple[Occurrence, ...]


class Scheduler:
    """`targets` are the names of the configured base URLs, `origins` those that endpoints may name in full; `wakeup`
    tells engines to look again at once; `watch` reports runs that execute in this process, `publish` tells everybody
    who watches; finished runs older than `history_days` may be deleted; one owner may have `schedules_per_owner`.
    `secrets`: those that owners' payloads may name, by target."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        wakeup: Callable[[], None],
        engine_state: Callable[[], EngineState],
        watch: RunWatch | None = None,
        publish: Callable[[RunChanged | ScheduleChanged | FiresAbsent], None] = lambda _: None,
        entropy: Callable[[int], bytes] = os.urandom,
        targets: Collection[str] = ("default",),
        origins: Collection[str] = (),
        secrets: Mapping[str, Collection[str]] = MappingProxyType({}),
        history_days: int | None = None,
        schedules_per_owner: int | None = None,
        trigger_max_age_seconds: int = DAY_SECONDS,
    ) -> None:
        self._store = store
        self._clock = clock
        self._wakeup = wakeup
        self._engine_state = engine_state
        self._publish = publish
        self._reader = RunReader(store, clock=clock, watch=watch)
        self.accounts: Final = Accounts(store, history_days=history_days)
        self.insight: Final = Insight(store, engine_runs=self._engine_runs, history_days=history_days)
        self.backfills: Final = Backfilling(store, wakeup=wakeup, entropy=entropy)
        self._calls = CallRules(targets, origins=origins, secrets=secrets)
        self._changes = Changes(self._calls)
        # One run now. What belongs to it stands in a module of its own.
        triggering = Triggering(
            store,
            self._reader,
            wakeup=wakeup,
            publish=publish,
            engine_runs=self._engine_runs,
            entropy=entropy,
            max_age_seconds=trigger_max_age_seconds,
            check_call=self._calls.check_words,
        )
        self.trigger: Final = triggering.trigger
        self.retry: Final = triggering.retry
        self.find_by_name: Final = triggering.find
        self.applying: Final = Applying(
            store,
            self._changes,
            tell=self._tell,
            forfeited=lambda schedule, missed: publish(_forfeited(schedule, missed)),
            entropy=entropy,
            owner_limit=schedules_per_owner,
        )
        self.switching: Final = Switching(store, self._changes, self, tell=self._tell)
        self.audit: Final = AuditLog(store)
        #: What this process's clock shows; what is due is ruled by the database's.
        self.now: Final = clock.now
        self.owners: Final = Owners(store, clock)
        self._entropy = entropy
        self._schedules_per_owner = schedules_per_owner
        self._log = structlog.get_logger("agentclock.scheduler")

    # schedules

    async def create(
        self,
        draft: ScheduleDraft | Mapping[str, Any],
        *,
        user_id: str | None = None,
        managed_by: str | None = None,
        provenance: Json = None,
        by: Actor | None = None,
        finish: Callable[[Schedule], Schedule] = lambda schedule: schedule,
    ) -> Schedule:
        """`managed_by`, `provenance`: as in `Schedule`, for those that no person made. `finish` has the last word on
        what no draft can say (the id, being disabled). Raises InvalidField, NameTaken, LimitReached, Forbidden (the
        payload claims to be somebody else than the owner)."""
        values = read_draft(ScheduleDraft, draft).values()
        now = await self._store.now()
        blank = Schedule(
            id=uuid7(now, self._entropy(10)),
            name=values["name"],
            user_id=user_id,
            target=Target(endpoint=values["endpoint"]),
            timetable_since=now,
            zone_data_version=tzdata_version(),
            managed_by=managed_by,
            provenance=provenance,
            created_at=now,
        )
        schedule = finish(self._changes.changed(blank, values, now))
        await self._store.insert_schedules([schedule], by=by, owner_limit=self._schedules_per_owner)
        self._tell([schedule.id])
        return schedule

    async def get(self, schedule_id: str, *, user_id: str | None = None) -> Schedule:
        """Raises NotFound, CorruptRow."""
        schedule = None if text_fault(schedule_id) else await self._store.get_schedule(schedule_id, user_id)
        if schedule is None:
            raise NotFound("Schedule")
        return schedule

    async def list(
        self,
        where: ScheduleFilter | None = None,
        page: PageRequest | None = None,
        order: ScheduleOrder = ScheduleOrder.NEWEST,
    ) -> Page[Schedule]:
        """Raises InvalidField."""
        where, page = where or ScheduleFilter(), page or PageRequest()
        check_filter(where)
        check_page(page)
        return await self._store.list_schedules(where, page, order)

    async def change(
        self,
        schedule_id: str,
        patch: SchedulePatch | Mapping[str, Any],
        *,
        user_id: str | None = None,
        expected_version: int | None = None,
        by: Actor | None = None,
    ) -> Schedule:
        """Absent fields stay; null empties those that may be empty; one timing field replaces the others.

        The next fire is recomputed, from now, only if the timetable changes.
        Raises InvalidField, NotFound, NameTaken, VersionConflict, Forbidden.
        """
        return await self._write(schedule_id, self.edit(patch), user_id, expected_version, by=by)

    def edit(self, patch: SchedulePatch | Mapping[str, Any]) -> ChangeFunction:
        """What `change` does to a schedule, as a step of a larger change. Raises InvalidField."""
        values = read_draft(SchedulePatch, patch).values()

        def change(schedule: Schedule, now: Instant) -> Schedule:
            return self._changes.changed(schedule, values, now)

        return change

    async def alter(
        self,
        schedule_id: str,
        change: ChangeFunction,
        *,
        user_id: str | None = None,
        by: Actor | None = None,
        guard: Callable[[ChangeFunction], ChangeFunction] = unless_owed,
    ) -> Schedule:
        """Any other change: fires that are due and that it would make vanish are recorded as missed first.

        `guard` raises FiresOwed for those. Raises NotFound, NameTaken, and whatever `change` raises.
        """
        return await self._write(schedule_id, change, user_id, by=by, guard=guard)

    async def delete(self, schedule_id: str, *, user_id: str | None = None, by: Actor | None = None) -> None:
        """Its pending runs are cancelled. Raises NotFound."""
        if text_fault(schedule_id) or not await self._store.delete_schedule(schedule_id, user_id, by=by):
            raise NotFound("Schedule")
        self._tell([schedule_id])

    async def enable(self, schedule_id: str, *, user_id: str | None = None, by: Actor | None = None) -> Schedule:
        """Fires from now on; what was due while it was disabled is not made up. Enabling twice changes nothing.

        Raises NotFound, Forbidden, and InvalidField if the stored timetable cannot be read (any more).
        """
        return await self._write(schedule_id, self._changes.switched_on, user_id, by=by)

    async def disable(self, schedule_id: str, *, user_id: str | None = None, by: Actor | None = None) -> Schedule:
        """Nothing is due any more; runs that exist go on. Raises NotFound."""
        return await self._write(schedule_id, self._changes.switched_off, user_id, by=by)

    def describe(self, schedule: Schedule) -> Description:
        return describe(schedule, self._clock.now())

    async def preview(self, draft: PreviewDraft | Mapping[str, Any]) -> Preview:
        """When such a schedule would fire, and what may surprise its author. Raises InvalidField."""
        draft = read_draft(PreviewDraft, draft)
        now = await self._store.now()
        blank = Schedule(id="preview", name="preview", target=Target(endpoint="/"), created_at=now)
        schedule = retimed(blank, draft.values(), now)
        return Preview(
            timezone=schedule.timezone,
            description=describe(schedule, now),
            occurrences=tuple(occurrences(schedule, now, draft.count)),
        )

    # runs

    async def runs(
        self, schedule_id: str, where: RunFilter | None = None, page: PageRequest | None = None
    ) -> Page[RunDetail]:
        """The schedule's runs, newest first, with their attempts; `where.user_id` must own the schedule.

        Raises NotFound, InvalidField.
        """
        where, page = replace(where or RunFilter(), schedule_id=schedule_id), page or PageRequest()
        check_page(page)
        await self._reader.require_schedule(schedule_id, where.user_id)
        return await self._reader.page(where, page)

    async def run(self, schedule_id: str, run_id: str, *, user_id: str | None = None) -> RunDetail:
        """Raises NotFound, CorruptRow."""
        return await self._reader.with_attempts(await self._reader.find(schedule_id, run_id, user_id))

    # the installation

    async def engine_owner(self) -> str | None:
        """The process that executes runs: "this process", another one's name, or None."""
        state = self._engine_state()
        if state.status == "running":
            return "this process"
        if state.owner is not None:
            return state.owner
        now = await self._store.now()
        alive = (worker.info.name for worker in await self._store.workers() if worker.lease_until > now)
        return next(alive, None)

    async def _engine_runs(self) -> bool:
        """An engine that is about to run takes a run up in a moment."""
        return self._engine_state().status == "starting" or await self.engine_owner() is not None

    def engine_state(self) -> EngineState:
        return self._engine_state()

    async def health(self) -> StoreHealth:
        """Raises StoreUnavailable."""
        return await self._store.health()

    @property
    def targets(self) -> Collection[str]:
        return self._calls.targets

    async def refresh_zone_data(self) -> int:
        """Recomputes the next fires that rest on other zone data than ours, and answers how many schedules that
        concerned. Fires that are due already, and runs that exist, are left alone.
        """
        version, seen = tzdata_version(), set[str]()

        def change(schedule: Schedule, now: Instant) -> Schedule:
            return with_zone_data(schedule, version, now)

        while True:
            stale = await self._store.stale_zone_schedules(version, ZONE_BATCH)
            # One that could not be changed comes again: it must not keep us here for ever.
            fresh = [schedule_id for schedule_id in stale if schedule_id not in seen]
            for schedule_id in fresh:
                try:
                    await self._store.change_schedule(schedule_id, change, by=Actor(f"agentclock: zone data {version}"))
                except (CorruptRow, NotFound) as error:
                    self._log.error("zone_data_not_refreshed", schedule_id=schedule_id, reason=str(error))
            seen.update(fresh)
            if not fresh:
                return len(seen)

    # helpers

    async def _write(
        self,
        schedule_id: str,
        change: ChangeFunction,
        user_id: str | None,
        expected_version: int | None = None,
        *,
        by: Actor | None,
        guard: Callable[[ChangeFunction], ChangeFunction] = unless_owed,
    ) -> Schedule:
        if text_fault(schedule_id):
            raise NotFound("Schedule")
        write = ChangeSchedule(schedule_id=schedule_id, change=guard(change), expected_version=expected_version)
        try:
            schedule = await self._store.change_schedule(
                schedule_id, write.change, user_id=user_id, expected_version=expected_version, by=by
            )
        except FiresOwed:
            schedule = await self._forfeit_and_write(write, user_id, by)
        self._tell([schedule_id])
        return schedule

    async def _forfeit_and_write(self, write: ChangeSchedule, user_id: str | None, by: Actor | None) -> Schedule:
        missed = Missed()
        [schedule] = await self._store.write_schedules([replace(write, forfeit=missed.note)], user_id=user_id, by=by)
        if schedule is None:
            raise NotFound("Schedule")
        missed.tell(lambda *fires: self._publish(_forfeited(*fires)))
        return schedule

    def _tell(self, schedule_ids: Iterable[str]) -> None:
        self._wakeup()
        for schedule_id in schedule_ids:
            self._publish(ScheduleChanged(schedule_id=schedule_id))


def _forfeited(schedule: Schedule, missed: Run) -> FiresAbsent:
    return FiresAbsent(
        schedule_id=schedule.id,
        schedule_name=schedule.name,
        ping_url=schedule.ping_url,
        status=missed.status,
        reason=missed.reason or Reason.CHANGED,
        fire_at=missed.fire_at,
        last_fire_at=missed.fire_at if missed.last_fire_at is None else missed.last_fire_at,
        count=missed.fire_count,
    )
