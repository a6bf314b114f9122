"""The stream of all runs and schedules: a snapshot, then the newest state of what changes, for those who may see."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from fastapi import FastAPI, Request
from tests.apis import DRAFT, PAUSED, World, app_of, world
from tests.streams import Frame, app_of_hub, passing_time, running, stream, tick

from agentclock.api import Caller, OpenGuard, Permission
from agentclock.core.errors import StoreUnavailable
from agentclock.core.model import Claim
from agentclock.live import Hub, feed, hub
from agentclock.ports import News

EVENTS = "/schedules/events"


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


@pytest.fixture
def app(here: World) -> FastAPI:
    return app_of(here)


@dataclass(frozen=True)
class Confined(OpenGuard):
    """Everybody sees the rows of one owner only."""

    owner: str

    async def admit(self, request: Request, permission: Permission) -> Caller:
        return Caller(user_id=self.owner, owner=self.owner, name=self.owner)


async def pending(here: World, name: str, user_id: str | None = None) -> Claim:
    """A run that a worker holds, of a new schedule."""
    made = await here.scheduler.create(DRAFT | {"name": name}, user_id=user_id)
    await here.scheduler.trigger(made.id)
    return await here.claim()


def runs(frames: list[Frame]) -> list[tuple[str, str]]:
    return [(frame.data["id"], frame.data["status"]) for frame in frames if frame.event == "run"]


async def test_a_snapshot_comes_first_and_then_what_changes(here: World, app: FastAPI) -> None:
    claim = await pending(here, "first")
    over = await pending(here, "over")
    await here.settle(over)
    async with stream(app, EVENTS) as seen, passing_time(here):
        (snapshot,) = await seen.take(1)
        assert snapshot.event == "snapshot"
        assert [(run["id"], run["status"]) for run in snapshot.data["runs"]] == [(claim.run.id, "running")]
        assert (snapshot.data["total_count"], snapshot.id) == (1, f"{snapshot.data['epoch']}:0")
        await here.settle(claim, PAUSED)
        (paused,) = await seen.take(1)
        assert (paused.event, paused.id) == ("run", f"{snapshot.data['epoch']}:1")
        expected = {"id": claim.run.id, "schedule_id": claim.schedule.id, "status": "paused", "attempt": 1}
        assert paused.data | expected == paused.data
        assert paused.data["fire_at"] == "2026-01-01T00:00:00.000Z"
        assert not paused.data.keys() & {"input", "output", "requirements", "metrics", "attempts"}


async def test_changes_of_schedules_are_shown(here: World, app: FastAPI) -> None:
    schedule_id = await here.create()
    async with stream(app, EVENTS) as seen, passing_time(here):
        await seen.take(1)
        await here.scheduler.change(schedule_id, {"name": "renamed"})
        (renamed,) = await seen.take(1)
        assert (renamed.event, renamed.data["change"], renamed.data["name"]) == ("schedule", "changed", "renamed")
        assert (renamed.data["id"], renamed.data["enabled"], renamed.data["version"]) == (schedule_id, True, 2)
        await here.scheduler.disable(schedule_id)
        assert (await seen.take(1))[0].data["enabled"] is False
        await here.scheduler.delete(schedule_id)
        assert (await seen.take(1))[0].data == {"id": schedule_id, "change": "deleted"}


async def test_the_newest_state_is_shown_and_no_end_is_lost(here: World, app: FastAPI) -> None:
    async with stream(app, EVENTS) as seen, passing_time(here):
        await seen.take(1)
        ended = []
        for number in range(5):
            claim = await pending(here, f"s{number}")
            await here.settle(claim)
            ended.append((claim.run.id, "success"))
        frames = []
        while not set(ended) <= set(runs(frames)):
            frames += await seen.take(1)
    last = dict(runs(frames))
    assert last == dict(ended)


async def test_whoever_comes_back_goes_on_where_he_left(here: World, app: FastAPI) -> None:
    claim = await pending(here, "first")
    async with stream(app, EVENTS) as seen, passing_time(here):
        (snapshot,) = await seen.take(1)
        await here.settle(claim, PAUSED)
        (paused,) = await seen.take(1)
    other = await pending(here, "second")
    for position, expected in (
        (paused.id, {other.run.id}),
        (snapshot.id, {claim.run.id, other.run.id}),
    ):
        async with stream(app, EVENTS, {"Last-Event-ID": position or ""}) as seen, passing_time(here):
            ids: set[str] = set()
            while ids < expected:
                (frame,) = await seen.take(1)
                assert frame.event in ("run", "schedule")
                if frame.event == "run":
                    ids.add(frame.data["id"])
            assert ids == expected


@pytest.mark.parametrize("position", ["another:3", "nonsense", "x:y:z", "²"])
async def test_whoever_comes_from_elsewhere_begins_anew(here: World, app: FastAPI, position: str) -> None:
    claim = await pending(here, "first")
    async with stream(app, f"{EVENTS}?last_event_id={position}") as seen:
        reset, snapshot = await seen.take(2)
        assert (reset.event, reset.id, snapshot.event) == ("reset", None, "snapshot")
        assert [run["id"] for run in snapshot.data["runs"]] == [claim.run.id]


async def test_whoever_was_away_for_too_long_begins_anew(
    here: World, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "REMEMBERED", 3)
    async with stream(app, EVENTS) as seen, passing_time(here):
        (snapshot,) = await seen.take(1)
        for number in range(4):
            await here.create(name=f"s{number}")
            await seen.take(1)
        async with stream(app, EVENTS, {"Last-Event-ID": snapshot.id or ""}) as late:
            assert [frame.event for frame in await late.take(2)] == ["reset", "snapshot"]


async def test_the_feed_is_forgotten_when_nobody_watches(here: World, app: FastAPI) -> None:
    async with stream(app, EVENTS) as seen:
        (snapshot,) = await seen.take(1)
    await tick(here, hub.LINGER_SECONDS)
    async with stream(app, EVENTS, {"Last-Event-ID": snapshot.id or ""}) as seen:
        assert [frame.event for frame in await seen.take(2)] == ["reset", "snapshot"]


async def test_an_owner_sees_his_own_rows_only(here: World) -> None:
    ada, bob = await pending(here, "hers", "ada"), await pending(here, "his", "bob")
    async with stream(app_of(here, guard=Confined("ada")), EVENTS) as seen, passing_time(here):
        (snapshot,) = await seen.take(1)
        assert ([run["id"] for run in snapshot.data["runs"]], snapshot.data["total_count"]) == ([ada.run.id], 1)
        await here.settle(bob)
        await here.scheduler.delete(bob.schedule.id)
        await here.scheduler.delete(ada.schedule.id)
        await here.settle(ada)
        frames = await seen.take(2)
        assert {frame.data["id"] for frame in frames} == {ada.schedule.id, ada.run.id}


async def test_other_processes_only_say_where_to_look(here: World) -> None:
    claim, _ = await running(here)
    apart = Hub(here.store, clock=here.clock, wants_exit=lambda: False)
    async with stream(app_of_hub(here, apart), EVENTS) as seen, passing_time(here):
        await seen.take(1)
        await here.settle(claim, PAUSED)
        apart.hear(News(run_ids=frozenset({claim.run.id})))
        assert runs(await seen.take(1)) == [(claim.run.id, "paused")]
        await here.scheduler.change(claim.schedule.id, {"name": "renamed"})
        apart.hear(News(schedule_ids=frozenset({claim.schedule.id})))
        assert (await seen.take(1))[0].data["name"] == "renamed"
        await here.runs.cancel(claim.schedule.id, claim.run.id)
        apart.hear(News(everything=True))
        assert runs(await seen.take(1)) == [(claim.run.id, "pending")]
    await apart.close()


async def test_news_of_everything_finds_what_began_and_what_ended(here: World) -> None:
    claim, _ = await running(here)
    apart = Hub(here.store, clock=here.clock, wants_exit=lambda: False)
    async with stream(app_of_hub(here, apart), EVENTS) as seen, passing_time(here):
        await seen.take(1)
        await here.settle(claim)
        quick = await pending(here, "quick")
        await here.settle(quick)
        apart.hear(News(everything=True))
        shown = await seen.take(3)
        assert sorted(runs(shown)) == sorted([(claim.run.id, "success"), (quick.run.id, "success")])
        assert [frame.data["name"] for frame in shown if frame.event == "schedule"] == ["quick"]
    await apart.close()


async def test_news_of_everything_finds_changed_schedules_once(here: World) -> None:
    kept, gone = await here.create(), (await here.scheduler.create(DRAFT | {"name": "gone"})).id
    here.clock.advance(feed.OVERLAP_SECONDS + 1)
    apart = Hub(here.store, clock=here.clock, wants_exit=lambda: False)
    async with stream(app_of_hub(here, apart), EVENTS) as seen, passing_time(here):
        await seen.take(1)
        await here.scheduler.change(kept, {"name": "renamed"})
        await here.scheduler.delete(gone)
        apart.hear(News(everything=True))
        shown = await seen.take(2)
        assert sorted((frame.data["id"], frame.data["change"]) for frame in shown) == sorted(
            [(kept, "changed"), (gone, "deleted")]
        )
        apart.hear(News(everything=True))
        made = (await here.scheduler.create(DRAFT | {"name": "new"})).id
        assert [frame.data["id"] for frame in await seen.take(1)] == [made]
    await apart.close()


async def test_what_was_over_before_anybody_watched_is_no_news(here: World) -> None:
    for name in ("one", "two"):
        await here.settle(await pending(here, name))
    claim, _ = await running(here)
    apart = Hub(here.store, clock=here.clock, wants_exit=lambda: False)
    async with stream(app_of_hub(here, apart), EVENTS) as seen, passing_time(here):
        (snapshot,) = await seen.take(1)
        assert snapshot.data["total_count"] == 1
        apart.hear(News(everything=True))
        await here.clock.sleep(hub.LOOK_SECONDS[1] * 2)
        await here.settle(claim)
        apart.hear(News(everything=True))
        assert runs(await seen.take(1)) == [(claim.run.id, "success")]
    await apart.close()


async def test_a_database_that_goes_away_is_told_and_waited_for(
    here: World, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, _ = await running(here)

    async def away(*_: object) -> None:
        raise StoreUnavailable("password=hunter2")

    async with stream(app, EVENTS) as seen, passing_time(here):
        await seen.take(1)
        with monkeypatch.context() as patch:
            patch.setattr(here.store, "runs_by_id", away)
            await here.settle(claim, PAUSED)
            (trouble,) = await seen.take(1)
            assert (trouble.event, trouble.data["detail"]) == ("trouble", "The database does not answer at the moment")
        assert runs(await seen.take(1)) == [(claim.run.id, "paused")]
