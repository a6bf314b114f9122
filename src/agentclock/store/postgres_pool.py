"""Connections to PostgreSQL: transactions that end, errors that say what to do, and no state left in a session.

Nothing here needs a session to stay the same between two transactions, so that a pooler in transaction mode may
stand before the server.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias, TypeVar

import asyncpg

from agentclock.core.errors import StoreUnavailable
from agentclock.core.model import Instant
from agentclock.core.notices import Subscription
from agentclock.store.postgres_address import COMMAND_SECONDS, CONNECT_SECONDS, Address, Line
from agentclock.store.postgres_connections import Connections
from agentclock.store.postgres_gate import Gate
from agentclock.store.queries import NOTICES_SINCE, Queries

T = TypeVar("T")
Row: TypeAlias = Sequence[Any]
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

ACQUIRE_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 5.0

#: Transactions that lost a deadlock or a serialization conflict are tried this many times in all.
TRIES: Final = 5

#: In one message: the isolation that our statements are written for; an end for transactions whose process froze
#: with rows locked. And plans that are made once and do not follow the statistics, which are always behind for a queue
#: that fills and empties: every statement of a transaction has an index that gives its few rows in order.
#: Just-in-time compilation costs more than any of them.
_BEGIN: Final = "; ".join(
    (
        "BEGIN ISOLATION LEVEL READ COMMITTED",
        "SET LOCAL idle_in_transaction_session_timeout = '30s'",
        "SET LOCAL plan_cache_mode = force_generic_plan",
        "SET LOCAL enable_seqscan = off",
        "SET LOCAL enable_bitmapscan = off",
        "SET LOCAL jit = off",
    )
)

#: timestamptz counts microseconds from the year 2000; the model counts milliseconds from 1970.
_EPOCH_MS: Final = 946_684_800_000
_LAST_MS: Final = 253_402_300_799_999


class Session:
    """Runs named queries on one connection, within one transaction. `now`: the time SQL must use, None: its own.
    `subscriptions`: who is told of what it writes."""

    def __init__(
        self,
        connection: Connection,
        queries: Queries,
        now: Instant | None,
        statement_seconds: float | None = None,
        subscriptions: Sequence[Subscription] = (),
    ) -> None:
        self._connection = connection
        self._queries = queries
        self._now = now
        self._statement_seconds = statement_seconds
        self.subscriptions = subscriptions if queries.version >= NOTICES_SINCE else ()

    async def rows(self, name: str, conditions: Sequence[str] = (), /, **values: Any) -> list[Row]:
        query = self._queries.get(name, conditions)
        args = query.args({"now": self._now} | values)
        found: list[Any] = await self._connection.fetch(query.sql, *args, timeout=self._statement_seconds)
        return found

    async def rows_while(self, work: Callable[[], T], name: str, /, **values: Any) -> tuple[list[Row], T]:
        """The rows, and what `work` made while the database was busy finding them."""
        asking = asyncio.create_task(self.rows(name, **values))
        try:
            await asyncio.sleep(0)  # sends the query
            made = work()
        finally:
            rows = await asking
        return rows, made

    async def run_many(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """The same statement for each of `rows`, all sent at once; what it answers is dropped."""
        query = self._queries.get(name)
        args = [query.args({"now": self._now} | dict(row)) for row in rows]
        await self._connection.executemany(query.sql, args, timeout=self._statement_seconds)

    async def row(self, name: str, conditions: Sequence[str] = (), /, **values: Any) -> Row | None:
        found = await self.rows(name, conditions, **values)
        return found[0] if found else None

    async def value(self, name: str, conditions: Sequence[str] = (), /, **values: Any) -> Any:
        """The first column of the first row, None without any."""
        found = await self.row(name, conditions, **values)
        return None if found is None else found[0]

    async def script(self, *statements: str) -> None:
        """Statements without parameters."""
        for statement in statements:
            await self._connection.execute(statement, timeout=self._statement_seconds)


class PostgresPool:
    """Raises ConfigError for a URL that cannot be read. Reconnects by itself; every failure to reach the database
    comes out as StoreUnavailable, and none of its words is the password."""

    def __init__(
        self, dsn: str, queries: Queries, *, size: int, pooler: bool, subscriptions: Sequence[Subscription] = ()
    ) -> None:
        self._address = Address.read(dsn)
        self._queries = queries
        self._subscriptions = subscriptions
        self._size = size
        self._statements = 0 if pooler else 200
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gate = Gate()
        self._connections: Connections[Connection] | None = None

    async def open(self) -> None:
        """Opens no connection yet."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # what was made in another one, which is gone, is of no use here
            self._loop, self._gate, self._connections = loop, Gate(), None
        if self._connections is None:
            self._connections = Connections(self._connect, self._gate, self._size)

    async def close(self) -> None:
        connections, self._connections = self._connections, None
        if connections is not None:
            await connections.close(CLOSE_SECONDS)

    async def transact(
        self, now: Instant | None, work: Callable[[Session], Awaitable[T]], *, statement_seconds: float | None = None
    ) -> T:
        """`work` in one transaction; from the start again if it lost a deadlock or the like.

        `statement_seconds`: how long one statement may take, COMMAND_SECONDS if not given.
        """
        for tries_left in reversed(range(TRIES)):
            try:
                with self._address.answering():
                    async with self._transaction() as connection:
                        return await work(
                            Session(connection, self._queries, now, statement_seconds, self._subscriptions)
                        )
            except StoreUnavailable as error:
                if not tries_left or not isinstance(error.__cause__, asyncpg.TransactionRollbackError):
                    raise
        raise AssertionError("unreachable")

    async def read(self, now: Instant | None, work: Callable[[Session], Awaitable[T]]) -> T:
        """`work` that writes nothing, each statement by itself."""
        with self._address.answering():
            async with self._connection() as connection:
                return await work(Session(connection, self._queries, now))

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        async with self._connection() as connection:
            await connection.execute(_BEGIN)
            try:
                yield connection
            except Exception as error:
                if not isinstance(error, TimeoutError) and not connection.is_closed():
                    await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        connections = self._connections
        if connections is None:
            raise StoreUnavailable(f"{self._address.where}: the store is not open")
        try:
            connection = await connections.take(ACQUIRE_SECONDS)
        except TimeoutError as error:
            raise StoreUnavailable(self._all_busy(connections.busy)) from error
        try:
            yield connection
        except TimeoutError:
            # The server may still be at it or gone without a word: this connection is worth nothing any more, and
            # the others had better be made anew as well, before each of them is waited for as long.
            connection.terminate()
            connections.doubt()
            raise
        except asyncio.CancelledError:
            connection.terminate()
            raise
        except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            if not isinstance(error, ValueError):  # a value that does not fit leaves the connection as it was
                connection.terminate()
            raise
        finally:
            connections.give_back(connection)

    async def _connect(self) -> Connection:
        with self._address.answering(CONNECT_SECONDS):
            async with asyncio.timeout(CONNECT_SECONDS):
                connection = await asyncpg.connect(
                    self._address.url,
                    command_timeout=COMMAND_SECONDS,
                    statement_cache_size=self._statements,
                    max_cached_statement_lifetime=0,
                    connection_class=Line,
                    server_settings={"application_name": "agentclock"},
                )
                await prepare_connection(connection)
                return connection

    def _all_busy(self, busy: int) -> str:
        text = f"no connection within {ACQUIRE_SECONDS:.0f} s ({busy} of {self._size} connections are busy)"
        refused = self._gate.error
        return f"{self._address.where}: {text}" + (f"; no other can be made: {refused}" if refused else "")


