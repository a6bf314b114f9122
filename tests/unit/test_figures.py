"""Figures out of runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclock.core.figures import duration_ms, lateness_ms, percentile, spread_of, success_rate
from agentclock.core.ids import spread_ms
from agentclock.core.model import Cause, Run

VALUES = st.lists(st.integers(0, 10_000), min_size=1, max_size=60)


def run(**fields: object) -> Run:
    return Run(**{"id": "r", "schedule_id": "s", "cause": Cause.SCHEDULE, "fire_at": 1_000} | fields)  # type: ignore[arg-type]


@given(VALUES, st.integers(1, 100))
def test_a_percentile_is_the_least_value_that_enough_do_not_exceed(values: list[int], percent: int) -> None:
    found = percentile(sorted(values), percent)
    reaching = [one for one in values if sum(other <= one for other in values) * 100 >= percent * len(values)]
    assert found == min(reaching)


@given(VALUES)
def test_a_spread_rises_and_counts(values: list[int]) -> None:
    spread = spread_of(values)
    assert spread is not None
    assert min(values) <= spread.p50 <= spread.p95 <= spread.p99 <= spread.most == max(values)
    assert spread.count == len(values)


def test_nothing_has_no_spread() -> None:
    assert spread_of([]) is None


def test_late_is_what_comes_after_the_fire_time_and_the_own_delay() -> None:
    delay = spread_ms("s", 30)
    assert delay > 0
    assert lateness_ms(run(started_at=1_000 + delay + 7), 30) == 7
    assert lateness_ms(run(started_at=1_007), 0) == 7


def test_a_clock_that_was_set_back_makes_nothing_early() -> None:
    assert lateness_ms(run(started_at=900), 0) == 0


@pytest.mark.parametrize("cause", [Cause.MANUAL, Cause.CATCH_UP, Cause.BACKFILL])
def test_only_fires_of_the_timetable_are_late(cause: Cause) -> None:
    assert lateness_ms(run(cause=cause, started_at=9_000), 0) is None


def test_what_has_not_begun_or_ended_has_no_figures() -> None:
    assert lateness_ms(run(), 0) is None
    assert duration_ms(run(started_at=1_000)) is None
    assert duration_ms(run(completed_at=1_000)) is None
    assert duration_ms(run(started_at=1_000, completed_at=1_250)) == 250


def test_the_success_rate_is_of_those_that_ended() -> None:
    assert success_rate(3, 1) == 0.75
    assert success_rate(0, 2) == 0
    assert success_rate(0, 0) is None
