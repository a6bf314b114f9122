"""What a schedule was, version by version."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.conformance.conftest import Backend
from tests.conformance.helpers import MINUTE, START, end, firing, held, nothing, register, schedule, schedule_of

from agentclock.core.actors import Actor
from agentclock.core.errors import NameTaken
from agentclock.core.model import Instant, RetryPolicy, Schedule, Target
from agentclock.core.planning import Plan, Situation, plan
from agentclock.core.revisions import Revision, RevisionKind
from agentclock.ports import Store
from agentclock.testing import FakeClock


def described(text: str) -> object:
    """A change that leaves the timetable alone."""
    return lambda schedule, now: replace(schedule, description=text)


def retimed(cron_expr: str) -> object:
    return lambda schedule, now: replace(schedule, cron_expr=cron_expr, timetable_since=now)


async def change(store: Store, what: object, schedule_id: str = "s1", by: Actor | None = None) -> Schedule:
    return await store.change_schedule(schedule_id, what, by=by)  # type: ignore[arg-type]


async def told(store: Store, schedule_id: str = "s1") -> list[tuple[int, str, Instant, str | None]]:
    """Oldest first."""
    found = await store.revisions(schedule_id)
    return [(one.version, one.kind.value, one.at, one.by) for one in reversed(found)]


async def forget(backend: Backend) -> None:
    """As if older code had written the schedules."""
    await backend.execute("DELETE FROM {prefix}schedule_revisions")


async def test_every_version_is_kept_with_who_made_it(store: Store, clock: FakeClock) -> None:
    rich = schedule(
        description="\u00fc\U0001f600",
        target=Target(name="other", endpoint="/agents/a/runs", payload={"deep": [1, None, "\0"]}),
        tags=("a", "b"),
        retry=RetryPolicy(max_retries=3),
        provenance={"agent": "x"},
        ping_url="https://ping.example/1",
        max_runs=9,
    )
    await store.insert_schedules([rich], by=Actor("ann"))
    clock.advance(60)
    changed = await change(store, retimed("*/5 * * * *"), by=Actor("bob"))
    clock.advance(60)
    assert await store.delete_schedule("s1", by=None)
    deleted, second, first = await store.revisions("s1")
    assert first == Revision(version=1, at=START - MINUTE, by="ann", kind=RevisionKind.CREATED, schedule=rich)
    assert second == Revision(version=2, at=START + MINUTE, by="bob", kind=RevisionKind.CHANGED, schedule=changed)
    gone = replace(changed, version=3, enabled=False, next_fire_at=None)
    assert deleted == Revision(version=3, at=START + 2 * MINUTE, kind=RevisionKind.DELETED, schedule=gone)
    assert [one.version for one in await store.revisions("s1", limit=2)] == [3, 2]


async def test_what_changes_nothing_leaves_nothing(store: Store) -> None:
    await store.insert_schedules([schedule(), schedule("s2", name="taken")], by=Actor("ann"))
    await change(store, lambda schedule, now: schedule, by=Actor("bob"))
    with pytest.raises(NameTaken):
        await change(store, lambda schedule, now: replace(schedule, name="taken"), by=Actor("bob"))
    assert not await store.delete_schedule("s1", "somebody else", by=Actor("bob"))
    await store.fire_due(firing(START, again_at=START + MINUTE), limit=5)
    assert await told(store) == [(1, "created", START - MINUTE, "ann")]
    assert await store.revisions("nobody") == []


async def test_schedules_that_were_refused_have_no_past(store: Store) -> None:
    await store.insert_schedules([schedule("s1", name="taken")])
    with pytest.raises(NameTaken):
        await store.insert_schedules([schedule("s2"), schedule("s3", name="taken")], by=Actor("ann"))
    assert await store.revisions("s2") == []


async def test_a_fire_counts_from_where_the_rows_before_end(store: Store, clock: FakeClock) -> None:
    """Also where the clock was set back: what is accounted for stays with the version that planned it."""
    await store.insert_schedules([schedule()])
    clock.advance(120)
    await store.fire_due(plan, limit=1)
    clock.jump(-180)
    await change(store, described("set back"))
    newest, first = await store.revisions("s1")
    assert (newest.at, newest.effective_from) == (START - MINUTE, START + 2 * MINUTE)
    assert (newest.schedule.last_fire_at, newest.schedule.run_count) == (START + 2 * MINUTE, 1)
    assert first.effective_from == START - MINUTE


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({}, START - MINUTE),  # what was changed later, but for the timetable, makes no difference to what was due
        ({"updated_at": START - 1}, START - MINUTE),
        ({"enabled": False, "updated_at": START - 1}, START - 1),  # by a fault, perhaps, which leaves timetable_since
        ({"enabled": False}, START - MINUTE),
    ],
)
async def test_a_version_without_a_revision_is_found(
    store: Store, backend: Backend, clock: FakeClock, fields: dict[str, object], at: Instant
) -> None:
    await store.insert_schedules([schedule(last_fire_at=START - 2, version=7, **fields)])
    await forget(backend)
    before = await schedule_of(store)
    after = await change(store, described("changed"), by=Actor("ann"))
    assert await told(store) == [(7, "found", at, None), (8, "changed", START, "ann")]
    changed, found = await store.revisions("s1")
    assert (found.schedule, changed.schedule) == (before, after)
    assert found.effective_from == at
    await change(store, described("again"))
    assert [version for version, *_ in await told(store)] == [7, 8, 9]


async def test_what_older_code_wrote_in_between_is_a_gap(store: Store, backend: Backend) -> None:
    await store.insert_schedules([schedule()])
    await backend.execute("UPDATE {prefix}schedules SET version = version + 2")
    assert await store.delete_schedule("s1", by=Actor("ann"))
    assert [(version, kind) for version, kind, *_ in await told(store)] == [
        (1, "created"),
        (3, "found"),
        (4, "deleted"),
    ]


async def test_a_schedule_that_cannot_be_planned_is_changed_by_us(store: Store, clock: FakeClock) -> None:
    def faulty(schedule: Schedule, situation: Situation, now: Instant) -> Plan:
        if schedule.id == "s2":
            raise ValueError("no such zone")
        return replace(nothing(schedule, situation, now), fault="unreadable" if schedule.id == "s1" else None)

    await store.insert_schedules([schedule("s1"), schedule("s2"), schedule("s3")])
    clock.advance(1)
    assert len((await store.fire_due(faulty, limit=5)).faults) == 2
    for schedule_id, reason in {"s1": "unreadable", "s2": "no such zone"}.items():
        newest = (await store.revisions(schedule_id))[0]
        assert (newest.version, newest.kind, newest.by) == (2, RevisionKind.CHANGED, "agentclock")
        assert newest.schedule == await schedule_of(store, schedule_id)
        assert (newest.schedule.enabled, newest.schedule.disabled_reason) == (False, reason)
    assert len(await store.revisions("s3")) == 1


async def test_an_unreadable_schedule_is_disabled_and_deleted_all_the_same(store: Store, backend: Backend) -> None:
    await store.insert_schedules([schedule()])
    await backend.execute("UPDATE {prefix}schedules SET tags = 'torn'")
    await store.fire_due(nothing, limit=5)
    assert await store.delete_schedule("s1", by=Actor("ann"))
    assert [version for version, *_ in await told(store)] == [1]


@pytest.mark.parametrize("body", ["{", "[]", "null", '{"id":"s1"}', '{"id":1}'])
async def test_an_unreadable_revision_is_a_gap(store: Store, backend: Backend, body: str) -> None:
    await store.insert_schedules([schedule()])
    await change(store, described("b"))
    await change(store, described("c"))
    await backend.execute("UPDATE {prefix}schedule_revisions SET body = ? WHERE version = 2", body)
    assert [version for version, *_ in await told(store)] == [1, 3]
    await backend.execute("UPDATE {prefix}schedule_revisions SET kind = 'whim' WHERE version = 3")
    assert [version for version, *_ in await told(store)] == [1]


async def test_a_revision_that_knew_less_is_read_with_defaults(store: Store, backend: Backend) -> None:
    await store.insert_schedules([schedule(catch_up_limit=5)])
    for column in ("catch_up_limit", "catch_up_stagger_seconds", "ping_url"):
        remove = "json_remove(body, '$.{0}')" if backend.dialect == "sqlite" else "(body::jsonb - '{0}')::text"
        await backend.execute("UPDATE {prefix}schedule_revisions SET body = " + remove.replace("{0}", column))
    (found,) = await store.revisions("s1")
    assert found.schedule == schedule()


async def test_prune_keeps_what_ruled_at_the_horizon(store: Store, clock: FakeClock) -> None:
    await store.insert_schedules([schedule(), schedule("untouched")])
    for minute in (1, 2, 3):
        clock.advance(60)
        await change(store, described(f"at {minute}"))
    await store.prune(START + 2 * MINUTE, 100)
    assert [version for version, *_ in await told(store)] == [2, 3, 4]
    await store.prune(START + 2 * MINUTE + 1, 100)
    assert [version for version, *_ in await told(store)] == [3, 4]
    await store.prune(START + 10 * MINUTE, 100)
    assert [version for version, *_ in await told(store)] == [4]
    assert [version for version, *_ in await told(store, "untouched")] == [1]


async def test_revisions_of_deleted_schedules_go_with_their_history(store: Store, clock: FakeClock) -> None:
    await register(store)
    await end(store, await held(store))
    await store.insert_schedules([schedule("s2")])
    clock.advance(60)
    assert await store.delete_schedule("s1")
    await store.prune(START, 100)
    assert [version for version, *_ in await told(store)] == [1, 2]
    assert await store.prune(START + 1, 100) == 1
    assert await told(store) == []
    assert len(await told(store, "s2")) == 1
