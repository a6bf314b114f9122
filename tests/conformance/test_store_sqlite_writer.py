"""One thread writes for all callers: group commit."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.helpers import schedule, schedule_of
from tests.conformance.sqlite_helpers import make

from agentclock.core.errors import NotFound, StoreUnavailable
from agentclock.core.model import Schedule
from agentclock.store.sqlite import SqliteStore
from agentclock.store.sqlite_writer import GROUP_LIMIT, Writer


class Trace:
    """Transactions that a writer's connection made, by its own account."""

    def __init__(self) -> None:
        self.begun = 0
        self.connection: sqlite3.Connection | None = None

    def connect(self) -> sqlite3.Connection:
        self.connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
        self.connection.set_trace_callback(self._see)
        return self.connection

    def _see(self, sql: str) -> None:
        self.begun += sql.startswith("BEGIN")


def insert(number: int) -> Any:
    return lambda connection: connection.execute("INSERT INTO t VALUES (?)", (number,)).lastrowid


@asynccontextmanager
async def busy(writer: Writer) -> AsyncIterator[None]:
    """Keeps the writer's thread occupied, so that what is handed in meanwhile waits together."""
    entered, gate, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

    def block(connection: sqlite3.Connection) -> None:
        loop.call_soon_threadsafe(entered.set)
        assert gate.wait(60)

    blocking = asyncio.ensure_future(writer.run(block))
    await entered.wait()
    try:
        yield
    finally:
        await asyncio.sleep(0)  # lets what was just started hand its operation in
        gate.set()
        await blocking


async def grouped(writer: Writer, *operations: Any) -> list[Any]:
    """The answers of operations that were all handed in while the writer was busy."""
    async with busy(writer):
        waiting = [asyncio.ensure_future(writer.run(operation)) for operation in operations]
    return await asyncio.gather(*waiting, return_exceptions=True)


@pytest.fixture
def trace() -> Trace:
    return Trace()


@pytest.fixture
async def writer(trace: Trace) -> Any:
    made = Writer(trace.connect)
    await made.start()
    yield made
    await made.stop()


async def test_callers_share_transactions_of_a_limited_size(writer: Writer, trace: Trace) -> None:
    answers = await grouped(writer, *(insert(number) for number in range(GROUP_LIMIT + 6)))
    assert answers == list(range(GROUP_LIMIT + 6))
    assert trace.begun == 3


async def test_an_operation_that_raises_takes_back_only_its_own(writer: Writer, trace: Trace) -> None:
    def fail_late(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO t VALUES (100)")
        raise NotFound("Thing")

    answers = await grouped(writer, insert(1), fail_late, insert(1), insert(2))
    assert trace.begun == 2
    assert [type(answer) for answer in answers] == [int, NotFound, sqlite3.IntegrityError, int]
    assert await writer.run(lambda c: c.execute("SELECT n FROM t ORDER BY n").fetchall()) == [(1,), (2,)]


async def test_a_transaction_that_is_lost_is_nobodys_success(writer: Writer, trace: Trace) -> None:
    """As when the disk is full: SQLite rolls back everything at once."""

    def lose(connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")
        raise sqlite3.OperationalError("database or disk is full")

    answers = await grouped(writer, insert(1), lose, insert(2))
    assert [type(answer) for answer in answers] == [sqlite3.OperationalError] * 3
    assert await writer.run(lambda c: c.execute("SELECT n FROM t").fetchall()) == []


async def test_who_gave_up_waiting_causes_nothing(writer: Writer) -> None:
    async with busy(writer):
        waiting = asyncio.ensure_future(writer.run(insert(7)))
        await asyncio.sleep(0)
        waiting.cancel()
    assert await writer.run(lambda c: c.execute("SELECT n FROM t").fetchall()) == []


async def test_stopping_finishes_what_was_handed_in(trace: Trace) -> None:
    writer = Writer(trace.connect)
    await writer.start()
    waiting = [asyncio.ensure_future(writer.run(insert(number))) for number in range(200)]
    await asyncio.sleep(0)
    await writer.stop()
    assert await asyncio.gather(*waiting) == list(range(200))
    with pytest.raises(StoreUnavailable, match="not open"):
        await writer.run(insert(1))


async def test_rows_are_there_when_the_caller_hears_of_them(file_store: SqliteStore, tmp_path: Path) -> None:
    """Answered after the commit: another connection sees the rows at once."""
    other = make(tmp_path)
    await other.open()

    async def insert_and_look(number: int) -> None:
        await file_store.insert_schedules([schedule(f"s{number}")])
        assert await other.get_schedule(f"s{number}") is not None

    await asyncio.gather(*(insert_and_look(number) for number in range(100)))
    await other.close()


async def test_a_failing_caller_does_not_harm_its_neighbours(file_store: SqliteStore) -> None:
    await file_store.insert_schedules([schedule()])

    def fail(found: Schedule, now: int) -> Schedule:
        raise KeyError("bug")

    answers = await asyncio.gather(
        *(
            file_store.change_schedule("s1", fail)
            if number % 3 == 0
            else file_store.change_schedule("s1", lambda s, now: replace(s, max_runs=(s.max_runs or 0) + 1))
            for number in range(30)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, KeyError) for answer in answers) == 10
    assert (await schedule_of(file_store)).max_runs == 20


def test_a_thread_that_a_closed_event_loop_left_behind_ends_when_another_begins() -> None:
    writer = Writer(Trace().connect)
    before = set(threading.enumerate())
    asyncio.run(writer.start())
    (left_behind,) = [thread for thread in set(threading.enumerate()) - before if "sqlite" in thread.name]

    async def another_life() -> int:
        await writer.start()
        # Two threads would share the one word to stop.
        assert not left_behind.is_alive()
        answer: int = await writer.run(insert(7))
        await writer.stop()
        return answer

    assert asyncio.run(another_life()) == 7
