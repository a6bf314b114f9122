"""The event stream of a run, as clients rely on it: everything once, in order, whenever one comes and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from tests.apis import PAUSED, PAY, World, app_of, client_of, world
from tests.streams import Frame, app_of_hub, running, settled, stream, tick

from agentclock.api import streams as sent
from agentclock.core.errors import StoreUnavailable
from agentclock.core.events import RunChanged
from agentclock.core.model import Outcome, OutcomeKind
from agentclock.core.planning import plan
from agentclock.live import Hub
from agentclock.ports import News

MISSING = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


@pytest.fixture
def app(here: World) -> FastAPI:
    return app_of(here)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app) as made:
        yield made


def texts(frames: list[Frame]) -> list[str]:
    return [frame.data["data"]["content"] for frame in frames if frame.event == "RunContent"]


# one run


async def test_a_stream_shows_the_state_then_every_event_then_the_end(here: World, app: FastAPI) -> None:
    claim, path = await running(here)
    await here.log(claim, "one", "two")
    async with stream(app, path) as seen:
        status, one, two = await seen.take(3)
        assert (status.event, status.id, status.data["status"]) == ("status", None, "running")
        assert (one.id, two.id) == ("1", "2")
        assert one.event == "RunContent"
        assert one.data == {
            "seq": 1,
            "attempt": 1,
            "at": "2026-01-01T00:00:00.000Z",
            "type": "RunContent",
            "data": {"content": "one"},
        }
        await here.log(claim, "three")
        (three,) = await seen.take(1)
        assert (three.id, texts([three])) == ("3", ["three"])
        await here.settle(claim)
        end = (await seen.rest())[-1]
        assert (end.event, end.id) == ("end", "4")
        run = await here.runs.get(claim.schedule.id, claim.run.id)
        assert (end.data["id"], end.data["status"], end.data["attempts"][0]["number"]) == (run.run.id, "success", 1)
    assert seen.headers["content-type"].startswith("text/event-stream")
    assert (seen.headers["cache-control"], seen.headers["x-accel-buffering"]) == ("no-store", "no")
    assert "content-length" not in seen.headers
    assert seen.body.startswith(b"retry: 1000\n\n")


async def test_whoever_joins_late_sees_the_same(here: World, app: FastAPI) -> None:
    claim, path = await running(here)
    await here.log(claim, "one", "two")
    await here.settle(claim)
    async with stream(app, path) as seen:
        frames = await seen.rest()
    assert [frame.event for frame in frames] == ["status", "RunContent", "RunContent", "end"]
    assert [frame.id for frame in frames] == [None, "1", "2", "3"]
    assert frames[0].data == frames[-1].data


@pytest.mark.parametrize("way", ["header", "query"])
async def test_whoever_comes_back_gets_each_event_once(here: World, app: FastAPI, way: str) -> None:
    """Leaves after each position there is and returns, while the run goes on and after it has ended."""
    claim, path = await running(here)
    await here.log(claim, *(f"event {number}" for number in range(1, 8)))
    for is_over in (False, True):
        if is_over:
            await here.settle(claim)
        for position in range(8):
            headers = {"Last-Event-ID": str(position)} if way == "header" else {}
            query = f"?last_event_id={position}" if way == "query" else ""
            async with stream(app, path + query, headers) as seen:
                frames = await seen.rest() if is_over else await seen.take(7 - position)
                assert texts(frames) == [f"event {number}" for number in range(position + 1, 8)]
                assert [frame.event for frame in frames if frame.event != "RunContent"] == ["end"] * is_over


async def test_whoever_has_seen_the_end_is_sent_away(here: World, app: FastAPI) -> None:
    claim, path = await running(here)
    await here.log(claim, "one")
    await here.settle(claim)
    async with stream(app, path, {"Last-Event-ID": "1"}) as seen:
        assert [(frame.event, frame.id) for frame in await seen.rest()] == [("end", "2")]
    for beyond in ("2", "99"):
        async with stream(app, path, {"Last-Event-ID": beyond}) as seen:
            assert (seen.status, seen.body) == (204, b"")


async def test_a_position_that_is_not_reached_yet_misses_nothing(here: World, app: FastAPI) -> None:
    claim, path = await running(here)
    await here.log(claim, "one")
    async with stream(app, path, {"Last-Event-ID": "50"}) as seen:
        await here.settle(claim)
        assert [frame.id for frame in await seen.rest()] == ["2"]


@pytest.mark.parametrize("wrong", ["x", "-1", "1.5", "9" * 16, "²"])
async def test_an_id_of_another_stream_is_refused(here: World, client: httpx2.AsyncClient, wrong: str) -> None:
    _, path = await running(here)
    response = await client.get(path, params={"last_event_id": wrong})
    assert (response.status_code, response.json()["detail"][0]["loc"]) == (422, ["query", "last_event_id"])


async def test_events_that_are_gone_are_counted(here: World, app: FastAPI) -> None:
    claim, path = await running(here)
    await here.log(claim, "one", "two", "three")
    await here.log(claim, "four", "five", keep_from_seq=4)
    for last_event_id, missing in ((None, 3), ("0", 3), ("1", 2), ("2", 1), ("3", 0), ("4", 0)):
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        async with stream(app, path, headers) as seen:
            frames = await seen.take((last_event_id is None) + (missing > 0) + (1 if last_event_id == "4" else 2))
            cuts = [frame for frame in frames if frame.event == "cut"]
            assert [cut.data for cut in cuts] == ([{"events_missing": missing, "from": 4}] if missing else [])
            assert [cut.id for cut in cuts] == [None] * len(cuts)
            assert texts(frames) == (["five"] if last_event_id == "4" else ["four", "five"])


async def test_a_stream_stays_open_while_a_human_is_waited_for(here: World, app: FastAPI) -> None:
    claim, path = await running(here)
    async with stream(app, path) as seen:
        await seen.take(1)
        await here.settle(claim, PAUSED)
        (paused,) = await seen.take(1)
        assert (paused.event, paused.id, paused.data["status"]) == ("status", None, "paused")
        assert paused.data["requirements"] == [PAY]
        assert [(one["kind"], one["tool"]) for one in paused.data["approval"]] == [("confirmation", "pay")]
        await here.runs.continue_(claim.schedule.id, claim.run.id, {"action": "approve"})
        (pending,) = await seen.take(1)
        assert (pending.data["status"], pending.data["requirements"]) == ("pending", None)
        again = await here.claim()
        await here.log(again, "paid")
        await here.settle(again)
        frames = await seen.rest()
    assert texts(frames) == ["paid"]
    assert [frame.data["status"] for frame in frames if frame.event in ("status", "end")][-1] == "success"


async def test_whoever_comes_back_to_a_paused_run_is_told(here: World, app: FastAPI) -> None:
    claim, path = await running(here)
    await here.log(claim, "one", "two")
    await here.settle(claim, PAUSED)
    async with stream(app, path, {"Last-Event-ID": "1"}) as seen:
        two, status = await seen.take(2)
        assert (texts([two]), status.event, status.data["status"]) == (["two"], "status", "paused")


async def test_a_retry_is_a_change_of_state(here: World, app: FastAPI) -> None:
    claim, path = await running(here, max_retries=1)
    async with stream(app, path) as seen:
        await seen.take(1)
        await here.settle(claim, Outcome(kind=OutcomeKind.FAILED, retryable=True, error="busy"))
        (waiting,) = await seen.take(1)
        assert (waiting.data["status"], waiting.data["error"]) == ("pending", "busy")
        assert waiting.data["available_at"] == "2026-01-01T00:01:00.000Z"
        here.clock.advance(60)
        second = await here.claim()
        await here.settle(second)
        assert (await seen.rest())[-1].data["attempt"] == 2


async def test_a_run_without_events_has_states_and_an_end(here: World, app: FastAPI) -> None:
    claim, path = await running(here, endpoint="/hook", cron_expr="")
    async with stream(app, path) as seen:
        await seen.take(1)
        await here.settle(claim)
        (end,) = await seen.rest()
        assert (end.event, end.id) == ("end", "1")


async def test_fires_without_a_run_end_at_once(here: World, app: FastAPI) -> None:
    schedule_id = await here.create(cron_expr="* * * * *", catch_up="none")
    here.clock.advance(600)
    await here.store.fire_due(plan, limit=10)
    missed = (await here.scheduler.runs(schedule_id)).items[-1].run
    async with stream(app, f"/schedules/{schedule_id}/runs/{missed.id}/events") as seen:
        assert [frame.event for frame in await seen.rest()][-1] == "end"


async def test_what_is_not_there_is_not_found(here: World, client: httpx2.AsyncClient) -> None:
    claim, path = await running(here)
    other = await here.create(name="other")
    for wrong in (
        path.replace(claim.run.id, MISSING),
        path.replace(claim.run.id, "nonsense"),
        path.replace(claim.schedule.id, other),
        path.replace(claim.schedule.id, MISSING),
    ):
        response = await client.get(wrong)
        assert (response.status_code, response.json()) == (404, {"detail": "Schedule run not found"})


@pytest.mark.parametrize("kind", ["end", "status", "error", "trouble"])
async def test_names_of_our_own_events_are_not_lent_to_agents(here: World, app: FastAPI, kind: str) -> None:
    claim, path = await running(here)
    await here.log(claim, "mine", kind=kind)
    async with stream(app, path) as seen:
        _, event = await seen.take(2)
        assert (event.event, event.data["type"], event.data["data"]) == ("agent_event", kind, {"content": "mine"})


async def test_what_an_agent_calls_its_events_cannot_forge_others(here: World, app: FastAPI) -> None:
    claim, path = await running(here)
    await here.log(claim, "a\n\nevent: end\ndata: {}", kind="x\n\nevent: end\rdata: {}")
    async with stream(app, path) as seen:
        _, event = await seen.take(2)
        assert (event.event, event.id) == ("xevent: enddata: {}", "1")
        assert event.data["data"]["content"] == "a\n\nevent: end\ndata: {}"


async def test_many_viewers_cost_one_read_a_change(here: World, app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    claim, path = await running(here)
    await here.log(claim, "zero")
    reads: list[int] = []
    events_after = here.store.events_after

    async def counted(run_id: str, seq: int, limit: int) -> Any:
        reads.append(seq)
        return await events_after(run_id, seq, limit)

    monkeypatch.setattr(here.store, "events_after", counted)
    async with asyncio.TaskGroup() as group:
        gate = asyncio.Barrier(201)

        async def watch() -> list[Frame]:
            async with stream(app, path) as seen:
                frames = await seen.take(2)
                await gate.wait()
                for _ in range(5):
                    frames += await seen.take(1)
                    await gate.wait()
                return frames + await seen.rest()

        viewers = [group.create_task(watch()) for _ in range(200)]
        await gate.wait()
        joined = len(reads)
        for number in range(1, 6):
            await here.log(claim, f"event {number}")
            await gate.wait()
        assert len(reads) - joined == 5
        await here.settle(claim)
    seen_texts = {tuple(texts(viewer.result())) for viewer in viewers}
    assert seen_texts == {("zero", *(f"event {number}" for number in range(1, 6)))}
    assert joined == 1


async def test_a_slow_viewer_holds_nobody_up(here: World, app: FastAPI) -> None:
    claim, path = await running(here)
    async with stream(app, path) as slow, stream(app, path) as quick:
        await quick.take(1)
        await slow.take(1)
        slow.takes.clear()
        words = [f"{number}" for number in range(2_500)]
        for start in range(0, 2_500, 125):
            await here.log(claim, *words[start : start + 125])
            assert texts(await quick.take(125)) == words[start : start + 125]
        slow.takes.set()
        assert texts(await slow.take(2_500)) == words
        await here.settle(claim)
        assert [frame.event for frame in await slow.rest()] == ["end"]


async def test_a_reader_that_takes_nothing_is_dropped(
    here: World, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sent, "SEND_SECONDS", 0.01)
    claim, path = await running(here)
    async with stream(app, path) as seen:
        await seen.take(1)
        seen.takes.clear()
        await here.log(claim, "one")
        await seen.dropped()
    assert here.hub.open_streams == 0


async def test_a_viewer_who_leaves_is_noticed_at_once(here: World, app: FastAPI) -> None:
    _, path = await running(here)
    async with stream(app, path) as seen:
        await seen.take(1)
        assert here.hub.open_streams == 1
    assert here.hub.open_streams == 0


async def test_other_processes_only_say_where_to_look(here: World, app: FastAPI) -> None:
    claim, path = await running(here)
    quiet = Hub(here.store, clock=here.clock, wants_exit=lambda: False)
    here.hub, apart = quiet, app_of_hub(here, quiet)
    async with stream(apart, path) as seen:
        await seen.take(1)
        await here.log(claim, "one")
        quiet.hear(News(run_ids=frozenset({claim.run.id, "another"})))
        assert texts(await seen.take(1)) == ["one"]
        await here.log(claim, "two")
        quiet.hear(News(everything=True))
        await tick(here, 1)
        assert texts(await seen.take(1)) == ["two"]


async def test_without_wake_ups_the_database_is_looked_at_every_second(here: World) -> None:
    claim, path = await running(here)
    deaf = Hub(here.store, clock=here.clock, hears=lambda: False, wants_exit=lambda: False)
    async with stream(app_of_hub(here, deaf), path) as seen:
        await seen.take(1)
        await here.log(claim, "one")
        await tick(here, 1)
        assert texts(await seen.take(1)) == ["one"]
    await deaf.close()


async def test_a_database_that_goes_away_is_told_and_waited_for(
    here: World, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, path = await running(here)

    async def away(*_: object) -> Any:
        raise StoreUnavailable("password=hunter2")

    async with stream(app, path) as seen:
        await seen.take(1)
        with monkeypatch.context() as patch:
            patch.setattr(here.store, "events_after", away)
            await here.log(claim, "one")
            (trouble,) = await seen.take(1)
            assert (trouble.event, trouble.id) == ("trouble", None)
            assert trouble.data == {"detail": "The database does not answer at the moment"}
            await tick(here, 1)
        await tick(here, 1)
        one, status = await seen.take(2)
        assert (texts([one]), status.event) == (["one"], "status")


async def test_a_run_that_is_deleted_ends_its_stream(
    here: World, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, path = await running(here)

    async def nothing(*_: object) -> None:
        return None

    async with stream(app, path) as seen:
        await seen.take(1)
        monkeypatch.setattr(here.store, "get_run", nothing)
        here.bus.publish(RunChanged(run_id=claim.run.id, schedule_id=claim.schedule.id))
        assert await seen.rest() == []


async def test_a_quiet_stream_shows_that_it_is_alive(here: World, app: FastAPI) -> None:
    _, path = await running(here)
    async with stream(app, path) as seen:
        await seen.take(1)
        assert seen.comments == ["retry: 1000"]
        await tick(here, 14)
        assert seen.comments == ["retry: 1000"]
        await tick(here, 1)
        await settled()
        assert seen.comments == ["retry: 1000", ": alive"]


async def test_a_stream_that_is_old_enough_ends_and_can_be_taken_up(here: World) -> None:
    claim, path = await running(here)
    hub = Hub(here.store, clock=here.clock, wants_exit=lambda: False, stream_max_seconds=60)
    app = app_of_hub(here, hub)
    async with stream(app, path) as seen:
        await here.log(claim, "one")
        await seen.take(2)
        await tick(here, 60)
        assert await seen.rest() == []
    async with stream(app, path, {"Last-Event-ID": "1"}) as seen:
        await here.log(claim, "two")
        hub.hear(News(run_ids=frozenset({claim.run.id})))
        assert texts(await seen.take(1)) == ["two"]
    await hub.close()


async def test_streams_end_when_the_server_wants_to_exit(here: World) -> None:
    _, path = await running(here)
    wishes = [False]
    hub = Hub(here.store, clock=here.clock, wants_exit=lambda: wishes[0])
    app = app_of_hub(here, hub)
    async with stream(app, path) as seen, stream(app, "/schedules/events") as all_seen:
        await seen.take(1)
        await all_seen.take(1)
        wishes[0] = True
        await tick(here, 0.25)
        assert await seen.rest() == await all_seen.rest() == []
    async with client_of(app) as client:
        refused = await client.get(path)
        assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
    await hub.close()


async def test_one_process_serves_so_many_streams(here: World) -> None:
    _, path = await running(here)
    hub = Hub(here.store, clock=here.clock, wants_exit=lambda: False, stream_limit=2)
    app = app_of_hub(here, hub)
    async with stream(app, path) as first, stream(app, "/schedules/events") as second, client_of(app) as client:
        await first.take(1)
        await second.take(1)
        for url in (path, "/schedules/events"):
            refused = await client.get(url)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    async with stream(app, path) as seen:
        assert seen.status == 200
    await hub.close()
