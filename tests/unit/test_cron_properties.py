"""Cron against a minute-by-minute simulation, over many zones and clock changes."""

import importlib.util
import random
import zoneinfo
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentclock.core.cron import Cron, CronError
from agentclock.core.zones import Zone

_spec = importlib.util.spec_from_file_location("cron_reference", Path(__file__).with_name("cron_reference.py"))
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
Reference = _module.Reference

DAY = 86_400
ZONES = [
    "Africa/Cairo", "Africa/Casablanca", "Africa/El_Aaiun", "America/Asuncion", "America/Caracas",
    "America/Havana", "America/New_York", "America/Sao_Paulo", "America/Scoresbysund", "America/St_Johns",
    "Antarctica/Casey", "Antarctica/Davis", "Antarctica/Troll", "Asia/Beirut", "Asia/Colombo", "Asia/Gaza",
    "Asia/Kathmandu", "Asia/Pyongyang", "Asia/Tehran", "Australia/Lord_Howe", "Europe/Chisinau",
    "Europe/Dublin", "Europe/Moscow", "Pacific/Apia", "Pacific/Chatham", "Pacific/Kwajalein", "UTC",
]  # fmt: skip
EXPRESSIONS = [
    "* * * * *", "*/15 * * * *", "0 * * * *", "0 */2 * * *", "*/20 2 * * *", "* 1 * * *", "30 * * * *",
    "30 2 * * *", "0 0 * * *", "0,30 0-5 * * *", "20-40 0-3 * * *", "45 23 * * *", "30 1 * * mon-fri",
    "15 1-3 1-28 * *", "59 23 L * *", "5 0 * * *", "0 3 * * 0", "30 0 */2 * *", "10/20 1 * * *",
]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _same_zone_data() -> Iterator[None]:
    """Let the standard library read the package's data, too: the system's may be older."""
    zoneinfo.ZoneInfo.clear_cache()
    zoneinfo.reset_tzpath(to=[str(resources.files("tzdata") / "zoneinfo")])
    yield
    zoneinfo.reset_tzpath()
    zoneinfo.ZoneInfo.clear_cache()


def changes(zone: Zone, start: int, end: int) -> list[int]:
    found = []
    change = zone.next_change(start)
    while change and change[0] < end:
        found.append(change[0])
        change = zone.next_change(change[0])
    return found


@pytest.mark.parametrize("name", ZONES)
def test_runs_around_clock_changes_equal_a_simulated_daemon(name: str) -> None:
    zone = Zone.load(name)
    pick = random.Random(name)
    instants = changes(zone, 100_000_000, 5_000_000_000) or [1_800_000_000]
    for change in pick.sample(instants, min(2, len(instants))):
        for expression in pick.sample(EXPRESSIONS, 2):
            start, end = change - DAY // 2, change + DAY // 2
            expected = Reference(expression).runs(name, start, end)
            assert Cron.parse(expression).between(start, end, zone, 5000) == expected, (expression, change)


