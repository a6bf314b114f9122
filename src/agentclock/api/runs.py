"""Runs: what became of them, what they used up, and what people can do with those that are not over."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Annotated

from fastapi import Header, Query, Request, Response

from agentclock.api import run_schemas, schemas
from agentclock.api.auth import TheCaller
from agentclock.api.compression import compact_list
from agentclock.api.parameters import (
    Cursor,
    Limit,
    PageNumber,
    RunId,
    ScheduleId,
    Time,
    Wait,
    preferred_wait,
    read_instant,
)
from agentclock.api.values import ms_since
from agentclock.core.model import Cause, RunStatus
from agentclock.ports import PageRequest, RunFilter
from agentclock.runs import Answers, RunDetail, Runs
from agentclock.scheduler import Scheduler

Statuses = Annotated[list[RunStatus] | None, Query(max_length=32, description="Repeat it for several.")]
Causes = Annotated[list[Cause] | None, Query(max_length=32, description="Repeat it for several.")]


class RunRoutes:
    def __init__(self, scheduler: Scheduler, runs: Runs, wait_seconds: float) -> None:
        self._scheduler = scheduler
        self._runs = runs
        self._wait_seconds = wait_seconds

    async def list_schedule_runs(
        self,
        schedule_id: ScheduleId,
        request: Request,
        caller: TheCaller,
        status: Statuses = None,
        cause: Causes = None,
        since: Time = None,
        until: Time = None,
        limit: Limit = 100,
        page: PageNumber = 1,
        cursor: Cursor = None,
    ) -> Response:
        """The schedule's runs, newest first, each with its attempts; since <= fire time < until."""
        began = time.perf_counter()
        where = RunFilter(
            user_id=caller.user_id,
            statuses=tuple(status or ()),
            causes=tuple(cause or ()),
            since=read_instant("since", since),
            until=read_instant("until", until),
        )
        found = await self._scheduler.runs(schedule_id, where, PageRequest(limit=limit, page=page, cursor=cursor))
        meta = schemas.meta_out(found, page=page, limit=limit, search_time_ms=ms_since(began))
        return await compact_list(found.items, run_schemas.run_out, meta, request.headers.get("accept-encoding"))

    async def list_runs(
        self,
        request: Request,
        caller: TheCaller,
        schedule_id: Annotated[str | None, Query(max_length=64, description="Only runs of this schedule.")] = None,
        q: Annotated[str | None, Query(max_length=255, description="Part of the schedule's name, in any case.")] = None,
        status: Statuses = None,
        cause: Causes = None,
        since: Time = None,
        until: Time = None,
        limit: Limit = 100,
        page: PageNumber = 1,
        cursor: Cursor = None,
    ) -> Response:
        """Runs of all schedules, newest first. `?status=paused` is the inbox of what waits for a human."""
        began = time.perf_counter()
        where = RunFilter(
            schedule_id=schedule_id,
            user_id=caller.user_id,
            statuses=tuple(status or ()),
            causes=tuple(cause or ()),
            since=read_instant("since", since),
            until=read_instant("until", until),
        )
        found = await self._runs.list(where, PageRequest(limit=limit, page=page, cursor=cursor), name=q)
        meta = schemas.meta_out(found, page=page, limit=limit, search_time_ms=ms_since(began))
        return await compact_list(found.items, run_schemas.listed_run_out, meta, request.headers.get("accept-encoding"))

    async def get_run(self, run_id: RunId, caller: TheCaller) -> run_schemas.ListedRun:
        """One run with its attempts, of whichever schedule."""
        return run_schemas.listed_run_out(await self._runs.find(run_id, user_id=caller.user_id))

    async def get_schedule_run(self, schedule_id: ScheduleId, run_id: RunId, caller: TheCaller) -> run_schemas.Run:
        """One run with its attempts."""
        return run_schemas.run_out(await self._runs.get(schedule_id, run_id, user_id=caller.user_id))

    async def get_schedule_usage(
        self, schedule_id: ScheduleId, caller: TheCaller, since: Time = None, until: Time = None
    ) -> run_schemas.ScheduleUsage:
        """What the schedule's agents used up, in all and by model; since <= fire time < until."""
        first, last = read_instant("since", since), read_instant("until", until)
        return run_schemas.usage_out(await self._runs.usage(schedule_id, first, last, user_id=caller.user_id))

    async def cancel_schedule_run(
        self,
        schedule_id: ScheduleId,
        run_id: RunId,
        request: Request,
        response: Response,
        caller: TheCaller,
        wait: Wait = None,
        prefer: Annotated[str | None, Header(description="As for trigger.")] = None,
    ) -> run_schemas.Run:
        """Stop a run, wherever it stands. Answers 200 with the run as it ended (also if it was over before), or 202
        with the run as it stands when the wait is over, and its Location. A cancelled run is not tried again."""
        seconds = preferred_wait(prefer, self._wait_seconds) if wait is None else wait
        detail = await self._runs.cancel(
            schedule_id, run_id, user_id=caller.user_id, by=caller.actor, wait_seconds=seconds
        )
        return _answer(detail, request, response, is_done=detail.run.status.is_final)

    async def continue_schedule_run(
        self,
        schedule_id: ScheduleId,
        run_id: RunId,
        answers: Answers,
        request: Request,
        response: Response,
        caller: TheCaller,
        wait: Wait = 0,
    ) -> run_schemas.Run:
        """Let a paused run go on with a human's decision: approve or reject what it waits for (`approval` of the run),
        or answer each thing singly. Answers 202 with the run, or 200 if it is over or paused again within `wait`. 409:
        it waits for nothing, or somebody else was quicker."""
        detail = await self._runs.continue_(
            schedule_id, run_id, answers, user_id=caller.user_id, by=caller.actor, wait_seconds=wait or 0
        )
        return _answer(detail, request, response, is_done=detail.is_settled)


def _answer(detail: RunDetail, request: Request, response: Response, *, is_done: bool) -> run_schemas.Run:
    if not is_done:
        response.status_code = HTTPStatus.ACCEPTED
        response.headers["Location"] = request.url.path.rstrip("/").rpartition("/")[0]
    return run_schemas.run_out(detail)
