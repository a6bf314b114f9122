"""The things agentclock speaks of. Plain frozen data: no behaviour that needs a clock or the world.

Instants are `int`: milliseconds since the Unix epoch, UTC. Their fields end in `_at`. Durations carry their unit
in the name (`_seconds`, `_ms`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

Instant: TypeAlias = int
Json: TypeAlias = Any

SECOND: Final = 1000
DAY_SECONDS: Final = 86_400


class RunStatus(StrEnum):
    """Run states; the same words in database, API and UI."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCESS = "success"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    LOST = "lost"
    SKIPPED = "skipped"
    MISSED = "missed"

    @property
    def is_final(self) -> bool:
        return self not in ACTIVE_STATUSES


#: What may be sent twice without harm.
REPEATABLE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})

ACTIVE_STATUSES: Final = frozenset({RunStatus.PENDING, RunStatus.RUNNING, RunStatus.PAUSED})


class Cause(StrEnum):
    SCHEDULE = "schedule"
    MANUAL = "manual"
    CATCH_UP = "catch_up"
    BACKFILL = "backfill"


class Overlap(StrEnum):
    """What happens to a fire while an earlier run of its schedule is still active."""

    SKIP = "skip"
    QUEUE = "queue"
    ALLOW = "allow"
    CANCEL = "cancel"


class CatchUp(StrEnum):
    """What an outage owes: the newest missed fire, nothing, or every one of them (capped)."""

    LATEST = "latest"
    NONE = "none"
    ALL = "all"


class RetryBackoff(StrEnum):
    FIXED = "fixed"
    EXPONENTIAL = "exponential"


class OnLost(StrEnum):
    """What follows when nobody knows how an attempt ended: another attempt (if any is left), or the end."""

    RETRY = "retry"
    FAIL = "fail"


class ApprovalAction(StrEnum):
    """How a paused run ends that no human answered in time."""

    CANCEL = "cancel"
    FAIL = "fail"


class Reason(StrEnum):
    """Why a fire made no run. The value is stored; `text` is what people read."""

    OVERLAP = "overlap"
    QUEUE_FULL = "queue_full"
    SUPERSEDED = "superseded"
    OUTSIDE_WINDOW = "outside_window"
    CATCH_UP_NONE = "catch_up_none"
    CATCH_UP_CAP = "catch_up_cap"
    CHANGED = "changed"

    @property
    def text(self) -> str:
        return _REASON_TEXT[self]


_REASON_TEXT: Final = {
    Reason.OVERLAP: "overlap: the previous run was still active",
    Reason.QUEUE_FULL: "overlap: the previous run was still active and another one was already waiting",
    Reason.SUPERSEDED: "misfire: only the newest missed fire is caught up (catch_up=latest)",
    Reason.OUTSIDE_WINDOW: "misfire: missed longer ago than the catch-up window",
    Reason.CATCH_UP_NONE: "misfire: missed fires are not caught up (catch_up=none)",
    Reason.CATCH_UP_CAP: "misfire: more fires were missed than one catch-up may run",
    Reason.CHANGED: "changed: the timetable was changed or disabled before this fire was planned",
}


class TargetType(StrEnum):
    AGENT = "agent"
    TEAM = "team"
    WORKFLOW = "workflow"


