"""Several stores on one database at the same time."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
from tests.conformance.conftest import FILE_AND_SERVER, Backend
from tests.conformance.helpers import (
    MINUTE,
    START,
    SUCCESS,
    firing,
    held,
    history,
    queued,
    register,
    run_of,
    schedule,
    schedule_of,
)

from agentclock.core.backfills import Backfill
from agentclock.core.errors import NameTaken, VersionConflict
from agentclock.core.ids import backfill_run_id
from agentclock.core.lifecycle import settle
from agentclock.core.model import Cause, Overlap, Run, RunStatus, Schedule
from agentclock.core.planning import plan
from agentclock.ports import Store
from agentclock.testing import FakeClock

pytestmark = pytest.mark.parametrize("backend", FILE_AND_SERVER, indirect=True)


async def test_each_fire_is_made_once_whoever_plans(backend: Backend, clock: FakeClock) -> None:
    stores = [await backend.open() for _ in range(3)]
    ids = [f"s{number:02}" for number in range(40)]
    await stores[0].insert_schedules([schedule(schedule_id, overlap=Overlap.ALLOW) for schedule_id in ids])
    made: Counter[str] = Counter()
    for _ in range(3):

        async def planner(store: Store) -> None:
            while (fired := await store.fire_due(plan, limit=7)).planned:
                made.update(run.id for run in fired.runs)

        await asyncio.gather(*(planner(store) for store in stores))
        clock.advance(60)
    assert set(made.values()) == {1}
    assert len(made) == 3 * len(ids)
    assert {(await schedule_of(stores[0], schedule_id)).run_count for schedule_id in ids} == {3}


async def test_claims_never_overlap(backend: Backend) -> None:
    stores = [await backend.open() for _ in range(3)]
    await register(stores[0])
    await queued(stores[0], *(f"s{number}" for number in range(30)))
    taken: list[str] = []

    async def worker(store: Store) -> None:
        while claims := (await store.claim("w1", 4)).claims:
            taken.extend(claim.run.id for claim in claims)

    await asyncio.gather(*(worker(store) for store in stores))
    taken += [claim.run.id for claim in (await stores[0].claim("w1", 100)).claims]
    assert len(taken) == len(set(taken)) == 30
    assert {run.attempt for schedule_id in range(30) for run in await history(stores[0], f"s{schedule_id}")} == {1}


async def test_of_two_ends_of_one_run_one_counts(backend: Backend, clock: FakeClock) -> None:
    stores = [await backend.open() for _ in range(2)]
    await register(stores[0])
    claim = await held(stores[0])
    settlement = settle(claim, SUCCESS, clock.now())
    answers = await asyncio.gather(*(store.settle([settlement]) for store in stores for _ in range(4)))
    assert sorted(len(applied) for applied in answers) == [0] * 7 + [1]


async def test_settling_in_opposite_orders_does_not_deadlock(backend: Backend, clock: FakeClock) -> None:
    stores = [await backend.open() for _ in range(2)]
    await register(stores[0])
    await queued(stores[0], *(f"s{number}" for number in range(20)))
    settlements = [settle(claim, SUCCESS, clock.now()) for claim in (await stores[0].claim("w1", 20)).claims]
    answers = await asyncio.gather(stores[0].settle(settlements), stores[1].settle(settlements[::-1]))
    applied = [run_id for answer in answers for run_id in answer]
    assert sorted(applied) == sorted(settlement.run_id for settlement in settlements)


async def test_changes_are_not_lost(backend: Backend) -> None:
    stores = [await backend.open() for _ in range(2)]
    await stores[0].insert_schedules([schedule()])
    await asyncio.gather(
        *(
            store.change_schedule("s1", lambda s, now: replace(s, jitter_seconds=s.jitter_seconds + 1))
            for store in stores
            for _ in range(5)
        )
    )
    found = await schedule_of(stores[1])
    assert (found.jitter_seconds, found.version) == (10, 11)


async def test_of_two_changes_of_one_version_one_wins(backend: Backend) -> None:
    stores = [await backend.open() for _ in range(2)]
    await stores[0].insert_schedules([schedule()])
    answers = await asyncio.gather(
        *(
            store.change_schedule("s1", lambda s, now: replace(s, description="x"), expected_version=1)
            for store in stores
        ),
        return_exceptions=True,
    )
    assert sorted(isinstance(answer, VersionConflict) for answer in answers) == [False, True]


async def test_of_two_inserts_of_one_name_one_wins(backend: Backend) -> None:
    stores = [await backend.open() for _ in range(2)]
    answers = await asyncio.gather(
        *(store.insert_schedules([schedule(f"s{number}", name="n")]) for number, store in enumerate(stores)),
        return_exceptions=True,
    )
    assert sorted(isinstance(answer, NameTaken) for answer in answers) == [False, True]


async def test_a_change_and_a_fire_do_not_undo_each_other(backend: Backend, clock: FakeClock) -> None:
    stores = [await backend.open() for _ in range(2)]
    await stores[0].insert_schedules([schedule(overlap=Overlap.ALLOW)])

    def count(found: Schedule, now: int) -> Schedule:
        return replace(found, description=f"{found.description or ''}x")

    for _ in range(5):
        await asyncio.gather(stores[0].fire_due(plan, limit=1), stores[1].change_schedule("s1", count))
        await stores[0].fire_due(plan, limit=1)
        clock.advance(60)
    found = await schedule_of(stores[0])
    assert (found.run_count, found.description, found.next_fire_at) == (5, "xxxxx", START + 5 * MINUTE)
    assert len(await history(stores[0])) == 5


async def test_a_fire_during_a_delete_leaves_no_open_run(backend: Backend, clock: FakeClock) -> None:
    stores = [await backend.open() for _ in range(2)]
    await register(stores[0])
    for turn in range(5):
        await stores[0].insert_schedules([schedule(f"s{turn}")])
        await asyncio.gather(stores[0].fire_due(firing(START), limit=1), stores[1].delete_schedule(f"s{turn}"))
        assert {run.status for run in await history(stores[0], f"s{turn}")} <= {RunStatus.CANCELLED}


async def test_orphans_of_two_keepers_have_tokens_of_their_own(backend: Backend, clock: FakeClock) -> None:
    stores = [await backend.open() for _ in range(2)]
    await register(stores[0])
    claim = await held(stores[0])
    clock.advance(31)
    answers = await asyncio.gather(*(store.orphans(10) for store in stores))
    fences = [orphan.run.fence for answer in answers for orphan in answer]
    assert len(fences) == len(set(fences)) >= 1
    assert (await run_of(stores[0], claim.run.id)).fence == max(fences)


async def test_backfills_keep_to_their_concurrency_whoever_lets_go(backend: Backend, clock: FakeClock) -> None:
    stores = [await backend.open() for _ in range(3)]
    await register(stores[0])
    await stores[0].insert_schedules([schedule(next_fire_at=None)])
    backfill = Backfill(id="b1", schedule_id="s1", from_at=START, until_at=START + 40, concurrency=4)
    runs = [
        Run(id=backfill_run_id("s1", at, 1), schedule_id="s1", cause=Cause.BACKFILL, fire_at=at)
        for at in range(START, START + 40)
    ]
    assert await stores[0].insert_backfill(backfill, runs) == 40
    done: set[str] = set()
    while len(done) < 40:
        claims = (await stores[0].claim("w1", 100)).claims
        assert len(claims) == min(4, 40 - len(done))
        ends = [stores[place % 3].settle([settle(claim, SUCCESS, clock.now())]) for place, claim in enumerate(claims)]
        for answer in await asyncio.gather(*ends, *(store.release_waiting() for store in stores)):
            done |= answer if isinstance(answer, frozenset) else set()
    assert {run.status for run in await history(stores[0])} == {RunStatus.SUCCESS}


async def test_a_cancelled_backfill_lets_nothing_go(backend: Backend, clock: FakeClock) -> None:
    stores = [await backend.open() for _ in range(2)]
    await register(stores[0])
    await stores[0].insert_schedules([schedule(next_fire_at=None)])
    for turn in range(3):
        first = START + 100 * turn
        backfill = Backfill(id=f"b{turn}", schedule_id="s1", from_at=first, until_at=first + 10, concurrency=2)
        runs = [
            Run(id=backfill_run_id("s1", at, 1), schedule_id="s1", cause=Cause.BACKFILL, fire_at=at)
            for at in range(first, first + 10)
        ]
        await stores[0].insert_backfill(backfill, runs)
        claims = (await stores[0].claim("w1", 100)).claims
        ends = [stores[0].settle([settle(claim, SUCCESS, clock.now())]) for claim in claims]
        await asyncio.gather(stores[1].cancel_backfill(f"b{turn}"), *ends)
        assert (await stores[0].claim("w1", 100)).claims == ()
        assert {run.status for run in await history(stores[0])} <= {RunStatus.SUCCESS, RunStatus.CANCELLED}
