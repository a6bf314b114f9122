"""Finding schedules and runs among many: filters, orders, and what a row shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from tests.apis import DRAFT, World, app_of, client_of, world

from agentclock.api import Caller, Permission
from agentclock.core.model import Outcome, OutcomeKind, Target


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


@pytest.fixture
async def client(here: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app_of(here)) as made:
        yield made


@pytest.fixture
async def three(here: World) -> None:
    rows: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"name": "Beta report", "cron_expr": "0 5 * * *", "tags": ["Money"]}, {"user_id": "ada"}),
        ({"name": "alpha", "cron_expr": None, "description": "The REPORT of all"}, {"managed_by": "apply:ops"}),
        ({"name": "gamma", "cron_expr": "0 1 * * *", "endpoint": "/hooks/report"}, {"user_id": "eve"}),
    ]
    for fields, options in rows:
        await here.scheduler.create(DRAFT | fields, **options)
        here.clock.advance(1)


async def names(client: httpx2.AsyncClient, query: str) -> list[str]:
    answer = await client.get(f"/schedules?{query}")
    assert answer.status_code == 200, answer.text
    return [row["name"] for row in answer.json()["data"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["gamma", "alpha", "Beta report"]),
        ("sort=newest", ["gamma", "alpha", "Beta report"]),
        ("sort=name", ["alpha", "Beta report", "gamma"]),
        ("sort=next_fire", ["gamma", "Beta report", "alpha"]),
        ("q=report&sort=name", ["alpha", "Beta report", "gamma"]),
        ("q=MONEY", ["Beta report"]),
        ("q=%25", []),
        ("name=a&q=hooks", ["gamma"]),
        ("owner=ada", ["Beta report"]),
        ("owner=nobody", []),
        ("managed_by=apply:ops", ["alpha"]),
        ("managed_by=apply", []),
        ("q=&owner=&managed_by=&tag=", ["gamma", "alpha", "Beta report"]),
    ],
)
async def test_schedules_are_found_and_ordered(
    client: httpx2.AsyncClient, three: None, query: str, expected: list[str]
) -> None:
    assert await names(client, query) == expected


@pytest.mark.parametrize("sort", ["newest", "name", "next_fire"])
async def test_pages_go_on_in_the_order_that_they_began_with(
    client: httpx2.AsyncClient, three: None, sort: str
) -> None:
    everything, shown, cursor = await names(client, f"sort={sort}"), list[str](), ""
    while True:
        page = (await client.get(f"/schedules?sort={sort}&limit=1{cursor}")).json()
        shown += [row["name"] for row in page["data"]]
        if page["meta"]["next_cursor"] is None:
            break
        cursor = f"&cursor={page['meta']['next_cursor']}"
    assert shown == everything


@pytest.mark.parametrize("query", ["sort=size", "recent_runs=51", "recent_runs=-1", "q=%00", f"q={'x' * 256}"])
async def test_what_nobody_can_look_for_is_refused(client: httpx2.AsyncClient, query: str) -> None:
    assert (await client.get(f"/schedules?{query}")).status_code == 422


async def test_a_row_tells_when_it_fires_and_how_it_went(here: World, client: httpx2.AsyncClient) -> None:
    schedule_id = await here.create(overlap="allow", max_retries=0)
    for outcome in (Outcome(kind=OutcomeKind.FAILED, error="no"), None):
        await here.scheduler.trigger(schedule_id)
        claim = await here.claim()
        here.clock.advance(2)
        await here.settle(claim, outcome) if outcome else await here.settle(claim)
    [row] = (await client.get("/schedules")).json()["data"]
    assert (row["explanation"], row["recent_runs"]) == ("At 03:00, every day, UTC", None)
    [row] = (await client.get("/schedules?recent_runs=1")).json()["data"]
    [run] = row["recent_runs"]
    assert (run["status"], run["cause"], run["duration_ms"], run["fire_count"]) == ("success", "manual", 2_000, 1)
    assert run["started_at"] < run["ended_at"]
    [row] = (await client.get("/schedules?recent_runs=50")).json()["data"]
    assert [run["status"] for run in row["recent_runs"]] == ["success", "failed"]


class Ada:
    async def admit(self, request: Any, permission: Permission) -> Caller:
        return Caller(user_id="ada", owner="ada", name="ada")

    async def may_call(self, request: Any, target: Target) -> None: ...


async def test_who_is_confined_asks_for_others_in_vain(here: World, three: None) -> None:
    async with client_of(app_of(here, guard=Ada())) as client:
        assert await names(client, "") == ["Beta report"]
        assert await names(client, "owner=ada") == ["Beta report"]
        assert await names(client, "owner=eve") == []


async def test_runs_are_found_by_the_names_of_their_schedules(here: World, client: httpx2.AsyncClient) -> None:
    for name in ("Nightly report", "hourly", "report of all"):
        await here.scheduler.trigger(await here.create(name=name))
    for query, expected in (
        ("q=report", {"Nightly report", "report of all"}),
        ("q=REPORT&status=pending", {"Nightly report", "report of all"}),
        ("q=report&status=success", set()),
        ("q=nobody", set()),
        ("q=", {"Nightly report", "report of all", "hourly"}),
    ):
        data = (await client.get(f"/runs?{query}")).json()["data"]
        assert {row["schedule_name"] for row in data} == expected, query
    assert (await client.get("/runs?q=%00")).status_code == 422


# why


async def test_why_is_answered_in_one_sentence(here: World, client: httpx2.AsyncClient) -> None:
    schedule_id = await here.create()
    said = (await client.get(f"/schedules/{schedule_id}/why?at=2026-01-01T03:00")).json()
    assert (said["schedule_id"], said["verdict"], said["run_id"]) == (schedule_id, "future", None)
    assert (said["at"], said["local"]) == ("2026-01-01T03:00:00.000Z", "2026-01-01T03:00:00+00:00")
    assert said["answer"] == "That is still ahead: it is due at 03:00 on 1 January 2026, in 3 h."
    assert said["near"] == {"before": "2025-12-31T03:00:00.000Z", "after": "2026-01-02T03:00:00.000Z"}
    assert [fact["kind"] for fact in said["facts"]] == ["no_worker"]
    for wrong in ("soon", "2026-02-30", "9" * 64):
        assert (await client.get(f"/schedules/{schedule_id}/why?at={wrong}")).status_code == 422
    for nowhere in ("nonsense", "%00"):
        assert (await client.get(f"/schedules/{nowhere}/why")).status_code == 404


async def test_a_time_that_does_not_exist_is_no_instant(here: World, client: httpx2.AsyncClient) -> None:
    schedule_id = await here.create(cron_expr="*/30 * * * *", timezone="Europe/Rome")
    said = (await client.get(f"/schedules/{schedule_id}/why?at=2026-03-29T02:30")).json()
    assert (said["at"], said["local"], said["verdict"]) == (None, "2026-03-29T02:30:00", "does_not_exist")


async def test_why_is_answered_to_the_end_of_the_calendar(here: World, client: httpx2.AsyncClient) -> None:
    schedule_id = await here.create(cron_expr="*/30 * * * *", timezone="Europe/Rome")
    said = (await client.get(f"/schedules/{schedule_id}/why?at=9998-12-31T23:30:00Z")).json()
    assert said["local"] == "9999-01-01T00:30:00+01:00"
    assert (await client.get(f"/schedules/{schedule_id}/why?at=9999-01-01T00:00:00Z")).status_code == 422
