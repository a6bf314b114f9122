"""Backfills: fires of the past, run on request."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, TypeAlias

from fastapi import Path, Request, Response
from pydantic import BaseModel, Field

from agentclock.api.auth import Guard, TheCaller
from agentclock.api.parameters import ScheduleId
from agentclock.api.values import iso_or_null
from agentclock.backfilling import BackfillDraft, BackfillPlan, Progress
from agentclock.core.backfills import Backfill as BackfillRow
from agentclock.core.backfills import Choice, Existing
from agentclock.core.instants import iso_utc
from agentclock.core.model import SECOND, RunStatus
from agentclock.core.zones import Zone
from agentclock.scheduler import Scheduler

BackfillId: TypeAlias = Annotated[str, Path(description="Id of the backfill.")]


class Backfill(BaseModel):
    """A request to run fires of the past. Times are RFC 3339."""

    id: str
    schedule_id: str
    from_at: str = Field(alias="from")
    until: str
    existing: Existing
    concurrency: int
    fires: int = Field(description="How many runs it made.")
    by: str | None
    created_at: str
    cancelled_at: str | None


class BackfillProgress(Backfill):
    left: int = Field(description="How many of its runs are not over.")
    runs: dict[RunStatus, int] = Field(description="How many of its runs are in which state.")


class BackfillList(BaseModel):
    data: list[BackfillProgress]


class BackfillFire(BaseModel):
    """What is done with one fire."""

    fire_at: str
    local: str
    found: RunStatus | None = Field(description="State of its newest run; null: it has none.")
    runs: bool = Field(description="Whether the backfill runs it.")


class BackfillAnswer(BaseModel):
    backfill: Backfill | None = Field(description="null: a dry run, or nothing is to be run.")
    to_run: int = Field(description="How many of the fires are run.")
    fires: list[BackfillFire] = Field(description="All fires of the range, oldest first.")


class BackfillRoutes:
    def __init__(self, scheduler: Scheduler, guard: Guard) -> None:
        self._scheduler = scheduler
        self._guard = guard

    async def list_backfills(self, schedule_id: ScheduleId, caller: TheCaller) -> BackfillList:
        """The schedule's newest hundred backfills, each with the states of its runs."""
        found = await self._scheduler.backfills.of_schedule(schedule_id, user_id=caller.user_id)
        return BackfillList(data=[_progress_out(progress) for progress in found])

    async def create_backfill(
        self, schedule_id: ScheduleId, draft: BackfillDraft, request: Request, response: Response, caller: TheCaller
    ) -> BackfillAnswer:
        """Run the fires with from <= fire time < until, at most `concurrency` at a time. Answers 201 and its Location,
        or 200 if nothing was made: a dry run, or every fire has its run already."""
        schedule = await self._scheduler.get(schedule_id, user_id=caller.user_id)
        await self._guard.may_call(request, schedule.target)
        plan = await self._scheduler.backfills.create(schedule_id, draft, user_id=caller.user_id, by=caller.actor)
        if plan.backfill is not None:
            response.status_code = HTTPStatus.CREATED
            response.headers["Location"] = request.url.path.rstrip("/")
        return _plan_out(plan)

    async def cancel_backfill(
        self, schedule_id: ScheduleId, backfill_id: BackfillId, caller: TheCaller
    ) -> BackfillProgress:
        """Cancel what waits and stop what runs."""
        cancelled = await self._scheduler.backfills.cancel(
            schedule_id, backfill_id, user_id=caller.user_id, by=caller.actor
        )
        return _progress_out(cancelled)


def _backfill_fields(row: BackfillRow) -> dict[str, object]:
    return {
        "id": row.id,
        "schedule_id": row.schedule_id,
        "from": iso_utc(row.from_at),
        "until": iso_utc(row.until_at),
        "existing": row.existing,
        "concurrency": row.concurrency,
        "fires": row.fires,
        "by": row.by,
        "created_at": iso_utc(row.created_at),
        "cancelled_at": iso_or_null(row.cancelled_at),
    }


def _progress_out(progress: Progress) -> BackfillProgress:
    fields = _backfill_fields(progress.backfill)
    return BackfillProgress.model_validate(fields | {"left": progress.left, "runs": dict(progress.runs)})


def _plan_out(plan: BackfillPlan) -> BackfillAnswer:
    zone = Zone.load(plan.schedule.timezone)
    made = None if plan.backfill is None else Backfill.model_validate(_backfill_fields(plan.backfill))
    return BackfillAnswer(backfill=made, to_run=plan.to_run, fires=[_fire_out(choice, zone) for choice in plan.choices])


def _fire_out(choice: Choice, zone: Zone) -> BackfillFire:
    return BackfillFire(
        fire_at=iso_utc(choice.fire_at),
        local=zone.iso(choice.fire_at // SECOND),
        found=choice.found,
        runs=choice.number is not None,
    )
