"""A few connections for many callers: made when needed, used again, given up when doubtful."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Generic, Protocol, TypeVar

from agentclock.core.errors import StoreUnavailable
from agentclock.store.postgres_gate import Gate

#: What nobody needed for so long is closed: routers on the way forget silent connections.
IDLE_SECONDS: Final = 240.0


class Closable(Protocol):
    def is_closed(self) -> bool: ...

    def terminate(self) -> None: ...


C = TypeVar("C", bound=Closable)


class Connections(Generic[C]):
    """At most `size` connections. Whoever finds none free gets the next one that is given back or made, in turn.

    They are made one after the other, through the gate. A server that refuses another one, but keeps those that it
    has, serves on with these.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[C]],
        gate: Gate,
        size: int,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._gate = gate
        self._size = size
        self._monotonic = monotonic
        #: Free ones, the last used at the end, each with the time since when it is free.
        self._free: deque[tuple[C, float]] = deque()
        self._taken: set[C] = set()
        #: Those that nothing speaks against: only they are used again.
        self._trusted: set[C] = set()
        self._waiting: deque[asyncio.Future[C]] = deque()
        self._making: asyncio.Task[None] | None = None
        self._all_back = asyncio.Event()

    @property
    def busy(self) -> int:
        return len(self._taken)

    async def take(self, seconds: float) -> C:
        """A connection, to be given back. Raises StoreUnavailable, TimeoutError after `seconds`."""
        while self._free:
            connection, _ = self._free.pop()
            if not connection.is_closed():
                self._taken.add(connection)
                return connection
            self._forget(connection)
        if not self._taken:
            self._gate.check()
        waiter: asyncio.Future[C] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._make_more()
        try:
            async with asyncio.timeout(seconds):
                return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.give_back(waiter.result())
            raise

    def give_back(self, connection: C) -> None:
        """One that is closed, or that was doubted meanwhile, makes room for another."""
        self._taken.discard(connection)
        if not self._taken:
            self._all_back.set()
        if connection.is_closed() or connection not in self._trusted:
            connection.terminate()
            self._forget(connection)
            self._make_more()
        else:
            self._hand_on(connection)

    def doubt(self) -> None:
        """A server that gave one of them no answer may have forgotten them all: none is used again."""
        self._trusted.clear()
        while self._free:
            connection, _ = self._free.pop()
            connection.terminate()

    async def close(self, patience_seconds: float) -> None:
        """Those who wait are told so, those who have one may use it to the end, for `patience_seconds`."""
        if self._making is not None:
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)
        self._tell_waiting(StoreUnavailable("the store was closed"))
        if self._taken:
            self._all_back.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(patience_seconds):
                    await self._all_back.wait()
        self.doubt()
        for connection in self._taken:
            connection.terminate()

    def _make_more(self) -> None:
        if self._waiting and (self._making is None or self._making.done()):
            self._making = asyncio.create_task(self._make(), name="agentclock-connect")

    async def _make(self) -> None:
        """Until nobody waits. After a failure, those who wait go on doing so only if something may be given back."""
        while any(not waiter.done() for waiter in self._waiting) and len(self._taken) + len(self._free) < self._size:
            try:
                connection = await self._gate.through(self._connect)
            except Exception as error:
                if not self._taken or not isinstance(error, StoreUnavailable):
                    self._tell_waiting(error)
                return
            self._trusted.add(connection)
            self._hand_on(connection)

    def _hand_on(self, connection: C) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                self._taken.add(connection)
                waiter.set_result(connection)
                return
        now = self._monotonic()
        self._free.append((connection, now))
        oldest, since = self._free[0]
        if now - since > IDLE_SECONDS:
            self._free.popleft()
            self._trusted.discard(oldest)
            oldest.terminate()

    def _forget(self, connection: C) -> None:
        self._trusted.discard(connection)
        self._gate.lost()

    def _tell_waiting(self, error: Exception) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(_again(error))


def _again(error: Exception) -> Exception:
    """One for each who hears of it: a raised exception collects where it has been."""
    if not isinstance(error, StoreUnavailable):
        return error
    copy = StoreUnavailable(str(error))
    copy.__cause__ = error.__cause__
    return copy
