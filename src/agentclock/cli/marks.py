"""What states look like: a shape, a colour and the word, so that none of them is needed alone."""

from __future__ import annotations

from typing import Final, NamedTuple

from agentclock.cli.output import Cell


class Mark(NamedTuple):
    shape: str
    ascii: str
    style: str


#: The worst first: where several share a place, the first of them is shown.
MARKS: Final = {
    "failed": Mark("✗", "x", "bold red"),
    "lost": Mark("?", "?", "bold red"),
    "timeout": Mark("◔", "t", "red"),
    "missed": Mark("!", "!", "yellow"),
    "paused": Mark("‖", "=", "magenta"),
    "running": Mark("▶", ">", "cyan"),
    "pending": Mark("○", "o", "blue"),
    "skipped": Mark("~", "~", "yellow"),
    "cancelled": Mark("▪", "c", "bright_black"),
    "success": Mark("●", "*", "green"),
}
PLANNED: Final = Mark("·", ".", "bright_black")
#: States that nothing follows.
FINAL: Final = frozenset({"success", "failed", "timeout", "cancelled", "lost", "skipped", "missed"})

_UNKNOWN: Final = Mark("?", "?", "")
_SEVERITIES: Final = {"urgent": "bold red", "warning": "yellow", "notice": "cyan"}


def mark_of(status: str) -> Mark:
    return MARKS.get(status, _UNKNOWN)


def status_cell(status: str) -> Cell:
    mark = mark_of(status)
    return f"{mark.shape} {status}", mark.style


def severity_cell(severity: str) -> Cell:
    return severity, _SEVERITIES.get(severity, "")
