"""What only SQLite has: one writer with group commit, one engine a file, files that are damaged or locked."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sqlite3
import sys
import threading
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.helpers import ALL, START, held, history, register, schedule, schedule_of

from agentclock.core.errors import NotFound, StoreUnavailable
from agentclock.core.model import Schedule
from agentclock.core.planning import plan
from agentclock.ports import PageRequest, ScheduleFilter, WorkerInfo
from agentclock.store import sqlite_file
from agentclock.store.sqlite import SqliteStore, may_reset_wal
from agentclock.store.sqlite_lock import EngineLock
from agentclock.store.sqlite_writer import GROUP_LIMIT, Writer
from agentclock.testing import FakeClock

HELPER = Path(__file__).with_name("sqlite_processes.py")


def make(path: Path, clock: FakeClock | None = None, **options: Any) -> SqliteStore:
    return SqliteStore(str(path / "agentclock.db"), clock=clock or FakeClock(), **options)


async def process(what: str, path: Path) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, str(HELPER), what, str(path / "agentclock.db"), stdin=PIPE, stdout=PIPE
    )


async def line(process: Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


# group commit


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


# starting


async def test_many_processes_start_at_once_on_a_new_file(tmp_path: Path) -> None:
    processes = [await process("start", tmp_path) for _ in range(10)]
    assert {await line(started) for started in processes} == {"ready"}
    names = [f"process {number}" for number in range(10)]
    ends = await asyncio.gather(
        *(started.communicate(f"{name}\n".encode()) for started, name in zip(processes, names, strict=True))
    )
    assert [started.returncode for started in processes] == [0] * 10, ends
    store = make(tmp_path)
    await store.open()
    found = await store.list_schedules(ScheduleFilter(), ALL)
    assert sorted(row.name for row in found.items) == sorted(names)
    assert (await store.health()).schema_version == 1
    await store.close()


async def test_a_file_that_is_behind_is_left_alone_when_told_so(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="db upgrade"):
        await make(tmp_path, auto_migrate=False).open()
    store = make(tmp_path)
    await store.open()
    await store.close()
    again = make(tmp_path, auto_migrate=False)
    await again.open()
    await again.close()


async def migrated(tmp_path: Path, version: int, breaking: bool) -> None:
    store = make(tmp_path)
    await store.open()
    await store.close()
    with sqlite3.connect(tmp_path / "agentclock.db") as connection:
        row = (version, breaking, "99.0", "other", START)
        connection.execute("INSERT INTO agentclock_migrations VALUES (?, ?, ?, ?, ?)", row)
    connection.close()


async def test_a_newer_schema_is_used_as_long_as_nothing_broke(tmp_path: Path) -> None:
    await migrated(tmp_path, 9999, breaking=False)
    store = make(tmp_path)
    await store.open()
    await store.insert_schedules([schedule()])
    health = await store.health()
    assert health.schema_version == 9999
    assert "newer" in health.warnings[0]
    await store.close()


async def test_a_newer_schema_that_broke_something_is_refused(tmp_path: Path) -> None:
    await migrated(tmp_path, 9999, breaking=True)
    with pytest.raises(StoreUnavailable, match=r"version 9999.*upgrade agentclock"):
        await make(tmp_path).open()


async def test_a_step_that_was_another_file_is_noticed(tmp_path: Path) -> None:
    store = make(tmp_path)
    await store.open()
    assert (await store.health()).warnings == ()
    await store._writer.run(lambda c: c.execute("UPDATE agentclock_migrations SET checksum = 'x'").rowcount)
    assert "schema step 1" in (await store.health()).warnings[0]
    await store.close()


async def test_rows_survive(tmp_path: Path) -> None:
    for _ in range(2):
        store = make(tmp_path)
        await store.open()
        if await store.get_schedule("s1") is None:
            await store.insert_schedules([schedule()])
        else:
            break
        await store.close()
    assert await schedule_of(store) == schedule()
    await store.close()


# trouble


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "agentclock.db").write_bytes(b"this is not a database, whatever its name says" * 100)
    with pytest.raises(StoreUnavailable, match=r"agentclock\.db.*not an SQLite database"):
        await make(tmp_path).open()


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="does its folder exist"):
        await make(tmp_path / "nowhere").open()


async def test_a_full_disk(tmp_path: Path) -> None:
    store = make(tmp_path)
    await store.open()
    await store.insert_schedules([schedule("before")])
    await store._writer.run(lambda c: c.execute("PRAGMA max_page_count = 1").fetchall())
    with pytest.raises(StoreUnavailable, match="disk is full"):
        await store.insert_schedules([schedule(f"s{number}", description="x" * 4000) for number in range(50)])
    await store._writer.run(lambda c: c.execute("PRAGMA max_page_count = 100000").fetchall())
    await store.insert_schedules([schedule("after")])
    assert {row.id for row in (await store.list_schedules(ScheduleFilter(), ALL)).items} == {"before", "after"}
    await store.close()


async def test_a_lock_that_somebody_keeps(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_SECONDS", 0.05)
    store = make(tmp_path, clock)
    await store.open()
    other = sqlite3.connect(tmp_path / "agentclock.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="holds its write lock"):
        await store.insert_schedules([schedule()])
    assert await store.get_schedule("s1") is None  # reading goes on
    other.execute("ROLLBACK")
    other.close()
    await store.insert_schedules([schedule()])
    await store.close()


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = make(tmp_path)
    await store.open()
    await store.close()
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.fire_due(plan, limit=1)
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.list_schedules(ScheduleFilter(), PageRequest())


async def test_bytes_that_are_no_text_are_one_unreadable_row(file_store: SqliteStore) -> None:
    await file_store.insert_schedules([schedule("good"), schedule("bad")])
    broken = "UPDATE agentclock_schedules SET description = CAST(x'ff41' AS TEXT) WHERE id = 'bad'"
    await file_store._writer.run(lambda connection: connection.execute(broken).rowcount)
    page = await file_store.list_schedules(ScheduleFilter(), ALL)
    assert [row.id for row in page.items] == ["good"]
    assert [(fault.row_id, "description" in fault.reason) for fault in page.faults] == [("bad", True)]
    fired = await file_store.fire_due(plan, limit=10)
    assert [run.schedule_id for run in fired.runs] == ["good"]
    assert (await schedule_of(file_store, "good")).name == "name of good"


async def test_names_are_searched_without_regard_to_case_in_any_script(file_store: SqliteStore) -> None:
    await file_store.insert_schedules([schedule("s1", name="Täglicher BERICHT"), schedule("s2", name="Отчёт")])
    for needle, expected in (("TÄG", "s1"), ("отчЁт", "s2")):
        page = await file_store.list_schedules(ScheduleFilter(name_contains=needle), ALL)
        assert [row.id for row in page.items] == [expected]


# the engine's owner


def info(worker_id: str) -> WorkerInfo:
    return WorkerInfo(id=worker_id, name=f"host {worker_id}", app_version="1")


async def test_one_engine_a_file(tmp_path: Path, clock: FakeClock) -> None:
    first, second = make(tmp_path, clock), make(tmp_path, clock)
    await first.open()
    await second.open()
    assert await first.acquire_engine(info("w1"), 30) is None
    assert await second.acquire_engine(info("w2"), 30) == "host w1"
    text = (tmp_path / "agentclock.db.lock").read_text()
    assert f"pid {os.getpid()}\n" in text
    assert [row.info.id for row in await second.workers()] == ["w1"]
    await second.insert_schedules([schedule()])  # standing by, it still serves its API
    await first.release_engine("w1")
    assert await second.acquire_engine(info("w2"), 30) is None
    assert await first.acquire_engine(info("w3"), 30) == "host w2"
    await second.close()
    assert await first.acquire_engine(info("w3"), 30) is None
    await first.close()


async def test_an_engine_that_starts_again_in_its_process(tmp_path: Path, clock: FakeClock) -> None:
    """Its lease was over, it declares a new incarnation: the lock is its own, the old one's runs are orphans."""
    store = make(tmp_path, clock)
    await store.open()
    await register(store, "w1", 30)
    await held(store)
    clock.advance(31)
    await register(store, "w2", 30)
    assert len(await store.orphans(10)) == 1
    await store.release_engine("w1")
    other = make(tmp_path, clock)
    await other.open()
    assert await other.acquire_engine(info("w9"), 30) == "host w2"
    assert (await store.renew_lease("w2", 30)).alive
    await other.close()
    await store.close()


