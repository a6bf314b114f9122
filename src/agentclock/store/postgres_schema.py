"""Brings the schema in PostgreSQL up to date, however many processes start at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agentclock import __version__
from agentclock.core.errors import StoreUnavailable
from agentclock.core.model import Instant
from agentclock.store.migrating import Applied, Migration, pending, refuse_if_too_old, version_of
from agentclock.store.postgres_pool import PostgresPool, Session, lock_key

OLDEST_SERVER: Final = 13

#: A step may have to go through a large table.
STATEMENT_SECONDS: Final = 600.0

#: Others may be at the same migration; it takes well under a second, more where tables are large.
_LOCK_TIMEOUT: Final = "SET LOCAL lock_timeout = '25s'"


async def ensure_schema(
    pool: PostgresPool, steps: Sequence[Migration], *, schema: str, now: Instant | None, auto: bool
) -> int:
    """The version that the schema has then. It is read without a lock; only a database that is behind is locked, looked
    at again, and changed.

    Raises StoreUnavailable: too old a server, a schema this code cannot use, or one behind with `auto` off.
    """
    applied = await pool.read(now, _inspect)
    missing = pending(steps, applied)
    if missing and not auto:
        refuse_if_too_old(missing)
    if not missing or not auto:
        return version_of(applied)

    async def apply(session: Session) -> None:
        await session.script(_LOCK_TIMEOUT)
        await session.rows("migration_lock", key=lock_key(f"migrations of {schema}"))
        if not await session.value("schema_exists"):
            await session.script(f'CREATE SCHEMA "{schema}"')
        await session.rows("create_migrations")
        for step in pending(steps, await applied_steps(session)):
            await session.script(*step.statements)
            await session.rows(
                "record_migration",
                version=step.version,
                breaking=step.breaking,
                app_version=__version__,
                checksum=step.checksum,
            )

    await pool.transact(now, apply, statement_seconds=STATEMENT_SECONDS)
    return steps[-1].version


async def applied_steps(session: Session) -> list[Applied]:
    if not await session.value("migrations_exist"):
        return []
    rows = await session.rows("applied_migrations")
    return [Applied(version=version, breaking=breaking, checksum=checksum) for version, breaking, checksum in rows]


async def _inspect(session: Session) -> list[Applied]:
    version, number, *_ = (await session.rows("server"))[0]
    if number < OLDEST_SERVER * 10_000:
        raise StoreUnavailable(f"PostgreSQL {version} is too old: {OLDEST_SERVER} or newer is needed")
    return await applied_steps(session)
