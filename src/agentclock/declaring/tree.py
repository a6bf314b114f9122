"""What stands in a file of schedules, and where: plain data whose every part knows its line and column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from agentclock.core.model import Json

#: Deeper than any payload may be.
MOST_LEVELS: Final = 100
#: Values of one file, those counted again that an alias repeats.
MOST_VALUES: Final = 500_000


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Line and column are counted from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that is wrong in a file. `schedule`, `field`: of which schedule and where in it, as far as that is
    known; `position`: the character of the value that it is about, counted from 0."""

    place: Place
    message: str
    schedule: str | None = None
    field: str | None = None
    position: int | None = None


class Unreadable(Exception):
    """A file that cannot be read any further."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.place}: {fault.message}")
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Leaf:
    """A single value. `quote`: characters that stand before a text's own, None: it is not written as it is."""

    value: Json
    place: Place
    quote: int | None = None


@dataclass(frozen=True, slots=True)
class Branch:
    items: Sequence[Node]
    place: Place


@dataclass(frozen=True, slots=True)
class Table:
    """`keys`: where each of `entries` is named."""

    entries: Mapping[str, Node]
    keys: Mapping[str, Place]
    place: Place


Node: TypeAlias = Leaf | Branch | Table


def plain(node: Node) -> Json:
    """The value alone."""
    match node:
        case Leaf(value=value):
            return value
        case Branch(items=items):
            return [plain(item) for item in items]
        case Table(entries=entries):
            return {name: plain(entry) for name, entry in entries.items()}


def place_of(node: Node, path: Sequence[str | int], *, of_name: bool = False) -> tuple[Place, Leaf | None]:
    """Where the part at `path` stands (or the nearest part around it that is there), and the value that stands there
    if it is a single one. `of_name`: where it is named instead."""
    for number, part in enumerate(path):
        is_last = number == len(path) - 1
        match node, part:
            case Table(entries=entries, keys=keys), str() if part in entries:
                if of_name and is_last:
                    return keys[part], None
                node = entries[part]
            case Branch(items=items), int() if 0 <= part < len(items):
                node = items[part]
            case _:
                return node.place, None
    return node.place, node if isinstance(node, Leaf) else None


@dataclass(slots=True)
class _Open:
    """A list or a table whose end has not come yet. `key`: the name that waits for its value. `values`, `levels`: how
    much is in it, and how deep, aliases written out."""

    is_table: bool
    place: Place
    anchor: str | None
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Place] = field(default_factory=dict)
    key: Leaf | None = None
    values: int = 1
    levels: int = 1

    def closed(self) -> Branch | Table:
        return Table(self.entries, self.keys, self.place) if self.is_table else Branch(self.items, self.place)


class Builder:
    """Puts documents together out of what a parser meets, in its order. `faults` are those that do not keep it from
    going on; the others are raised as Unreadable."""

    def __init__(self) -> None:
        self.documents: list[Node] = []
        self.faults: list[Fault] = []
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Node, int, int]] = {}

    def open(self, place: Place, *, is_table: bool, anchor: str | None = None) -> None:
        self._check_depth(place, 1)
        if anchor is not None:
            self._anchors.pop(anchor, None)
        self._stack.append(_Open(is_table, place, anchor))

    def close(self) -> None:
        done = self._stack.pop()
        self._add(done.closed(), done.values, done.levels, done.anchor)

    def leaf(self, leaf: Leaf, *, anchor: str | None = None) -> None:
        self._add(leaf, 1, 0, anchor)

    def alias(self, name: str, place: Place) -> None:
        if name not in self._anchors:
            message = f"'*{name}' stands for nothing: a value that begins with * belongs in quotes"
            self.fault(place, message)
            self._add(Leaf(None, place), 1, 0, None)
            return
        node, values, levels = self._anchors[name]
        self._check_depth(place, levels)
        self._add(node, values, levels, None)

    def end_document(self) -> None:
        self._anchors.clear()

    def fault(self, place: Place, message: str) -> None:
        self.faults.append(Fault(place=place, message=message))

    def _check_depth(self, place: Place, levels: int) -> None:
        if len(self._stack) + levels > MOST_LEVELS:
            raise Unreadable(Fault(place=place, message=f"is nested too deep: at most {MOST_LEVELS} levels are read"))

    def _add(self, node: Node, values: int, levels: int, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = (node, values, levels)
        if not self._stack:
            self.documents.append(node)
            return
        around = self._stack[-1]
        around.values += values
        around.levels = max(around.levels, levels + 1)
        if around.values > MOST_VALUES:
            raise Unreadable(Fault(place=node.place, message=f"there are more than {MOST_VALUES:,} values up to here"))
        if not around.is_table:
            around.items.append(node)
        elif around.key is None:
            around.key = self._key(around, node)
        else:
            if around.key.value is not None:
                around.entries[around.key.value] = node
                around.keys[around.key.value] = around.key.place
            around.key = None

    def _key(self, around: _Open, node: Node) -> Leaf:
        """The name of the value that comes next; one without a name is read and left out."""
        if not isinstance(node, Leaf) or not isinstance(node.value, str):
            self.fault(node.place, "a name must be text: write it in quotes")
        elif node.value == "<<" and node.quote == 0:
            self.fault(node.place, "merge keys are not read: put what schedules share under defaults")
        elif (first := around.keys.get(node.value)) is not None:
            self.fault(node.place, f"'{node.value}' stands here twice: see line {first.line}")
        else:
            return node
        return Leaf(None, node.place)
