"""What every catch-up policy makes of an outage, with the expected rows written out by hand: the real planner on a real
store. How rows are written is told in `tests.policy_bench`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.policy_bench import MIDNIGHT, Bench, at, open_bench

from agentclock.core.model import CatchUp, Overlap


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with open_bench() as made:
        yield made


# Outages: the engine was there at `since`, and is again at `back`.


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    name: str
    schedule: dict[str, Any]
    back: str
    latest: list[str]
    none: list[str]
    all: list[str]


QUARTERS = {"cron_expr": "*/15 * * * *"}
HOURLY = {"cron_expr": "0 * * * *"}
MINUTELY = {"cron_expr": "* * * * *", "misfire_grace_seconds": 10}

OUTAGES = [
    Outage(
        name="one missed",
        schedule=HOURLY,
        back="01:10",
        latest=["01:00 runs"],
        none=["01:00 catch_up_none x1"],
        all=["01:00 runs"],
    ),
    Outage(
        name="within the grace nothing is missed",
        schedule=HOURLY,
        back="01:01",
        latest=["01:00 runs"],
        none=["01:00 runs"],
        all=["01:00 runs"],
    ),
    Outage(
        name="one second beyond the grace",
        schedule=HOURLY,
        back="01:01:01",
        latest=["01:00 runs"],
        none=["01:00 catch_up_none x1"],
        all=["01:00 runs"],
    ),
    Outage(
        name="three hours of quarters",
        schedule=QUARTERS,
        back="03:05",
        latest=["00:15-02:45 superseded x11", "03:00 runs"],
        none=["00:15-03:00 catch_up_none x12"],
        all=["00:15 runs", "00:30-03:00 waits *11"],
    ),
    Outage(
        name="three hours of quarters, the newest in time",
        schedule=QUARTERS,
        back="03:00:30",
        latest=["00:15-02:45 superseded x11", "03:00 runs"],
        none=["00:15-02:45 catch_up_none x11", "03:00 runs"],
        all=["00:15 runs", "00:30-03:00 waits *11"],
    ),
    Outage(
        name="three hours of quarters side by side",
        schedule=QUARTERS | {"overlap": Overlap.ALLOW, "catch_up_stagger_seconds": 20},
        back="03:05",
        latest=["00:15-02:45 superseded x11", "03:00 runs"],
        none=["00:15-03:00 catch_up_none x12"],
        all=[
            "00:15 runs", "00:30 +20s", "00:45 +40s", "01:00 +60s", "01:15 +80s", "01:30 +100s", "01:45 +120s",
            "02:00 +140s", "02:15 +160s", "02:30 +180s", "02:45 +200s", "03:00 +220s",
        ],
    ),
    Outage(
        name="side by side, all at once",
        schedule=HOURLY | {"overlap": Overlap.ALLOW, "catch_up_stagger_seconds": 0},
        back="03:05",
        latest=["01:00-02:00 superseded x2", "03:00 runs"],
        none=["01:00-03:00 catch_up_none x3"],
        all=["01:00-03:00 runs *3"],
    ),
    Outage(
        name="queue",
        schedule=HOURLY | {"overlap": Overlap.QUEUE},
        back="03:05",
        latest=["01:00-02:00 superseded x2", "03:00 runs"],
        none=["01:00-03:00 catch_up_none x3"],
        all=["01:00 runs", "02:00-03:00 waits *2"],
    ),
    Outage(
        name="cancel",
        schedule=HOURLY | {"overlap": Overlap.CANCEL},
        back="03:05",
        latest=["01:00-02:00 superseded x2", "03:00 runs"],
        none=["01:00-03:00 catch_up_none x3"],
        all=["01:00 runs", "02:00-03:00 waits *2"],
    ),
    Outage(
        name="several in time, skip",
        schedule=MINUTELY | {"misfire_grace_seconds": 150},
        back="00:04:10",
        latest=["00:01 superseded x1", "00:02 runs", "00:03-00:04 overlap x2"],
        none=["00:01 catch_up_none x1", "00:02 runs", "00:03-00:04 overlap x2"],
        all=["00:01 runs", "00:02-00:04 waits *3"],
    ),
    Outage(
        name="several in time, queue",
        schedule=MINUTELY | {"misfire_grace_seconds": 150, "overlap": Overlap.QUEUE},
        back="00:04:10",
        latest=["00:01 superseded x1", "00:02 runs", "00:03 waits", "00:04 queue_full x1"],
        none=["00:01 catch_up_none x1", "00:02 runs", "00:03 waits", "00:04 queue_full x1"],
        all=["00:01 runs", "00:02-00:04 waits *3"],
    ),
    Outage(
        name="several in time, allow",
        schedule=MINUTELY | {"misfire_grace_seconds": 150, "overlap": Overlap.ALLOW},
        back="00:04:10",
        latest=["00:01 superseded x1", "00:02-00:04 runs *3"],
        none=["00:01 catch_up_none x1", "00:02-00:04 runs *3"],
        all=["00:01-00:04 runs *4"],
    ),
    Outage(
        name="several in time, cancel",
        schedule=MINUTELY | {"misfire_grace_seconds": 150, "overlap": Overlap.CANCEL},
        back="00:04:10",
        latest=["00:01 superseded x1", "00:02-00:03 overlap x2", "00:04 runs"],
        none=["00:01 catch_up_none x1", "00:02-00:03 overlap x2", "00:04 runs"],
        all=["00:01 runs", "00:02-00:04 waits *3"],
    ),
    Outage(
        name="as often as the grace is long, back at a fire",
        schedule={"cron_expr": "* * * * *"},
        back="00:03",
        latest=["00:01-00:02 superseded x2", "00:03 runs"],
        none=["00:01-00:02 catch_up_none x2", "00:03 runs"],
        all=["00:01 runs", "00:02-00:03 waits *2"],
    ),
    Outage(
        name="older than the window",
        schedule=HOURLY | {"catch_up_window_seconds": 7_200},
        back="05:10",
        latest=["01:00-03:00 outside_window x3", "04:00 superseded x1", "05:00 runs"],
        none=["01:00-03:00 outside_window x3", "04:00-05:00 catch_up_none x2"],
        all=["01:00-03:00 outside_window x3", "04:00 runs", "05:00 waits"],
    ),
    Outage(
        name="at the very beginning of the window",
        schedule=HOURLY | {"catch_up_window_seconds": 7_800},
        back="04:10",
        latest=["01:00 outside_window x1", "02:00-03:00 superseded x2", "04:00 runs"],
        none=["01:00 outside_window x1", "02:00-04:00 catch_up_none x3"],
        all=["01:00 outside_window x1", "02:00 runs", "03:00-04:00 waits *2"],
    ),
    Outage(
        name="no window",
        schedule=HOURLY | {"catch_up_window_seconds": 0},
        back="03:10",
        latest=["01:00-03:00 outside_window x3"],
        none=["01:00-03:00 outside_window x3"],
        all=["01:00-03:00 outside_window x3"],
    ),
    Outage(
        name="the grace is longer than the window",
        schedule=HOURLY | {"catch_up_window_seconds": 60, "misfire_grace_seconds": 4_200},
        back="03:05",
        latest=["01:00 outside_window x1", "02:00 runs", "03:00 overlap x1"],
        none=["01:00 outside_window x1", "02:00 runs", "03:00 overlap x1"],
        all=["01:00 outside_window x1", "02:00 runs", "03:00 waits"],
    ),
    Outage(
        name="beyond the limit",
        schedule=MINUTELY | {"catch_up_limit": 5},
        back="03:00:30",
        latest=["00:01-02:59 superseded x179", "03:00 runs"],
        none=["00:01-03:00 catch_up_none x180"],
        all=["00:01-02:55 catch_up_cap x175", "02:56 runs", "02:57-03:00 waits *4"],
    ),
    Outage(
        name="beyond the limit and the window",
        schedule=MINUTELY | {"catch_up_limit": 1, "catch_up_window_seconds": 600},
        back="03:00:30",
        latest=["00:01-02:50 outside_window x170", "02:51-02:59 superseded x9", "03:00 runs"],
        none=["00:01-02:50 outside_window x170", "02:51-03:00 catch_up_none x10"],
        all=["00:01-02:50 outside_window x170", "02:51-02:59 catch_up_cap x9", "03:00 runs"],
    ),
    Outage(
        name="the limit of 100 that holds unless another is set",
        schedule=MINUTELY,
        back="03:00:30",
        latest=["00:01-02:59 superseded x179", "03:00 runs"],
        none=["00:01-03:00 catch_up_none x180"],
        all=["00:01-01:20 catch_up_cap x80", "01:21 runs", "01:22-03:00 waits *99"],
    ),
    Outage(
        name="a month",
        schedule=MINUTELY,
        back="30d00:00:30",
        latest=["00:01-29d00:00 outside_window x41760", "29d00:01-29d23:59 superseded x1439", "30d00:00 runs"],
        none=["00:01-29d00:00 outside_window x41760", "29d00:01-30d00:00 catch_up_none x1440"],
        all=[
            "00:01-29d00:00 outside_window x41760", "29d00:01-29d22:20 catch_up_cap x1340",
            "29d22:21 runs", "29d22:22-30d00:00 waits *99",
        ],
    ),
    Outage(
        name="a month inside the window",
        schedule=MINUTELY | {"catch_up_window_seconds": 2_678_400, "catch_up_limit": 2},
        back="30d00:00:30",
        latest=["00:01-29d23:59 superseded x43199", "30d00:00 runs"],
        none=["00:01-30d00:00 catch_up_none x43200"],
        all=["00:01-29d23:58 catch_up_cap x43198", "29d23:59 runs", "30d00:00 waits"],
    ),
    Outage(
        name="a year",
        schedule=MINUTELY | {"catch_up_limit": 3},
        back="365d00:00:30",
        latest=["00:01-364d00:00 outside_window x524160", "364d00:01-364d23:59 superseded x1439", "365d00:00 runs"],
        none=["00:01-364d00:00 outside_window x524160", "364d00:01-365d00:00 catch_up_none x1440"],
        all=[
            "00:01-364d00:00 outside_window x524160", "364d00:01-364d23:57 catch_up_cap x1437",
            "364d23:58 runs", "364d23:59-365d00:00 waits *2",
        ],
    ),
    Outage(
        name="every second for a day",
        schedule={"interval_seconds": 1, "anchor_at": MIDNIGHT, "misfire_grace_seconds": 0, "catch_up_limit": 2},
        back="1d00:00",
        latest=["00:00:01-23:59:59 superseded x86399", "1d00:00 runs"],
        none=["00:00:01-23:59:59 catch_up_none x86399", "1d00:00 runs"],
        all=["00:00:01-23:59:57 catch_up_cap x86397", "23:59:58 runs", "23:59:59-1d00:00 waits *2"],
    ),
    Outage(
        name="a longer outage of what has a long grace",
        schedule={"interval_seconds": 10, "anchor_at": MIDNIGHT, "misfire_grace_seconds": 86_400},
        back="23:59:55",
        latest=["00:00:10-21:13:10 catch_up_cap x7639", "21:13:20 runs", "21:13:30-23:59:50 overlap x999"],
        none=["00:00:10-21:13:10 catch_up_cap x7639", "21:13:20 runs", "21:13:30-23:59:50 overlap x999"],
        all=["00:00:10-21:13:10 catch_up_cap x7639", "21:13:20 runs", "21:13:30-23:59:50 waits *999"],
    ),
    Outage(
        name="max_runs",
        schedule=HOURLY | {"max_runs": 2},
        back="05:10",
        latest=["01:00-04:00 superseded x4", "05:00 runs"],
        none=["01:00-05:00 catch_up_none x5"],
        all=["01:00 runs", "02:00 waits"],
    ),
    Outage(
        name="start_at in the middle",
        schedule=HOURLY | {"start_at": at("02:30")},
        back="05:10",
        latest=["03:00-04:00 superseded x2", "05:00 runs"],
        none=["03:00-05:00 catch_up_none x3"],
        all=["03:00 runs", "04:00-05:00 waits *2"],
    ),
    Outage(
        name="end_at in the middle",
        schedule=HOURLY | {"end_at": at("03:00")},
        back="05:10",
        latest=["01:00-02:00 superseded x2", "03:00 runs"],
        none=["01:00-03:00 catch_up_none x3"],
        all=["01:00 runs", "02:00-03:00 waits *2"],
    ),
    Outage(
        name="once",
        schedule={"run_at": at("01:00")},
        back="05:10",
        latest=["01:00 runs"],
        none=["01:00 catch_up_none x1"],
        all=["01:00 runs"],
    ),
    Outage(
        name="once, too long ago",
        schedule={"run_at": at("01:00"), "catch_up_window_seconds": 3_600},
        back="05:10",
        latest=["01:00 outside_window x1"],
        none=["01:00 outside_window x1"],
        all=["01:00 outside_window x1"],
    ),
    Outage(
        name="interval",
        schedule={"interval_seconds": 5_400, "anchor_at": MIDNIGHT},
        back="05:10",
        latest=["01:30-03:00 superseded x2", "04:30 runs"],
        none=["01:30-04:30 catch_up_none x3"],
        all=["01:30 runs", "03:00-04:30 waits *2"],
    ),
]  # fmt: skip


@pytest.mark.parametrize("catch_up", list(CatchUp))
@pytest.mark.parametrize("outage", [pytest.param(outage, id=outage.name) for outage in OUTAGES])
async def test_outage(bench: Bench, outage: Outage, catch_up: CatchUp) -> None:
    await bench.add(catch_up=catch_up, **outage.schedule)
    await bench.plan(outage.back)
    assert await bench.rows() == getattr(outage, catch_up)
    schedule = await bench.schedule()
    assert schedule.next_fire_at is None or schedule.next_fire_at > bench.clock.now()
