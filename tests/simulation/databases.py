"""The real stores, on a real SQLite file or a real PostgreSQL server, one database for all simulated processes.

The processes share its connections: which transaction runs next is the simulator's choice, and only one runs at a time.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tests.simulation.calls import GatedPool, Line, OpenThreads

from agentclock.ports import Clock, Store
from agentclock.store.postgres import PostgresStore
from agentclock.store.sqlite import SqliteStore

T = TypeVar("T")
SCHEMA = "agentclock"


class Database(Protocol):
    """Where one simulation takes place."""

    kind: str
    #: Any number of engines at a time?
    is_shared: bool
    #: Whether a commit may be written and its reply be lost.
    loses_replies: bool

    def do(self, work: Awaitable[T]) -> T:
        """Does it to its end, in the world of real threads and sockets; nothing else runs meanwhile."""

    def begin(self, clock: Clock) -> Store:
        """Empty, for a new simulation; answers the simulator's own store."""

    def store(self, clock: Clock, line: Line) -> Any:
        """One process's store."""

    def crash(self, store: Any) -> None:
        """What the operating system does when that process dies."""

    def close(self) -> None: ...


class _Real:
    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def do(self, work: Awaitable[T]) -> T:
        async def waited() -> T:
            return await work

        return self._loop.run_until_complete(waited())


class Sqlite(_Real):
    kind, is_shared, loses_replies = "sqlite", False, False

    def __init__(self) -> None:
        super().__init__()
        memory = Path("/dev/shm")
        self._folder = Path(tempfile.mkdtemp(prefix="agentclock-sim-", dir=memory if memory.is_dir() else None))
        self._number = 0
        self._own: SqliteStore | None = None

    def begin(self, clock: Clock) -> Store:
        self._end()
        self._number += 1
        self._own = SqliteStore(str(self._folder / f"{self._number}.db"), clock=clock, synchronous="NORMAL")
        self.do(self._own.open())
        return self._own

    def store(self, clock: Clock, line: Line) -> SqliteStore:
        assert self._own is not None
        store = SqliteStore(self._own._path, clock=clock, synchronous="NORMAL")
        store._writer = OpenThreads(self._own._writer, line)  # type: ignore[assignment]
        store._readers = OpenThreads(self._own._readers, line)  # type: ignore[assignment]
        self.do(store.open())
        return store

    def crash(self, store: SqliteStore) -> None:
        if store._lock is not None:
            store._lock.drop()

    def close(self) -> None:
        self._end()
        self._loop.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self) -> None:
        if self._own is not None:
            self.do(self._own.close())
            for path in self._folder.iterdir():
                path.unlink()


class Postgres(_Real):
    """`dsn`: a database of this simulator's own."""

    kind, is_shared, loses_replies = "postgres", True, True

    def __init__(self, dsn: str) -> None:
        super().__init__()
        self._dsn = dsn
        self._own: PostgresStore | None = None

    def begin(self, clock: Clock) -> Store:
        if self._own is None:
            self._own = self._store(clock)
            self.do(self._own.open())
        else:
            self.do(self._own._pool.transact(None, _emptied))
            self._own._clock = clock
        return self._own

    def store(self, clock: Clock, line: Line) -> PostgresStore:
        assert self._own is not None
        store, pool = self._store(clock), self._own._pool
        store._pool = GatedPool(pool, line, lambda: clock.store_now() or 0)  # type: ignore[assignment]
        self.do(store.open())
        return store

    def crash(self, store: PostgresStore) -> None:
        """Its connections would be closed, what was not committed rolled back: nothing is left of either."""

    def close(self) -> None:
        if self._own is not None:
            self.do(self._own.close())
        self._loop.close()

    def _store(self, clock: Clock) -> PostgresStore:
        return PostgresStore(self._dsn, clock=clock, pool_size=2, schema=SCHEMA)


async def _emptied(session: Any) -> None:
    tables = await session._connection.fetch(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = $1 AND tablename <> $2",
        SCHEMA,
        "migrations",
    )
    await session.script(f"TRUNCATE {', '.join(row[0] for row in tables)}")


#: Makes a database to simulate in; called in the process that does.
MakeDatabase = Callable[[], Database]
