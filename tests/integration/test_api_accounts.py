"""A schedule's accounts and revisions over REST, and who is named for what."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import Request
from tests.apis import DRAFT, World, app_of, client_of, world

from agentclock.api import Caller, OpenGuard, Permission
from agentclock.core.planning import plan

HOUR = 3_600


class Named(OpenGuard):
    """Callers name themselves, and see all rows unless they say whose."""

    async def admit(self, request: Request, permission: Permission) -> Caller:
        owner = request.headers.get("x-owner")
        return Caller(user_id=owner, owner=owner, name=request.headers.get("x-name"))


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


@pytest.fixture
async def client(here: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app_of(here)) as opened:
        yield opened


@pytest.fixture
async def named(here: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app_of(here, guard=Named())) as opened:
        yield opened


async def passed(here: World, hours: float) -> None:
    here.clock.advance(hours * HOUR)
    while (await here.store.fire_due(plan, limit=10)).planned:
        pass


async def answer(client: httpx2.AsyncClient, path: str, **parameters: Any) -> Any:
    answered = await client.get(path, params=parameters)
    assert answered.status_code == 200, answered.text
    return answered.json()


async def test_every_fire_of_any_range_is_accounted_for(here: World, client: httpx2.AsyncClient) -> None:
    schedule_id = await here.create(cron_expr="0 * * * *", overlap="allow", catch_up="none")
    await passed(here, 5.5)  # five are missed, as nothing ran
    path = f"/schedules/{schedule_id}/accounting"
    whole = await answer(client, path)
    figures = {"due": 5, "runs": 0, "skipped": 0, "missed": 5, "balanced": True, "trouble": None, "overdue_ms": 0}
    assert whole | figures == whole
    assert (whole["from"], whole["until"]) == ("2026-01-01T00:00:00.001Z", "2026-01-01T05:30:00.001Z")
    assert (whole["unknown"], whole["notes"]) == ([], [])
    # The five share a row: a range divides it, its end does not count.
    part = await answer(client, path, **{"from": "2026-01-01T02:00:00Z", "to": "2026-01-01T04:00:00Z"})
    assert (part["due"], part["missed"], part["from"]) == (2, 2, "2026-01-01T02:00:00.000Z")
    later = await answer(client, path, **{"from": "2030-01-01"})
    assert (later["due"], later["periods"]) == (0, [])


async def test_periods_tell_what_ruled_and_who_began_them(here: World, named: httpx2.AsyncClient) -> None:
    made = await named.post("/schedules", json=DRAFT | {"cron_expr": "0 * * * *"}, headers={"x-name": "ada"})
    path = f"/schedules/{made.json()['id']}"
    await passed(here, 2)
    await named.patch(path, json={"interval_seconds": 600}, headers={"x-name": "bob"})
    await passed(here, 1)
    await named.post(f"{path}/disable", headers={"x-name": "eve"})
    await passed(here, 1)
    found = await answer(named, f"{path}/accounting")
    told = [(period["timetable"], period["by"], period["due"], period["balanced"]) for period in found["periods"]]
    assert told == [
        ("Every hour, every day, UTC", "ada", 2, True),
        ("Every 10 minutes, counted from 2026-01-01 02:00:00, UTC", "bob", 6, True),
        ("Disabled", "eve", 0, True),
    ]
    assert [period["until"] for period in found["periods"][:2]] == [period["from"] for period in found["periods"][1:]]


async def test_a_run_that_is_gone_is_trouble(here: World, client: httpx2.AsyncClient) -> None:
    schedule_id = await here.create(cron_expr="0 * * * *", overlap="allow")
    for _ in range(3):
        await passed(here, 1)
    gone = (await here.scheduler.runs(schedule_id)).items[1].run
    await here.store._writer.run(
        lambda connection: connection.execute("DELETE FROM agentclock_runs WHERE id = ?", (gone.id,)).fetchall()
    )
    found = await answer(client, f"/schedules/{schedule_id}/accounting")
    assert (found["balanced"], found["due"], found["runs"]) == (False, 3, 2)
    assert "3 fires were due, 2 are accounted for" in found["trouble"]


async def test_revisions_tell_who_changed_what(here: World, named: httpx2.AsyncClient) -> None:
    made = await named.post("/schedules", json=DRAFT, headers={"x-name": "ada"})
    path = f"/schedules/{made.json()['id']}"
    here.clock.advance(60)
    await named.patch(path, json={"timezone": "Asia/Tokyo", "max_retries": 2}, headers={"x-name": "bob"})
    await named.post(f"{path}/disable", headers={"x-name": "eve"})
    await named.post(f"{path}/enable")
    found = await answer(named, f"{path}/revisions")
    assert [(row["version"], row["kind"], row["by"]) for row in found["data"]] == [
        (4, "changed", None),
        (3, "changed", "eve"),
        (2, "changed", "bob"),
        (1, "created", "ada"),
    ]
    assert [row["changes"] for row in found["data"][:3]] == [
        {"enabled": {"from": False, "to": True}},
        {"enabled": {"from": True, "to": False}},
        {"timezone": {"from": "UTC", "to": "Asia/Tokyo"}, "max_retries": {"from": 0, "to": 2}},
    ]
    first = found["data"][3]
    assert (first["compared_with"], first["changes"]["name"]) == (None, {"from": None, "to": "nightly"})
    assert (found["data"][2]["at"], found["next_before_version"]) == ("2026-01-01T00:01:00.000Z", None)


async def test_revisions_are_paged(here: World, client: httpx2.AsyncClient) -> None:
    schedule_id = await here.create()
    for number in range(4):
        await here.scheduler.change(schedule_id, {"max_retries": number + 1})
    path = f"/schedules/{schedule_id}/revisions"
    page = await answer(client, path, limit=2)
    assert ([row["version"] for row in page["data"]], page["next_before_version"]) == ([5, 4], 4)
    assert page["data"][1]["changes"] == {"max_retries": {"from": 2, "to": 3}}
    page = await answer(client, path, limit=3, before_version=page["next_before_version"])
    assert ([row["version"] for row in page["data"]], page["next_before_version"]) == ([3, 2, 1], None)


async def test_a_deleted_schedule_tells_who_deleted_it(here: World, named: httpx2.AsyncClient) -> None:
    made = await named.post("/schedules", json=DRAFT, headers={"x-owner": "ada", "x-name": "ada"})
    path = f"/schedules/{made.json()['id']}"
    await named.delete(path, headers={"x-name": "bob"})
    assert (await named.get(path)).status_code == 404
    newest = (await answer(named, f"{path}/revisions"))["data"][0]
    assert (newest["kind"], newest["by"]) == ("deleted", "bob")
    assert (await answer(named, f"{path}/accounting"))["balanced"]
    for other in ("accounting", "revisions"):
        assert (await named.get(f"{path}/{other}", headers={"x-owner": "eve"})).status_code == 404
        assert (await named.get(f"/schedules/nonsense/{other}")).status_code == 404


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"from": "yesterday"}, "from"), ({"to": "9" * 20}, "to"), ({"from": "2026-02-01", "to": "2026-01-01"}, "to")],
)
async def test_ranges_that_make_no_sense_are_refused(
    here: World, client: httpx2.AsyncClient, wrong: dict[str, str], field: str
) -> None:
    refused = await client.get(f"/schedules/{await here.create()}/accounting", params=wrong)
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"][-1] == field
