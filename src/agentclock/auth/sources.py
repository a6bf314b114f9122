"""Where the keys for tokens come from: the settings, a file, or a key set that somebody publishes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol

import structlog

from agentclock.auth.jwks import read_key_set
from agentclock.auth.verification import VerificationKey
from agentclock.core.errors import Unavailable
from agentclock.ports import Clock

#: A key set that is older is fetched again, while the one at hand goes on being used,
FRESH_SECONDS: Final = 600
#: at most until it has this age, should it not be there any more.
STALE_SECONDS: Final = 86_400
#: A token that names a key which is not there lets it be fetched, but never more often than this.
RETRY_SECONDS: Final = 60
#: How often it is tried as long as there are no keys at all.
FIRST_RETRY_SECONDS: Final = 5

Keys = tuple[VerificationKey, ...]
#: The content of a URL. Whatever it raises means that it could not be had.
Fetch = Callable[[str], Awaitable[bytes]]


class KeySource(Protocol):
    """Real: FixedKeys, KeyFile, PublishedKeys."""

    async def keys(self, *, lacking: bool = False) -> Keys:
        """`lacking`: a token names a key that was not among them. Raises Unavailable."""


class FixedKeys:
    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def keys(self, *, lacking: bool = False) -> Keys:
        return self._keys


class KeyFile:
    """A file that is read again when it changes. One that is gone or unfit leaves the keys as they were.

    Raises OSError and ValueError when it is made.
    """

    def __init__(self, path: Path, read: Callable[[bytes], Keys]) -> None:
        self._path = path
        self._read = read
        self._stamp = _stamp(path)
        self._keys = read(path.read_bytes())

    async def keys(self, *, lacking: bool = False) -> Keys:
        stamp = await asyncio.to_thread(_stamp, self._path)
        if stamp != self._stamp:
            # Whatever comes of it: the same content is not tried twice.
            self._stamp = stamp
            await self._reload()
        return self._keys

    async def _reload(self) -> None:
        try:
            self._keys = self._read(await asyncio.to_thread(self._path.read_bytes))
        except (OSError, ValueError) as error:
            _log().warning("keys_unavailable", source=str(self._path), error=_words(error))
        else:
            _log().info("keys_read", source=str(self._path), keys=len(self._keys))


class PublishedKeys:
    """A key set at a URL. Whoever asks waits for it only if there is none, or none with the key that is asked for."""

    def __init__(self, url: str, fetch: Fetch, clock: Clock) -> None:
        self._url = url
        self._fetch = fetch
        self._clock = clock
        self._keys: Keys | None = None
        self._read_at = self._tried_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def keys(self, *, lacking: bool = False) -> Keys:
        age = self._clock.monotonic() - self._read_at
        if self._keys is None or age >= STALE_SECONDS:
            await self._fetched(FIRST_RETRY_SECONDS)
            if self._clock.monotonic() - self._read_at >= STALE_SECONDS:
                self._keys = None
        elif lacking:
            await self._fetched(RETRY_SECONDS)
        elif age >= FRESH_SECONDS:
            self._begin(RETRY_SECONDS)
        if self._keys is None:
            raise Unavailable("The keys that tokens are checked with cannot be fetched at the moment: try again")
        return self._keys

    async def _fetched(self, pause_seconds: float) -> None:
        if (fetching := self._begin(pause_seconds)) is not None:
            await asyncio.shield(fetching)

    def _begin(self, pause_seconds: float) -> asyncio.Task[None] | None:
        """The fetch that is under way, or a new one unless the last is not `pause_seconds` old."""
        if self._fetching is None and self._clock.monotonic() - self._tried_at >= pause_seconds:
            self._tried_at = self._clock.monotonic()
            self._fetching = asyncio.create_task(self._refresh(), name="agentclock-keys")
        return self._fetching

    async def _refresh(self) -> None:
        try:
            self._keys = read_key_set(await self._fetch(self._url))
            self._read_at = self._clock.monotonic()
        except Exception as error:
            # Of whatever kind: the keys at hand are used on.
            _log().warning("keys_unavailable", source=self._url, error=_words(error))
        finally:
            self._fetching = None


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Changes whenever the file does, or the link that leads to it; None: there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _words(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{type(error).__name__}: {reason}"[:200]


def _log() -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.get_logger("agentclock.auth")
    return logger
