"""The wire shapes of runs. AgentOS's own fields keep its names and its epoch seconds; our additional times are RFC 3339
in UTC with milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, Field

from agentclock.api.schemas import Meta
from agentclock.api.values import epoch_seconds, iso_or_null, presentable
from agentclock.core.approvals import describe
from agentclock.core.figures import duration_ms, lateness_ms
from agentclock.core.instants import iso_utc
from agentclock.core.model import SECOND, Attempt, Cause, RunStatus
from agentclock.core.model import Run as RunRow
from agentclock.core.model import Usage as UsageRow
from agentclock.ports import UsageTotal
from agentclock.runs import RunDetail


class Usage(BaseModel):
    """What agents used up, as far as AgentOS said; null: it did not say."""

    input_tokens: int | None = Field(description="Tokens that models read.")
    output_tokens: int | None = Field(description="Tokens that models wrote.")
    total_tokens: int | None = Field(description="All tokens.")
    cost: float | None = Field(description="In the currency of AgentOS, US dollars as a rule.")


class AttemptUsage(Usage):
    model: str | None = Field(description="The model that did the work.")


class RunUsage(Usage):
    models: list[str] = Field(description="The models that did the work.")


class RunAttempt(BaseModel):
    """One try of a run, counted from 1. Times are RFC 3339."""

    number: int
    status: RunStatus
    started_at: str
    completed_at: str | None
    status_code: int | None
    run_id: str | None = Field(description="The id that AgentOS gave its own run.")
    error: str | None
    worker: str | None
    usage: AttemptUsage | None = Field(description="What this attempt used up; null: AgentOS did not say.")


class Run(BaseModel):
    """The execution of one fire, all attempts included; or fires that made no run (skipped, missed)."""

    id: str
    schedule_id: str
    user_id: str | None
    attempt: int = Field(description="Number of the latest attempt; 0 before the first.")
    triggered_at: int = Field(description="Epoch seconds: the start, or the creation of a run not yet started.")
    completed_at: int | None = Field(description="Epoch seconds.")
    status: RunStatus
    status_code: int | None
    run_id: str | None = Field(description="The id that AgentOS gave its own run.")
    session_id: str | None
    error: str | None
    input: Any
    output: Any = Field(description='{"content", "content_type"} or null.')
    requirements: Any = Field(description="What a paused run waits for, as AgentOS says it; null otherwise.")
    created_at: int = Field(description="Epoch seconds.")
    fire_at: str = Field(description="When the run was due; for skipped and missed fires the first of them.")
    last_fire_at: str | None = Field(description="For skipped and missed fires the last of them.")
    fire_count: int = Field(description="How many fires this row stands for.")
    cause: Cause
    reason: str | None = Field(description="Why the fires made no run.")
    available_at: str | None = Field(description="When a pending run may start.")
    paused_at: str | None = Field(description="Since when a paused run waits for a human; null otherwise.")
    approval_due_at: str | None = Field(description="Until when it waits; null: for ever, or it is not paused.")
    approval: list[dict[str, Any]] | None = Field(
        description="The same in words, one entry for each decision: `kind`, `tool`, `args`, the `fields` to fill in."
    )
    cancel_requested: bool = Field(description="Somebody wants it cancelled, and its worker has not done so yet.")
    worker: str | None
    triggered_by: str | None = Field(description="Who triggered a manual run; null: nobody said, or it was due.")
    trigger_reason: str | None = Field(description="Why, as the trigger said.")
    metrics: Any
    usage: RunUsage | None = Field(description="What all attempts used up; null: AgentOS did not say.")
    attempts: list[RunAttempt]
    started_at: str | None = Field(description="When the first attempt began; null: none has.")
    ended_at: str | None = Field(description="completed_at as RFC 3339 with milliseconds.")
    duration_ms: int | None = Field(description="From started_at to ended_at, with pauses; null: not both are known.")
    lateness_ms: int | None = Field(
        description="From fire_at, and the schedule's own delay within its jitter, to started_at; null: it has not "
        "begun, the schedule is gone, or nobody promised when (manual, catch_up, backfill)."
    )
    retry_of: str | None = Field(description="The `id` of the run that it does again; null: none.")
    payload: Any = Field(description="Its own payload, as its trigger said; null: the schedule's.")


class ListedRun(Run):
    """A run in a list of several schedules' runs."""

    schedule_name: str | None = Field(description="null: the schedule is gone.")


def run_out(detail: RunDetail) -> Run:
    return Run(**_fields(detail))


def listed_run_out(detail: RunDetail) -> ListedRun:
    return ListedRun(**_fields(detail), schedule_name=detail.schedule_name)


