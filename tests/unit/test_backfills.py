"""Which fires of the past a backfill runs: the pure part."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agentclock.core.backfills import Backfill, Choice, Existing, choose, fires_between, run_id_of, runs_of, state_of
from agentclock.core.ids import backfill_run_id, fire_run_id
from agentclock.core.instants import iso_utc
from agentclock.core.model import Cause, Run, RunStatus, Schedule, Target

HOUR = 3_600_000
T0 = 1_767_225_600_000  # 2026-01-01T00:00:00Z
SUCCESS, FAILED, RUNNING, PAUSED = RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.RUNNING, RunStatus.PAUSED


def schedule(**changes: Any) -> Schedule:
    base = Schedule(id="s1", name="s", target=Target(endpoint="/x"), cron_expr="0 * * * *", created_at=T0)
    return replace(base, **changes)


def hours(fires: list[int]) -> list[float]:
    return [(fire_at - T0) / HOUR for fire_at in fires]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [1, 2, 3, 4]),
        ({"start_at": T0 + 2 * HOUR}, [2, 3, 4]),
        ({"start_at": T0 + 2 * HOUR + 1}, [3, 4]),
        ({"end_at": T0 + 3 * HOUR}, [1, 2, 3]),
        ({"end_at": T0}, []),
        ({"start_at": T0 + 9 * HOUR}, []),
        ({"max_runs": 1, "run_count": 1}, [1, 2, 3, 4]),
        ({"enabled": False, "next_fire_at": None, "last_fire_at": T0 + 99 * HOUR}, [1, 2, 3, 4]),
        ({"cron_expr": None, "run_at": T0 + 2 * HOUR}, [2]),
        ({"cron_expr": None, "run_at": T0 + 5 * HOUR}, []),
        ({"cron_expr": None, "interval_seconds": 5_400, "anchor_at": T0}, [1.5, 3, 4.5]),
        ({"cron_expr": None, "interval_seconds": 5_400, "anchor_at": T0 + 3 * HOUR}, [3, 4.5]),
        ({"cron_expr": ""}, []),
    ],
)
def test_fires_from_one_until_five(changes: dict[str, Any], expected: list[float]) -> None:
    assert hours(fires_between(schedule(**changes), T0 + HOUR, T0 + 5 * HOUR, 100)) == expected


def test_the_first_instant_counts_and_the_last_does_not() -> None:
    assert hours(fires_between(schedule(), T0, T0, 100)) == []
    assert hours(fires_between(schedule(), T0, T0 + 1, 100)) == [0]
    assert hours(fires_between(schedule(), T0 + 1, T0 + HOUR, 100)) == []
    assert hours(fires_between(schedule(), T0, T0 + 9 * HOUR, 2)) == [0, 1]


def test_a_night_in_which_an_hour_comes_twice() -> None:
    local = schedule(cron_expr="30 2 * * *", timezone="Europe/Berlin")
    fires = fires_between(local, 1_792_792_800_000, 1_792_792_800_000 + 48 * HOUR, 100)
    assert [iso_utc(fire_at)[:16] for fire_at in fires] == ["2026-10-24T00:30", "2026-10-25T00:30"]


@pytest.mark.parametrize(
    ("states", "skip", "failed", "all_"),
    [
        # by the number of the run: 0 is the schedule's own; None is none (a missed fire, say)
        ([None], 1, 1, 1),
        ([SUCCESS], None, None, 1),
        ([FAILED], None, 1, 1),
        ([RunStatus.LOST], None, 1, 1),
        ([RunStatus.TIMEOUT], None, 1, 1),
        ([RunStatus.CANCELLED], None, 1, 1),
        ([RUNNING], None, None, None),
        ([PAUSED], None, None, None),
        ([None, SUCCESS], None, None, 2),
        ([FAILED, SUCCESS], None, None, 2),
        ([SUCCESS, FAILED], None, 2, 2),
        ([FAILED, None], None, 2, 2),
        ([None, None], 2, 2, 2),
        ([RUNNING, FAILED], None, None, None),
        ([None, FAILED, RunStatus.PENDING], None, None, None),
    ],
)
def test_what_is_run_again(
    states: list[RunStatus | None], skip: int | None, failed: int | None, all_: int | None
) -> None:
    chosen = [choose(T0, states, existing).number for existing in (Existing.SKIP, Existing.FAILED, Existing.ALL)]
    assert chosen == [skip, failed, all_]


def test_what_is_found_is_the_newest_run() -> None:
    assert choose(T0, [SUCCESS, FAILED], Existing.SKIP) == Choice(fire_at=T0, number=None, found=FAILED)
    assert choose(T0, [FAILED, None], Existing.FAILED).found is FAILED
    assert choose(T0, [None], Existing.SKIP).found is None


@pytest.mark.parametrize(
    ("status", "attempt", "state"),
    [
        (SUCCESS, 1, SUCCESS),
        (RunStatus.PENDING, 0, RunStatus.PENDING),
        (RunStatus.MISSED, 0, None),
        (RunStatus.SKIPPED, 0, None),
        (RunStatus.CANCELLED, 0, None),
        (RunStatus.CANCELLED, 1, RunStatus.CANCELLED),
    ],
)
def test_what_is_a_run(status: RunStatus, attempt: int, state: RunStatus | None) -> None:
    run = Run(id="1", schedule_id="s1", cause=Cause.SCHEDULE, fire_at=T0, status=status, attempt=attempt)
    assert state_of(run) is state


def test_the_runs_of_a_backfill() -> None:
    made = Backfill(id="b", schedule_id="s1", from_at=T0, until_at=T0 + HOUR, created_at=T0 + 5)
    choices = [Choice(fire_at=T0 + n, number=number) for n, number in enumerate((1, None, 3))]
    first, second = runs_of(made, schedule(user_id="ada"), choices)
    assert (first.id, second.id) == (backfill_run_id("s1", T0, 1), backfill_run_id("s1", T0 + 2, 3))
    assert (first.cause, first.status, first.available_at) == (Cause.BACKFILL, RunStatus.PENDING, None)
    assert (first.user_id, first.created_at, first.fire_at) == ("ada", T0 + 5, T0)


def test_the_ids_that_a_fire_may_have() -> None:
    assert run_id_of("s1", T0, 0) == fire_run_id("s1", T0)
    assert run_id_of("s1", T0, 2) == backfill_run_id("s1", T0, 2)