def number_items(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    pair = st.tuples(number, number).map(sorted)
    step = st.integers(1, high).map("/{}".format)
    return st.one_of(
        number.map(str),
        pair.map(lambda ends: f"{ends[0]}-{ends[1]}"),
        st.tuples(pair, step).map(lambda both: f"{both[0][0]}-{both[0][1]}{both[1]}"),
        st.tuples(number, step).map(lambda both: f"{both[0]}{both[1]}"),
        st.just("*"),
        step.map("*{}".format),
    )


def lists(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(items, min_size=1, max_size=3).map(",".join)


weekday = st.sampled_from(["0", "1", "5", "7", "mon", "FRI", "Sun"])
day_items = st.one_of(number_items(1, 31), st.sampled_from(["L", "LW", "1W", "15W", "30w", "?"]))
weekday_items = st.one_of(
    number_items(0, 7),
    weekday,
    st.tuples(weekday, st.integers(1, 5)).map(lambda both: f"{both[0]}#{both[1]}"),
    weekday.map("{}L".format),
)
expressions = st.tuples(
    lists(number_items(0, 59)),
    lists(number_items(0, 23)),
    st.one_of(st.just("*"), lists(day_items)),
    st.one_of(st.just("*"), st.just("*"), lists(number_items(1, 12)), st.sampled_from(["jan-jun", "feb,JUL"])),
    st.one_of(st.just("*"), lists(weekday_items)),
).map(" ".join)
instants = st.integers(-3_000_000_000, 6_000_000_000)


def parsed(expression: str) -> Cron | None:
    try:
        return Cron.parse(expression)
    except CronError as error:
        assert "never" in error.reason or len(expression) > 128  # noqa: PT017
        return None


@settings(max_examples=60)
@given(expressions, st.sampled_from(ZONES), st.integers(100_000_000, 5_000_000_000))
def test_any_expression_equals_a_simulated_daemon(expression: str, name: str, start: int) -> None:
    cron = parsed(expression)
    if cron is not None:
        expected = Reference(expression).runs(name, start, start + DAY)
        assert cron.between(start, start + DAY, Zone.load(name), 5000) == expected


@settings(max_examples=60)
@given(expressions, st.integers(1970 * 12, 2400 * 12))
def test_matching_days_equal_the_reference(expression: str, month: int) -> None:
    cron = parsed(expression)
    if cron is None:
        return
    daily_noon = " ".join(["0", "12", *expression.split()[2:]])
    at_noon, reference = Cron.parse(daily_noon), Reference(daily_noon)
    zone = Zone.load("UTC")
    start, end = zone.to_epoch(month // 12, month % 12 + 1, 1), zone.to_epoch(month // 12, month % 12 + 1, 28)
    noons = range(start + DAY // 2, end + DAY, DAY)
    expected = [noon for noon in noons if reference.matches(_module.local_time(noon, zoneinfo.ZoneInfo("UTC")))]
    assert at_noon.between(start, end + DAY - 1, zone, 50) == expected
    assert at_noon.prev(end + DAY, zone) == (expected[-1] if expected else at_noon.prev(start, zone))


@settings(max_examples=200)
@given(expressions, st.sampled_from(ZONES), instants)
def test_next_and_prev_agree(expression: str, name: str, at: int) -> None:
    cron, zone = parsed(expression), Zone.load(name)
    if cron is None:
        return
    later = cron.next(at, zone)
    assert later is not None
    assert later > at
    earlier = cron.prev(later, zone)
    assert earlier is not None
    assert earlier <= at
    assert cron.next(earlier, zone) == later
    assert cron.prev(later + 1, zone) == later


@settings(max_examples=60)
@given(expressions, st.sampled_from(ZONES), instants, st.integers(0, 30 * DAY), st.integers(0, 40))
def test_between_is_iterated_next(expression: str, name: str, start: int, span: int, limit: int) -> None:
    cron, zone = parsed(expression), Zone.load(name)
    if cron is None:
        return
    found: list[int] = []
    due = cron.next(start, zone)
    while due is not None and due <= start + span and len(found) < limit:
        found.append(due)
        due = cron.next(due, zone)
    assert cron.between(start, start + span, zone, limit) == found
    assert found == sorted(set(found))


@settings(max_examples=150)
@given(expressions)
def test_the_canonical_text_means_the_same(expression: str) -> None:
    cron, zone = parsed(expression), Zone.load("Europe/Berlin")
    if cron is not None:
        again = Cron.parse(cron.canonical)
        assert (again, again.kind, again.canonical) == (cron, cron.kind, cron.canonical)
        assert again.next(1_800_000_000, zone) == cron.next(1_800_000_000, zone)
        assert cron.explain()
        cron.warnings(zone, 1_800_000_000)


@settings(max_examples=300)
@given(st.text(alphabet="0123456789*,-/ LW#?@adefhijlmnorstuvw", max_size=24))
def test_text_is_read_or_refused_but_never_breaks(text: str) -> None:
    try:
        cron = Cron.parse(text)
    except CronError as error:
        assert 0 <= error.position <= len(text)  # noqa: PT017
        assert error.reason in str(error)  # noqa: PT017
    else:
        assert cron.next(0, Zone.load("UTC")) is not None or text == ""


@settings(max_examples=300)
@given(st.sampled_from(EXPRESSIONS), st.sampled_from(ZONES), st.integers(0, 10**6), st.integers(0, 90 * DAY))
def test_counting_finds_as_many_as_listing(expression: str, name: str, place: int, length: int) -> None:
    """Mostly around clock changes, which is where they would part."""
    cron, zone = Cron.parse(expression), Zone.load(name)
    turns = changes(zone, 1_000_000_000, 1_900_000_000) or [1_700_000_000]
    a = turns[place % len(turns)] - place % (3 * DAY) + DAY
    length = length if expression != "* * * * *" else length % (3 * DAY)
    assert cron.count(a, a + length, zone) == len(cron.between(a, a + length, zone, 10**6))


def test_counting_takes_no_longer_for_a_century() -> None:
    zone = Zone.load("UTC")
    century = 36_525 * DAY
    assert Cron.parse("* * * * *").count(0, century, zone) == century // 60
    assert Cron.parse("0 0 29 2 *").count(0, century, zone) == 25
    assert Cron.parse("").count(0, century, zone) == 0


@given(
    name=st.sampled_from(ZONES),
    expression=st.sampled_from(EXPRESSIONS),
    start=st.integers(1_000_000_000, 2_000_000_000),
    days=st.integers(1, 400),
    limit=st.sampled_from([1, 7, 1_440, 1_441, 2_500]),
)
@settings(max_examples=60)
def test_many_days_at_a_time_are_what_they_are_one_by_one(
    name: str, expression: str, start: int, days: int, limit: int
) -> None:
    cron, zone = Cron.parse(expression), Zone.load(name)
    one_by_one: list[int] = []
    due = cron.next(start, zone)
    while due is not None and due <= start + days * DAY and len(one_by_one) < limit:
        one_by_one.append(due)
        due = cron.next(due, zone)
    assert cron.between(start, start + days * DAY, zone, limit) == one_by_one
