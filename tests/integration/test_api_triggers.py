"""Triggers: what they may say of their run, keys that make repeating harmless, occurrences, names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from tests.apis import World, app_of, client_of, world

from agentclock.core.instants import iso_utc
from agentclock.core.triggers import KEY_HOURS, as_triggered, merged

PAYLOAD = {"message": "All of it.", "options": {"depth": 2, "draft": True}}


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


@pytest.fixture
async def client(here: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app_of(here)) as made:
        yield made


async def url_of(here: World, **fields: Any) -> str:
    return f"/schedules/{await here.create(payload=PAYLOAD, **fields)}/trigger"


async def runs_of(client: httpx2.AsyncClient, url: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await client.get(url.replace("trigger", "runs"))).json()["data"]
    return rows


def keyed(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


# the payload


@pytest.mark.parametrize(
    ("document", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": "foo"}, "bar", "bar"),
        (None, {"a": 1}, {"a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ],
)
def test_a_merge_is_a_json_merge_patch(document: Any, patch: Any, expected: Any) -> None:
    assert merged(document, patch) == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ({}, {"message": "Only today.", "options": {"depth": 2}}),
        ({"payload_mode": "merge"}, {"message": "Only today.", "options": {"depth": 2}}),
        ({"payload_mode": "replace"}, {"message": "Only today.", "options": {"draft": None}}),
    ],
)
async def test_a_payload_for_this_run_only(
    here: World, client: httpx2.AsyncClient, mode: dict[str, str], expected: Any
) -> None:
    url = await url_of(here)
    given = {"message": "Only today.", "options": {"draft": None}}
    answer = await client.post(url, json={"payload": given, "reason": "ticket 4711", **mode})
    assert (answer.status_code, answer.json()["trigger_reason"]) == (202, "ticket 4711")
    claim = await here.claim()
    assert as_triggered(claim).schedule.target.payload == expected
    await here.settle(claim)
    assert (await client.get(url.removesuffix("/trigger"))).json()["payload"] == PAYLOAD
    await client.post(url)
    assert as_triggered(await here.claim()).schedule.target.payload == PAYLOAD


async def test_a_merged_payload_must_not_be_larger_than_any_other(here: World, client: httpx2.AsyncClient) -> None:
    text = "x" * 600_000
    url = f"/schedules/{await here.create(payload={'a': text})}/trigger"
    answer = await client.post(url, json={"payload": {"b": text}})
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", "payload"])
    assert await runs_of(client, url) == []


@pytest.mark.parametrize(
    "body",
    [
        {"payload": [1]},
        {"payload_mode": "append"},
        {"fire_at": "yesterday"},
        {"fire_at": True},
        {"fire_at": "2999-01-01"},
        {"fire_at": -5},
        {"reason": "x" * 1025},
        {"max_age_seconds": 0},
        {"reazon": "typo"},
        [],
        "text",
    ],
)
async def test_a_body_that_is_wrong_makes_no_run(here: World, client: httpx2.AsyncClient, body: Any) -> None:
    url = await url_of(here)
    answer = await client.post(url, json=body)
    assert (answer.status_code, await runs_of(client, url)) == (422, []), answer.text


@pytest.mark.parametrize("body", [{}, None])
async def test_a_body_may_be_empty(here: World, client: httpx2.AsyncClient, body: Any) -> None:
    answer = await client.post(await url_of(here), json=body)
    assert (answer.status_code, answer.json()["triggered_by"]) == (202, None)


# keys


async def test_the_same_key_is_the_same_run(here: World, client: httpx2.AsyncClient) -> None:
    url = await url_of(here, overlap="allow")
    first = await client.post(url, json={"reason": "x"}, headers=keyed("k"))
    wakes = here.wakes
    again = await client.post(url, json={"reason": "x"}, headers=keyed("k"))
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert again.headers["Location"] == first.headers["Location"]
    assert (len(await runs_of(client, url)), here.wakes) == (1, wakes)
    await here.execute()
    ended = await client.post(url, json={"reason": "x"}, headers=keyed("k"))
    assert (ended.status_code, ended.json()["status"]) == (200, "success")
    other = await client.post(url, json={"reason": "x"}, headers=keyed("K"))
    assert other.json()["id"] != first.json()["id"]


async def test_of_many_at_once_with_one_key_one_runs(here: World, client: httpx2.AsyncClient) -> None:
    url = await url_of(here, overlap="allow")
    answers = await asyncio.gather(*(client.post(url, headers=keyed("k")) for _ in range(40)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1


@pytest.mark.parametrize(
    ("body", "query"),
    [({"reason": "y"}, ""), ({}, ""), ({"reason": "x", "payload": {}}, ""), ({"reason": "x"}, "?overlap=allow")],
)
async def test_another_request_under_the_same_key_is_refused(
    here: World, client: httpx2.AsyncClient, body: Any, query: str
) -> None:
    url = await url_of(here, overlap="allow")
    await client.post(url, json={"reason": "x"}, headers=keyed("k"))
    answer = await client.post(url + query, json=body, headers=keyed("k"))
    assert (answer.status_code, len(await runs_of(client, url))) == (422, 1)
    assert "Idempotency-Key" in answer.text


async def test_how_long_to_wait_is_not_what_is_asked_for(here: World, client: httpx2.AsyncClient) -> None:
    url = await url_of(here)
    first = await client.post(url, headers=keyed("k"))
    again = await client.post(f"{url}?wait=0", headers=keyed("k") | {"Prefer": "wait=0"})
    assert again.json()["id"] == first.json()["id"]


async def test_a_key_is_one_schedules_and_kept_for_two_days(here: World, client: httpx2.AsyncClient) -> None:
    one, other = await url_of(here, overlap="allow"), await url_of(here, name="other")
    first = (await client.post(one, headers=keyed("k"))).json()["id"]
    assert (await client.post(other, headers=keyed("k"))).json()["id"] != first
    here.clock.advance(KEY_HOURS * 3600 - 1)
    assert (await client.post(one, headers=keyed("k"))).json()["id"] == first
    here.clock.advance(2)
    late = await client.post(one, headers=keyed("k"))
    assert (late.status_code, late.json()["id"] != first) == (202, True)
    assert (await client.post(one, headers=keyed("k"))).json()["id"] == late.json()["id"]


async def test_a_replay_answers_whatever_became_of_the_schedule(here: World, client: httpx2.AsyncClient) -> None:
    url = await url_of(here)
    body = {"fire_at": iso_utc(here.clock.now()), "max_age_seconds": 60}
    first = await client.post(url, json=body, headers=keyed("k"))
    here.clock.advance(120)
    await client.post(url.replace("trigger", "disable"))
    again = await client.post(url, json=body, headers=keyed("k"))
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert (await client.post(url, json=body, headers=keyed("new"))).status_code == 409


async def test_a_trigger_that_was_skipped_is_skipped_again(here: World, client: httpx2.AsyncClient) -> None:
    url = await url_of(here)
    await client.post(url)
    skipped = await client.post(url, headers=keyed("k"))
    await here.execute()
    again = await client.post(url, headers=keyed("k"))
    assert (skipped.json()["status"], again.json()["status"]) == ("skipped", "skipped")
    assert again.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("key", ["", "   ", "x" * 256])
async def test_a_key_that_is_none(here: World, client: httpx2.AsyncClient, key: str) -> None:
    url = await url_of(here)
    assert (await client.post(url, headers=keyed(key))).status_code == 422
    assert await runs_of(client, url) == []


# occurrences, overlap


@pytest.mark.parametrize("as_epoch", [False, True])
async def test_an_occurrence_is_the_runs_fire_time(here: World, client: httpx2.AsyncClient, as_epoch: bool) -> None:
    url, fire_at = await url_of(here), here.clock.now() // 1000 - 90
    told = fire_at if as_epoch else iso_utc(fire_at * 1000)
    answer = await client.post(url, json={"fire_at": told})
    assert (answer.status_code, answer.json()["fire_at"]) == (202, iso_utc(fire_at * 1000))


@pytest.mark.parametrize(("age", "limits", "status"), [(90, {"max_age_seconds": 60}, 409), (86_401, {}, 409)])
async def test_an_occurrence_that_is_over(
    here: World, client: httpx2.AsyncClient, age: int, limits: dict[str, int], status: int
) -> None:
    url = await url_of(here)
    old = {"fire_at": here.clock.now() // 1000 - age, **limits}
    assert (await client.post(url, json=old)).status_code == status
    assert await runs_of(client, url) == []
    assert (await client.post(url, json=old | {"fire_at": here.clock.now() // 1000 - age + 40})).status_code == 202


@pytest.mark.parametrize(("overlap", "statuses"), [("allow", ["pending"] * 2), ("skip", ["skipped", "pending"])])
async def test_another_overlap_policy_for_this_run(
    here: World, client: httpx2.AsyncClient, overlap: str, statuses: list[str]
) -> None:
    url = await url_of(here, overlap="allow" if overlap == "skip" else "skip")
    await client.post(url)
    here.clock.advance(ms=1)  # runs of one moment stand in no order
    assert (await client.post(f"{url}?overlap={overlap}")).status_code in (200, 202)
    assert [row["status"] for row in await runs_of(client, url)] == statuses


# names


async def test_by_name(here: World, client: httpx2.AsyncClient) -> None:
    url = await url_of(here, name="Daily report-1.2_x")
    answer = await client.post("/schedules/by-name/Daily report-1.2_x/trigger", headers=keyed("k"))
    assert (answer.status_code, answer.json()["schedule_id"]) == (202, url.split("/")[2])
    assert answer.headers["Location"] == f"{url.removesuffix('trigger')}runs/{answer.json()['id']}"
    by_id = await client.post(url, headers=keyed("k"))
    assert by_id.json()["id"] == answer.json()["id"]
    assert (await client.post("/schedules/by-name/Daily/trigger")).status_code == 404


async def test_a_name_that_several_owners_have(here: World, client: httpx2.AsyncClient) -> None:
    ids = {owner: (await here.scheduler.create({"name": "n", "endpoint": "/x"}, user_id=owner)).id for owner in "ab"}
    answer = await client.post("/schedules/by-name/n/trigger")
    assert (answer.status_code, "owner" in answer.text) == (409, True)
    named = await client.post("/schedules/by-name/n/trigger?owner=b")
    assert named.json()["schedule_id"] == ids["b"]


# who


async def test_a_payload_must_not_speak_for_another_user(here: World, client: httpx2.AsyncClient) -> None:
    made = await here.scheduler.create({"name": "n", "endpoint": "/x", "payload": {"user_id": "ann"}}, user_id="ann")
    url = f"/schedules/{made.id}/trigger"
    answer = await client.post(url, json={"payload": {"user_id": "bob"}})
    assert (answer.status_code, await runs_of(client, url)) == (403, [])
    assert (await client.post(url, json={"payload": {"message": "x"}})).status_code == 202


async def test_what_was_triggered_stands_in_the_audit_log(here: World, client: httpx2.AsyncClient) -> None:
    url = await url_of(here, overlap="allow")
    run = (await client.post(url, json={"reason": "because"}, headers=keyed("k"))).json()
    await client.post(url, json={"reason": "because"}, headers=keyed("k"))
    await client.post(url.replace("trigger", "disable"))
    disabled, triggered = (await client.get("/audit")).json()["data"]
    assert (disabled["action"], triggered["action"]) == ("schedule.disabled", "schedule.triggered")
    assert (triggered["run_id"], triggered["schedule_name"], triggered["source"]) == (run["id"], "nightly", "127.0.0.1")
    assert triggered["details"]["reason"] == "because"
    found = await client.get("/audit", params={"action": "schedule.triggered", "schedule_id": run["schedule_id"]})
    assert [row["id"] for row in found.json()["data"]] == [triggered["id"]]
    assert (await client.get("/audit", params={"actor": "nobody"})).json()["data"] == []