def _fields(detail: RunDetail) -> dict[str, Any]:
    run = detail.run
    return {
        "id": run.id,
        "schedule_id": run.schedule_id,
        "user_id": run.user_id,
        "attempt": run.attempt,
        "triggered_at": (run.created_at if run.started_at is None else run.started_at) // SECOND,
        "completed_at": epoch_seconds(run.completed_at),
        "status": run.status,
        "status_code": run.status_code,
        "run_id": run.agent_run_id,
        "session_id": run.session_id,
        "error": run.error,
        "input": presentable(run.input),
        "output": presentable(run.output),
        "created_at": run.created_at // SECOND,
        "fire_at": iso_utc(run.fire_at),
        "last_fire_at": iso_or_null(run.last_fire_at),
        "fire_count": run.fire_count,
        "cause": run.cause,
        "reason": run.reason.text if run.reason else None,
        "available_at": iso_or_null(run.available_at),
        "cancel_requested": run.cancel_requested and not run.status.is_final,
        "worker": run.worker,
        "triggered_by": run.trigger_note.by if run.trigger_note else None,
        "trigger_reason": run.trigger_note.reason if run.trigger_note else None,
        "metrics": presentable(run.metrics),
        "usage": _sum([attempt.usage for attempt in detail.attempts if attempt.usage is not None]),
        "attempts": [_attempt_out(attempt) for attempt in detail.attempts],
        **_pause(run),
        **_times(detail),
        "retry_of": run.trigger_note.retry_of if run.trigger_note else None,
        "payload": presentable(run.trigger_note.payload) if run.trigger_note else None,
    }


def _times(detail: RunDetail) -> dict[str, Any]:
    run, jitter_seconds = detail.run, detail.jitter_seconds
    return {
        "started_at": iso_or_null(run.started_at),
        "ended_at": iso_or_null(run.completed_at),
        "duration_ms": duration_ms(run),
        "lateness_ms": None if jitter_seconds is None else lateness_ms(run, jitter_seconds),
    }


def _pause(run: RunRow) -> dict[str, Any]:
    """What people need who are to decide; of no use, and not shown, once the run goes on."""
    paused = run.status is RunStatus.PAUSED
    return {
        "requirements": presentable(run.requirements) if paused else None,
        "paused_at": iso_or_null(run.paused_at) if paused else None,
        "approval_due_at": iso_or_null(run.approval_due_at) if paused else None,
        "approval": presentable(describe(run.requirements)) if paused else None,
    }


def _attempt_out(attempt: Attempt) -> RunAttempt:
    return RunAttempt(
        number=attempt.number,
        status=attempt.status,
        started_at=iso_utc(attempt.started_at),
        completed_at=iso_or_null(attempt.completed_at),
        status_code=attempt.status_code,
        run_id=attempt.agent_run_id,
        error=attempt.error,
        worker=attempt.worker,
        usage=None if attempt.usage is None else AttemptUsage(**_figures(attempt.usage), model=attempt.usage.model),
    )


def _figures(usage: UsageRow) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "cost": usage.cost,
    }


def _sum(used: Sequence[UsageRow]) -> RunUsage | None:
    if not used:
        return None
    return RunUsage(**_totals(used), models=list(dict.fromkeys(usage.model for usage in used if usage.model)))


def _totals(used: Iterable[UsageRow]) -> dict[str, Any]:
    """Each figure added up over those that say it, None where none does."""
    columns = zip(*(_figures(usage).values() for usage in used), strict=True)
    said = [[figure for figure in column if figure is not None] for column in columns]
    return {name: sum(figures) if figures else None for name, figures in zip(Usage.model_fields, said, strict=False)}


class RunList(BaseModel):
    data: list[Run]
    meta: Meta


class InboxList(BaseModel):
    data: list[ListedRun]
    meta: Meta


class ModelUsage(AttemptUsage):
    """What a schedule's attempts used up with one model."""

    attempts: int = Field(description="How many attempts that were.")


class ScheduleUsage(BaseModel):
    """What a schedule's attempts used up, in all and by model (most tokens first)."""

    attempts: int = Field(description="How many attempts said what they used up.")
    total: Usage
    models: list[ModelUsage]


def usage_out(totals: Sequence[UsageTotal]) -> ScheduleUsage:
    used = [total.usage for total in totals]
    nothing = dict.fromkeys(Usage.model_fields)
    return ScheduleUsage(
        attempts=sum(total.attempts for total in totals),
        total=Usage(**(_totals(used) if used else nothing)),
        models=[
            ModelUsage(**_figures(total.usage), model=total.usage.model, attempts=total.attempts) for total in totals
        ],
    )
