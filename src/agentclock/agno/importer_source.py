"""agno's scheduler tables, read as they are: SQLite or PostgreSQL, older releases with fewer columns included.

Nothing is written there.
"""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from agentclock.agno.databases import database_for
from agentclock.app import is_postgres, sqlite_path
from agentclock.core.errors import AgentclockError
from agentclock.core.model import Json

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}")
_JSON_COLUMNS: Final = frozenset({"payload", "input", "output", "requirements"})

Row = Mapping[str, Any]


class SourceUnusable(AgentclockError):
    """agno's database, or a table in it, cannot be read; the message says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgnoTables:
    """Where agno keeps its schedules. `schema` counts on PostgreSQL only."""

    schema: str = "ai"
    schedules: str = "agno_schedules"
    runs: str = "agno_schedule_runs"

    def __post_init__(self) -> None:
        for option, name in (("schema", self.schema), ("schedules-table", self.schedules), ("runs-table", self.runs)):
            if not _IDENTIFIER.fullmatch(name):
                raise SourceUnusable(f"--{option}: {name!r} is no name of a table or schema")


class AgnoSource(Protocol):
    """Rows as dicts by column, JSON decoded. Raises SourceUnusable."""

    @property
    def where(self) -> str:
        """The database in words, without secrets."""

    async def schedules(self) -> list[Row]:
        """Oldest first."""

    async def runs(self, schedule_id: str) -> list[Row]:
        """One row for each attempt, oldest first. Empty too where agno never ran anything."""

    async def close(self) -> None: ...


async def open_source(database: str, tables: AgnoTables) -> AgnoSource:
    """`database`: what agno was given as `db_url` or `db_file`. Raises SourceUnusable."""
    check_readable(database)
    if is_postgres(database):
        return await _open_postgres(database, tables)
    return await asyncio.to_thread(_open_sqlite, sqlite_path(database), tables)


def check_readable(database: str) -> None:
    """Raises SourceUnusable for a kind of database that agno can use and we cannot read."""
    scheme, separator, _ = sqlite_path(database).partition("://")
    if separator and not is_postgres(database):
        raise SourceUnusable(f"--from: {scheme} cannot be read; give an SQLite file or a postgresql:// URL")


def decoded(row: Mapping[str, Any]) -> Row:
    """The row with its JSON columns as values."""
    return {name: _json(value) if name in _JSON_COLUMNS else value for name, value in row.items()}


def _json(value: object) -> Json:
    """What JSON text means. Text that is none stays text, for whoever reads it to complain with the field's name."""
    if not isinstance(value, str | bytes):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


# SQLite


def _open_sqlite(path: str, tables: AgnoTables) -> _SqliteSource:
    file = Path(path)
    if not file.is_file():
        raise SourceUnusable(f"--from: there is no file {path}")
    # Opened read-only, a file in WAL mode would be left with two more files beside it.
    connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA query_only = ON")
        found = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")}
    except sqlite3.Error as error:
        connection.close()
        raise SourceUnusable(f"--from: {path}: {error}") from error
    if tables.schedules not in found:
        connection.close()
        raise SourceUnusable(_no_table(path, tables.schedules, found))
    return _SqliteSource(connection, path, tables, has_runs=tables.runs in found)


class _SqliteSource:
    """One connection that only reads, used by one thread at a time."""

    def __init__(self, connection: sqlite3.Connection, path: str, tables: AgnoTables, *, has_runs: bool) -> None:
        self._connection = connection
        self._tables = tables
        self._has_runs = has_runs
        self.where = f"SQLite ({path})"

    async def schedules(self) -> list[Row]:
        return await self._rows(f'SELECT * FROM "{self._tables.schedules}" ORDER BY created_at, name, id')

    async def runs(self, schedule_id: str) -> list[Row]:
        if not self._has_runs:
            return []
        query = f'SELECT * FROM "{self._tables.runs}" WHERE schedule_id = ? ORDER BY {_OLDEST_FIRST}'
        return await self._rows(query, schedule_id)

    async def close(self) -> None:
        await asyncio.to_thread(self._connection.close)

    async def _rows(self, query: str, *values: object) -> list[Row]:
        def read() -> list[Row]:
            return [decoded(dict(row)) for row in self._connection.execute(query, values)]

        try:
            return await asyncio.to_thread(read)
        except sqlite3.Error as error:
            raise SourceUnusable(f"{self.where}: {error}") from error


# PostgreSQL


async def _open_postgres(url: str, tables: AgnoTables) -> AgnoSource:
    try:
        from agentclock.store.postgres_address import Address  # noqa: PLC0415 - an extra
    except ImportError:
        raise SourceUnusable("--from: PostgreSQL needs one more package: pip install 'agentclock[postgres]'") from None
    try:
        # agno's drivers and their options are not ours; the server is the same.
        address = Address.read(database_for(url))
        connection = await address.connect()
    except AgentclockError as error:
        raise SourceUnusable(f"--from: {error}") from error
    source = _PostgresSource(connection, address, tables)
    try:
        await source.look()
    except BaseException:
        await source.close()
        raise
    return source


class _PostgresSource:
    """`address` and `connection` are those of `store.postgres_address`, which is there with the extra only."""

    def __init__(self, connection: Any, address: Any, tables: AgnoTables) -> None:
        self._connection = connection
        self._address = address
        self._tables = tables
        self._has_runs = False
        self.where = str(address.where)

    async def look(self) -> None:
        query = "SELECT table_name FROM information_schema.tables WHERE table_schema = $1"
        found = {str(row["table_name"]) for row in await self._rows(query, self._tables.schema)}
        if self._tables.schedules not in found:
            where = f"schema {self._tables.schema!r} of {self.where}"
            raise SourceUnusable(_no_table(where, self._tables.schedules, found))
        self._has_runs = self._tables.runs in found

    async def schedules(self) -> list[Row]:
        table = f'"{self._tables.schema}"."{self._tables.schedules}"'
        return await self._rows(f"SELECT * FROM {table} ORDER BY created_at, name, id")

    async def runs(self, schedule_id: str) -> list[Row]:
        if not self._has_runs:
            return []
        table = f'"{self._tables.schema}"."{self._tables.runs}"'
        return await self._rows(f"SELECT * FROM {table} WHERE schedule_id = $1 ORDER BY {_OLDEST_FIRST}", schedule_id)

    async def close(self) -> None:
        await self._connection.close()

    async def _rows(self, query: str, *values: object) -> list[Row]:
        try:
            with self._address.answering():
                return [decoded(dict(row)) for row in await self._connection.fetch(query, *values)]
        except AgentclockError as error:
            raise SourceUnusable(str(error)) from error


_OLDEST_FIRST: Final = "coalesce(triggered_at, created_at), created_at, attempt, id"


def _no_table(where: str, wanted: str, found: Sequence[str] | set[str]) -> str:
    like = sorted(name for name in found if "schedule" in name)
    hint = f"; there are {', '.join(like)}: name the right one with --schedules-table" if like else ""
    return f"--from: {where} has no table {wanted!r}{hint or ': has the scheduler of this AgentOS ever been used?'}"
