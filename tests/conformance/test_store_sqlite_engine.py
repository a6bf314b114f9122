"""One engine an SQLite file: who owns it, and who follows."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.helpers import START, held, history, register, schedule
from tests.conformance.sqlite_helpers import line, make, start

from agentclock.core.errors import StoreUnavailable
from agentclock.core.planning import plan
from agentclock.ports import WorkerInfo
from agentclock.store.sqlite import SqliteStore
from agentclock.store.sqlite_lock import EngineLock
from agentclock.store.sqlite_watch import may_reset_wal
from agentclock.testing import FakeClock


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
    owner = await start("own", tmp_path)
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
