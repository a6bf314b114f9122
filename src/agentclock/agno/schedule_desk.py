"""What agno's database methods for schedules mean here: asynchronous, on our use cases, in agno's row shape.

agno's tools and manager write `next_run_at` themselves. Here the timetable decides; what is left of a time that others
write, `told_times` says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import structlog
from agno.db.schemas.scheduler import match_run_endpoint, validate_schedule_update

from agentclock.agno.foreign_work import ForeignWork
from agentclock.agno.guard_rails import Author, GuardRails
from agentclock.agno.permissions import require_target
from agentclock.agno.provenance import name_of, noted_change, noted_creation, stamped
from agentclock.agno.schedule_rows import (
    DRAFT_COLUMNS,
    PROVENANCE_COLUMNS,
    Row,
    checked_id,
    instant,
    is_locked,
    own_values,
    provenance_columns,
    provenance_of,
    run_row,
    schedule_row,
    seconds,
)
from agentclock.agno.told_times import ToldTimes, due_now, unless_taken_back
from agentclock.agno.unique_names import IdTaken
from agentclock.core.actors import Actor
from agentclock.core.errors import Conflict, NotFound
from agentclock.core.model import SECOND, Instant, Run, RunStatus, Schedule, Target
from agentclock.core.storable import text_fault
from agentclock.core.timetable import rearmed
from agentclock.drafts import TARGET_FIELDS
from agentclock.ports import ChangeFunction, Clock, PageRequest, RunFilter, ScheduleFilter, Store
from agentclock.scheduler import Scheduler

_PAGE: Final = 1_000
_STAMPS: Final = frozenset(("managed_by", *PROVENANCE_COLUMNS))
_RETIMING: Final = frozenset(("cron_expr", "timezone"))


class ScheduleDesk:
    """One coroutine for each of agno's methods. Errors of ours (GuardRail, InvalidField, StoreUnavailable ...) are
    raised: agno's tools show their sentences to the agent. `may_lend`: whether pollers that are not ours may claim what
    is due; they hold it for no longer than the desk lives."""

    def __init__(
        self,
        store: Store,
        scheduler: Scheduler,
        clock: Clock,
        rails: GuardRails,
        told_times: ToldTimes,
        *,
        may_lend: bool = True,
    ) -> None:
        self._store = store
        self._scheduler = scheduler
        self._clock = clock
        self._rails = rails
        self._told_times = told_times
        self._may_lend = may_lend
        self._foreign = ForeignWork(store, scheduler, told_times)
        self._log = structlog.get_logger("agentclock.agno")
        # Between counting an owner's schedules and adding one, nobody else of this process may add one.
        self._counting = asyncio.Lock()

    # reading

    async def get_schedule(self, schedule_id: str, user_id: str | None) -> Row | None:
        try:
            schedule = await self._scheduler.get(schedule_id, user_id=user_id)
        except NotFound:
            return None
        return await self._row(schedule, await self._holder(schedule_id))

    async def get_schedule_by_name(self, name: str, user_id: str | None) -> Row | None:
        """Among the owner's schedules; no owner counts as one of its own."""
        if text_fault(name):
            return None
        async for schedule in self._each(ScheduleFilter(user_id=user_id, name_contains=name)):
            if schedule.name == name and schedule.user_id == user_id:
                return await self._row(schedule, await self._holder(schedule.id))
        return None

    async def get_schedules(
        self, enabled: bool | None, limit: int, page: int, user_id: str | None
    ) -> tuple[list[Row], int]:
        where = ScheduleFilter(enabled=enabled, user_id=user_id)
        found = await self._scheduler.list(where, PageRequest(limit=limit, page=page))
        running = await self._store.list_runs(RunFilter(statuses=(RunStatus.RUNNING,)), PageRequest(limit=_PAGE))
        holders = {run.schedule_id: run for run in running.items}
        rows = [await self._row(schedule, holders.get(schedule.id)) for schedule in found.items]
        return rows, found.total_count

    # writing

    async def create_schedule(self, author: Author, data: Row) -> Row:
        data = own_values(data)
        draft = {column: data[column] for column in DRAFT_COLUMNS if data.get(column) is not None}
        owner = data.get("user_id")
        await self._heed(author, Target(endpoint=str(data["endpoint"]), method=data.get("method") or "POST"))
        noted = noted_creation(author, data)
        asked = await self._asks_for_a_run(data) and not is_locked(data, self._clock.now())

        def finish(schedule: Schedule) -> Schedule:
            now, enabled = schedule.timetable_since, bool(data.get("enabled", True))
            made = replace(
                schedule,
                id=checked_id(data.get("id") or schedule.id),
                enabled=enabled,
                next_fire_at=schedule.next_fire_at if enabled else None,
                disabled_reason=data.get("disabled_reason"),
                managed_by=data.get("managed_by"),
                provenance=noted,
                created_at=instant(data.get("created_at")) or schedule.created_at,
            )
            if author.is_agent:
                self._rails.check_pace(made, now)
            return due_now(made, now) if asked and enabled else made

        if data.get("id") and await self.get_schedule(data["id"], None) is not None:
            raise IdTaken(data["id"])
        async with self._counting:
            if author.is_agent:
                self._rails.check_nesting(author)
                self._rails.check_count(await self._made_by_agents(owner))
            by = await name_of(author, owner, self._store)
            return schedule_row(await self._scheduler.create(draft, user_id=owner, by=Actor(by), finish=finish))

    async def update_schedule(self, author: Author, schedule_id: str, user_id: str | None, values: Row) -> Row | None:
        """None: no such schedule. Asking for a run makes a manual one at once while any engine works on the database;
        otherwise the schedule is due, for whoever comes first."""
        validate_schedule_update(values)
        values = own_values(values)
        if author.is_agent and not _only_stops(values):
            self._rails.check_nesting(author)
        asked = await self._asks_for_a_run(values)
        has_engine = asked and await self._has_engine()
        edit = self._scheduler.edit(_patch(values))

        def change(schedule: Schedule, now: Instant) -> Schedule:
            changed = _switched(_retargeted(edit(schedule, now), values), values, now)
            retimed = bool(_RETIMING & values.keys()) or (changed.enabled and not schedule.enabled)
            if author.is_agent and retimed:
                self._rails.check_pace(changed, now)
            if asked and not has_engine and changed.enabled:
                changed = due_now(changed, now)
            return changed if changed == schedule else noted_change(changed, author)

        try:
            if author.grant is not None and (values.get("enabled") is True or values.keys() & TARGET_FIELDS):
                known = await self._scheduler.get(schedule_id, user_id=user_id)
                await self._heed(author, edit(known, known.created_at).target)
            schedule = await self._alter(schedule_id, change, user_id, by=await name_of(author, user_id, self._store))
        except NotFound:
            return None
        if has_engine and schedule.enabled:
            await self._trigger(schedule_id, user_id)
        if values.keys() & (_RETIMING | {"enabled"}):
            self._told_times.forget(schedule_id)
        await self._note_told(schedule, values.get("next_run_at"))
        return await self.get_schedule(schedule_id, user_id)

    async def delete_schedule(self, author: Author, schedule_id: str, user_id: str | None) -> bool:
        by = await name_of(author, user_id, self._store)
        try:
            await self._scheduler.delete(schedule_id, user_id=user_id, by=Actor(by))
        except NotFound:
            return False
        await self._store.delete_foreign_runs(schedule_id)
        return True

    async def disable_schedules_for_target(self, target_type: str, target_id: str, reason: str | None) -> int:
        """Crosses owners: that a component is gone concerns everybody who calls it."""
        aimed = [
            schedule.id
            async for schedule in self._each(ScheduleFilter(enabled=True))
            if _aims_at(schedule, target_type, target_id)
        ]
        stop = {"enabled": False, "disabled_reason": reason}
        for schedule_id in aimed:
            await self._alter(schedule_id, lambda schedule, now: _switched(schedule, stop, now))
        return len(aimed)

    async def stamp_schedule_provenance(self, schedule_id: str, stamps: Row) -> bool:
        rejected = sorted(stamps.keys() - _STAMPS)
        if rejected:
            raise ValueError(f"stamp_schedule_provenance cannot write {rejected}")
        try:
            await self._scheduler.alter(schedule_id, lambda schedule, _: stamped(schedule, stamps), by=Actor("agno"))
        except NotFound:
            return False
        return True

    # pollers of others

    async def claim_due_schedule(self, worker_id: str, lock_grace_seconds: int) -> Row | None:
        if not self._may_lend:
            return None
        if await self._has_engine():
            self._told_times.forget_all()
            return None
        claim = await self._foreign.claim(worker_id, lock_grace_seconds)
        return None if claim is None else schedule_row(claim.schedule, claim.run)

    async def release_schedule(
        self, schedule_id: str, next_run_at: int | None, worker_id: str | None, locked_at: int | None
    ) -> bool:
        if not self._foreign.holds(schedule_id):
            return worker_id is None and await self.get_schedule(schedule_id, None) is not None
        released = await self._foreign.release(schedule_id, next_run_at, worker_id, locked_at)
        if released:
            await self._note_next(schedule_id, next_run_at)
        return released

    # history

    async def create_schedule_run(self, data: Row) -> Row:
        if await self.get_schedule(data["schedule_id"], None) is None:
            raise NotFound("Schedule")
        return await self._foreign.record(data)

    async def update_schedule_run(self, run_id: str, values: Row) -> Row | None:
        return await self._foreign.change(run_id, values)

    async def get_schedule_run(self, run_id: str, user_id: str | None) -> Row | None:
        row = await self._foreign.find(run_id) or await self._our_run(run_id)
        if row is None or user_id not in (None, row.get("user_id")):
            return None
        return row if await self.get_schedule(row["schedule_id"], None) is not None else None

    async def get_schedule_runs(
        self, schedule_id: str, limit: int, page: int, user_id: str | None
    ) -> tuple[list[Row], int]:
        """Our runs and those that others made themselves, newest first."""
        if await self.get_schedule(schedule_id, None) is None:
            return [], 0
        where = RunFilter(schedule_id=schedule_id, user_id=user_id)
        told = [row for row in await self._foreign.rows_of(schedule_id) if user_id in (None, row.get("user_id"))]
        if not told:
            found = await self._store.list_runs(where, PageRequest(limit=limit, page=page))
            return [run_row(run) for run in found.items], found.total_count
        ours = await self._store.list_runs(where, PageRequest(limit=limit * page))
        rows = sorted([*told, *map(run_row, ours.items)], key=_newest, reverse=True)
        return rows[(page - 1) * limit : page * limit], ours.total_count + len(told)

    async def get_latest_schedule_runs(self, schedule_ids: Sequence[str]) -> dict[str, Row]:
        latest = {}
        for schedule_id in schedule_ids:
            rows, _ = await self.get_schedule_runs(schedule_id, 1, 1, None)
            if rows:
                latest[schedule_id] = rows[0]
        return latest

    async def delete_schedule_runs(self, schedule_id: str, before: int) -> int:
        """Only what others wrote: each of our own runs accounts for a fire, and goes when its retention is over."""
        return await self._store.delete_foreign_runs(schedule_id, before * SECOND)

    async def close(self) -> None:
        await self._foreign.close()

    # within

    async def _heed(self, author: Author, target: Target) -> None:
        """An agent schedules nothing that whoever runs it may not run. What that is counts at each fire as well."""
        if author.grant is not None:
            await require_target(author.grant, target)
            await self._scheduler.owners.seen(author.grant.user_id, author.grant.scopes, author.grant.issued_at)

    async def _holder(self, schedule_id: str) -> Run | None:
        where = RunFilter(schedule_id=schedule_id, statuses=(RunStatus.RUNNING,))
        found = await self._store.list_runs(where, PageRequest(limit=1))
        return found.items[0] if found.items else None

    async def _row(self, schedule: Schedule, holder: Run | None) -> Row:
        row, told = schedule_row(schedule, holder), self._told_times.of(schedule)
        if told is None:
            return row
        if await self._has_engine():
            self._told_times.forget_all()
            return row
        return row | {"next_run_at": seconds(told)}

    async def _alter(
        self, schedule_id: str, change: ChangeFunction, user_id: str | None = None, by: str = "agno"
    ) -> Schedule:
        """A run that was asked for and that nobody has made yet is taken back by a change that leaves no time for
        it, as agno has it: no fire of the timetable is missed by that."""
        taken_back: list[Instant] = []
        guard = partial(unless_taken_back, taken_back.append)
        schedule = await self._scheduler.alter(schedule_id, change, user_id=user_id, by=Actor(by), guard=guard)
        if taken_back:
            self._log.warning("asked_run_taken_back", schedule=schedule_id, asked_at=taken_back[-1])
        return schedule

    async def _note_told(self, schedule: Schedule, next_run_at: Any) -> None:
        at = instant(next_run_at)
        if at is not None and not await self._has_engine():
            self._told_times.note(schedule, at)

    async def _note_next(self, schedule_id: str, next_run_at: int | None) -> None:
        """When a poller means to run a schedule again. A time that has come already is not another run: the poller's
        clock may be behind ours, and the fire the one that it has just made."""
        schedule = await self._store.get_schedule(schedule_id)
        rests = schedule is None or schedule.next_fire_at is None
        if schedule is not None and not rests and not await self._asks_for_a_run({"next_run_at": next_run_at}):
            await self._note_told(schedule, next_run_at)

    async def _our_run(self, run_id: str) -> Row | None:
        run = None if text_fault(run_id) else await self._store.get_run(run_id)
        return None if run is None else run_row(run)

    async def _each(self, where: ScheduleFilter) -> AsyncIterator[Schedule]:
        cursor = None
        while True:
            found = await self._store.list_schedules(where, PageRequest(limit=_PAGE, cursor=cursor))
            for schedule in found.items:
                yield schedule
            cursor = found.next_cursor
            if cursor is None:
                return

    async def _made_by_agents(self, owner: str | None) -> int:
        made = 0
        async for schedule in self._each(ScheduleFilter(user_id=owner)):
            made += schedule.user_id == owner and provenance_of(schedule).get("via") == "tools"
        return made

    async def _asks_for_a_run(self, values: Mapping[str, Any]) -> bool:
        """Whether `next_run_at` has come, by the database's clock or by that of the host which wrote it."""
        at = instant(values.get("next_run_at"))
        return at is not None and at <= max(await self._store.now(), self._clock.now())

    async def _has_engine(self) -> bool:
        return self._scheduler.engine_state().status == "running" or await self._foreign.sees_an_engine()

    async def _trigger(self, schedule_id: str, user_id: str | None) -> None:
        run = (await self._scheduler.trigger(schedule_id, user_id=user_id)).run
        if run.status is RunStatus.SKIPPED:
            raise Conflict(f"The schedule was not started once more: {run.reason.text if run.reason else 'skipped'}")


