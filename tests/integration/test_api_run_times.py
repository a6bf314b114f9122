"""When a run began and ended, how long it took and how late it was, wherever it is shown."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from tests.apis import World, app_of, client_of
from tests.insight_help import BOTH_STORES, MINUTE, START, schedule_with_past, world_on

from agentclock.core.ids import spread_ms
from agentclock.core.instants import iso_utc
from agentclock.core.planning import plan


@pytest.fixture(params=BOTH_STORES)
async def here(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with world_on(request) as made:
        yield made


@pytest.fixture
async def client(here: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app_of(here)) as made:
        yield made


async def asked(client: httpx2.AsyncClient, path: str) -> Any:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_run_tells_when_it_began_and_ended_and_how_late(here: World, client: httpx2.AsyncClient) -> None:
    past = await schedule_with_past(here, name="often", cron_expr="*/10 * * * *", jitter_seconds=20)
    delay = spread_ms(past.schedule_id, 20)
    here.clock.advance(600)
    await here.store.fire_due(plan, limit=1)
    here.clock.advance(ms=delay + 120)
    claim = await here.claim()
    path = f"/schedules/{past.schedule_id}/runs/{claim.run.id}"
    run = await asked(client, path)
    assert (run["started_at"], run["ended_at"]) == (iso_utc(START + 10 * MINUTE + delay + 120), None)
    assert (run["lateness_ms"], run["duration_ms"], run["retry_of"]) == (120, None, None)
    here.clock.advance(ms=2_500)
    await here.settle(claim)
    times = ("started_at", "ended_at", "duration_ms", "lateness_ms")
    run = await asked(client, path)
    assert (run["ended_at"], run["duration_ms"]) == (iso_utc(START + 10 * MINUTE + delay + 2_620), 2_500)
    for where in ("/runs", f"/schedules/{past.schedule_id}/runs"):
        (listed,) = (await asked(client, where))["data"]
        assert {name: listed[name] for name in times} == {name: run[name] for name in times}
    await here.scheduler.delete(past.schedule_id)
    (listed,) = (await asked(client, "/runs"))["data"]
    assert (listed["schedule_name"], listed["lateness_ms"], listed["duration_ms"]) == (None, None, 2_500)


async def test_a_run_that_was_asked_for_is_never_late(here: World, client: httpx2.AsyncClient) -> None:
    past = await schedule_with_past(here, name="often")
    answer = await client.post(f"/schedules/{past.schedule_id}/trigger")
    assert (answer.json()["lateness_ms"], answer.json()["started_at"]) == (None, None)
    here.clock.advance(5)
    await here.execute()
    run = await asked(client, answer.headers["location"])
    assert (run["lateness_ms"], run["started_at"], run["duration_ms"]) == (None, iso_utc(START + 5_000), 0)
