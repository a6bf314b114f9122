"""The use cases, on a store in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from tests.apis import DRAFT, PAUSED, WORKER, World, world

from agentclock.core.errors import (
    CorruptRow,
    EngineStopped,
    InvalidField,
    NameTaken,
    NotFound,
    ScheduleDisabled,
    StoreUnavailable,
    VersionConflict,
)
from agentclock.core.events import RunChanged, RunSettled, ScheduleChanged
from agentclock.core.model import Cause, Instant, Outcome, OutcomeKind, RunStatus, Schedule
from agentclock.core.planning import plan
from agentclock.core.zones import tzdata_version
from agentclock.drafts import ScheduleDraft
from agentclock.ports import PageRequest, RunFilter, ScheduleFilter
from agentclock.runs import PAGED_ROWS, RunDetail
from agentclock.scheduler import EngineState

MISSING = "00000000-0000-7000-8000-000000000000"
HOUR = 3600


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


def at(hours: float) -> Instant:
    """So many hours after the clock's start, 2026-01-01T00:00:00Z."""
    return 1_767_225_600_000 + round(hours * HOUR * 1000)


# create, get, list


async def test_a_created_schedule_is_stored_as_answered(here: World) -> None:
    made = await here.scheduler.create(DRAFT | {"timezone": "europe/berlin", "payload": {"message": "hi"}})
    assert await here.scheduler.get(made.id) == made
    assert (made.timezone, made.next_fire_at, made.zone_data_version) == ("Europe/Berlin", at(2), tzdata_version())
    assert (made.created_at, made.updated_at, made.timetable_since, made.version) == (at(0), None, at(0), 1)
    assert here.wakes == 1


async def test_mappings_and_drafts_mean_the_same(here: World) -> None:
    one = await here.scheduler.create(DRAFT | {"name": "one"})
    two = await here.scheduler.create(ScheduleDraft(**DRAFT | {"name": "two"}))
    assert replace(one, id=two.id, name="two") == two


async def test_ids_sort_by_time(here: World) -> None:
    ids = []
    for number in range(3):
        here.clock.advance(ms=1)
        ids.append(await here.create(name=f"s{number}"))
    assert ids == sorted(ids)
    assert [row.id for row in (await here.scheduler.list()).items] == ids[::-1]


async def test_a_name_is_taken_once_per_owner(here: World) -> None:
    await here.scheduler.create(DRAFT)
    with pytest.raises(NameTaken, match="Schedule with name 'nightly' already exists"):
        await here.scheduler.create(DRAFT)
    await here.scheduler.create(DRAFT, user_id="ada")
    with pytest.raises(NameTaken):
        await here.scheduler.create(DRAFT, user_id="ada")


async def test_a_refused_draft_leaves_nothing_behind(here: World) -> None:
    for wrong in ({"cron_expr": "x"}, {"timezone": "Mars"}, {"target": "moon"}, {"run_at": "2020-01-01"}):
        with pytest.raises(InvalidField):
            await here.scheduler.create(DRAFT | wrong)
    assert (await here.scheduler.list()).total_count == 0
    assert here.wakes == 0


async def test_a_target_must_be_configured(here: World) -> None:
    assert (await here.scheduler.get(await here.create(target="hooks"))).target.name == "hooks"
    with pytest.raises(InvalidField, match="unknown target 'moon': known are default, hooks"):
        await here.create(name="other", target="moon")


@pytest.mark.parametrize("schedule_id", [MISSING, "", "nonsense", "a\0b", "\ud800", "x" * 10_000])
async def test_what_is_not_there_is_not_found(here: World, schedule_id: str) -> None:
    calls = (
        here.scheduler.get(schedule_id),
        here.scheduler.change(schedule_id, {"max_retries": 1}),
        here.scheduler.delete(schedule_id),
        here.scheduler.enable(schedule_id),
        here.scheduler.disable(schedule_id),
        here.scheduler.trigger(schedule_id),
        here.scheduler.runs(schedule_id),
    )
    for call in calls:
        with pytest.raises(NotFound, match="Schedule not found"):
            await call
    with pytest.raises(NotFound, match="Schedule run not found"):
        await here.scheduler.run(schedule_id, schedule_id)


