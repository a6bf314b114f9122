"""When cron expressions are due: clock changes, the calendar's corners, past and far future."""

from datetime import datetime
from pathlib import Path

import pytest

from agentclock.core.cron import Cron
from agentclock.core.zones import Zone

UTC = Zone.load("UTC")
OBSERVED = Path(__file__).parent.parent / "data" / "cron_debian_dst.tsv"


def epoch(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def chain(expression: str, zone_name: str, after: str, count: int) -> list[str]:
    """The next due instants as local ISO texts."""
    zone = Zone.load(zone_name)
    return [zone.iso(at) for at in Cron.parse(expression).between(epoch(after), 1 << 40, zone, count)]


def test_every_observation_of_debian_cron_is_met() -> None:
    lines = [line for line in OBSERVED.read_text().splitlines() if not line.startswith("#")]
    wrong = []
    for line in lines[1:]:
        expression, zone_name, after, expected = line.split("\t")
        found = Cron.parse(expression).next(epoch(after), Zone.load(zone_name))
        if found != epoch(expected):
            wrong.append(line)
    assert len(lines) > 2500
    assert wrong == []


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        # Clocks go forward: one run right after the jump.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00Z",
            ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"],
        ),
        (
            "0,30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00Z",
            ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"],
        ),
        (
            "0 2,3 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00Z",
            ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"],
        ),
        (
            "15 2-3 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00Z",
            ["2026-03-29T03:00:00+02:00", "2026-03-29T03:15:00+02:00"],
        ),
        # Wildcard jobs follow the clock.
        ("*/30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", ["2026-03-30T02:00:00+02:00"]),
        ("0 * * * *", "Europe/Berlin", "2026-03-29T00:00Z", ["2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"]),
        # Clocks go back: set times once, at the first occurrence; wildcard jobs in both passes.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00Z",
            ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"],
        ),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:45Z", ["2026-10-26T02:30:00+01:00"]),
        (
            "30 * * * *",
            "Europe/Berlin",
            "2026-10-25T00:00Z",
            ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"],
        ),
        (
            "*/30 2 * * *",
            "Europe/Berlin",
            "2026-10-25T00:10Z",
            ["2026-10-25T02:30:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T02:30:00+01:00"],
        ),
        # Half an hour, two hours, midnight.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00Z", ["2026-10-04T02:30:00+11:00"]),
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-04T12:00Z",
            ["2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"],
        ),
        ("30 2 * * *", "Antarctica/Troll", "2026-03-28T12:00Z", ["2026-03-29T03:00:00+02:00"]),
        (
            "0 0 * * *",
            "America/Havana",
            "2026-03-07T12:00Z",
            ["2026-03-08T01:00:00-04:00", "2026-03-09T00:00:00-04:00"],
        ),
        ("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00Z", ["2018-11-04T01:00:00-02:00"]),
        ("10 0 * * *", "Asia/Kathmandu", "1985-12-31T12:00Z", ["1986-01-01T00:15:00+05:45"]),
        # Three hours and more: a new clock, nothing made up.
        ("0 12 * * *", "Pacific/Apia", "2011-12-29T23:00Z", ["2011-12-31T12:00:00+14:00"]),
        (
            "30 1 * * *",
            "Antarctica/Casey",
            "2018-10-06T12:00Z",
            ["2018-10-07T01:30:00+08:00", "2018-10-08T01:30:00+11:00"],
        ),
        ("30 5 * * *", "Antarctica/Casey", "2018-10-06T12:00Z", ["2018-10-08T05:30:00+11:00"]),
        # Exactly three hours back still counts as an overlap.
        (
            "30 2 * * *",
            "Antarctica/Casey",
            "2018-03-10T12:00Z",
            ["2018-03-11T02:30:00+11:00", "2018-03-12T02:30:00+08:00"],
        ),
    ],
)
def test_clock_changes(expression: str, zone: str, after: str, expected: list[str]) -> None:
    assert chain(expression, zone, after, len(expected)) == expected


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("0 0 L * *", "2027-12-31T00:00Z", ["2028-01-31", "2028-02-29", "2028-03-31", "2028-04-30"]),
        ("0 0 LW * *", "2026-01-01T00:00Z", ["2026-01-30", "2026-02-27", "2026-03-31", "2026-04-30", "2026-05-29"]),
        ("0 0 15W * *", "2026-01-01T00:00Z", ["2026-01-15", "2026-02-16", "2026-03-16", "2026-04-15", "2026-05-15"]),
        ("0 0 1W * *", "2026-01-31T00:00Z", ["2026-02-02", "2026-03-02", "2026-04-01", "2026-05-01"]),
        ("0 0 1W 8 *", "2026-01-01T00:00Z", ["2026-08-03"]),
        ("0 0 31W * *", "2026-01-01T00:00Z", ["2026-01-30", "2026-03-31", "2026-05-29", "2026-07-31", "2026-08-31"]),
        ("0 0 * * fri#2", "2026-01-01T00:00Z", ["2026-01-09", "2026-02-13", "2026-03-13"]),
        ("0 0 * * mon#5", "2026-01-01T00:00Z", ["2026-03-30", "2026-06-29", "2026-08-31"]),
        ("0 0 * * friL", "2026-01-01T00:00Z", ["2026-01-30", "2026-02-27", "2026-03-27"]),
        ("0 0 * * 7L,mon#1", "2026-01-01T00:00Z", ["2026-01-05", "2026-01-25", "2026-02-02", "2026-02-22"]),
        # OR of the day fields, unless one starts with *.
        ("0 0 13 * 5", "2026-02-01T00:00Z", ["2026-02-06", "2026-02-13", "2026-02-20", "2026-02-27", "2026-03-06"]),
        ("0 0 L * friL", "2026-01-01T00:00Z", ["2026-01-30", "2026-01-31", "2026-02-27", "2026-02-28"]),
        ("0 0 1-7 * */7", "2026-01-01T00:00Z", ["2026-01-04", "2026-02-01", "2026-03-01"]),
        ("0 0 */10 * mon", "2026-01-01T00:00Z", ["2026-05-11", "2026-06-01", "2026-08-31"]),
        # Rare and far.
        ("0 0 29 2 */7", "2020-01-01T00:00Z", ["2032-02-29", "2060-02-29", "2088-02-29", "2128-02-29"]),
        ("0 0 29 2 *", "2094-01-01T00:00Z", ["2096-02-29", "2104-02-29"]),
        ("0 0 31 11 1", "2026-11-25T00:00Z", ["2026-11-30", "2027-11-01"]),
    ],
)  # fmt: skip
def test_dates(expression: str, after: str, expected: list[str]) -> None:
    assert [text[:10] for text in chain(expression, "UTC", after, len(expected))] == expected
    assert all(text.endswith("T00:00:00+00:00") for text in chain(expression, "UTC", after, 3))


