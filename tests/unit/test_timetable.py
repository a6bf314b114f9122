"""Fire times of one-offs, intervals and bounds; cron itself has tests of its own."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentclock.core.ids import attempt_run_id, fire_run_id, run_session_id, uuid7
from agentclock.core.model import Schedule, Target
from agentclock.core.timetable import Interval, OneOff, next_fire

T0 = 1_767_225_600_000
MINUTE = 60_000


def schedule(**changes: Any) -> Schedule:
    return replace(Schedule(id="s", name="s", target=Target(endpoint="/x"), created_at=T0), **changes)


def test_on_demand_is_never_due() -> None:
    assert next_fire(schedule(), T0) is None
    assert next_fire(schedule(cron_expr=""), T0) is None


def test_one_off() -> None:
    assert OneOff(T0).next(T0 - 1) == T0
    assert OneOff(T0).next(T0) is None
    assert OneOff(T0).between(T0 - 1, T0, 5) == [T0]


def test_interval_counts_from_its_anchor() -> None:
    every = Interval(7_000, T0)
    assert every.next(T0 - 1) == T0
    assert every.next(T0) == T0 + 7_000
    assert every.between(T0, T0 + 21_000, 2) == [T0 + 7_000, T0 + 14_000]


@given(st.integers(1, 10**7), st.integers(-(10**10), 10**10))
def test_interval_next_is_the_first_multiple_after(period: int, offset: int) -> None:
    every = Interval(period, T0)
    found = every.next(T0 + offset)
    assert found > T0 + offset
    assert (found - T0) % period == 0
    assert found - period <= max(T0 + offset, T0 - period)


@given(st.integers(1, 10**5), st.integers(-(10**6), 10**6), st.integers(0, 10**6))
def test_fires_of_an_interval_are_counted_without_listing_them(period: int, offset: int, length: int) -> None:
    every = Interval(period, T0)
    after, until = T0 + offset, T0 + offset + length
    assert every.count(after, until) == len(every.between(after, until, length + 1))
    assert every.count(until, after - 1) == 0
    assert every.count(T0, T0 + 10**15 * period) == 10**15


def test_fires_of_a_one_off_are_counted() -> None:
    assert [OneOff(T0).count(T0 + a, T0 + b) for a, b in ((-1, 0), (0, 1), (-2, -1), (-1, 9))] == [1, 0, 0, 1]


def test_bounds() -> None:
    cron = {"cron_expr": "* * * * *"}
    assert next_fire(schedule(**cron, start_at=T0 + 5 * MINUTE), T0) == T0 + 5 * MINUTE
    assert next_fire(schedule(**cron, end_at=T0 + MINUTE), T0) == T0 + MINUTE
    assert next_fire(schedule(**cron, end_at=T0 + MINUTE), T0 + MINUTE) is None
    assert next_fire(schedule(**cron, max_runs=1, run_count=1), T0) is None
    assert next_fire(schedule(**cron, last_fire_at=T0 + 9 * MINUTE), T0) == T0 + 10 * MINUTE


def test_run_ids_sort_by_fire_time_and_never_collide() -> None:
    ids = [fire_run_id("a", T0 + n) for n in range(100)]
    assert ids == sorted(ids)
    assert len({fire_run_id(s, T0) for s in map(str, range(1_000))}) == 1_000
    assert uuid.UUID(ids[0]).version == 8
    assert uuid.UUID(ids[0]).variant == uuid.RFC_4122
    manual = uuid.UUID(uuid7(T0, b"\xff" * 10))
    assert (manual.version, manual.variant) == (7, uuid.RFC_4122)
    assert manual.int >> 80 == T0


def test_agent_run_ids_differ_by_attempt_and_share_a_session() -> None:
    run_id = fire_run_id("a", T0)
    assert attempt_run_id(run_id, 1) != attempt_run_id(run_id, 2)
    assert attempt_run_id(run_id, 1) == attempt_run_id(run_id, 1)
    assert run_session_id(run_id) not in {attempt_run_id(run_id, 1), run_id}
