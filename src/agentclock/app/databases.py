"""Which database a setting names, and what works on it."""

from __future__ import annotations

from pathlib import Path

from agentclock.config import Settings
from agentclock.core.errors import ConfigError
from agentclock.ports import Clock, Store, Wakeup
from agentclock.store.sqlite import SqliteStore
from agentclock.store.wakeup import SqliteWakeup
from agentclock.webhooks.station import subscriptions_of


def is_postgres(database: str) -> bool:
    return database.partition("://")[0].partition("+")[0] in ("postgresql", "postgres")


def sqlite_path(database: str) -> str:
    """`sqlite:///path`, `sqlite+aiosqlite:///path` and a plain path are the same."""
    scheme, separator, path = database.partition(":///")
    return path if separator and scheme.partition("+")[0] == "sqlite" else database


def is_there(database: str) -> bool:
    """False for an SQLite file that does not exist: opening it would make it, and some only want to look."""
    return is_postgres(database) or Path(sqlite_path(database)).exists()


def make_store(settings: Settings, clock: Clock, *, auto_migrate: bool | None = None) -> tuple[Store, Wakeup]:
    """The store that the database setting names, and what wakes engines on it. Raises ConfigError."""
    migrate = settings.auto_migrate if auto_migrate is None else auto_migrate
    if not is_postgres(settings.database):
        path = sqlite_path(settings.database)
        if "://" in path:
            raise ConfigError([f"database: {path.partition(':')[0]} is not supported; use SQLite or PostgreSQL"])
        store = SqliteStore(
            path,
            clock=clock,
            synchronous=settings.sqlite_synchronous,
            auto_migrate=migrate,
            subscriptions=subscriptions_of(settings.webhooks),
        )
        return store, SqliteWakeup(path)
    try:
        from agentclock.store.postgres import PostgresStore  # noqa: PLC0415 - an extra
        from agentclock.store.wakeup import PostgresWakeup  # noqa: PLC0415
    except ImportError:
        raise ConfigError(["database: PostgreSQL needs one more package: pip install 'agentclock[postgres]'"]) from None
    listen_url = settings.listen_url or settings.database
    return (
        PostgresStore(
            settings.database,
            clock=clock,
            pool_size=settings.pool_size,
            auto_migrate=migrate,
            pooler=settings.pooler,
            subscriptions=subscriptions_of(settings.webhooks),
        ),
        PostgresWakeup(listen_url),
    )
