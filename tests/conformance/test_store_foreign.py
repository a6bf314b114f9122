"""Runs that other software made: kept, replaced, listed, deleted; never looked at by the engine."""

from __future__ import annotations

from typing import Any

import pytest
from tests.conformance.conftest import Backend
from tests.conformance.helpers import START, schedule

from agentclock.core.errors import CorruptRow
from agentclock.ports import ForeignRun, PageRequest, RunFilter, Store


def told(run_id: str = "any text", schedule_id: str = "foreign-1", **fields: Any) -> ForeignRun:
    given: dict[str, Any] = {"created_at": START, "completed_at": None, "body": {"status": "running"}}
    return ForeignRun(id=run_id, schedule_id=schedule_id, **(given | fields))


async def test_it_comes_back_as_it_was_told(store: Store) -> None:
    run = told(completed_at=START + 5, body={"output": {"content": "ä\0", "n": [1, None]}})
    await store.put_foreign_run(run)
    assert await store.get_foreign_run(run.id) == run
    assert await store.get_foreign_run("another") is None


async def test_what_is_told_again_replaces_what_was_told(store: Store) -> None:
    await store.put_foreign_run(told("again"))
    later = told("again", completed_at=START + 5, body={"status": "success"})
    await store.put_foreign_run(later)
    assert await store.get_foreign_run("again") == later


async def test_a_schedules_runs_are_listed_newest_first(store: Store) -> None:
    runs = [told(f"listed-{n}", "foreign-2", created_at=START + n) for n in range(3)]
    for run in (*runs, told("listed-x", "foreign-3")):
        await store.put_foreign_run(run)
    assert await store.foreign_runs("foreign-2") == runs[::-1]
    assert await store.foreign_runs("nobody's") == []


async def test_deleting_spares_what_is_younger_or_goes_on(store: Store) -> None:
    ends = {"old": START + 1, "young": START + 9, "unfinished": None}
    for name, completed_at in ends.items():
        await store.put_foreign_run(told(name, "foreign-4", completed_at=completed_at))
    assert await store.delete_foreign_runs("foreign-4", START + 9) == 1
    assert {run.id for run in await store.foreign_runs("foreign-4")} == {"young", "unfinished"}
    assert await store.delete_foreign_runs("foreign-4") == 2
    assert await store.foreign_runs("foreign-4") == []


async def test_it_is_no_run_of_ours(store: Store) -> None:
    await store.insert_schedules([schedule("foreign-5")])
    await store.put_foreign_run(told("not ours", "foreign-5"))
    assert (await store.list_runs(RunFilter(schedule_id="foreign-5"), PageRequest())).total_count == 0
    assert await store.orphans(10) == []


async def test_an_unreadable_one_is_left_out_of_the_list(backend: Backend, store: Store) -> None:
    for name in ("sound", "broken"):
        await store.put_foreign_run(told(name, "foreign-6"))
    await backend.execute("UPDATE {prefix}foreign_runs SET body = ? WHERE id = ?", "{", "broken")
    assert [run.id for run in await store.foreign_runs("foreign-6")] == ["sound"]
    with pytest.raises(CorruptRow):
        await store.get_foreign_run("broken")
