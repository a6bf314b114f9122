"""The stream of all runs tells whose they are: the schedule's name, as it is now, learnt once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import replace

import pytest
from fastapi import FastAPI
from tests.apis import World, app_of, world
from tests.streams import app_of_hub, passing_time, running, stream, tick

from agentclock.core.lifecycle import settle
from agentclock.live import Hub, Label, labels
from agentclock.live.labels import labels_of
from agentclock.ports import Store
from agentclock.testing import SUCCESS

EVENTS = "/schedules/events"


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


@pytest.fixture
def app(here: World) -> FastAPI:
    return app_of(here)


async def test_changes_name_the_schedule_also_after_it_was_renamed(here: World, app: FastAPI) -> None:
    claim, _ = await running(here, name="old name")
    async with stream(app, EVENTS) as seen, passing_time(here):
        (snapshot,) = await seen.take(1)
        assert [run["schedule_name"] for run in snapshot.data["runs"]] == ["old name"]
        await here.scheduler.change(claim.schedule.id, {"name": "new name"})
        (renamed,) = await seen.take(1)
        assert (renamed.event, renamed.data["name"]) == ("schedule", "new name")
        await here.settle(claim)
        (ended,) = await seen.take(1)
        assert (ended.event, ended.data["schedule_name"]) == ("run", "new name")
        assert ended.data["lateness_ms"] is None
        assert ended.data["duration_ms"] >= 0
        await here.scheduler.delete(claim.schedule.id)
    async with stream(app, EVENTS) as seen:
        (snapshot,) = await seen.take(1)
        assert snapshot.data["runs"] == []


async def test_a_rename_by_a_process_that_says_nothing_shows_as_well(here: World) -> None:
    """This hub hears nothing: it finds what has changed when it looks around."""
    claim, _ = await running(here, name="old name")
    app = app_of_hub(here, Hub(here.store, clock=here.clock, hears=lambda: False, wants_exit=lambda: False))
    async with stream(app, EVENTS) as seen:
        await seen.take(1)
        await here.store.change_schedule(claim.schedule.id, lambda row, _: replace(row, name="new name"))
        await here.store.settle([settle(claim, SUCCESS, here.clock.now())])
        await tick(here, 1.5)
        frames = await seen.take(2)
        assert {frame.event: frame.data.get("schedule_name") for frame in frames} == {
            "schedule": None,
            "run": "new name",
        }


async def test_names_are_learnt_once(here: World, app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def counted(store: Store, schedule_ids: Collection[str]) -> dict[str, Label]:
        asked.extend(schedule_ids)
        return await labels_of(store, schedule_ids)

    monkeypatch.setattr(labels, "labels_of", counted)
    schedule_id = await here.create(name="often", cron_expr="")
    here.clock.advance(3600)  # nothing about it is news any more
    async with stream(app, EVENTS) as seen:
        await seen.take(1)
        for _ in range(3):
            await here.scheduler.trigger(schedule_id)
            claim = await here.claim()
            await here.settle(claim)
            here.clock.advance(1)
            while (frame := (await seen.take(1))[0]).data["status"] != "success":
                assert frame.data["schedule_name"] == "often"
    assert asked == [schedule_id]
