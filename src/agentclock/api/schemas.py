"""The wire shapes of schedules, lists and errors. AgentOS's own fields keep its names and its epoch seconds; our
additional times are RFC 3339 in UTC with milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from agentclock.api.values import epoch_seconds, iso_or_null, presentable
from agentclock.core.figures import duration_ms
from agentclock.core.instants import iso_utc
from agentclock.core.model import SECOND, ApprovalAction, CatchUp, Cause, OnLost, Overlap, RetryBackoff, RunStatus
from agentclock.core.model import Schedule as ScheduleRow
from agentclock.ports import Page, RunMark
from agentclock.scheduler import Preview as PreviewResult
from agentclock.timing import Description, explain


class Schedule(BaseModel):
    """A schedule: when, what is called, and the policies."""

    id: str
    user_id: str | None
    name: str
    description: str | None
    method: str
    endpoint: str
    payload: Any = Field(description="JSON object or null.")
    cron_expr: str | None = Field(description="null: not a cron schedule, or on demand.")
    timezone: str
    timeout_seconds: int
    max_retries: int
    retry_delay_seconds: int
    enabled: bool
    next_run_at: int | None = Field(description="Epoch seconds; null: nothing is due by itself.")
    managed_by: str | None
    target_type: str | None = Field(description="agent, team or workflow, if the endpoint runs one.")
    target_id: str | None
    disabled_reason: str | None
    created_at: int = Field(description="Epoch seconds.")
    updated_at: int | None = Field(description="Epoch seconds.")
    target: str = Field(description="Name of the configured base URL.")
    run_at: str | None
    interval_seconds: int | None
    start_at: str | None
    end_at: str | None
    max_runs: int | None
    jitter_seconds: int
    overlap: Overlap
    catch_up: CatchUp
    catch_up_window_seconds: int
    catch_up_limit: int
    catch_up_stagger_seconds: int
    misfire_grace_seconds: int
    retry_backoff: RetryBackoff
    retry_max_delay_seconds: int
    idle_timeout_seconds: int | None = Field(description="An agent silent for so long is stopped; null: no limit.")
    approval_timeout_seconds: int | None = Field(description="How long a run waits for a human; null: for ever.")
    approval_timeout_action: ApprovalAction = Field(description="How a run ends that nobody answered in time.")
    on_lost: OnLost | None = Field(description="As it was written; null: by the method.")
    retries_lost: bool = Field(description="Whether an attempt whose end nobody knows is made again: on_lost applied.")
    tags: list[str]
    ping_url: str | None = Field(description="Told of every start and end of a run; null: nobody is.")
    provenance: Any = Field(description="Of a schedule that an agent made: which run of which component did.")
    version: int = Field(description="Grows with each change; send it as If-Match.")
    next_fire_at: str | None = Field(description="next_run_at as RFC 3339 with milliseconds.")


class ScheduleDetail(Schedule):
    """A schedule, with when it fires in plain English and what may surprise its author."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "019b76da-a800-7d3c-9e6f-5a1f6f0c2b11",
                    "name": "daily-summary",
                    "cron_expr": "0 7 * * mon-fri",
                    "timezone": "Europe/Berlin",
                    "endpoint": "/agents/assistant/runs",
                    "next_run_at": 1767247200,
                    "next_fire_at": "2026-01-01T06:00:00.000Z",
                    "explanation": "At 07:00, Monday to Friday, Europe/Berlin",
                    "warnings": [],
                }
            ]
        }
    )

    explanation: str | None = Field(description="null: the timetable cannot be read; warnings say why.")
    warnings: list[str]


def schedule_fields(row: ScheduleRow) -> dict[str, Any]:
    """By the names and in the form in which schedules are shown."""
    component = row.target.component
    return {
        "id": row.id,
        "user_id": row.user_id,
        "name": row.name,
        "description": row.description,
        "method": row.target.method,
        "endpoint": row.target.endpoint,
        "payload": presentable(row.target.payload),
        "cron_expr": row.cron_expr or None,
        "timezone": row.timezone,
        "timeout_seconds": row.timeout_seconds,
        "max_retries": row.retry.max_retries,
        "retry_delay_seconds": row.retry.delay_seconds,
        "enabled": row.enabled,
        "next_run_at": epoch_seconds(row.next_fire_at),
        "managed_by": row.managed_by,
        "target_type": component[0] if component else None,
        "target_id": component[1] if component else None,
        "disabled_reason": row.disabled_reason,
        "created_at": epoch_seconds(row.created_at),
        "updated_at": epoch_seconds(row.updated_at),
        "target": row.target.name,
        "run_at": iso_or_null(row.run_at),
        "interval_seconds": row.interval_seconds,
        "start_at": iso_or_null(row.start_at),
        "end_at": iso_or_null(row.end_at),
        "max_runs": row.max_runs,
        "jitter_seconds": row.jitter_seconds,
        "overlap": row.overlap,
        "catch_up": row.catch_up,
        "catch_up_window_seconds": row.catch_up_window_seconds,
        "catch_up_limit": row.catch_up_limit,
        "catch_up_stagger_seconds": row.catch_up_stagger_seconds,
        "misfire_grace_seconds": row.misfire_grace_seconds,
        "retry_backoff": row.retry.backoff,
        "retry_max_delay_seconds": row.retry.max_delay_seconds,
        "idle_timeout_seconds": row.idle_timeout_seconds,
        "approval_timeout_seconds": row.approval_timeout_seconds,
        "approval_timeout_action": row.approval_timeout_action,
        "on_lost": row.on_lost,
        "retries_lost": row.retries_lost,
        "tags": list(row.tags),
        "ping_url": row.ping_url,
        "provenance": presentable(row.provenance),
        "version": row.version,
        "next_fire_at": iso_or_null(row.next_fire_at),
    }


