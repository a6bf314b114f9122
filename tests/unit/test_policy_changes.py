"""What becomes of fires when somebody changes the schedule, the zone data or the clock, and in the nights in which the
clocks change: the rows are written out by hand. How they are written is told in `tests.policy_bench`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.policy_bench import MIDNIGHT, Bench, at, open_bench

from agentclock.core import timetable
from agentclock.core.instants import iso_utc
from agentclock.core.model import CatchUp, Cause, Overlap

HOURLY = {"cron_expr": "0 * * * *"}


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with open_bench() as made:
        yield made


async def clear(bench: Bench) -> None:
    """The runs so far are over."""
    for run in await bench.runs():
        await bench.store.request_cancel(run.id)


# disabling and enabling


async def test_what_was_due_while_it_was_disabled_is_not_owed(bench: Bench) -> None:
    await bench.add(**HOURLY, catch_up=CatchUp.ALL)
    await bench.plan("00:30")
    await bench.scheduler.disable("s1")
    await bench.plan("02:30")
    await bench.scheduler.enable("s1")
    await bench.plan("03:10")
    assert await bench.rows() == ["03:00 runs"]


async def test_disabled_while_fires_were_due_and_not_planned(bench: Bench) -> None:
    await bench.add(**HOURLY, catch_up=CatchUp.ALL)
    bench.clock.set(at("03:10"))
    await bench.scheduler.disable("s1")
    assert await bench.rows() == ["01:00-03:00 changed x3"]
    bench.clock.set(at("04:10"))
    await bench.scheduler.enable("s1")
    await bench.plan("06:10")
    assert await bench.rows() == ["01:00-03:00 changed x3", "05:00 runs", "06:00 waits"]


async def test_disabled_after_a_month_without_an_engine(bench: Bench) -> None:
    await bench.add(cron_expr="* * * * *")
    bench.clock.set(at("30d00:00:30"))
    await bench.scheduler.disable("s1")
    assert await bench.rows() == ["00:01-30d00:00 changed x43200"]


async def test_enabled_twice(bench: Bench) -> None:
    await bench.add(**HOURLY)
    bench.clock.set(at("02:10"))
    await bench.scheduler.enable("s1")
    await bench.plan("02:10")
    assert await bench.rows() == ["01:00 superseded x1", "02:00 runs"]


# editing


async def test_an_edit_of_the_payload_takes_no_fire_away(bench: Bench) -> None:
    await bench.add(**HOURLY, catch_up=CatchUp.ALL)
    bench.clock.set(at("02:10"))
    await bench.scheduler.change("s1", {"payload": {"message": "new"}, "timeout_seconds": 5, "timezone": "UTC"})
    await bench.plan("02:10")
    assert await bench.rows() == ["01:00 runs", "02:00 waits"]


async def test_an_edit_of_the_timetable_never_fires_in_the_past(bench: Bench) -> None:
    await bench.add(**HOURLY)
    bench.clock.set(at("02:10"))
    await bench.scheduler.change("s1", {"cron_expr": "*/5 * * * *"})
    await bench.plan("02:15")
    assert await bench.rows() == ["01:00-02:00 changed x2", "02:15 runs"]


async def test_an_edit_of_the_zone_while_late(bench: Bench) -> None:
    await bench.add(cron_expr="0 3 * * *")
    bench.clock.set(at("03:10"))
    await bench.scheduler.change("s1", {"timezone": "America/New_York"})
    await bench.plan("08:00")
    assert await bench.rows() == ["03:00 changed x1", "08:00 runs"]


async def test_the_policies_that_hold_are_those_at_planning(bench: Bench) -> None:
    await bench.add(**HOURLY, catch_up=CatchUp.NONE)
    bench.clock.set(at("03:10"))
    await bench.scheduler.change("s1", {"catch_up": "all", "catch_up_limit": 2, "overlap": "allow"})
    await bench.plan("03:10")
    assert await bench.rows() == ["01:00 catch_up_cap x1", "02:00 runs", "03:00 +1s"]


async def test_a_changed_row_is_not_extended_beyond_the_next_change(bench: Bench) -> None:
    await bench.add(**HOURLY)
    bench.clock.set(at("01:10"))
    await bench.scheduler.change("s1", {"cron_expr": "30 * * * *"})
    bench.clock.set(at("02:40"))
    await bench.scheduler.change("s1", {"cron_expr": "45 * * * *"})
    assert await bench.rows() == ["01:00 changed x1", "01:30-02:30 changed x2"]


async def test_max_runs_raised_goes_on_from_now(bench: Bench) -> None:
    await bench.add(**HOURLY, max_runs=1)
    await bench.plan("01:00")
    await clear(bench)
    await bench.plan("03:30")
    await bench.scheduler.change("s1", {"max_runs": 2})
    await bench.plan("05:10")
    assert await bench.rows() == ["01:00 cancelled", "04:00 superseded x1", "05:00 runs"]
    assert (await bench.schedule()).next_fire_at is None


async def test_a_skip_that_goes_on_is_one_row_until_the_run_ends(bench: Bench) -> None:
    await bench.add(**HOURLY)
    for hour in ("01", "02", "03", "04"):
        await bench.plan(f"{hour}:00")
    assert await bench.rows() == ["01:00 runs", "02:00-04:00 overlap x3"]
    await clear(bench)
    await bench.plan("05:00")
    await bench.plan("06:00")
    assert (await bench.rows())[1:] == ["02:00-04:00 overlap x3", "05:00 runs", "06:00 overlap x1"]


async def test_two_outages_that_touch_are_one_row_for_each_reason(bench: Bench) -> None:
    await bench.add(**HOURLY, catch_up=CatchUp.NONE)
    await bench.plan("02:10")
    await bench.plan("05:10")
    assert await bench.rows() == ["01:00-05:00 catch_up_none x5"]


async def test_a_line_that_is_worked_off_while_new_fires_come_due(bench: Bench) -> None:
    await bench.add(**HOURLY, catch_up=CatchUp.ALL)
    await bench.plan("03:10")
    await bench.plan("04:00")
    assert await bench.rows() == ["01:00 runs", "02:00-03:00 waits *2", "04:00 overlap x1"]


async def test_a_newer_fire_with_cancel_ends_the_line(bench: Bench) -> None:
    await bench.add(**HOURLY, catch_up=CatchUp.ALL, overlap=Overlap.CANCEL)
    await bench.plan("03:10")
    await bench.plan("04:00")
    assert await bench.rows() == ["01:00-03:00 cancelled *3", "04:00 runs"]


# one after another, for real


async def test_twelve_missed_fires_run_one_after_another_a_second_apart(bench: Bench) -> None:
    await bench.add(cron_expr="*/15 * * * *", catch_up=CatchUp.ALL, catch_up_stagger_seconds=30)
    await bench.plan("03:05")
    started = []
    for _ in range(12):
        [claim] = (await bench.store.claim(bench.rig.worker.id, 5)).claims
        started.append((iso_utc(claim.run.fire_at)[11:16], (bench.clock.now() - at("03:05")) // 1000))
        await bench.finish(claim)
        assert not (await bench.store.claim(bench.rig.worker.id, 5)).claims, "the next one keeps no distance"
        bench.clock.advance(seconds=30)
    quarters = [f"{minutes // 60:02}:{minutes % 60:02}" for minutes in range(15, 181, 15)]
    assert started == [(quarter, 30 * number) for number, quarter in enumerate(quarters)]
    assert {run.cause for run in await bench.runs()} == {Cause.CATCH_UP}


# zone data


async def test_new_zone_data_moves_what_is_not_due_yet(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await with_old_zone_data(bench, monkeypatch, next_fire_at=at("08:00"))
    await bench.scheduler.refresh_zone_data()
    await bench.plan("09:00")
    assert await bench.rows() == ["09:00 runs"]


async def test_new_zone_data_leaves_what_is_due_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was due by the old data while nobody looked is owed by it, once; from there on the new data rules."""
    await with_old_zone_data(bench, monkeypatch, next_fire_at=at("08:00"))
    bench.clock.set(at("08:00:30"))
    await bench.scheduler.refresh_zone_data()
    await bench.plan("08:00:30")
    await bench.plan("09:00")
    assert await bench.rows() == ["08:00 runs", "09:00 overlap x1"]


