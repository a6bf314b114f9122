"""What follows from the end of an attempt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agentclock.core.lifecycle import (
    REFUSAL_PAUSE_SECONDS,
    RETRY_AFTER_CAP_SECONDS,
    next_review_at,
    retry_delay_ms,
    settle,
)
from agentclock.core.model import (
    DAY_SECONDS,
    SECOND,
    Cause,
    Claim,
    Instruction,
    InstructionKind,
    OnLost,
    Outcome,
    OutcomeKind,
    RetryBackoff,
    RetryPolicy,
    Run,
    RunStatus,
    Schedule,
    Target,
)

T0 = 1_767_225_600_000
RETRYABLE = Outcome(kind=OutcomeKind.FAILED, retryable=True, error="503")
CONTINUE = Instruction(kind=InstructionKind.CONTINUE, answers={"approved": True}, by="ann")
CANCEL = Instruction(kind=InstructionKind.CANCEL, why="not approved within 60 s", ends_as=RunStatus.FAILED)


def claim(
    max_retries: int = 0, *, attempt: int = 1, schedule_changes: dict[str, Any] | None = None, **changes: Any
) -> Claim:
    blank = Schedule(
        id="s",
        name="s",
        target=Target(endpoint="/x"),
        retry=RetryPolicy(max_retries=max_retries, delay_seconds=60),
        timeout_seconds=100,
    )
    schedule = replace(blank, **(schedule_changes or {}))
    run = Run(
        id="r",
        schedule_id="s",
        cause=Cause.SCHEDULE,
        fire_at=T0,
        status=RunStatus.RUNNING,
        attempt=attempt,
        fence=attempt,
        started_at=T0,
    )
    return Claim(run=replace(run, **changes), schedule=schedule)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (OutcomeKind.SUCCESS, RunStatus.SUCCESS),
        (OutcomeKind.FAILED, RunStatus.FAILED),
        (OutcomeKind.TIMEOUT, RunStatus.TIMEOUT),
        (OutcomeKind.CANCELLED, RunStatus.CANCELLED),
        (OutcomeKind.LOST, RunStatus.LOST),
    ],
)
def test_without_retries_every_end_is_final(kind: OutcomeKind, status: RunStatus) -> None:
    settled = settle(claim(), Outcome(kind=kind, retryable=True), T0 + 5)
    assert (settled.status, settled.attempt_status, settled.completed_at) == (status, status, T0 + 5)
    assert settled.available_at is None
    assert settled.fence == 1


def test_paused_is_not_over_and_somebody_looks_at_it_again() -> None:
    settled = settle(claim(max_retries=3), Outcome(kind=OutcomeKind.PAUSED), T0)
    assert (settled.status, settled.attempt_status, settled.completed_at) == (RunStatus.PAUSED, RunStatus.PAUSED, None)
    assert (settled.approval_due_at, settled.review_at) == (T0 + DAY_SECONDS * SECOND, T0 + 5_000)
    assert settled.instruction is None
    hasty = settle(claim(schedule_changes={"approval_timeout_seconds": 3}), Outcome(kind=OutcomeKind.PAUSED), T0)
    assert (hasty.approval_due_at, hasty.review_at) == (T0 + 3_000, T0 + 3_000)
    patient = settle(claim(schedule_changes={"approval_timeout_seconds": None}), Outcome(kind=OutcomeKind.PAUSED), T0)
    assert (patient.approval_due_at, patient.review_at) == (None, T0 + 5_000)


def test_paused_runs_are_looked_at_ever_more_rarely_but_never_late() -> None:
    hour = 3_600_000
    assert [next_review_at(T0, None, T0 + age) - T0 - age for age in (0, 100_000, 300_000, 24 * hour)] == [
        5_000,
        10_000,
        30_000,
        60_000,
    ]
    assert next_review_at(T0, T0 + hour, T0 + hour - 1_000) == T0 + hour
    assert next_review_at(T0, T0 + hour, T0 + hour + 1_000) == T0 + hour + 1_000


def test_a_timeout_spends_an_attempt_and_may_be_retried() -> None:
    first = settle(claim(max_retries=1), Outcome(kind=OutcomeKind.TIMEOUT), T0)
    assert (first.status, first.attempt, first.available_at) == (RunStatus.PENDING, 1, T0 + 60_000)
    last = settle(claim(max_retries=1, attempt=2), Outcome(kind=OutcomeKind.TIMEOUT), T0)
    assert last.status is RunStatus.TIMEOUT


@pytest.mark.parametrize(
    ("method", "on_lost", "again"),
    [
        ("POST", None, False),
        ("PATCH", None, False),
        ("GET", None, True),
        ("PUT", None, True),
        ("POST", OnLost.RETRY, True),
        ("GET", OnLost.FAIL, False),
    ],
)
def test_what_may_have_happened_is_repeated_only_if_that_does_no_harm(
    method: str, on_lost: OnLost | None, again: bool
) -> None:
    told = {"target": Target(endpoint="/x", method=method), "on_lost": on_lost}
    lost = settle(claim(max_retries=1, schedule_changes=told), Outcome(kind=OutcomeKind.LOST), T0)
    assert (lost.status, lost.attempt_status) == (RunStatus.PENDING if again else RunStatus.LOST, RunStatus.LOST)
    assert lost.is_retry is again
    last = settle(claim(max_retries=1, attempt=2, schedule_changes=told), Outcome(kind=OutcomeKind.LOST), T0)
    assert last.status is RunStatus.LOST


def test_only_what_can_succeed_next_time_is_retried() -> None:
    assert settle(claim(max_retries=2), RETRYABLE, T0).status is RunStatus.PENDING
    final = settle(claim(max_retries=2), Outcome(kind=OutcomeKind.FAILED, status_code=404), T0)
    assert final.status is RunStatus.FAILED


def test_a_cancel_is_never_retried() -> None:
    assert settle(claim(max_retries=5), Outcome(kind=OutcomeKind.CANCELLED), T0).status is RunStatus.CANCELLED
    asked = settle(claim(max_retries=5, cancel_requested=True), RETRYABLE, T0)
    assert asked.status is RunStatus.CANCELLED
    too_late = settle(claim(cancel_requested=True), Outcome(kind=OutcomeKind.SUCCESS), T0)
    assert too_late.status is RunStatus.SUCCESS


def test_a_refused_connection_spends_no_attempt_within_the_timeout() -> None:
    refused = Outcome(kind=OutcomeKind.REFUSED, error="connection refused")
    first = settle(claim(), refused, T0 + 10)
    assert (first.status, first.attempt, first.refusals, first.attempt_status) == (RunStatus.PENDING, 0, 1, None)
    assert first.available_at == T0 + 10 + REFUSAL_PAUSE_SECONDS[0] * 1000
    later = settle(claim(refusals=20), refused, T0 + 10)
    assert later.available_at == T0 + 10 + REFUSAL_PAUSE_SECONDS[1] * 1000
    near_the_end = settle(claim(refusals=20), refused, T0 + 99_000)
    assert near_the_end.available_at == T0 + 100_000
    over = settle(claim(refusals=20), refused, T0 + 100_000)
    assert (over.status, over.attempt) == (RunStatus.FAILED, 1)
    retried = settle(claim(max_retries=1, refusals=20), refused, T0 + 100_000)
    assert (retried.status, retried.attempt, retried.available_at) == (RunStatus.PENDING, 1, T0 + 160_000)


def test_each_attempt_may_be_refused_for_the_length_of_the_timeout() -> None:
    refused, late = Outcome(kind=OutcomeKind.REFUSED, error="connection refused"), T0 + 10_000_000
    second = settle(claim(max_retries=1, attempt=2), refused, late)
    assert (second.status, second.attempt, second.attempt_status) == (RunStatus.PENDING, 1, None)
    ended = settle(claim(max_retries=1, attempt=2, refusals=8), refused, late)
    assert (ended.status, ended.attempt_status) == (RunStatus.FAILED, RunStatus.FAILED)


@pytest.mark.parametrize("told", [None, CONTINUE, CANCEL])
def test_a_run_that_is_let_go_of_goes_on_with_what_it_was_told(told: Instruction | None) -> None:
    settled = settle(claim(max_retries=1, attempt=2, instruction=told), Outcome(kind=OutcomeKind.DETACHED), T0)
    assert (settled.status, settled.available_at, settled.completed_at) == (RunStatus.PENDING, T0, None)
    assert (settled.attempt, settled.attempt_number, settled.attempt_status) == (2, 2, RunStatus.RUNNING)
    assert settled.instruction == (told or Instruction(kind=InstructionKind.ATTACH))
    assert not settled.is_retry


def test_a_run_with_an_agent_run_waits_for_its_agentos_and_keeps_its_attempt() -> None:
    refused, long_after = Outcome(kind=OutcomeKind.REFUSED, error="connection refused"), T0 + 10 * DAY_SECONDS * SECOND
    held = claim(max_retries=3, instruction=CONTINUE, refusals=1)
    settled = settle(held, refused, long_after)
    assert (settled.status, settled.instruction, settled.attempt) == (RunStatus.PENDING, CONTINUE, 1)
    assert (settled.attempt_status, settled.refusals) == (RunStatus.RUNNING, 2)
    assert settled.available_at == long_after + 2_000
    # Nobody knows what became of the agent run: another attempt might be a second one beside it.
    given_up = settle(claim(max_retries=3, instruction=CONTINUE, refusals=9), refused, long_after)
    assert (given_up.status, given_up.attempt_status) == (RunStatus.LOST, RunStatus.LOST)


def test_a_run_that_pauses_after_it_was_to_be_cancelled_is_cancelled() -> None:
    paused = Outcome(kind=OutcomeKind.PAUSED)
    asked = settle(claim(cancel_requested=True), paused, T0)
    assert (asked.status, asked.available_at) == (RunStatus.PENDING, T0)
    assert asked.instruction == Instruction(kind=InstructionKind.CANCEL, why="cancelled")
    told = settle(claim(instruction=CANCEL), paused, T0)
    assert (told.status, told.instruction) == (RunStatus.PENDING, CANCEL)


@pytest.mark.parametrize("outcome", [RETRYABLE, *(Outcome(kind=kind) for kind in OutcomeKind)])
def test_a_run_that_is_to_end_is_never_tried_again(outcome: Outcome) -> None:
    """Not approved in time: it ends as the schedule says, whatever the agent's last word was."""
    held = claim(max_retries=5, instruction=CANCEL, refusals=99, schedule_changes={"on_lost": OnLost.RETRY})
    settled = settle(held, outcome, T0)
    match outcome.kind:
        case OutcomeKind.SUCCESS:
            assert settled.status is RunStatus.SUCCESS
        case OutcomeKind.PAUSED | OutcomeKind.DETACHED:
            assert settled.instruction == CANCEL
        case _:
            assert (settled.status, settled.attempt_status) == (RunStatus.FAILED, RunStatus.FAILED)


def test_delays() -> None:
    fixed = RetryPolicy(max_retries=9, delay_seconds=30)
    assert [retry_delay_ms(fixed, n) for n in (1, 2, 9)] == [30_000] * 3
    growing = RetryPolicy(max_retries=9, delay_seconds=30, backoff=RetryBackoff.EXPONENTIAL, max_delay_seconds=200)
    assert [retry_delay_ms(growing, n) for n in (1, 2, 3, 4, 10)] == [30_000, 60_000, 120_000, 200_000, 200_000]


def test_retry_after_is_honoured_but_not_for_ever() -> None:
    policy = RetryPolicy(max_retries=1, delay_seconds=30)
    assert retry_delay_ms(policy, 1, retry_after_seconds=90) == 90_000
    assert retry_delay_ms(policy, 1, retry_after_seconds=1) == 30_000
    assert retry_delay_ms(policy, 1, retry_after_seconds=1e9) == RETRY_AFTER_CAP_SECONDS * 1000