async def test_a_killed_owner_is_followed_at_once(tmp_path: Path, clock: FakeClock) -> None:
    store = make(tmp_path, clock)
    await store.open()
    await store.insert_schedules([schedule(f"s{number}") for number in range(3)])
    owner = await process("own", tmp_path)
    assert await line(owner) == "holds 3"
    assert await store.acquire_engine(info("w2"), 30) == "the owner"
    assert await store.orphans(10) == []
    owner.send_signal(signal.SIGKILL)
    await owner.wait()
    assert await store.acquire_engine(info("w2"), 30) is None
    orphans = await store.orphans(10)
    assert {orphan.run.schedule_id for orphan in orphans} == {"s0", "s1", "s2"}
    assert {(orphan.run.worker, orphan.run.fence) for orphan in orphans} == {("the owner", 2)}
    assert (await store.renew_lease("w2", 30)).alive
    assert [row.lease_until <= clock.now() for row in await store.workers() if row.info.id == "w1"] == [True]
    await store.close()


def _hold(ready: Any, done: Any) -> None:
    ready.set()
    done.wait(60)


async def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    database = str(tmp_path / "agentclock.db")
    lock = EngineLock(database)
    assert lock.acquire("parent") is None
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    child = context.Process(target=_hold, args=(ready, done))
    child.start()
    try:
        assert await asyncio.to_thread(ready.wait, 60)
        assert EngineLock(database).acquire("other") == "parent"
        lock.release()
        other = EngineLock(database)
        assert other.acquire("other") is None
        other.release()
    finally:
        done.set()
        await asyncio.to_thread(child.join)


