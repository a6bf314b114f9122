"""SQLite files at the start and in trouble."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.conformance.helpers import ALL, START, schedule, schedule_of
from tests.conformance.sqlite_helpers import line, make, start

from agentclock.core.errors import StoreUnavailable
from agentclock.core.planning import plan
from agentclock.ports import PageRequest, ScheduleFilter
from agentclock.store import sqlite_file
from agentclock.store.migrating import load_migrations
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import FakeClock


async def test_many_processes_start_at_once_on_a_new_file(tmp_path: Path) -> None:
    processes = [await start("start", tmp_path) for _ in range(10)]
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
    assert (await store.health()).schema_version == len(load_migrations("sqlite"))
    await store.close()


async def test_a_file_that_is_locked_at_the_start_is_waited_for(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changing the journal's mode ignores SQLite's own patience."""
    other = sqlite3.connect(tmp_path / "agentclock.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            other.execute("ROLLBACK")

    monkeypatch.setattr(sqlite_file, "time", SimpleNamespace(sleep=pause))
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_SECONDS", 0.01)
    store = make(tmp_path, clock)
    await store.open()
    assert len(pauses) == 3
    await store.close()
    other.close()


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


@pytest.mark.parametrize("how", ["deleted", "replaced"])
async def test_a_file_that_is_taken_away_is_noticed(tmp_path: Path, clock: FakeClock, how: str) -> None:
    store = make(tmp_path, clock)
    await store.open()
    path = tmp_path / "agentclock.db"
    await asyncio.to_thread(path.rename, tmp_path / "moved")
    if how == "replaced":
        await asyncio.to_thread(path.touch)
    with pytest.raises(StoreUnavailable, match="moved, deleted or replaced"):
        await store.health()
    with pytest.raises(StoreUnavailable, match="moved, deleted or replaced"):
        await store.renew_lease("w1", 30)
    await store.close()
