"""What the demo shows: what fires, when, how late, and what came back."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agentclock.core.events import AgentEvent, AttemptStarted, Event, FiresAbsent, RunSettled
from agentclock.core.model import Cause, Json, RunStatus, Schedule

_STYLE: Final = {
    RunStatus.RUNNING: "cyan",
    RunStatus.SUCCESS: "green",
    RunStatus.PENDING: "yellow",
    RunStatus.PAUSED: "yellow",
    RunStatus.SKIPPED: "yellow",
    RunStatus.MISSED: "yellow",
}
_SYMBOL: Final = {RunStatus.RUNNING: "▶", RunStatus.SUCCESS: "✓", RunStatus.PENDING: "↻", RunStatus.PAUSED: "‖"}


class DemoView(Protocol):
    def opening(self) -> None: ...

    def on_event(self, event: Event) -> None: ...

    def schedules(self, rows: Sequence[tuple[Schedule, str]]) -> None: ...

    def closing(self) -> None: ...


@dataclass(slots=True)
class Row:
    """One run as the view shows it; `answer` grows while the agent speaks."""

    at: float
    name: str
    late_ms: int
    status: RunStatus = RunStatus.RUNNING
    seconds: float | None = None
    answer: str = ""


class Tally:
    """What was seen so far, for the closing line."""

    def __init__(self) -> None:
        self.late_ms: list[int] = []
        self.ends: dict[RunStatus, int] = {}

    def start(self, event: AttemptStarted) -> int:
        """How late it is, in ms. Only the first attempt of what was due says how punctual the clock is."""
        late_ms = event.at - event.run.fire_at
        if event.run.attempt == 1 and event.run.cause is Cause.SCHEDULE:
            self.late_ms.append(late_ms)
        return late_ms

    def line(self) -> str:
        if not self.late_ms:
            return "Nothing fired yet."
        ends = ", ".join(f"{count} {status}" for status, count in self.ends.items())
        return (
            f"{len(self.late_ms)} fires, lateness p50 {median(self.late_ms):.0f} ms, "
            f"worst {max(self.late_ms)} ms; ended: {ends or 'none yet'}."
        )


class LineView:
    """One line an event, for pipes, logs and people without a terminal."""

    def __init__(self, console: Console, url: str) -> None:
        self._console = console
        self._url = url
        self._tally = Tally()
        self._started: dict[str, float] = {}
        self._announced = False

    def opening(self) -> None:
        self._say(f"agentclock demo: dashboard on {self._url}/  (API and AgentOS: {self._url}/docs). Ctrl-C stops.")

    def schedules(self, rows: Sequence[tuple[Schedule, str]]) -> None:
        if self._announced or not rows:
            return
        self._announced = True
        for schedule, explanation in rows:
            self._say(f"  schedule  {schedule.name:<28} {explanation}  ->  {schedule.target.endpoint}")

    def on_event(self, event: Event) -> None:
        match event:
            case AttemptStarted():
                late_ms = self._tally.start(event)
                self._started[event.run.id] = time.monotonic()
                late = f"{late_ms:>5} ms late" if event.run.attempt == 1 else f"  attempt {event.run.attempt}"
                self._say(f"{_clock(event.at)}  fired     {event.schedule_name:<28} {late}")
            case RunSettled():
                seconds = time.monotonic() - self._started.pop(event.run.id, time.monotonic())
                self._tally.ends[event.status] = self._tally.ends.get(event.status, 0) + 1
                said = event.error or _answer(event.output)
                self._say(f"{_clock(event.at)}  {event.status:<8}  {event.schedule_name:<28} {seconds:>5.1f} s  {said}")
            case FiresAbsent():
                self._say(f"{_clock(event.fire_at)}  {event.status:<8}  {event.count} fires: {event.reason.text}")
            case _:
                return

    def closing(self) -> None:
        self._say(f"\nStopped. {self._tally.line()}")

    def _say(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


class LiveView:
    """Schedules with countdowns above, runs with their growing answers below."""

    ROWS = 9

    def __init__(self, console: Console, url: str) -> None:
        self._console = console
        self._tally = Tally()
        self._rows: deque[Row] = deque(maxlen=self.ROWS)
        self._by_run: dict[str, Row] = {}
        self._schedules: Sequence[tuple[Schedule, str]] = ()
        self._url = url
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=8, transient=False)

    def opening(self) -> None:
        self._live.start()

    def schedules(self, rows: Sequence[tuple[Schedule, str]]) -> None:
        self._schedules = rows

    def on_event(self, event: Event) -> None:
        match event:
            case AttemptStarted():
                started = Row(time.time(), event.schedule_name, self._tally.start(event))
                self._rows.append(started)
                self._by_run[event.run.id] = started
            case AgentEvent():
                if isinstance(event.data, dict) and (speaking := self._by_run.get(event.run_id)):
                    _hear(speaking, event.type, event.data)
            case RunSettled():
                self._tally.ends[event.status] = self._tally.ends.get(event.status, 0) + 1
                if row := self._by_run.pop(event.run.id, None):
                    row.status, row.seconds = event.status, time.time() - row.at
                    row.answer = event.error or _answer(event.output)
            case _:
                return

    def closing(self) -> None:
        self._live.stop()
        self._console.print(f"\nStopped. {self._tally.line()}", highlight=False)

    def _render(self) -> Group:
        title = Text.assemble(
            ("agentclock demo", "bold"), f"   dashboard: {self._url}/   API: {self._url}/docs   Ctrl-C stops"
        )
        return Group(title, self._schedule_table(), self._run_table(), Text(self._tally.line(), style="dim"))

    def _schedule_table(self) -> Panel:
        table = Table(expand=True, box=None, header_style="dim")
        for column in ("schedule", "when", "calls"):
            table.add_column(column, no_wrap=True, overflow="ellipsis")
        table.add_column("next in", justify="right", no_wrap=True)
        for schedule, explanation in self._schedules:
            table.add_row(schedule.name, explanation, schedule.target.endpoint, _countdown(schedule.next_fire_at))
        return Panel(table, title="schedules", title_align="left", border_style="dim")

    def _run_table(self) -> Panel:
        table = Table(expand=True, box=None, header_style="dim")
        table.add_column("fired", no_wrap=True)
        table.add_column("schedule", no_wrap=True)
        table.add_column("late", justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        table.add_column("took", justify="right", no_wrap=True)
        table.add_column("answer", ratio=1)
        for row in self._rows:
            style = _STYLE.get(row.status, "red")
            mark = Text(f"{_SYMBOL.get(row.status, '✗')} {row.status}", style=style)
            took = f"{row.seconds or time.time() - row.at:.1f} s"
            fired = time.strftime("%H:%M:%S", time.localtime(row.at))
            table.add_row(fired, row.name, f"{row.late_ms} ms", mark, took, Text(_one_line(row.answer)))
        return Panel(table, title="runs", title_align="left", border_style="dim")


def _hear(row: Row, event_type: str, data: dict[str, Json]) -> None:
    """The agent's words as they come, and the tools it calls."""
    if event_type in ("RunContent", "TeamRunContent"):
        row.answer += str(data.get("content") or "")
    elif event_type.endswith("ToolCallStarted"):
        row.answer = f"[calls {(data.get('tool') or {}).get('tool_name', 'a tool')}] "


def _answer(output: Json) -> str:
    content = output.get("content") if isinstance(output, dict) else output
    return _one_line(str(content)) if content else ""


def _one_line(text: str) -> str:
    shown = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return shown if len(shown) <= 220 else shown[:219] + "…"


def _clock(at: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at / 1000)) + f".{at % 1000:03d}"


def _countdown(next_fire_at: int | None) -> str:
    if next_fire_at is None:
        return "-"
    seconds = max(0, round(next_fire_at / 1000 - time.time()))
    return f"{seconds // 60}:{seconds % 60:02d}"
