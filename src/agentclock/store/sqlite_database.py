"""An open SQLite file: its threads, its schema, its engine lock. What is asked of it stands in `sqlite.py`."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from agentclock import __version__
from agentclock.core.model import Instant
from agentclock.core.notices import Subscription
from agentclock.ports import Clock, StoreHealth
from agentclock.store.columns import NEWEST_SCHEMA
from agentclock.store.migrating import Applied, drift, load_migrations, version_of
from agentclock.store.queries import NOTICES_SINCE, Queries
from agentclock.store.sqlite_file import (
    MEMORY,
    Session,
    Synchronous,
    applied_steps,
    connect,
    connect_reader,
    migrate,
    unavailable,
)
from agentclock.store.sqlite_lock import EngineLock
from agentclock.store.sqlite_watch import FileWatch
from agentclock.store.sqlite_writer import Readers, Writer

T = TypeVar("T")
P = ParamSpec("P")


class SqliteDatabase:
    """One thread writes and commits in groups, others read.

    `synchronous` NORMAL is faster and may lose the newest transactions in a power failure (never the file).
    `subscriptions`: who is told of what this process writes.
    """

    def __init__(
        self,
        path: str,
        *,
        clock: Clock,
        synchronous: Synchronous = "FULL",
        auto_migrate: bool = True,
        subscriptions: Sequence[Subscription] = (),
    ) -> None:
        self._path = path
        self._clock = clock
        self._synchronous: Synchronous = synchronous
        self._auto_migrate = auto_migrate
        self._subscriptions = tuple(subscriptions)
        self._queries = Queries("sqlite")
        self._steps = load_migrations("sqlite")
        self._writer = Writer(self._connect)
        # A second connection would see a memory of its own.
        self._readers = None if path == MEMORY else Readers(partial(connect_reader, path))
        self._lock = None if path == MEMORY else EngineLock(path)
        # The workers of this process that run the engine, and whose turn it is to change that.
        self._engines: set[str] = set()
        self._engine_change = asyncio.Lock()
        self._owner_elsewhere: str | None = None
        self._watch = FileWatch(path)

    # life

    async def open(self) -> None:
        await self._guarded(self._writer.start())
        if self._readers is not None:
            self._readers.start()
        await asyncio.to_thread(self._watch.remember_file)

    async def close(self) -> None:
        if self._readers is not None:
            await self._readers.stop()
        await self._writer.stop()
        if self._lock is not None:
            self._lock.release()

    async def health(self) -> StoreHealth:
        started = self._clock.monotonic()
        await asyncio.to_thread(self._watch.check_file)
        schema_version, warnings = await self._write(self._inspect)
        return StoreHealth(
            backend="sqlite",
            version=sqlite3.sqlite_version,
            schema_version=schema_version,
            latency_ms=(self._clock.monotonic() - started) * 1000,
            clock_difference_ms=0,
            warnings=warnings,
        )

    async def now(self) -> Instant:
        return self._now()

    # within

    def _now(self) -> Instant:
        ruling = self._clock.store_now()
        return self._clock.now() if ruling is None else ruling

    def _connect(self) -> sqlite3.Connection:
        """The writing connection, its schema up to date. Runs on the writer's thread."""
        connection = connect(self._path, self._synchronous)
        try:
            migrate(
                connection,
                self._queries,
                self._steps,
                app_version=__version__,
                now=self._now(),
                auto=self._auto_migrate,
            )
            self._use_schema(applied_steps(self._session(connection)))
            self._watch.remember_content(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _inspect(self, session: Session) -> tuple[int, tuple[str, ...]]:
        """The schema's version, and warnings. Runs on the writer's thread."""
        applied = applied_steps(session)
        version = self._use_schema(applied)
        shared = self._owner_elsewhere is not None
        warnings = self._watch.warnings(session.connection, shared=shared)
        return version, (*drift(self._steps, applied), *warnings)

    def _use_schema(self, applied: Sequence[Applied]) -> int:
        version = version_of(applied)
        self._queries.use(version)
        return version

    async def _keep_up(self) -> None:
        """Somebody may have upgraded the schema since we last looked."""
        if self._queries.version < NEWEST_SCHEMA:
            await self._write(self._inspect)

    async def _require(self, step: int) -> None:
        """Raises SchemaBehind."""
        await self._keep_up()
        self._queries.require(step)

    async def _free_lock(self) -> None:
        if self._lock is not None and not self._engines:
            await asyncio.to_thread(self._lock.release)

    async def _write(self, operation: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._guarded(
            self._writer.run(lambda connection: operation(self._session(connection), *args, **kwargs))
        )

    async def _read(self, operation: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._readers is None:
            return await self._write(operation, *args, **kwargs)
        return await self._guarded(
            self._readers.run(lambda connection: operation(self._session(connection), *args, **kwargs))
        )

    def _session(self, connection: sqlite3.Connection) -> Session:
        subscriptions = self._subscriptions if self._queries.version >= NOTICES_SINCE else ()
        return Session(connection, self._queries, self._now(), subscriptions)

    async def _guarded(self, work: Awaitable[T]) -> T:
        try:
            return await work
        except (sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.IntegrityError):
            raise  # our own mistakes, not the database's absence
        except sqlite3.Error as error:
            raise unavailable(self._path, error) from error
