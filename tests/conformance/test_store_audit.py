"""The audit log: an entry for everything that somebody did and that made a difference, and for nothing else."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from typing import Any

import pytest
from tests.conformance.conftest import Backend
from tests.conformance.helpers import (
    ALL,
    MINUTE,
    START,
    detached,
    end,
    firing,
    held,
    manual_id,
    nothing,
    paused,
    queued,
    register,
    schedule,
    triggering,
)

from agentclock.core.actors import Actor
from agentclock.core.audit import Action, AuditEntry
from agentclock.core.backfills import Backfill, Choice, runs_of
from agentclock.core.errors import InvalidField, NameTaken, VersionConflict
from agentclock.core.model import Instruction, InstructionKind, RetryPolicy, RunStatus, Target, TriggerNote
from agentclock.core.planning import plan_trigger
from agentclock.core.triggers import TriggerKey
from agentclock.ports import AuditFilter, PageRequest, Store
from agentclock.testing import FakeClock

ANN = Actor("ann", "192.0.2.1")
BACKFILL = Backfill(id="b1", schedule_id="s1", from_at=START - MINUTE, until_at=START, created_at=START)


async def log(store: Store, **where: Any) -> list[AuditEntry]:
    """Oldest first."""
    page = await store.audit(AuditFilter(**where), ALL)
    assert page.total_count == len(page.items)
    assert not page.faults
    return list(reversed(page.items))


async def told(store: Store) -> list[tuple[Action, Any]]:
    return [(entry.action, entry.details) for entry in await log(store)]


async def test_an_entry_says_who_did_what_to_what(store: Store, clock: FakeClock) -> None:
    await store.insert_schedules([schedule(user_id="bob", name="reports")], by=ANN)
    clock.advance(60)
    made = await store.trigger("s1", triggering(manual_id(clock.now())), by=Actor())
    created, triggered = await log(store)
    assert created == AuditEntry(
        id=created.id,
        at=START,
        action=Action.CREATED,
        actor="ann",
        source="192.0.2.1",
        user_id="bob",
        schedule_id="s1",
        schedule_name="reports",
    )
    assert (triggered.at, triggered.actor, triggered.source) == (START + MINUTE, None, None)
    assert (triggered.user_id, triggered.schedule_name, triggered.run_id) == ("bob", "reports", made.run.id)
    assert triggered.id > created.id


async def test_what_happens_within_a_moment_stands_in_its_order(store: Store, clock: FakeClock) -> None:
    await store.insert_schedules([schedule()])
    for number in range(20):
        clock.advance(ms=number % 5 == 0)
        text = str(number)
        await store.change_schedule("s1", lambda before, now, text=text: replace(before, name=text), by=ANN)
    entries = await log(store)
    assert [entry.schedule_name for entry in entries] == [str(number) for number in range(20)]
    assert [uuid.UUID(entry.id).version for entry in entries] == [7] * 20


async def test_entries_of_many_stand_in_their_order(store: Store) -> None:
    names = [f"s{number}" for number in range(50)]
    await store.insert_schedules([schedule(name) for name in names], by=ANN)
    assert [entry.schedule_id for entry in await log(store)] == names


CHANGES = [
    ({"description": "b", "tags": ("x",)}, Action.CHANGED, {"fields": ["description", "tags"]}),
    ({"name": "b", "user_id": "eve"}, Action.CHANGED, {"fields": ["name", "user_id"]}),
    (
        {"cron_expr": "0 0 * * *", "next_fire_at": START + MINUTE, "timetable_since": START},
        Action.CHANGED,
        {"fields": ["cron_expr"]},
    ),
    ({"target": Target(endpoint="/x", payload={"secret": "no"})}, Action.CHANGED, {"fields": ["endpoint", "payload"]}),
    ({"retry": RetryPolicy(max_retries=5)}, Action.CHANGED, {"fields": ["max_retries"]}),
    (
        {"next_fire_at": START + 5, "zone_data_version": "2099a"},
        Action.CHANGED,
        {"fields": ["next_fire_at", "zone_data_version"]},
    ),
    ({"enabled": False, "next_fire_at": None}, Action.DISABLED, None),
    ({"enabled": False, "disabled_reason": "broken"}, Action.DISABLED, {"reason": "broken"}),
    ({"enabled": False, "description": "b"}, Action.DISABLED, {"fields": ["description"]}),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "action", "details"), CHANGES)
async def test_changes_name_their_fields_and_no_values(
    store: Store, fields: dict[str, Any], action: Action, details: Any
) -> None:
    await store.insert_schedules([schedule()])
    await store.change_schedule("s1", lambda before, now: replace(before, **fields), by=ANN)
    assert await told(store) == [(action, details)]


async def test_enabling_ends_the_reason(store: Store) -> None:
    await store.insert_schedules([schedule(enabled=False, disabled_reason="broken")])
    mended = {"enabled": True, "disabled_reason": None, "next_fire_at": START + 1}
    await store.change_schedule("s1", lambda before, now: replace(before, **mended), by=ANN)
    assert await told(store) == [(Action.ENABLED, None)]


async def test_a_renamed_and_a_deleted_schedule_are_called_as_they_are_then(store: Store) -> None:
    await store.insert_schedules([schedule(name="first")], by=ANN)
    await store.change_schedule("s1", lambda before, now: replace(before, name="second"), by=ANN)
    assert await store.delete_schedule("s1", by=ANN)
    await store.insert_schedules([schedule("s2", name="second")])
    assert [(entry.action, entry.schedule_name) for entry in await log(store)] == [
        (Action.CREATED, "first"),
        (Action.CHANGED, "second"),
        (Action.DELETED, "second"),
    ]


async def test_an_unreadable_schedule_is_deleted_on_record(store: Store, backend: Backend) -> None:
    await store.insert_schedules([schedule()])
    await backend.execute("UPDATE {prefix}schedules SET tags = 'torn'")
    assert await store.delete_schedule("s1", by=ANN)
    assert await told(store) == [(Action.DELETED, None)]


async def test_what_made_no_difference_is_not_on_record(store: Store, clock: FakeClock) -> None:
    await register(store)
    claim = await held(store)
    await store.insert_schedules([schedule("s2", name="taken", enabled=False)])
    with pytest.raises(NameTaken):
        await store.insert_schedules([schedule("s3"), schedule("s4", name="taken")], by=ANN)
    with pytest.raises(NameTaken):
        await store.change_schedule("s1", lambda before, now: replace(before, name="taken"), by=ANN)
    with pytest.raises(VersionConflict):
        await store.change_schedule("s1", lambda before, now: replace(before, name="b"), expected_version=9, by=ANN)
    await store.change_schedule("s1", lambda before, now: before, by=ANN)
    assert not await store.delete_schedule("s1", "somebody else", by=ANN)
    assert await store.request_cancel(manual_id(START), by=ANN) is None
    assert await store.instruct(claim.run.id, Instruction(kind=InstructionKind.CONTINUE), by=ANN) is None
    assert await store.cancel_backfill("nobody", by=ANN) is None
    await end(store, claim)
    assert await store.request_cancel(claim.run.id, by=ANN) is RunStatus.SUCCESS
    assert await log(store) == []


async def test_what_nobody_did_is_not_on_record(store: Store) -> None:
    """`by` None, and what the engine does by the rules."""
    await store.insert_schedules([schedule()])
    await store.change_schedule("s1", lambda before, now: replace(before, description="b"))
    await store.fire_due(firing(START, again_at=START), limit=1)
    await store.fire_due(firing(START + 1, cancel=True), limit=1)
    await store.trigger("s1", triggering(manual_id(START)))
    await store.trigger("s1", triggering(manual_id(START)))
    assert await store.delete_schedule("s1")
    assert await log(store) == []


async def test_a_schedule_that_cannot_be_planned_is_disabled_by_us(store: Store) -> None:
    await store.insert_schedules([schedule()])
    await store.fire_due(lambda s, situation, now: replace(nothing(s, situation, now), fault="no such zone"), limit=1)
    (entry,) = await log(store)
    assert (entry.action, entry.actor, entry.details) == (Action.DISABLED, "agentclock", {"reason": "no such zone"})


async def test_a_trigger_is_on_record_once_with_its_reason(store: Store) -> None:
    await store.insert_schedules([schedule(next_fire_at=None)])
    note = TriggerNote(reason="nightly", by="ann", has_payload=True, payload={"secret": "no"})
    for _ in range(2):
        await store.trigger(
            "s1",
            lambda s, situation, now: plan_trigger(
                s, situation, now, manual_id(now), fire_at=START - MINUTE, note=note
            ),
            key=TriggerKey(key="k", fingerprint="f"),
            by=ANN,
        )
    skipped = await store.trigger("s1", triggering(manual_id(START)), by=ANN)
    assert await told(store) == [
        (Action.TRIGGERED, {"fire_at": "2025-12-31T23:59:00.000Z", "reason": "nightly"}),
        (Action.TRIGGERED, {"fire_at": "2026-01-01T00:00:00.000Z"}),
    ]
    assert (await log(store))[1].run_id == skipped.run.id


@pytest.mark.parametrize("state", ["pending", "running", "paused", "detached"])
async def test_a_run_is_cancelled_once(store: Store, state: str) -> None:
    await register(store)
    match state:
        case "pending":
            (run,) = await queued(store, "s1")
        case "running":
            run = (await held(store)).run
        case "paused":
            run = await paused(store)
        case _:
            run = await detached(store)
    for _ in range(2):
        await store.request_cancel(run.id, by=ANN)
    (entry,) = await log(store)
    assert (entry.action, entry.run_id, entry.schedule_id) == (Action.CANCELLED, run.id, "s1")
    assert entry.schedule_name == "name of s1"


ANSWERS = [
    ({"action": "approve", "note": "go ahead"}, Action.APPROVED, {"note": "go ahead"}),
    ({"action": "reject"}, Action.REJECTED, None),
    ({"values": {"account": "secret"}}, Action.ANSWERED, None),
    (None, Action.ANSWERED, None),
]


@pytest.mark.parametrize(("answers", "action", "details"), ANSWERS)
async def test_answers_are_on_record(store: Store, answers: Any, action: Action, details: Any) -> None:
    await register(store)
    run = await paused(store, user_id="bob")
    instruction = Instruction(kind=InstructionKind.CONTINUE, answers=answers, by="ann")
    both = await asyncio.gather(*(store.instruct(run.id, instruction, by=ANN) for _ in range(2)))
    assert both.count(None) == 1
    (entry,) = await log(store)
    assert (entry.action, entry.details, entry.run_id, entry.user_id) == (action, details, run.id, "bob")


async def test_calling_off_a_paused_run_is_a_cancel(store: Store) -> None:
    await register(store)
    run = await paused(store)
    assert await store.instruct(run.id, Instruction(kind=InstructionKind.CANCEL), by=ANN)
    assert await told(store) == [(Action.CANCELLED, None)]


async def test_backfills_are_on_record(store: Store) -> None:
    await store.insert_schedules([schedule(user_id="bob")])
    runs = runs_of(BACKFILL, schedule(), [Choice(fire_at=START - MINUTE, number=1)])
    assert await store.insert_backfill(BACKFILL, runs, by=ANN) == len(runs) == 1
    for _ in range(2):
        await store.cancel_backfill("b1", by=ANN)
    assert await told(store) == [
        (
            Action.BACKFILLED,
            {
                "backfill_id": "b1",
                "from": "2025-12-31T23:59:00.000Z",
                "until": "2026-01-01T00:00:00.000Z",
                "runs": 1,
            },
        ),
        (Action.BACKFILL_CANCELLED, {"backfill_id": "b1"}),
    ]
    assert {entry.user_id for entry in await log(store)} == {"bob"}


async def filled(store: Store, clock: FakeClock) -> list[AuditEntry]:
    """Three creations a minute apart, of ann's, bob's and nobody's schedule, then what became of them."""
    for number, owner in enumerate(("ann", "bob", None), start=1):
        await store.insert_schedules([schedule(f"s{number}", user_id=owner, next_fire_at=None)], by=Actor(owner))
        clock.advance(60)
    await store.trigger("s1", triggering(manual_id(clock.now())), by=Actor("key"))
    await store.delete_schedule("s2", by=Actor("key"))
    return await log(store)


