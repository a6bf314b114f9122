"""fires due = runs + skipped + missed: in any range of any life, and never where a fire was lost or doubled."""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.unit.accounting_life import Life

from agentclock.core.actors import Actor
from agentclock.core.instants import iso_utc
from agentclock.core.model import Instant, RunStatus
from agentclock.core.timetable import next_fire

SEEDS = range(30)
STEPS = 30


async def lived(seed: int) -> Life:
    life = Life(seed)
    await life.begin()
    for _ in range(STEPS):
        await life.step()
    return life


def instants(life: Life, known_until: Instant) -> list[Instant]:
    """Where ranges may begin and end: anywhere in its life, and a little outside."""
    pick = random.Random(known_until)
    first, last = sorted((life.began_at, known_until))
    return sorted(pick.randrange(first - 90_000, last + 90_000) for _ in range(6))


@pytest.mark.parametrize("seed", SEEDS)
async def test_all_is_accounted_for_whatever_happened(seed: int) -> None:
    life = await lived(seed)
    try:
        whole = await life.statement()
        assert whole.is_balanced, whole
        assert not whole.unknown
        assert (await life.statement(by_period=True)).due == whole.due
        cuts = instants(life, whole.books.known_until)
        for since, until in [(a, b) for a in cuts for b in cuts if a < b]:
            part = await life.statement(since, until, by_period=since % 2 == 0)
            assert part.is_balanced, (since, until, part)
        halves = [await life.statement(since, until) for since, until in ((None, cuts[3]), (cuts[3], None))]
        for figure in ("due", "runs", "skipped", "missed"):
            assert sum(getattr(half, figure) for half in halves) == getattr(whole, figure)
    finally:
        await life.store.close()


@pytest.mark.parametrize("seed", range(8))
async def test_damage_is_seen_where_it_is(seed: int) -> None:
    """A row that is gone, one that is there twice, a count that is wrong: in any range around it, in none beside it."""
    life = await lived(seed)
    try:
        row = life.random.choice([run for run in await life.fires() if run.fire_at > life.began_at])
        last_at = row.last_fire_at or row.fire_at
        match seed % 3:
            case 0:
                difference = -row.fire_count
                await life.sql("DELETE FROM {}runs WHERE id = ?", row.id)
            case 1:
                difference = 1
                await life.sql("UPDATE {}runs SET fire_count = fire_count + 1 WHERE id = ?", row.id)
            case _:
                difference = row.fire_count
                await life.sql("CREATE TEMP TABLE twin AS SELECT * FROM {}runs WHERE id = ?", row.id)
                await life.sql("UPDATE twin SET id = ?", str(uuid.UUID(bytes=life.random.randbytes(16), version=4)))
                await life.sql("INSERT INTO {}runs SELECT * FROM twin")
        whole = await life.statement()
        assert (whole.accounted - whole.due, whole.is_balanced) == (difference, False)
        assert not (await life.statement(row.fire_at, last_at + 1)).is_balanced
        assert (await life.statement(None, row.fire_at)).is_balanced
        assert (await life.statement(last_at + 1, None)).is_balanced
    finally:
        await life.store.close()


async def test_a_fire_that_was_passed_over_is_missed_in_the_accounts(every_minute: Life) -> None:
    life = every_minute
    schedule = await life.scheduler.get(life.id)
    assert schedule.next_fire_at is not None
    await life.sql("UPDATE {}schedules SET next_fire_at = ?", next_fire(schedule, schedule.next_fire_at))
    life.clock.advance(seconds=600)
    await life.planned()
    found = await life.statement()
    assert (found.is_balanced, found.due - found.accounted) == (False, 1)
    assert found.trouble is not None
    # An edit leaves a revision with the next fire that somebody made up; it changes nothing about what was due.
    await life.edited()
    assert (await life.statement()).trouble == found.trouble


