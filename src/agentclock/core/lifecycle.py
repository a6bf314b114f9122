"""The run state machine: what follows from the end of an attempt.

pending -> running -> success | failed | timeout | cancelled | lost
                   -> paused -> pending              waits for a human; goes on with his answer, or is cancelled
                   -> pending                        another attempt, `available_at` in the future
                   -> pending                        let go by its worker while the agent goes on
skipped, missed are born final: a fire that made no run
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from agentclock.core.model import (
    SECOND,
    Claim,
    Instant,
    Instruction,
    InstructionKind,
    Outcome,
    OutcomeKind,
    RetryBackoff,
    RetryPolicy,
    RunStatus,
)

#: A target may ask for more patience than the retry delay (Retry-After), but not for more than a day.
RETRY_AFTER_CAP_SECONDS = 86_400

#: Pauses after a refused connection grow from the first to the second number.
REFUSAL_PAUSE_SECONDS = (1.0, 30.0)

#: How often a paused run is looked at, at first and at last: somebody may have answered it elsewhere.
REVIEW_SECONDS = (5, 60)

_ATTEMPT_END: Final = {
    OutcomeKind.SUCCESS: RunStatus.SUCCESS,
    OutcomeKind.FAILED: RunStatus.FAILED,
    OutcomeKind.REFUSED: RunStatus.FAILED,
    OutcomeKind.TIMEOUT: RunStatus.TIMEOUT,
    OutcomeKind.CANCELLED: RunStatus.CANCELLED,
    OutcomeKind.LOST: RunStatus.LOST,
    OutcomeKind.PAUSED: RunStatus.PAUSED,
    OutcomeKind.DETACHED: RunStatus.RUNNING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """One attempt's end and what follows, as the store writes it if `fence` still holds.

    `status` and `available_at` are the run's; `attempt` is the run's counter afterwards. `attempt_status` is the
    end of attempt number `attempt_number` (running: it goes on in other hands), or None when the attempt never
    happened and its row goes away. `instruction`: with what the run goes on. `approval_due_at`, `review_at`: as in
    `Run`. `claim`: what was settled, for those who tell of it.
    """

    run_id: str
    schedule_id: str
    fence: int
    status: RunStatus
    available_at: Instant | None
    completed_at: Instant | None
    attempt: int
    attempt_number: int
    attempt_status: RunStatus | None
    refusals: int
    ended_at: Instant
    outcome: Outcome
    instruction: Instruction | None = None
    review_at: Instant | None = None
    approval_due_at: Instant | None = None
    claim: Claim | None = field(default=None, repr=False, compare=False)

    @property
    def is_retry(self) -> bool:
        """Whether another attempt follows."""
        return self.status is RunStatus.PENDING and self.instruction is None


def settle(claim: Claim, outcome: Outcome, now: Instant) -> Settlement:
    """The consequence of `outcome` for the claimed run, by the schedule's retry policy."""
    run, policy = claim.run, claim.schedule.retry
    if outcome.kind is OutcomeKind.DETACHED:
        return _let_go(claim, outcome, now)
    if outcome.kind is OutcomeKind.REFUSED and not run.cancel_requested and (left_ms := _patience_left_ms(claim, now)):
        return _refused(claim, outcome, now, left_ms)
    ended, wanted = _end_of(claim, outcome), _wanted_end(claim)
    if wanted is not None and ended not in (RunStatus.SUCCESS, RunStatus.PAUSED):
        return _settlement(claim, outcome, now, wanted, None, wanted)
    if ended is RunStatus.PAUSED:
        return _paused(claim, outcome, now)
    if _may_retry(claim, outcome, ended) and run.attempt <= policy.max_retries:
        available_at = now + retry_delay_ms(policy, run.attempt, outcome.retry_after_seconds)
        return _settlement(claim, outcome, now, RunStatus.PENDING, available_at, ended)
    return _settlement(claim, outcome, now, ended, None, ended)


def attempt_end(outcome: Outcome) -> RunStatus:
    return _ATTEMPT_END[outcome.kind]


def retry_delay_ms(policy: RetryPolicy, attempt: int, retry_after_seconds: float | None = None) -> int:
    """How long the run waits after attempt number `attempt` (from 1) before the next."""
    delay = float(policy.delay_seconds)
    if policy.backoff is RetryBackoff.EXPONENTIAL:
        delay = min(delay * 2.0 ** min(attempt - 1, 32), max(policy.max_delay_seconds, policy.delay_seconds))
    if retry_after_seconds is not None:
        delay = max(delay, min(retry_after_seconds, RETRY_AFTER_CAP_SECONDS))
    return round(delay * SECOND)


