"""Many at once: what would else be a request each. And runs once more, one or many."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final, TypeVar

from fastapi import Request, Response

from agentclock.api import run_schemas
from agentclock.api.auth import Caller, Guard, TheCaller
from agentclock.api.bulk_schemas import (
    MOST_ROWS,
    BulkResult,
    BulkRow,
    RunRef,
    RunsToCancel,
    RunsToRetry,
    Schedules,
    one_row,
    result_out,
)
from agentclock.api.errors import error_response
from agentclock.api.parameters import RunId, ScheduleId, Wait, preferred_wait, read_instant
from agentclock.api.schedules import Key, Prefer, check_speaker
from agentclock.core.actors import Actor
from agentclock.core.model import Schedule
from agentclock.runs import Runs
from agentclock.scheduler import Scheduler
from agentclock.triggering import RetryDraft, TriggerDraft

#: Rows that are worked on at a time: the database shall have room for others.
AT_ONCE: Final = 4

_Item = TypeVar("_Item")


class BulkRoutes:
    def __init__(self, scheduler: Scheduler, runs: Runs, guard: Guard, wait_seconds: float) -> None:
        self._scheduler = scheduler
        self._runs = runs
        self._guard = guard
        self._wait_seconds = wait_seconds

    async def enable_schedules(self, which: Schedules, request: Request, caller: TheCaller) -> BulkResult:
        """Let them fire from now on; what was due meanwhile is not made up."""

        async def may_call(schedule: Schedule) -> None:
            await self._guard.may_call(request, schedule.target)

        return await self._switch(which, request, caller, self._scheduler.switching.enable, HTTPStatus.OK, may_call)

    async def disable_schedules(self, which: Schedules, request: Request, caller: TheCaller) -> BulkResult:
        """Let them fire no more; runs that exist go on."""
        return await self._switch(which, request, caller, self._scheduler.switching.disable, HTTPStatus.OK)

    async def delete_schedules(self, which: Schedules, request: Request, caller: TheCaller) -> BulkResult:
        """Delete them; their pending runs are cancelled."""
        return await self._switch(which, request, caller, self._scheduler.switching.delete, HTTPStatus.NO_CONTENT)

    async def trigger_schedules(self, which: Schedules, request: Request, caller: TheCaller) -> BulkResult:
        """Run each of them now, outside its timetable. Nobody waits for the ends of these runs."""
        schedules = await self._scheduler.switching.find(which.ids, user_id=caller.user_id)

        async def trigger(schedule_id: str) -> BulkRow:
            schedule = schedules.get(schedule_id) or await self._scheduler.get(schedule_id, user_id=caller.user_id)
            await self._guard.may_call(request, schedule.target)
            draft = TriggerDraft(reason=which.reason)
            detail = await self._scheduler.trigger(schedule_id, draft, user_id=caller.user_id, by=caller.actor)
            return one_row(schedule_id, _status_of(detail.is_settled), run_id=detail.run.id)

        return await _each(which.ids, str, trigger, request)

    async def cancel_runs(self, which: RunsToCancel, request: Request, caller: TheCaller) -> BulkResult:
        """Stop them, wherever they stand; those that are over stay as they are. Nobody waits until they have
        stopped."""

        async def cancel(ref: RunRef) -> BulkRow:
            by = _actor(caller, which.reason)
            detail = await self._runs.cancel(ref.schedule_id, ref.run_id, user_id=caller.user_id, by=by)
            return one_row(ref.run_id, _status_of(detail.run.status.is_final), run_id=ref.run_id)

        return await _each(which.runs, _run_id_of, cancel, request)

    async def retry_runs(self, which: RunsToRetry, request: Request, caller: TheCaller) -> BulkResult:
        """Run each of them once more, now, with the payload that it had; or all that failed in the same way."""

        refs = await self._alike(which, caller) if which.runs is None else which.runs
        ids = [ref.schedule_id for ref in refs]
        schedules = await self._scheduler.switching.find(ids, user_id=caller.user_id)

        async def retry(ref: RunRef) -> BulkRow:
            found = schedules.get(ref.schedule_id)
            schedule = found or await self._scheduler.get(ref.schedule_id, user_id=caller.user_id)
            await self._guard.may_call(request, schedule.target)
            draft = RetryDraft(reason=which.reason)
            detail = await self._scheduler.retry(
                ref.schedule_id, ref.run_id, draft, user_id=caller.user_id, by=caller.actor
            )
            return one_row(ref.run_id, _status_of(detail.is_settled), run_id=detail.run.id)

        return await _each(refs, _run_id_of, retry, request)

    async def retry_schedule_run(
        self,
        schedule_id: ScheduleId,
        run_id: RunId,
        request: Request,
        response: Response,
        caller: TheCaller,
        draft: RetryDraft | None = None,
        wait: Wait = None,
        prefer: Prefer = None,
        idempotency_key: Key = None,
    ) -> run_schemas.Run:
        """Run it once more, now, with the payload that it had: its own, else the schedule's. Answers as a trigger does;
        409 while it is not over."""
        schedule = await self._scheduler.get(schedule_id, user_id=caller.user_id)
        await self._guard.may_call(request, schedule.target)
        if draft is not None:
            check_speaker(schedule, replace(schedule.target, payload=draft.payload), caller)
        detail = await self._scheduler.retry(
            schedule_id,
            run_id,
            draft,
            key=idempotency_key,
            wait_seconds=preferred_wait(prefer, self._wait_seconds) if wait is None else wait,
            user_id=caller.user_id,
            traceparent=request.headers.get("traceparent"),
            by=caller.actor,
        )
        if detail.is_replay:
            response.headers["Idempotent-Replayed"] = "true"
        if not detail.is_settled:
            response.status_code = HTTPStatus.ACCEPTED
            runs = request.url.path.rstrip("/").rsplit("/", 2)[0]
            response.headers["Location"] = f"{runs}/{detail.run.id}"
        return run_schemas.run_out(detail)

    async def _switch(
        self,
        which: Schedules,
        request: Request,
        caller: Caller,
        switch: Callable[..., Awaitable[list[Exception | None]]],
        status: HTTPStatus,
        check: Callable[[Schedule], Awaitable[None]] | None = None,
    ) -> BulkResult:
        """`check` raises what keeps a single one of them from it."""
        schedules = await self._scheduler.switching.find(which.ids, user_id=caller.user_id)
        faults: dict[str, Exception] = {}
        for schedule_id in dict.fromkeys(which.ids):
            try:
                found = schedules.get(schedule_id)
                schedule = found or await self._scheduler.get(schedule_id, user_id=caller.user_id)
                if check is not None:
                    await check(schedule)
            except Exception as error:
                faults[schedule_id] = error
        good = [schedule_id for schedule_id in which.ids if schedule_id not in faults]
        results = iter(await switch(good, user_id=caller.user_id, by=_actor(caller, which.reason)))
        errors = [faults[one] if one in faults else next(results) for one in which.ids]
        rows = zip(which.ids, errors, strict=True)
        return result_out([_row_of(schedule_id, status, error, request) for schedule_id, error in rows])

    async def _alike(self, which: RunsToRetry, caller: Caller) -> list[RunRef]:
        since, until = read_instant("from", which.since), read_instant("to", which.until)
        found = await self._scheduler.insight.alike(which.fingerprint or "", since, until, user_id=caller.user_id)
        return [RunRef(schedule_id=row.schedule_id, run_id=row.run_id) for row in found[:MOST_ROWS]]


async def _each(
    items: Sequence[_Item],
    name_of: Callable[[_Item], str],
    act: Callable[[_Item], Awaitable[BulkRow]],
    request: Request,
) -> BulkResult:
    """A few at a time, so that neither the database nor this process has no time for others."""
    room = asyncio.Semaphore(AT_ONCE)

    async def row_of(item: _Item) -> BulkRow:
        async with room:
            try:
                return await act(item)
            except Exception as error:
                return _row_of(name_of(item), HTTPStatus.OK, error, request)

    return result_out(await asyncio.gather(*map(row_of, items)))


def _row_of(identifier: str, status: HTTPStatus, error: Exception | None, request: Request) -> BulkRow:
    if error is None:
        return one_row(identifier, status)
    status_code, words = _in_words(error, request)
    return one_row(identifier, status_code, error=words)


def _in_words(error: Exception, request: Request) -> tuple[int, str]:
    """What the route for a single one would have answered."""
    answer = error_response(error, request)
    detail: Any = json.loads(bytes(answer.body))["detail"]
    if isinstance(detail, list):
        detail = "; ".join(f"{'.'.join(map(str, fault['loc'][1:]))}: {fault['msg']}" for fault in detail)
    return answer.status_code, str(detail)


def _run_id_of(ref: RunRef) -> str:
    return ref.run_id


def _status_of(is_over: bool) -> int:
    return HTTPStatus.OK if is_over else HTTPStatus.ACCEPTED


def _actor(caller: Caller, reason: str | None) -> Actor:
    return replace(caller.actor, reason=reason)
