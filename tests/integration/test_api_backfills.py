"""Backfills over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import Request
from tests.apis import DRAFT, World, app_of, client_of, world

from agentclock.api import Caller, OpenGuard, Permission
from agentclock.core.errors import Forbidden
from agentclock.core.model import Target

NIGHTS = {"from": "2026-01-01", "until": "2026-01-04T00:00:00Z"}


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


@pytest.fixture
async def url(here: World) -> str:
    """Of the backfills of a schedule that is due every night at three and has been for four days."""
    schedule_id = await here.create(timezone="Europe/Berlin")
    here.clock.advance(seconds=4 * 86_400)
    return f"/schedules/{schedule_id}/backfills"


@pytest.fixture
async def client(here: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app_of(here)) as made:
        yield made


async def test_from_the_question_to_the_end(here: World, client: httpx2.AsyncClient, url: str) -> None:
    asked = await client.post(url, json=NIGHTS | {"dry_run": True})
    assert asked.status_code == 200
    assert asked.json() == {
        "backfill": None,
        "to_run": 3,
        "fires": [
            {"fire_at": f"2026-01-0{day}T02:00:00.000Z", "local": f"2026-01-0{day}T03:00:00+01:00", "found": None}
            | {"runs": True}
            for day in (1, 2, 3)
        ],
    }
    made = await client.post(url, json=NIGHTS | {"concurrency": 2})
    assert (made.status_code, made.headers["Location"]) == (201, url)
    backfill = made.json()["backfill"]
    assert (backfill["from"], backfill["until"]) == ("2025-12-31T23:00:00.000Z", "2026-01-04T00:00:00.000Z")
    assert (backfill["existing"], backfill["concurrency"], backfill["fires"]) == ("skip", 2, 3)
    await here.execute()
    [listed] = (await client.get(url)).json()["data"]
    assert (listed["id"], listed["left"], listed["runs"]) == (backfill["id"], 2, {"success": 1, "pending": 2})
    ended = await client.post(f"{url}/{backfill['id']}/cancel")
    assert (ended.status_code, ended.json()["left"]) == (200, 0)
    assert ended.json()["runs"] == {"success": 1, "cancelled": 2}
    assert ended.json()["cancelled_at"] is not None
    runs = await client.get(url.replace("/backfills", "/runs"), params={"cause": "backfill"})
    assert {run["cause"] for run in runs.json()["data"]} == {"backfill"}


async def test_nothing_left_to_run_makes_nothing(client: httpx2.AsyncClient, url: str) -> None:
    assert (await client.post(url, json=NIGHTS)).status_code == 201
    again = await client.post(url, json=NIGHTS)
    assert (again.status_code, again.json()["backfill"], again.json()["to_run"]) == (200, None, 0)
    assert {fire["found"] for fire in again.json()["fires"]} == {"pending"}


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({"until": "2026-01-04"}, "from", "Field required"),
        (NIGHTS | {"until": "2027-01-01"}, "until", "lies in the future"),
        (NIGHTS | {"from": "2026-02-01"}, "from", "must lie before until"),
        (NIGHTS | {"concurrency": 0}, "concurrency", "greater than or equal to 1"),
        (NIGHTS | {"exiting": "all"}, "exiting", "did you mean 'existing'?"),
    ],
)
async def test_what_is_wrong_is_named(
    client: httpx2.AsyncClient, url: str, body: dict[str, object], field: str, message: str
) -> None:
    answer = await client.post(url, json=body)
    assert answer.status_code == 422
    [fault] = answer.json()["detail"]
    assert fault["loc"] == ["body", field]
    assert message in fault["msg"]


async def test_what_is_not_there(client: httpx2.AsyncClient, url: str) -> None:
    for answer in (
        await client.get("/schedules/none/backfills"),
        await client.post("/schedules/none/backfills", json=NIGHTS),
        await client.post(f"{url}/none/cancel"),
    ):
        assert answer.status_code == 404


class Wary(OpenGuard):
    """Lets nobody call anything, and knows them by name."""

    async def admit(self, request: Request, permission: Permission) -> Caller:
        return Caller(name="ada")

    async def may_call(self, request: Request, target: Target) -> None:
        if request.headers.get("wary") != "no":
            raise Forbidden(f"not {target.endpoint}")


async def test_whoever_may_not_call_the_agent_may_not_fill(here: World, url: str) -> None:
    async with client_of(app_of(here, guard=Wary())) as client:
        refused = await client.post(url, json=NIGHTS)
        assert (refused.status_code, refused.json()["detail"]) == (403, f"not {DRAFT['endpoint']}")
        assert (await client.get(url)).json() == {"data": []}
        made = await client.post(url, json=NIGHTS, headers={"wary": "no"})
        assert made.json()["backfill"]["by"] == "ada"