async def test_an_owner_sees_and_touches_only_what_is_his(here: World) -> None:
    made = await here.scheduler.create(DRAFT, user_id="ada")
    detail = await here.scheduler.trigger(made.id, user_id="ada")
    assert detail.run.user_id == "ada"
    calls = (
        here.scheduler.get(made.id, user_id="bob"),
        here.scheduler.change(made.id, {"max_retries": 1}, user_id="bob"),
        here.scheduler.delete(made.id, user_id="bob"),
        here.scheduler.enable(made.id, user_id="bob"),
        here.scheduler.disable(made.id, user_id="bob"),
        here.scheduler.trigger(made.id, user_id="bob"),
        here.scheduler.runs(made.id, RunFilter(user_id="bob")),
        here.scheduler.run(made.id, detail.run.id, user_id="bob"),
    )
    for call in calls:
        with pytest.raises(NotFound):
            await call
    assert (await here.scheduler.list(ScheduleFilter(user_id="bob"))).items == ()
    assert await here.scheduler.run(made.id, detail.run.id, user_id="ada") == detail
    assert (await here.scheduler.list(ScheduleFilter(user_id="ada"))).items == (made,)


async def test_lists_refuse_what_no_row_can_match(here: World) -> None:
    for where in (ScheduleFilter(name_contains="\0"), ScheduleFilter(tag="\ud800"), ScheduleFilter(target="a\0")):
        with pytest.raises(InvalidField):
            await here.scheduler.list(where)
    for page in (PageRequest(page=PAGED_ROWS // 100 + 2), PageRequest(cursor="\0"), PageRequest(cursor="junk")):
        with pytest.raises(InvalidField):
            await here.scheduler.list(page=page)
    assert (await here.scheduler.list(page=PageRequest(page=PAGED_ROWS // 100 + 1))).items == ()


# change


async def test_a_change_of_other_fields_leaves_the_next_fire_alone(here: World) -> None:
    before = await here.scheduler.get(await here.create())
    here.clock.advance(4 * HOUR)  # the fire at 03:00 is owed by now
    after = await here.scheduler.change(before.id, {"max_retries": 3, "tags": ["a"], "payload": {"x": 1}})
    assert (after.next_fire_at, after.timetable_since) == (before.next_fire_at, before.timetable_since)
    assert (after.version, after.updated_at, after.retry.max_retries) == (2, at(4), 3)
    assert after.target.endpoint == before.target.endpoint


@pytest.mark.parametrize(
    "patch",
    [
        {"cron_expr": "30 3 * * *"},
        {"timezone": "Europe/Berlin"},
        {"interval_seconds": 60},
        {"run_at": "2026-02-01"},
        {"start_at": "2026-01-01T00:00:00Z"},
        {"end_at": "2027-01-01"},
        {"max_runs": 9},
    ],
)
async def test_a_change_of_the_timetable_counts_from_now(here: World, patch: dict[str, Any]) -> None:
    schedule_id = await here.create()
    here.clock.advance(4 * HOUR)
    after = await here.scheduler.change(schedule_id, patch)
    assert after.timetable_since == at(4)
    assert after.next_fire_at is not None
    assert after.next_fire_at > at(4)
    assert here.wakes == 2


async def test_a_change_of_nothing_is_none(here: World) -> None:
    before = await here.scheduler.get(await here.create())
    here.clock.advance(HOUR)
    for patch in ({}, {"cron_expr": before.cron_expr}, {"name": before.name, "timezone": "utc", "run_at": None}):
        assert await here.scheduler.change(before.id, patch) == before


async def test_null_empties_what_may_be_empty(here: World) -> None:
    sent = {"description": "d", "payload": {"a": 1}, "start_at": "2025-01-01", "end_at": "2027-01-01", "max_runs": 5}
    schedule_id = await here.create(**sent)
    after = await here.scheduler.change(schedule_id, dict.fromkeys(sent))
    assert (after.description, after.target.payload) == (None, None)
    assert (after.start_at, after.end_at, after.max_runs) == (None, None, None)
    assert after.cron_expr == DRAFT["cron_expr"]


async def test_a_rename_may_not_collide(here: World) -> None:
    first, second = await here.create(), await here.create(name="second")
    with pytest.raises(NameTaken):
        await here.scheduler.change(second, {"name": "nightly"})
    assert (await here.scheduler.change(first, {"name": "nightly"})).version == 1


async def test_a_change_based_on_an_old_version_is_refused(here: World) -> None:
    schedule_id = await here.create()
    await here.scheduler.change(schedule_id, {"max_retries": 1}, expected_version=1)
    with pytest.raises(VersionConflict):
        await here.scheduler.change(schedule_id, {"max_retries": 2}, expected_version=1)
    assert (await here.scheduler.get(schedule_id)).retry.max_retries == 1


async def test_a_refused_change_changes_nothing(here: World) -> None:
    before = await here.scheduler.get(await here.create())
    for wrong in (
        {"max_retries": 1, "cron_expr": "junk"},
        {"name": "x", "target": "moon"},
        {"name": "y", "overlap": 1},
    ):
        with pytest.raises(InvalidField):
            await here.scheduler.change(before.id, wrong)
    assert await here.scheduler.get(before.id) == before


# enable, disable, delete


async def test_a_disabled_schedule_owes_nothing(here: World) -> None:
    schedule_id = await here.create()
    off = await here.scheduler.disable(schedule_id)
    assert (off.enabled, off.next_fire_at) == (False, None)
    assert await here.scheduler.disable(schedule_id) == off
    here.clock.advance(30 * HOUR)
    on = await here.scheduler.enable(schedule_id)
    assert (on.enabled, on.next_fire_at, on.timetable_since) == (True, at(51), at(30))


async def test_enabling_forgets_why_it_was_disabled(here: World) -> None:
    schedule_id = await here.create()
    off = replace(await here.scheduler.disable(schedule_id), disabled_reason="unreadable")
    await here.store.change_schedule(schedule_id, lambda row, now: off)
    assert (await here.scheduler.enable(schedule_id)).disabled_reason is None


async def test_enabling_what_is_enabled_changes_nothing(here: World) -> None:
    before = await here.scheduler.get(await here.create())
    here.clock.advance(4 * HOUR)
    assert await here.scheduler.enable(before.id) == before


async def test_a_disabled_schedule_can_be_edited_and_enabled(here: World) -> None:
    schedule_id = await here.create()
    await here.scheduler.disable(schedule_id)
    assert (await here.scheduler.change(schedule_id, {"cron_expr": "0 1 * * *"})).next_fire_at is None
    assert (await here.scheduler.enable(schedule_id)).next_fire_at == at(1)


async def test_enabling_a_finished_one_off_is_no_error(here: World) -> None:
    schedule_id = await here.create(cron_expr=None, run_at="2026-01-01T01:00:00Z")
    await here.scheduler.disable(schedule_id)
    here.clock.advance(2 * HOUR)
    assert (await here.scheduler.enable(schedule_id)).next_fire_at is None


async def test_enabling_an_unreadable_timetable_names_the_field(here: World) -> None:
    schedule_id = await here.create()
    await here.scheduler.disable(schedule_id)
    await here.store.change_schedule(schedule_id, lambda row, now: replace(row, timezone="Mars/Olympus"))
    with pytest.raises(InvalidField, match="timezone"):
        await here.scheduler.enable(schedule_id)
    await here.store.change_schedule(schedule_id, lambda row, now: replace(row, timezone="UTC", cron_expr="junk"))
    with pytest.raises(InvalidField, match="cron_expr"):
        await here.scheduler.enable(schedule_id)
    assert here.scheduler.describe(await here.scheduler.get(schedule_id)).explanation is None


async def test_a_deleted_schedule_is_gone_and_its_name_free(here: World) -> None:
    schedule_id = await here.create()
    await here.scheduler.delete(schedule_id)
    with pytest.raises(NotFound):
        await here.scheduler.get(schedule_id)
    with pytest.raises(NotFound):
        await here.scheduler.delete(schedule_id)
    await here.create()


# trigger


async def test_a_trigger_makes_a_manual_run_and_leaves_the_timetable_alone(here: World) -> None:
    before = await here.scheduler.get(await here.create())
    detail = await here.scheduler.trigger(before.id)
    run = detail.run
    assert (run.cause, run.status, run.fire_at, run.schedule_id) == (Cause.MANUAL, RunStatus.PENDING, at(0), before.id)
    assert not detail.is_settled
    assert here.wakes == 2
    assert await here.scheduler.get(before.id) == before
    assert await here.scheduler.run(before.id, run.id) == detail


async def test_an_on_demand_schedule_can_be_triggered(here: World) -> None:
    schedule_id = await here.create(cron_expr="")
    assert (await here.scheduler.trigger(schedule_id)).run.status is RunStatus.PENDING


async def test_a_disabled_schedule_is_not_triggered(here: World) -> None:
    schedule_id = await here.create()
    await here.scheduler.disable(schedule_id)
    here.engine = EngineState(status="stopped")
    with pytest.raises(ScheduleDisabled):
        await here.scheduler.trigger(schedule_id)
    assert (await here.scheduler.runs(schedule_id)).total_count == 0


async def test_without_an_engine_nothing_is_triggered(here: World) -> None:
    schedule_id = await here.create()
    here.engine = EngineState(status="stopped")
    with pytest.raises(EngineStopped):
        await here.scheduler.trigger(schedule_id)
    with pytest.raises(NotFound):
        await here.scheduler.trigger(MISSING)
    assert (await here.scheduler.runs(schedule_id)).total_count == 0


async def test_another_process_may_run_the_engine(here: World) -> None:
    schedule_id = await here.create(overlap="allow")
    here.engine = EngineState(status="standby", owner="other:1")
    assert await here.scheduler.engine_owner() == "other:1"
    await here.scheduler.trigger(schedule_id)
    here.engine = EngineState(status="stopped")
    assert await here.scheduler.engine_owner() is None
    await here.store.acquire_engine(WORKER, 10)
    assert await here.scheduler.engine_owner() == WORKER.name
    await here.scheduler.trigger(schedule_id)
    here.clock.advance(11)
    assert await here.scheduler.engine_owner() is None


async def test_a_trigger_during_a_run_is_skipped_and_says_so(here: World) -> None:
    schedule_id = await here.create()
    await here.scheduler.trigger(schedule_id)
    detail = await here.scheduler.trigger(schedule_id, wait_seconds=10)
    assert (detail.run.status, detail.is_settled) == (RunStatus.SKIPPED, True)
    assert detail.run.reason is not None


async def waiting(here: World, schedule_id: str, wait_seconds: float) -> asyncio.Task[RunDetail]:
    """A trigger that has made its run and waits for its end."""
    task = asyncio.create_task(here.scheduler.trigger(schedule_id, wait_seconds=wait_seconds))
    await here.clock.until_sleeping()
    return task


async def asleep(here: World, seconds: float) -> None:
    """Until the trigger, woken by the clock, has looked and sleeps again, for so many seconds."""
    while here.clock.next_wake_seconds != seconds:  # noqa: ASYNC110 - the clock has no event for this
        await asyncio.sleep(0)


async def test_a_trigger_learns_of_the_end_at_once(here: World) -> None:
    schedule_id = await here.create()
    task = await waiting(here, schedule_id, 60)
    run = await here.execute()
    settled = RunSettled(
        run=run,
        schedule_name="nightly",
        status=RunStatus.SUCCESS,
        available_at=None,
        attempt_spent=True,
        error=None,
        output=None,
        at=0,
    )
    here.bus.publish(settled)
    detail = await task  # the clock stood still
    assert (detail.run.status, detail.is_settled) == (RunStatus.SUCCESS, True)
    assert [(attempt.number, attempt.status) for attempt in detail.attempts] == [(1, RunStatus.SUCCESS)]
    assert here.clock.sleeping == 0


async def test_a_trigger_looks_for_an_end_in_another_process(here: World) -> None:
    task = await waiting(here, await here.create(), 60)
    await here.execute(PAUSED)
    here.clock.advance(1)
    detail = await task
    assert (detail.run.status, detail.is_settled) == (RunStatus.PAUSED, True)
    assert here.clock.monotonic() == 1


async def test_a_trigger_waits_no_longer_than_asked(here: World) -> None:
    task = await waiting(here, await here.create(), 2.5)
    for seconds in (1, 1, 0.5):
        await asleep(here, seconds)
        here.clock.advance(seconds)
    detail = await task
    assert (detail.run.status, detail.is_settled) == (RunStatus.PENDING, False)


async def test_a_retry_is_not_the_end(here: World) -> None:
    task = await waiting(here, await here.create(max_retries=1), 60)
    await here.execute(Outcome(kind=OutcomeKind.FAILED, retryable=True, error="503"))
    here.clock.advance(1)
    await asleep(here, 1)
    assert not task.done()
    here.clock.advance(59.5)
    detail = await task
    assert (detail.run.status, detail.run.attempt) == (RunStatus.PENDING, 1)


async def test_a_database_that_goes_away_does_not_unmake_the_run(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(run_id: str) -> None:
        raise StoreUnavailable("gone")

    schedule_id = await here.create()
    task = await waiting(here, schedule_id, 60)
    monkeypatch.setattr(here.store, "get_run", away)
    here.clock.advance(1)
    detail = await task
    assert (detail.run.status, detail.is_settled) == (RunStatus.PENDING, False)
    monkeypatch.undo()
    assert (await here.scheduler.runs(schedule_id)).total_count == 1


async def test_a_caller_who_goes_away_leaves_nothing_behind(here: World) -> None:
    task = await waiting(here, await here.create(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert here.clock.sleeping == 0


# runs


async def test_runs_come_newest_first_with_their_attempts(here: World) -> None:
    schedule_id = await here.create(overlap="allow")
    other = await here.create(name="other")
    await here.scheduler.trigger(other)
    await here.execute()
    for outcome in (OutcomeKind.SUCCESS, OutcomeKind.FAILED):
        here.clock.advance(1)
        await here.scheduler.trigger(schedule_id)
        await here.execute(Outcome(kind=outcome))
    page = await here.scheduler.runs(schedule_id)
    assert [detail.run.status for detail in page.items] == [RunStatus.FAILED, RunStatus.SUCCESS]
    assert [[attempt.number for attempt in detail.attempts] for detail in page.items] == [[1], [1]]
    failed = await here.scheduler.runs(schedule_id, RunFilter(statuses=(RunStatus.FAILED,), schedule_id=other))
    assert [detail.run.schedule_id for detail in failed.items] == [schedule_id]


async def test_a_run_belongs_to_its_schedule(here: World) -> None:
    one, two = await here.create(), await here.create(name="two")
    run_id = (await here.scheduler.trigger(one)).run.id
    with pytest.raises(NotFound, match="Schedule run not found"):
        await here.scheduler.run(two, run_id)


# preview


async def test_a_preview_is_what_the_engine_would_fire(here: World) -> None:
    preview = await here.scheduler.preview({"cron_expr": "30 2 * * *", "timezone": "europe/berlin", "count": 100})
    assert (preview.timezone, len(preview.occurrences)) == ("Europe/Berlin", 100)
    assert preview.description.explanation == "At 02:30, every day, Europe/Berlin"
    made = await here.scheduler.get(await here.create(cron_expr="30 2 * * *", timezone="Europe/Berlin"))
    assert preview.occurrences[0].at == made.next_fire_at
    assert sum(fire.note is not None for fire in preview.occurrences) == 1


async def test_a_preview_refuses_what_create_refuses(here: World) -> None:
    for wrong in ({"cron_expr": "x"}, {"timezone": "Mars"}, {"run_at": "2020-01-01"}, {"run_at": "", "cron": 1}):
        with pytest.raises(InvalidField):
            await here.scheduler.preview(wrong)


# zone data


async def outdated(here: World, schedule_id: str, **fields: Any) -> Schedule:
    """The schedule as an installation with other zone data left it."""
    change = {"zone_data_version": "1999a"} | fields
    return await here.store.change_schedule(schedule_id, lambda row, now: replace(row, **change))


async def test_new_zone_data_moves_next_fires(here: World) -> None:
    moved = await here.create(timezone="Africa/Casablanca")
    right = (await here.scheduler.get(moved)).next_fire_at
    await outdated(here, moved, next_fire_at=at(5))
    kept = await outdated(here, await here.create(name="kept"))
    off = await here.create(name="off")
    await here.scheduler.disable(off)
    here.clock.advance(60)
    assert await here.scheduler.refresh_zone_data() == 2
    after = await here.scheduler.get(moved)
    assert (after.next_fire_at, after.timetable_since) == (right, at(1 / 60))
    same = await here.scheduler.get(kept.id)
    assert (same.next_fire_at, same.timetable_since) == (kept.next_fire_at, kept.timetable_since)
    assert {after.zone_data_version, same.zone_data_version} == {tzdata_version()}
    assert await here.scheduler.refresh_zone_data() == 0


async def test_what_is_owed_already_stays_owed(here: World) -> None:
    schedule_id = await here.create()
    before = await outdated(here, schedule_id)
    here.clock.advance(4 * HOUR)
    await here.scheduler.refresh_zone_data()
    after = await here.scheduler.get(schedule_id)
    assert (after.next_fire_at, after.timetable_since) == (before.next_fire_at, before.timetable_since)
    fired = await here.store.fire_due(plan, limit=10)
    assert [run.fire_at for run in fired.runs] == [at(3)]


async def test_a_zone_that_is_gone_disables_with_the_reason(here: World) -> None:
    bad, good = await here.create(name="bad"), await here.create(name="good")
    await outdated(here, bad, timezone="Mars/Olympus")
    await outdated(here, good, next_fire_at=at(9))
    assert await here.scheduler.refresh_zone_data() == 2
    after = await here.scheduler.get(bad)
    assert (after.enabled, after.next_fire_at) == (False, None)
    assert "Mars/Olympus" in str(after.disabled_reason)
    assert (await here.scheduler.get(good)).next_fire_at == at(3)


async def test_zone_data_is_refreshed_in_batches(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentclock.scheduler.ZONE_BATCH", 2)
    for number in range(5):
        await outdated(here, await here.create(name=f"s{number}"))
    assert await here.scheduler.refresh_zone_data() == 5


async def test_a_schedule_that_cannot_be_refreshed_does_not_hold_up_the_rest(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = await here.create(name="bad"), await here.create(name="good")
    await outdated(here, bad)
    await outdated(here, good, next_fire_at=at(9))
    change_schedule = here.store.change_schedule

    async def change(schedule_id: str, *args: Any, **options: Any) -> Schedule:
        if schedule_id == bad:
            raise CorruptRow("schedules", bad, "not readable")
        return await change_schedule(schedule_id, *args, **options)

    monkeypatch.setattr(here.store, "change_schedule", change)
    assert await here.scheduler.refresh_zone_data() == 2
    assert (await here.scheduler.get(good)).next_fire_at == at(3)


# what others are told


async def test_every_change_of_a_schedule_is_told(here: World) -> None:
    schedule_id = await here.create()
    await here.scheduler.change(schedule_id, {"name": "other"})
    await here.scheduler.disable(schedule_id)
    await here.scheduler.enable(schedule_id)
    await here.scheduler.delete(schedule_id)
    assert here.events == [ScheduleChanged(schedule_id=schedule_id)] * 5


async def test_what_is_refused_is_not_told(here: World) -> None:
    schedule_id = await here.create()
    here.events.clear()
    for refused in (
        here.scheduler.create(DRAFT),
        here.scheduler.change(schedule_id, {"cron_expr": "x"}),
        here.scheduler.change(schedule_id, {"name": "x"}, expected_version=9),
        here.scheduler.delete(MISSING),
    ):
        with pytest.raises((InvalidField, NameTaken, NotFound, VersionConflict)):
            await refused
    assert here.events == []


async def test_a_triggered_run_is_told(here: World) -> None:
    schedule_id = await here.create()
    here.events.clear()
    detail = await here.scheduler.trigger(schedule_id)
    assert here.events == [RunChanged(run_id=detail.run.id, schedule_id=schedule_id)]


async def test_a_schedule_that_an_agent_made_says_so(here: World) -> None:
    made = await here.scheduler.create(DRAFT, managed_by="agent", provenance={"run_id": "r-1"})
    stored = await here.scheduler.get(made.id)
    assert (stored.managed_by, stored.provenance) == ("agent", {"run_id": "r-1"})