async def test_a_lock_file_that_cannot_be_made(tmp_path: Path, clock: FakeClock) -> None:
    store = make(tmp_path, clock)
    await store.open()
    (tmp_path / "agentclock.db.lock").mkdir()
    with pytest.raises(StoreUnavailable, match="lock file"):
        await store.acquire_engine(info("w1"), 30)
    await store.close()


@pytest.mark.parametrize(
    ("version", "affected"),
    [((3, 6, 23), False), ((3, 7, 0), True), ((3, 40, 1), True), ((3, 51, 2), True), ((3, 51, 3), False)],
)
def test_releases_that_may_corrupt_a_shared_file(version: tuple[int, ...], affected: bool) -> None:
    assert may_reset_wal(version) is affected


async def test_a_second_writer_is_warned_of(
    file_store: SqliteStore, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))
    await file_store.insert_schedules([schedule("mine")])
    await register(file_store)
    assert (await file_store.health()).warnings == ()
    other = make(tmp_path, clock)
    await other.open()
    assert (await file_store.health()).warnings == ()
    await other.acquire_engine(info("w2"), 30)
    assert "may corrupt" in (await other.health()).warnings[0]
    await other.insert_schedules([schedule("theirs")])
    assert "may corrupt" in (await file_store.health()).warnings[0]
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 3))
    assert (await file_store.health()).warnings == ()
    await other.close()


class LocalClock(FakeClock):
    """Like the real one: leaves it to the database which time rules."""

    def store_now(self) -> int:
        return None  # type: ignore[return-value]


async def test_an_embedded_database_has_the_time_of_its_process(tmp_path: Path) -> None:
    clock = LocalClock(START + 5)
    store = make(tmp_path, clock)
    await store.open()
    assert await store.now() == START + 5
    await store.insert_schedules([schedule(next_fire_at=START + 6)])
    assert (await store.fire_due(plan, limit=1)).next_due_ms == 1
    await store.close()


async def test_workers_of_one_process_do_not_end_each_other(file_store: SqliteStore) -> None:
    answers = await asyncio.gather(*(file_store.acquire_engine(info(f"w{number}"), 30) for number in range(3)))
    assert answers == [None, None, None]
    beats = await asyncio.gather(*(file_store.renew_lease(f"w{number}", 30) for number in range(3)))
    assert [beat.alive for beat in beats] == [True, True, True]


async def test_memory_is_a_store_of_its_own(clock: FakeClock) -> None:
    first, second = SqliteStore(":memory:", clock=clock), SqliteStore(":memory:", clock=clock)
    await first.open()
    await second.open()
    await register(first, "w1")
    await register(second, "w1")
    await held(first)
    assert len(await history(first)) == 1
    assert await history(second) == []
    await first.close()
    await second.close()
