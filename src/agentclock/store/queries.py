"""Hand-written SQL from the package's .sql files, by name.

A file holds queries under `-- name: <query>` lines; every dialect has the same names. Queries that only one
dialect needs stand under `-- local: <query>`. Parameters are written `:name` in both dialects. Placeholders:

    {prefix}             what stands before a table's name: agentclock_ in SQLite, "agentclock". in PostgreSQL
    {schema}             the schema alone, quoted (PostgreSQL)
    {schedule_columns}   the codec's columns, with the aliases s (schedules), r (runs), a (attempts), w (workers)
    {run_columns}  {attempt_columns}  {event_columns} (with the alias e)  {worker_columns}
    {where}              conditions put together at run time, see `Queries.get`
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from operator import itemgetter
from typing import Any, Final, Literal, TypeAlias

from agentclock.store.columns import ATTEMPT_COLUMNS, EVENT_COLUMNS, RUN_COLUMNS, SCHEDULE_COLUMNS, WORKER_COLUMNS

Dialect: TypeAlias = Literal["sqlite", "postgres"]

_HEAD: Final = re.compile(r"^-- (name|local): ([a-z_]+)[ \t]*\n", re.MULTILINE)
_PARAMETER: Final = re.compile(r"(?<![:\w]):([a-z_]+)")


@dataclass(frozen=True, slots=True)
class Query:
    """SQL ready for the driver; `parameters` are the names of its positional arguments, in order, and `args` takes
    the arguments out of a mapping, which may hold more."""

    name: str
    sql: str
    parameters: tuple[str, ...]
    args: Callable[[Mapping[str, Any]], Sequence[Any]]


class Queries:
    """All queries of one dialect, read once per store."""

    def __init__(self, dialect: Dialect, *, schema: str = "agentclock") -> None:
        self._dialect = dialect
        self._placeholders = placeholders(dialect, schema)
        sections = list(_sections(dialect))
        self._texts = {name: fill(text, self._placeholders) for _, name, text in sections}
        self._compiled: dict[tuple[str, ...], Query] = {}
        self.names = frozenset(self._texts)
        #: The names that every dialect must have.
        self.shared_names = frozenset(name for kind, name, _ in sections if kind == "name")

    def get(self, name: str, conditions: Sequence[str] = ()) -> Query:
        """The query `name`, its `{where}` filled with all of `conditions` (names of condition queries, or SQL made
        of constants)."""
        key = (name, *conditions)
        found = self._compiled.get(key)
        if found is None:
            # Callers' conditions come from a small fixed set, but a cap is cheaper than trusting that.
            if len(self._compiled) > 1000:
                self._compiled.clear()
            found = self._compiled[key] = self._compile(name, conditions)
        return found

    def _compile(self, name: str, conditions: Sequence[str]) -> Query:
        where = " AND ".join(f"({self._texts.get(condition, condition)})" for condition in conditions)
        text = self._texts[name].replace("{where}", where or "true")
        parameters: list[str] = []

        def place(match: re.Match[str]) -> str:
            if self._dialect == "sqlite":
                parameters.append(match[1])
                return "?"
            if match[1] not in parameters:
                parameters.append(match[1])
            return f"${parameters.index(match[1]) + 1}"

        sql = _PARAMETER.sub(place, text)
        return Query(name, sql, tuple(parameters), _picker(parameters))


def _picker(names: Sequence[str]) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
    # An itemgetter of a single name answers with the bare value, of none it cannot be made.
    return itemgetter(*names) if len(names) > 1 else lambda values: [values[name] for name in names]


def placeholders(dialect: Dialect, schema: str) -> dict[str, str]:
    """What stands for `{...}` in the .sql files. In SQLite the schema's name is the tables' prefix."""
    quoted = '"' + schema.replace('"', '""') + '"'
    return {
        "prefix": f"{schema}_" if dialect == "sqlite" else f"{quoted}.",
        "schema": quoted,
        "schedule_columns": _aliased("s", SCHEDULE_COLUMNS),
        "run_columns": _aliased("r", RUN_COLUMNS),
        "attempt_columns": _aliased("a", ATTEMPT_COLUMNS),
        "event_columns": _aliased("e", EVENT_COLUMNS),
        "worker_columns": _aliased("w", WORKER_COLUMNS),
    }


def fill(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text


def _aliased(alias: str, columns: Sequence[str]) -> str:
    return ", ".join(f"{alias}.{column}" for column in columns)


def _sections(dialect: Dialect) -> Iterator[tuple[str, str, str]]:
    """(kind, name, text) of every query in the dialect's files."""
    folder = files("agentclock.store") / "sql" / dialect
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".sql"):
            parts = _HEAD.split(file.read_text(encoding="utf-8"))
            for kind, name, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
                yield kind, name, text.strip().removesuffix(";")