def test_the_longest_gap_is_crossed_both_ways() -> None:
    cron = Cron.parse("0 0 29 2 */7")
    before, after = epoch("2088-02-29T00:00Z"), epoch("2128-02-29T00:00Z")
    assert cron.next(before, UTC) == after
    assert cron.prev(after, UTC) == before


def test_the_rules_hold_in_the_far_future_and_the_past() -> None:
    assert chain("30 2 * * *", "America/New_York", "2150-03-07T12:00Z", 1) == ["2150-03-08T03:00:00-04:00"]
    assert chain("30 1 * * *", "America/New_York", "2150-10-31T12:00Z", 2) == [
        "2150-11-01T01:30:00-04:00",
        "2150-11-02T01:30:00-05:00",
    ]
    assert chain("0 12 * * *", "Europe/Berlin", "1880-01-01T00:00Z", 1) == ["1880-01-01T12:00:00+00:53:28"]
    assert chain("30 2 * * *", "Europe/Berlin", "1945-05-23T12:00Z", 1) == ["1945-05-24T03:00:00+03:00"]


def test_a_change_by_seconds_repeats_no_minute() -> None:
    # Monrovia left -00:44:30 at midnight of 1972-01-07: the clock went from 00:00 to 00:44:30.
    assert chain("* * * * *", "Africa/Monrovia", "1972-01-07T00:43:00Z", 3) == [
        "1972-01-06T23:59:00-00:44:30",
        "1972-01-07T00:44:30+00:00",
        "1972-01-07T00:45:00+00:00",
    ]


def test_prev_answers_the_made_up_run_once() -> None:
    zone, cron = Zone.load("Europe/Berlin"), Cron.parse("0,30 2 * * *")
    jump = epoch("2026-03-29T01:00Z")
    assert cron.prev(jump + 1, zone) == jump
    assert cron.prev(jump, zone) == epoch("2026-03-28T01:30Z")
    assert cron.next(jump - 1, zone) == jump
    assert cron.next(jump, zone) == epoch("2026-03-30T00:00Z")


def test_prev_skips_the_second_pass_for_set_times_only() -> None:
    zone, end = Zone.load("Europe/Berlin"), epoch("2026-10-25T01:59Z")
    assert Cron.parse("30 2 * * *").prev(end, zone) == epoch("2026-10-25T00:30Z")
    assert Cron.parse("30 * * * *").prev(end, zone) == epoch("2026-10-25T01:30Z")


def test_between_excludes_its_start_and_includes_its_end() -> None:
    cron = Cron.parse("* * * * *")
    assert cron.between(0, 180, UTC, 10) == [60, 120, 180]
    assert cron.between(0, 179, UTC, 10) == [60, 120]
    assert cron.between(0, 180, UTC, 2) == [60, 120]
    assert cron.between(0, 180, UTC, 0) == []
    assert cron.between(60, 60, UTC, 10) == []


def test_seconds_are_respected() -> None:
    cron = Cron.parse("* * * * *")
    assert [cron.next(at, UTC) for at in (59, 60, 61)] == [60, 120, 120]
    assert [cron.prev(at, UTC) for at in (60, 61, 120)] == [0, 60, 60]


def test_on_demand_is_never_due() -> None:
    cron = Cron.parse("")
    assert cron.next(0, UTC) is None
    assert cron.prev(0, UTC) is None
    assert cron.between(0, 1 << 40, UTC, 10) == []
    assert cron.warnings(UTC, 0) == []


def test_the_calendar_has_ends() -> None:
    cron = Cron.parse("* * * * *")
    assert cron.next(1 << 50, UTC) is None
    assert cron.prev(-(1 << 50), UTC) is None
    assert cron.next(220_000_000_000, UTC) == 220_000_000_020
