"""What needs attention, and in which order."""

from __future__ import annotations

import pytest

from agentclock.core.concerns import (
    Concern,
    ConcernKind,
    Severity,
    failures_in_a_row,
    is_long,
    length_text,
    most_urgent_first,
    usual_ms,
)
from agentclock.core.model import Cause, RunStatus
from agentclock.ports import RunMark

S = RunStatus


def marks(*statuses: RunStatus, took_ms: int = 1_000) -> list[RunMark]:
    """Newest first."""
    return [
        RunMark(
            run_id=str(number),
            schedule_id="s",
            cause=Cause.SCHEDULE,
            status=status,
            fire_at=1_000 - number,
            started_at=0,
            completed_at=took_ms + number,
        )
        for number, status in enumerate(statuses)
    ]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((S.FAILED, S.TIMEOUT, S.LOST, S.SUCCESS, S.FAILED), ["0", "1", "2"]),
        ((S.SUCCESS, S.FAILED), []),
        ((S.RUNNING, S.SKIPPED, S.FAILED, S.MISSED, S.CANCELLED, S.FAILED, S.SUCCESS), ["2", "5"]),
        ((S.RUNNING, S.SUCCESS, S.FAILED), []),
        ((), []),
    ],
)
def test_failures_in_a_row_end_at_the_newest_success(statuses: tuple[RunStatus, ...], expected: list[str]) -> None:
    assert [mark.run_id for mark in failures_in_a_row(marks(*statuses))] == expected


def test_how_long_runs_take_is_known_from_those_that_went_well() -> None:
    assert usual_ms(marks(*[S.SUCCESS] * 5)) == 1_004
    assert usual_ms(marks(*[S.SUCCESS] * 4, *[S.FAILED] * 9)) is None


def test_long_is_three_times_as_long_and_a_minute() -> None:
    assert is_long(60_000, 19_000)
    assert not is_long(59_999, 10)
    assert not is_long(180_000, 60_000)
    assert is_long(180_001, 60_000)


def test_the_most_urgent_comes_first_then_the_weightiest_then_the_newest() -> None:
    expected = [
        Concern(kind=ConcernKind.NO_WORKER, severity=Severity.URGENT, title="1"),
        Concern(kind=ConcernKind.FAILING, severity=Severity.URGENT, title="2", since=9),
        Concern(kind=ConcernKind.FAILING, severity=Severity.URGENT, title="3", since=3),
        Concern(kind=ConcernKind.OVERDUE, severity=Severity.WARNING, title="4", since=99),
        Concern(kind=ConcernKind.MISSED, severity=Severity.NOTICE, title="5", since=99),
    ]
    assert most_urgent_first(reversed(expected)) == expected


@pytest.mark.parametrize(
    ("length_ms", "text"),
    [
        (0, "0 s"),
        (999, "0 s"),
        (61_000, "1 min 1 s"),
        (3_600_000, "1 h"),
        (7_505_000, "2 h 5 min"),
        (90_061_000, "1 d 1 h"),
    ],
)
def test_lengths_are_told_in_two_units(length_ms: int, text: str) -> None:
    assert length_text(length_ms) == text
