"""Triggers: what a key stands for, and what a run keeps of what was said of it."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.conftest import FILE_AND_SERVER, Backend, PostgresBackend, SqliteBackend
from tests.conformance.helpers import (
    ALL,
    MINUTE,
    PAUSED,
    START,
    SUCCESS,
    end,
    history,
    manual_id,
    register,
    run_of,
    schedule,
    schedule_of,
)
from tests.conformance.trigger_processes import CALLERS

from agentclock.core.errors import Conflict, KeyReused, NotFound, ScheduleDisabled
from agentclock.core.model import Cause, Instant, Overlap, Run, RunStatus, Schedule, TriggerNote, Usage
from agentclock.core.planning import Plan, Situation, plan, plan_trigger
from agentclock.core.triggers import KEY_HOURS, TriggerKey
from agentclock.ports import PageRequest, PlanFunction, RunFilter, Store, Triggered
from agentclock.store.postgres_history import ID_SLACK_MS
from agentclock.testing import FakeClock

KEY = TriggerKey(key="k1", fingerprint="f1")
HOUR = 60 * MINUTE


def asked(
    run_id: str | None = None, *, fire_at: Instant | None = None, note: TriggerNote | None = None
) -> PlanFunction:
    """One run of an enabled schedule, with a new id at every plan unless told."""

    def made(schedule: Schedule, situation: Situation, now: Instant) -> Plan:
        if not schedule.enabled:
            raise ScheduleDisabled
        return plan_trigger(schedule, situation, now, run_id or manual_id(now), fire_at=fire_at, note=note)

    return made


async def triggered(store: Store, key: TriggerKey | None = KEY, **said: Any) -> Triggered:
    return await store.trigger("s1", asked(**said), key=key)


async def switch_off(store: Store) -> None:
    await store.change_schedule("s1", lambda schedule, now: replace(schedule, enabled=False, next_fire_at=None))


@pytest.fixture
async def on_demand(store: Store) -> Store:
    await store.insert_schedules([schedule(next_fire_at=None, overlap=Overlap.ALLOW)])
    return store


NOTES = [
    TriggerNote(reason="nightly \U0001f600", by="ann"),
    TriggerNote(has_payload=True, payload={"message": "\0", "deep": [1, None, 2.5]}),
    TriggerNote(has_payload=True, payload=None),
    TriggerNote(),
    None,
]


@pytest.mark.parametrize("note", NOTES)
async def test_a_run_keeps_what_its_trigger_said(on_demand: Store, note: TriggerNote | None) -> None:
    await register(on_demand)
    made = await triggered(on_demand, note=note, fire_at=START - HOUR)
    assert (made.run.trigger_note, made.is_replay) == (note, False)
    assert (made.run.cause, made.run.fire_at) == (Cause.MANUAL, START - HOUR)
    assert (made.run.created_at, made.run.available_at) == (START, START)
    assert await run_of(on_demand, made.run.id) == made.run
    (claim,) = (await on_demand.claim("w1", 5)).claims
    assert (claim.run.trigger_note, claim.schedule.target) == (note, schedule().target)
    await end(on_demand, claim, PAUSED)
    assert (await run_of(on_demand, made.run.id)).trigger_note == note


async def test_a_trigger_that_is_skipped_keeps_its_note_and_its_key(store: Store) -> None:
    await store.insert_schedules([schedule(next_fire_at=None, overlap=Overlap.SKIP)])
    await triggered(store, None)
    note = TriggerNote(reason="again")
    skipped = await triggered(store, note=note)
    assert (skipped.run.status, skipped.run.trigger_note) == (RunStatus.SKIPPED, note)
    assert (await triggered(store)).run == skipped.run
    assert len(await history(store)) == 2


async def test_the_same_key_means_the_same_run(on_demand: Store, clock: FakeClock) -> None:
    await register(on_demand)
    first = await triggered(on_demand)
    (claim,) = (await on_demand.claim("w1", 5)).claims
    clock.advance(KEY_HOURS * 3600)
    await end(on_demand, claim)
    again = await triggered(on_demand)
    assert again == Triggered(
        schedule=await schedule_of(on_demand), run=await run_of(on_demand, first.run.id), is_replay=True
    )
    assert again.run.status is RunStatus.SUCCESS
    # Other keys, and none at all, are other runs.
    await triggered(on_demand, TriggerKey(key="k2", fingerprint="f1"))
    await triggered(on_demand, None)
    assert len(await history(on_demand)) == 3


async def test_a_key_with_another_request_is_refused(on_demand: Store) -> None:
    await triggered(on_demand)
    with pytest.raises(KeyReused):
        await triggered(on_demand, TriggerKey(key="k1", fingerprint="f2"))
    assert len(await history(on_demand)) == 1


async def test_keys_of_schedules_are_apart(on_demand: Store) -> None:
    await on_demand.insert_schedules([schedule("s2", next_fire_at=None)])
    first = await triggered(on_demand)
    other = await on_demand.trigger("s2", asked(), key=TriggerKey(key="k1", fingerprint="other"))
    assert not other.is_replay
    assert other.run.id != first.run.id


async def test_a_replay_asks_nothing_of_the_schedule(on_demand: Store) -> None:
    """What was answered once is answered again, whatever became of the schedule, while there is one."""
    first = await triggered(on_demand)
    await switch_off(on_demand)
    again = await triggered(on_demand)
    assert (again.run, again.is_replay, again.schedule.enabled) == (first.run, True, False)
    with pytest.raises(ScheduleDisabled):
        await triggered(on_demand, TriggerKey(key="k2", fingerprint="f1"))
    await on_demand.delete_schedule("s1")
    with pytest.raises(NotFound):
        await triggered(on_demand)


async def test_what_was_refused_leaves_the_key_free(on_demand: Store) -> None:
    await switch_off(on_demand)
    with pytest.raises(ScheduleDisabled):
        await triggered(on_demand)
    await on_demand.change_schedule("s1", lambda schedule, now: replace(schedule, enabled=True))
    assert not (await triggered(on_demand, TriggerKey(key="k1", fingerprint="f2"))).is_replay


async def test_nobody_triggers_what_another_one_owns(store: Store) -> None:
    await store.insert_schedules([schedule(next_fire_at=None, user_id="ann")])
    first = await store.trigger("s1", asked(), user_id="ann", key=KEY)
    assert first.run.user_id == "ann"
    for key in (KEY, None):
        with pytest.raises(NotFound):
            await store.trigger("s1", asked(), user_id="bob", key=key)
    with pytest.raises(NotFound):
        await store.trigger("nobody", asked(), key=KEY)


async def test_an_old_key_counts_no_more(on_demand: Store, clock: FakeClock) -> None:
    first = await triggered(on_demand)
    clock.advance(KEY_HOURS * 3600, ms=1)
    fresh = TriggerKey(key="k1", fingerprint="f2")
    second = await triggered(on_demand, fresh)
    assert not second.is_replay
    assert second.run.id != first.run.id
    assert (await triggered(on_demand, fresh)).run == second.run


async def test_a_run_that_was_pruned_is_made_anew(on_demand: Store, clock: FakeClock) -> None:
    """Nobody could be told what became of it."""
    await register(on_demand)
    first = await triggered(on_demand)
    (claim,) = (await on_demand.claim("w1", 5)).claims
    await end(on_demand, claim)
    clock.advance(60)
    assert await on_demand.prune(clock.now(), 100) == 1
    second = await triggered(on_demand)
    assert (second.is_replay, second.run.id == first.run.id) == (False, False)
    assert (await triggered(on_demand)).run == second.run


async def test_prune_forgets_old_keys_and_no_others(on_demand: Store, backend: Backend, clock: FakeClock) -> None:
    async def old_keys_go() -> None:
        await on_demand.prune(0, 2)

    for number in range(3):
        await triggered(on_demand, TriggerKey(key=f"old{number}", fingerprint="f"))
    clock.advance(60)
    kept = await triggered(on_demand)
    clock.advance(KEY_HOURS * 3600 - 60, ms=1)
    for left in (2, 1):
        await old_keys_go()
        assert await backend.fetch("SELECT count(*) FROM {prefix}trigger_keys") == [(left,)]
    assert (await triggered(on_demand)).run == kept.run


@pytest.mark.parametrize("backend", FILE_AND_SERVER, indirect=True)
async def test_two_hundred_at_once_on_two_stores_make_one_run(backend: Backend) -> None:
    """Also while the planner fires the same schedule, and others trigger it without a key."""
    stores = [await backend.open(), await backend.open()]
    await stores[0].insert_schedules([schedule(overlap=Overlap.ALLOW)])

    async def calling(number: int) -> Triggered:
        return await stores[number % 2].trigger("s1", asked(), key=KEY)

    async def without(number: int) -> Triggered:
        return await stores[number % 2].trigger("s1", asked())

    async def firing() -> None:
        await stores[1].fire_due(plan, limit=5)

    calls: list[Callable[[], Any]] = [lambda n=n: calling(n) for n in range(200)]  # type: ignore[misc]
    calls[100:100] = [firing, lambda: without(0), lambda: without(1)]
    found = [one for one in await asyncio.gather(*(call() for call in calls)) if one is not None]
    keyed = [*found[:100], *found[102:]]
    assert len({one.run.id for one in keyed}) == 1
    assert sum(not one.is_replay for one in keyed) == 1
    await firing()  # the planner passes over what somebody else has locked, and comes again
    by_cause = [run.cause for run in await history(stores[0])]
    assert sorted(by_cause) == [Cause.MANUAL] * 3 + [Cause.SCHEDULE]


async def test_a_named_occurrence_stands_where_it_was_asked_for(on_demand: Store, clock: FakeClock) -> None:
    """Newest first means asked for last; and whoever looks for its fire time finds it, however late it came."""
    long_ago = START - 3 * ID_SLACK_MS
    late = (await triggered(on_demand, None, fire_at=long_ago)).run
    clock.advance(60)
    plain = (await triggered(on_demand, None)).run
    clock.advance(60)
    a_bit_late = (await triggered(on_demand, None, fire_at=START - MINUTE)).run
    assert [run.id for run in await history(on_demand)] == [late.id, plain.id, a_bit_late.id]

    async def found(**bounds: Instant) -> list[Run]:
        page = await on_demand.list_runs(RunFilter(schedule_id="s1", **bounds), ALL)  # type: ignore[arg-type]
        assert page.total_count == len(page.items)
        return list(page.items)

    assert await found(until=long_ago + 1) == [late]
    assert await found(until=long_ago) == []
    assert await found(since=long_ago, until=START) == [a_bit_late, late]
    assert await found(since=START) == [plain]
    first = await on_demand.list_runs(RunFilter(until=START), PageRequest(limit=1))
    assert (first.items, first.total_count) == ((a_bit_late,), 2)
    rest = await on_demand.list_runs(RunFilter(until=START), PageRequest(limit=1, cursor=first.next_cursor))
    assert rest.items == (late,)


async def test_what_a_late_run_used_counts_at_its_fire_time(on_demand: Store) -> None:
    await register(on_demand)
    long_ago = START - 3 * ID_SLACK_MS
    await triggered(on_demand, None, fire_at=long_ago)
    (claim,) = (await on_demand.claim("w1", 5)).claims
    await end(on_demand, claim, replace(SUCCESS, usage=Usage(model="small", total_tokens=7)))
    (total,) = await on_demand.usage("s1", long_ago, long_ago + 1)
    assert (total.usage.total_tokens, total.attempts) == (7, 1)
    assert await on_demand.usage("s1", START, START + 1) == []


async def test_a_run_of_long_ago_is_kept_as_long_as_one_of_today(on_demand: Store, clock: FakeClock) -> None:
    """Or a trigger that is repeated would start it once more."""
    await register(on_demand)
    late = await triggered(on_demand, fire_at=START - 3 * ID_SLACK_MS)
    (claim,) = (await on_demand.claim("w1", 5)).claims
    await end(on_demand, claim)
    clock.advance(60)
    assert await on_demand.prune(START - MINUTE, 100) == 0
    assert (await triggered(on_demand)).run.id == late.run.id
    assert await on_demand.prune(START + MINUTE, 100) == 1


async def test_manual_runs_are_no_fires_whatever_time_they_name(on_demand: Store) -> None:
    before = await schedule_of(on_demand)
    await triggered(on_demand, None, fire_at=START - MINUTE)
    assert await schedule_of(on_demand) == before
    assert (await on_demand.accounting("s1", START - HOUR, START)).total == 0


async def test_a_plan_that_makes_nothing_is_a_conflict(on_demand: Store) -> None:
    with pytest.raises(Conflict, match="Nothing of this schedule is due"):
        await on_demand.trigger("s1", lambda s, situation, now: Plan(schedule_id=s.id), key=KEY)
    assert not (await triggered(on_demand)).is_replay


@pytest.mark.parametrize("place", FILE_AND_SERVER)
async def test_two_processes_make_one_run(
    place: str, request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path
) -> None:
    where = str(tmp_path / "agentclock.db") if place == "file" else request.getfixturevalue("empty_postgres_dsn")
    backend = SqliteBackend(where, clock) if place == "file" else PostgresBackend(where, clock)
    store = await backend.open()
    await store.insert_schedules([schedule(next_fire_at=None, overlap=Overlap.ALLOW)])
    command = (sys.executable, str(Path(__file__).with_name("trigger_processes.py")), where)
    others = [await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE) for _ in range(2)]
    for other in others:
        assert other.stdout is not None
        assert await other.stdout.readline() == b"ready\n"
    told = [answer for answer, _ in await asyncio.gather(*(other.communicate(b"go\n") for other in others))]
    answers = [line.split() for text in told for line in text.decode().splitlines()]
    assert len(answers) == 2 * CALLERS
    (run,) = await history(store)
    assert {run_id for run_id, _ in answers} == {run.id}
    assert [replayed for _, replayed in answers].count("False") == 1
    await backend.close()
