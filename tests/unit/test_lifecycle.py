"""What follows from the end of an attempt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agentclock.core.lifecycle import REFUSAL_PAUSE_SECONDS, RETRY_AFTER_CAP_SECONDS, retry_delay_ms, settle
from agentclock.core.model import (
    Cause,
    Claim,
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


def claim(max_retries: int = 0, *, attempt: int = 1, **changes: Any) -> Claim:
    schedule = Schedule(
        id="s",
        name="s",
        target=Target(endpoint="/x"),
        retry=RetryPolicy(max_retries=max_retries, delay_seconds=60),
        timeout_seconds=100,
    )
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


def test_paused_is_not_over() -> None:
    settled = settle(claim(max_retries=3), Outcome(kind=OutcomeKind.PAUSED), T0)
    assert (settled.status, settled.completed_at) == (RunStatus.PAUSED, None)


@pytest.mark.parametrize("kind", [OutcomeKind.TIMEOUT, OutcomeKind.LOST])
def test_timeouts_and_lost_workers_spend_an_attempt_and_may_be_retried(kind: OutcomeKind) -> None:
    first = settle(claim(max_retries=1), Outcome(kind=kind), T0)
    assert (first.status, first.attempt, first.available_at) == (RunStatus.PENDING, 1, T0 + 60_000)
    last = settle(claim(max_retries=1, attempt=2), Outcome(kind=kind), T0)
    assert last.status.is_final


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