def filled(**arrays: list[Any]) -> dict[str, list[Any]]:
    """The parameters of an unnest(). An array of nothing but NULL is sent empty: unnest() fills up what is shorter,
    and the client need not look every element over."""
    return {name: [] if all(value is None for value in array) else array for name, array in arrays.items()}


def lock_key(what: str) -> int:
    """The advisory lock for `what`; nobody else's advisory locks have the same keys."""
    digest = hashlib.blake2b(f"agentclock {what}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


_NO_RUN: Final = str(uuid.UUID(int=0))


def run_uuid(run_id: str) -> str:
    """The id as PostgreSQL takes it; for a text that is no run id, one that no run has."""
    try:
        return str(uuid.UUID(run_id)) if len(run_id) == 36 else _NO_RUN
    except ValueError:
        return _NO_RUN


async def prepare_connection(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Teaches the client (nothing on the server) that instants are epoch milliseconds and run ids are text."""
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", encoder=_to_micros, decoder=_to_instant, format="tuple"
    )
    await connection.set_type_codec("uuid", schema="pg_catalog", encoder=str, decoder=str, format="text")


def _to_micros(instant: Instant) -> tuple[int]:
    return ((min(instant, _LAST_MS) - _EPOCH_MS) * 1000,)


def _to_instant(value: tuple[int]) -> Instant:
    return value[0] // 1000 + _EPOCH_MS
