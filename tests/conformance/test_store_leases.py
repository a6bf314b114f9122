"""Workers: leases, orphans, and a whole life of a schedule."""

from __future__ import annotations

from dataclasses import replace

from tests.conformance.conftest import Backend
from tests.conformance.helpers import (
    MINUTE,
    START,
    SUCCESS,
    end,
    held,
    queued,
    register,
    run_of,
    schedule,
    schedule_of,
)

from agentclock.core.lifecycle import settle
from agentclock.core.model import (
    Claim,
    Outcome,
    OutcomeKind,
    RunStatus,
)
from agentclock.core.planning import plan
from agentclock.ports import Store, WorkerInfo
from agentclock.testing import FakeClock

# leases


async def test_workers_are_listed_with_what_they_hold(store: Store, clock: FakeClock) -> None:
    await register(store)
    await held(store)
    clock.advance(1)
    assert (await store.renew_lease("w1", 30)).alive
    (row,) = await store.workers()
    assert row.info == WorkerInfo(id="w1", name="host w1", app_version="1.0")
    assert (row.started_at, row.lease_until, row.running) == (START, clock.now() + 30_000, 1)


async def test_a_renewed_lease_protects_its_runs(store: Store, clock: FakeClock) -> None:
    await register(store)
    await held(store)
    for _ in range(3):
        clock.advance(29)
        assert (await store.renew_lease("w1", 30)).alive
        assert await store.orphans(10) == []


async def test_a_lease_that_is_over_leaves_orphans_and_never_revives(store: Store, clock: FakeClock) -> None:
    await register(store)
    claim = await held(store)
    clock.advance(31)
    (orphan,) = await store.orphans(10)
    assert orphan == Claim(run=replace(claim.run, fence=2), schedule=claim.schedule)
    assert await run_of(store, claim.run.id) == orphan.run
    assert not (await store.renew_lease("w1", 30)).alive
    assert await store.settle([settle(claim, SUCCESS, clock.now())]) == frozenset()
    assert not await store.note_agent_run(claim.run.id, claim.run.fence, "late", None)
    await end(store, orphan, Outcome(kind=OutcomeKind.LOST, error="worker gone"))
    assert await store.orphans(10) == []


async def test_a_keeper_that_dies_itself_leaves_the_orphan_to_the_next(store: Store, clock: FakeClock) -> None:
    await register(store)
    await held(store)
    clock.advance(31)
    (first,) = await store.orphans(10)
    (second,) = await store.orphans(10)
    assert (first.run.fence, second.run.fence) == (2, 3)
    assert await store.settle([settle(first, SUCCESS, clock.now())]) == frozenset()


async def test_orphans_come_in_portions(store: Store, clock: FakeClock) -> None:
    await register(store)
    await queued(store, "a", "b", "c")
    claims = (await store.claim("w1", 3)).claims
    clock.advance(31)
    portion = await store.orphans(2)
    assert len(portion) == 2
    for orphan in portion:
        await end(store, orphan)
    (last,) = await store.orphans(2)
    assert {orphan.run.id for orphan in (*portion, last)} == {claim.run.id for claim in claims}


async def test_a_worker_that_leaves_orphans_what_it_holds_at_once(store: Store) -> None:
    await register(store)
    claim = await held(store)
    await store.release_engine("w1")
    assert [orphan.run.id for orphan in await store.orphans(10)] == [claim.run.id]
    assert not (await store.renew_lease("w1", 30)).alive
    assert (await store.claim("w1", 1)).claims == ()
    await register(store, "w2")
    assert (await store.renew_lease("w2", 30)).alive


async def test_a_stranger_has_no_lease(store: Store) -> None:
    assert not (await store.renew_lease("stranger", 30)).alive
    await store.release_engine("stranger")


async def test_an_unreadable_orphan_fails_alone(store: Store, backend: Backend, clock: FakeClock) -> None:
    await register(store)
    await queued(store, "bad", "good")
    claims = {claim.run.schedule_id: claim for claim in (await store.claim("w1", 2)).claims}
    await backend.execute("UPDATE {prefix}runs SET metrics = '{' WHERE schedule_id = 'bad'")
    clock.advance(31)
    assert [orphan.run.schedule_id for orphan in await store.orphans(10)] == ["good"]
    await backend.execute("UPDATE {prefix}runs SET metrics = NULL WHERE schedule_id = 'bad'")
    bad = await run_of(store, claims["bad"].run.id)
    assert bad.status is RunStatus.FAILED
    assert bad.error is not None
    assert "metrics" in bad.error
    assert [a.status for a in await store.attempts(bad.id)] == [RunStatus.FAILED]


async def test_the_whole_life_of_a_schedule(store: Store, clock: FakeClock) -> None:
    """Every fire of an hour, with settling, is accounted for once."""
    await register(store, lease_seconds=36_000)
    await store.insert_schedules([schedule()])
    for minute in range(60):
        fired = await store.fire_due(plan, limit=10, worker_id="w1", slots=minute % 2)
        for claim in (*fired.claims, *(await store.claim("w1", 1)).claims):
            if minute % 7:
                await end(store, claim)
        clock.advance(60)
    found = await store.accounting("s1", START - 1, START + 59 * MINUTE)
    assert found.total == 60
    assert found.runs == (await schedule_of(store)).run_count
