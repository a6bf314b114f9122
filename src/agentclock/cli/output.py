"""What commands show: tables and sentences for people, lines for scripts, JSON for machines.

Names, errors and answers come from agents and targets: no text of theirs may steer a terminal or be taken for markup.
"""

from __future__ import annotations

import io
import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from agentclock.cli.client import Row

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

#: Text, text and its style, or several of those.
Cell: TypeAlias = "str | tuple[str, str] | Sequence[tuple[str, str]]"

#: Control and format characters, halves of pairs, line and paragraph separators: none of them is shown.
_UNSHOWN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
#: But these join and part letters of several scripts, and the parts of one emoji.
_JOINERS: Final = frozenset("\u200c\u200d")
_LINES: Final = frozenset("\n\t")
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
#: What JSON may hold as it is, and a terminal may not.
_RAW: Final = re.compile(
    "[\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def harmless(text: str, *, keep_lines: bool = False) -> str:
    """`text` without what would steer a terminal. A line break becomes a blank, unless they are kept."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(char, keep_lines) for char in text.replace("\r\n", "\n"))


def _shown(char: str, keep_lines: bool) -> str:
    if char.isprintable() or char in _JOINERS:
        return char
    if char in _LINES:
        return char if keep_lines else " "
    kind = unicodedata.category(char)
    return _REPLACEMENT if kind in _UNSHOWN else " " if kind == "Zs" else char


def one_line(text: str, most: int | None = None) -> str:
    """Without line breaks and runs of blanks; cut to `most` characters."""
    shown = " ".join(harmless(text).split())
    return shown if most is None or len(shown) <= most else f"{shown[: most - 1]}…"


def to_json(content: Any, *, indent: int | None = 2) -> str:
    """As the API says it, but what would steer a terminal is escaped, which means the same in JSON."""
    text = json.dumps(content, indent=indent, ensure_ascii=False)
    return _RAW.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


#: Shown to scripts only.
NEVER: Final = sys.maxsize


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """`field`: the wire name (dotted for what stands within), under which scripts get the value as it is, or what `raw`
    makes of the row. `title` and `cell`: what people see, on terminals of `from_width` columns and more."""

    field: str
    title: str
    cell: Callable[[Row], Cell]
    raw: Callable[[Row], str] | None = None
    from_width: int = 0
    is_figure: bool = False

    def for_scripts(self, row: Row) -> str:
        return raw_of(row, self.field) if self.raw is None else self.raw(row)


def plain_column(field: str, title: str | None = None, *, from_width: int = 0) -> Column:
    """People see what scripts see."""
    return Column(field=field, title=title or field, cell=lambda row: raw_of(row, field), from_width=from_width)


def raw_of(row: Row, field: str) -> str:
    """A value as scripts want it: empty for null, true and false, lists with commas."""
    value: Any = row
    for name in field.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    return json.dumps(value, ensure_ascii=False)


class Output:
    """`as_json`: nothing but JSON goes to standard output. Without a terminal: plain lines, columns parted by tabs,
    nothing cut. What is said about the work itself goes to standard error."""

    def __init__(self, *, as_json: bool = False, no_color: bool = False) -> None:
        self.as_json: Final = as_json
        self._no_color = no_color
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")

    @property
    def is_terminal(self) -> bool:
        return sys.stdout.isatty()

    @property
    def has_shapes(self) -> bool:
        """Whether what is printed may be more than ASCII."""
        return self.console.encoding.lower().startswith("utf")

    @cached_property
    def console(self) -> Console:
        return self._console(is_error=False)

    @cached_property
    def errors(self) -> Console:
        return self._console(is_error=True)

    def _console(self, *, is_error: bool) -> Console:
        from rich.console import Console  # noqa: PLC0415 - only who shows something needs it

        stream = sys.stderr if is_error else sys.stdout
        plain = True if self._no_color or not stream.isatty() else None
        return Console(file=stream, markup=False, highlight=False, emoji=False, no_color=plain, soft_wrap=True)

    def json(self, content: Any, *, indent: int | None = 2) -> None:
        sys.stdout.write(to_json(content, indent=indent) + "\n")
        sys.stdout.flush()

    def say(self, text: str, style: str | None = None) -> None:
        """A sentence of the result."""
        self.console.print(harmless(text, keep_lines=True), style=style)

    def note(self, text: str, style: str | None = None) -> None:
        """A remark that is no part of the result."""
        self.errors.print(harmless(text, keep_lines=True), style=style)

    def write(self, text: str, style: str | None = None) -> None:
        """A piece of text as it comes, without a line break."""
        self.console.print(harmless(text, keep_lines=True), style=style, end="")

    def table(self, columns: Sequence[Column], rows: Sequence[Row]) -> None:
        """For people a table that fits the terminal; else a line of names and one for each row."""
        if not self.is_terminal:
            lines = [
                [column.field for column in columns],
                *([one.for_scripts(row) for one in columns] for row in rows),
            ]
            sys.stdout.writelines("\t".join(map(one_line, line)) + "\n" for line in lines)
            sys.stdout.flush()
            return
        from rich.table import Table  # noqa: PLC0415

        shown = [column for column in columns if column.from_width <= self.console.width]
        table = Table(box=None, header_style="bold", pad_edge=False)
        for column in shown:
            table.add_column(column.title, overflow="fold", justify="right" if column.is_figure else "left")
        for row in rows:
            table.add_row(*(as_text(column.cell(row)) for column in shown))
        self.console.print(table)

    def facts(self, pairs: Iterable[tuple[str, Cell]]) -> None:
        """Names and what they stand for, one below the other; without what is empty."""
        from rich.text import Text  # noqa: PLC0415

        shown = [(name, as_text(cell, keep_lines=True)) for name, cell in pairs if text_of(cell)]
        width = max((len(name) for name, _ in shown), default=0)
        for name, text in shown:
            for number, line in enumerate(text.split("\n")):
                head = "" if number else name
                self.console.print(Text.assemble((f"{head:<{width}}  ", "dim"), line))


def text_of(cell: Cell) -> str:
    return "".join(text for text, _ in parts_of(cell))


def parts_of(cell: Cell) -> Sequence[tuple[str, str]]:
    """Texts with their styles."""
    match cell:
        case str():
            return ((cell, ""),)
        case (str() as text, str() as style):
            return ((text, style),)
        case _:
            return cell


def as_text(cell: Cell, *, keep_lines: bool = False) -> Text:
    """What is printed as it is: nothing in it is markup, nothing in it steers."""
    from rich.text import Text  # noqa: PLC0415

    return Text.assemble(*((harmless(text, keep_lines=keep_lines), style) for text, style in parts_of(cell)))
