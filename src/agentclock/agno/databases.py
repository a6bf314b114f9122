"""Where agentclock keeps its own tables when it is attached to an app that has a database already.

PostgreSQL: the same database, a schema of our own. SQLite: a file of our own beside the app's, because SQLite takes
one writer a file and the writer must not wait for somebody else's transactions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

import structlog

from agentclock.core.errors import ConfigError

MEMORY: Final = ":memory:"
UNATTACHED: Final = "agentclock.db"

_ADVICE: Final = (
    "name another place for agentclock's tables: database='postgresql://user:password@host/name' or "
    "database='agentclock.db' among the scheduler's settings, or AGENTCLOCK_DATABASE"
)

#: Query options of a PostgreSQL URL that mean the same to asyncpg. It would send any other to the server as a setting,
#: and the server refuses connections that ask for settings it does not know.
_KNOWN_OPTIONS: Final = frozenset(
    {"host", "port", "user", "password", "passfile", "dbname", "database", "service", "target_session_attrs"}
    | {"sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation"}
    | {"ssl_min_protocol_version", "ssl_max_protocol_version", "krbsrvname", "gsslib", "options", "application_name"}
)

#: `ssl` as SQLAlchemy hands it to asyncpg, in the words of a URL.
_SSL_WORDS: Final = {"true": "require", "1": "require", "false": "disable", "0": "disable"}


def database_for(db: object) -> str:
    """The `database` setting for an app whose database is `db`: an agno database, a URL, a path, or None.

    Raises ConfigError for what agentclock cannot keep its tables in.
    """
    log = structlog.get_logger("agentclock.agno")
    if db is None:
        log.warning("database_chosen", database=UNATTACHED, reason="the app has no database to keep schedules beside")
        return UNATTACHED
    address = address_of(db)
    if address.partition("://")[0].partition("+")[0] in ("postgresql", "postgres"):
        return _postgres(_split(address))
    path = _sqlite_path(address)
    if path == MEMORY:
        log.warning("schedules_in_memory", reason="the app's database is in memory: schedules die with it")
        return MEMORY
    return _beside(path)


def address_of(db: object) -> str:
    """A URL or a path; raises ConfigError. The engine counts more than the URL beside it, as it does for agno."""
    if isinstance(db, str | Path):
        return str(db)
    url = getattr(getattr(db, "db_engine", None), "url", None)
    if url is None:
        raise ConfigError([f"database: {type(db).__name__} cannot hold schedules; {_ADVICE}"])
    return str(url.render_as_string(hide_password=False))


def _split(address: str) -> SplitResult:
    scheme, separator, rest = address.partition("://")
    try:
        # The driver's name may hold characters (psycopg_async) that no scheme of a URL may.
        return urlsplit(scheme.partition("+")[0] + separator + rest)
    except ValueError:
        # The text may hold a password.
        raise ConfigError(["database: the URL cannot be read; percent-encode special characters in it"]) from None


def _postgres(url: SplitResult) -> str:
    if not url.netloc and not url.path.strip("/") and not url.query:
        message = "database: the engine makes its own connections (its URL names neither host nor database)"
        raise ConfigError([f"{message}; {_ADVICE}"])
    options: dict[str, list[str]] = {}
    for name, value in parse_qsl(url.query):
        options.setdefault(name, []).append(value)
    for value in options.pop("ssl", []):
        options.setdefault("sslmode", [_SSL_WORDS.get(value.lower(), value)])
    query = urlencode({name: ",".join(values) for name, values in options.items() if name in _KNOWN_OPTIONS})
    # Put together by hand: without a host the two slashes would get lost.
    return f"postgresql://{url.netloc}{url.path}" + (f"?{query}" if query else "")


def _sqlite_path(address: str) -> str:
    if "://" not in address:
        return address
    url = _split(address)
    if url.scheme.partition("+")[0] != "sqlite":
        raise ConfigError([f"database: {url.scheme.partition('+')[0]} cannot hold schedules; {_ADVICE}"])
    in_memory = dict(parse_qsl(url.query)).get("mode") == "memory"
    return MEMORY if in_memory else unquote(url.path.removeprefix("/")).removeprefix("file:") or MEMORY


def _beside(path: str) -> str:
    """`scheduler.db` -> `scheduler.agentclock.db`, in the same folder."""
    theirs = Path(path).absolute()
    return str(theirs.with_name(f"{theirs.stem}.agentclock{theirs.suffix or '.db'}"))
