"""Owners: what their tokens grant, who is revoked, and how many schedules each may have."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.conformance.conftest import FILE_AND_SERVER, Backend
from tests.conformance.helpers import ALL, MINUTE, START, schedule

from agentclock.core.actors import Actor
from agentclock.core.audit import Action
from agentclock.core.errors import Conflict, CorruptRow, InvalidField, LimitReached, NameTaken
from agentclock.core.model import Instant
from agentclock.core.owners import Owner
from agentclock.ports import AuditFilter, PageRequest, ScheduleFilter, Store
from agentclock.testing import FakeClock

ADMIN = Actor("admin", "192.0.2.1")
WIDE, NARROW = ("schedules:write", "agents:*:run"), ("schedules:read",)


async def owner(store: Store, user_id: str = "ann") -> Owner:
    found = await store.owner(user_id)
    assert found is not None
    return found


async def test_nobody_is_known_at_first(store: Store) -> None:
    assert await store.owner("ann") is None
    assert (await store.owners(ALL)).items == ()


@pytest.mark.parametrize(
    ("noted", "newer", "counts"),
    [
        (START, START + 1, True),
        (START, START, True),  # of two tokens of one second, the one that is shown now
        (START, START - 1, False),
        (START, None, False),
        (None, START, True),
        (None, None, True),
    ],
)
async def test_no_older_token_brings_anything_back(
    store: Store, clock: FakeClock, noted: Instant | None, newer: Instant | None, counts: bool
) -> None:
    await store.see_owner("ann", WIDE, noted)
    assert await owner(store) == Owner(user_id="ann", scopes=WIDE, issued_at=noted, seen_at=START)
    clock.advance(60)
    await store.see_owner("ann", NARROW, newer)
    scopes, issued_at = (NARROW, newer) if counts else (WIDE, noted)
    assert await owner(store) == Owner(user_id="ann", scopes=scopes, issued_at=issued_at, seen_at=START + MINUTE)


async def test_a_revocation_outlives_every_token(store: Store, clock: FakeClock) -> None:
    await store.see_owner("ann", WIDE, START)
    clock.advance(60)
    expected = Owner(
        user_id="ann", scopes=WIDE, issued_at=START, seen_at=START, revoked_at=START + MINUTE, revoked_by="admin"
    )
    assert await store.revoke_owner("ann", True, by=ADMIN) == expected
    clock.advance(60)
    assert await store.revoke_owner("ann", True, by=Actor("eve")) == expected
    await store.see_owner("ann", NARROW, START + 2 * MINUTE)
    seen = await owner(store)
    assert (seen.scopes, seen.revoked_at, seen.revoked_by) == (NARROW, START + MINUTE, "admin")
    for _ in range(2):
        restored = await store.revoke_owner("ann", False, by=ADMIN)
        assert (restored.scopes, restored.revoked_at, restored.revoked_by) == (NARROW, None, None)
    entries = (await store.audit(AuditFilter(user_id="ann"), ALL)).items
    assert [(entry.action, entry.actor, entry.user_id, entry.schedule_id) for entry in entries] == [
        (Action.OWNER_RESTORED, "admin", "ann", None),
        (Action.OWNER_REVOKED, "admin", "ann", None),
    ]


async def test_who_was_never_seen_is_revoked_beforehand(store: Store) -> None:
    stranger = Owner(user_id="eve", seen_at=START)
    assert await store.revoke_owner("eve", False, by=ADMIN) == stranger
    assert await store.owner("eve") is None
    revoked = await store.revoke_owner("eve", True, by=ADMIN)
    assert revoked == Owner(user_id="eve", seen_at=START, revoked_at=START, revoked_by="admin")
    await store.see_owner("eve", WIDE, START - MINUTE)
    assert (await owner(store, "eve")).scopes == WIDE
    assert (await owner(store, "eve")).revoked_at == START
    assert (await store.audit(AuditFilter(), ALL)).total_count == 1


async def test_owners_are_listed_by_their_ids(store: Store) -> None:
    for user_id in ("c", "a", "b"):
        await store.see_owner(user_id, (), None)
    first = await store.owners(PageRequest(limit=2))
    assert ([one.user_id for one in first.items], first.total_count) == (["a", "b"], 3)
    rest = await store.owners(PageRequest(limit=2, cursor=first.next_cursor))
    assert ([one.user_id for one in rest.items], rest.next_cursor, rest.total_count) == (["c"], None, 3)
    assert [one.user_id for one in (await store.owners(PageRequest(limit=2, page=2))).items] == ["c"]
    with pytest.raises(InvalidField, match="cursor"):
        await store.owners(PageRequest(cursor="x"))


async def test_an_owner_who_cannot_be_read_is_reported(store: Store, backend: Backend) -> None:
    await store.see_owner("ann", WIDE, None)
    await store.see_owner("bob", WIDE, None)
    await backend.execute("UPDATE {prefix}owners SET scopes = '{' WHERE user_id = 'ann'")
    with pytest.raises(CorruptRow, match="scopes"):
        await store.owner("ann")
    page = await store.owners(ALL)
    assert ([one.user_id for one in page.items], [fault.row_id for fault in page.faults]) == (["bob"], ["ann"])


# how many schedules


def some(count: int, user_id: str | None = "ann", start: int = 0) -> list[Any]:
    return [schedule(f"{user_id}{number}", user_id=user_id) for number in range(start, start + count)]


async def test_no_owner_has_more_than_the_limit(store: Store) -> None:
    await store.insert_schedules(some(2), owner_limit=3)
    with pytest.raises(LimitReached, match="schedules_per_owner") as caught:
        await store.insert_schedules([*some(1, "bob"), *some(2, start=2)], owner_limit=3)
    assert caught.value.limit == 3
    assert isinstance(caught.value, Conflict)
    assert "ann" in str(caught.value)
    assert (await store.list_schedules(ScheduleFilter(), ALL)).total_count == 2
    await store.insert_schedules([*some(1, start=2), *some(3, "bob")], owner_limit=3)
    # Nobody's are not counted, and without a limit there is none.
    await store.insert_schedules(some(5, None), owner_limit=3)
    await store.insert_schedules(some(1, start=3))
    # One that has too many already gets no further ones; what is deleted counts no more.
    for deleted in ("ann0", "ann1"):
        with pytest.raises(LimitReached):
            await store.insert_schedules(some(1, start=4), owner_limit=3)
        await store.delete_schedule(deleted)
    await store.insert_schedules(some(1, start=4), owner_limit=3)
    for limit in (0, -1):
        with pytest.raises(LimitReached):
            await store.insert_schedules(some(1, "eve"), owner_limit=limit)


async def test_a_name_that_is_taken_is_told_below_the_limit(store: Store) -> None:
    await store.insert_schedules(some(1), owner_limit=2)
    with pytest.raises(NameTaken):
        await store.insert_schedules([schedule("x", user_id="ann", name="name of ann0")], owner_limit=2)


@pytest.mark.parametrize("backend", FILE_AND_SERVER, indirect=True)
async def test_the_limit_holds_for_many_at_once(backend: Backend) -> None:
    stores = [await backend.open(), await backend.open()]

    async def insert(number: int) -> bool:
        owners = ("ann", "bob") if number % 2 else ("bob", "ann")
        try:
            new = [schedule(f"{user_id}{number}", user_id=user_id) for user_id in owners]
            await stores[number // 2 % 2].insert_schedules(new, owner_limit=7)
        except LimitReached:
            return False
        return True

    assert sum(await asyncio.gather(*map(insert, range(40)))) == 7
    for user_id in ("ann", "bob"):
        assert (await stores[0].list_schedules(ScheduleFilter(user_id=user_id), ALL)).total_count == 7


# by name


async def test_schedules_are_found_by_their_whole_name(store: Store) -> None:
    mine = [schedule(f"{user_id}-1", user_id=user_id, name="daily") for user_id in ("ann", "bob", None)]
    await store.insert_schedules([*mine, schedule("other", name="Daily"), schedule("more", name="daily 2")])
    await store.insert_schedules([schedule("gone", user_id="eve", name="daily")])
    await store.delete_schedule("gone")

    async def found(**where: Any) -> set[str]:
        page = await store.list_schedules(ScheduleFilter(**where), ALL)
        assert page.total_count == len(page.items)
        return {one.id for one in page.items}

    assert await found(name="daily") == {"ann-1", "bob-1", "None-1"}
    assert await found(name="Daily") == {"other"}
    assert await found(name="dail") == set()
    assert await found(name="daily", user_id="bob") == {"bob-1"}
    assert await found(name="daily", user_id="eve") == set()
    assert await found(name="daily", user_id="") == set()
    assert await found(name="daily", enabled=False) == set()
