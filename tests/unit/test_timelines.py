"""Bins, fires to come, and the seams where clocks change."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclock.core.model import DAY_SECONDS, SECOND, Instant, Schedule, Target
from agentclock.core.timelines import MINUTE_MS, Busiest, Grid, forecast, planned_fires, seams
from agentclock.core.timetable import next_fire

HOUR = 3600 * SECOND
DAY = DAY_SECONDS * SECOND
#: Clocks go forward in Berlin; two hours before that it is NOW.
JUMP = 1_774_746_000_000
NOW = JUMP - 2 * HOUR
EVERYTHING = 10**9

TIMINGS: tuple[dict[str, Any], ...] = (
    {"cron_expr": "*/15 * * * *"},
    {"cron_expr": "30 2 * * *", "timezone": "Europe/Berlin"},
    {"cron_expr": "0 * * * *", "timezone": "Asia/Kolkata"},
    {"cron_expr": "0 9 * * mon-fri", "timezone": "America/New_York"},
    {"interval_seconds": 1_000, "anchor_at": NOW - 12_345},
    {"interval_seconds": 20, "anchor_at": NOW - 5_000},
    {"run_at": NOW + 3 * HOUR},
    {},
)


def armed(name: str = "one", **fields: Any) -> Schedule:
    """As it stands at NOW: due next as its timetable says, unless told otherwise."""
    target = Target(endpoint="/agents/one/runs")
    made = Schedule(**{"id": name, "name": name, "target": target, "created_at": NOW - DAY} | fields)
    return made if "next_fire_at" in fields or not made.enabled else replace(made, next_fire_at=next_fire(made, NOW))


def step_by_step(schedule: Schedule, since: Instant, until: Instant) -> list[Instant]:
    """As the planner would fire it, one after another."""
    found, at = [], schedule.next_fire_at
    while at is not None and at < until and (schedule.max_runs is None or schedule.run_count < schedule.max_runs):
        found.append(at)
        schedule = replace(schedule, run_count=schedule.run_count + 1, last_fire_at=at)
        at = next_fire(schedule, at)
    return [at for at in found if at >= since]


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    fields = dict(draw(st.sampled_from(TIMINGS)))
    if draw(st.booleans()):
        fields["start_at"] = NOW + draw(st.integers(-5, 5)) * HOUR
    if draw(st.booleans()):
        fields["end_at"] = NOW + draw(st.integers(1, 12)) * HOUR
    if draw(st.booleans()):
        fields |= {"max_runs": draw(st.integers(1, 9)), "run_count": draw(st.integers(0, 9))}
    if draw(st.integers(0, 3)) == 0:
        fields["next_fire_at"] = NOW + draw(st.integers(-90, 90)) * MINUTE_MS  # overdue, or asked for
    name = draw(st.sampled_from(["ann", "bob", "cid", "dan"]))
    return armed(name, enabled=draw(st.integers(0, 5)) > 0, **fields)


@given(schedules(), st.integers(-3, 3), st.integers(1, 14))
def test_the_fires_to_come_are_those_that_the_planner_will_see(schedule: Schedule, begin: int, hours: int) -> None:
    since = NOW + begin * HOUR
    until = since + hours * HOUR
    expected = step_by_step(schedule, since, until) if schedule.enabled else []
    assert planned_fires(schedule, since, until, EVERYTHING) == expected
    assert planned_fires(schedule, since, until, 3) == expected[:3]


@given(st.lists(schedules(), max_size=8), st.integers(1, 50))
def test_a_forecast_adds_up_every_schedule(several: list[Schedule], bins: int) -> None:
    grid = Grid(since=NOW - HOUR, until=NOW + 7 * HOUR + 1, bins=bins)
    fires = [(at, one.name) for one in several if one.enabled for at in step_by_step(one, grid.since, grid.until)]
    found = forecast(several, grid, most_fires=EVERYTHING)
    number = Counter((at - grid.since) * bins // (grid.until - grid.since) for at, _ in fires)
    assert found.bins == tuple(number[place] for place in range(bins))
    assert found.is_complete
    minutes = Counter(at // MINUTE_MS for at, _ in fires)
    if not fires:
        assert found.busiest is None
        return
    most = max(minutes.values())
    busiest = min(minute for minute, count in minutes.items() if count == most)
    assert found.busiest is not None
    assert (found.busiest.at, found.busiest.fires) == (busiest * MINUTE_MS, most)
    assert set(found.busiest.names) <= {name for at, name in fires if at // MINUTE_MS == busiest}


def test_each_distinct_timetable_is_computed_once() -> None:
    """A thousand schedules in three timetables: they cost 25 fires to find, and 8,333 are counted."""
    several = [armed(f"{number:04}", cron_expr=f"{number % 3} * * * *") for number in range(1_000)]
    grid = Grid(since=NOW, until=NOW + 8 * HOUR + 2 * MINUTE_MS, bins=1)
    found = forecast(several, grid, most_fires=25)
    assert (found.bins, found.is_complete) == ((334 * 8 + 333 * 9 + 333 * 8,), True)
    assert found.busiest == Busiest(at=NOW + HOUR, fires=334, names=("0000", "0003", "0006", "0009", "0012"))
    cut = forecast(several, grid, most_fires=24)
    assert (cut.bins, cut.is_complete) == ((334 * 8 + 333 * 9,), False)


def test_a_timetable_that_cannot_be_read_fires_nothing() -> None:
    broken = armed("broken", cron_expr="61 * * * *", next_fire_at=NOW + HOUR)
    nowhere = armed("nowhere", cron_expr="0 * * * *", timezone="Mars/Base", next_fire_at=NOW + HOUR)
    found = forecast([broken, nowhere], Grid(since=NOW, until=NOW + DAY, bins=2), most_fires=EVERYTHING)
    assert (found.bins, found.busiest) == ((0, 0), None)


def test_seams_are_told_in_the_zones_own_time() -> None:
    zones = ["UTC", "Europe/Berlin", "Europe/Berlin", "America/New_York", "Mars/Base"]
    found = seams(zones, NOW, NOW + DAY, 50)
    assert [(seam.timezone, seam.at, seam.text) for seam in found] == [
        ("Europe/Berlin", JUMP, "clocks go forward from 02:00 to 03:00")
    ]
    year = seams(zones, NOW, NOW + 365 * DAY, 50)
    assert [seam.text for seam in year if seam.timezone == "America/New_York"] == [
        "clocks go back from 02:00 to 01:00",
        "clocks go forward from 02:00 to 03:00",
    ]
    assert [seam.at for seam in year] == sorted(seam.at for seam in year)


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_a_seam_belongs_to_the_time_that_it_is_in(shift: int) -> None:
    assert bool(seams(["Europe/Berlin"], JUMP + shift, JUMP + HOUR, 5)) == (shift <= 0)
    assert bool(seams(["Europe/Berlin"], JUMP - HOUR, JUMP + shift, 5)) == (shift > 0)
    assert len(seams(["Europe/Berlin"], NOW, NOW + 4_000 * DAY, 3)) == 3