async def test_a_fire_beside_the_timetable_that_nobody_asked_for_is_one_too_many(every_minute: Life) -> None:
    life = every_minute
    await life.sql("UPDATE {}schedules SET next_fire_at = next_fire_at - 30000")
    life.clock.advance(seconds=600)
    await life.planned()
    found = await life.statement()
    assert found.accounted - found.due == 1


@pytest.fixture
async def every_minute() -> AsyncIterator[Life]:
    life = Life(1)
    await life.store.open()
    draft = {"name": "s", "endpoint": "/x", "cron_expr": "* * * * *", "overlap": "allow", "catch_up": "all"}
    life.id = (await life.scheduler.create(draft, by=Actor("ada"))).id
    life.clock.advance(seconds=600)
    await life.planned()
    yield life
    await life.store.close()


async def test_what_is_due_and_not_planned_is_overdue_and_not_counted(every_minute: Life) -> None:
    life = every_minute
    before = await life.statement()
    life.clock.advance(seconds=45)
    due = (await life.scheduler.get(life.id)).next_fire_at
    found = await life.statement()
    assert due is not None
    assert (found.due, found.is_balanced) == (before.due, True)
    assert (found.books.known_until, found.books.overdue_ms) == (due - 1, life.clock.now() - due)
    assert found.trouble is None  # the planner may be just about to
    assert "not planned yet" in found.notes[0]
    life.clock.advance(seconds=60)
    assert "not planned: no engine runs" in ((await life.statement()).trouble or "")


async def test_runs_that_are_asked_for_stand_beside_the_timetable(every_minute: Life) -> None:
    """Before it begins, after its last run, and while the clock is set back: what was asked for is one fire."""
    life = every_minute
    start_at = iso_utc(life.clock.now() + 3_600_000)
    await life.scheduler.change(life.id, {"start_at": start_at, "max_runs": 12})
    await life.asked()
    life.clock.advance(seconds=600)
    await life.planned()
    assert ((await life.statement()).due, len(await life.fires())) == (11, 11)
    life.clock.advance(seconds=3_600)
    await life.planned()
    assert (await life.scheduler.get(life.id)).next_fire_at is None
    await life.asked()
    life.clock.advance(seconds=600)
    await life.retimed_to("*/7 * * * *", max_runs=None)
    found = await life.statement()
    assert (found.is_balanced, found.due) == (True, sum(run.fire_count for run in await life.fires()))
    life.clock.jump(-86_400)
    await life.asked()
    life.clock.advance(seconds=86_400)
    await life.planned()
    assert (await life.statement()).is_balanced


async def test_versions_that_are_missing_make_time_unknown_and_no_trouble(every_minute: Life) -> None:
    """Older code changed the schedule twice and left no revisions."""
    life = every_minute
    known = await life.statement()
    await life.scheduler.change(life.id, {"cron_expr": "*/5 * * * *"})
    life.clock.advance(seconds=1_800)
    await life.planned()
    retimed = await life.scheduler.change(life.id, {"cron_expr": "*/2 * * * *"})
    life.clock.advance(seconds=600)
    await life.planned()
    await life.edited()
    await life.sql("DELETE FROM {}schedule_revisions WHERE version IN (2, 3)")
    found = await life.statement(by_period=True)
    [gap] = found.unknown
    assert (gap.after, gap.until) == (known.books.periods[0].after, retimed.timetable_since)
    assert (found.is_balanced, found.trouble, found.due) == (True, None, 5)
    await life.sql("DELETE FROM {}schedule_revisions WHERE version IN (1, 4)")
    only_now = await life.statement()
    assert (only_now.is_balanced, only_now.due, only_now.unknown) == (True, 5, ())
    asked_from_the_start = await life.statement(life.began_at, None)
    assert [gap.until for gap in asked_from_the_start.unknown] == [retimed.timetable_since]


async def test_edits_without_a_revision_that_leave_the_timetable_alone_hide_nothing(every_minute: Life) -> None:
    life = every_minute
    for _ in range(3):
        await life.edited()
        life.clock.advance(seconds=120)
        await life.planned()
    whole = await life.statement()
    await life.sql("DELETE FROM {}schedule_revisions WHERE version IN (2, 3)")
    found = await life.statement()
    assert (found.due, found.unknown, found.is_balanced) == (whole.due, (), True)
    assert [period.by for period in found.books.periods] == ["ada"]