def schedule_out(row: ScheduleRow) -> Schedule:
    return Schedule(**schedule_fields(row))


def schedule_detail_out(row: ScheduleRow, description: Description) -> ScheduleDetail:
    return ScheduleDetail(
        **schedule_fields(row), explanation=description.explanation, warnings=list(description.warnings)
    )


class ScheduleState(BaseModel):
    """What enable and disable answer."""

    id: str
    name: str
    enabled: bool
    next_run_at: int | None
    updated_at: int | None


def schedule_state_out(row: ScheduleRow) -> ScheduleState:
    return ScheduleState(
        id=row.id,
        name=row.name,
        enabled=row.enabled,
        next_run_at=epoch_seconds(row.next_fire_at),
        updated_at=epoch_seconds(row.updated_at),
    )


class Unreadable(BaseModel):
    """A stored row that is left out of the page because it cannot be read."""

    id: str
    reason: str


class Meta(BaseModel):
    page: int
    limit: int
    total_pages: int
    total_count: int
    search_time_ms: float
    next_cursor: str | None = Field(description="Send it as cursor for the next page; null: this is the last.")
    unreadable: list[Unreadable]


class RecentRun(BaseModel):
    """A run in short."""

    id: str
    status: RunStatus
    cause: Cause
    fire_at: str = Field(description="When it was due, RFC 3339.")
    started_at: str | None = Field(description="When its first attempt began; null: it did not.")
    ended_at: str | None = Field(description="When it was over; null: it is not.")
    duration_ms: int | None = Field(description="From start to end, pauses included; null: it is not over.")
    fire_count: int = Field(description="How many fires this row stands for.")
    reason: str | None = Field(description="Why the fires made no run.")


class ListedSchedule(Schedule):
    """A schedule in a list."""

    explanation: str | None = Field(description="When it fires, in English; null: the timetable cannot be read.")
    recent_runs: list[RecentRun] | None = Field(description="Newest first; null: not asked for (recent_runs=).")


class ScheduleList(BaseModel):
    data: list[ListedSchedule]
    meta: Meta


def listed_schedule_out(row: ScheduleRow, marks: Sequence[RunMark] | None) -> ListedSchedule:
    runs = None if marks is None else [_recent_run_out(mark) for mark in marks]
    return ListedSchedule(**schedule_fields(row), explanation=explain(row), recent_runs=runs)


def _recent_run_out(mark: RunMark) -> RecentRun:
    return RecentRun(
        id=mark.run_id,
        status=mark.status,
        cause=mark.cause,
        fire_at=iso_utc(mark.fire_at),
        started_at=iso_or_null(mark.started_at),
        ended_at=iso_or_null(mark.completed_at),
        duration_ms=duration_ms(mark),
        fire_count=mark.fire_count,
        reason=mark.reason.text if mark.reason else None,
    )


def meta_out(found: Page[Any], *, page: int, limit: int, search_time_ms: float) -> Meta:
    return Meta(
        page=page,
        limit=limit,
        total_pages=-(-found.total_count // limit),
        total_count=found.total_count,
        search_time_ms=search_time_ms,
        next_cursor=found.next_cursor,
        unreadable=[Unreadable(id=fault.row_id, reason=fault.reason) for fault in found.faults],
    )


class Fire(BaseModel):
    """One fire time."""

    utc: str = Field(examples=["2026-03-29T01:00:00.000Z"])
    local: str = Field(examples=["2026-03-29T03:00:00+02:00"])
    offset: str = Field(examples=["+02:00"])
    epoch: int = Field(description="Epoch seconds.", examples=[1774746000])
    note: str | None = Field(description="What a clock change has to do with it.")


class Preview(BaseModel):
    timezone: str
    explanation: str | None = Field(examples=["At 03:00, every day, Europe/Berlin"])
    warnings: list[str]
    fires: list[Fire]


def preview_out(preview: PreviewResult) -> Preview:
    fires = [
        Fire(utc=iso_utc(fire.at), local=fire.local, offset=fire.offset, epoch=fire.at // SECOND, note=fire.note)
        for fire in preview.occurrences
    ]
    return Preview(
        timezone=preview.timezone,
        explanation=preview.description.explanation,
        warnings=list(preview.description.warnings),
        fires=fires,
    )


class Error(BaseModel):
    detail: str


class Fault(BaseModel):
    type: str
    loc: list[str | int]
    msg: str
    input: Any = None
    ctx: dict[str, Any] | None = Field(default=None, description="For cron expressions: field, reason and position.")


class Invalid(BaseModel):
    """The request cannot be understood; each fault names its field."""

    detail: list[Fault]


#: How routes answer that do not answer as they should, or not with a body of their own.
ANSWERS: Final[Mapping[int | str, dict[str, Any]]] = {
    204: {"description": "The run is over and all of it was seen: do not come back."},
    401: {"model": Error, "description": "Credentials are missing or wrong."},
    403: {"model": Error, "description": "The caller may not do this."},
    404: {"model": Error, "description": "No such schedule or run."},
    409: {"model": Error, "description": "At odds with what is stored."},
    413: {"model": Error, "description": "The body is larger than bodies may be (body_limit_bytes)."},
    414: {"model": Error, "description": "Path and query are longer than 16 KiB."},
    422: {"model": Invalid, "description": "A field is wrong; the fault names it."},
    429: {"model": Error, "description": "Too many requests, or too many streams; see Retry-After."},
    503: {"model": Error, "description": "Database or engine away; see Retry-After."},
}


def json_answer(code: int) -> dict[str, Any]:
    """As in ANSWERS, for routes whose other answers are no JSON: the framework would describe this one as theirs."""
    model, description = ANSWERS[code]["model"], ANSWERS[code]["description"]
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}
