"""The routes under /schedules: AgentOS's contract, with additions that do not disturb its clients."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any, Final, TypeAlias

from fastapi import APIRouter, Header, Path, Query, Request, Response

from agentclock.api import schemas
from agentclock.api.auth import User
from agentclock.api.requests import ApiRoute
from agentclock.core.errors import InvalidField
from agentclock.core.model import SECOND, Cause, Instant, RunStatus
from agentclock.core.zones import Zone
from agentclock.drafts import PreviewDraft, ScheduleDraft, SchedulePatch
from agentclock.ports import PageRequest, RunFilter, ScheduleFilter
from agentclock.scheduler import Scheduler
from agentclock.timing import parse_instant

LONGEST_WAIT_SECONDS: Final = 300
#: Epoch times from here on (the year 5138 in seconds) are taken for milliseconds.
_MILLISECONDS_FROM: Final = 100_000_000_000

_WAIT: Final = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,9})", re.IGNORECASE)
_ASYNC: Final = re.compile(r"(?:^|[,;\s])respond-async(?:$|[,;\s])", re.IGNORECASE)
_ETAG: Final = re.compile(r'\s*(?:W/)?"([0-9]{1,18})"\s*')

ScheduleId: TypeAlias = Annotated[str, Path(description="Id of the schedule.")]
RunId: TypeAlias = Annotated[str, Path(description="Id of the run (`id`, not `run_id`).")]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=1000, description="Rows of a page.")]
PageNumber: TypeAlias = Annotated[int, Query(ge=1, description="Counted from 1; `cursor` is quicker far down.")]
Cursor: TypeAlias = Annotated[str | None, Query(max_length=512, description="next_cursor of the page before.")]
Time: TypeAlias = Annotated[
    str | None, Query(max_length=64, description="Fire time, ISO 8601 (UTC without an offset) or epoch seconds.")
]


def build_router(scheduler: Scheduler, *, trigger_wait_seconds: float = 25) -> APIRouter:
    """All routes under /schedules, to be included in whichever app.

    `trigger_wait_seconds`: how long a trigger waits for the run's end unless the request says so.
    """
    return ScheduleRoutes(scheduler, trigger_wait_seconds).router()


class ScheduleRoutes:
    def __init__(self, scheduler: Scheduler, trigger_wait_seconds: float) -> None:
        self._scheduler = scheduler
        self._trigger_wait_seconds = trigger_wait_seconds

    def router(self) -> APIRouter:
        router = APIRouter(tags=["Schedules"], route_class=ApiRoute)

        def add(method: str, path: str, endpoint: Callable[..., Any], *errors: int, **options: Any) -> None:
            responses: dict[int | str, dict[str, Any]] = {code: _ERRORS[code] for code in (422, 503, *errors)}
            router.add_api_route(path, endpoint, methods=[method], responses=responses, **options)

        one, runs = "/schedules/{schedule_id}", "/schedules/{schedule_id}/runs"
        add("GET", "/schedules", self.list_schedules)
        add("POST", "/schedules", self.create_schedule, 409, status_code=201)
        # Before the routes of one schedule, or "preview" would be taken for an id.
        add("GET", "/schedules/preview", self.preview_schedule)
        add("GET", one, self.get_schedule, 404)
        add("PATCH", one, self.update_schedule, 404, 409)
        add("DELETE", one, self.delete_schedule, 404, status_code=204)
        add("POST", f"{one}/enable", self.enable_schedule, 404)
        add("POST", f"{one}/disable", self.disable_schedule, 404)
        add("POST", f"{one}/trigger", self.trigger_schedule, 202, 404, 409)
        add("GET", runs, self.list_schedule_runs, 404)
        add("GET", f"{runs}/{{run_id}}", self.get_schedule_run, 404)
        return router

    async def list_schedules(
        self,
        user_id: User,
        enabled: bool | None = None,
        name: Annotated[str | None, Query(max_length=255, description="Part of the name, in any case.")] = None,
        tag: Annotated[str | None, Query(max_length=64)] = None,
        target: Annotated[
            str | None, Query(max_length=512, description="Target name, agent, team or workflow id, or endpoint.")
        ] = None,
        limit: Limit = 100,
        page: PageNumber = 1,
        cursor: Cursor = None,
    ) -> schemas.ScheduleList:
        """Schedules, newest first."""
        began = time.perf_counter()
        where = ScheduleFilter(user_id=user_id, enabled=enabled, name_contains=name, tag=tag, target=target)
        found = await self._scheduler.list(where, PageRequest(limit=limit, page=page, cursor=cursor))
        meta = schemas.meta_out(found, page=page, limit=limit, search_time_ms=_ms_since(began))
        return schemas.ScheduleList(data=[schemas.schedule_out(row) for row in found.items], meta=meta)

    async def create_schedule(
        self, draft: ScheduleDraft, request: Request, response: Response, user_id: User
    ) -> schemas.ScheduleDetail:
        """Create a schedule. At most one of cron_expr, run_at and interval_seconds; none: it runs on demand."""
        schedule = await self._scheduler.create(draft, user_id=user_id)
        response.headers["Location"] = f"{request.url.path.rstrip('/')}/{schedule.id}"
        response.headers["ETag"] = f'"{schedule.version}"'
        return schemas.schedule_detail_out(schedule, self._scheduler.describe(schedule))

    async def preview_schedule(self, draft: Annotated[PreviewDraft, Query()]) -> schemas.Preview:
        """When a timetable would fire: plain English, warnings, and the next fires with their offsets."""
        return schemas.preview_out(await self._scheduler.preview(draft))

    async def get_schedule(self, schedule_id: ScheduleId, response: Response, user_id: User) -> schemas.ScheduleDetail:
        """One schedule; the ETag is its version."""
        schedule = await self._scheduler.get(schedule_id, user_id=user_id)
        response.headers["ETag"] = f'"{schedule.version}"'
        return schemas.schedule_detail_out(schedule, self._scheduler.describe(schedule))

    async def update_schedule(
        self,
        schedule_id: ScheduleId,
        patch: SchedulePatch,
        response: Response,
        user_id: User,
        if_match: Annotated[str | None, Header(description="The ETag that the change is based on.")] = None,
    ) -> schemas.ScheduleDetail:
        """Change the fields that are sent; null empties those that may be empty. One timing field replaces the
        others. The next fire is recomputed, from now, only if the timetable changes."""
        schedule = await self._scheduler.change(
            schedule_id, patch, user_id=user_id, expected_version=_expected_version(if_match)
        )
        response.headers["ETag"] = f'"{schedule.version}"'
        return schemas.schedule_detail_out(schedule, self._scheduler.describe(schedule))

    async def delete_schedule(self, schedule_id: ScheduleId, user_id: User) -> None:
        """Delete a schedule; its pending runs are cancelled."""
        await self._scheduler.delete(schedule_id, user_id=user_id)

    async def enable_schedule(self, schedule_id: ScheduleId, user_id: User) -> schemas.ScheduleState:
        """Let it fire from now on; what was due meanwhile is not made up."""
        return schemas.schedule_state_out(await self._scheduler.enable(schedule_id, user_id=user_id))

    async def disable_schedule(self, schedule_id: ScheduleId, user_id: User) -> schemas.ScheduleState:
        """Let it fire no more; runs that exist go on."""
        return schemas.schedule_state_out(await self._scheduler.disable(schedule_id, user_id=user_id))

    async def trigger_schedule(
        self,
        schedule_id: ScheduleId,
        request: Request,
        response: Response,
        user_id: User,
        wait: Annotated[
            float | None, Query(ge=0, le=LONGEST_WAIT_SECONDS, description="Seconds to wait for the run's end.")
        ] = None,
        prefer: Annotated[
            str | None, Header(description="`wait=10`: as the query parameter. `respond-async` alone: 0.")
        ] = None,
    ) -> schemas.Run:
        """Run it now, outside its timetable. Answers 200 with the final run (or one that waits for a human), or 202
        with the run as it stands when the wait is over, and its Location."""
        seconds = _preferred_wait(prefer, self._trigger_wait_seconds) if wait is None else wait
        detail = await self._scheduler.trigger(schedule_id, wait_seconds=seconds, user_id=user_id)
        if not detail.is_settled:
            response.status_code = HTTPStatus.ACCEPTED
            response.headers["Location"] = f"{request.url.path.removesuffix('/trigger')}/runs/{detail.run.id}"
        return schemas.run_out(detail)

    async def list_schedule_runs(
        self,
        schedule_id: ScheduleId,
        user_id: User,
        status: Annotated[list[RunStatus] | None, Query(description="Repeat it for several.")] = None,
        cause: Annotated[list[Cause] | None, Query(description="Repeat it for several.")] = None,
        since: Time = None,
        until: Time = None,
        limit: Limit = 100,
        page: PageNumber = 1,
        cursor: Cursor = None,
    ) -> schemas.RunList:
        """The schedule's runs, newest first, each with its attempts; since <= fire time < until."""
        began = time.perf_counter()
        where = RunFilter(
            user_id=user_id,
            statuses=tuple(status or ()),
            causes=tuple(cause or ()),
            since=_instant("since", since),
            until=_instant("until", until),
        )
        found = await self._scheduler.runs(schedule_id, where, PageRequest(limit=limit, page=page, cursor=cursor))
        meta = schemas.meta_out(found, page=page, limit=limit, search_time_ms=_ms_since(began))
        return schemas.RunList(data=[schemas.run_out(detail) for detail in found.items], meta=meta)

    async def get_schedule_run(self, schedule_id: ScheduleId, run_id: RunId, user_id: User) -> schemas.Run:
        """One run with its attempts."""
        return schemas.run_out(await self._scheduler.run(schedule_id, run_id, user_id=user_id))