async def test_a_disabled_schedule_without_revisions_owes_what_it_has_fired(every_minute: Life) -> None:
    life = every_minute
    await life.disabled()
    life.clock.advance(seconds=3_600)
    await life.sql("DELETE FROM {}schedule_revisions")
    found = await life.statement()
    assert (found.due, found.is_balanced) == (10, True)


async def test_periods_tell_who_began_them(every_minute: Life) -> None:
    life = every_minute
    await life.scheduler.disable(life.id, by=Actor("bob"))
    life.clock.advance(seconds=3_600)
    await life.scheduler.enable(life.id, by=Actor("eve"))
    life.clock.advance(seconds=300)
    await life.planned()
    found = await life.statement(by_period=True)
    told = [(account.section.periods[0].by, account.due) for account in found.accounts]
    assert told == [("ada", 10), ("bob", 0), ("eve", 5)]


async def test_other_zone_data_makes_a_difference_no_trouble(every_minute: Life) -> None:
    life = every_minute
    await life.scheduler.change(life.id, {"timezone": "Europe/Berlin"})
    life.clock.advance(seconds=300)
    await life.planned()
    await life.store.change_schedule(life.id, lambda row, _: replace(row, zone_data_version="1999a"))
    life.clock.advance(seconds=300)
    await life.planned()
    lost = (await life.fires())[-1]
    await life.sql("DELETE FROM {}runs WHERE id = ?", lost.id)
    found = await life.statement()
    assert (found.is_balanced, found.trouble) == (False, None)
    assert "zone data 1999a" in found.notes[0]
    older = (await life.fires())[2]
    await life.sql("DELETE FROM {}runs WHERE id = ?", older.id)
    assert (await life.statement()).trouble is not None


async def test_an_unreadable_timetable_is_unknown_until_it_is_mended(every_minute: Life) -> None:
    life = every_minute
    await life.store.change_schedule(life.id, lambda row, _: replace(row, timezone="Mars/Olympus"))
    life.clock.advance(seconds=60)
    await life.planned()
    off = await life.scheduler.get(life.id)
    assert (off.enabled, off.disabled_reason is None) == (False, False)
    found = await life.statement()
    assert (found.is_balanced, found.trouble, found.due) == (True, None, 10)
    life.clock.advance(seconds=3_600)
    await life.scheduler.change(life.id, {"timezone": "UTC"})
    await life.enabled()
    life.clock.advance(seconds=120)
    await life.planned()
    found = await life.statement()
    assert (found.is_balanced, found.trouble, found.due) == (True, None, 12)
    assert "Mars/Olympus" in found.unknown[0].why


async def test_a_deleted_schedule_keeps_its_accounts(every_minute: Life) -> None:
    life = every_minute
    life.clock.advance(seconds=300)  # five more are due, and go with it
    await life.scheduler.delete(life.id, by=Actor("bob"))
    found = await life.scheduler.accounts.statement(life.id, None, None)
    assert (found.due, found.accounted, found.is_balanced) == (10, 10, True)


async def test_pruned_history_is_left_out(every_minute: Life) -> None:
    life = every_minute
    await life.scheduler.change(life.id, {"catch_up": "none"})
    life.clock.advance(seconds=86_400)
    await life.planned()
    [row] = [run for run in await life.fires() if run.status is RunStatus.MISSED]
    horizon = row.fire_at + 3_600_000
    assert await life.store.prune(horizon, 1_000) == 10
    accounts = type(life.scheduler.accounts)(life.store, history_days=1)
    life.clock.advance(seconds=3_540)
    await life.planned()
    found = await accounts.statement(life.id, None, None)
    assert found.is_balanced
    assert found.after >= row.fire_at
    assert "may be deleted already" in found.notes[0]
    assert not (await life.statement()).is_balanced
