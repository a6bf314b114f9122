"""What needs attention: told when it is so, not told when it is not, and to nobody whom it does not concern."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from tests.apis import PAUSED, WORKER, World, app_of, client_of
from tests.insight_help import (
    BOTH_STORES,
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    START,
    Past,
    client_of_many,
    schedule_with_past,
    world_on,
)

from agentclock.core.instants import iso_utc
from agentclock.core.model import Instant, Reason, Schedule
from agentclock.insight import concerns as looks
from agentclock.scheduler import EngineState


@pytest.fixture(params=BOTH_STORES)
async def here(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with world_on(request) as made:
        yield made


@pytest.fixture
async def client(here: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app_of(here)) as made:
        yield made


async def concerns(client: httpx2.AsyncClient, query: str = "", **headers: str) -> list[dict[str, Any]]:
    answer = await client.get(f"/schedules/attention?{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


async def nightly(here: World, **fields: Any) -> Past:
    return await schedule_with_past(here, **{"name": "nightly"} | fields)


async def test_all_is_well(here: World, client: httpx2.AsyncClient) -> None:
    past = await nightly(here)
    await past.run(START - 2 * HOUR, "failed")
    await past.run(START - HOUR)
    answer = (await client.get("/schedules/attention")).json()
    assert answer == {"data": [], "is_complete": True}


async def test_failing_tells_how_often_since_when_and_what_to_do(here: World, client: httpx2.AsyncClient) -> None:
    past = await nightly(here)
    await past.run(START - 6 * HOUR, "failed")
    await past.run(START - 5 * HOUR)
    await past.run(START - 4 * HOUR, "failed", error="HTTP 500", status_code=500)
    await past.run(START - 3 * HOUR, "timeout")
    newest = await past.run(START - 2 * HOUR, "failed", error="HTTP 404 Not Found: no agent", status_code=404)
    await past.run(START - HOUR, "cancelled")
    (found,) = await concerns(client)
    assert found.pop("hint").startswith("Nothing is at this endpoint")
    assert found == {
        "kind": "failing",
        "severity": "urgent",
        "schedule_id": past.schedule_id,
        "schedule_name": "nightly",
        "run_id": newest,
        "since": iso_utc(START - 4 * HOUR),
        "count": 3,
        "title": "The newest 3 runs failed",
    }


@pytest.mark.parametrize(("failures", "count", "severity"), [(1, 1, "warning"), (2, 2, "warning"), (30, 20, "urgent")])
async def test_a_row_of_failures_is_counted_up_to_twenty(
    here: World, client: httpx2.AsyncClient, failures: int, count: int, severity: str
) -> None:
    past = await nightly(here)
    for number in range(failures):
        await past.run(START - (number + 1) * MINUTE, "failed", error=f"ZeroDivisionError: {number}")
    (found,) = await concerns(client)
    assert (found["kind"], found["count"], found["severity"]) == ("failing", count, severity)
    assert ("or more" in found["title"]) == (failures > count)
    assert found["hint"] == "ZeroDivisionError: 0"


async def test_what_failed_long_ago_or_is_switched_off_or_gone_is_left_alone(
    here: World, client: httpx2.AsyncClient
) -> None:
    old, off, gone = [await nightly(here, name=name) for name in ("old", "off", "gone")]
    await old.run(START - 8 * DAY, "failed")
    await off.run(START - HOUR, "failed")
    await gone.run(START - HOUR, "failed")
    await here.scheduler.disable(off.schedule_id)
    await here.scheduler.delete(gone.schedule_id)
    assert await concerns(client) == []


async def test_a_lost_run_is_told_even_if_the_next_one_went_well(here: World, client: httpx2.AsyncClient) -> None:
    well, ill = await nightly(here, name="well"), await nightly(here, name="ill")
    lost = await well.run(START - 2 * HOUR, "lost")
    await well.run(START - HOUR)
    await ill.run(START - 2 * HOUR, "lost")
    last = await ill.run(START - HOUR, "lost")
    first, second = await concerns(client)
    assert (first["kind"], first["severity"], first["run_id"], first["count"]) == ("lost", "warning", last, 2)
    assert (second["kind"], second["severity"], second["run_id"], second["count"]) == ("lost", "notice", lost, 1)
    assert "before running it again" in first["hint"]


async def test_a_run_that_waits_for_a_human_is_pressing_towards_its_end(
    here: World, client: httpx2.AsyncClient
) -> None:
    past = await nightly(here, approval_timeout_seconds=7200, cron_expr="")
    await here.scheduler.trigger(past.schedule_id)
    claim = await here.claim()
    await here.settle(claim, PAUSED)
    (found,) = await concerns(client)
    assert (found["kind"], found["severity"], found["run_id"]) == ("paused", "warning", claim.run.id)
    assert (found["since"], found["schedule_name"]) == (iso_utc(START), "nightly")
    assert found["title"] == "A run waits for a human, for another 2 h"
    here.clock.advance(3600)
    (found,) = await concerns(client)
    assert (found["severity"], found["title"]) == ("urgent", "A run waits for a human, for another 1 h")


async def test_overdue_is_what_nobody_plans_beyond_its_grace(here: World, client: httpx2.AsyncClient) -> None:
    past = await nightly(here, cron_expr="*/10 * * * *", misfire_grace_seconds=120)
    here.clock.advance(600 + 120)
    assert await concerns(client) == []
    here.clock.advance(ms=1)
    (found,) = await concerns(client)
    assert (found["kind"], found["severity"], found["schedule_id"]) == ("overdue", "urgent", past.schedule_id)
    assert (found["since"], found["run_id"]) == (iso_utc(START + 10 * MINUTE), None)
    assert found["title"] == "Due 2 min ago, and no engine has planned it"


async def test_disabled_is_told_only_if_nobody_wanted_it(here: World, client: httpx2.AsyncClient) -> None:
    by_hand, by_itself = await nightly(here, name="by hand"), await nightly(here, name="by itself")
    await here.scheduler.disable(by_hand.schedule_id)

    def fault(schedule: Schedule, now: Instant) -> Schedule:
        return replace(schedule, enabled=False, next_fire_at=None, disabled_reason="unknown time zone 'Mars/Base'")

    await here.scheduler.alter(by_itself.schedule_id, fault)
    (found,) = await concerns(client)
    assert (found["kind"], found["schedule_name"]) == ("disabled", "by itself")
    assert (found["title"], found["since"]) == ("Disabled: unknown time zone 'Mars/Base'", iso_utc(START))


async def test_missed_are_the_fires_of_a_day_also_of_a_row_that_began_before(
    here: World, client: httpx2.AsyncClient
) -> None:
    old, long, edited = [await nightly(here, name=name) for name in ("old", "long", "edited")]
    await old.missed(START - 3 * DAY, START - DAY - 1, 40)
    await long.missed(START - 2 * DAY, START - DAY, 30)
    newest = await long.missed(START - 2 * HOUR, START - HOUR, 2)
    await edited.missed(START - HOUR, START - HOUR, 1, Reason.CHANGED)
    first, second = await concerns(client)
    assert (first["kind"], first["severity"], first["schedule_name"]) == ("missed", "warning", "long")
    assert (first["count"], first["since"], first["run_id"]) == (32, iso_utc(START - 2 * DAY), newest)
    assert first["hint"] == Reason.OUTSIDE_WINDOW.text
    assert (second["severity"], second["schedule_name"], second["title"]) == ("notice", "edited", "1 fire was missed")


async def test_without_an_engine_nothing_is_more_urgent(here: World, client: httpx2.AsyncClient) -> None:
    past = await nightly(here)
    for hour in range(3):
        await past.run(START - (hour + 1) * HOUR, "failed")
    here.engine = EngineState(status="stopped")
    first, second = await concerns(client)
    assert (first["kind"], first["severity"], first["schedule_id"]) == ("no_worker", "urgent", None)
    assert second["kind"] == "failing"
    await here.store.acquire_engine(WORKER, 60)
    assert [found["kind"] for found in await concerns(client)] == ["failing"]


async def test_a_run_takes_long_by_what_is_usual(here: World, client: httpx2.AsyncClient) -> None:
    past = await nightly(here, cron_expr="")
    await here.scheduler.trigger(past.schedule_id)
    claim = await here.claim()
    here.clock.advance(90)
    assert await concerns(client) == []
    for number in range(5):
        await past.run(START - (number + 1) * HOUR, completed_at=START - (number + 1) * HOUR + 5 + 30 * SECOND)
    assert await concerns(client) == []
    here.clock.advance(1)
    (found,) = await concerns(client)
    assert (found["kind"], found["severity"], found["run_id"]) == ("long_running", "notice", claim.run.id)
    assert found["title"] == "Running for 1 min 31 s; nearly all runs take 30 s at most"


async def test_what_is_left_out_is_told(
    here: World, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        past = await nightly(here, name=f"number {number}")
        await past.run(START - (number + 1) * HOUR, "failed")
    answer = (await client.get("/schedules/attention?limit=2")).json()
    assert [found["schedule_name"] for found in answer["data"]] == ["number 0", "number 1"]
    assert not answer["is_complete"]
    assert (await client.get("/schedules/attention?limit=3")).json()["is_complete"]
    monkeypatch.setattr(looks, "MOST_OF_A_KIND", 2)
    answer = (await client.get("/schedules/attention")).json()
    assert (len(answer["data"]), answer["is_complete"]) == (2, False)


async def test_it_is_about_ones_own_schedules(here: World) -> None:
    ann = await nightly(here, name="of ann", user_id="ann", cron_expr="*/10 * * * *")
    await nightly(here, name="of eve", user_id="eve")
    await ann.run(START - HOUR, "failed")
    await ann.run(START - 2 * HOUR, "lost")
    await ann.missed(START - 3 * HOUR, START - 3 * HOUR, 1)
    await here.scheduler.trigger(ann.schedule_id)
    await here.settle(await here.claim(), PAUSED)
    here.clock.advance(3600)
    async with client_of_many(here) as client:
        assert await concerns(client, **{"x-user": "eve"}) == []
        kinds = [found["kind"] for found in await concerns(client, **{"x-user": "ann"})]
        assert kinds == ["overdue", "failing", "paused", "missed"]
        assert {found["schedule_name"] for found in await concerns(client)} == {"of ann"}