_ERRORS: Final[dict[int, dict[str, Any]]] = {
    202: {"model": schemas.Run, "description": "The run is not over yet; see Location."},
    404: {"model": schemas.Error, "description": "No such schedule or run."},
    409: {"model": schemas.Error, "description": "At odds with what is stored."},
    422: {"model": schemas.Invalid, "description": "A field is wrong; the fault names it."},
    503: {"model": schemas.Error, "description": "Database or engine away; see Retry-After."},
}


def _expected_version(if_match: str | None) -> int | None:
    """None: any. What is no version of ours matches none."""
    if if_match is None or if_match.strip() == "*":
        return None
    match = _ETAG.fullmatch(if_match)
    return int(match[1]) if match else 0


def _preferred_wait(prefer: str | None, default: float) -> float:
    if match := _WAIT.search(prefer or ""):
        return min(float(match[1]), LONGEST_WAIT_SECONDS)
    return 0.0 if _ASYNC.search(prefer or "") else default


def _instant(field: str, text: str | None) -> Instant | None:
    if text is None:
        return None
    if text.isascii() and text.isdecimal():
        number = int(text)
        at = number if number >= _MILLISECONDS_FROM else number * SECOND
        if at > 2**48:
            raise InvalidField(field, "lies too far in the future")
        return at
    return parse_instant(field, text, Zone.load("UTC"))


def _ms_since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 3)
