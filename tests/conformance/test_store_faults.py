"""Schedules that cannot be planned, and single schedules fired by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.conformance.conftest import Backend
from tests.conformance.helpers import (
    MINUTE,
    START,
    history,
    manual_id,
    queued,
    run_of,
    schedule,
    schedule_of,
    triggering,
)

from agentclock.core.errors import Conflict, CorruptRow, InvalidField, NotFound
from agentclock.core.model import Cause, Overlap, RunStatus, Schedule
from agentclock.core.planning import Plan, Situation, plan
from agentclock.ports import Store
from agentclock.testing import FakeClock

# faults


@pytest.mark.parametrize(
    "error", [ValueError("bad zone"), InvalidField("timezone", "bad zone"), OverflowError("bad zone")]
)
async def test_a_schedule_that_cannot_be_planned_is_disabled_alone(store: Store, error: Exception) -> None:
    await store.insert_schedules([schedule("good"), schedule("bad")])

    def some(found: Schedule, situation: Situation, now: int) -> Plan:
        if found.id == "bad":
            raise error
        return plan(found, situation, now)

    fired = await store.fire_due(some, limit=10)
    assert [run.schedule_id for run in fired.runs] == ["good"]
    ((row_id, reason),) = [(fault.row_id, fault.reason) for fault in fired.faults]
    assert row_id == "bad"
    assert "bad zone" in reason
    bad = await schedule_of(store, "bad")
    assert (bad.enabled, bad.disabled_reason) == (False, reason)
    assert await history(store, "bad") == []


async def test_a_plan_may_say_so_itself(store: Store) -> None:
    await store.insert_schedules([schedule()])
    fired = await store.fire_due(lambda s, situation, now: Plan(schedule_id=s.id, fault="no fires"), limit=1)
    assert [(fault.row_id, fault.reason) for fault in fired.faults] == [("s1", "no fires")]
    assert (await schedule_of(store)).disabled_reason == "no fires"


async def test_an_unreadable_schedule_is_disabled_alone(store: Store, backend: Backend) -> None:
    await store.insert_schedules([schedule("good"), schedule("bad")])
    await backend.execute("UPDATE {prefix}schedules SET catch_up = 'maybe' WHERE id = 'bad'")
    fired = await store.fire_due(plan, limit=10)
    assert [run.schedule_id for run in fired.runs] == ["good"]
    assert [(fault.table, fault.row_id) for fault in fired.faults] == [("schedules", "bad")]
    await backend.execute("UPDATE {prefix}schedules SET catch_up = 'latest' WHERE id = 'bad'")
    bad = await schedule_of(store, "bad")
    assert not bad.enabled
    assert bad.disabled_reason is not None
    assert "catch_up" in bad.disabled_reason


async def test_a_programming_error_writes_nothing(store: Store) -> None:
    await store.insert_schedules([schedule("a"), schedule("b")])

    def broken(found: Schedule, situation: Situation, now: int) -> Plan:
        if found.id == "b":
            raise TypeError("bug")
        return plan(found, situation, now)

    with pytest.raises(TypeError, match="bug"):
        await store.fire_due(broken, limit=10)
    assert await schedule_of(store, "a") == schedule("a")
    assert await history(store, "a") == []


# trigger


async def test_a_trigger_runs_now_and_leaves_the_timetable_alone(store: Store, clock: FakeClock) -> None:
    await store.insert_schedules([schedule(next_fire_at=START + MINUTE, user_id="ann")])
    clock.advance(5)
    run_id = manual_id(clock.now())
    made = await store.trigger("s1", triggering(run_id), user_id="ann")
    after, run = made.schedule, made.run
    assert (run.id, run.cause, run.status) == (run_id, Cause.MANUAL, RunStatus.PENDING)
    assert (run.fire_at, run.available_at, run.user_id) == (clock.now(), clock.now(), "ann")
    assert after == await schedule_of(store) == schedule(next_fire_at=START + MINUTE, user_id="ann")
    assert await store.get_run(run_id) == run


async def test_a_trigger_works_on_demand_and_while_disabled(store: Store) -> None:
    await store.insert_schedules([schedule(cron_expr=None, next_fire_at=None, enabled=False)])
    run_id = manual_id(START)
    run = (await store.trigger("s1", triggering(run_id))).run
    assert run.status is RunStatus.PENDING


async def test_a_trigger_of_nothing(store: Store) -> None:
    await store.insert_schedules([schedule(user_id="ann", next_fire_at=START + 1)])
    for schedule_id, user_id in (("s2", None), ("s1", "bob")):
        with pytest.raises(NotFound, match="Schedule"):
            await store.trigger(schedule_id, plan, user_id=user_id)
    with pytest.raises(Conflict):
        await store.trigger("s1", plan)


async def test_what_a_trigger_raises_arrives(store: Store, backend: Backend) -> None:
    await store.insert_schedules([schedule()])

    def refuse(found: Schedule, situation: Situation, now: int) -> Plan:
        raise InvalidField("timezone", "no")

    with pytest.raises(InvalidField):
        await store.trigger("s1", refuse)
    assert (await schedule_of(store)).enabled
    await backend.execute("UPDATE {prefix}schedules SET catch_up = 'maybe'")
    with pytest.raises(CorruptRow):
        await store.trigger("s1", plan)


async def test_a_trigger_that_replaces_the_active_runs(store: Store) -> None:
    (waiting,) = await queued(store, "s1")
    await store.change_schedule("s1", lambda s, now: replace(s, overlap=Overlap.CANCEL))
    run_id = manual_id(START)
    run = (await store.trigger("s1", triggering(run_id))).run
    assert (run.status, run.available_at) == (RunStatus.PENDING, START)
    assert (await run_of(store, waiting.id)).status is RunStatus.CANCELLED