def _patch(values: Row) -> Row:
    patch: Row = {column: values[column] for column in DRAFT_COLUMNS if column in values}
    if "cron_expr" in patch:
        patch["cron_expr"] = patch["cron_expr"] or ""
    return patch


def _only_stops(values: Row) -> bool:
    return values.get("enabled") is False and values.keys() <= {"enabled", "disabled_reason", "next_run_at"}


def _switched(schedule: Schedule, values: Mapping[str, Any], now: Instant) -> Schedule:
    """As agno switches: enabling takes the reason away, and counts from now."""
    enabled, reason = values.get("enabled"), values.get("disabled_reason", schedule.disabled_reason)
    if enabled is True:
        reason = values.get("disabled_reason")
        schedule = schedule if schedule.enabled else rearmed(replace(schedule, enabled=True), now)
    elif enabled is False:
        schedule = replace(schedule, enabled=False, next_fire_at=None)
    return replace(schedule, disabled_reason=reason)


def _retargeted(schedule: Schedule, values: Mapping[str, Any]) -> Schedule:
    """A control plane's schedule that is pointed away from its target is stopped, not fired at something else; on
    any other schedule the endpoint says what the target is."""
    if "endpoint" not in values:
        return schedule
    known = provenance_of(schedule)
    target_type, target_id = known.get("target_type"), known.get("target_id")
    if schedule.managed_by in (None, "company"):
        return stamped(schedule, {"target_type": None, "target_id": None})
    if not target_type or not target_id or match_run_endpoint(schedule.target.endpoint, target_type, target_id):
        return schedule
    reason = f"endpoint_drift:{schedule.target.endpoint}!={target_type}:{target_id}"
    return replace(schedule, enabled=False, next_fire_at=None, disabled_reason=reason)


def _aims_at(schedule: Schedule, target_type: str, target_id: str) -> bool:
    columns = provenance_columns(schedule)
    stamped_on = (columns["target_type"], columns["target_id"]) == (target_type, target_id)
    return stamped_on or match_run_endpoint(schedule.target.endpoint, target_type, target_id)


def _newest(row: Row) -> tuple[int, str]:
    return row.get("created_at") or 0, str(row["id"])
