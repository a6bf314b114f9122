"""The threads that work on an SQLite file: one that writes, in groups, and a few that read."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from agentclock.core.errors import StoreUnavailable

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]
Connect = Callable[[], sqlite3.Connection]

#: Operations that share one transaction, and with it one sync of the disk.
GROUP_LIMIT: Final = 64


class _Job:
    """One operation and whoever waits for it. `error` or else `result` is set by the thread."""

    __slots__ = ("_operation", "error", "future", "loop", "result")

    def __init__(self, operation: Operation[Any]) -> None:
        self._operation = operation
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.result: Any = None
        self.error: Exception | None = None

    def attempt(self, connection: sqlite3.Connection) -> None:
        """Runs the operation in a savepoint. Raises only if the whole transaction is lost."""
        connection.execute("SAVEPOINT operation")
        try:
            self.result = self._operation(connection)
        except Exception as error:
            if not connection.in_transaction:  # a full disk, say, makes SQLite roll back everything
                raise
            self.error = error
            connection.execute("ROLLBACK TO operation")
        connection.execute("RELEASE operation")

    def resolve(self) -> None:
        """On the event loop."""
        if self.future.done():  # cancelled in the meantime
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class Writer:
    """The only connection of this process that writes. Callers' operations are committed in groups; each is
    answered after the commit, and one that raises takes back only what it did itself."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Raises whatever connecting raises."""
        # An event loop that was closed while the writer was at work has left the thread behind.
        await self.stop()
        loop = asyncio.get_running_loop()
        started: asyncio.Future[None] = loop.create_future()
        jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()

        def report(error: Exception | None) -> None:
            if not started.done():
                started.set_result(None) if error is None else started.set_exception(error)

        def serve() -> None:
            try:
                connection = self._connect()
            except Exception as error:
                loop.call_soon_threadsafe(report, error)
                return
            loop.call_soon_threadsafe(report, None)
            with contextlib.closing(connection):
                _serve(connection, jobs)

        thread = threading.Thread(target=serve, name="agentclock-sqlite-write", daemon=True)
        thread.start()
        try:
            await started
        except BaseException:
            jobs.put(None)
            await asyncio.to_thread(thread.join)
            raise
        self._thread, self._jobs = thread, jobs

    async def run(self, operation: Operation[T]) -> T:
        """The operation's answer once it is committed.

        Raises what the operation raises, sqlite3.Error if its transaction failed, StoreUnavailable when stopped.
        """
        if self._thread is None:
            raise StoreUnavailable("the store is not open")
        job = _Job(operation)
        self._jobs.put(job)
        answer: T = await job.future
        return answer

    async def stop(self) -> None:
        """Finishes what was handed in, then closes the connection."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join)


def _serve(connection: sqlite3.Connection, jobs: queue.SimpleQueue[_Job | None]) -> None:
    while (first := jobs.get()) is not None:
        group, stopping = [first], False
        for job in _waiting(jobs, GROUP_LIMIT - 1):
            if job is None:
                stopping = True
                break
            group.append(job)
        # A caller that went away before its turn must not claim runs that nobody would execute.
        group = [job for job in group if not job.future.cancelled()]
        _commit(connection, group)
        _answer(group)
        if stopping:
            return


def _waiting(jobs: queue.SimpleQueue[_Job | None], limit: int) -> Iterator[_Job | None]:
    with contextlib.suppress(queue.Empty):
        for _ in range(limit):
            yield jobs.get_nowait()


def _commit(connection: sqlite3.Connection, group: list[_Job]) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")
        for job in group:
            job.attempt(connection)
        connection.execute("COMMIT")
    except Exception as error:
        if connection.in_transaction:
            # What cannot be rolled back now is rolled back when the connection is next used or closed.
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        for job in group:
            job.error = error


def _answer(group: Iterable[_Job]) -> None:
    """Wakes each event loop once for all of its jobs."""
    loops: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in group:
        loops.setdefault(job.loop, []).append(job)
    for loop, jobs in loops.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_resolve, jobs)


def _resolve(jobs: list[_Job]) -> None:
    for job in jobs:
        job.resolve()


class Readers:
    """A few threads with read connections, made when first needed. Each operation sees one snapshot."""

    def __init__(self, connect: Connect, threads: int = 4) -> None:
        self._connect = connect
        self._threads = threads
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._pool: ThreadPoolExecutor | None = None

    def start(self) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="agentclock-sqlite-read")

    async def run(self, operation: Operation[T]) -> T:
        if self._pool is None:
            raise StoreUnavailable("the store is not open")
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._call, operation)

    async def stop(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.shutdown)
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    def _call(self, operation: Operation[T]) -> T:
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = self._connect()
        try:
            connection.execute("BEGIN")
            return operation(connection)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._idle.put(connection)
