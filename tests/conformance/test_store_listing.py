"""Lists of schedules: their orders, their cursors, and what narrows them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.conformance.conftest import Backend
from tests.conformance.helpers import ALL, MINUTE, START, schedule

from agentclock.core.errors import InvalidField
from agentclock.core.model import Target
from agentclock.ports import PageRequest, ScheduleFilter, ScheduleOrder, Store

EVERYTHING = ScheduleFilter()
NEWEST, NEXT_FIRE, NAME = ScheduleOrder.NEWEST, ScheduleOrder.NEXT_FIRE, ScheduleOrder.NAME


async def ids(store: Store, order: ScheduleOrder = NEWEST, where: ScheduleFilter = EVERYTHING) -> list[str]:
    found = await store.list_schedules(where, ALL, order)
    assert found.total_count == len(found.items)
    assert [one.id for one in await store.briefs(where, 1_000, order)] == [one.id for one in found.items]
    return [one.id for one in found.items]


async def paged(store: Store, order: ScheduleOrder, limit: int = 2) -> list[str]:
    """By cursors alone."""
    found: list[str] = []
    cursor = None
    while True:
        page = await store.list_schedules(EVERYTHING, PageRequest(limit=limit, cursor=cursor), order)
        found += [one.id for one in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return found


async def filled(store: Store) -> None:
    await store.insert_schedules(
        [
            schedule("b", name="Berta", next_fire_at=START + 2 * MINUTE, created_at=START),
            schedule("a", name="anna", next_fire_at=START + 2 * MINUTE, created_at=START),
            schedule("c", name="Änne", next_fire_at=None, created_at=START + 1),
            schedule("d", name="ärger", next_fire_at=START, created_at=START + 2),
            # Disabled by a fault: what it was due for stands there still.
            schedule("e", name="Zeta", next_fire_at=START + MINUTE, enabled=False, created_at=START + 3),
            schedule("f", name="alfa", next_fire_at=START + MINUTE, created_at=START + 4),
        ]
    )


ORDERS = {NEWEST: "fedcba", NEXT_FIRE: "dfabce", NAME: "fabecd"}


@pytest.mark.parametrize("order", ScheduleOrder)
async def test_each_order_is_the_same_in_pages_of_any_size(store: Store, order: ScheduleOrder) -> None:
    await filled(store)
    expected = list(ORDERS[order])
    assert await ids(store, order) == expected
    for limit in (1, 2, 3, 6, 7):
        assert await paged(store, order, limit) == expected
    by_number = [
        one.id
        for number in (1, 2, 3)
        for one in (await store.list_schedules(EVERYTHING, PageRequest(limit=2, page=number), order)).items
    ]
    assert by_number == expected


@pytest.mark.parametrize("order", ScheduleOrder)
async def test_what_comes_in_between_moves_nothing(store: Store, order: ScheduleOrder) -> None:
    await filled(store)
    first = await store.list_schedules(EVERYTHING, PageRequest(limit=3), order)
    # Ahead of everything in every order, and behind everything.
    early = schedule("0", name="AAA", next_fire_at=START - MINUTE, created_at=START + MINUTE)
    late = schedule("z", name="ωωω", next_fire_at=None, created_at=START - MINUTE)
    await store.insert_schedules([early, late])
    rest = await store.list_schedules(EVERYTHING, PageRequest(limit=10, cursor=first.next_cursor), order)
    assert "".join(one.id for one in (*first.items, *rest.items)) == ORDERS[order] + "z"
    assert rest.total_count == 8


async def test_a_cursor_belongs_to_its_order(store: Store) -> None:
    await filled(store)
    cursors = {
        order: (await store.list_schedules(EVERYTHING, PageRequest(limit=1), order)).next_cursor
        for order in ScheduleOrder
    }
    for order in ScheduleOrder:
        for other in set(ScheduleOrder) - {order}:
            with pytest.raises(InvalidField, match="is not a cursor of this"):
                await store.list_schedules(EVERYTHING, PageRequest(limit=1, cursor=cursors[other]), order)


TEXTS = [
    ("report", "ab"),
    ("REPORT", "ab"),
    ("für", "cd"),
    ("FÜR", "cd"),
    ("straße", "d"),
    ("STRASSE", "d"),
    ("/agents/sales", "b"),
    ("50%", "e"),
    ("%", "e"),
    ("_", "f"),
    ("a_b", "f"),
    ("a\\b", "g"),
    ("\\", "g"),
    ('say "hi"', "h"),
    ('"', "h"),
    ("ops,night", ""),
    (",", ""),
    ('","', ""),
    ("[", ""),
    ("night", "ag"),
    ("u00e9", ""),
    ("café", "i"),
    ("CAFÉ", "i"),
    ("é", "i"),
    ("nothing like it", ""),
    ("", "abcdefghi"),
]


@pytest.mark.parametrize(("text", "expected"), TEXTS)
async def test_a_part_of_what_a_schedule_says(store: Store, text: str, expected: str) -> None:
    await store.insert_schedules(
        [
            schedule("a", name="Nightly Report", tags=("ops", "night")),
            schedule("b", name="b", description="the REPORT of sales", target=Target(endpoint="/agents/sales/runs")),
            schedule("c", name="c", description="Rechnungen für alle"),
            schedule("d", name="d", target=Target(endpoint="/agents/FÜR-Straße/runs")),
            schedule("e", name="e", description="at 50% of it"),
            schedule("f", name="f", tags=("a_b",)),
            schedule("g", name="g", tags=("a\\b", "nightly")),
            schedule("h", name="h", tags=("x", 'say "hi"')),
            schedule("i", name="i", tags=("Café", "n")),
        ]
    )
    assert sorted(await ids(store, where=ScheduleFilter(text=text))) == list(expected)


async def test_what_a_schedule_says_after_a_change(store: Store) -> None:
    await store.insert_schedules([schedule("a", description="Übung")])
    assert await ids(store, where=ScheduleFilter(text="übung")) == ["a"]
    await store.change_schedule("a", lambda s, now: replace(s, description="ÖL"))
    assert await ids(store, where=ScheduleFilter(text="übung")) == []
    assert await ids(store, where=ScheduleFilter(text="öl")) == ["a"]
    await store.change_schedule("a", lambda s, now: replace(s, description="plain"))
    assert (
        await ids(store, where=ScheduleFilter(text="öl")),
        await ids(store, where=ScheduleFilter(text="PLAIN")),
    ) == (
        [],
        ["a"],
    )


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (ScheduleFilter(managed_by="apply:ops"), "ac"),
        (ScheduleFilter(managed_by="apply"), ""),
        (ScheduleFilter(managed_by="apply:ops", enabled=True), "a"),
        (ScheduleFilter(ids=("a", "d", "nobody", "a")), "ad"),
        (ScheduleFilter(ids=()), ""),
        (ScheduleFilter(ids=("a", "b"), names=("name of b", "name of c")), "b"),
        (ScheduleFilter(names=("name of a", "NAME OF B")), "a"),
        (ScheduleFilter(names=("name of a", "name of d"), user_id="ann"), "d"),
        (ScheduleFilter(names=()), ""),
        (ScheduleFilter(disabled_by_itself=True), "c"),
        (ScheduleFilter(disabled_by_itself=False), "abd"),
        (ScheduleFilter(disabled_by_itself=False, enabled=False), "b"),
        (ScheduleFilter(text="NAME OF", user_id="ann"), "d"),
        (ScheduleFilter(text="\0"), ""),
    ],
)
@pytest.mark.parametrize("order", ScheduleOrder)
async def test_filters_in_every_order(store: Store, order: ScheduleOrder, where: ScheduleFilter, expected: str) -> None:
    await store.insert_schedules(
        [
            schedule("a", managed_by="apply:ops"),
            schedule("b", enabled=False),
            schedule("c", enabled=False, disabled_reason="its zone is gone", managed_by="apply:ops"),
            schedule("d", user_id="ann"),
        ]
    )
    assert sorted(await ids(store, order, where)) == list(expected)


async def test_briefs_tell_the_timetable_and_stop_at_their_limit(store: Store, backend: Backend) -> None:
    whole = schedule("a", user_id="ann", max_runs=7, jitter_seconds=3, start_at=START, end_at=START + MINUTE)
    await store.insert_schedules([whole, schedule("b", next_fire_at=START + 1), schedule("c", next_fire_at=START + 2)])
    found = await store.briefs(EVERYTHING, 2)
    assert [one.id for one in found] == ["a", "b"]
    for name in type(found[0]).__dataclass_fields__:
        assert getattr(found[0], name) == getattr(whole, name)
    await backend.execute(
        "UPDATE {prefix}schedules SET timezone = 'UTC', cron_expr = NULL, run_count = 1 WHERE id = 'b'"
    )
    assert [one.run_count for one in await store.briefs(EVERYTHING, 3)] == [0, 1, 0]
    await store.delete_schedule("a")
    assert [one.id for one in await store.briefs(EVERYTHING, 3, NAME)] == ["b", "c"]
    assert await store.briefs(EVERYTHING, 0) == []


async def test_names_of_what_is_deleted_too(store: Store) -> None:
    await store.insert_schedules([schedule("a"), schedule("b", name="Ärger")])
    await store.delete_schedule("a")
    assert await store.schedule_names(["a", "b", "b", "nobody", "\0"]) == {"a": "name of a", "b": "Ärger"}
    assert await store.schedule_names([]) == {}
