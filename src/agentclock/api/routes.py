"""All routes at a glance, each with the permission that it asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from fastapi import APIRouter, Depends

from agentclock.api.accounts import AccountRoutes
from agentclock.api.applying import ApplyAnswer, ApplyRoutes
from agentclock.api.audit import AuditRoutes
from agentclock.api.auth import Admission, Guard, OpenGuard, Permission
from agentclock.api.backfills import BackfillAnswer, BackfillRoutes
from agentclock.api.bulk import BulkRoutes
from agentclock.api.insight import InsightRoutes
from agentclock.api.limits import RequestLimits
from agentclock.api.notices import NoticeRoutes
from agentclock.api.owners import OwnerRoutes
from agentclock.api.requests import limited_route
from agentclock.api.run_schemas import InboxList, Run, RunList
from agentclock.api.runs import RunRoutes
from agentclock.api.schedules import ScheduleRoutes
from agentclock.api.schemas import ANSWERS, ScheduleList, json_answer
from agentclock.api.sessions import SessionRoutes
from agentclock.api.streams import DESCRIPTION, EventStream
from agentclock.api.targets import TargetDesk, TargetRoutes
from agentclock.api.timeline import Timeline, TimelineRoutes
from agentclock.api.vitals import Vitals
from agentclock.api.watching import StreamRoutes
from agentclock.api.why import WhyRoutes
from agentclock.api.workers import WorkerRoutes
from agentclock.live import Hub
from agentclock.runs import Runs
from agentclock.scheduler import Scheduler
from agentclock.webhooks.desk import WebhookDesk

_ONE: Final = "/schedules/{schedule_id}"
_STREAM: Final[Mapping[str, Any]] = {"response_class": EventStream, "response_model": None, "status_code": 200}


def build_router(
    scheduler: Scheduler,
    runs: Runs,
    hub: Hub,
    *,
    guard: Guard | None = None,
    trigger_wait_seconds: float = 25,
    webhooks: WebhookDesk | None = None,
    limits: RequestLimits | None = None,
    targets: TargetDesk | None = None,
    listener: Callable[[], str] | None = None,
) -> APIRouter:
    """All routes under /schedules and /runs, to be included in whichever app; under /webhooks with a desk for them.

    `guard` None: everybody may do everything. `trigger_wait_seconds`: how long a trigger or a cancel waits for the
    run's end unless the request says so.
    """
    guard = guard or OpenGuard()
    limits = limits or RequestLimits()
    router = APIRouter(tags=["Schedules"], route_class=limited_route(limits.body_bytes))
    add = _adder(router, guard)
    streams = StreamRoutes(runs, hub, limits.streams_per_client)
    _add_schedules(add, ScheduleRoutes(scheduler, guard, trigger_wait_seconds))
    # Before the routes of one schedule, or "preview" and "events" would be taken for ids.
    add(Permission.READ, "GET", "/schedules/events", streams.watch_schedules, 200, **_STREAM)
    _add_insight(add, scheduler)
    applying = ApplyRoutes(scheduler, guard)
    add(Permission.WRITE, "POST", "/schedules/apply", applying.apply_schedules, 409, response_model=ApplyAnswer)
    _add_bulk(add, BulkRoutes(scheduler, runs, guard, trigger_wait_seconds))
    _add_one_schedule(add, ScheduleRoutes(scheduler, guard, trigger_wait_seconds))
    _add_past(add, BackfillRoutes(scheduler, guard), AccountRoutes(scheduler))
    _add_runs(add, RunRoutes(scheduler, runs, trigger_wait_seconds))
    run_events = "/schedules/{schedule_id}/runs/{run_id}/events"
    add(Permission.READ, "GET", run_events, streams.watch_schedule_run, 200, 204, 404, **_STREAM)
    workers = WorkerRoutes(scheduler, Vitals(scheduler, listener))
    add(Permission.READ, "GET", "/workers", workers.list_workers)
    _add_targets(add, TargetRoutes(targets or TargetDesk(), guard))
    _add_session(add, SessionRoutes(guard, scheduler))
    add(Permission.READ, "GET", "/audit", AuditRoutes(scheduler).list_audit_entries, 409)
    _add_owners(add, OwnerRoutes(scheduler))
    if webhooks is not None:
        _add_webhooks(add, NoticeRoutes(webhooks))
    return router


def _add_schedules(add: Callable[..., None], schedules: ScheduleRoutes) -> None:
    add(Permission.READ, "GET", "/schedules", schedules.list_schedules, response_model=ScheduleList)
    add(Permission.WRITE, "POST", "/schedules", schedules.create_schedule, 409, status_code=201)
    add(Permission.READ, "GET", "/schedules/preview", schedules.preview_schedule)


def _add_one_schedule(add: Callable[..., None], schedules: ScheduleRoutes) -> None:
    write = Permission.WRITE
    add(Permission.READ, "GET", _ONE, schedules.get_schedule, 404)
    add(write, "PATCH", _ONE, schedules.update_schedule, 404, 409)
    add(Permission.DELETE, "DELETE", _ONE, schedules.delete_schedule, 404, status_code=204, response_model=None)
    add(write, "POST", f"{_ONE}/enable", schedules.enable_schedule, 404)
    add(write, "POST", f"{_ONE}/disable", schedules.disable_schedule, 404)
    add(write, "POST", f"{_ONE}/trigger", schedules.trigger_schedule, 202, 404, 409)
    add(write, "POST", "/schedules/by-name/{name}/trigger", schedules.trigger_schedule_by_name, 202, 404, 409)


def _add_past(add: Callable[..., None], backfills: BackfillRoutes, accounts: AccountRoutes) -> None:
    read, cancel = Permission.READ, "backfills/{backfill_id}/cancel"
    add(read, "GET", f"{_ONE}/backfills", backfills.list_backfills, 404, 409)
    add(Permission.WRITE, "POST", f"{_ONE}/backfills", backfills.create_backfill, 201, 404, 409)
    add(Permission.CANCEL, "POST", f"{_ONE}/{cancel}", backfills.cancel_backfill, 404, 409)
    add(read, "GET", f"{_ONE}/accounting", accounts.get_schedule_accounting, 404)
    add(read, "GET", f"{_ONE}/revisions", accounts.list_schedule_revisions, 404, 409)


def _add_runs(add: Callable[..., None], runs: RunRoutes) -> None:
    read, one = Permission.READ, f"{_ONE}/runs/{{run_id}}"
    add(read, "GET", f"{_ONE}/usage", runs.get_schedule_usage, 404)
    add(read, "GET", f"{_ONE}/runs", runs.list_schedule_runs, 404, response_model=RunList)
    add(read, "GET", one, runs.get_schedule_run, 404)
    add(Permission.CANCEL, "POST", f"{one}/cancel", runs.cancel_schedule_run, 202, 404)
    add(Permission.APPROVE, "POST", f"{one}/continue", runs.continue_schedule_run, 202, 404, 409)
    add(read, "GET", "/runs", runs.list_runs, response_model=InboxList)
    add(read, "GET", "/runs/{run_id}", runs.get_run, 404)


def _add_owners(add: Callable[..., None], owners: OwnerRoutes) -> None:
    add(Permission.ADMIN, "GET", "/owners", owners.list_owners, 409)
    add(Permission.ADMIN, "POST", "/owners/{user_id}/revoke", owners.revoke_owner, 409)
    add(Permission.ADMIN, "POST", "/owners/{user_id}/restore", owners.restore_owner, 409)


def _add_insight(add: Callable[..., None], scheduler: Scheduler) -> None:
    insight, read = InsightRoutes(scheduler), Permission.READ
    add(read, "GET", "/schedules/summary", insight.get_summary)
    add(read, "GET", "/schedules/attention", insight.list_concerns)
    add(read, "GET", "/schedules/timeline", TimelineRoutes(scheduler).get_timeline, response_model=Timeline)
    add(read, "GET", "/schedules/statistics", insight.list_statistics)
    add(read, "GET", "/schedules/{schedule_id}/statistics", insight.get_schedule_statistics, 404)
    add(read, "GET", "/schedules/accounts", insight.list_accounts)
    add(read, "GET", "/schedules/{schedule_id}/why", WhyRoutes(scheduler).get_why, 404)
    add(read, "GET", "/runs/failures", insight.list_failures)


def _add_webhooks(add: Callable[..., None], notices: NoticeRoutes) -> None:
    add(Permission.ADMIN, "GET", "/webhooks", notices.list_webhooks, 409)
    add(Permission.ADMIN, "POST", "/webhooks/{name}/test", notices.test_webhook, 404)
    add(Permission.READ, "GET", "/webhooks/notices", notices.list_notices, 409)
    add(Permission.WRITE, "POST", "/webhooks/notices/{notice_id}/retry", notices.retry_notice, 404, 409)


def _add_targets(add: Callable[..., None], targets: TargetRoutes) -> None:
    add(Permission.READ, "GET", "/targets", targets.list_targets)
    add(Permission.READ, "GET", "/targets/{name}/components", targets.list_target_components, 404)


def _add_session(add: Callable[..., None], session: SessionRoutes) -> None:
    add(None, "GET", "/session", session.get_session)
    add(None, "POST", "/session", session.create_session)
    add(None, "DELETE", "/session", session.delete_session, status_code=204, response_model=None)


def _add_bulk(add: Callable[..., None], bulk: BulkRoutes) -> None:
    write = Permission.WRITE
    add(write, "POST", "/schedules/bulk/enable", bulk.enable_schedules)
    add(write, "POST", "/schedules/bulk/disable", bulk.disable_schedules)
    add(write, "POST", "/schedules/bulk/trigger", bulk.trigger_schedules)
    add(Permission.DELETE, "POST", "/schedules/bulk/delete", bulk.delete_schedules)
    add(Permission.CANCEL, "POST", "/runs/bulk/cancel", bulk.cancel_runs)
    add(write, "POST", "/runs/bulk/retry", bulk.retry_runs)
    add(write, "POST", "/schedules/{schedule_id}/runs/{run_id}/retry", bulk.retry_schedule_run, 202, 404, 409)


def _adder(router: APIRouter, guard: Guard) -> Callable[..., None]:
    """What puts a route on the router, with the permission it asks for (None: everybody may) and the errors that it
    may answer with."""
    answers: dict[int | str, dict[str, Any]] = {
        **ANSWERS,
        200: dict(DESCRIPTION),
        201: {"model": BackfillAnswer, "description": "The backfill was made; see Location."},
        202: {"model": Run, "description": "The run is not over yet; see Location."},
    }

    def add(
        permission: Permission | None,
        method: str,
        path: str,
        endpoint: Callable[..., Any],
        *errors: int,
        **options: Any,
    ) -> None:
        codes = (401, 403, 414, 422, 429, 503, *errors)
        is_json = options.get("response_class") is None
        router.add_api_route(
            path,
            endpoint,
            methods=[method],
            dependencies=[] if permission is None else [Depends(Admission(guard, permission))],
            responses={code: answers[code] if is_json or code < 400 else json_answer(code) for code in codes},
            **options,
        )

    return add
