"""Backfills as use cases, on a store in memory: what they make, show, refuse and cancel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from tests.apis import WORKER, World, world

from agentclock.backfilling import Backfilling, BackfillPlan
from agentclock.cli.backfill import find_schedule, is_engine_alive, standings
from agentclock.core.actors import Actor
from agentclock.core.backfills import MOST_FIRES
from agentclock.core.errors import InvalidField, NotFound
from agentclock.core.model import Cause, Outcome, OutcomeKind, Run, RunStatus, Schedule
from agentclock.core.planning import plan
from agentclock.ports import PageRequest, RunFilter

HOUR = 3_600
SUCCESS = Outcome(kind=OutcomeKind.SUCCESS)
FAILURE = Outcome(kind=OutcomeKind.FAILED, error="404")
NIGHT = {"from": "2026-01-01T01:00:00Z", "until": "2026-01-01T05:00:00Z"}


@pytest.fixture
async def here() -> AsyncIterator[World]:
    """An hourly schedule with the id `s`, ten and a half hours later, planned by nobody."""
    async with world() as made:
        await made.scheduler.create(
            {"name": "hourly", "endpoint": "/agents/a/runs", "cron_expr": "0 * * * *"}, finish=_named_s
        )
        made.clock.advance(seconds=10.5 * HOUR)
        yield made


def _named_s(schedule: Schedule) -> Schedule:
    return replace(schedule, id="s")


async def backfill(here: World, **fields: Any) -> BackfillPlan:
    return await here.scheduler.backfills.create("s", NIGHT | fields, by=Actor("ada"))


async def rows(here: World, *causes: Cause) -> list[Run]:
    found = await here.store.list_runs(RunFilter(schedule_id="s", causes=causes), PageRequest())
    return sorted(found.items, key=lambda run: run.id)


async def carry_out(here: World, outcomes: list[Outcome]) -> list[int]:
    """A worker with room for everything works until nothing is left; answers how many ran at a time."""
    await here.store.acquire_engine(WORKER, 60)
    at_a_time, left = [], iter(outcomes)
    while claims := (await here.store.claim(WORKER.id, 100)).claims:
        at_a_time.append(len(claims))
        for claim in claims:
            await here.settle(claim, next(left))
    return at_a_time


async def test_missed_fires_are_run_one_after_another(here: World) -> None:
    await here.store.fire_due(plan, limit=1)
    await here.execute()
    accounted = await here.store.accounting("s", 0, here.clock.now())
    made = await backfill(here)
    assert made.backfill is not None
    assert (made.backfill.fires, made.backfill.by, made.to_run) == (4, "ada", 4)
    assert await carry_out(here, [SUCCESS] * 4) == [1, 1, 1, 1]
    assert await here.store.accounting("s", 0, here.clock.now()) == accounted
    progress = await here.scheduler.backfills.get("s", made.backfill.id)
    assert (progress.left, dict(progress.runs)) == (0, {RunStatus.SUCCESS: 4})


async def test_as_many_at_a_time_as_was_asked_for(here: World) -> None:
    await backfill(here, concurrency=3)
    assert await carry_out(here, [SUCCESS] * 4) in ([3, 1], [3, 1, 0])


async def test_a_dry_run_writes_nothing(here: World) -> None:
    asked = await backfill(here, dry_run=True)
    assert (asked.backfill, asked.to_run, len(asked.choices)) == (None, 4, 4)
    assert await rows(here) == []
    assert await here.scheduler.backfills.of_schedule("s") == []


async def test_the_same_twice_runs_nothing_twice(here: World) -> None:
    await backfill(here)
    again = await backfill(here)
    assert (again.backfill, again.to_run) == (None, 0)
    assert len(await rows(here)) == 4
    await carry_out(here, [SUCCESS] * 4)
    for existing in ("skip", "failed"):
        assert (await backfill(here, existing=existing)).to_run == 0
    assert (await backfill(here, existing="all")).to_run == 4


async def test_two_at_once_make_one(here: World) -> None:
    """Both looked before either wrote."""
    other = Backfilling(here.store, wakeup=lambda: None)
    first, second = await backfill(here, dry_run=True), await other.create("s", NIGHT | {"dry_run": True})
    assert first.choices == second.choices
    await backfill(here)
    assert len(await rows(here)) == 4


async def test_only_what_failed_is_run_again(here: World) -> None:
    await backfill(here)
    await carry_out(here, [SUCCESS, FAILURE, SUCCESS, FAILURE])
    again = await backfill(here, existing="failed")
    assert again.backfill is not None
    assert again.backfill.fires == 2
    await carry_out(here, [SUCCESS, FAILURE])
    newest, oldest = await here.scheduler.backfills.of_schedule("s")
    assert dict(newest.runs) == {RunStatus.SUCCESS: 1, RunStatus.FAILED: 1}
    assert dict(oldest.runs) == {RunStatus.SUCCESS: 2, RunStatus.FAILED: 2}
    third = await backfill(here, existing="failed")
    assert [choice.number for choice in third.choices] == [None, None, None, 3]


async def test_runs_of_the_schedule_itself_count(here: World) -> None:
    """05:00 to 10:00 come to one run, of 10:00, and one row of missed ones."""
    await here.store.fire_due(plan, limit=1)
    await here.execute()
    made = await backfill(here, **{"from": "2026-01-01T09:00:00Z", "until": None})
    assert [(choice.number, choice.found) for choice in made.choices] == [(1, None), (None, RunStatus.SUCCESS)]


async def test_a_backfill_does_not_hold_the_schedule_up(here: World) -> None:
    await here.store.fire_due(plan, limit=1)
    await here.execute()
    await backfill(here)
    here.clock.advance(seconds=HOUR)
    await here.store.fire_due(plan, limit=1)
    newest = (await rows(here, Cause.SCHEDULE, Cause.CATCH_UP))[-1]
    assert newest.status is RunStatus.PENDING
    assert newest.available_at is not None


async def test_times_without_an_offset_are_in_the_schedules_zone(here: World) -> None:
    await here.scheduler.change("s", {"timezone": "Asia/Tokyo"})
    made = await backfill(here, **{"from": "2026-01-01T10:00", "until": "2026-01-01T12:00", "dry_run": True})
    assert [run.fire_at for run in made.choices] == [1_767_225_600_000 + hour * 3_600_000 for hour in (1, 2)]


async def test_a_disabled_schedule_may_be_filled(here: World) -> None:
    await here.scheduler.disable("s")
    assert (await backfill(here)).to_run == 4
    assert await carry_out(here, [SUCCESS] * 4) == [1, 1, 1, 1]


async def test_a_cancelled_one_can_be_begun_anew(here: World) -> None:
    made = (await backfill(here)).backfill
    assert made is not None
    await carry_out_one(here)
    cancelled = await here.scheduler.backfills.cancel("s", made.id)
    assert (cancelled.left, cancelled.backfill.cancelled_at) == (0, here.clock.now())
    assert dict(cancelled.runs) == {RunStatus.SUCCESS: 1, RunStatus.CANCELLED: 3}
    assert (await backfill(here)).to_run == 3


async def carry_out_one(here: World) -> None:
    await here.store.acquire_engine(WORKER, 60)
    [claim] = (await here.store.claim(WORKER.id, 100)).claims
    await here.settle(claim, SUCCESS)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"from": "2026-01-01T05:00:00Z"}, "from: must lie before until: 2026-01-01T05:00:00"),
        ({"until": "2026-01-01T10:30:01Z"}, "until: lies in the future: only what is past .* 2026-01-01T10:30:00"),
        ({"from": "yesterday"}, "from: is not an ISO 8601 time"),
        ({"concurrency": 0}, "concurrency: .*greater than or equal to 1"),
        ({"concurrency": 101}, "concurrency: .*less than or equal to 100"),
        ({"concurrency": True}, "concurrency: .*whole number"),
        ({"existing": "none"}, "existing: .*'skip', 'failed' or 'all'"),
        ({"form": "2026-01-01"}, "form: unknown field 'form': did you mean 'from'?"),
    ],
)
async def test_what_is_refused(here: World, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidField, match=message.replace("?", r"\?")):
        await backfill(here, **fields)
    assert await rows(here) == []


async def test_too_many_names_the_number_and_the_way_out(here: World) -> None:
    await here.scheduler.change("s", {"cron_expr": "* * * * *"})
    long_ago = {"from": "2025-12-20"}
    with pytest.raises(InvalidField, match=r"17,580 fires lie in the range.*say until 2025-12-26T22:40:00\+00:00"):
        await backfill(here, **long_ago)
    part = await backfill(here, **long_ago, until="2025-12-26T22:40:00+00:00", dry_run=True)
    assert part.to_run == MOST_FIRES
    with pytest.raises(InvalidField, match="more than 100,000 fires"):
        await backfill(here, **{"from": "2020-01-01"})


async def test_a_schedule_without_a_timetable_is_refused(here: World) -> None:
    await here.scheduler.change("s", {"cron_expr": ""})
    with pytest.raises(InvalidField, match=r"no timetable.*trigger it"):
        await backfill(here)


async def test_others_cannot_tell_that_it_is_there(here: World) -> None:
    backfills = here.scheduler.backfills
    made = (await backfill(here)).backfill
    assert made is not None
    for user_id, schedule_id in (("eve", "s"), (None, "none"), (None, "\0")):
        with pytest.raises(NotFound, match="Schedule not found"):
            await backfills.create(schedule_id, NIGHT, user_id=user_id)
        with pytest.raises(NotFound, match="Schedule not found"):
            await backfills.of_schedule(schedule_id, user_id=user_id)
        with pytest.raises(NotFound, match="Schedule not found"):
            await backfills.cancel(schedule_id, made.id, user_id=user_id)
    with pytest.raises(NotFound, match="Backfill not found"):
        await backfills.cancel("s", "none")


# what the command needs besides


async def test_a_schedule_by_name_or_id(here: World) -> None:
    assert (await find_schedule(here.store, "hourly")).id == "s"
    assert (await find_schedule(here.store, "s")).name == "hourly"
    with pytest.raises(InvalidField, match="neither the name nor the id of a schedule: did you mean hourly"):
        await find_schedule(here.store, "houly")
    await here.scheduler.create({"name": "hourly", "endpoint": "/x"}, user_id="ada")
    with pytest.raises(InvalidField, match=r"ambiguous: several are named 'hourly'.*of ada"):
        await find_schedule(here.store, "hourly")


async def test_standings_come_every_second_until_all_is_over(here: World) -> None:
    made = (await backfill(here)).backfill
    assert made is not None
    assert not await is_engine_alive(here.store)
    seen = standings(here.scheduler.backfills, made, here.clock)
    assert (await anext(seen)).left == 4
    await carry_out(here, [SUCCESS] * 4)
    assert await is_engine_alive(here.store)

    async def rest() -> list[int]:
        return [standing.left async for standing in seen]

    waiting = asyncio.create_task(rest())
    await here.clock.until_sleeping()
    here.clock.advance(seconds=1)
    assert await waiting == [0]
