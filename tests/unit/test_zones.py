"""Time zones: data, names, offsets, wall clock to instant and back."""

import random
import struct
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentclock.core import zones
from agentclock.core.tzif import TzifError, parse_tzif
from agentclock.core.zones import LocalTime, Zone, ZoneError, available, tzdata_version

PACKAGE = Path(str(resources.files("tzdata") / "zoneinfo"))


@pytest.fixture
def fresh_sources() -> Iterator[None]:
    """Forget what was read, before and after."""

    def forget() -> None:
        for cached in (zones._sources, zones._names, zones._load):
            cached.cache_clear()

    forget()
    yield
    forget()


def epoch(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


@pytest.mark.parametrize("name", ["Europe/Berlin", "europe/berlin", "EUROPE/BERLIN"])
def test_names_are_read_in_any_case_and_kept_as_iana_spells_them(name: str) -> None:
    zone = Zone.load(name)
    assert zone.name == "Europe/Berlin"
    assert zone == Zone.load("Europe/Berlin")
    assert zone.data_version == tzdata_version()


@pytest.mark.parametrize(
    "name",
    ["", " ", "localtime", "posixrules", "Factory", "factory", "Nowhere", "Europe", "Europe/", "../etc/passwd",
     "/etc/localtime", "Europe/../Europe/Berlin", "Europe//Berlin", "./UTC", "UTC\0", "tzdata.zi", "zone.tab",
     "posix/UTC", "right/UTC", "Europe\\Berlin", "UTC+2", "__init__.py", "Ｕtc"],
)  # fmt: skip
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(ZoneError, match="unknown time zone") as caught:
        Zone.load(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Berlin", "Europe/Berlin"),
        ("Europe/Berln", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("US/NewYork", "America/New_York"),
        ("Amerika/Bogota", "America/Bogota"),
    ],
)
def test_near_names_are_suggested(name: str, hint: str) -> None:
    with pytest.raises(ZoneError, match=f"did you mean .*{hint}"):
        Zone.load(name)


def test_every_listed_zone_loads() -> None:
    names = available()
    assert len(names) > 580
    assert {"UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Asia/Calcutta"} <= set(names)
    assert not {"Factory", "localtime", "posixrules"} & set(names)
    assert [Zone.load(name).name for name in names] == names


def test_offsets_equal_the_standard_library() -> None:
    pick = random.Random(3)
    for name in pick.sample(available(), 120):
        zone = Zone.load(name)
        with (PACKAGE / name).open("rb") as data:
            reference = zoneinfo.ZoneInfo.from_file(data)
        for at in [pick.randrange(-3_000_000_000, 9_000_000_000) for _ in range(40)]:
            expected = datetime.fromtimestamp(at, UTC).astimezone(reference).utcoffset()
            assert expected is not None
            assert zone.offset_at(at) == expected.total_seconds(), (name, at)


@pytest.mark.parametrize(
    ("name", "after", "at", "before", "then"),
    [
        ("Europe/Berlin", "2026-01-01T00:00Z", "2026-03-29T01:00Z", 3600, 7200),
        ("Europe/Berlin", "2026-03-29T01:00Z", "2026-10-25T01:00Z", 7200, 3600),
        ("Europe/Dublin", "2100-01-01T00:00Z", "2100-03-28T01:00Z", 0, 3600),
        ("America/New_York", "2500-01-01T00:00Z", "2500-03-14T07:00Z", -18000, -14400),
        ("Pacific/Apia", "2011-12-01T00:00Z", "2011-12-30T10:00Z", -36000, 50400),
        ("Africa/Casablanca", "2026-01-01T00:00Z", "2026-02-15T02:00Z", 3600, 0),
    ],
)
def test_next_change(name: str, after: str, at: str, before: int, then: int) -> None:
    zone = Zone.load(name)
    assert zone.next_change(epoch(after)) == (epoch(at), before, then)
    assert zone.next_change(epoch(at) - 1) == (epoch(at), before, then)


def test_zones_without_changes_to_come() -> None:
    assert Zone.load("UTC").next_change(0) is None
    assert Zone.load("Asia/Kolkata").next_change(epoch("2026-01-01T00:00Z")) is None


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/New_York", "Australia/Sydney"])
def test_the_rules_go_on_to_the_end_of_the_calendar(name: str) -> None:
    zone, at, changes = Zone.load(name), epoch("9997-12-31T12:00Z"), 0
    while (change := zone.next_change(at)) is not None:
        assert change[0] > at
        assert change[1] != change[2]
        at, changes = change[0], changes + 1
    assert changes == 4  # two years, two each; then there is no calendar any more
    assert zone.local(at - 1).year == zone.local(epoch("9999-12-30T12:00Z")).year == 9999
    assert zone.offset_at(1 << 40) == zone.offset_at(at)


@pytest.mark.parametrize(
    ("name", "local", "at"),
    [
        ("Europe/Berlin", (2026, 3, 29, 1, 59), "2026-03-29T00:59Z"),
        ("Europe/Berlin", (2026, 3, 29, 2, 0), "2026-03-29T01:00Z"),
        ("Europe/Berlin", (2026, 3, 29, 2, 59, 59), "2026-03-29T01:00Z"),
        ("Europe/Berlin", (2026, 3, 29, 3, 0), "2026-03-29T01:00Z"),
        ("Europe/Berlin", (2026, 10, 25, 2, 30), "2026-10-25T00:30Z"),
        ("Europe/Berlin", (2026, 10, 25, 3, 0), "2026-10-25T02:00Z"),
        ("Pacific/Apia", (2011, 12, 30, 12, 0), "2011-12-30T10:00Z"),
        ("Pacific/Kiritimati", (2026, 1, 1), "2025-12-31T10:00Z"),
        ("America/New_York", (2150, 7, 1, 12), "2150-07-01T16:00Z"),
    ],
)
def test_wall_clock_to_instant(name: str, local: tuple[int, ...], at: str) -> None:
    assert Zone.load(name).to_epoch(*local) == epoch(at)


@pytest.mark.parametrize(
    "local", [(2026, 2, 29), (2026, 13, 1), (2026, 1, 1, 24), (2026, 1, 1, 0, 60), (2026, 1, 1, 0, 0, 60)]
)
def test_no_such_wall_clock_time(local: tuple[int, ...]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        Zone.load("UTC").to_epoch(*local)


@settings(max_examples=200)
@given(st.sampled_from(available()), st.integers(-3_000_000_000, 9_000_000_000))
def test_instant_to_wall_clock_and_back(name: str, at: int) -> None:
    zone = Zone.load(name)
    back = zone.to_epoch(*zone.local(at))
    assert back <= at
    assert zone.local(back) == zone.local(at)
    segment = zone.segment_at(at)
    assert segment.start <= at < segment.end
    assert zone.segment_at(segment.start) == segment


def test_local_and_iso() -> None:
    zone = Zone.load("Europe/Berlin")
    at = epoch("2026-03-29T01:00:07Z")
    assert zone.local(at) == LocalTime(2026, 3, 29, 3, 0, 7)
    assert zone.iso(at) == "2026-03-29T03:00:07+02:00"
    assert Zone.load("America/St_Johns").iso(0) == "1969-12-31T20:30:00-03:30"
    assert zone.iso(epoch("1880-01-01T00:00Z")) == "1880-01-01T00:53:28+00:53:28"
    assert Zone.load("UTC").iso(-1) == "1969-12-31T23:59:59+00:00"


def system_data(tmp_path: Path, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system directory that knows one zone, whose file is Berlin's."""
    (tmp_path / "tzdata.zi").write_text(f"# version {version}\nZ Test/Town 1 - CET\nL Test/Town Test/Gone\n")
    (tmp_path / "Test").mkdir()
    (tmp_path / "Test" / "Town").write_bytes((PACKAGE / "Europe" / "Berlin").read_bytes())
    monkeypatch.setattr(zoneinfo, "TZPATH", (str(tmp_path),))


@pytest.mark.usefixtures("fresh_sources")
def test_newer_system_data_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system_data(tmp_path, "2999a", monkeypatch)
    assert tzdata_version() == "2999a"
    assert Zone.load("test/town").data_version == "2999a"
    # A zone that the system lacks still comes from the package, with the package's version.
    assert Zone.load("Europe/Berlin").data_version < "2999a"
    with pytest.raises(ZoneError):
        Zone.load("Test/Gone")


@pytest.mark.usefixtures("fresh_sources")
def test_older_system_data_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system_data(tmp_path, "2001a", monkeypatch)
    assert tzdata_version() > "2025a"
    assert "Test/Town" not in available()


@pytest.mark.usefixtures("fresh_sources")
def test_system_data_without_a_version_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tzdata.zi").write_text("Z Test/Town 1 - CET\n")
    monkeypatch.setattr(zoneinfo, "TZPATH", (str(tmp_path), str(tmp_path / "missing")))
    assert "Europe/Berlin" in available()


def tzif(footer: str, version: bytes = b"2") -> bytes:
    """A file without listed changes, only a rule."""
    header = struct.pack(">4sc15x6L", b"TZif", version, 0, 0, 0, 0, 1, 4)
    return (header + struct.pack(">lBB", 0, 0, 0) + b"UTC\0") * 2 + f"\n{footer}\n".encode()


@pytest.mark.parametrize(
    ("footer", "year", "start", "end"),
    [
        ("CET-1CEST,M3.5.0,M10.5.0/3", 2026, "2026-03-29T01:00Z", "2026-10-25T01:00Z"),
        ("IST-1GMT0,M10.5.0,M3.5.0/1", 2026, "2026-10-25T01:00Z", "2026-03-29T01:00Z"),
        ("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 2026, "2026-03-29T01:00Z", "2026-10-25T01:00Z"),
        ("IST-2IDT,M3.4.4/26,M10.5.0", 2026, "2026-03-27T00:00Z", "2026-10-24T23:00Z"),
        ("AAA0BBB-1:30,J60/0,J300/0", 2028, "2028-03-01T00:00Z", "2028-10-26T22:30Z"),
        ("AAA0BBB,J59/0,59/0", 2028, "2028-02-28T00:00Z", "2028-02-28T23:00Z"),
    ],
)
def test_posix_rules(footer: str, year: int, start: str, end: str) -> None:
    rule = parse_tzif(tzif(footer)).rule
    assert rule is not None
    assert [at for at, _ in rule.changes(year)] == [epoch(start), epoch(end)]


@pytest.mark.parametrize(
    "data",
    [b"", b"TZif", b"nonsense" * 20, tzif("UTC0", version=b"\0"), tzif("what?"), tzif("UTC0")[:-20], tzif("AAA0BBB")],
)
def test_damaged_data_is_refused(data: bytes) -> None:
    with pytest.raises(TzifError):
        parse_tzif(data)
