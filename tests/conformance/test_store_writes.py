"""Many schedules written at once: all of it or nothing, and the same as one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.conformance.conftest import Backend
from tests.conformance.helpers import ALL, MINUTE, START, firing, history, manual_id, schedule, schedule_of, triggering

from agentclock.core.actors import Actor
from agentclock.core.errors import AgentclockError, Conflict, LimitReached, NameTaken, NotFound, VersionConflict
from agentclock.core.model import Instant, Reason, Run, RunStatus, Schedule
from agentclock.core.notices import Subscription
from agentclock.ports import (
    AuditFilter,
    ChangeFunction,
    ChangeSchedule,
    DeleteSchedule,
    InsertSchedule,
    NoticeFilter,
    ScheduleFilter,
    ScheduleWrite,
    Store,
)
from agentclock.testing import FakeClock

ANN = Actor("ann", source="test")


def saying(text: str) -> ChangeFunction:
    return lambda s, now: replace(s, description=text)


def called(name: str) -> ChangeFunction:
    return lambda s, now: replace(s, name=name)


def boom(s: Schedule, now: Instant) -> Schedule:
    raise Conflict("boom")


async def some(store: Store, *ids: str, **fields: object) -> None:
    await store.insert_schedules([schedule(of, **fields) for of in ids])


async def names(store: Store) -> dict[str, str]:
    return {one.id: one.name for one in (await store.list_schedules(ScheduleFilter(), ALL)).items}


async def test_each_is_written_as_the_method_for_one_would(store: Store) -> None:
    await some(store, "s1", "s2", "s3")
    new = schedule("s4")
    answers = await store.write_schedules(
        [
            InsertSchedule(schedule=new),
            ChangeSchedule(schedule_id="s2", change=saying("changed")),
            DeleteSchedule(schedule_id="s1"),
            ChangeSchedule(schedule_id="s3", change=lambda s, now: s),
        ],
        by=ANN,
    )
    changed = replace(schedule("s2"), description="changed", version=2, updated_at=START)
    assert answers == [new, changed, None, schedule("s3")]
    assert await names(store) == {of: f"name of {of}" for of in ("s2", "s3", "s4")}
    assert (await schedule_of(store, "s2"), await schedule_of(store, "s4")) == (changed, new)
    told = {of: [(one.version, one.kind.value, one.by) for one in await store.revisions(of)] for of in ("s1", "s2")}
    assert told == {
        "s1": [(2, "deleted", "ann"), (1, "created", None)],
        "s2": [(2, "changed", "ann"), (1, "created", None)],
    }
    assert [one.by for one in await store.revisions("s4")] == ["ann"]
    entries = (await store.audit(AuditFilter(), ALL)).items
    assert sorted((one.action.value, one.schedule_id, one.schedule_name) for one in entries) == [
        ("schedule.changed", "s2", "name of s2"),
        ("schedule.created", "s4", "name of s4"),
        ("schedule.deleted", "s1", "name of s1"),
    ]


async def test_nothing_to_write_is_nothing(store: Store) -> None:
    assert await store.write_schedules([], by=ANN) == []


async def test_a_deletion_frees_its_name_and_cancels_what_waits(store: Store) -> None:
    await some(store, "s1", next_fire_at=START)
    await store.fire_due(firing(START), limit=1)
    again = replace(schedule("s2"), name="name of s1")
    await store.write_schedules([InsertSchedule(schedule=again), DeleteSchedule(schedule_id="s1")])
    assert await names(store) == {"s2": "name of s1"}
    assert [run.status for run in await history(store)] == [RunStatus.CANCELLED]


async def test_a_rename_takes_the_name_of_what_is_deleted_and_leaves_its_own(store: Store) -> None:
    await some(store, "s1", "s2")
    new = replace(schedule("s3"), name="name of s2")
    await store.write_schedules(
        [
            InsertSchedule(schedule=new),
            ChangeSchedule(schedule_id="s2", change=called("name of s1")),
            DeleteSchedule(schedule_id="s1"),
        ]
    )
    assert await names(store) == {"s2": "name of s1", "s3": "name of s2"}


async def test_one_change_sees_what_the_one_before_has_made(store: Store) -> None:
    await some(store, "s1")
    answers = await store.write_schedules(
        [
            ChangeSchedule(schedule_id="s1", change=saying("one")),
            ChangeSchedule(
                schedule_id="s1",
                change=lambda s, now: replace(s, description=f"{s.description}, two"),
                expected_version=2,
            ),
        ]
    )
    assert [one and (one.description, one.version) for one in answers] == [("one", 2), ("one, two", 3)]
    assert await schedule_of(store) == answers[1]
    assert [one.version for one in await store.revisions("s1")] == [3, 2, 1]


FINE: tuple[ScheduleWrite, ...] = (
    DeleteSchedule(schedule_id="s1"),
    ChangeSchedule(schedule_id="s2", change=saying("changed")),
    InsertSchedule(schedule=schedule("s4")),
)
REFUSED: list[tuple[ScheduleWrite, type[AgentclockError], str]] = [
    (DeleteSchedule(schedule_id="nobody"), NotFound, "Schedule"),
    (DeleteSchedule(schedule_id="s1"), NotFound, "Schedule"),
    (DeleteSchedule(schedule_id="s3", expected_version=7), VersionConflict, "changed"),
    (ChangeSchedule(schedule_id="nobody", change=saying("x")), NotFound, "Schedule"),
    (ChangeSchedule(schedule_id="s1", change=saying("x")), NotFound, "Schedule"),
    (ChangeSchedule(schedule_id="s3", change=saying("x"), expected_version=7), VersionConflict, "changed"),
    (ChangeSchedule(schedule_id="s3", change=boom), Conflict, "boom"),
    (ChangeSchedule(schedule_id="s3", change=called("name of s2")), NameTaken, "name of s2"),
    (InsertSchedule(schedule=replace(schedule("s5"), name="name of s3")), NameTaken, "name of s3"),
    (InsertSchedule(schedule=replace(schedule("s5"), name="name of s4")), NameTaken, "name of s4"),
    (InsertSchedule(schedule=replace(schedule("s3"), name="other")), Conflict, "id 's3' already exists"),
]


@pytest.mark.parametrize(("refused", "error", "words"), REFUSED)
async def test_one_that_fails_leaves_nothing(
    store: Store, refused: ScheduleWrite, error: type[AgentclockError], words: str
) -> None:
    await some(store, "s1", "s2", "s3")
    before = (await store.list_schedules(ScheduleFilter(), ALL)).items
    with pytest.raises(error, match=words):
        await store.write_schedules([*FINE, refused], by=ANN)
    assert (await store.list_schedules(ScheduleFilter(), ALL)).items == before
    assert [one.kind.value for one in await store.revisions("s2")] == ["created"]
    assert (await store.audit(AuditFilter(), ALL)).items == ()
    # What failed has not spoilt the store.
    assert len(await store.write_schedules(FINE, by=ANN)) == 3


async def test_changes_and_deletions_are_narrowed_to_an_owner(store: Store) -> None:
    await some(store, "mine", user_id="ann")
    await some(store, "theirs", user_id="bob")
    for write in (DeleteSchedule(schedule_id="theirs"), ChangeSchedule(schedule_id="theirs", change=saying("x"))):
        with pytest.raises(NotFound):
            await store.write_schedules([ChangeSchedule(schedule_id="mine", change=saying("x")), write], user_id="ann")
    assert [one.version for one in (await store.list_schedules(ScheduleFilter(), ALL)).items] == [1, 1]
    await store.write_schedules([DeleteSchedule(schedule_id="mine")], user_id="ann")
    assert list(await names(store)) == ["theirs"]


async def test_the_limit_of_an_owner_counts_what_there_is_afterwards(store: Store) -> None:
    mine = [schedule(f"s{number}", user_id="ann") for number in range(4)]
    await store.insert_schedules(mine[:2])
    inserts: Sequence[ScheduleWrite] = [InsertSchedule(schedule=one) for one in mine[2:]]
    with pytest.raises(LimitReached):
        await store.write_schedules([*inserts, DeleteSchedule(schedule_id="s0")], owner_limit=2)
    assert len(await names(store)) == 2
    gone = [DeleteSchedule(schedule_id=of) for of in ("s0", "s1")]
    await store.write_schedules([*inserts, *gone], owner_limit=2)
    assert sorted(await names(store)) == ["s2", "s3"]


async def test_whoever_listens_is_told_of_each(backend: Backend) -> None:
    store = await backend.open(subscriptions=[Subscription(webhook="ops")])
    await some(store, "s1", "s2")
    off = [ChangeSchedule(schedule_id=of, change=lambda s, now: replace(s, enabled=False)) for of in ("s1", "s2")]
    for write in off:
        await store.write_schedules([write], by=ANN)
    one_by_one = sorted(one.notice.kind.value for one in (await store.notices(NoticeFilter(), ALL)).items)
    assert len(one_by_one) == 2
    on = [ChangeSchedule(schedule_id=of, change=lambda s, now: replace(s, enabled=True)) for of in ("s1", "s2")]
    await store.write_schedules(on)
    await store.write_schedules(off, by=ANN)
    found = (await store.notices(NoticeFilter(), ALL)).items
    assert sorted(one.notice.kind.value for one in found) == sorted(one_by_one * 2)


Told = list[tuple[Schedule, Run]]


def forfeiting(schedule_id: str, told: Told, change: ChangeFunction) -> ChangeSchedule:
    return ChangeSchedule(
        schedule_id=schedule_id, change=change, expected_version=1, forfeit=lambda *missed: told.append(missed)
    )


def at(hour: int) -> ChangeFunction:
    """Another timetable, for a schedule of which nothing is due any more."""

    def change(s: Schedule, now: Instant) -> Schedule:
        assert s.next_fire_at is not None
        assert s.next_fire_at > now
        return replace(s, cron_expr=f"0 {hour} * * *", next_fire_at=START + hour * 60 * MINUTE)

    return change


async def test_what_is_due_is_recorded_with_the_change(store: Store, clock: FakeClock) -> None:
    await some(store, "s1", "s2", "s3")
    clock.advance(2 * 60)
    told: Told = []
    writes = [forfeiting("s2", told, at(5)), ChangeSchedule(schedule_id="s3", change=saying("still due"))]
    [after, _] = await store.write_schedules(writes, by=ANN)
    [missed] = await history(store, "s2")
    assert (missed.status, missed.reason) == (RunStatus.MISSED, Reason.CHANGED)
    assert (missed.fire_at, missed.last_fire_at, missed.fire_count) == (START, START + 2 * MINUTE, 3)
    assert [run for _, run in told] == [missed]
    assert after is not None
    assert after == await schedule_of(store, "s2")
    assert (after.cron_expr, after.version) == ("0 5 * * *", 2)
    assert [await history(store, of) for of in ("s1", "s3")] == [[], []]
    assert (await schedule_of(store, "s3")).next_fire_at == START


async def test_what_is_due_stays_due_if_the_change_fails(store: Store, clock: FakeClock) -> None:
    await some(store, "s1", "s2")
    clock.advance(2 * 60)
    before = await schedule_of(store, "s1")
    told: Told = []
    with pytest.raises(Conflict, match="boom"):
        await store.write_schedules(
            [forfeiting("s1", told, at(5)), ChangeSchedule(schedule_id="s2", change=boom)], by=ANN
        )
    assert await history(store, "s1") == []
    assert await schedule_of(store, "s1") == before
    with pytest.raises(NotFound):
        await store.write_schedules([forfeiting("s1", told, at(5))], user_id="bob")
    fired = await store.fire_due(firing(START), limit=10)
    assert {run.schedule_id for run in fired.runs} == {"s1", "s2"}


async def test_nothing_is_missed_where_nothing_is_due(store: Store) -> None:
    await some(store, "s1", next_fire_at=START + MINUTE)
    told: Told = []
    await store.write_schedules([forfeiting("s1", told, at(5))])
    assert (told, await history(store, "s1")) == ([], [])


async def test_thousands_at_once(store: Store) -> None:
    ids = [f"s{number:04}" for number in range(1_500)]
    await some(store, *ids[:1_000])
    writes = [
        *(InsertSchedule(schedule=schedule(of)) for of in ids[1_000:]),
        *(ChangeSchedule(schedule_id=of, change=saying("new")) for of in ids[:500]),
        *(DeleteSchedule(schedule_id=of) for of in ids[500:1_000]),
    ]
    answers = await store.write_schedules(writes, by=ANN)
    assert sum(one is None for one in answers) == 500
    assert (await store.list_schedules(ScheduleFilter(), ALL)).total_count == 1_000
    assert (await store.audit(AuditFilter(), ALL)).total_count == 1_500
    await store.trigger(ids[0], triggering(manual_id(START)))
