"""Schedules: rows, changes, owners, lists."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.conformance.conftest import Backend
from tests.conformance.helpers import (
    ALL,
    MINUTE,
    START,
    detached,
    end,
    held,
    paused,
    queued,
    register,
    run_of,
    schedule,
    schedule_of,
)

from agentclock.core.errors import Conflict, CorruptRow, InvalidField, NameTaken, NotFound, VersionConflict
from agentclock.core.model import (
    ApprovalAction,
    CatchUp,
    Instruction,
    InstructionKind,
    OnLost,
    Overlap,
    RetryBackoff,
    RetryPolicy,
    RunStatus,
    Schedule,
    Target,
)
from agentclock.ports import PageRequest, ScheduleFilter, Store
from agentclock.testing import FakeClock

FULL = Schedule(
    id="full",
    name="all fields — ünï\u2028code",
    description="line\nbreak",
    user_id="user-1",
    target=Target(name="crew", method="GET", endpoint="/x?y=1", payload={"a": [1, 2.5, None, "\0 \ud800 é"]}),
    cron_expr="0 9 * * 1-5",
    run_at=START + 1,
    interval_seconds=90,
    anchor_at=START + 2,
    timezone="Europe/Berlin",
    start_at=START + 3,
    end_at=START + 4,
    max_runs=7,
    jitter_seconds=8,
    overlap=Overlap.QUEUE,
    catch_up=CatchUp.ALL,
    catch_up_window_seconds=9,
    misfire_grace_seconds=10,
    timeout_seconds=11,
    idle_timeout_seconds=16,
    approval_timeout_seconds=None,
    approval_timeout_action=ApprovalAction.FAIL,
    on_lost=OnLost.RETRY,
    retry=RetryPolicy(max_retries=12, delay_seconds=13, backoff=RetryBackoff.EXPONENTIAL, max_delay_seconds=14),
    tags=("daily", "ü", 'quo"te'),
    enabled=False,
    disabled_reason="because",
    managed_by="code",
    provenance={"agent_id": "\0 planner \ud800", "run_id": None},
    next_fire_at=START + 5,
    last_fire_at=START + 6,
    run_count=15,
    timetable_since=START + 7,
    zone_data_version="2026a",
    version=3,
    created_at=START + 8,
    updated_at=START + 9,
)


async def names(store: Store, where: ScheduleFilter, page: PageRequest = ALL) -> list[str]:
    return [found.name for found in (await store.list_schedules(where, page)).items]


@pytest.mark.parametrize("stored", [FULL, Schedule(id="bare", name="bare", target=Target(endpoint="/x"))])
async def test_a_schedule_comes_back_as_it_was_stored(store: Store, stored: Schedule) -> None:
    await store.insert_schedules([stored])
    assert await store.get_schedule(stored.id) == stored
    assert (await store.list_schedules(ScheduleFilter(), ALL)).items == (stored,)


async def test_characters_that_no_database_stores_are_replaced(store: Store) -> None:
    await store.insert_schedules([schedule(description="nul \0 surrogate \ud800 end")])
    assert (await schedule_of(store)).description == "nul � surrogate ? end"
    assert await store.get_schedule("\ud800\0") is None


async def test_another_owner_does_not_see_it(store: Store) -> None:
    await store.insert_schedules([schedule(user_id="ann")])
    assert await store.get_schedule("s1", "ann") is not None
    assert await store.get_schedule("s1", "bob") is None
    assert not await store.delete_schedule("s1", "bob")
    with pytest.raises(NotFound):
        await store.change_schedule("s1", lambda s, now: s, user_id="bob")


async def test_names_are_unique_for_each_owner(store: Store) -> None:
    await store.insert_schedules([schedule("a", name="n"), schedule("b", name="n", user_id="ann")])
    with pytest.raises(NameTaken, match="'n' already exists"):
        await store.insert_schedules([schedule("c", name="n")])
    with pytest.raises(NameTaken):
        await store.change_schedule("a", lambda s, now: replace(s, user_id="ann"))
    await store.delete_schedule("a")
    await store.insert_schedules([schedule("d", name="n")])


async def test_an_insert_is_all_or_nothing(store: Store) -> None:
    await store.insert_schedules([schedule("a", name="taken")])
    with pytest.raises(NameTaken):
        await store.insert_schedules([schedule("b"), schedule("c", name="taken")])
    assert await names(store, ScheduleFilter()) == ["taken"]


async def test_an_id_is_used_once(store: Store) -> None:
    await store.insert_schedules([schedule("a")])
    with pytest.raises(Conflict, match="id 'a'"):
        await store.insert_schedules([schedule("a", name="other")])


async def test_a_change_counts_the_version(store: Store, clock: FakeClock) -> None:
    await store.insert_schedules([schedule()])
    clock.advance(5)
    seen = []

    def rename(found: Schedule, now: int) -> Schedule:
        seen.append((found, now))
        return replace(found, name="new", tags=("x",), next_fire_at=now + 1)

    changed = await store.change_schedule("s1", rename)
    assert seen == [(schedule(), clock.now())]
    assert (changed.name, changed.version, changed.updated_at) == ("new", 2, clock.now())
    assert await schedule_of(store) == changed


async def test_a_change_of_nothing_writes_nothing(store: Store, clock: FakeClock) -> None:
    await store.insert_schedules([schedule()])
    clock.advance(5)
    assert await store.change_schedule("s1", lambda s, now: s) == schedule()
    assert await schedule_of(store) == schedule()


async def test_a_change_based_on_an_old_version_is_refused(store: Store) -> None:
    await store.insert_schedules([schedule()])
    await store.change_schedule("s1", lambda s, now: replace(s, description="1"), expected_version=1)
    with pytest.raises(VersionConflict):
        await store.change_schedule("s1", lambda s, now: replace(s, description="2"), expected_version=1)
    assert (await schedule_of(store)).description == "1"


async def test_what_a_change_raises_arrives_and_nothing_is_written(store: Store) -> None:
    await store.insert_schedules([schedule()])

    def refuse(found: Schedule, now: int) -> Schedule:
        raise InvalidField("cron_expr", "no")

    with pytest.raises(InvalidField):
        await store.change_schedule("s1", refuse)
    with pytest.raises(NotFound, match="Schedule not found"):
        await store.change_schedule("nobody", refuse)
    assert await schedule_of(store) == schedule()


async def test_a_deleted_schedule_is_gone_and_its_open_runs_are_cancelled(store: Store) -> None:
    await register(store)
    running = await held(store, "running")
    waiting = [await paused(store, "paused"), await detached(store, "detached")]
    (pending,) = await queued(store, "pending")
    for schedule_id in ("paused", "detached", "running", "pending"):
        assert await store.delete_schedule(schedule_id)
        assert not await store.delete_schedule(schedule_id)
        assert await store.get_schedule(schedule_id) is None
    assert await run_of(store, running.run.id) == running.run
    cancelled = await run_of(store, pending.id)
    assert (cancelled.status, cancelled.completed_at) == (RunStatus.CANCELLED, START)
    assert cancelled.error == "cancelled: the schedule was deleted"
    assert (await store.list_schedules(ScheduleFilter(), ALL)).total_count == 0
    left = (await store.claim("w1", 10)).claims  # whose agents are still to be stopped
    assert {claim.run.id for claim in left} == {run.id for run in waiting}
    assert {claim.run.instruction for claim in left} == {
        Instruction(kind=InstructionKind.CANCEL, why="cancelled: the schedule was deleted")
    }
    await end(store, running)


async def test_a_deleted_schedule_does_not_fire(store: Store) -> None:
    await store.insert_schedules([schedule()])
    await store.delete_schedule("s1")
    fired = await store.fire_due(lambda s, situation, now: pytest.fail("planned"), limit=10)
    assert (fired.planned, fired.next_due_ms) == (0, None)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (ScheduleFilter(), "dcba"),
        (ScheduleFilter(user_id="ann"), "b"),
        (ScheduleFilter(enabled=True), "dba"),
        (ScheduleFilter(enabled=False), "c"),
        (ScheduleFilter(name_contains="REPORT"), "ba"),
        (ScheduleFilter(name_contains="100%"), "a"),
        (ScheduleFilter(name_contains="_"), "b"),
        (ScheduleFilter(name_contains="\\"), "c"),
        (ScheduleFilter(name_contains="'; --"), ""),
        (ScheduleFilter(tag="x"), "ba"),
        (ScheduleFilter(tag='y"'), "b"),
        (ScheduleFilter(tag="%"), ""),
        (ScheduleFilter(target="crew"), "d"),
        (ScheduleFilter(target="echo"), "cb"),
        (ScheduleFilter(target="/agents/echo/runs"), "b"),
        (ScheduleFilter(target="/health"), "a"),
        (ScheduleFilter(target="health"), ""),
        (ScheduleFilter(tag="x", enabled=True, name_contains="100"), "a"),
    ],
)
async def test_filters(store: Store, where: ScheduleFilter, expected: str) -> None:
    await store.insert_schedules(
        [
            schedule("a", name="Report 100%", tags=("x",), target=Target(endpoint="/health"), created_at=1),
            schedule("b", name="my_report", tags=("x", 'y"'), user_id="ann", created_at=2),
            schedule("c", name="\\", enabled=False, target=Target(endpoint="/teams/echo/runs"), created_at=3),
            schedule("d", name="d", target=Target(name="crew", endpoint="/x"), created_at=4),
        ]
    )
    page = await store.list_schedules(where, ALL)
    assert "".join(found.id for found in page.items) == expected
    assert (page.total_count, page.next_cursor) == (len(expected), None)


async def test_cursor_pages_stay_put_while_rows_arrive(store: Store) -> None:
    await store.insert_schedules([schedule(f"s{number}", created_at=number // 2) for number in range(7)])
    seen: list[str] = []
    cursor = None
    for turn in range(10):
        page = await store.list_schedules(ScheduleFilter(), PageRequest(limit=2, cursor=cursor))
        seen += [found.id for found in page.items]
        await store.insert_schedules([schedule(f"new{turn}", created_at=100 + turn)])
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == ["s6", "s5", "s4", "s3", "s2", "s1", "s0"]


async def test_numbered_pages(store: Store) -> None:
    await store.insert_schedules([schedule(f"s{number}", created_at=number) for number in range(5)])
    pages = [await store.list_schedules(ScheduleFilter(), PageRequest(limit=2, page=number)) for number in (1, 2, 3, 4)]
    assert [[found.id for found in page.items] for page in pages] == [["s4", "s3"], ["s2", "s1"], ["s0"], []]
    assert [page.total_count for page in pages] == [5, 5, 5, 5]
    assert [page.next_cursor is None for page in pages] == [False, False, True, True]


@pytest.mark.parametrize("cursor", ["", "nonsense", "W10", "WzEsMl0", "WyJhIl0", "\ud800", "é"])
async def test_a_foreign_cursor_is_the_callers_mistake(store: Store, cursor: str) -> None:
    with pytest.raises(InvalidField) as caught:
        await store.list_schedules(ScheduleFilter(), PageRequest(cursor=cursor))
    assert caught.value.field == "cursor"


CORRUPTIONS = {
    "payload": "{not json",
    "tags": '{"a": 1}',
    "overlap": "sometimes",
    "retry_backoff": "",
}


@pytest.mark.parametrize("column", CORRUPTIONS)
async def test_an_unreadable_schedule_is_reported_and_left_out(store: Store, backend: Backend, column: str) -> None:
    await store.insert_schedules([schedule("good"), schedule("bad")])
    await backend.execute(f"UPDATE {{prefix}}schedules SET {column} = ? WHERE id = 'bad'", CORRUPTIONS[column])
    with pytest.raises(CorruptRow, match=column) as caught:
        await store.get_schedule("bad")
    assert (caught.value.table, caught.value.row_id) == ("schedules", "bad")
    with pytest.raises(CorruptRow):
        await store.change_schedule("bad", lambda s, now: s)
    for where in (ScheduleFilter(), ScheduleFilter(name_contains="name")):
        page = await store.list_schedules(where, ALL)
        assert [found.id for found in page.items] == ["good"]
        assert [(fault.row_id, column in fault.reason) for fault in page.faults] == [("bad", True)]
    assert (await store.list_schedules(ScheduleFilter(tag="x"), ALL)).items == ()


async def test_schedules_planned_with_other_zone_data_are_found(store: Store) -> None:
    await store.insert_schedules(
        [
            schedule("old", zone_data_version="2025a", next_fire_at=START + 2),
            schedule("older", zone_data_version=None, next_fire_at=START + 1),
            schedule("new", zone_data_version="2026a"),
            schedule("off", zone_data_version="2025a", enabled=False),
            schedule("done", zone_data_version="2025a", next_fire_at=None),
            schedule("deleted", zone_data_version="2025a"),
        ]
    )
    await store.delete_schedule("deleted")
    assert sorted(await store.stale_zone_schedules("2026a", 10)) == ["old", "older"]
    assert len(await store.stale_zone_schedules("2026a", 1)) == 1


async def test_schedules_that_changed_lately_are_found(store: Store, clock: FakeClock) -> None:
    names = ("kept", "edited", "deleted")
    await store.insert_schedules([schedule(name, created_at=START) for name in names])
    assert await store.schedules_since(START, 10) == dict.fromkeys(names, 1)
    assert await store.schedules_since(START + 1, 10) == {}
    clock.advance(ms=MINUTE)
    await store.change_schedule("edited", lambda s, now: replace(s, name="renamed"))
    clock.advance(ms=MINUTE)
    await store.delete_schedule("deleted")
    await store.insert_schedules([schedule("new", created_at=START + MINUTE)])
    assert await store.schedules_since(START + MINUTE, 10) == {"edited": 2, "deleted": 2, "new": 1}
    assert await store.schedules_since(START + 2 * MINUTE, 10) == {"deleted": 2}
    assert await store.schedules_since(START, 1) == {"deleted": 2}
    assert await store.schedules_since(START, 0) == {}


async def test_the_store_tells_the_time(store: Store, clock: FakeClock) -> None:
    clock.advance(ms=MINUTE + 1)
    assert await store.now() == clock.now() == START + MINUTE + 1


async def test_health(store: Store, backend: Backend) -> None:
    health = await store.health()
    assert health.backend.startswith(backend.dialect)
    assert (health.schema_version >= 1, health.warnings) == (True, ())
