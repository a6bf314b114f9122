"""What applying files does, and what is wrong with them, as people read it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import unified_diff
from typing import Any, Final, TypeAlias

from agentclock.cli.client import Row
from agentclock.cli.output import Output, as_text, harmless
from agentclock.declaring.tree import Fault
from agentclock.exporting import to_yaml

#: A line and its style.
Line: TypeAlias = tuple[str, str]

_MARKS: Final[Mapping[str, Line]] = {"create": ("+", "green"), "change": ("~", "yellow"), "delete": ("-", "red")}
#: What is longer is shown line by line.
_INLINE: Final = 60
#: Letters of a line of a file that are shown around what is wrong in it.
_EXCERPT: Final = 100
#: Names in one remark.
_NAMED: Final = 10


def show_plan(out: Output, answer: Row) -> None:
    """Every schedule that something happens to, and how many there are of what."""
    lines = [line for step in answer["plan"] if step["action"] != "unchanged" for line in _step(step)]
    print_lines(out, [*lines, ("", ""), *_summary(answer)] if lines else list(_summary(answer)))
    if left := answer["undeclared"]:
        shown = ", ".join(left[:_NAMED]) + (", …" if len(left) > _NAMED else "")
        out.note(f"{_some(len(left))} declared no more and stay, for want of --prune: {shown}", style="yellow")


def print_lines(out: Output, lines: Sequence[Line]) -> None:
    """All at once: one by one, thousands would take seconds."""
    if out.is_terminal:
        out.console.print(as_text([(f"{text}\n", style) for text, style in lines], keep_lines=True), end="")
    else:
        sys.stdout.writelines(harmless(f"{text}\n", keep_lines=True) for text, _ in lines)


def _summary(answer: Row) -> Iterator[Line]:
    counts = [answer[name] for name in ("created", "changed", "unchanged", "deleted")]
    if counts[2] == sum(counts):
        yield f"Nothing to change. {_some(counts[2])} as declared.", "bold"
    elif answer["dry_run"]:
        yield "{:,} to create, {:,} to change, {:,} unchanged, {:,} to delete.".format(*counts), "bold"
    else:
        yield "{:,} created, {:,} changed, {:,} unchanged, {:,} deleted.".format(*counts), "bold"


def _some(count: int) -> str:
    return f"{count:,} schedule{' is' if count == 1 else 's are'}"


def _step(step: Row) -> Iterator[Line]:
    mark, style = _MARKS[step["action"]]
    yield f"{mark} {step['name']}", f"bold {style}"
    is_new = step["action"] == "create"
    for name, change in step["changes"].items():
        yield from _new_field(name, change["to"]) if is_new else _changed_field(name, change)
    if said := step["explanation"]:
        before, after = said["from"], said["to"] or "it cannot be read"
        yield f"    {after}" if before is None else f"    {before}  →  {after}", "dim"
    yield from ((f"    ! {warning}", "yellow") for warning in step["warnings"])


def _new_field(name: str, value: Any) -> Iterator[Line]:
    lines = _lines(value)
    if len(lines) == 1:
        yield f"    {name}: {lines[0]}", "green"
        return
    yield f"    {name}:", "green"
    yield from ((f"      {line}", "green") for line in lines)


def _changed_field(name: str, change: Row) -> Iterator[Line]:
    before, after = _lines(change["from"]), _lines(change["to"])
    if len(before) == len(after) == 1 and len(before[0]) + len(after[0]) <= 2 * _INLINE:
        yield f"    {name}: {before[0]}  →  {after[0]}", "yellow"
        return
    yield f"    {name}:", "yellow"
    # Without the heads of files and of the first part.
    for line in list(unified_diff(before, after, n=2, lineterm=""))[3:]:
        shown = "…" if line.startswith("@@") else line
        yield f"      {shown}", {"+": "green", "-": "red"}.get(line[:1], "dim")


def _lines(value: Any) -> list[str]:
    """A text as it is, objects and lists as YAML unless they are short and in one line."""
    if isinstance(value, str):
        return value.split("\n") if value else ['""']
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict | list) and (len(text) > _INLINE or "\\n" in text):
        return to_yaml(value).rstrip("\n").split("\n")
    return [text]


def show_faults(out: Output, faults: Iterable[Fault], texts: Mapping[str, str]) -> None:
    """Each with its line, and a mark below what it is about. `texts`: of the files, by their names."""
    for fault in faults:
        within = ": ".join(filter(None, (fault.schedule, fault.field)))
        out.note(f"{fault.place}: {f'{within}: ' if within else ''}{fault.message}", style="bold red")
        lines = texts.get(fault.place.file, "").split("\n")
        if fault.place.line <= len(lines) and (line := lines[fault.place.line - 1]).strip():
            out.note(_excerpt(line, fault.place.column))


def _excerpt(line: str, column: int) -> str:
    """The line, cut on both sides if it is long, and a mark below the column."""
    start = max(0, column - _EXCERPT // 2) if len(line) > _EXCERPT else 0
    shown = harmless(line[start : start + _EXCERPT].rstrip())
    return f"    {shown}\n    {' ' * (column - 1 - start)}^"


def faults_as_json(faults: Iterable[Fault]) -> list[Row]:
    return [
        {
            "file": fault.place.file,
            "line": fault.place.line,
            "column": fault.place.column,
            "schedule": fault.schedule,
            "field": fault.field,
            "message": fault.message,
        }
        for fault in faults
    ]
