"""Where a PostgreSQL server is, and what its errors mean."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

import asyncpg

from agentclock.core.errors import ConfigError, StoreUnavailable

CONNECT_SECONDS: Final = 5.0
COMMAND_SECONDS: Final = 15.0

_SCHEMES: Final = ("postgresql", "postgres")

_POOLER: Final = "if a pooler in transaction mode is in between, set pooler=true"

#: Beginnings of SQLSTATEs that mean "not now" or "not here", with what to do where the text alone does not say.
_UNAVAILABLE: Final = {
    "08": "",
    "25006": "is this a standby? Connect to the primary",
    "25P03": "",
    "26": _POOLER,
    "28": "check the user and the password",
    "3D": "create the database first",
    "3F": "the schema is missing; run `agentclock db upgrade`",
    "40": "the transaction kept colliding with others",
    "42501": "the user lacks a privilege",
    "42703": "the schema does not fit this version; run `agentclock db upgrade`",
    "42P05": _POOLER,
    "42P01": "tables are missing; run `agentclock db upgrade`",
    "53": "raise max_connections or lower pool_size if connections are scarce",
    "55P03": "another transaction holds a lock for too long",
    "57": "",
    "58": "",
    "XX": "",
}

_UNREADABLE: Final = "the PostgreSQL URL cannot be read; percent-encode special characters in user and password"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """`url` is what asyncpg takes, `where` what people may see, `secrets` what nobody may see."""

    url: str
    where: str
    secrets: tuple[str, ...]

    @classmethod
    def read(cls, dsn: str) -> Address:
        """Raises ConfigError."""
        scheme, separator, rest = dsn.partition("://")
        try:
            # A driver's name (psycopg_async) may hold characters that no scheme of a URL may.
            parts = urlsplit(scheme.partition("+")[0] + separator + rest)
            host, port, password = parts.hostname, parts.port, parts.password
        except ValueError:
            raise ConfigError([_UNREADABLE]) from None
        if parts.scheme not in _SCHEMES:
            raise ConfigError([f"the URL's scheme is {parts.scheme!r}; PostgreSQL's is postgresql://"])
        if parts.fragment:
            raise ConfigError([_UNREADABLE])
        return cls(
            url=parts._replace(scheme="postgresql").geturl(),
            where=f"PostgreSQL at {host or 'the local socket'}{f':{port}' if port else ''}{parts.path}",
            secrets=tuple({password, unquote(password)}) if password else (),
        )

    @contextmanager
    def answering(self, patience_seconds: float = COMMAND_SECONDS) -> Iterator[None]:
        """Turns every way of not reaching the database into StoreUnavailable. `patience_seconds`: how long an answer
        was waited for, if none came."""
        try:
            yield
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            advice = _advice(error, patience_seconds)
            if advice is None:
                raise
            reason = (str(error) or type(error).__name__).partition("\n")[0]
            text = f"{self.where}: {reason}" + (f" ({advice})" if advice else "")
            clean = self.scrub(text)
            # A cause shows up in tracebacks: it must not hold what the message had to lose.
            raise StoreUnavailable(clean) from (error if clean == text else None)

    def scrub(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text

    async def connect(self) -> asyncpg.Connection[asyncpg.Record]:
        """A connection outside any pool, for what needs a session of its own. Raises StoreUnavailable."""
        with self.answering(CONNECT_SECONDS):
            return await asyncpg.connect(
                self.url,
                timeout=CONNECT_SECONDS,
                command_timeout=COMMAND_SECONDS,
                statement_cache_size=0,
                connection_class=Line,
                server_settings={"application_name": "agentclock"},
            )


class Line(asyncpg.Connection):
    """A connection whose statements end with it: whoever no longer waits for one terminates the connection.

    asyncpg would open another connection for each such statement, to ask the server to cancel it: many at once when
    the server does not answer, which is when they are given up.
    """

    def _cancel_current_command(self, *waiters: asyncio.Future[None] | None) -> None:
        for waiter in waiters:
            if waiter is not None and not waiter.done():
                waiter.set_result(None)


def _advice(error: BaseException, patience_seconds: float) -> str | None:
    """What to add to the error's text, None if it does not mean that the database is unavailable."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return next((advice for start, advice in _UNAVAILABLE.items() if state.startswith(start)), None)
    if isinstance(error, TimeoutError):
        return f"no answer within {patience_seconds:.0f} s"
    # Of the client's own errors only those about a value that does not fit its parameter are the caller's.
    callers = isinstance(error, ValueError) and not isinstance(error, asyncpg.ClientConfigurationError)
    return None if callers else ""
