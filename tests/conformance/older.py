"""Databases as older versions left them."""

from __future__ import annotations

from contextlib import closing

from tests.conformance.conftest import Backend, PostgresBackend, SqliteBackend
from tests.conformance.helpers import START
from tests.pg import execute

from agentclock.store.migrating import load_migrations
from agentclock.store.queries import Dialect, Queries
from agentclock.store.sqlite_file import connect, migrate
from agentclock.testing import FakeClock


def database_at(version: int, dialect: Dialect, where: str, clock: FakeClock, *statements: str) -> Backend:
    """A new database with the schema at this version, and `statements` run on it. `where`: the file, or the DSN of an
    empty database."""
    steps = load_migrations(dialect)[:version]
    if dialect == "sqlite":
        with closing(connect(where, "FULL")) as connection:
            migrate(connection, Queries("sqlite"), steps, app_version="1.0", now=START, auto=True)
            for statement in statements:
                connection.execute(statement.replace("{prefix}", "agentclock_"))
        return SqliteBackend(where, clock)
    records = [
        f"INSERT INTO agentclock.migrations VALUES ({step.version}, false, '1.0', '{step.checksum}', now())"
        for step in steps
    ]
    execute(
        where,
        "CREATE SCHEMA agentclock",
        Queries("postgres").get("create_migrations").sql,
        *(statement for step in steps for statement in step.statements),
        *records,
        *(statement.replace("{prefix}", "agentclock.") for statement in statements),
    )
    return PostgresBackend(where, clock)
