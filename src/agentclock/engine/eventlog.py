"""The log as a listener on the bus: one line for whatever a person on call would want to know."""

from __future__ import annotations

from dataclasses import asdict
from typing import assert_never

import structlog

from agentclock.core.events import (
    AgentEvent,
    AttemptStarted,
    EngineTrouble,
    Event,
    EventsLogged,
    FiresAbsent,
    ResultDropped,
    RunChanged,
    RunQueued,
    RunSettled,
    RunTakenOver,
    ScheduleChanged,
    ScheduleFaulty,
    WorkerDeclaredDead,
)
from agentclock.core.instants import iso_utc
from agentclock.core.model import RunStatus


def log_event(event: Event) -> None:
    log = structlog.get_logger("agentclock")
    match event:
        case RunQueued():
            log.debug("run_queued", run=event.run_id, schedule=event.schedule_id, cause=event.cause)
        case FiresAbsent():
            log.warning(
                f"fires_{event.status}",
                schedule=event.schedule_id,
                reason=event.reason.text,
                count=event.count,
                first=iso_utc(event.fire_at),
                last=iso_utc(event.last_fire_at),
            )
        case AttemptStarted():
            _log_started(event)
        case AgentEvent():
            log.debug("agent_event", run=event.run_id, type=event.type)
        case EventsLogged() | RunChanged() | ScheduleChanged():
            log.debug("changed", **{name: str(value) for name, value in asdict(event).items()})
        case RunSettled():
            _log_settled(event)
        case ResultDropped():
            log.warning("result_dropped", run=event.run_id, detail="another worker owns this run now")
        case WorkerDeclaredDead():
            detail = "its lease ended and others took its runs over; it starts again under a new id"
            log.error("worker_declared_dead", worker=event.worker, runs=event.runs, detail=detail)
        case RunTakenOver():
            facts = {"schedule": event.schedule_name, "run": event.run.id, "attempt": event.run.attempt}
            log.warning("run_taken_over", **facts, worker=event.run.worker, attaches=event.attaches)
        case ScheduleFaulty():
            log.error("schedule_disabled", schedule=event.schedule_id, reason=event.reason)
        case EngineTrouble():
            log.error("engine_trouble", loop=event.loop, error=event.error, retry_in_seconds=event.retry_in_seconds)
        case never:
            assert_never(never)


def _log_started(event: AttemptStarted) -> None:
    run, log = event.run, structlog.get_logger("agentclock")
    facts: dict[str, object] = {"schedule": event.schedule_name, "run": run.id, "attempt": run.attempt}
    if run.instruction is None:
        log.info("attempt_started", **facts, late_ms=event.at - run.fire_at)
    else:
        instruction = run.instruction
        log.info("run_taken_up", **facts, instruction=instruction.kind.value, why=instruction.why, by=instruction.by)


def _log_settled(event: RunSettled) -> None:
    log = structlog.get_logger("agentclock")
    facts: dict[str, object] = {"schedule": event.schedule_name, "run": event.run.id, "attempt": event.run.attempt}
    if event.goes_on is not None:
        log.info("run_handed_over", **facts, instruction=event.goes_on.value, error=event.error)
    elif event.available_at is not None and not event.attempt_spent:
        log.warning("connection_refused", **facts, error=event.error, next_try=iso_utc(event.available_at))
    elif event.available_at is not None:
        log.warning("attempt_failed", **facts, error=event.error, next_attempt=iso_utc(event.available_at))
    elif event.status in (RunStatus.SUCCESS, RunStatus.PAUSED, RunStatus.CANCELLED):
        log.info(f"run_{event.status}", **facts, error=event.error)
    else:
        log.error(f"run_{event.status}", **facts, error=event.error)
