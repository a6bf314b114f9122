"""From documents to declared schedules, with everything that is wrong in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from agentclock.core.errors import InvalidField
from agentclock.core.model import Json
from agentclock.declaring.checking import read_declared
from agentclock.declaring.model import DeclaredSchedule
from agentclock.declaring.tree import Fault, Leaf, Node, Place, Table, place_of, plain
from agentclock.drafts import wire_names

#: What a file has besides: `$schema` is for editors.
_PARTS: Final = frozenset(("manager", "defaults", "schedules", "$schema"))
#: Of these a schedule has one; its own takes the place of any among the defaults.
_KINDS: Final = frozenset(("cron_expr", "run_at", "interval_seconds"))
_MANAGER: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """One schedule: its fields as they are to be sent, and where they stand."""

    name: str
    fields: dict[str, Json]
    table: Table
    place: Place

    def fault(self, path: Sequence[str | int], message: str, position: int | None = None) -> Fault:
        """What is wrong with the field at `path`."""
        of_name = bool(path) and path[0] not in wire_names(DeclaredSchedule)
        place, leaf = place_of(self.table, path, of_name=of_name) if path else (self.place, None)
        if position is not None and leaf is not None and leaf.quote is not None:
            place = Place(place.file, place.line, place.column + leaf.quote + position)
        shown = ".".join(map(str, path)) or None
        return Fault(place=place, message=message, schedule=self.name or None, field=shown, position=position)


@dataclass(slots=True)
class Declarations:
    """What the files declare, by manager; `faults` says what is wrong with them, and then nothing may be applied.
    `texts`: of the files, by their names."""

    by_manager: dict[str, list[Declared]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    _names: dict[str, Place] = field(default_factory=dict)
    _told: set[tuple[Place, str]] = field(default_factory=set)
    _unread: set[Place] = field(default_factory=set)

    @property
    def count(self) -> int:
        return sum(map(len, self.by_manager.values()))

    def add(self, document: Node, manager: str | None) -> None:
        """`manager`: whose it is unless it says so itself."""
        if not isinstance(document, Table):
            self._tell(document.place, "must have `manager:` and `schedules:`")
            return
        self._check_names(document, _PARTS)
        named = self._manager(document, manager)
        defaults = self._defaults(document)
        mine = self.by_manager.setdefault(named, []) if named is not None else []
        for declared in self._schedules(document, defaults):
            self._check(declared)
            mine.append(declared)

    def unread(self, faults: Iterable[Fault]) -> None:
        """What is wrong with the text itself."""
        for fault in faults:
            self._unread.add(fault.place)
            self.faults.append(fault)

    def sort_faults(self) -> None:
        self.faults.sort(key=lambda fault: fault.place)

    def _tell(self, place: Place, message: str) -> None:
        self._tell_fault(Fault(place=place, message=message))

    def _tell_fault(self, fault: Fault) -> None:
        """What is wrong with a default is wrong once, not with each schedule; of what is unreadable no more is said."""
        if (fault.place, fault.message) not in self._told and fault.place not in self._unread:
            self._told.add((fault.place, fault.message))
            self.faults.append(fault)

    def _check_names(self, table: Table, known: Iterable[str]) -> None:
        for name in table.entries.keys() - set(known):
            near = get_close_matches(name[:64], sorted(known), n=1, cutoff=0.5)
            hint = f": did you mean '{near[0]}'?" if near else f": known are {', '.join(sorted(known))}"
            self._tell(table.keys[name], f"unknown field '{name[:64]}'{hint}")

    def _manager(self, document: Table, otherwise: str | None) -> str | None:
        node = document.entries.get("manager")
        if node is None:
            if otherwise is None:
                self._tell(document.place, "manager is missing: write `manager: team-a` here, or say --manager")
            return otherwise
        value = node.value if isinstance(node, Leaf) else None
        if isinstance(value, str) and _MANAGER.fullmatch(value):
            return value
        self._tell(node.place, "manager must be 1 to 64 letters, digits and . _ -, in quotes if it is a number")
        return None

    def _defaults(self, document: Table) -> Table:
        node = document.entries.get("defaults")
        if isinstance(node, Table):
            self._check_names(node, wire_names(DeclaredSchedule) - {"name"})
            return node
        if node is not None and not (isinstance(node, Leaf) and node.value is None):
            self._tell(node.place, "defaults must be fields of schedules, such as `timezone: Europe/Berlin`")
        return Table({}, {}, document.place)

    def _schedules(self, document: Table, defaults: Table) -> Iterable[Declared]:
        node = document.entries.get("schedules")
        match node:
            case None:
                self._tell(document.place, "schedules is missing: write `schedules: []` if there are none")
            case Leaf():
                self._tell(node.place, "schedules must be a list, or names with their fields; [] if there are none")
            case Table(entries=entries, keys=keys):
                for name, fields in entries.items():
                    yield from self._named(name, fields, keys[name], defaults)
            case _:
                for item in node.items:
                    yield from self._listed(item, defaults)

    def _named(self, name: str, node: Node, place: Place, defaults: Table) -> Iterable[Declared]:
        """`name: {fields}`; without fields, all of them are defaults."""
        if isinstance(node, Leaf) and node.value is None:
            node = Table({}, {}, place)
        if not isinstance(node, Table):
            self._tell(node.place, f"'{name[:64]}' must have fields, such as `endpoint: /agents/assistant/runs`")
            return
        if "name" in node.entries:
            self._tell(node.keys["name"], "the name stands in front already: take this one away")
        named = Leaf(name, place, 0)
        yield _merged(Table({"name": named, **node.entries}, {"name": place, **node.keys}, place), defaults)

    def _listed(self, node: Node, defaults: Table) -> Iterable[Declared]:
        if isinstance(node, Table):
            yield _merged(node, defaults)
        else:
            self._tell(node.place, "must be a schedule, with at least `name:` and `endpoint:`")

    def _check(self, declared: Declared) -> None:
        for fault in read_declared(declared.fields)[1]:
            self._tell_fault(declared.fault(_path(fault), fault.message, _position(fault)))
        if not declared.name:
            return
        first = self._names.setdefault(declared.name, declared.place)
        if first is not declared.place:
            self._tell_fault(declared.fault(["name"], f"'{declared.name}' is declared already: {first}"))


def _merged(own: Table, defaults: Table) -> Declared:
    """Field by field, the schedule's own first."""
    replaced = _KINDS if _KINDS & own.entries.keys() else frozenset[str]()
    left = {name: node for name, node in defaults.entries.items() if name not in replaced and name != "name"}
    table = Table({**left, **own.entries}, {**defaults.keys, **own.keys}, own.place)
    name = plain(table.entries["name"]) if "name" in table.entries else None
    return Declared(name=name if isinstance(name, str) else "", fields=plain(table), table=table, place=own.place)


def _path(fault: InvalidField) -> list[str | int]:
    return [int(part) if part.isdecimal() else part for part in fault.field.split(".") if part]


def _position(fault: InvalidField) -> int | None:
    found: Any = fault.context.get("position")
    return found if isinstance(found, int) else None
