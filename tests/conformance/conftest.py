"""One suite, every store: `store` is in turn SQLite in memory, SQLite in a file and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from agentclock.core.notices import Subscription
from agentclock.ports import Store
from agentclock.store.queries import Dialect, Queries
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import FakeClock

FILE_AND_SERVER = ["file", pytest.param("postgres", marks=pytest.mark.postgres)]
EVERYWHERE = ["memory", *FILE_AND_SERVER]
#: Those that tests write.
TABLES = (
    *("schedules", "schedule_revisions", "backfills", "runs", "attempts", "run_events", "workers"),
    *("notices", "trigger_keys", "audit_log", "owners"),
)


class Backend(Protocol):
    """One database of a test: opens stores on it, and reaches around them."""

    dialect: Dialect

    async def open(self, *, auto_migrate: bool = True, subscriptions: Sequence[Subscription] = ()) -> Store:
        """One more store on the same database."""

    async def execute(self, sql: str, *args: Any) -> None:
        """Runs SQL with `{prefix}` placeholders and `?` parameters, as somebody might by hand."""

    async def fetch(self, sql: str) -> list[Any]:
        """The rows, as tuples."""

    async def explain(self, name: str, *conditions: str) -> str:
        """The database's plan for a named query."""

    async def close(self) -> None: ...


class SqliteBackend:
    dialect: Dialect = "sqlite"

    def __init__(self, path: str, clock: FakeClock) -> None:
        self._path = path
        self._clock = clock
        self._stores: list[SqliteStore] = []
        self._queries = Queries("sqlite")

    async def open(self, *, auto_migrate: bool = True, subscriptions: Sequence[Subscription] = ()) -> SqliteStore:
        store = SqliteStore(self._path, clock=self._clock, auto_migrate=auto_migrate, subscriptions=subscriptions)
        await store.open()
        self._stores.append(store)
        return store

    async def execute(self, sql: str, *args: Any) -> None:
        text = sql.replace("{prefix}", "agentclock_")
        await self._on_writer(lambda connection: connection.execute(text, args).fetchall())

    async def fetch(self, sql: str) -> list[Any]:
        text = sql.replace("{prefix}", "agentclock_")
        return await self._on_writer(lambda connection: connection.execute(text).fetchall())

    async def explain(self, name: str, *conditions: str) -> str:
        query = self._queries.get(name, conditions)
        nulls = [None] * len(query.parameters)
        rows = await self._on_writer(
            lambda connection: connection.execute(f"EXPLAIN QUERY PLAN {query.sql}", nulls).fetchall()
        )
        return "\n".join(row[3] for row in rows)

    async def close(self) -> None:
        for store in self._stores:
            await store.close()

    async def _on_writer(self, operation: Any) -> list[Any]:
        rows: list[Any] = await self._stores[0]._writer.run(operation)
        return rows


class PostgresBackend:
    dialect: Dialect = "postgres"

    def __init__(self, dsn: str, clock: FakeClock) -> None:
        self._dsn = dsn
        self._clock = clock
        self._stores: list[Store] = []
        self._queries = Queries("postgres")

    async def empty(self) -> None:
        """The database is the test module's; every test starts without rows."""
        await self.execute(f"TRUNCATE {', '.join(f'{{prefix}}{table}' for table in TABLES)}")

    async def open(self, *, auto_migrate: bool = True, subscriptions: Sequence[Subscription] = ()) -> Store:
        from agentclock.store.postgres import PostgresStore

        store = PostgresStore(self._dsn, clock=self._clock, auto_migrate=auto_migrate, subscriptions=subscriptions)
        await store.open()
        self._stores.append(store)
        return store

    async def execute(self, sql: str, *args: Any) -> None:
        numbered = iter(range(1, sql.count("?") + 1))
        pieces = sql.replace("{prefix}", '"agentclock".').split("?")
        text = pieces[0] + "".join(f"${next(numbered)}{piece}" for piece in pieces[1:])
        connection = await self._connect()
        try:
            await connection.execute(text, *args)
        finally:
            await connection.close()

    async def fetch(self, sql: str) -> list[Any]:
        connection = await self._connect()
        try:
            return [tuple(row) for row in await connection.fetch(sql.replace("{prefix}", '"agentclock".'))]
        finally:
            await connection.close()

    async def explain(self, name: str, *conditions: str) -> str:
        """Under a generic plan, where a parameter tells the planner nothing, on tables too small to matter."""
        query = self._queries.get(name, conditions)
        nulls = ", ".join(["NULL"] * len(query.parameters))
        connection = await self._connect()
        try:
            await connection.execute("SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off")
            await connection.execute("SET enable_bitmapscan = off")
            await connection.execute(f"PREPARE explained AS {query.sql}")
            rows = await connection.fetch(f"EXPLAIN EXECUTE explained{f'({nulls})' if nulls else ''}")
            return "\n".join(row[0] for row in rows)
        finally:
            await connection.close()

    async def close(self) -> None:
        for store in self._stores:
            await store.close()

    async def _connect(self) -> Any:
        import asyncpg

        return await asyncpg.connect(self._dsn)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=EVERYWHERE)
async def backend(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Backend]:
    made: Backend
    match request.param:
        case "memory":
            made = SqliteBackend(":memory:", clock)
        case "file":
            made = SqliteBackend(str(tmp_path / "agentclock.db"), clock)
        case _:
            made = PostgresBackend(request.getfixturevalue("postgres_dsn"), clock)
            await made.empty()
    yield made
    await made.close()


@pytest.fixture
async def store(backend: Backend) -> Store:
    return await backend.open()


@pytest.fixture
async def file_store(clock: FakeClock, tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """For what only SQLite has."""
    made = SqliteStore(str(tmp_path / "agentclock.db"), clock=clock)
    await made.open()
    yield made
    await made.close()
