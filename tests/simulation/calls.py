"""Every word between a process and its database passes through here: the simulator decides when it arrives, whether it
is answered, and who dies before or after."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from agentclock.core.errors import StoreUnavailable


@dataclass(frozen=True, slots=True)
class Request:
    """The store call, as the engine made it, that a transaction belongs to."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


#: Which of its own calls of the store a process is about. What is asked outside of any belongs to opening it.
REQUEST: Final[ContextVar[Request]] = ContextVar("simulated_request")
OPENING: Final = Request("open")


class Line(Protocol):
    """A process's way to the database."""

    async def ask(self, request: Request, work: Callable[[], Awaitable[Any]]) -> Any:
        """Has the simulator do `work` when its time has come, and waits for the answer."""

    @property
    def is_direct(self) -> bool:
        """Whether whoever asks now is the simulator itself."""


@dataclass(slots=True, eq=False)
class Call:
    """One transaction on its way: to the database, until it is `executed`, then back."""

    request: Request
    work: Callable[[], Awaitable[Any]]
    answer: asyncio.Future[Any]
    since_us: int
    executed: bool = False
    result: Any = None
    error: BaseException | None = None

    def reply(self) -> None:
        if self.answer.done():
            return
        if self.error is None:
            self.answer.set_result(self.result)
        else:
            self.answer.set_exception(self.error)

    def fail(self, why: str) -> None:
        self.error = StoreUnavailable(why)


class NamedStore:
    """The store as an engine sees it; whatever it asks of the database goes by the name of the method."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            token = REQUEST.set(Request(name, args, kwargs))
            try:
                return await method(*args, **kwargs)
            finally:
                REQUEST.reset(token)

        return call


class GatedPool:
    """Stands where a PostgresStore has its pool of connections; every transaction is one call."""

    def __init__(self, pool: Any, line: Line, now: Callable[[], int]) -> None:
        self._pool = pool
        self._line = line
        self._now = now

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def transact(self, now: int | None, work: Any, **options: Any) -> Any:
        return await self._pass(lambda: self._pool.transact(self._now(), _in_order(work), **options))

    async def read(self, now: int | None, work: Any, **options: Any) -> Any:
        return await self._pass(lambda: self._pool.read(self._now(), work, **options))

    async def _pass(self, work: Callable[[], Awaitable[Any]]) -> Any:
        return await work() if self._line.is_direct else await self._line.ask(REQUEST.get(OPENING), work)


#: Queries that leave open in which order rows come that are due at the same instant. On a server that depends on what
#: else it does, and here nothing may depend on that.
UNORDERED: Final = frozenset({"due_schedules", "paused_due"})


def _in_order(work: Any) -> Any:
    async def ordered(session: Any) -> Any:
        rows = session.rows

        async def sorted_rows(name: str, /, *args: Any, **values: Any) -> Any:
            found = await rows(name, *args, **values)
            return sorted(found, key=repr) if name in UNORDERED else found

        session.rows = sorted_rows
        return await work(session)

    return ordered


class GatedThreads:
    """Stands where a SqliteStore has the thread that writes, and those that read."""

    def __init__(self, threads: Any, line: Line) -> None:
        self._threads = threads
        self._line = line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._threads, name)

    async def stop(self) -> None: ...

    async def run(self, operation: Any) -> Any:
        def work() -> Awaitable[Any]:
            return self._threads.run(operation)  # type: ignore[no-any-return]

        return await work() if self._line.is_direct else await self._line.ask(REQUEST.get(OPENING), work)


class OpenThreads(GatedThreads):
    """They run already, for all processes together."""

    def start(self) -> Any:
        return _Nothing()


class _Nothing:
    """`start` is awaited of the one and called of the other."""

    def __await__(self) -> Any:
        return iter(())
