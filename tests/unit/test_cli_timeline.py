"""The timeline in the terminal: what is drawn where."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from agentclock.cli.marks import MARKS
from agentclock.cli.timeline_drawing import MOST_FIRES, MOST_RUNS, Line, draw, plain

#: 2026-01-01T00:00Z.
BEGIN = 1_767_225_600_000
HOUR = 3_600_000


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In a zone an hour ahead of UTC, in winter."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def instant(at_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(at_ms / 1000))


def lane(
    name: str = "night", *runs: tuple[float, float | None, str], planned: tuple[float, ...] = ()
) -> dict[str, Any]:
    """Runs: begin and end in hours, and the state."""
    marks = {
        "fire_at_ms": [BEGIN + int(begin * HOUR) for begin, _, _ in runs],
        "started_at_ms": [BEGIN + int(begin * HOUR) for begin, _, _ in runs],
        "ended_at_ms": [None if end is None else BEGIN + int(end * HOUR) for _, end, _ in runs],
        "status": [status for _, _, status in runs],
    }
    ahead = [BEGIN + int(at * HOUR) for at in planned]
    return {"name": name, "enabled": True, "marks": marks, "planned_ms": ahead, "is_complete": True}


def timeline(*lanes: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """24 hours, now is in the middle."""
    series = {name: [0] * 4 for name in (*MARKS, "planned")}
    made: dict[str, Any] = {
        "from": instant(BEGIN),
        "to": instant(BEGIN + 24 * HOUR),
        "now": instant(BEGIN + 12 * HOUR),
        "bins": {"series": series},
        "busiest": None,
        "seams": [],
        "lanes": list(lanes),
        "lanes_total": len(lanes),
        "planned_is_complete": True,
    }
    return made | changes


def drawn(lines: list[Line]) -> list[str]:
    return plain(lines).splitlines()


#: A name of 6 columns, two blanks, and a cell for each half hour.
WIDTH = 8 + 48


def test_runs_stand_where_they_were_as_long_as_they_took() -> None:
    night = lane("nights", (1, 1, "success"), (3, 5, "failed"), (11, None, "running"), planned=(13, 23.9))
    _, _, row, *_ = drawn(draw(timeline(night), WIDTH))
    cells = row[8:].ljust(48)
    assert row.startswith("nights  ")
    assert cells[2] == "●"
    assert cells[6:11] == "✗────"
    assert cells[22:25] == "▶──"
    assert cells[26] == cells[47] == "·"
    assert cells.replace(" ", "") == "●✗────▶──··"


def test_now_is_a_line_where_nothing_else_is() -> None:
    axis, _, busy, idle, *_ = drawn(draw(timeline(lane("nights", (12, 12, "success")), lane("x")), WIDTH))
    assert axis[8 + 24] == "▼"
    assert busy[8 + 24] == "●"
    assert idle[8 + 24] == "│"


@pytest.mark.parametrize("statuses", [("success", "failed"), ("failed", "success"), ("missed", "skipped", "success")])
def test_the_worst_is_seen_where_several_share_a_cell(statuses: tuple[str, ...]) -> None:
    night = lane("nights", *((1, 1.0, status) for status in statuses))
    worst = min(statuses, key=list(MARKS).index)
    [piece] = [piece for piece in draw(timeline(night), WIDTH)[2][1:] if piece[0].strip() and piece[0] != "│"]
    assert piece == (MARKS[worst].shape, MARKS[worst].style)


def test_each_state_has_a_shape_and_a_letter_of_its_own() -> None:
    assert len({mark.shape for mark in MARKS.values()}) == len({mark.ascii for mark in MARKS.values()}) == len(MARKS)


def test_labels_are_even_local_times() -> None:
    axis, *_ = drawn(draw(timeline(lane("nights")), WIDTH))
    assert axis.startswith("CET ")
    at = {label: axis.index(label) - 8 for label in ("06:00", "18:00")}
    assert at == {"06:00": 10, "18:00": 34}  # 05:00 and 17:00 in UTC
    axis, *_ = drawn(draw(timeline(lane("nights"), **{"from": instant(BEGIN - 2 * HOUR)}), WIDTH))
    assert "Thu 01" in axis


def test_now_stands_in_no_label() -> None:
    axis, *_ = drawn(draw(timeline(lane("nights"), now=instant(BEGIN + 5 * HOUR)), WIDTH))
    assert "06:00" not in axis
    assert axis[8 + 10] == "▼"
    assert "12:00" in axis


@pytest.mark.parametrize("hours", [0.5, 3, 48, 24 * 20, 24 * 300])
@pytest.mark.parametrize("width", [20, 60, 200])
def test_labels_have_room_however_long_the_time_is(hours: float, width: int) -> None:
    lines = drawn(draw(timeline(lane("x"), to=instant(BEGIN + int(hours * HOUR))), width))
    labels = lines[0][5:].replace("▼", " ").split("  ")
    assert all(len(label.strip()) <= 6 for label in labels)
    if width == 200:
        assert len([label for label in labels if label.strip()]) >= 3


@pytest.mark.parametrize("width", [60, 80, 131])
def test_it_fits_the_width(width: int) -> None:
    night = lane("a name that is far too long for any lane of them all", (1, 30, "success"), planned=(14, 40, -3))
    lines = drawn(draw(timeline(night, lane("x")), width))
    assert max(map(len, lines)) <= width
    assert "…" in lines[2]


def test_it_does_not_look_as_if_nothing_happened_where_nothing_is_told() -> None:
    runs = [(6 + number / 100, 6.0, "success") for number in range(MOST_RUNS)]
    busy = lane("nights", *runs, planned=tuple(13 + number / 100 for number in range(MOST_FIRES)))
    row = drawn(draw(timeline(busy), WIDTH))[2][8:]
    assert row[:12] == "┈" * 12
    assert row[32:] == "┈" * 16
    assert row[12] == "●"
    assert row[31] == "·"
    few = drawn(draw(timeline(lane("nights", (6, 6, "success"), planned=(13,))), WIDTH))[2]
    assert "┈" not in few


def test_all_together_show_how_much_and_whether_something_failed() -> None:
    made = timeline(lane("nights"))
    made["bins"]["series"] |= {"success": [8, 1, 0, 0], "failed": [0, 1, 0, 0], "planned": [0, 0, 0, 4]}
    line = draw(made, WIDTH)[1]
    assert plain([line]) == f"all     {'█' * 12}{'▂' * 12}{' ' * 12}{'▄' * 12}"
    assert [style for text, style in line if text.strip()] == ["bold", "green", "red", "bright_black"]


def test_terminals_without_shapes_get_letters() -> None:
    night = lane("nights", *((hour, hour, status) for hour, status in enumerate(MARKS)), planned=(20,))
    text = "\n".join(drawn(draw(timeline(night), WIDTH, has_shapes=False)))
    assert text.isascii()
    assert all(mark.ascii in text for mark in MARKS.values())


def test_what_the_picture_leaves_out_is_said() -> None:
    cut = lane("nights") | {"is_complete": False}
    busiest = {"at": instant(BEGIN + 13 * HOUR), "fires": 1200, "schedules": ["a", "b\x1b[31m"]}
    seam = {"timezone": "Europe/Rome", "at": instant(BEGIN + HOUR), "text": "clocks go forward"}
    changes = {"busiest": busiest, "seams": [seam], "lanes_total": 10_000, "planned_is_complete": False}
    said = "\n".join(drawn(draw(timeline(cut, **changes), 120)))
    assert "busiest minute: Thu 01 Jan 14:00, 1,200 fires (a, b\N{REPLACEMENT CHARACTER}[31m)" in said
    assert "! Europe/Rome: clocks go forward at Thu 01 Jan 02:00" in said
    assert "1 of 10,000 schedules" in said
    assert "1 of these lanes" in said
    assert "not all fires to come are counted" in said
    assert "\x1b" not in said
