"""A timeline as lines of text: the past by shapes and colours, now, and what is planned. Draws only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Final, TypeAlias

from agentclock.cli.client import Row
from agentclock.cli.marks import FINAL, MARKS, PLANNED, Mark, mark_of
from agentclock.cli.moments import from_ms, from_wire
from agentclock.cli.output import one_line

#: Pieces of text with their styles.
Line: TypeAlias = "list[tuple[str, str]]"

#: Runs and fires that the API shows of one lane at most.
MOST_RUNS: Final = 200
MOST_FIRES: Final = 300

_NARROWEST: Final = 20
_LONGEST_NAME: Final = 28
_LEVELS: Final = " ▁▂▃▄▅▆▇█"
_ASCII_LEVELS: Final = " .:-=+*#%"
#: Minutes between labels, of which the first is taken that leaves them room.
_STEPS: Final = (5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440, 2_880, 10_080, 43_200)
_LABEL_ROOM: Final = 9
_RANKS: Final = {status: rank for rank, status in enumerate(MARKS)}
_PLANNED_RANK, _BODY_RANK, _NOW_RANK = 50, 100, 200
_BAD: Final = ("failed", "timeout", "lost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where on the line an instant is. Instants are epoch ms."""

    begin: int
    end: int
    now: int
    cells: int
    name_width: int
    has_shapes: bool

    @classmethod
    def of(cls, timeline: Row, width: int, *, has_shapes: bool) -> Frame:
        longest = max((len(one_line(lane["name"])) for lane in timeline["lanes"]), default=0)
        name_width = min(max(longest, len("all")), _LONGEST_NAME, max(width // 3, 8))
        begin, end, now = (_epoch_ms(timeline[name]) for name in ("from", "to", "now"))
        cells = max(width - name_width - 2, _NARROWEST)
        return cls(begin=begin, end=end, now=now, cells=cells, name_width=name_width, has_shapes=has_shapes)

    def cell(self, at: float) -> int:
        """May lie outside."""
        return int((at - self.begin) * self.cells // max(self.end - self.begin, 1))

    def named(self, name: str, style: str) -> tuple[str, str]:
        return f"{one_line(name, self.name_width):<{self.name_width}}  ", style

    def shape(self, mark: Mark) -> tuple[str, str]:
        return (mark.shape if self.has_shapes else mark.ascii), mark.style


def draw(timeline: Row, width: int, *, has_shapes: bool = True) -> list[Line]:
    """As it comes from the API, on lines of at most `width` columns (but never fewer than it needs)."""
    frame = Frame.of(timeline, width, has_shapes=has_shapes)
    lines = [_axis(frame), _sums(timeline["bins"]["series"], frame)]
    lines += [_lane(lane, frame) for lane in timeline["lanes"]]
    return [*map(_merged, lines), [], *_legend(frame, width), *_remarks(timeline)]


def _merged(line: Line) -> Line:
    """Neighbours of one style as one piece."""
    return [("".join(text for text, _ in pieces), style) for style, pieces in groupby(line, key=lambda piece: piece[1])]


def _epoch_ms(text: str) -> int:
    at = from_wire(text)
    assert at is not None
    return round(at.timestamp() * 1000)


def _axis(frame: Frame) -> Line:
    """The times of labels, each beginning where its time is, and where now is."""
    cells: Line = [(" ", "")] * frame.cells
    if 0 <= (now := frame.cell(frame.now)) < frame.cells:
        cells[now] = ("▼" if frame.has_shapes else "v", "bold")
    free_from = 0
    for at in _ticks(frame):
        local = from_ms(at)
        label = f"{local:%a %d}" if local.hour == local.minute == 0 else f"{local:%H:%M}"
        begin = frame.cell(at)
        end = begin + len(label)
        if begin >= free_from and end <= frame.cells and not begin <= now < end:
            cells[begin:end] = [(char, "bright_black") for char in label]
            free_from = end + 1
    return [frame.named(f"{from_ms(frame.now):%Z}", "bright_black"), *cells]


def _ticks(frame: Frame) -> Iterator[int]:
    """Even local times, so far apart that labels have room."""
    room_minutes = (frame.end - frame.begin) / 60_000 * _LABEL_ROOM / frame.cells
    step = next((minutes for minutes in _STEPS if minutes >= room_minutes), _STEPS[-1])
    pace = timedelta(minutes=min(step, 15))
    at = from_ms(frame.begin)
    at += timedelta(minutes=-(at.minute % 5), seconds=-at.second, microseconds=-at.microsecond)
    at += timedelta(minutes=-(at.minute % (pace.seconds // 60)))
    while (at_ms := round(at.timestamp() * 1000)) < frame.end:
        local = from_ms(at_ms)
        minutes = local.hour * 60 + local.minute
        is_even = minutes % step == 0 if step < 1_440 else minutes == 0 and local.toordinal() % (step // 1_440) == 0
        if is_even and at_ms >= frame.begin:
            yield at_ms
        at += pace


def _sums(series: Row, frame: Frame) -> Line:
    """All schedules together: how much, and whether something failed."""
    count = len(series["planned"])
    totals = [sum(column[number] for column in series.values()) for number in range(count)]
    bad = [sum(series[status][number] for status in _BAD) for number in range(count)]
    most, levels = max(totals, default=0), _LEVELS if frame.has_shapes else _ASCII_LEVELS
    line = [frame.named("all", "bold")]
    now = frame.cell(frame.now)
    for cell in range(frame.cells):
        number = min(cell * count // frame.cells, count - 1)
        level = 0 if not most else -(-totals[number] * (len(levels) - 1) // most)
        style = "red" if bad[number] else "green" if cell < now else "bright_black"
        line.append((levels[level], style))
    return line


def _lane(lane: Row, frame: Frame) -> Line:
    """One schedule. Where several things share a cell, the worst is seen."""
    ranks = [_NOW_RANK + 1] * frame.cells
    shown: list[tuple[str, str]] = [(" ", "")] * frame.cells

    def put(cell: int, rank: int, piece: tuple[str, str]) -> None:
        if 0 <= cell < frame.cells and rank < ranks[cell]:
            ranks[cell], shown[cell] = rank, piece

    put(frame.cell(frame.now), _NOW_RANK, ("│" if frame.has_shapes else "|", "bold"))
    for at in lane["planned_ms"]:
        put(frame.cell(at), _PLANNED_RANK, frame.shape(PLANNED))
    for cell in _unknown(lane, frame):
        put(cell, _PLANNED_RANK, ("┈" if frame.has_shapes else "_", "bright_black"))
    for begin, end, status in _spans(lane["marks"], frame.now):
        mark = mark_of(status)
        put(frame.cell(begin), _RANKS.get(status, 0), frame.shape(mark))
        for cell in range(max(frame.cell(begin) + 1, 0), min(frame.cell(end), frame.cells - 1) + 1):
            put(cell, _BODY_RANK, ("─" if frame.has_shapes else "-", mark.style))
    return [frame.named(lane["name"], "" if lane["enabled"] else "bright_black"), *shown]


def _unknown(lane: Row, frame: Frame) -> Iterator[int]:
    """Before the runs and after the fires that the API leaves it at: there are more, and nobody says where."""
    runs, planned = lane["marks"]["fire_at_ms"], lane["planned_ms"]
    if len(runs) >= MOST_RUNS:
        yield from range(max(min(frame.cell(runs[0]), frame.cells), 0))
    if len(planned) >= MOST_FIRES:
        yield from range(max(frame.cell(planned[-1]) + 1, 0), frame.cells)


def _spans(marks: Row, now: int) -> Iterator[tuple[int, int, str]]:
    """Begin, end and state of each run."""
    columns = (marks["fire_at_ms"], marks["started_at_ms"], marks["ended_at_ms"], marks["status"])
    for fire_at, started_at, ended_at, status in zip(*columns, strict=True):
        begin = fire_at if started_at is None else started_at
        is_under_way = status not in FINAL and started_at is not None
        yield begin, ended_at if ended_at is not None else now if is_under_way else begin, status


def _legend(frame: Frame, width: int) -> Iterator[Line]:
    """On as many lines as it takes."""
    line: Line = []
    for name, mark in (*MARKS.items(), ("planned", PLANNED)):
        words = f" {name}  "
        if line and sum(len(text) for text, _ in line) + len(words) > width:
            yield line
            line = []
        line += [frame.shape(mark), (words, "bright_black")]
    yield line


def _remarks(timeline: Row) -> Iterator[Line]:
    """What the picture does not show."""
    if busiest := timeline.get("busiest"):
        names = ", ".join(one_line(name, 30) for name in busiest["schedules"])
        at = from_wire(busiest["at"])
        yield [(f"busiest minute: {at:%a %d %b %H:%M}, {busiest['fires']:,} fires ({names})", "")]
    for seam in timeline["seams"]:
        at = from_wire(seam["at"])
        yield [(f"! {seam['timezone']}: {one_line(seam['text'])} at {at:%a %d %b %H:%M}", "yellow")]
    cut = sum(not lane["is_complete"] for lane in timeline["lanes"])
    if cut:
        yield [(f"┈ {cut} of these lanes have more than can be shown: choose a shorter time", "bright_black")]
    if not timeline["planned_is_complete"]:
        yield [("not all fires to come are counted: there are too many", "bright_black")]
    shown, total = len(timeline["lanes"]), timeline["lanes_total"]
    if shown < total:
        yield [(f"{shown:,} of {total:,} schedules, those that fire soonest; --lanes shows more", "bright_black")]


def plain(lines: Sequence[Line]) -> str:
    """Without colours, and without blanks at the ends of lines."""
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines)