async def with_old_zone_data(bench: Bench, monkeypatch: pytest.MonkeyPatch, next_fire_at: int) -> None:
    """Daily at 9, by data in which the zone was an hour further east."""
    with monkeypatch.context() as patch:
        patch.setattr(timetable, "tzdata_version", lambda: "1999z")
        await bench.add(cron_expr="0 9 * * *")
    await bench.change(next_fire_at=next_fire_at)


# clocks that jump


async def test_a_clock_set_forward_is_an_outage(bench: Bench) -> None:
    await bench.add(**HOURLY)
    await bench.plan("00:50")
    await bench.plan("03:10")
    assert await bench.rows() == ["01:00-02:00 superseded x2", "03:00 runs"]


async def test_a_clock_set_back_repeats_nothing(bench: Bench) -> None:
    await bench.add(**HOURLY)
    await bench.plan("03:10")
    await clear(bench)
    await bench.plan("01:30")
    await bench.plan("03:50")
    assert await bench.rows() == ["01:00-02:00 superseded x2", "03:00 cancelled"]
    await bench.plan("04:00")
    assert (await bench.rows())[2:] == ["04:00 runs"]


@pytest.mark.parametrize(
    "change", [{"cron_expr": "*/30 * * * *"}, {"timezone": "Asia/Tokyo"}, {"end_at": "2027-01-01"}]
)
async def test_an_edit_after_the_clock_was_set_back_repeats_nothing(bench: Bench, change: dict[str, Any]) -> None:
    await bench.add(**HOURLY)
    await bench.plan("03:00")
    await clear(bench)
    await bench.plan("01:10")
    await bench.scheduler.change("s1", change)
    await bench.scheduler.disable("s1")
    await bench.scheduler.enable("s1")
    await bench.plan("03:00")
    assert await bench.rows() == ["01:00-02:00 superseded x2", "03:00 cancelled"]


