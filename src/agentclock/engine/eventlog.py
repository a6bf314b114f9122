"""The log as a listener on the bus: one line for whatever a person on call would want to know."""

from __future__ import annotations

from typing import assert_never

import structlog

from agentclock.core.events import (
    AgentEvent,
    AttemptStarted,
    EngineRecovered,
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
from agentclock.logs import run_facts


def log_event(event: Event) -> None:  # noqa: PLR0912 - one case for each event
    log = structlog.get_logger("agentclock")
    match event:
        case RunQueued():
            log.debug("run_queued", **_of_id(event, 0), cause=event.cause.value)
        case FiresAbsent():
            log.warning(
                f"fires_{event.status}",
                schedule=event.schedule_name or event.schedule_id,
                schedule_id=event.schedule_id,
                reason=event.reason.text,
                count=event.count,
                first=iso_utc(event.fire_at),
                last=iso_utc(event.last_fire_at),
            )
        case AttemptStarted():
            _log_started(event)
        case AgentEvent():
            log.debug("agent_event", run=event.run_id, schedule_id=event.schedule_id, type=event.type)
        case EventsLogged():
            log.debug("events_logged", **_of_id(event, event.attempt), seq=event.seq)
        case RunChanged():
            log.debug("run_changed", **_of_id(event, event.attempt))
        case ScheduleChanged():
            log.debug("schedule_changed", schedule_id=event.schedule_id)
        case RunSettled():
            _log_settled(event)
        case ResultDropped():
            detail = "another worker owns this run now"
            log.warning("result_dropped", **_of_id(event, event.attempt), detail=detail)
        case WorkerDeclaredDead():
            detail = "its lease ended and others took its runs over; it starts again under a new id"
            log.error("worker_declared_dead", worker=event.worker, runs=event.runs, detail=detail)
        case RunTakenOver():
            log.warning("run_taken_over", **_of_run(event), dead_worker=event.run.worker, attaches=event.attaches)
        case ScheduleFaulty():
            log.error("schedule_disabled", schedule_id=event.schedule_id, reason=event.reason)
        case EngineTrouble():
            _log_trouble(event)
        case EngineRecovered():
            log.info("database_available", after_seconds=round(event.after_seconds, 1))
        case never:
            assert_never(never)


def _log_trouble(event: EngineTrouble) -> None:
    """Once for each outage: the tries that follow say nothing new."""
    log = structlog.get_logger("agentclock")
    name = "database_unavailable" if event.is_outage else "engine_trouble"
    say = log.error if event.is_new else log.debug
    say(name, loop=event.loop, error=event.error, retry_in_seconds=event.retry_in_seconds)


def _log_started(event: AttemptStarted) -> None:
    run, log, facts = event.run, structlog.get_logger("agentclock"), _of_run(event)
    if run.instruction is None:
        log.info("attempt_started", **facts, late_ms=event.at - run.fire_at)
    else:
        instruction = run.instruction
        log.info("run_taken_up", **facts, instruction=instruction.kind.value, why=instruction.why, by=instruction.by)


def _log_settled(event: RunSettled) -> None:
    log, facts = structlog.get_logger("agentclock"), _of_run(event)
    if event.goes_on is not None:
        log.info("run_handed_over", **facts, instruction=event.goes_on.value, error=event.error)
    elif event.available_at is not None and not event.attempt_spent:
        # A thousand runs of a target that is away shall not say so a thousand times every half minute.
        say = log.debug if event.run.refusals else log.warning
        say("connection_refused", **facts, error=event.error, next_try=iso_utc(event.available_at))
    elif event.available_at is not None:
        log.warning("attempt_failed", **facts, error=event.error, next_attempt=iso_utc(event.available_at))
    elif event.status in (RunStatus.SUCCESS, RunStatus.PAUSED, RunStatus.CANCELLED):
        log.info(f"run_{event.status}", **facts, error=event.error)
    else:
        log.error(f"run_{event.status}", **facts, error=event.error)


def _of_run(event: AttemptStarted | RunSettled | RunTakenOver) -> dict[str, object]:
    return run_facts(event.run, event.schedule_name)


def _of_id(event: RunQueued | EventsLogged | RunChanged | ResultDropped, attempt: int) -> dict[str, object]:
    """The same, of an event that has no run."""
    named = {"schedule": event.schedule_name or event.schedule_id, "schedule_id": event.schedule_id}
    return {**named, "run": event.run_id, "attempt": attempt}