_RUN_ENDPOINT: Final = re.compile(r"/(agent|team|workflow)s/([^/?#]+)/runs/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is called: `endpoint` (a path) on the base URL that configuration knows as `name`."""

    name: str = "default"
    method: str = "POST"
    endpoint: str
    payload: Json = None

    @property
    def component(self) -> tuple[TargetType, str] | None:
        """The agent, team or workflow that the endpoint runs, or None for any other endpoint."""
        match = _RUN_ENDPOINT.fullmatch(self.endpoint)
        return (TargetType(match[1]), match[2]) if match and self.method == "POST" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """`max_retries` further attempts after the first; the n-th waits `delay_seconds`, doubled each time when
    exponential, never over `max_delay_seconds`."""

    max_retries: int = 0
    delay_seconds: int = 60
    backoff: RetryBackoff = RetryBackoff.FIXED
    max_delay_seconds: int = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A named rule: when (exactly one of cron_expr, run_at, interval_seconds, or none = on demand), in which zone,
    what to call, and the policies.

    `next_fire_at` None: nothing is due by itself. `last_fire_at`: the newest fire time that is accounted for.
    `anchor_at`: the fire time an interval counts from. `run_count`: fires that became runs, against `max_runs`.
    `timetable_since`: when the present timetable took effect; from then on fires and history rows must agree.
    `timeout_seconds` bounds an attempt, the wait for a human left out; `idle_timeout_seconds` its silence (None: not
    bounded); `approval_timeout_seconds` the wait for a human (None: for ever). `on_lost` None: as `retries_lost` says.
    `provenance`: for a schedule that an agent made, which run of which component did. `catch_up_limit`: no catch-up
    runs more fires than this, and they begin at least `catch_up_stagger_seconds` apart. `ping_url`: told of every start
    and end of a run, for dead man's switches.
    """

    id: str
    name: str
    description: str | None = None
    user_id: str | None = None
    target: Target
    cron_expr: str | None = None
    run_at: Instant | None = None
    interval_seconds: int | None = None
    anchor_at: Instant | None = None
    timezone: str = "UTC"
    start_at: Instant | None = None
    end_at: Instant | None = None
    max_runs: int | None = None
    jitter_seconds: int = 0
    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp = CatchUp.LATEST
    catch_up_window_seconds: int = DAY_SECONDS
    catch_up_limit: int = 100
    catch_up_stagger_seconds: int = 1
    misfire_grace_seconds: int = 60
    timeout_seconds: int = 3600
    idle_timeout_seconds: int | None = None
    approval_timeout_seconds: int | None = DAY_SECONDS
    approval_timeout_action: ApprovalAction = ApprovalAction.CANCEL
    on_lost: OnLost | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    tags: tuple[str, ...] = ()
    enabled: bool = True
    disabled_reason: str | None = None
    managed_by: str | None = None
    provenance: Json = None
    ping_url: str | None = None
    next_fire_at: Instant | None = None
    last_fire_at: Instant | None = None
    run_count: int = 0
    timetable_since: Instant = 0
    zone_data_version: str | None = None
    version: int = 1
    created_at: Instant = 0
    updated_at: Instant | None = None

    @property
    def retries_lost(self) -> bool:
        """Whether a lost attempt may be made again: as told, else if the method may be repeated (RFC 9110, 9.2.2)."""
        if self.on_lost is not None:
            return self.on_lost is OnLost.RETRY
        return self.target.method in REPEATABLE_METHODS


class InstructionKind(StrEnum):
    """What a worker does with a run that has an agent run already: watch it, answer it, or stop it."""

    ATTACH = "attach"
    CONTINUE = "continue"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What the next worker does with a run instead of starting an attempt. `by`: the person behind it.

    CONTINUE carries `answers`, the decision of a human on the run's requirements. CANCEL may carry `why` and the
    state that the run ends in.
    """

    kind: InstructionKind
    answers: Json = None
    by: str | None = None
    why: str | None = None
    ends_as: RunStatus = RunStatus.CANCELLED


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerNote:
    """What the trigger of a manual run said of it. `payload` counts instead of the schedule's if `has_payload`: it is
    the whole one, merged already. `by`: who triggered it. `retry_of`: the run that it does again."""

    reason: str | None = None
    by: str | None = None
    retry_of: str | None = None
    has_payload: bool = False
    payload: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The execution of one fire, all attempts included. For `skipped` and `missed`, one row stands for
    `fire_count` consecutive fires from `fire_at` to `last_fire_at`.

    `attempt` is the number of the latest attempt, 0 before the first. `fence` grows by one at each claim.
    `available_at` None on a pending run means: waits for the previous run of its schedule (overlap `queue`).
    `refusals` counts connections refused since the last accepted one; they spend no attempt.
    `instruction` set: the present attempt goes on, with the agent run that it has; no new one is started.
    `attempt_started_at`: since when the present attempt's timeout counts. `review_at`: when somebody must look at a
    paused run again, at the latest when `approval_due_at` has come.
    """

    id: str
    schedule_id: str
    user_id: str | None = None
    cause: Cause
    fire_at: Instant
    last_fire_at: Instant | None = None
    fire_count: int = 1
    status: RunStatus = RunStatus.PENDING
    reason: Reason | None = None
    attempt: int = 0
    refusals: int = 0
    available_at: Instant | None = None
    worker_id: str | None = None
    worker: str | None = None
    fence: int = 0
    cancel_requested: bool = False
    instruction: Instruction | None = None
    created_at: Instant = 0
    started_at: Instant | None = None
    attempt_started_at: Instant | None = None
    paused_at: Instant | None = None
    review_at: Instant | None = None
    approval_due_at: Instant | None = None
    completed_at: Instant | None = None
    status_code: int | None = None
    agent_run_id: str | None = None
    session_id: str | None = None
    error: str | None = None
    input: Json = None
    output: Json = None
    requirements: Json = None
    metrics: Json = None
    trigger_note: TriggerNote | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of a run, counted from 1."""

    run_id: str
    number: int
    status: RunStatus = RunStatus.RUNNING
    worker: str | None = None
    started_at: Instant = 0
    completed_at: Instant | None = None
    status_code: int | None = None
    agent_run_id: str | None = None
    error: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What an agent run used up. None: the agent framework did not say. `cost` in the framework's currency."""

    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A run that this worker holds, with the schedule as it stands now; `run.fence` is the fencing token.

    `elapsed_ms`: how much of the attempt's timeout was used before this claim (another worker held it).
    """

    run: Run
    schedule: Schedule
    elapsed_ms: int = 0


class OutcomeKind(StrEnum):
    SUCCESS = "success"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    LOST = "lost"
    PAUSED = "paused"
    REFUSED = "refused"
    DETACHED = "detached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an executor (or the keeper, for a lost worker) says of one attempt.

    `retryable` says whether the same call could succeed next time; `retry_after_seconds` is the target's own wish.
    REFUSED means that the target accepted nothing: no connection, so trying again costs no attempt.
    DETACHED: the worker lets go of a run whose agent goes on; another worker takes it up.
    `disables`: the schedule must not fire again, for this reason; it is disabled when the run is settled.
    """

    kind: OutcomeKind
    retryable: bool = False
    retry_after_seconds: float | None = None
    status_code: int | None = None
    error: str | None = None
    agent_run_id: str | None = None
    session_id: str | None = None
    input: Json = None
    output: Json = None
    requirements: Json = None
    metrics: Json = None
    usage: Usage | None = None
    disables: str | None = None
