"""How often a PostgreSQL server that is away is knocked at: one attempt at a time, with pauses."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import asyncpg

from agentclock.core.errors import StoreUnavailable

T = TypeVar("T")

#: Between two failed attempts, at first and at last. Each is up to a quarter longer: those who lost the server
#: together shall not come back together.
PAUSE_SECONDS: Final = (1.0, 2.0)
SPREAD: Final = 0.25
#: Whoever is refused by name (password, role, database) will be for some time, and servers lock out those who insist.
REFUSED_SECONDS: Final = 10.0
#: A server that has just come back is given time between two new connections, until it was well for so long.
SPACING_SECONDS: Final = 0.7
CALM_SECONDS: Final = 10.0


class Gate:
    """All new connections of one kind pass here. While the server is known to be away, callers are told so at once,
    with the newest error, instead of each trying for himself."""

    def __init__(
        self,
        pauses: tuple[float, float] = PAUSE_SECONDS,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._shortest, self._longest = pauses
        self._monotonic = monotonic
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._error: StoreUnavailable | None = None
        self._pause = 0.0
        self._closed_until = 0.0
        self._tried_at = self._troubled_at = float("-inf")

    @property
    def error(self) -> StoreUnavailable | None:
        """Why the last attempt failed, None if it did not."""
        return self._error

    @property
    def closed_seconds(self) -> float:
        """How long nobody may knock, 0 if somebody may."""
        return max(0.0, self._closed_until - self._monotonic()) if self._error is not None else 0.0

    def check(self) -> None:
        """Raises StoreUnavailable while the server is known to be away and it is nobody's turn to try."""
        if self._turn.locked() or self.closed_seconds:
            self._raise_newest()

    async def through(self, connect: Callable[[], Awaitable[T]]) -> T:
        """What `connect` makes. Raises StoreUnavailable, often without having tried."""
        self.check()
        async with self._turn:
            if self.closed_seconds:  # whoever had the turn before has found out
                self._raise_newest()
            await self._keep_distance()
            self._tried_at = self._monotonic()
            try:
                made = await connect()
            except StoreUnavailable as error:
                self._refused(error)
                raise
            if self._error is not None:
                self.lost()  # the first one of many that are wanted again
            self._error, self._pause = None, 0.0
            return made

    def lost(self) -> None:
        """A connection broke: its successors are made at a distance."""
        self._troubled_at = self._monotonic()

    def _raise_newest(self) -> None:
        if self._error is not None:
            raise StoreUnavailable(str(self._error)) from self._error.__cause__

    async def _keep_distance(self) -> None:
        now = self._monotonic()
        if now - self._troubled_at < CALM_SECONDS:
            await self._sleep(max(0.0, self._tried_at + SPACING_SECONDS - now))

    def _refused(self, error: StoreUnavailable) -> None:
        self._error = error
        self.lost()
        self._pause = min(max(self._pause * 2, self._shortest), self._longest)
        by_name = isinstance(
            error.__cause__, (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
        )
        seconds = max(self._pause, REFUSED_SECONDS) if by_name else self._pause
        self._closed_until = self._monotonic() + seconds * (1 + SPREAD * random.random())
