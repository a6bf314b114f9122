"""An open PostgreSQL database: its pool, its schema. What is asked of it stands in `postgres.py`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from agentclock.core.errors import ConfigError
from agentclock.core.model import Instant
from agentclock.core.notices import Subscription
from agentclock.ports import Claimed, Clock, Fired, StoreHealth
from agentclock.store.columns import NEWEST_SCHEMA
from agentclock.store.migrating import Applied, drift, load_migrations, version_of
from agentclock.store.postgres_doubts import Doubts, undo_claims
from agentclock.store.postgres_pool import PostgresPool, Row, Session
from agentclock.store.postgres_schema import applied_steps, ensure_schema
from agentclock.store.queries import Queries

T = TypeVar("T")
Grant = TypeVar("Grant", Fired, Claimed)
P = ParamSpec("P")

#: A transaction open for longer than this keeps dead rows from being cleared away.
OLD_SNAPSHOT_SECONDS: Final = 600

_SCHEMA: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")


class PostgresDatabase:
    """Raises ConfigError for a URL or a schema name that cannot be used.

    `pooler`: a connection pooler in transaction mode (PgBouncer and the like) stands before the server.
    `subscriptions`: who is told of what this process writes.
    """

    def __init__(
        self,
        dsn: str,
        *,
        clock: Clock,
        pool_size: int = 8,
        auto_migrate: bool = True,
        pooler: bool = False,
        schema: str = "agentclock",
        subscriptions: Sequence[Subscription] = (),
    ) -> None:
        if not _SCHEMA.fullmatch(schema):
            raise ConfigError([f"schema name {schema!r}: use lower-case letters, digits and _, at most 63"])
        self._clock = clock
        self._schema = schema
        self._auto_migrate = auto_migrate
        self._steps = load_migrations("postgres", schema=schema)
        self._doubts = Doubts()
        self._queries = Queries("postgres", schema=schema)
        self._pool = PostgresPool(dsn, self._queries, size=pool_size, pooler=pooler, subscriptions=tuple(subscriptions))

    # life

    async def open(self) -> None:
        await self._pool.open()
        try:
            version = await ensure_schema(
                self._pool, self._steps, schema=self._schema, now=self._clock.store_now(), auto=self._auto_migrate
            )
        except BaseException:
            await self._pool.close()
            raise
        self._queries.use(version)

    async def close(self) -> None:
        await self._pool.close()

    async def health(self) -> StoreHealth:
        before, started = self._clock.now(), self._clock.monotonic()
        version, _, standby, theirs = (await self._read(_rows, "server"))[0]
        latency_ms = (self._clock.monotonic() - started) * 1000
        ours = (before + self._clock.now()) // 2
        applied = await self._look_at_schema()
        snapshot_seconds: int = await self._read(_value, "oldest_snapshot_seconds")
        warnings = list(drift(self._steps, applied))
        if standby:
            warnings.append("this server is a standby: nothing can be written")
        if snapshot_seconds > OLD_SNAPSHOT_SECONDS:
            warnings.append(
                f"a transaction is open for {snapshot_seconds} s; until it ends, claims get slower (look for "
                "backend_xmin in pg_stat_activity)"
            )
        return StoreHealth(
            backend="postgresql",
            version=version,
            schema_version=version_of(applied),
            latency_ms=latency_ms,
            clock_difference_ms=theirs - ours,
            oldest_snapshot_seconds=snapshot_seconds,
            warnings=tuple(warnings),
        )

    async def now(self) -> Instant:
        now: Instant = (await self._read(_rows, "ruling_time"))[0][0]
        return now

    # within

    async def _look_at_schema(self) -> list[Applied]:
        applied = await self._read(applied_steps)
        self._queries.use(version_of(applied))
        return applied

    async def _keep_up(self) -> None:
        """Somebody may have upgraded the schema since we last looked."""
        if self._queries.version < NEWEST_SCHEMA:
            await self._look_at_schema()

    async def _require(self, step: int) -> None:
        """Raises SchemaBehind."""
        await self._keep_up()
        self._queries.require(step)

    async def _claiming(
        self, operation: Callable[Concatenate[Session, P], Awaitable[Grant]], *args: P.args, **kwargs: P.kwargs
    ) -> Grant:
        """A write that claims runs; what an earlier one may have claimed unknown to its worker is undone first."""
        if self._doubts:
            with self._doubts.noted() as still_doubtful:
                still_doubtful[:] = self._doubts.take()
                await self._write(undo_claims, still_doubtful)
        with self._doubts.noted() as about_to_claim:

            async def noting(session: Session) -> Grant:
                granted = await operation(session, *args, **kwargs)
                about_to_claim[:] = granted.claims
                return granted

            return await self._pool.transact(self._clock.store_now(), noting)

    async def _write(
        self, operation: Callable[Concatenate[Session, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self._pool.transact(self._clock.store_now(), lambda session: operation(session, *args, **kwargs))

    async def _read(
        self, operation: Callable[Concatenate[Session, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self._pool.read(self._clock.store_now(), lambda session: operation(session, *args, **kwargs))


async def _rows(session: Session, name: str) -> list[Row]:
    return await session.rows(name)


async def _value(session: Session, name: str) -> Any:
    return await session.value(name)
