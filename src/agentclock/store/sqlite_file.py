"""Opening an SQLite file, bringing its schema up to date, and running named queries on it."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias, TypeVar

from agentclock.core.errors import StoreUnavailable
from agentclock.core.model import Instant
from agentclock.core.notices import Subscription
from agentclock.store.migrating import Applied, Migration, pending, refuse_if_too_old
from agentclock.store.queries import Queries

T = TypeVar("T")
Synchronous: TypeAlias = Literal["FULL", "NORMAL"]

MEMORY: Final = ":memory:"
BUSY_TIMEOUT_SECONDS: Final = 10.0

#: Stands between what a schedule says of itself; nobody looks for it.
_BETWEEN: Final = "\x1f"

#: Enough for the inner pages of all indexes of a few million runs; with less, they are read again for every row.
CACHE_KIB: Final = 16_384

#: `journal_mode=WAL` ignores the busy handler, so whoever meets others at the start tries again.
_OPEN_TRIES: Final = 200
_OPEN_PAUSE_SECONDS: Final = 0.05
_BUSY_CODES: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})

_ADVICE: Final = {
    sqlite3.SQLITE_BUSY: "another process holds its write lock for too long",
    sqlite3.SQLITE_LOCKED: "another connection holds its write lock for too long",
    sqlite3.SQLITE_FULL: "make room on the disk",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; restore it from a backup",
    sqlite3.SQLITE_NOTADB: "this is not an SQLite database: name another file, or move this one away",
    sqlite3.SQLITE_READONLY: "the file or its folder is read-only; let this user write there",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened; does its folder exist, and may we write there?",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
}


def unavailable(path: str, error: sqlite3.Error) -> StoreUnavailable:
    """`error` in words that say which file it is about and what to do."""
    advice = _ADVICE.get(_primary_code(error))
    return StoreUnavailable(f"SQLite database {path}: {error}" + (f" ({advice})" if advice else ""))


def _primary_code(error: sqlite3.Error) -> int:
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def connect(path: str, synchronous: Synchronous) -> sqlite3.Connection:
    """A connection in WAL mode, without implicit transactions. Raises sqlite3.Error or StoreUnavailable."""
    return _patiently(lambda: _connect(path, synchronous))


def connect_reader(path: str) -> sqlite3.Connection:
    connection = connect(path, "NORMAL")
    connection.execute("PRAGMA query_only = ON")
    return connection


def _connect(path: str, synchronous: Synchronous) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        for name, parameters, function in FUNCTIONS:
            connection.create_function(name, parameters, function, deterministic=True)
    except BaseException:
        connection.close()
        raise
    if mode != "wal" and path != MEMORY:
        connection.close()
        raise StoreUnavailable(f"SQLite database {path}: its file system does not allow write-ahead logging")
    return connection


def _patiently(action: Callable[[], T]) -> T:
    """Blocks; only for threads of the store."""
    for _ in range(_OPEN_TRIES):
        try:
            return action()
        except sqlite3.OperationalError as error:
            if _primary_code(error) not in _BUSY_CODES:
                raise
        time.sleep(_OPEN_PAUSE_SECONDS)
    return action()


def _fold(value: object) -> str | None:
    return value.casefold() if isinstance(value, str) else None


def _says(text: str, name: object, endpoint: object, description: object, tags: object) -> bool:
    """Whether `text`, folded, is a part of what a schedule says."""
    if text in f"{name}{_BETWEEN}{endpoint}{_BETWEEN}{description or ''}".casefold():
        return True
    return tags != "[]" and text in _folded_tags(tags)


def _has_tag(tags: object, tag: str) -> bool:
    return tags != "[]" and tag in _tags(tags)


@lru_cache(maxsize=4096)
def _folded_tags(tags: object) -> str:
    return _BETWEEN.join(_tags(tags)).casefold()


@lru_cache(maxsize=4096)
def _tags(text: object) -> tuple[str, ...]:
    """Empty where the list cannot be read: whoever reads the row says so. Many schedules have the same tags."""
    try:
        found = json.loads(text) if isinstance(text, str) else []
    except (ValueError, RecursionError):
        return ()
    return tuple(tag for tag in found if isinstance(tag, str)) if isinstance(found, list) else ()


#: What the database calls, with the number of its arguments.
FUNCTIONS: Final = (
    ("agentclock_fold", 1, _fold),
    ("agentclock_says", 5, _says),
    ("agentclock_has_tag", 2, _has_tag),
)


def migrate(
    connection: sqlite3.Connection,
    queries: Queries,
    steps: Sequence[Migration],
    *,
    app_version: str,
    now: Instant,
    auto: bool,
) -> None:
    """Applies what is missing, in one transaction. Raises StoreUnavailable (see migrating.pending)."""
    session = Session(connection, queries, now)
    missing = pending(steps, applied_steps(session))
    if not missing:
        return
    if not auto:
        return refuse_if_too_old(missing)
    connection.execute("BEGIN IMMEDIATE")
    try:
        session.run("create_migrations")
        for step in pending(steps, applied_steps(session)):  # somebody else may have been faster
            for statement in step.statements:
                connection.execute(statement)
            session.run(
                "record_migration",
                version=step.version,
                breaking=step.breaking,
                app_version=app_version,
                checksum=step.checksum,
                now=now,
            )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def applied_steps(session: Session) -> list[Applied]:
    if not session.value("migrations_exist"):
        return []
    rows = session.rows("applied_migrations")
    return [
        Applied(version=version, breaking=bool(breaking), checksum=checksum) for version, breaking, checksum in rows
    ]


@dataclass(frozen=True, slots=True)
class Session:
    """Named queries on one connection inside one transaction; `now` is the time that rules in it. `subscriptions`: who
    is told of what it writes."""

    connection: sqlite3.Connection
    queries: Queries
    now: Instant
    subscriptions: Sequence[Subscription] = ()

    def rows(self, name: str, conditions: Sequence[str] = (), /, **values: Any) -> list[tuple[Any, ...]]:
        query = self.queries.get(name, conditions)
        args = query.args(values)
        try:
            return self.connection.execute(query.sql, args).fetchall()
        except sqlite3.OperationalError as error:
            if "decode" not in str(error).lower():
                raise
        # Some row holds bytes that are no text: read on, so that only that row is found unreadable.
        self.connection.text_factory = _text_or_bytes
        try:
            return self.connection.execute(query.sql, args).fetchall()
        finally:
            self.connection.text_factory = str

    def row(self, name: str, /, **values: Any) -> tuple[Any, ...] | None:
        found = self.rows(name, **values)
        return found[0] if found else None

    def value(self, name: str, conditions: Sequence[str] = (), /, **values: Any) -> Any:
        return self.rows(name, conditions, **values)[0][0]

    def run(self, name: str, conditions: Sequence[str] = (), /, **values: Any) -> int:
        """The number of rows that were changed."""
        query = self.queries.get(name, conditions)
        return self.connection.execute(query.sql, query.args(values)).rowcount

    def run_many(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        query = self.queries.get(name)
        self.connection.executemany(query.sql, map(query.args, rows))


def _text_or_bytes(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def id_list(ids: Iterable[str]) -> str:
    """Ids as the JSON list that json_each(:ids) takes apart."""
    return json.dumps(list(ids))
