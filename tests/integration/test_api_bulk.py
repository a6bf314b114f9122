"""Many at once, and runs once more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from tests.apis import DRAFT, World, app_of, client_of, world

from agentclock.api import Caller, Permission
from agentclock.core.errors import Forbidden, StoreUnavailable
from agentclock.core.fingerprints import fingerprint
from agentclock.core.model import Outcome, OutcomeKind, RunStatus, Target
from agentclock.core.triggers import as_triggered

NOWHERE = "00000000-0000-4000-8000-000000000000"
FAILED = Outcome(kind=OutcomeKind.FAILED, status_code=500, error="HTTP 500: out of memory")


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


@pytest.fixture
async def client(here: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app_of(here)) as made:
        yield made


async def some(here: World, count: int = 3, **fields: Any) -> list[str]:
    return [await here.create(name=f"number {number}", **fields) for number in range(count)]


async def bulk(client: httpx2.AsyncClient, path: str, **body: Any) -> dict[str, Any]:
    answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    assert (result["done"], result["failed"]) == tuple(
        sum(row["ok"] is ok for row in result["data"]) for ok in (True, False)
    )
    return result


def statuses(result: dict[str, Any]) -> list[tuple[str, int]]:
    return [(row["id"], row["status_code"]) for row in result["data"]]


async def test_each_row_is_answered_in_order_and_none_stops_the_others(here: World, client: httpx2.AsyncClient) -> None:
    first, second, third = await some(here)
    ids = [first, NOWHERE, second, "\0", third]
    for action, good in (("disable", 200), ("enable", 200), ("trigger", 202), ("delete", 204)):
        result = await bulk(client, f"/schedules/bulk/{action}", ids=ids)
        assert statuses(result) == list(zip(ids, (good, 404, good, 404, good), strict=True)), action
        assert [row["error"] for row in result["data"]] == [
            None,
            "Schedule not found",
            None,
            "Schedule not found",
            None,
        ]
        assert [row["run_id"] is not None for row in result["data"] if row["ok"]] == [action == "trigger"] * 3
    assert (await client.get("/schedules")).json()["data"] == []


async def test_what_is_named_twice_is_done_once(here: World, client: httpx2.AsyncClient) -> None:
    first, second = await some(here, 2)
    result = await bulk(client, "/schedules/bulk/delete", ids=[first, first, second])
    assert [status for _, status in statuses(result)] == [204, 404, 204]


async def test_fires_that_are_due_are_recorded_before_all_is_switched_off(
    here: World, client: httpx2.AsyncClient
) -> None:
    late, early = await here.create(name="late", cron_expr="0 5 * * *"), await here.create(name="early")
    here.clock.advance(4 * 3_600)
    result = await bulk(client, "/schedules/bulk/disable", ids=[late, early])
    assert result["done"] == 2
    assert not any(row["enabled"] for row in (await client.get("/schedules")).json()["data"])
    [missed] = (await client.get("/runs")).json()["data"]
    assert (missed["schedule_id"], missed["status"]) == (early, "missed")


async def test_without_a_database_every_row_says_so(
    here: World, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await some(here, 2)

    async def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("password=hunter2")

    monkeypatch.setattr(here.store, "write_schedules", away)
    result = await bulk(client, "/schedules/bulk/disable", ids=ids)
    assert [status for _, status in statuses(result)] == [503, 503]
    assert "hunter2" not in str(result)


async def test_why_it_was_done_stands_in_the_audit_log(here: World, client: httpx2.AsyncClient) -> None:
    ids = await some(here, 1)
    for action in ("disable", "enable", "trigger", "delete"):
        await bulk(client, f"/schedules/bulk/{action}", ids=ids, reason=f"to {action}")
    entries = (await client.get("/audit")).json()["data"]
    assert [entry["details"]["reason"] for entry in entries] == [
        "to delete",
        "to trigger",
        "to enable",
        "to disable",
    ]


async def test_what_may_not_be_triggered_is_told_row_by_row(here: World, client: httpx2.AsyncClient) -> None:
    enabled, disabled = await some(here, 2)
    await bulk(client, "/schedules/bulk/disable", ids=[disabled])
    result = await bulk(client, "/schedules/bulk/trigger", ids=[disabled, enabled])
    assert [status for _, status in statuses(result)] == [409, 202]
    assert "disabled" in result["data"][0]["error"]


class OnlyAssistants:
    async def admit(self, request: Any, permission: Permission) -> Caller:
        return Caller(user_id="ada", owner="ada", name="ada")

    async def may_call(self, request: Any, target: Target) -> None:
        if target.endpoint != DRAFT["endpoint"]:
            raise Forbidden("not this one")


async def test_every_row_needs_the_permission_to_call_it(here: World) -> None:
    mine = await here.scheduler.create(DRAFT | {"name": "mine"}, user_id="ada")
    hooks = await here.scheduler.create(DRAFT | {"name": "hooks", "endpoint": "/hook"}, user_id="ada")
    theirs = await here.scheduler.create(DRAFT | {"name": "theirs"}, user_id="eve")
    ids = [mine.id, hooks.id, theirs.id]
    async with client_of(app_of(here, guard=OnlyAssistants())) as client:
        for action, good in (("trigger", 202), ("enable", 200)):
            result = await bulk(client, f"/schedules/bulk/{action}", ids=ids)
            assert [status for _, status in statuses(result)] == [good, 403, 404]
            assert result["data"][1]["error"] == "not this one"
        run = (await here.scheduler.runs(mine.id)).items[0].run
        assert (await here.scheduler.runs(hooks.id)).items == ()
        refs = [{"schedule_id": one, "run_id": run.id} for one in ids]
        assert [status for _, status in statuses(await bulk(client, "/runs/bulk/retry", runs=refs))] == [409, 403, 404]
        cancelled = await bulk(client, "/runs/bulk/cancel", runs=refs)
        assert [status for _, status in statuses(cancelled)] == [200, 404, 404]
        deleted = await bulk(client, "/schedules/bulk/delete", ids=ids)
        assert [status for _, status in statuses(deleted)] == [204, 204, 404]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/schedules/bulk/enable", {}),
        ("/schedules/bulk/enable", {"ids": []}),
        ("/schedules/bulk/enable", {"ids": "all"}),
        ("/schedules/bulk/enable", {"ids": ["x" * 65]}),
        ("/schedules/bulk/enable", {"ids": ["x"] * 1_001}),
        ("/schedules/bulk/enable", {"ids": ["x"], "reason": "a\0b"}),
        ("/schedules/bulk/enable", {"ids": ["x"], "force": True}),
        ("/runs/bulk/cancel", {"runs": [{"run_id": "x"}]}),
        ("/runs/bulk/retry", {}),
        ("/runs/bulk/retry", {"fingerprint": "x", "runs": [{"schedule_id": "x", "run_id": "x"}]}),
        ("/runs/bulk/retry", {"runs": [{"schedule_id": "x", "run_id": "x"}], "from": "2026-01-01"}),
        ("/runs/bulk/retry", {"fingerprint": "x", "from": "soon"}),
        ("/runs/bulk/retry", {"fingerprint": "x", "from": "2026-01-02", "to": "2026-01-01"}),
    ],
)
async def test_what_cannot_be_understood_is_done_to_none(client: httpx2.AsyncClient, path: str, body: Any) -> None:
    assert (await client.post(path, json=body)).status_code == 422


async def test_others_are_answered_while_a_thousand_rows_are_written(here: World, client: httpx2.AsyncClient) -> None:
    ids = [await here.create(name=f"row {number}") for number in range(200)]
    work = asyncio.create_task(bulk(client, "/schedules/bulk/trigger", ids=ids))
    served = 0
    while not work.done():
        assert (await client.get("/schedules?limit=1")).status_code == 200
        served += 1
    assert (await work)["done"] == 200
    assert served > 20
    assert here.wakes >= 200


# runs once more


async def failed_run(here: World, name: str = "nightly", trigger: Any = None, **fields: Any) -> tuple[str, str]:
    schedule_id = await here.create(name=name, **fields)
    run = (await here.scheduler.trigger(schedule_id, trigger or {})).run
    await here.settle(await here.claim(), FAILED)
    return schedule_id, run.id


@pytest.mark.parametrize(
    ("own", "body", "expected"),
    [
        (None, None, {"message": "all", "depth": 1}),
        (None, {"payload": {"depth": 2}}, {"message": "all", "depth": 2}),
        ({"depth": 7}, None, {"message": "all", "depth": 7}),
        ({"depth": 7}, {"payload": {"message": None, "x": 1}}, {"depth": 7, "x": 1}),
        ({"depth": 7}, {"payload": {"x": 1}, "payload_mode": "replace"}, {"x": 1}),
    ],
)
async def test_a_retry_has_the_payload_that_the_run_had(
    here: World, client: httpx2.AsyncClient, own: Any, body: Any, expected: Any
) -> None:
    trigger = {} if own is None else {"payload": own}
    schedule_id, run_id = await failed_run(here, trigger=trigger, payload={"message": "all", "depth": 1}, max_retries=0)
    answer = await client.post(f"/schedules/{schedule_id}/runs/{run_id}/retry?wait=0", json=body)
    made = answer.json()
    assert (answer.status_code, made["cause"], made["retry_of"]) == (202, "manual", run_id)
    assert answer.headers["location"] == f"/schedules/{schedule_id}/runs/{made['id']}"
    assert (await client.get(answer.headers["location"])).json()["retry_of"] == run_id
    assert as_triggered(await here.claim()).schedule.target.payload == expected


async def test_a_run_that_is_not_over_is_not_run_again(here: World, client: httpx2.AsyncClient) -> None:
    schedule_id = await here.create(overlap="allow")
    run = (await here.scheduler.trigger(schedule_id)).run
    url = f"/schedules/{schedule_id}/runs/{run.id}/retry"
    assert (await client.post(url)).status_code == 409
    claim = await here.claim()
    refused = await client.post(url)
    assert (refused.status_code, "running" in refused.json()["detail"]) == (409, True)
    await here.settle(claim)
    assert (await client.post(f"{url}?wait=0")).status_code == 202
    for wrong in (url.replace(run.id, NOWHERE), url.replace(schedule_id, NOWHERE), url.replace(run.id, "%00")):
        assert (await client.post(wrong)).status_code == 404


async def test_the_same_key_is_the_same_retry(here: World, client: httpx2.AsyncClient) -> None:
    schedule_id, run_id = await failed_run(here, max_retries=0, overlap="allow")
    url, key = f"/schedules/{schedule_id}/runs/{run_id}/retry?wait=0", {"Idempotency-Key": "mine"}
    first = await client.post(url, json={"reason": "fixed"}, headers=key)
    second = await client.post(url, json={"reason": "fixed"}, headers=key)
    assert (first.json()["id"], second.headers["idempotent-replayed"]) == (second.json()["id"], "true")
    assert first.json()["trigger_reason"] == "fixed"
    # As a trigger the key means something else.
    assert (
        await client.post(f"/schedules/{schedule_id}/trigger?wait=0", json={"reason": "fixed"}, headers=key)
    ).status_code == 422


async def test_all_that_failed_in_the_same_way_run_again(here: World, client: httpx2.AsyncClient) -> None:
    broken = [await failed_run(here, f"broken {number}", max_retries=0) for number in range(3)]
    other = await here.create(name="other", max_retries=0)
    await here.scheduler.trigger(other)
    await here.settle(await here.claim(), Outcome(kind=OutcomeKind.FAILED, error="something else"))
    mark = fingerprint(RunStatus.FAILED, 500, FAILED.error)
    result = await bulk(client, "/runs/bulk/retry", fingerprint=mark, **{"from": "2020-01-01", "reason": "more memory"})
    assert sorted(row["id"] for row in result["data"]) == sorted(run_id for _, run_id in broken)
    assert {row["status_code"] for row in result["data"]} == {202}
    made = {row["run_id"]: row["id"] for row in result["data"]}
    runs = (await client.get("/runs?status=pending")).json()["data"]
    assert {run["id"]: run["retry_of"] for run in runs} == made
    nobody = await bulk(client, "/runs/bulk/retry", fingerprint="no such", **{"to": "2020-01-01"})
    assert nobody["data"] == []


async def test_many_runs_are_cancelled_at_once(here: World, client: httpx2.AsyncClient) -> None:
    refs = []
    for schedule_id in await some(here):
        run = (await here.scheduler.trigger(schedule_id)).run
        refs.append({"schedule_id": schedule_id, "run_id": run.id})
    refs.insert(1, {"schedule_id": NOWHERE, "run_id": refs[0]["run_id"]})
    result = await bulk(client, "/runs/bulk/cancel", runs=refs, reason="a mistake")
    assert [status for _, status in statuses(result)] == [200, 404, 200, 200]
    again = await bulk(client, "/runs/bulk/cancel", runs=refs)
    assert again["done"] == 3
    assert (await client.get("/runs?status=cancelled")).json()["meta"]["total_count"] == 3
