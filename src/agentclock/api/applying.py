"""Files of schedules: what a manager declares becomes what is stored."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel, Field

from agentclock.api.auth import Guard, Permission, TheCaller
from agentclock.api.values import presentable
from agentclock.applying import Action, Applied, Step
from agentclock.core.model import Target
from agentclock.declaring.checking import in_pieces
from agentclock.declaring.model import TIMETABLE, ApplyDraft
from agentclock.scheduler import Scheduler


class FieldChange(BaseModel):
    """What a field was and what it is to be."""

    before: Any = Field(alias="from", description="null also for a schedule that is new.")
    after: Any = Field(alias="to")


def _change(before: Any, after: Any) -> FieldChange:
    return FieldChange.model_validate({"from": before, "to": after})


class PlannedSchedule(BaseModel):
    """What becomes of one schedule."""

    name: str
    id: str | None = Field(description="null: it is new, and nothing was written.")
    action: Action
    changes: dict[str, FieldChange] = Field(description="By field; of a new schedule those that are not the default.")
    explanation: FieldChange | None = Field(
        description="When it fires, in plain English, where that changes; else null."
    )
    warnings: list[str] = Field(description="What may surprise its author, where it is new or fires at other times.")


class ApplyAnswer(BaseModel):
    """What was done, or with `dry_run` what would be."""

    manager: str
    dry_run: bool
    plan: list[PlannedSchedule] = Field(description="Declared schedules in their order, then those that are deleted.")
    created: int
    changed: int
    unchanged: int
    deleted: int
    undeclared: list[str] = Field(
        description="Schedules that the manager declared before and does not any more; `prune` deletes them."
    )


class ApplyRoutes:
    def __init__(self, scheduler: Scheduler, guard: Guard) -> None:
        self._scheduler = scheduler
        self._guard = guard

    async def apply_schedules(self, draft: ApplyDraft, request: Request, caller: TheCaller) -> Response:
        """Make the schedules of a manager what is declared: all of it, or nothing. What is so already is not touched.

        A schedule of that name which another manager or nobody declares is a conflict, unless `adopt`. With `prune`
        what the manager declared before and does not any more is deleted; that needs schedules:delete as well."""
        if draft.prune:
            await self._guard.admit(request, Permission.DELETE)

        async def may_call(target: Target) -> None:
            await self._guard.may_call(request, target)

        applied = await self._scheduler.applying.apply(draft, owner=caller.owner, by=caller.actor, may_call=may_call)
        answer = await self._answer(applied)
        # Of thousands it is long: the framework would hold everybody up with it.
        content = await asyncio.to_thread(answer.model_dump_json, by_alias=True)
        return Response(content, media_type="application/json")

    async def _answer(self, applied: Applied) -> ApplyAnswer:
        return ApplyAnswer(
            manager=applied.manager,
            dry_run=applied.is_dry_run,
            plan=[self._planned(step, applied.is_dry_run) async for _, step in in_pieces(applied.steps)],
            created=applied.count(Action.CREATE),
            changed=applied.count(Action.CHANGE),
            unchanged=applied.count(Action.UNCHANGED),
            deleted=applied.count(Action.DELETE),
            undeclared=list(applied.undeclared),
        )

    def _planned(self, step: Step, is_dry_run: bool) -> PlannedSchedule:
        row = step.before or (None if is_dry_run else step.after)
        changes = {
            name: _change(presentable(before), presentable(after)) for name, (before, after) in step.changes.items()
        }
        explanation, warnings = self._explained(step)
        return PlannedSchedule(
            name=step.name,
            id=None if row is None else row.id,
            action=step.action,
            changes=changes,
            explanation=explanation,
            warnings=warnings,
        )

    def _explained(self, step: Step) -> tuple[FieldChange | None, list[str]]:
        if step.after is None or step.action is Action.UNCHANGED:
            return None, []
        if step.action is Action.CHANGE and not TIMETABLE & step.changes.keys():
            return None, []
        now_said = self._scheduler.describe(step.after)
        said = None if step.before is None else self._scheduler.describe(step.before).explanation
        return _change(said, now_said.explanation), list(now_said.warnings)
