"""Schedules and their timetables: AgentOS's contract, with additions that do not disturb its clients."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Annotated, TypeAlias

from fastapi import Header, Query, Request, Response

from agentclock.api import run_schemas, schemas
from agentclock.api.auth import Caller, Guard, TheCaller
from agentclock.api.compression import compact_list
from agentclock.api.narrowing import Asked, confined
from agentclock.api.parameters import (
    Cursor,
    Limit,
    Name,
    PageNumber,
    ScheduleId,
    Wait,
    expected_version,
    preferred_wait,
)
from agentclock.api.values import ms_since
from agentclock.core.errors import Forbidden
from agentclock.core.model import Overlap, Schedule, Target
from agentclock.core.owners import foreign_call
from agentclock.drafts import TARGET_FIELDS, PreviewDraft, ScheduleDraft, SchedulePatch, with_values
from agentclock.ports import PageRequest, ScheduleOrder
from agentclock.scheduler import Scheduler
from agentclock.triggering import TriggerDraft

OverlapChoice: TypeAlias = Annotated[
    Overlap | None, Query(description="For this run instead of the schedule's overlap policy.")
]
Prefer: TypeAlias = Annotated[
    str | None, Header(description="`wait=10`: as the query parameter. `respond-async` alone: 0.")
]
Key: TypeAlias = Annotated[
    str | None, Header(max_length=255, description="Whoever repeats it within 48 hours gets the same run.")
]


@dataclass(frozen=True, slots=True)
class _Order:
    """What a trigger asks for."""

    draft: TriggerDraft | None
    key: str | None
    overlap: Overlap | None
    wait_seconds: float


class ScheduleRoutes:
    def __init__(self, scheduler: Scheduler, guard: Guard, trigger_wait_seconds: float) -> None:
        self._scheduler = scheduler
        self._guard = guard
        self._trigger_wait_seconds = trigger_wait_seconds

    async def list_schedules(
        self,
        asked: Asked,
        request: Request,
        caller: TheCaller,
        sort: Annotated[
            ScheduleOrder,
            Query(description="Newest first, soonest next fire first (those with none last), or by name."),
        ] = ScheduleOrder.NEWEST,
        recent_runs: Annotated[int, Query(ge=0, le=50, description="How many of its newest runs each row has.")] = 0,
        limit: Limit = 100,
        page: PageNumber = 1,
        cursor: Cursor = None,
    ) -> Response:
        """Schedules that match all of what is asked for. A cursor is good for the order that it came with."""
        began = time.perf_counter()
        where = confined(asked, caller)
        found = await self._scheduler.list(where, PageRequest(limit=limit, page=page, cursor=cursor), sort)
        marks = await self._scheduler.insight.recent_runs([row.id for row in found.items], recent_runs)
        meta = schemas.meta_out(found, page=page, limit=limit, search_time_ms=ms_since(began))

        def show(row: Schedule) -> schemas.ListedSchedule:
            return schemas.listed_schedule_out(row, marks.get(row.id, ()) if recent_runs else None)

        return await compact_list(found.items, show, meta, request.headers.get("accept-encoding"))

    async def create_schedule(
        self, draft: ScheduleDraft, request: Request, response: Response, caller: TheCaller
    ) -> schemas.ScheduleDetail:
        """Create a schedule. At most one of cron_expr, run_at and interval_seconds; none: it runs on demand."""
        target = Target(name=draft.target, method=draft.method, endpoint=draft.endpoint, payload=draft.payload)
        await self._guard.may_call(request, target)
        schedule = await self._scheduler.create(draft, user_id=caller.owner, by=caller.actor)
        response.headers["Location"] = f"{request.url.path.rstrip('/')}/{schedule.id}"
        response.headers["ETag"] = f'"{schedule.version}"'
        return schemas.schedule_detail_out(schedule, self._scheduler.describe(schedule))

    async def preview_schedule(self, draft: Annotated[PreviewDraft, Query()]) -> schemas.Preview:
        """When a timetable would fire: plain English, warnings, and the next fires with their offsets."""
        return schemas.preview_out(await self._scheduler.preview(draft))

    async def get_schedule(
        self, schedule_id: ScheduleId, response: Response, caller: TheCaller
    ) -> schemas.ScheduleDetail:
        """One schedule; the ETag is its version."""
        schedule = await self._scheduler.get(schedule_id, user_id=caller.user_id)
        response.headers["ETag"] = f'"{schedule.version}"'
        return schemas.schedule_detail_out(schedule, self._scheduler.describe(schedule))

    async def update_schedule(
        self,
        schedule_id: ScheduleId,
        patch: SchedulePatch,
        request: Request,
        response: Response,
        caller: TheCaller,
        if_match: Annotated[str | None, Header(description="The ETag that the change is based on.")] = None,
    ) -> schemas.ScheduleDetail:
        """Change the fields that are sent; null empties those that may be empty. One timing field replaces the
        others. The next fire is recomputed, from now, only if the timetable changes."""
        version = await self._check_target(request, schedule_id, patch, caller, expected_version(if_match))
        schedule = await self._scheduler.change(
            schedule_id, patch, user_id=caller.user_id, expected_version=version, by=caller.actor
        )
        response.headers["ETag"] = f'"{schedule.version}"'
        return schemas.schedule_detail_out(schedule, self._scheduler.describe(schedule))

    async def delete_schedule(self, schedule_id: ScheduleId, caller: TheCaller) -> None:
        """Delete a schedule; its pending runs are cancelled."""
        await self._scheduler.delete(schedule_id, user_id=caller.user_id, by=caller.actor)

    async def enable_schedule(
        self, schedule_id: ScheduleId, request: Request, caller: TheCaller
    ) -> schemas.ScheduleState:
        """Let it fire from now on; what was due meanwhile is not made up."""
        schedule = await self._scheduler.get(schedule_id, user_id=caller.user_id)
        await self._guard.may_call(request, schedule.target)
        schedule = await self._scheduler.enable(schedule_id, user_id=caller.user_id, by=caller.actor)
        return schemas.schedule_state_out(schedule)

    async def disable_schedule(self, schedule_id: ScheduleId, caller: TheCaller) -> schemas.ScheduleState:
        """Let it fire no more; runs that exist go on."""
        schedule = await self._scheduler.disable(schedule_id, user_id=caller.user_id, by=caller.actor)
        return schemas.schedule_state_out(schedule)

    async def trigger_schedule(
        self,
        schedule_id: ScheduleId,
        request: Request,
        response: Response,
        caller: TheCaller,
        draft: TriggerDraft | None = None,
        wait: Wait = None,
        overlap: OverlapChoice = None,
        prefer: Prefer = None,
        idempotency_key: Key = None,
    ) -> run_schemas.Run:
        """Run it now, outside its timetable. Answers 200 with the final run (or one that waits for a human), or 202
        with the run as it stands when the wait is over, and its Location. The same Idempotency-Key answers the same
        run for 48 hours, with `Idempotent-Replayed: true`."""
        seconds = preferred_wait(prefer, self._trigger_wait_seconds) if wait is None else wait
        schedule = await self._scheduler.get(schedule_id, user_id=caller.user_id)
        return await self._trigger(
            schedule, _Order(draft, idempotency_key, overlap, seconds), request, response, caller
        )

    async def trigger_schedule_by_name(
        self,
        name: Name,
        request: Request,
        response: Response,
        caller: TheCaller,
        draft: TriggerDraft | None = None,
        wait: Wait = None,
        overlap: OverlapChoice = None,
        owner: Annotated[
            str | None, Query(max_length=255, description="Whose schedule, where several owners have the name.")
        ] = None,
        prefer: Prefer = None,
        idempotency_key: Key = None,
    ) -> run_schemas.Run:
        """As above, for clocks that know the schedule by its name."""
        seconds = preferred_wait(prefer, self._trigger_wait_seconds) if wait is None else wait
        schedule = await self._scheduler.find_by_name(name, user_id=caller.user_id, owner=owner)
        return await self._trigger(
            schedule, _Order(draft, idempotency_key, overlap, seconds), request, response, caller
        )

    async def _trigger(
        self, schedule: Schedule, order: _Order, request: Request, response: Response, caller: Caller
    ) -> run_schemas.Run:
        await self._guard.may_call(request, schedule.target)
        if order.draft is not None:
            check_speaker(schedule, replace(schedule.target, payload=order.draft.payload), caller)
        detail = await self._scheduler.trigger(
            schedule.id,
            order.draft,
            key=order.key,
            overlap=order.overlap,
            wait_seconds=order.wait_seconds,
            user_id=caller.user_id,
            traceparent=request.headers.get("traceparent"),
            by=caller.actor,
        )
        if detail.is_replay:
            response.headers["Idempotent-Replayed"] = "true"
        if not detail.is_settled:
            response.status_code = HTTPStatus.ACCEPTED
            root = request.url.path.partition("/schedules/")[0]
            response.headers["Location"] = f"{root}/schedules/{schedule.id}/runs/{detail.run.id}"
        return run_schemas.run_out(detail)

    async def _check_target(
        self, request: Request, schedule_id: str, patch: SchedulePatch, caller: Caller, version: int | None
    ) -> int | None:
        """Asks the guard where the patch changes what is called, and answers the version that the answer is good for.

        Raises Forbidden, NotFound, CorruptRow.
        """
        values = patch.values()
        if not TARGET_FIELDS & values.keys():
            return version
        schedule = await self._scheduler.get(schedule_id, user_id=caller.user_id)
        target = with_values(schedule, values).target
        if target == schedule.target:
            return version
        await self._guard.may_call(request, target)
        check_speaker(schedule, target, caller)
        return schedule.version if version is None else version


def check_speaker(schedule: Schedule, target: Target, caller: Caller) -> None:
    """A schedule without an owner speaks for whom its payload names: whoever has a name makes it speak for nobody else.

    Raises Forbidden.
    """
    if schedule.user_id is None and foreign_call(target, caller.owner):
        raise Forbidden(f"the payload claims to be another user than you, {caller.owner!r}: leave user_id out")