# nights in which the clocks change: on 2026-03-29 from 2 to 3 in Berlin, on 2026-10-25 from 3 to 2


SPRING = (1_774_728_000_000 - MIDNIGHT) // 3_600_000  # hours from midnight to 2026-03-28T20:00Z
AUTUMN = (1_792_872_000_000 - MIDNIGHT) // 3_600_000  # hours from midnight to 2026-10-24T20:00Z


@pytest.mark.parametrize(
    ("evening", "cron_expr", "rows"),
    [
        # 02:30 does not exist: the fire comes right after the jump, at 03:00 local.
        pytest.param(SPRING, "30 2 * * *", ["2026-03-29T01:00 run"], id="gap-fixed"),
        # 01:00, 03:00 and 04:00 local; an hour is missing.
        pytest.param(
            SPRING,
            "0 1-4 * * *",
            ["2026-03-29T00:00-2026-03-29T01:00 superseded x2", "2026-03-29T02:00 run"],
            id="gap-range",
        ),
        pytest.param(
            SPRING,
            "*/30 * * * *",
            ["2026-03-28T20:30-2026-03-29T05:30 superseded x19", "2026-03-29T06:00 run"],
            id="gap-every",
        ),
        # 02:30 comes twice: a set time counts the first time.
        pytest.param(AUTUMN, "30 2 * * *", ["2026-10-25T00:30 run"], id="overlap-fixed"),
        # ... what has a star in its hour counts both.
        pytest.param(
            AUTUMN,
            "30 * * * *",
            ["2026-10-24T20:30-2026-10-25T04:30 superseded x9", "2026-10-25T05:30 run"],
            id="overlap-every-hour",
        ),
        pytest.param(
            AUTUMN,
            "0 1-4 * * *",
            ["2026-10-24T23:00-2026-10-25T02:00 superseded x3", "2026-10-25T03:00 run"],
            id="overlap-range",
        ),
    ],
)
async def test_an_outage_over_the_night(evening: int, cron_expr: str, rows: list[str]) -> None:
    """From eight in the evening until six, UTC; nothing is twice, nothing is left out."""
    start = MIDNIGHT + evening * 3_600_000
    async with open_bench(start) as bench:
        await bench.add(cron_expr=cron_expr, timezone="Europe/Berlin", misfire_grace_seconds=0)
        bench.clock.set(start + 10 * 3_600_000 + 1_001)
        while await bench.rig.planner.step():
            pass
        assert [_row(run) for run in await bench.runs()] == rows


def _row(run: Any) -> str:
    first, last = iso_utc(run.fire_at)[:16], iso_utc(run.last_fire_at or run.fire_at)[:16]
    return f"{first} run" if run.reason is None else f"{first}-{last} {run.reason} x{run.fire_count}"


async def test_a_night_with_an_hour_twice_planned_fire_by_fire(bench: Bench) -> None:
    """The same fires as after an outage, when the engine is there all night."""
    start = MIDNIGHT + AUTUMN * 3_600_000
    bench.clock.set(start)
    await bench.add(cron_expr="0 1-4 * * *", timezone="Europe/Berlin", overlap=Overlap.ALLOW)
    for quarter in range(40):
        bench.clock.set(start + quarter * 900_000)
        while await bench.rig.planner.step():
            pass
    fires = [iso_utc(run.fire_at)[11:16] for run in await bench.runs()]
    assert fires == ["23:00", "00:00", "02:00", "03:00"]


# rows that should not be


async def test_a_schedule_that_cannot_be_read_is_disabled_and_can_be_mended(bench: Bench) -> None:
    await bench.add(**HOURLY)
    await bench.change(cron_expr="61 * * * *")
    await bench.plan("02:10")
    faulty = await bench.schedule()
    assert not faulty.enabled
    assert "minute" in (faulty.disabled_reason or "")
    await bench.scheduler.change("s1", {"cron_expr": "0 * * * *"})
    await bench.scheduler.enable("s1")
    await bench.plan("03:00")
    assert (await bench.rows())[-1] == "03:00 runs"
