"""The database of a run, looked at directly: past the proxy, and never through agentclock."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import uuid
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

import asyncpg
from tests.pg import PostgresServer, execute

TABLES: Final = ("schedules", "runs", "attempts", "workers", "schedule_revisions")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Database(Protocol):
    """`upstream`: where a proxy leads to, None: there is nothing to connect to."""

    upstream: str | None

    async def start(self) -> None: ...

    def url(self, port: int | None) -> str:
        """What workers are given, with the port of their proxy."""

    async def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows, instants in milliseconds since the epoch, ids as text."""

    async def incarnations(self, worker: str) -> list[str]:
        """The ids that this process has in the table of workers."""

    async def runs_of(self, worker_ids: Sequence[str]) -> int | None:
        """How many runs these hold. None: the database does not answer."""

    async def active(self) -> int | None:
        """How many runs are not over yet."""

    async def close(self) -> None: ...


class PostgresDatabase:
    """A server of our own, with fsync on: it is killed."""

    def __init__(self) -> None:
        self._server = PostgresServer(durable=True)
        self.upstream: str | None = None

    async def start(self) -> None:
        await asyncio.to_thread(self._server.start)
        await asyncio.to_thread(execute, self._server.dsn(), "CREATE DATABASE clock")
        self.upstream = f"127.0.0.1:{self._server.port}"

    def url(self, port: int | None) -> str:
        return f"postgresql://postgres@127.0.0.1:{port or self._server.port}/clock"

    async def bounce(self, *, kill: bool, down_seconds: float) -> None:
        await asyncio.to_thread(self._server.kill if kill else self._server.stop)
        await asyncio.sleep(down_seconds)
        await asyncio.to_thread(self._server.start)

    async def rows(self, table: str) -> list[dict[str, Any]]:
        found = await self._fetch(f"SELECT * FROM agentclock.{table}")
        return [{name: _plain(value) for name, value in row.items()} for row in found]

    async def incarnations(self, worker: str) -> list[str]:
        try:
            rows = await self._fetch("SELECT id FROM agentclock.workers WHERE name = $1", worker)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return []
        return [row["id"] for row in rows]

    async def runs_of(self, worker_ids: Sequence[str]) -> int | None:
        return await self._count("status = 'running' AND worker_id = ANY($1)", list(worker_ids))

    async def active(self) -> int | None:
        return await self._count("status IN ('pending', 'running', 'paused')")

    async def close(self) -> None:
        await asyncio.to_thread(self._server.remove)

    async def _count(self, where: str, *values: Any) -> int | None:
        try:
            [row] = await self._fetch(f"SELECT count(*) FROM agentclock.runs WHERE {where}", *values)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return None
        return int(row[0])

    async def _fetch(self, sql: str, *values: Any) -> list[Any]:
        connection = await asyncpg.connect(self._server.dsn("clock"), timeout=5, ssl=False)
        try:
            found: list[Any] = await connection.fetch(sql, *values, timeout=60)
            return found
        finally:
            await connection.close(timeout=5)


class SqliteDatabase:
    """A file; whoever looks only reads."""

    upstream: str | None = None

    def __init__(self, path: Path) -> None:
        self._path = path

    async def start(self) -> None:
        """The first worker makes it."""

    def url(self, port: int | None) -> str:
        return str(self._path)

    async def rows(self, table: str) -> list[dict[str, Any]]:
        return [dict(row) for row in self._fetch(f"SELECT * FROM agentclock_{table}")]

    async def incarnations(self, worker: str) -> list[str]:
        try:
            return [row["id"] for row in self._fetch("SELECT id FROM agentclock_workers WHERE name = ?", worker)]
        except sqlite3.Error:
            return []

    async def runs_of(self, worker_ids: Sequence[str]) -> int | None:
        marks = ", ".join("?" * len(worker_ids))
        return self._count(f"status = 'running' AND worker_id IN ({marks})", *worker_ids)

    async def active(self) -> int | None:
        return self._count("status IN ('pending', 'running', 'paused')")

    async def close(self) -> None: ...

    def _count(self, where: str, *values: Any) -> int | None:
        try:
            [row] = self._fetch(f"SELECT count(*) AS n FROM agentclock_runs WHERE {where}", *values)
        except sqlite3.Error:
            return None
        return int(row["n"])

    def _fetch(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=5)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(sql, values).fetchall()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value - _EPOCH) // timedelta(milliseconds=1)
    return str(value) if isinstance(value, uuid.UUID) else value


async def dump(database: Database, folder: Path) -> None:
    """Writes down every row of every table, one a line."""
    for table in TABLES:
        text = "".join(json.dumps(row, default=str) + "\n" for row in await database.rows(table))
        (folder / f"{table}.jsonl").write_text(text, encoding="utf-8")
