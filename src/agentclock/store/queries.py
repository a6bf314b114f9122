"""Hand-written SQL from the package's .sql files, by name.

A file holds queries under `-- name: <query>` lines; every dialect has the same names. Queries that only one
dialect needs stand under `-- local: <query>`. Parameters are written `:name` in both dialects. Placeholders:

    {prefix}             what stands before a table's name: agentclock_ in SQLite, "agentclock". in PostgreSQL
    {schema}             the schema alone, quoted (PostgreSQL)
    {schedule_columns}   the codec's columns, with the aliases s (schedules), r (runs), a (attempts), w (workers)
    {run_columns}  {attempt_columns}  {event_columns} (with the alias e)  {worker_columns}
    {audit_columns} (with the alias l)  {owner_columns} (with the alias o)
    {brief_columns}  {mark_columns}  {failure_columns}  what is read of a schedule (alias s) for a brief, and of a run
                         (alias r) for a mark or a failure: plain numbers and text, for there are thousands at a time
    {where}              conditions put together at run time, see `Queries.get`
    {lane}               which line an active run (alias r) stands in, as the index runs_active has it: 0 it goes, 1 it
                         waits for the others; 2 and 3 the same for runs of backfills, which are in nobody else's way

A database may be one release behind. What a later step of the schema brought is marked with the step's number:
`{since 4: text}` or `{since 4: text else other text}` inside a query; a query that is of no use without the step is
headed `-- name: <query> (since 4)`, and without it answers with no rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from operator import itemgetter
from typing import Any, Final, Literal, TypeAlias

from agentclock.core.errors import SchemaBehind
from agentclock.store.columns import NEWEST_SCHEMA, TABLES

Dialect: TypeAlias = Literal["sqlite", "postgres"]

_HEAD: Final = re.compile(r"^-- (name|local): ([a-z_]+)(?: \(since (\d+)\))?[ \t]*\n", re.MULTILINE)
_SINCE: Final = re.compile(r"\{since (\d+):\s+([^{}]*?)(?: else ([^{}]*))?\}")
_PARAMETER: Final = re.compile(r"(?<![:\w]):([a-z_]+)")


@dataclass(frozen=True, slots=True)
class Query:
    """SQL ready for the driver; `parameters` are the names of its positional arguments, in order, and `args` takes
    the arguments out of a mapping, which may hold more."""

    name: str
    sql: str
    parameters: tuple[str, ...]
    args: Callable[[Mapping[str, Any]], Sequence[Any]]


#: The step of the schema that brought notices.
NOTICES_SINCE: Final = 5

#: What a query comes to whose table is not there yet.
_NOTHING: Final = "SELECT NULL WHERE false"


@dataclass(frozen=True, slots=True)
class _Section:
    """One query as its file has it; `since`: the step of the schema without which it is of no use."""

    shared: bool
    name: str
    since: int
    text: str

    def filled(self, values: Mapping[str, str], version: int) -> str:
        if version < self.since:
            return _NOTHING
        return _SINCE.sub(lambda found: _present(found, version), fill(self.text, values))


@dataclass(frozen=True, slots=True)
class _Edition:
    """The queries for one version of the schema."""

    version: int
    texts: dict[str, str]
    compiled: dict[tuple[str, ...], Query] = field(default_factory=dict)


class Queries:
    """All queries of one dialect, read once per store. `version`: how far the database's schema is."""

    def __init__(self, dialect: Dialect, *, schema: str = "agentclock", version: int = NEWEST_SCHEMA) -> None:
        self._dialect = dialect
        self._schema = schema
        self._sections = list(_sections(dialect))
        self.names = frozenset(section.name for section in self._sections)
        #: The names that every dialect must have.
        self.shared_names = frozenset(section.name for section in self._sections if section.shared)
        self._edition = self._edition_for(version)

    @property
    def version(self) -> int:
        """The step of the schema that the queries are made for."""
        return self._edition.version

    def use(self, version: int) -> None:
        """From now on, queries for a schema at this step, or at the newest that this code knows."""
        if min(version, NEWEST_SCHEMA) != self.version:
            self._edition = self._edition_for(version)  # at once, for other threads may be asking

    def _edition_for(self, version: int) -> _Edition:
        version = min(version, NEWEST_SCHEMA)
        values = placeholders(self._dialect, self._schema, version)
        return _Edition(version, {section.name: section.filled(values, version) for section in self._sections})

    def require(self, step: int) -> None:
        """Raises SchemaBehind if the schema lacks this step."""
        if self.version < step:
            raise SchemaBehind(step)

    def get(self, name: str, conditions: Sequence[str] = ()) -> Query:
        """The query `name`, its `{where}` filled with all of `conditions` (names of condition queries, or SQL made
        of constants)."""
        key, edition = (name, *conditions), self._edition
        found = edition.compiled.get(key)
        if found is None:
            # Callers' conditions come from a small fixed set, but a cap is cheaper than trusting that.
            if len(edition.compiled) > 1000:
                edition.compiled.clear()
            found = edition.compiled[key] = self._compile(edition.texts, name, conditions)
        return found

    def _compile(self, texts: Mapping[str, str], name: str, conditions: Sequence[str]) -> Query:
        where = " AND ".join(f"({texts.get(condition, condition)})" for condition in conditions)
        text = texts[name].replace("{where}", where or "true")
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


