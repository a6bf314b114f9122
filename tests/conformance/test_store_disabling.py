"""Outcomes after which a schedule may not fire again: it is disabled in the transaction that settles the run."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.conformance.conftest import FILE_AND_SERVER, Backend
from tests.conformance.helpers import (
    ALL,
    MINUTE,
    START,
    end,
    firing,
    held,
    history,
    register,
    run_of,
    schedule,
    schedule_of,
)

from agentclock.accounts import Inquiry, account_for
from agentclock.core.audit import Action
from agentclock.core.lifecycle import settle
from agentclock.core.model import Claim, Outcome, OutcomeKind, Reason, RunStatus
from agentclock.core.planning import plan
from agentclock.ports import AuditFilter, Store
from agentclock.testing import FakeClock

WHY = "owner 'ann' was revoked"
DENIED = Outcome(kind=OutcomeKind.FAILED, error=WHY, disables=WHY)


async def test_a_schedule_is_disabled_with_its_run(store: Store, clock: FakeClock) -> None:
    await register(store)
    await store.insert_schedules([schedule(user_id="ann"), schedule("s2", next_fire_at=None)])
    (claim,) = (await store.fire_due(plan, limit=1, worker_id="w1", slots=1)).claims
    clock.advance(1)
    before = await schedule_of(store)
    await end(store, claim, DENIED)
    after = await schedule_of(store)
    expected = replace(
        before, enabled=False, next_fire_at=None, disabled_reason=WHY, version=2, updated_at=START + 1000
    )
    assert after == expected
    assert (await run_of(store, claim.run.id)).status is RunStatus.FAILED
    newest = (await store.revisions("s1"))[0]
    assert (newest.version, newest.by, newest.schedule) == (2, "agentclock", after)
    (entry,) = (await store.audit(AuditFilter(), ALL)).items
    assert (entry.action, entry.actor, entry.run_id) == (Action.DISABLED, "agentclock", claim.run.id)
    assert (entry.user_id, entry.details) == ("ann", {"reason": WHY})
    assert (await schedule_of(store, "s2")).enabled
    clock.advance(600)
    assert (await store.fire_due(plan, limit=5)).planned == 0


async def test_what_is_due_then_is_on_record(store: Store, clock: FakeClock) -> None:
    """To the fire: those that no planner saw are missed, because the timetable ended."""
    await register(store, lease_seconds=10**6)
    await store.insert_schedules([schedule()])
    (claim,) = (await store.fire_due(plan, limit=1, worker_id="w1", slots=1)).claims
    clock.advance(3 * 60 + 30)
    await end(store, claim, DENIED)
    _, missed = await history(store)
    assert (missed.status, missed.reason, missed.fire_count) == (RunStatus.MISSED, Reason.CHANGED, 3)
    assert (missed.fire_at, missed.last_fire_at) == (START + MINUTE, START + 3 * MINUTE)
    after = await schedule_of(store)
    assert (after.enabled, after.next_fire_at, after.last_fire_at) == (False, None, START + 3 * MINUTE)
    clock.advance(3600)
    statement = await account_for(store, after, Inquiry(since=START, until=clock.now()))
    assert (statement.due, statement.runs, statement.missed, statement.is_balanced) == (4, 1, 3, True)


@pytest.mark.long
async def test_a_backlog_of_months_is_on_record(store: Store, clock: FakeClock) -> None:
    await register(store, lease_seconds=10**9)
    claim = await held(store)
    await store.change_schedule("s1", lambda before, now: replace(before, next_fire_at=START + MINUTE))
    clock.advance(60 * 50_000)
    await end(store, claim, DENIED)
    assert (await schedule_of(store)).next_fire_at is None
    assert (await store.accounting("s1", START, clock.now())).missed == 50_000


async def test_a_result_that_is_dropped_disables_nothing(store: Store) -> None:
    await register(store)
    claim = await held(store)
    settlement = settle(claim, DENIED, START)
    assert await store.settle([replace(settlement, fence=claim.run.fence + 1)]) == frozenset()
    assert (await schedule_of(store)).enabled
    assert await store.settle([settlement]) == {claim.run.id}
    assert await store.settle([settlement]) == frozenset()
    assert (await schedule_of(store)).version == 2


async def two_runs(store: Store) -> list[Claim]:
    await register(store)
    await store.insert_schedules([schedule()])
    await store.fire_due(firing(START - 1, START, again_at=START + MINUTE), limit=1)
    return list((await store.claim("w1", 5)).claims)


async def test_a_schedule_is_disabled_once(store: Store, clock: FakeClock) -> None:
    first, second = await two_runs(store)
    other = replace(DENIED, disables="another reason")
    assert len(await store.settle([settle(first, DENIED, START), settle(second, other, START)])) == 2
    found = await schedule_of(store)
    assert (found.version, found.enabled) == (2, False)
    assert found.disabled_reason in (WHY, "another reason")
    assert (await store.audit(AuditFilter(), ALL)).total_count == 1


async def test_one_that_is_disabled_or_deleted_stays_so(store: Store) -> None:
    first, second = await two_runs(store)
    by_hand = await store.change_schedule(
        "s1", lambda before, now: replace(before, enabled=False, next_fire_at=None, disabled_reason="by hand")
    )
    await end(store, first, DENIED)
    assert await schedule_of(store) == by_hand
    await store.delete_schedule("s1")
    await end(store, second, DENIED)
    assert await store.get_schedule("s1") is None


async def test_one_that_cannot_be_read_keeps_nobody(store: Store, backend: Backend) -> None:
    await register(store)
    claim = await held(store)
    await backend.execute("UPDATE {prefix}schedules SET tags = 'torn'")
    await end(store, claim, DENIED)
    assert (await run_of(store, claim.run.id)).status is RunStatus.FAILED


@pytest.mark.parametrize("backend", FILE_AND_SERVER, indirect=True)
async def test_ends_and_fires_at_once_get_along(backend: Backend, clock: FakeClock) -> None:
    """Whoever comes first: every due fire is in history once, and none comes after the end."""
    stores = [await backend.open(), await backend.open()]
    await register(stores[0], lease_seconds=10**6)
    names = [f"s{number}" for number in range(8)]
    await stores[0].insert_schedules([schedule(name) for name in names])
    claims = (await stores[0].fire_due(plan, limit=8, worker_id="w1", slots=8)).claims
    clock.advance(90)
    now = clock.now()
    ends = [stores[number % 2].settle([settle(claim, DENIED, now)]) for number, claim in enumerate(claims)]
    fires = [stores[number % 2].fire_due(plan, limit=3) for number in range(6)]
    await asyncio.gather(*ends, *fires)
    for name in names:
        assert not (await schedule_of(stores[0], name)).enabled
        assert (await stores[0].accounting(name, START - 1, now)).total == 2
