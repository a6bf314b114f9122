"""What the timing fields mean: reading them, replacing one by another, and saying when a schedule fires."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agentclock.core.errors import InvalidField
from agentclock.core.instants import iso_utc
from agentclock.core.model import Instant, Schedule, Target
from agentclock.core.zones import Zone, tzdata_version
from agentclock.timing import describe, occurrences, parse_instant, read_time, retimed

BERLIN = Zone.load("Europe/Berlin")
NOW: Instant = 1_767_225_600_250  # 2026-01-01T00:00:00.250Z
BLANK = Schedule(id="1", name="nightly", target=Target(endpoint="/x"), timetable_since=NOW, created_at=NOW)


def timed(schedule: Schedule = BLANK, now: Instant = NOW, **values: Any) -> Schedule:
    return retimed(schedule, values, now)


def at_utc(text: str) -> Instant:
    return parse_instant("test", text, Zone.load("UTC"))


def next_of(schedule: Schedule) -> str | None:
    return None if schedule.next_fire_at is None else iso_utc(schedule.next_fire_at)


def refused(field: str, schedule: Schedule = BLANK, now: Instant = NOW, **values: Any) -> InvalidField:
    with pytest.raises(InvalidField) as caught:
        retimed(schedule, values, now)
    assert caught.value.field == field
    return caught.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-29T01:00:00Z", "2026-03-29T01:00:00.000Z"),
        ("2026-03-29T01:00:00.125+02:00", "2026-03-28T23:00:00.125Z"),
        ("2026-03-29T01:00", "2026-03-29T00:00:00.000Z"),
        ("2026-03-29 01:00:30", "2026-03-29T00:00:30.000Z"),
        ("2026-07-01", "2026-06-30T22:00:00.000Z"),
        (" 20260701T120000 ", "2026-07-01T10:00:00.000Z"),
        ("2026-03-29T02:30:00", "2026-03-29T01:00:00.000Z"),  # skipped: right after the jump
        ("2026-10-25T02:30:00", "2026-10-25T00:30:00.000Z"),  # comes twice: the first
        ("2026-10-25T02:30:00+01:00", "2026-10-25T01:30:00.000Z"),  # an offset chooses
        ("9998-12-31T23:59:59Z", "9998-12-31T23:59:59.000Z"),
    ],
)
def test_a_time_is_read_in_the_zone_unless_it_has_an_offset(text: str, expected: str) -> None:
    assert iso_utc(parse_instant("run_at", text, BERLIN)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "tomorrow", "", "2026-02-30T00:00:00", "2026-01-01T25:00:00", "1767225600", "2026-01-01T00:00:00+99:00",
        "1969-12-31T23:59:59Z", "0001-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "9999-01-02",
        "٢٠٢٦-01-01",
    ],
)  # fmt: skip
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(InvalidField, match="start_at"):
        parse_instant("start_at", text, BERLIN)


def test_numbers_are_seconds_or_milliseconds_up_to_the_end_of_the_calendar() -> None:
    assert read_time("from", "253370764799") == 253_370_764_799
    assert iso_utc(read_time("from", "253370764799999")) == "9998-12-31T23:59:59.999Z"
    for text in ("253370764800000", str(2**48), "9" * 64):
        with pytest.raises(InvalidField, match="from: must lie in the years 1970 to 9998"):
            read_time("from", text)


def test_a_cron_schedule_fires_next_after_now() -> None:
    made = timed(cron_expr="0 3 * * *", timezone="europe/berlin")
    assert (made.cron_expr, made.timezone, next_of(made)) == ("0 3 * * *", "Europe/Berlin", "2026-01-01T02:00:00.000Z")
    assert (made.timetable_since, made.zone_data_version) == (NOW, tzdata_version())


def test_a_fire_at_this_very_moment_is_past() -> None:
    now = NOW - 250
    assert next_of(timed(now=now, cron_expr="0 0 * * *")) == "2026-01-02T00:00:00.000Z"
    refused("run_at", now=now, run_at="2026-01-01T00:00:00Z")


def test_a_wrong_expression_tells_where() -> None:
    error = refused("cron_expr", cron_expr="0 25 * * *")
    assert (error.context["field"], error.context["position"]) == ("hour", 2)
    assert "25" in str(error.context["reason"])
    assert "never fires" in refused("cron_expr", cron_expr="0 0 30 2 *").message


def test_a_wrong_zone_tells_what_may_have_been_meant() -> None:
    assert "Europe/Berlin" in refused("timezone", timezone="Europe/Berln").message
    refused("timezone", timezone="localtime")


def test_nothing_given_is_on_demand() -> None:
    made = timed(cron_expr=None, run_at=None, interval_seconds=None, timezone="UTC")
    assert made == BLANK
    assert timed(cron_expr="").next_fire_at is None


def test_two_kinds_at_once_are_refused() -> None:
    assert (
        "cron_expr and interval_seconds" in refused("interval_seconds", cron_expr="@daily", interval_seconds=5).message
    )
    refused("run_at", cron_expr="@daily", run_at="2027-01-01")


def test_a_kind_replaces_the_one_before() -> None:
    made = timed(cron_expr="@daily")
    made = timed(made, run_at="2027-01-01T00:00:00Z")
    assert (made.cron_expr, next_of(made)) == (None, "2027-01-01T00:00:00.000Z")
    made = timed(made, interval_seconds=60, run_at=None)
    assert (made.run_at, next_of(made)) == (None, "2026-01-01T00:01:00.000Z")
    made = timed(made, cron_expr="@hourly", interval_seconds=None)
    assert (made.interval_seconds, made.anchor_at, next_of(made)) == (None, None, "2026-01-01T01:00:00.000Z")
    made = timed(made, cron_expr="")
    assert (made.cron_expr, made.next_fire_at) == (None, None)


def test_emptying_another_kind_leaves_the_timetable_alone() -> None:
    made = timed(cron_expr="@daily")
    assert timed(made, now=NOW + 5_000, run_at=None, interval_seconds=None) == made
    assert timed(timed(interval_seconds=60), interval_seconds=None).next_fire_at is None


def test_an_interval_counts_from_the_second_it_was_set() -> None:
    made = timed(interval_seconds=90)
    assert made.anchor_at == NOW - 250
    assert next_of(made) == "2026-01-01T00:01:30.000Z"


def test_an_interval_counts_from_its_start() -> None:
    later = timed(interval_seconds=90, start_at="2026-01-01T00:10:00Z")
    assert next_of(later) == "2026-01-01T00:10:00.000Z"
    before = timed(interval_seconds=90, start_at="2025-12-31T23:59:00Z")
    assert next_of(before) == "2026-01-01T00:00:30.000Z"


def test_an_interval_keeps_its_anchor_when_other_fields_change() -> None:
    made = timed(interval_seconds=90)
    later = NOW + 100_000
    assert timed(made, now=later, end_at="2027-01-01").anchor_at == made.anchor_at
    assert timed(made, now=later, interval_seconds=60).anchor_at == later // 1000 * 1000
    moved = timed(made, now=later, start_at="2026-06-01")
    assert timed(moved, now=later, start_at=None).anchor_at == later // 1000 * 1000


def test_bounds_are_read_in_the_zone_of_the_same_request() -> None:
    made = timed(cron_expr="@daily", timezone="Asia/Tokyo", start_at="2026-02-01", end_at="2026-03-01")
    assert (next_of(made), made.end_at) == ("2026-01-31T15:00:00.000Z", at_utc("2026-02-28T15:00:00Z"))


def test_a_past_start_is_fine_and_a_past_end_is_not() -> None:
    assert timed(cron_expr="@daily", start_at="2020-01-01").next_fire_at is not None
    refused("end_at", cron_expr="@daily", end_at="2025-12-31")
    backwards = refused("end_at", cron_expr="@daily", start_at="2026-03-01", end_at="2026-02-01")
    assert backwards.message.startswith("lies before start_at")
    assert refused("run_at", run_at="2025-12-31T23:59:59Z").message.startswith("lies in the past")


def test_a_timetable_without_any_fire_left_is_refused() -> None:
    assert "nothing is left" in refused("end_at", cron_expr="0 3 1 6 *", end_at="2026-02-01").message
    refused("start_at", run_at="2026-02-01", start_at="2026-03-01")
    refused("end_at", run_at="2026-02-01", end_at="2026-01-15")
    ran = replace(timed(cron_expr="@daily"), run_count=5)
    assert "fired 5 times" in refused("max_runs", ran, max_runs=5).message
    assert timed(ran, max_runs=6).next_fire_at is not None


def test_bounds_on_demand_are_kept_and_warned_of() -> None:
    made = timed(start_at="2020-01-01", max_runs=3)
    assert made.next_fire_at is None
    assert describe(made, NOW).warnings == ("without a timetable these have no effect: start_at, max_runs",)


def test_a_change_takes_effect_now_and_never_fires_in_the_past() -> None:
    made = timed(cron_expr="0 * * * *")
    later = NOW + 90 * 60_000
    moved = timed(made, now=later, cron_expr="30 * * * *")
    assert (next_of(moved), moved.timetable_since) == ("2026-01-01T02:30:00.000Z", later)


@pytest.mark.parametrize(
    "values",
    [{"cron_expr": "@daily"}, {"timezone": "utc"}, {"max_runs": None}, {"end_at": None, "cron_expr": "@daily"}, {}],
)
def test_the_same_again_changes_nothing(values: dict[str, Any]) -> None:
    made = timed(cron_expr="@daily")
    assert timed(made, now=NOW + 999_999, **values) == made


def test_a_disabled_schedule_is_checked_but_not_armed() -> None:
    made = timed(replace(BLANK, enabled=False), cron_expr="@daily")
    assert (made.next_fire_at, made.timetable_since) == (None, NOW)
    refused("cron_expr", made, cron_expr="nonsense")


def test_an_unreadable_timetable_can_be_mended_piece_by_piece() -> None:
    broken = replace(timed(cron_expr="@daily"), timezone="Mars/Olympus")
    refused("timezone", broken, max_runs=3)
    assert timed(broken, timezone="UTC").next_fire_at is not None
    assert timed(broken) == broken
    refused("cron_expr", replace(BLANK, cron_expr="junk"), max_runs=3)


@pytest.mark.parametrize(
    ("values", "explanation"),
    [
        ({"cron_expr": "0 3 * * *", "timezone": "America/New_York"}, "At 03:00, every day, America/New_York"),
        ({"cron_expr": ""}, "Only when triggered"),
        ({"run_at": "2026-03-29T02:30", "timezone": "Europe/Berlin"}, "Once, at 2026-03-29 03:00:00, Europe/Berlin"),
        ({"interval_seconds": 90}, "Every 90 seconds, counted from 2026-01-01 00:00:00, UTC"),
        ({"interval_seconds": 3600}, "Every hour, counted from 2026-01-01 00:00:00, UTC"),
        (
            {"interval_seconds": 300, "start_at": "2026-02-01", "max_runs": 2},
            "Every 5 minutes, counted from 2026-02-01 00:00:00, UTC, at most 2 times",
        ),
        (
            {"cron_expr": "0 3 * * *", "start_at": "2026-02-01", "end_at": "2026-03-01", "max_runs": 1},
            "At 03:00, every day, UTC, from 2026-02-01 00:00:00, until 2026-03-01 00:00:00, at most once",
        ),
    ],
)
def test_a_timetable_is_explained(values: dict[str, Any], explanation: str) -> None:
    assert describe(timed(**values), NOW).explanation == explanation


def test_warnings_come_from_the_expression_and_the_zone() -> None:
    warnings = describe(timed(cron_expr="30 2 */7 * *", timezone="Europe/Berlin"), NOW).warnings
    assert any("step 7" in warning for warning in warnings)


def test_what_cannot_be_read_is_a_warning_not_an_error() -> None:
    for broken in (replace(BLANK, cron_expr="junk"), replace(BLANK, timezone="Mars/Olympus", cron_expr="@daily")):
        description = describe(broken, NOW)
        assert description.explanation is None
        assert len(description.warnings) == 1


def shown(count: int = 3, now: Instant = NOW, **values: Any) -> list[tuple[str, str]]:
    return [(fire.local, fire.note or "") for fire in occurrences(timed(now=now, **values), now, count)]


def test_occurrences_show_the_clock_change() -> None:
    march = parse_instant("now", "2026-03-27T12:00:00Z", BERLIN)
    fires = shown(now=march, cron_expr="30 2 * * *", timezone="Europe/Berlin")
    assert [local for local, _ in fires] == [
        "2026-03-28T02:30:00+01:00",
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]
    assert [note[:20] for _, note in fires] == ["", "clocks go forward at", ""]
    october = parse_instant("now", "2026-10-24T22:40:00Z", BERLIN)
    fires = shown(5, now=october, cron_expr="*/30 * * * *", timezone="Europe/Berlin")
    assert [(local[11:16], note[:18]) for local, note in fires] == [
        ("01:00", ""),
        ("01:30", ""),
        ("02:00", "clocks will go bac"),
        ("02:30", "clocks will go bac"),
        ("02:00", "clocks went back: "),
    ]


def test_occurrences_end_with_the_schedule() -> None:
    assert len(shown(10, cron_expr="@daily", max_runs=4)) == 4
    assert len(shown(10, cron_expr="@daily", end_at="2026-01-06T00:00:00Z")) == 5
    assert len(shown(10, run_at="2026-05-01")) == 1
    assert len(shown(10, interval_seconds=3)) == 10
    assert shown(10) == []
    ran = replace(timed(cron_expr="@daily", max_runs=4), run_count=3)
    assert len(occurrences(ran, NOW, 10)) == 1


def test_occurrences_carry_offset_and_instant() -> None:
    fire = occurrences(timed(cron_expr="0 3 * * *", timezone="America/New_York"), NOW, 1)[0]
    assert (fire.offset, fire.local, iso_utc(fire.at)) == (
        "-05:00",
        "2026-01-01T03:00:00-05:00",
        "2026-01-01T08:00:00.000Z",
    )
