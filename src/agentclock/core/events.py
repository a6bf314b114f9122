"""What happens in an engine, as typed values on one stream: logs, live views and metrics all read it.

What is left out of comparisons is only there to be told: the same thing has happened without it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from agentclock.core.model import Cause, Instant, InstructionKind, Json, Reason, Run, RunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQueued:
    run_id: str
    schedule_id: str
    schedule_name: str = ""
    fire_at: Instant
    cause: Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class FiresAbsent:
    """`count` due fires made no run; `status` is skipped or missed."""

    schedule_id: str
    schedule_name: str = ""
    ping_url: str | None = None
    status: RunStatus
    reason: Reason
    fire_at: Instant
    last_fire_at: Instant
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted:
    """`at` is the worker's clock just before the request leaves. A run with an instruction begins no attempt: its
    present one goes on in this worker's hands."""

    run: Run
    schedule_name: str
    ping_url: str | None = None
    at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEvent:
    """One event of the agent's own stream, relayed as it arrives; `type` is the agent framework's word."""

    run_id: str
    schedule_id: str
    type: str
    data: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsLogged:
    """Further events of a run are on record, up to number `seq`."""

    run_id: str
    schedule_id: str
    schedule_name: str = field(default="", compare=False)
    attempt: int = field(default=0, compare=False)
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunChanged:
    """A run's state was changed by a use case (trigger, cancel, continue) or the keeper, not by settling an attempt.

    `traceparent`: as the request that triggered it was sent with it (W3C Trace Context)."""

    run_id: str
    schedule_id: str
    schedule_name: str = field(default="", compare=False)
    attempt: int = field(default=0, compare=False)
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleChanged:
    """A schedule was created, changed, enabled, disabled or deleted."""

    schedule_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettled:
    """A worker is done with a run; `status` is the run's state after it (pending: it will be tried again).

    `attempt_spent` False: the target accepted nothing, the next try has the same number. `goes_on`: what whoever takes
    the run up next will do with the present attempt, whose agent is still there; None: the attempt ended.
    """

    run: Run
    schedule_name: str
    ping_url: str | None = None
    status: RunStatus
    available_at: Instant | None
    attempt_spent: bool
    error: str | None
    output: Json
    at: Instant
    goes_on: InstructionKind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultDropped:
    """Another worker owns the run by now; what this one found out counts no more."""

    run_id: str
    schedule_id: str = ""
    schedule_name: str = ""
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDeclaredDead:
    """This process's worker could not renew its lease in time; others own its `runs` runs now, it starts again."""

    worker: str
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTakenOver:
    """The keeper found a run whose worker died. `attaches`: its agent goes on and will be followed, else it is lost."""

    run: Run
    schedule_name: str
    attaches: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFaulty:
    schedule_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTrouble:
    """A loop's step failed; it goes on after `retry_in_seconds`. `is_outage`: the database is away. `is_new`: all was
    well before."""

    loop: str
    error: str
    retry_in_seconds: float
    is_outage: bool = True
    is_new: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRecovered:
    """Every loop that failed has done its step again, `after_seconds` since the first one failed."""

    after_seconds: float


Event: TypeAlias = (
    RunQueued
    | FiresAbsent
    | AttemptStarted
    | AgentEvent
    | EventsLogged
    | RunChanged
    | ScheduleChanged
    | RunSettled
    | ResultDropped
    | WorkerDeclaredDead
    | RunTakenOver
    | ScheduleFaulty
    | EngineTrouble
    | EngineRecovered
)