async def test_the_log_is_searched(store: Store, clock: FakeClock) -> None:
    ann, bob, nobody, triggered, deleted = await filled(store, clock)
    searches: list[tuple[dict[str, Any], list[AuditEntry]]] = [
        ({"user_id": "ann"}, [ann, triggered]),
        ({"actor": "key"}, [triggered, deleted]),
        ({"actor": "nobody"}, []),
        ({"schedule_id": "s2"}, [bob, deleted]),
        ({"run_id": triggered.run_id}, [triggered]),
        ({"run_id": "not an id"}, []),
        ({"run_id": "\0"}, []),
        ({"actions": (Action.DELETED,)}, [deleted]),
        ({"actions": (Action.CREATED, Action.DELETED), "user_id": "bob"}, [bob, deleted]),
        ({"since": START + MINUTE}, [bob, nobody, triggered, deleted]),
        ({"until": START + MINUTE}, [ann]),
        ({"since": START + MINUTE, "until": START + 3 * MINUTE}, [bob, nobody]),
        ({"schedule_id": "s1", "actor": "key", "actions": (Action.TRIGGERED,)}, [triggered]),
    ]
    for where, expected in searches:
        assert await log(store, **where) == expected, where


async def test_the_log_is_read_page_by_page(store: Store, clock: FakeClock) -> None:
    entries = await filled(store, clock)
    seen: list[AuditEntry] = []
    page = await store.audit(AuditFilter(), PageRequest(limit=2))
    while True:
        assert page.total_count == 5
        seen += page.items
        if page.next_cursor is None:
            break
        await store.insert_schedules([schedule(f"new{len(seen)}", next_fire_at=None)])  # by nobody
        page = await store.audit(AuditFilter(), PageRequest(limit=2, cursor=page.next_cursor))
    assert seen == list(reversed(entries))
    second = await store.audit(AuditFilter(), PageRequest(limit=2, page=2))
    assert list(second.items) == seen[2:4]
    for cursor in ("x", "WzFd", "WyIwIiwgMV0"):
        with pytest.raises(InvalidField, match="cursor"):
            await store.audit(AuditFilter(), PageRequest(cursor=cursor))


async def test_prune_leaves_the_log_alone(store: Store, clock: FakeClock) -> None:
    before = await filled(store, clock)
    clock.advance(10**9)
    await store.prune(clock.now(), 1000)
    assert await log(store) == before


async def test_an_entry_that_cannot_be_read_is_reported(store: Store, backend: Backend, clock: FakeClock) -> None:
    entries = await filled(store, clock)
    await backend.execute("UPDATE {prefix}audit_log SET action = 'whim' WHERE action = ?", "schedule.deleted")
    page = await store.audit(AuditFilter(), ALL)
    assert list(reversed(page.items)) == entries[:-1]
    assert [(fault.table, fault.row_id) for fault in page.faults] == [("audit_log", entries[-1].id)]
    assert page.total_count == 5


async def test_text_that_no_database_stores_is_on_record(store: Store) -> None:
    await store.insert_schedules([schedule()], by=Actor("an\0n\ud800", "\0"))
    (entry,) = await log(store)
    assert (entry.actor, entry.source) == ("an\ufffdn?", "\ufffd")