def refusal_pause_ms(refusals: int) -> int:
    first, longest = REFUSAL_PAUSE_SECONDS
    return round(min(first * 2.0 ** min(refusals, 16), longest) * SECOND)


def _patience_left_ms(claim: Claim, now: Instant) -> int:
    """How much longer refused connections cost no attempt: the run's timeout, counted anew for each attempt.

    For the first attempt it counts from the run's start; for later ones, and for a run that has an agent run already
    (it may have waited for a human for days), by the pauses made so far.
    """
    run, timeout_ms = claim.run, claim.schedule.timeout_seconds * SECOND
    if run.attempt == 1 and run.instruction is None:
        used_ms = now - (now if run.started_at is None else run.started_at)
    else:
        used_ms = sum(refusal_pause_ms(earlier) for earlier in range(run.refusals))
    return max(0, timeout_ms - used_ms)


def next_review_at(paused_at: Instant, approval_due_at: Instant | None, now: Instant) -> Instant:
    """When to look at a paused run again: ever more rarely, but as soon as the time for approval is over."""
    soonest, rarest = (seconds * SECOND for seconds in REVIEW_SECONDS)
    review_at = now + min(max((now - paused_at) // 10, soonest), rarest)
    return review_at if approval_due_at is None else min(review_at, max(approval_due_at, now))


def _refused(claim: Claim, outcome: Outcome, now: Instant, patience_ms: int) -> Settlement:
    run = claim.run
    available_at = now + min(refusal_pause_ms(run.refusals), patience_ms)
    if run.instruction is None:
        return _settlement(claim, outcome, now, RunStatus.PENDING, available_at, None)
    return replace(_let_go(claim, outcome, now), available_at=available_at, refusals=run.refusals + 1)


def _let_go(claim: Claim, outcome: Outcome, now: Instant) -> Settlement:
    """Whoever takes the run up does what this worker was told to do; an attempt under way is watched on."""
    instruction = claim.run.instruction or Instruction(kind=InstructionKind.ATTACH)
    settlement = _settlement(claim, outcome, now, RunStatus.PENDING, now, RunStatus.RUNNING)
    return replace(settlement, instruction=instruction)


def _paused(claim: Claim, outcome: Outcome, now: Instant) -> Settlement:
    if _wanted_end(claim) is not None:
        told = claim.run.instruction
        if told is None or told.kind is not InstructionKind.CANCEL:
            told = Instruction(kind=InstructionKind.CANCEL, why="cancelled")
        return replace(_let_go(claim, outcome, now), instruction=told)
    timeout = claim.schedule.approval_timeout_seconds
    due_at = None if timeout is None else now + timeout * SECOND
    settlement = _settlement(claim, outcome, now, RunStatus.PAUSED, None, RunStatus.PAUSED)
    return replace(settlement, approval_due_at=due_at, review_at=next_review_at(now, due_at, now))


def _end_of(claim: Claim, outcome: Outcome) -> RunStatus:
    """How the attempt ended. Of an agent run whose AgentOS accepts no connection any more nobody knows how it ended."""
    if outcome.kind is OutcomeKind.REFUSED and claim.run.instruction is not None:
        return RunStatus.LOST
    return attempt_end(outcome)


def _wanted_end(claim: Claim) -> RunStatus | None:
    """What the run becomes because somebody wants it to end; such a run is never retried."""
    instruction = claim.run.instruction
    if instruction is not None and instruction.kind is InstructionKind.CANCEL:
        return instruction.ends_as
    return RunStatus.CANCELLED if claim.run.cancel_requested else None


def _may_retry(claim: Claim, outcome: Outcome, ended: RunStatus) -> bool:
    """A timeout always may be, a lost attempt if the schedule says so; the rest says so itself."""
    if ended is RunStatus.LOST:
        return claim.schedule.retries_lost
    if ended is RunStatus.TIMEOUT:
        return True
    return ended is RunStatus.FAILED and (outcome.retryable or outcome.kind is OutcomeKind.REFUSED)


def _settlement(
    claim: Claim,
    outcome: Outcome,
    now: Instant,
    status: RunStatus,
    available_at: Instant | None,
    attempt_status: RunStatus | None,
) -> Settlement:
    run = claim.run
    spent = attempt_status is not None
    return Settlement(
        run_id=run.id,
        schedule_id=run.schedule_id,
        fence=run.fence,
        status=status,
        available_at=available_at,
        completed_at=now if status.is_final else None,
        attempt=run.attempt if spent else run.attempt - 1,
        attempt_number=run.attempt,
        attempt_status=attempt_status,
        refusals=0 if spent else run.refusals + 1,
        ended_at=now,
        outcome=outcome,
        claim=claim,
    )