def _present(found: re.Match[str], version: int) -> str:
    return found[2] if version >= int(found[1]) else found[3] or ""


def placeholders(dialect: Dialect, schema: str, version: int = NEWEST_SCHEMA) -> dict[str, str]:
    """What stands for `{...}` in the .sql files. In SQLite the schema's name is the tables' prefix."""
    quoted = '"' + schema.replace('"', '""') + '"'
    return {
        "prefix": f"{schema}_" if dialect == "sqlite" else f"{quoted}.",
        "schema": quoted,
        "schedule_columns": _aliased("s", "schedules", version),
        "run_columns": _aliased("r", "runs", version),
        "attempt_columns": _aliased("a", "attempts", version),
        "event_columns": _aliased("e", "run_events", version),
        "worker_columns": _aliased("w", "workers", version),
        "brief_columns": _plain(dialect, "s", "briefs"),
        "mark_columns": _plain(dialect, "r", "marks", left_out=("total_tokens", "cost")),
        "failure_columns": _plain(dialect, "r", "failures"),
        "audit_columns": _aliased("l", "audit_log", version),
        "owner_columns": _aliased("o", "owners", version),
        "lane": (
            "(CASE WHEN r.cause = 'backfill' THEN 2 ELSE 0 END"
            " + CASE WHEN r.status = 'pending' AND r.available_at IS NULL THEN 1 ELSE 0 END)"
        ),
    }


def fill(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text


def _aliased(alias: str, table: str, version: int) -> str:
    """The table's columns; constants where the schema lacks them."""
    return ", ".join(
        f"{alias}.{name}"
        if version >= column.since
        else f"{'NULL' if column.absent is None else column.absent} AS {name}"
        for name, column in TABLES[table].items()
    )


def _plain(dialect: Dialect, alias: str, table: str, left_out: Sequence[str] = ()) -> str:
    """Columns of runs as the codec for `table` wants them, with nothing that the client would have to convert: what it
    teaches itself about instants costs more than all the rest."""

    def expression(name: str) -> str:
        if name == "error":
            return f"substr({alias}.error, 1, 2000) AS error"
        if dialect == "sqlite":
            return f"{alias}.{name}"
        if name.endswith("_at"):
            return f"(date_part('epoch', {alias}.{name}) * 1000000)::bigint / 1000 AS {name}"
        return f"{alias}.id::text" if name == "id" else f"{alias}.{name}"

    return ", ".join(expression(name) for name in TABLES[table] if name not in left_out)


def _sections(dialect: Dialect) -> Iterator[_Section]:
    """Every query in the dialect's files."""
    folder = files("agentclock.store") / "sql" / dialect
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".sql"):
            parts = _HEAD.split(file.read_text(encoding="utf-8"))
            for kind, name, since, text in zip(parts[1::4], parts[2::4], parts[3::4], parts[4::4], strict=True):
                yield _Section(kind == "name", name, int(since or 1), text.strip().removesuffix(";"))
