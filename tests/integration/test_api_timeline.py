"""The timeline: what was, what will be, and nothing of anybody else."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from tests.apis import World, app_of, client_of
from tests.insight_help import (
    BOTH_STORES,
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    START,
    client_of_many,
    schedule_with_past,
    world_on,
)

from agentclock.core.instants import iso_utc
from agentclock.insight import timelines

STATES = {
    *("pending", "running", "paused", "success", "failed", "timeout", "cancelled", "lost", "skipped", "missed"),
    "planned",
}


@pytest.fixture(params=BOTH_STORES)
async def here(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with world_on(request) as made:
        yield made


@pytest.fixture
async def client(here: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app_of(here)) as made:
        yield made


async def shown(client: httpx2.AsyncClient, query: str = "", **headers: str) -> Any:
    answer = await client.get(f"/schedules/timeline?{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_an_empty_one_is_a_day_around_now(here: World, client: httpx2.AsyncClient) -> None:
    here.clock.advance(90)
    found = await shown(client)
    assert (found["from"], found["to"]) == ("2025-12-31T12:01:00.000Z", "2026-01-01T12:01:00.000Z")
    assert (found["now"], found["bin_seconds"]) == ("2026-01-01T00:01:30.000Z", 300)
    series = found["bins"]["series"]
    assert series.keys() == STATES
    assert all(row == [0] * 288 for row in series.values())
    assert (found["lanes"], found["lanes_total"], found["seams"], found["busiest"]) == ([], 0, [], None)
    assert found["planned_is_complete"]
    assert found["bins"]["is_complete"]


async def test_the_past_is_counted_by_state_and_the_future_by_timetable(
    here: World, client: httpx2.AsyncClient
) -> None:
    past = await schedule_with_past(here, name="hourly", cron_expr="0 * * * *")
    await past.run(START - 90 * MINUTE)
    await past.run(START - 80 * MINUTE)
    await past.run(START - 30 * MINUTE, "failed")
    await past.missed(START - 20 * MINUTE, START - 10 * MINUTE, 7)
    bounds = f"from={iso_utc(START - 2 * HOUR)}&to={iso_utc(START + 3 * HOUR)}&bins=5"
    found = await shown(client, bounds)
    series = found["bins"]["series"]
    assert series["success"] == [2, 0, 0, 0, 0]
    assert series["failed"] == [0, 1, 0, 0, 0]
    assert series["missed"] == [0, 7, 0, 0, 0]
    assert series["planned"] == [0, 0, 0, 1, 1]
    assert found["busiest"] == {"at": iso_utc(START + HOUR), "fires": 1, "schedules": ["hourly"]}


async def test_lanes_come_soonest_fire_first_with_their_runs_oldest_first(
    here: World, client: httpx2.AsyncClient
) -> None:
    late = await schedule_with_past(here, name="late", cron_expr="0 9 * * *", timezone="Asia/Tokyo")
    soon = await schedule_with_past(here, name="soon", cron_expr="*/30 * * * *")
    off = await schedule_with_past(here, name="off")
    await here.scheduler.disable(off.schedule_id)
    failed = await soon.run(START - 10 * MINUTE, "failed")
    well = await soon.run(START - 20 * MINUTE)
    lost = await soon.missed(START - 50 * MINUTE, START - 40 * MINUTE, 3)
    found = await shown(client)
    assert [lane["name"] for lane in found["lanes"]] == ["soon", "late", "off"]
    assert found["lanes_total"] == 3
    first, second, third = found["lanes"]
    assert (first["schedule_id"], first["timezone"], first["enabled"]) == (soon.schedule_id, "UTC", True)
    assert first["marks"] == {
        "fire_at_ms": [START - 50 * MINUTE, START - 20 * MINUTE, START - 10 * MINUTE],
        "started_at_ms": [None, START - 20 * MINUTE + 5, START - 10 * MINUTE + 5],
        "ended_at_ms": [START - 40 * MINUTE, START - 20 * MINUTE + 5 + SECOND, START - 10 * MINUTE + 5 + SECOND],
        "status": ["missed", "success", "failed"],
        "cause": ["schedule"] * 3,
        "count": [3, 1, 1],
        "run_id": [lost, well, failed],
    }
    assert first["planned_ms"] == list(range(START + 30 * MINUTE, START + 12 * HOUR, 30 * MINUTE))
    assert (second["schedule_id"], second["planned_ms"]) == (late.schedule_id, [])
    assert (third["enabled"], third["planned_ms"], third["is_complete"]) == (False, [], True)
    page = await shown(client, "lanes=2&page=2")
    assert ([lane["name"] for lane in page["lanes"]], page["lanes_total"]) == (["off"], 3)
    assert (await shown(client, "lanes=0"))["lanes"] == []


async def test_what_is_overdue_is_still_to_come(here: World, client: httpx2.AsyncClient) -> None:
    await schedule_with_past(here, name="hourly", cron_expr="0 * * * *")
    here.clock.advance(90 * 60)
    found = await shown(client, "bins=24")
    assert found["lanes"][0]["planned_ms"][:2] == [START + HOUR, START + 2 * HOUR]
    assert found["bins"]["series"]["planned"] == [0] * 11 + [1] * 13


async def test_a_filter_narrows_everything(here: World, client: httpx2.AsyncClient) -> None:
    one = await schedule_with_past(here, name="one", cron_expr="0 * * * *", tags=["night"])
    two = await schedule_with_past(here, name="two", cron_expr="0 * * * *")
    await one.run(START - HOUR)
    await two.run(START - HOUR, "failed")
    for query in ("q=NIGHT", "tag=night", "name=one"):
        found = await shown(client, f"{query}&bins=1")
        series = found["bins"]["series"]
        assert (series["success"], series["failed"], series["planned"]) == ([1], [0], [11])
        assert [lane["name"] for lane in found["lanes"]] == ["one"]
        assert found["busiest"]["schedules"] == ["one"]
    nothing = await shown(client, "name=three&bins=1")
    assert (nothing["lanes_total"], nothing["bins"]["series"]["success"]) == (0, [0])


async def test_clock_changes_of_the_zones_in_use_are_seams(here: World, client: httpx2.AsyncClient) -> None:
    await schedule_with_past(here, name="berlin", timezone="Europe/Berlin")
    await schedule_with_past(here, name="new york", timezone="America/New_York")
    found = await shown(client, "from=2026-03-28&to=2026-03-30")
    assert found["seams"] == [
        {
            "timezone": "Europe/Berlin",
            "at": "2026-03-29T01:00:00.000Z",
            "text": "clocks go forward from 02:00 to 03:00",
        }
    ]


async def test_what_is_too_much_is_cut_and_told(
    here: World, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = await schedule_with_past(here, name="busy", cron_expr="* * * * *")
    await schedule_with_past(here, name="calm", cron_expr="0 * * * *")
    for minute in range(3):
        await past.run(START - (minute + 1) * MINUTE)
    monkeypatch.setattr(timelines, "LANE_RUNS", 2)
    cut = (await shown(client))["lanes"][0]
    assert (cut["is_complete"], cut["marks"]["fire_at_ms"]) == (False, [START - 2 * MINUTE, START - MINUTE])
    monkeypatch.setattr(timelines, "MOST_FIRES", 100)
    assert not (await shown(client))["planned_is_complete"]
    monkeypatch.setattr(timelines, "MOST_SCHEDULES", 1)
    found = await shown(client, "q=c")
    assert (found["lanes_total"], found["bins"]["is_complete"], found["planned_is_complete"]) == (1, True, True)
    found = await shown(client, "q=agents")
    assert (found["lanes_total"], found["bins"]["is_complete"], found["planned_is_complete"]) == (2, False, False)


async def test_it_is_compressed_for_those_who_say_so(here: World, client: httpx2.AsyncClient) -> None:
    async def raw(**headers: str) -> tuple[httpx2.Response, bytes]:
        async with client.stream("GET", "/schedules/timeline", headers=headers) as answer:
            return answer, b"".join([piece async for piece in answer.aiter_raw()])

    plain, content = await raw(**{"accept-encoding": "identity"})
    assert (plain.headers.get("content-encoding"), plain.headers["vary"]) == (None, "Accept-Encoding")
    packed, squeezed = await raw(**{"accept-encoding": "br, gzip;q=0.5"})
    assert packed.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(squeezed)) == json.loads(content)
    refused, _ = await raw(**{"accept-encoding": "gzip;q=0, deflate"})
    assert "content-encoding" not in refused.headers


async def test_nobody_sees_anything_of_anybody_else(here: World) -> None:
    """Eve's schedule fires at the same times as Ann's, and has a past of its own."""
    ann = await schedule_with_past(here, name="of ann", cron_expr="0 * * * *", user_id="ann", timezone="Europe/Berlin")
    eve = await schedule_with_past(here, name="of eve", cron_expr="0 * * * *", user_id="eve", timezone="Asia/Tokyo")
    await ann.run(START - HOUR)
    await eve.run(START - HOUR, "failed")
    async with client_of_many(here) as client:
        for query in ("bins=1", "bins=1&name=of", "bins=1&owner=eve", f"bins=1&from={iso_utc(START - DAY)}"):
            found = await shown(client, query, **{"x-user": "eve"})
            assert "of ann" not in json.dumps(found)
            assert found["bins"]["series"]["success"] == [0]
            assert found["bins"]["series"]["failed"] == [1]
            assert (found["lanes_total"], found["busiest"]["fires"]) == (1, 1)
        assert (await shown(client, "owner=ann", **{"x-user": "eve"}))["lanes_total"] == 0
        foreign = await shown(client, "owner=ann&bins=1", **{"x-user": "eve"})
        assert foreign["bins"]["series"] == {state: [0] for state in STATES}
        seams = await shown(client, "from=2026-03-28&to=2026-03-30", **{"x-user": "eve"})
        assert seams["seams"] == []
        assert (await shown(client, "owner=ann"))["lanes_total"] == 1
        assert (await shown(client))["lanes_total"] == 2
