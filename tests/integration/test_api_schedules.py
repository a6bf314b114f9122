"""The routes under /schedules on a real app: success, shapes, and the errors that callers rely on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
import structlog
from tests.apis import DRAFT, PAUSED, PAY, World, app_of, client_of, world

from agentclock.core.errors import CorruptRow, StoreUnavailable
from agentclock.core.model import Outcome, OutcomeKind, Run, RunStatus, Schedule
from agentclock.core.planning import plan
from agentclock.ports import Page
from agentclock.runs import RunDetail
from agentclock.scheduler import EngineState

MISSING = "00000000-0000-7000-8000-000000000000"
START = 1_767_225_600  # the clock's start, 2026-01-01T00:00:00Z

INT_OR_NULL, TEXT_OR_NULL = (int, type(None)), (str, type(None))

#: AgentOS's fields, then ours.
SCHEDULE_SHAPE: dict[str, Any] = {
    "id": str, "user_id": TEXT_OR_NULL, "name": str, "description": TEXT_OR_NULL, "method": str, "endpoint": str,
    "payload": (dict, type(None)), "cron_expr": TEXT_OR_NULL, "timezone": str, "timeout_seconds": int,
    "max_retries": int, "retry_delay_seconds": int, "enabled": bool, "next_run_at": INT_OR_NULL,
    "managed_by": TEXT_OR_NULL, "target_type": TEXT_OR_NULL, "target_id": TEXT_OR_NULL,
    "disabled_reason": TEXT_OR_NULL, "created_at": int, "updated_at": INT_OR_NULL,
    "target": str, "run_at": TEXT_OR_NULL, "interval_seconds": INT_OR_NULL, "start_at": TEXT_OR_NULL,
    "end_at": TEXT_OR_NULL, "max_runs": INT_OR_NULL, "jitter_seconds": int, "overlap": str, "catch_up": str,
    "catch_up_window_seconds": int, "catch_up_limit": int, "catch_up_stagger_seconds": int,
    "misfire_grace_seconds": int, "retry_backoff": str, "retry_max_delay_seconds": int, "tags": list,
    "version": int, "next_fire_at": TEXT_OR_NULL,
    "idle_timeout_seconds": INT_OR_NULL, "approval_timeout_seconds": INT_OR_NULL, "approval_timeout_action": str,
    "on_lost": TEXT_OR_NULL, "ping_url": TEXT_OR_NULL, "retries_lost": bool, "provenance": (dict, type(None)),
}  # fmt: skip
DETAIL_SHAPE = SCHEDULE_SHAPE | {"explanation": TEXT_OR_NULL, "warnings": list}
LISTED_SHAPE = SCHEDULE_SHAPE | {"explanation": TEXT_OR_NULL, "recent_runs": (list, type(None))}
STATE_SHAPE: dict[str, Any] = {
    "id": str, "name": str, "enabled": bool, "next_run_at": INT_OR_NULL, "updated_at": INT_OR_NULL,
}  # fmt: skip
RUN_SHAPE: dict[str, Any] = {
    "id": str, "schedule_id": str, "user_id": TEXT_OR_NULL, "attempt": int, "triggered_at": int,
    "completed_at": INT_OR_NULL, "status": str, "status_code": INT_OR_NULL, "run_id": TEXT_OR_NULL,
    "session_id": TEXT_OR_NULL, "error": TEXT_OR_NULL, "input": (dict, type(None)), "output": (dict, type(None)),
    "requirements": (list, type(None)), "created_at": int,
    "fire_at": str, "last_fire_at": TEXT_OR_NULL, "fire_count": int, "cause": str, "reason": TEXT_OR_NULL,
    "available_at": TEXT_OR_NULL, "worker": TEXT_OR_NULL, "metrics": (dict, type(None)), "attempts": list,
    "paused_at": TEXT_OR_NULL, "approval_due_at": TEXT_OR_NULL, "approval": (list, type(None)),
    "cancel_requested": bool, "usage": (dict, type(None)), "triggered_by": TEXT_OR_NULL,
    "trigger_reason": TEXT_OR_NULL, "retry_of": TEXT_OR_NULL, "payload": (dict, type(None)),
    "started_at": TEXT_OR_NULL, "ended_at": TEXT_OR_NULL, "duration_ms": INT_OR_NULL, "lateness_ms": INT_OR_NULL,
}  # fmt: skip
ATTEMPT_SHAPE: dict[str, Any] = {
    "number": int, "status": str, "started_at": str, "completed_at": TEXT_OR_NULL, "status_code": INT_OR_NULL,
    "run_id": TEXT_OR_NULL, "error": TEXT_OR_NULL, "worker": TEXT_OR_NULL, "usage": (dict, type(None)),
}  # fmt: skip
META_SHAPE: dict[str, Any] = {
    "page": int, "limit": int, "total_pages": int, "total_count": int, "search_time_ms": float,
    "next_cursor": TEXT_OR_NULL, "unreadable": list,
}  # fmt: skip


def has_shape(value: dict[str, Any], shape: dict[str, Any]) -> bool:
    """Exactly these keys, with values of these types; true and false are no numbers."""
    assert value.keys() == shape.keys()
    for key, kinds in shape.items():
        assert isinstance(value[key], kinds), f"{key} is {value[key]!r}"
        assert kinds is bool or not isinstance(value[key], bool), f"{key} is {value[key]!r}"
    return True


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


@pytest.fixture
async def client(here: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app_of(here)) as made:
        yield made


async def created(client: httpx2.AsyncClient, **fields: Any) -> dict[str, Any]:
    response = await client.post("/schedules", json=DRAFT | fields)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


# shapes


async def test_every_answer_has_its_shape(here: World, client: httpx2.AsyncClient) -> None:
    made = await created(client, payload={"message": "hi"}, tags=["t"], max_runs=3, end_at="2027-01-01")
    one = f"/schedules/{made['id']}"
    assert has_shape(made, DETAIL_SHAPE)
    assert has_shape((await client.get(one)).json(), DETAIL_SHAPE)
    assert has_shape((await client.patch(one, json={"description": "d"})).json(), DETAIL_SHAPE)
    assert has_shape((await client.post(f"{one}/disable")).json(), STATE_SHAPE)
    assert has_shape((await client.post(f"{one}/enable")).json(), STATE_SHAPE)
    pending = (await client.post(f"{one}/trigger")).json()
    await here.execute()
    ended = (await client.get(f"{one}/runs/{pending['id']}")).json()
    assert has_shape(pending, RUN_SHAPE)
    assert has_shape(ended, RUN_SHAPE)
    assert has_shape(ended["attempts"][0], ATTEMPT_SHAPE)
    schedules, runs = (await client.get("/schedules")).json(), (await client.get(f"{one}/runs")).json()
    for answer, shape in ((schedules, LISTED_SHAPE), (runs, RUN_SHAPE)):
        assert answer.keys() == {"data", "meta"}
        assert has_shape(answer["meta"], META_SHAPE)
        assert has_shape(answer["data"][0], shape)


async def test_a_schedule_reads_as_it_was_written(client: httpx2.AsyncClient) -> None:
    sent = {
        "name": "Full 1.0", "endpoint": "/teams/crew/runs", "method": "POST", "target": "hooks", "description": "d",
        "payload": {"message": "grüße 😀", "deep": [{"n": 1.5}]}, "timezone": "Asia/Tokyo", "jitter_seconds": 5,
        "overlap": "queue", "catch_up": "all", "catch_up_window_seconds": 60, "catch_up_limit": 7,
        "catch_up_stagger_seconds": 0, "misfire_grace_seconds": 30,
        "timeout_seconds": 10, "max_retries": 2, "retry_delay_seconds": 3, "retry_backoff": "exponential",
        "retry_max_delay_seconds": 40, "tags": ["a", "b"], "max_runs": 7, "interval_seconds": 300,
    }  # fmt: skip
    made = await created(client, **sent, cron_expr="", start_at="2026-02-01", end_at="2026-03-01T00:00:00Z")
    assert {key: made[key] for key in sent} == sent
    assert (made["start_at"], made["end_at"]) == ("2026-01-31T15:00:00.000Z", "2026-03-01T00:00:00.000Z")
    assert (made["target_type"], made["target_id"], made["cron_expr"]) == ("team", "crew", None)
    assert (made["next_run_at"], made["next_fire_at"]) == (START + 2_646_000, "2026-01-31T15:00:00.000Z")
    assert (made["created_at"], made["updated_at"], made["version"], made["user_id"]) == (START, None, 1, None)
    assert made["explanation"].startswith("Every 5 minutes, counted from 2026-02-01 00:00:00, Asia/Tokyo")


async def test_on_demand_is_null(client: httpx2.AsyncClient) -> None:
    made = await created(client, cron_expr="")
    assert (made["cron_expr"], made["next_run_at"], made["next_fire_at"]) == (None, None, None)
    assert (made["explanation"], made["warnings"]) == ("Only when triggered", [])


async def test_a_run_tells_its_story(here: World, client: httpx2.AsyncClient) -> None:
    one = f"/schedules/{(await created(client, max_retries=1))['id']}"
    pending = (await client.post(f"{one}/trigger")).json()
    assert (pending["status"], pending["attempt"], pending["attempts"]) == ("pending", 0, [])
    assert (pending["cause"], pending["triggered_at"], pending["fire_count"]) == ("manual", START, 1)
    assert (pending["fire_at"], pending["reason"]) == ("2026-01-01T00:00:00.000Z", None)
    here.clock.advance(1.5)
    await here.execute(Outcome(kind=OutcomeKind.FAILED, retryable=True, status_code=503, error="busy"))
    waiting = (await client.get(f"{one}/runs/{pending['id']}")).json()
    assert (waiting["status"], waiting["attempt"]) == ("pending", 1)
    assert waiting["available_at"] == "2026-01-01T00:01:01.500Z"
    here.clock.advance(60)
    success = Outcome(
        kind=OutcomeKind.SUCCESS, status_code=200, agent_run_id="agent-run", session_id="s",
        input={"message": "hi"}, output={"content": "yo", "content_type": "str"}, metrics={"tokens": 3},
    )  # fmt: skip
    await here.execute(success)
    ended = (await client.get(f"{one}/runs/{pending['id']}")).json()
    assert (ended["status"], ended["attempt"], ended["status_code"]) == ("success", 2, 200)
    assert (ended["run_id"], ended["session_id"], ended["worker"]) == ("agent-run", "s", "worker-1")
    assert (ended["output"], ended["metrics"]) == ({"content": "yo", "content_type": "str"}, {"tokens": 3})
    assert (ended["triggered_at"], ended["completed_at"], ended["created_at"]) == (START + 1, START + 61, START)
    first, second = ended["attempts"]
    assert (first["number"], first["status"], first["error"], first["status_code"]) == (1, "failed", "busy", 503)
    assert (first["started_at"], first["completed_at"]) == ("2026-01-01T00:00:01.500Z",) * 2
    assert (second["number"], second["status"], second["run_id"]) == (2, "success", "agent-run")


async def test_fires_without_a_run_say_why(here: World, client: httpx2.AsyncClient) -> None:
    one = f"/schedules/{(await created(client, cron_expr='* * * * *', catch_up='none'))['id']}"
    here.clock.advance(600)
    await here.store.fire_due(plan, limit=10)
    missed = (await client.get(f"{one}/runs", params={"status": "missed"})).json()["data"][0]
    assert (missed["status"], missed["cause"], missed["fire_count"]) == ("missed", "schedule", 9)
    assert (missed["fire_at"], missed["last_fire_at"]) == ("2026-01-01T00:01:00.000Z", "2026-01-01T00:09:00.000Z")
    assert missed["reason"] == "misfire: missed fires are not caught up (catch_up=none)"


# create, get, change, delete


async def test_create_answers_location_and_etag(client: httpx2.AsyncClient) -> None:
    response = await client.post("/schedules", json=DRAFT)
    assert response.status_code == 201
    assert response.headers["location"] == f"/schedules/{response.json()['id']}"
    assert response.headers["etag"] == '"1"'
    assert (await client.get(response.headers["location"])).json() == response.json()


async def test_a_taken_name_is_a_conflict(client: httpx2.AsyncClient) -> None:
    await created(client)
    other = await created(client, name="other")
    expected = {"detail": "Schedule with name 'nightly' already exists"}
    for response in (
        await client.post("/schedules", json=DRAFT),
        await client.patch(f"/schedules/{other['id']}", json={"name": "nightly"}),
    ):
        assert (response.status_code, response.json()) == (409, expected)


async def test_patch_changes_what_is_sent(client: httpx2.AsyncClient) -> None:
    made = await created(client, description="d", payload={"a": 1})
    changed = (await client.patch(f"/schedules/{made['id']}", json={"description": None, "timeout_seconds": 9})).json()
    expected = made | {"description": None, "timeout_seconds": 9, "version": 2, "updated_at": START}
    assert changed == expected
    assert (await client.patch(f"/schedules/{made['id']}", json={})).json() == expected


async def test_patch_replaces_the_kind_of_timetable(client: httpx2.AsyncClient) -> None:
    one = f"/schedules/{(await created(client))['id']}"
    once = (await client.patch(one, json={"run_at": "2026-06-01T12:00:00+02:00"})).json()
    assert (once["cron_expr"], once["run_at"]) == (None, "2026-06-01T10:00:00.000Z")
    demand = (await client.patch(one, json={"cron_expr": ""})).json()
    assert (demand["run_at"], demand["next_run_at"]) == (None, None)
    both = await client.patch(one, json={"cron_expr": "@daily", "interval_seconds": 5})
    assert (both.status_code, both.json()["detail"][0]["loc"]) == (422, ["body", "interval_seconds"])


@pytest.mark.parametrize("tag", ['"1"', 'W/"1"', "*"])
async def test_if_match_lets_the_right_version_through(client: httpx2.AsyncClient, tag: str) -> None:
    one = f"/schedules/{(await created(client))['id']}"
    response = await client.patch(one, json={"max_retries": 1}, headers={"If-Match": tag})
    assert (response.status_code, response.headers["etag"]) == (200, '"2"')


@pytest.mark.parametrize("tag", ['"2"', "1", '"x"', "", '"99999999999999999999"'])
async def test_if_match_refuses_any_other(client: httpx2.AsyncClient, tag: str) -> None:
    one = f"/schedules/{(await created(client))['id']}"
    response = await client.patch(one, json={"max_retries": 1}, headers={"If-Match": tag})
    assert response.status_code == 409
    assert "changed by somebody else" in response.json()["detail"]
    assert (await client.get(one)).json()["max_retries"] == 0


async def test_delete_answers_nothing_and_then_not_found(client: httpx2.AsyncClient) -> None:
    one = f"/schedules/{(await created(client))['id']}"
    response = await client.delete(one)
    assert (response.status_code, response.content) == (204, b"")
    assert (await client.delete(one)).status_code == 404
    assert (await client.get("/schedules")).json()["data"] == []


@pytest.mark.parametrize("schedule_id", [MISSING, "nonsense", "a%00b", "%ED%A0%80", "x" * 3000, "%2e%2e"])
async def test_an_unknown_schedule_is_not_found(client: httpx2.AsyncClient, schedule_id: str) -> None:
    one = f"/schedules/{schedule_id}"
    requests = [("GET", one), ("PATCH", one), ("DELETE", one), ("GET", f"{one}/runs")]
    requests += [("POST", f"{one}/{verb}") for verb in ("enable", "disable", "trigger")]
    for method, url in requests:
        response = await client.request(method, url, json={"max_retries": 1} if method == "PATCH" else None)
        assert (response.status_code, response.json()) == (404, {"detail": "Schedule not found"}), (method, url)
    response = await client.get(f"{one}/runs/{MISSING}")
    assert (response.status_code, response.json()) == (404, {"detail": "Schedule run not found"})


async def test_a_run_of_another_schedule_is_not_found(client: httpx2.AsyncClient) -> None:
    one, two = await created(client), await created(client, name="two")
    run = (await client.post(f"/schedules/{one['id']}/trigger")).json()
    for run_id in (run["id"], MISSING, "nonsense", "%00"):
        response = await client.get(f"/schedules/{two['id']}/runs/{run_id}")
        assert (response.status_code, response.json()) == (404, {"detail": "Schedule run not found"})


# enable, disable


async def test_enable_and_disable_are_idempotent(client: httpx2.AsyncClient) -> None:
    made = await created(client)
    one = f"/schedules/{made['id']}"
    off = (await client.post(f"{one}/disable")).json()
    assert off == {"id": made["id"], "name": "nightly", "enabled": False, "next_run_at": None, "updated_at": START}
    assert (await client.post(f"{one}/disable")).json() == off
    on = (await client.post(f"{one}/enable")).json()
    assert (on["enabled"], on["next_run_at"]) == (True, made["next_run_at"])
    assert (await client.post(f"{one}/enable")).json() == on


# lists


async def test_schedules_are_paged_newest_first(here: World, client: httpx2.AsyncClient) -> None:
    for number in range(5):
        here.clock.advance(1)
        await created(client, name=f"s{number}")
    first = (await client.get("/schedules", params={"limit": 2})).json()
    meta = first["meta"]
    assert [row["name"] for row in first["data"]] == ["s4", "s3"]
    assert (meta["page"], meta["limit"], meta["total_pages"], meta["total_count"]) == (1, 2, 3, 5)
    second = (await client.get("/schedules", params={"limit": 2, "page": 2})).json()
    by_cursor = (await client.get("/schedules", params={"limit": 2, "cursor": meta["next_cursor"]})).json()
    assert [row["name"] for row in second["data"]] == [row["name"] for row in by_cursor["data"]] == ["s2", "s1"]
    last = (await client.get("/schedules", params={"limit": 2, "cursor": by_cursor["meta"]["next_cursor"]})).json()
    assert ([row["name"] for row in last["data"]], last["meta"]["next_cursor"]) == (["s0"], None)
    beyond = (await client.get("/schedules", params={"limit": 2, "page": 9})).json()
    assert (beyond["data"], beyond["meta"]["total_count"]) == ([], 5)


async def test_an_empty_list_has_no_pages(client: httpx2.AsyncClient) -> None:
    answer = (await client.get("/schedules")).json()
    assert (answer["data"], answer["meta"]["total_pages"], answer["meta"]["limit"]) == ([], 0, 100)


async def test_schedules_are_filtered(client: httpx2.AsyncClient) -> None:
    await created(client, name="Morning news", tags=["news"])
    off = await created(client, name="evening", endpoint="/hook", target="hooks")
    await client.post(f"/schedules/{off['id']}/disable")
    for params, expected in (
        ({"enabled": "true"}, ["Morning news"]),
        ({"enabled": "false"}, ["evening"]),
        ({"name": "NEWS"}, ["Morning news"]),
        ({"name": "%"}, []),
        ({"tag": "news"}, ["Morning news"]),
        ({"tag": "new"}, []),
        ({"target": "hooks"}, ["evening"]),
        ({"target": "assistant"}, ["Morning news"]),
        ({"target": "/hook"}, ["evening"]),
        ({"tag": "news", "enabled": "false"}, []),
    ):
        rows = (await client.get("/schedules", params=params)).json()["data"]
        assert [row["name"] for row in rows] == expected, params


async def test_runs_are_filtered_and_paged(here: World, client: httpx2.AsyncClient) -> None:
    made = await created(client, cron_expr="*/10 * * * *", overlap="allow")
    runs = f"/schedules/{made['id']}/runs"
    for kind in (OutcomeKind.SUCCESS, OutcomeKind.FAILED, OutcomeKind.TIMEOUT):
        here.clock.advance(600)
        await here.store.fire_due(plan, limit=10)
        await here.execute(Outcome(kind=kind))
    here.clock.advance(1)
    await client.post(f"/schedules/{made['id']}/trigger")

    async def found(*params: tuple[str, str]) -> list[str]:
        response = await client.get(runs, params=list(params))
        assert response.status_code == 200, response.text
        return [row["status"] for row in response.json()["data"]]

    assert await found() == ["pending", "timeout", "failed", "success"]
    assert await found(("status", "failed"), ("status", "timeout")) == ["timeout", "failed"]
    assert await found(("cause", "manual")) == ["pending"]
    assert await found(("since", str(START + 1200)), ("until", str(START + 1800))) == ["failed"]
    assert await found(("since", str((START + 1200) * 1000)), ("until", "2026-01-01T01:30:00+01:00")) == ["failed"]
    assert await found(("until", "2026-01-01T00:10:00.001")) == ["success"]
    assert await found(("limit", "2"), ("page", "2")) == ["failed", "success"]
    page = (await client.get(runs, params={"limit": 3})).json()
    assert (page["meta"]["total_count"], page["meta"]["total_pages"]) == (4, 2)
    assert await found(("cursor", page["meta"]["next_cursor"])) == ["success"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=1002", "page"),
        ("page=99999999999999999999999999", "page"),
        ("cursor=junk", "cursor"),
        ("cursor=%00", "cursor"),
        ("cursor=" + "x" * 513, "cursor"),
    ],
)
async def test_a_wrong_page_is_refused(client: httpx2.AsyncClient, query: str, field: str) -> None:
    made = await created(client)
    for url in (f"/schedules?{query}", f"/schedules/{made['id']}/runs?{query}"):
        response = await client.get(url)
        assert (response.status_code, response.json()["detail"][0]["loc"]) == (422, ["query", field])


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=done", "status"),
        ("cause=x", "cause"),
        ("since=yesterday", "since"),
        ("until=99999999999999999999", "until"),
        ("since=%D9%A3", "since"),
    ],
)
async def test_a_wrong_run_filter_is_refused(client: httpx2.AsyncClient, query: str, field: str) -> None:
    response = await client.get(f"/schedules/{(await created(client))['id']}/runs?{query}")
    assert (response.status_code, response.json()["detail"][0]["loc"][:2]) == (422, ["query", field])


@pytest.mark.parametrize("query", ["enabled=perhaps", "name=%00", "tag=a%00", "target=%00"])
async def test_a_wrong_schedule_filter_is_refused(client: httpx2.AsyncClient, query: str) -> None:
    response = await client.get(f"/schedules?{query}")
    assert (response.status_code, response.json()["detail"][0]["loc"]) == (
        422,
        ["query", query.split("=", maxsplit=1)[0]],
    )


async def test_a_row_that_cannot_be_read_does_not_break_a_list(
    here: World, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = await here.scheduler.get(await here.create())
    fault = CorruptRow("schedules", MISSING, "payload is not JSON")

    async def listed(*_: object) -> Page[Schedule]:
        return Page(items=(good,), total_count=2, faults=(fault,))

    monkeypatch.setattr(here.store, "list_schedules", listed)
    answer = (await client.get("/schedules")).json()
    assert [row["id"] for row in answer["data"]] == [good.id]
    assert answer["meta"]["unreadable"] == [{"id": MISSING, "reason": "payload is not JSON"}]


async def test_the_history_of_an_unreadable_schedule_can_be_read(
    here: World, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await created(client)
    await client.post(f"/schedules/{made['id']}/trigger")

    async def unreadable(*_: object) -> None:
        raise CorruptRow("schedules", made["id"], "secret detail")

    monkeypatch.setattr(here.store, "get_schedule", unreadable)
    assert (await client.get(f"/schedules/{made['id']}/runs")).json()["meta"]["total_count"] == 1
    response = await client.get(f"/schedules/{made['id']}")
    assert response.status_code == 500
    assert response.json() == {"detail": f"The stored row cannot be read: schedules {made['id']}"}


def _deep(levels: int) -> Any:
    value: Any = "end"
    for _ in range(levels):
        value = [value]
    return value


async def test_what_targets_answer_never_breaks_a_list(
    here: World, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await created(client)
    run = (await client.post(f"/schedules/{made['id']}/trigger")).json()
    stored = await here.store.get_run(run["id"])
    assert stored is not None
    odd = {"half": "\ud83d", "nan": float("nan"), "big": 10**400, "\udc00": "\0"}
    deep = {"deep": _deep(500)}
    row: Run = replace(stored, status=RunStatus.FAILED, output=odd, metrics=deep, input=deep | odd)

    async def get_run(_: str) -> Run:
        return row

    async def list_runs(*_: object) -> Page[Run]:
        return Page(items=(row,), total_count=1)

    monkeypatch.setattr(here.store, "get_run", get_run)
    monkeypatch.setattr(here.store, "list_runs", list_runs)
    one = await client.get(f"/schedules/{made['id']}/runs/{run['id']}")
    many = await client.get(f"/schedules/{made['id']}/runs")
    assert (one.status_code, many.status_code) == (200, 200)
    output = one.json()["output"]
    assert (output["half"], output["nan"], output["big"], output["?"]) == ("?", None, 10**400, "\0")
    assert "…" in str(one.json()["metrics"]["deep"])
    assert many.json()["data"] == [one.json()]


# trigger


async def test_trigger_answers_202_and_where_to_look(here: World, client: httpx2.AsyncClient) -> None:
    made = await created(client)
    response = await client.post(f"/schedules/{made['id']}/trigger")
    assert (response.status_code, response.json()["status"]) == (202, "pending")
    assert response.headers["location"] == f"/schedules/{made['id']}/runs/{response.json()['id']}"
    assert (await client.get(response.headers["location"])).json() == response.json()


async def triggered(here: World, client: httpx2.AsyncClient, url: str, **options: Any) -> httpx2.Response:
    """The answer of a trigger whose run ends while it waits."""
    task = asyncio.create_task(client.post(url, **options))
    await here.clock.until_sleeping()
    await here.execute()
    here.clock.advance(1)
    return await task


async def test_trigger_waits_for_the_end(here: World, client: httpx2.AsyncClient) -> None:
    url = f"/schedules/{(await created(client))['id']}/trigger"
    for options in ({"params": {"wait": 30}}, {"headers": {"Prefer": "respond-async, wait=30"}}):
        response = await triggered(here, client, url, **options)
        assert (response.status_code, response.json()["status"]) == (200, "success")
        assert "location" not in response.headers
        assert [attempt["number"] for attempt in response.json()["attempts"]] == [1]


async def test_the_default_wait_is_configured(here: World) -> None:
    async with client_of(app_of(here, trigger_wait_seconds=25)) as client:
        url = f"/schedules/{(await created(client))['id']}/trigger"
        assert (await triggered(here, client, url)).status_code == 200
        at_once = await client.post(url, params={"wait": 0}, headers={"Prefer": "wait=100"})
        assert at_once.status_code == 202


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("wait=10", 10),
        ('respond-async, Wait = "7"', 7),
        ("wait=9999", 300),
        ("wait=0", 0),
        ("respond-async", 0),
        ("await=3", 25),
        ("wait=-1", 25),
        ("wait=soon", 25),
    ],
)
async def test_a_preferred_wait_is_a_wish(
    here: World, monkeypatch: pytest.MonkeyPatch, prefer: str, seconds: float
) -> None:
    trigger, waits = here.scheduler.trigger, []

    async def watched(schedule_id: str, *_: object, wait_seconds: float, **__: object) -> RunDetail:
        waits.append(wait_seconds)
        return await trigger(schedule_id)

    monkeypatch.setattr(here.scheduler, "trigger", watched)
    async with client_of(app_of(here, trigger_wait_seconds=25)) as client:
        url = f"/schedules/{(await created(client))['id']}/trigger"
        assert (await client.post(url, headers={"Prefer": prefer})).status_code == 202
    assert waits == [seconds]


async def test_a_paused_run_is_answered_with_what_it_waits_for(here: World, client: httpx2.AsyncClient) -> None:
    made = await created(client)
    run = (await client.post(f"/schedules/{made['id']}/trigger")).json()
    await here.execute(PAUSED)
    paused = (await client.get(f"/schedules/{made['id']}/runs/{run['id']}")).json()
    assert (paused["status"], paused["requirements"]) == ("paused", [PAY])
    skipped = await client.post(f"/schedules/{made['id']}/trigger")
    assert (skipped.status_code, skipped.json()["status"]) == (200, "skipped")
    assert skipped.json()["reason"] == "overlap: the previous run was still active"


async def test_trigger_refuses_what_cannot_run(here: World, client: httpx2.AsyncClient) -> None:
    made = await created(client)
    here.engine = EngineState(status="stopped")
    response = await client.post(f"/schedules/{made['id']}/trigger")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
    assert response.json()["detail"].startswith("Scheduler is not running")
    await client.post(f"/schedules/{made['id']}/disable")
    response = await client.post(f"/schedules/{made['id']}/trigger")
    assert (response.status_code, response.json()) == (409, {"detail": "Schedule is disabled"})


@pytest.mark.parametrize("wait", ["-1", "301", "x", "nan", "inf", "1e400"])
async def test_a_wrong_wait_is_refused(client: httpx2.AsyncClient, wait: str) -> None:
    url = f"/schedules/{(await created(client))['id']}/trigger"
    response = await client.post(url, params={"wait": wait})
    assert (response.status_code, response.json()["detail"][0]["loc"]) == (422, ["query", "wait"])
    assert (await client.get(url.replace("trigger", "runs"))).json()["data"] == []


# preview


async def test_preview_shows_the_clock_change(client: httpx2.AsyncClient) -> None:
    params = {"cron_expr": "30 2 * * *", "timezone": "europe/berlin", "start_at": "2026-03-28", "count": "2"}
    answer = (await client.get("/schedules/preview", params=params)).json()
    assert answer["timezone"] == "Europe/Berlin"
    assert answer["explanation"] == "At 02:30, every day, Europe/Berlin, from 2026-03-28 00:00:00"
    assert any("02:30 does not exist on 2026-03-29" in warning for warning in answer["warnings"])
    before, jump = answer["fires"]
    assert before == {
        "utc": "2026-03-28T01:30:00.000Z",
        "local": "2026-03-28T02:30:00+01:00",
        "offset": "+01:00",
        "epoch": 1774661400,
        "note": None,
    }
    assert (jump["local"], jump["utc"]) == ("2026-03-29T03:00:00+02:00", "2026-03-29T01:00:00.000Z")
    assert jump["note"].startswith("clocks go forward")


@pytest.mark.parametrize(
    ("params", "fires"),
    [
        ({"cron_expr": "@hourly"}, 10),
        ({"cron_expr": "@hourly", "count": 100}, 100),
        ({"interval_seconds": 5, "count": 3}, 3),
        ({"run_at": "2026-02-01T00:00:00+02:00"}, 1),
        ({"cron_expr": "@daily", "max_runs": 4}, 4),
        ({"cron_expr": ""}, 0),
        ({}, 0),
    ],
)
async def test_preview_knows_every_kind(client: httpx2.AsyncClient, params: dict[str, Any], fires: int) -> None:
    answer = await client.get("/schedules/preview", params=params)
    assert answer.status_code == 200
    assert len(answer.json()["fires"]) == fires
    assert answer.json()["explanation"]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"cron_expr": "0 25 * * *"}, "cron_expr"),
        ({"cron_expr": "@daily", "timezone": "Mars"}, "timezone"),
        ({"cron_expr": "@daily", "interval_seconds": 5}, "interval_seconds"),
        ({"run_at": "2020-01-01"}, "run_at"),
        ({"count": 101}, "count"),
        ({"cron": "@daily"}, "cron"),
        ({"cron_expr": "\0"}, "cron_expr"),
    ],
)
async def test_preview_refuses_what_create_refuses(
    client: httpx2.AsyncClient, params: dict[str, Any], field: str
) -> None:
    response = await client.get("/schedules/preview", params=params)
    assert (response.status_code, response.json()["detail"][0]["loc"]) == (422, ["query", field])


# failures


async def test_a_database_that_is_away_is_503_everywhere(
    here: World, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = f"/schedules/{(await created(client))['id']}"

    async def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("password=hunter2")

    for method in (
        "now", "insert_schedules", "get_schedule", "change_schedule", "delete_schedule", "list_schedules",
        "trigger", "get_run", "list_runs", "health",
    ):  # fmt: skip
        monkeypatch.setattr(here.store, method, away)
    for method, url, body in (
        ("GET", "/schedules", None),
        ("POST", "/schedules", DRAFT),
        ("GET", "/schedules/preview", None),
        ("GET", one, None),
        ("PATCH", one, {}),
        ("DELETE", one, None),
        ("POST", f"{one}/enable", None),
        ("POST", f"{one}/disable", None),
        ("POST", f"{one}/trigger", None),
        ("GET", f"{one}/runs", None),
        ("GET", f"{one}/runs/{MISSING}", None),
        ("GET", "/info", None),
    ):
        response = await client.request(method, url, json=body)
        assert (response.status_code, response.headers["retry-after"]) == (503, "5"), (method, url)
        assert response.json() == {"detail": "The database does not answer at the moment: try again"}


async def test_a_fault_of_ours_is_500_and_tells_nothing(
    here: World, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("bug")

    monkeypatch.setattr(here.store, "list_schedules", broken)
    structlog.reset_defaults()  # whatever other tests have set up in this process
    response = await client.get("/schedules?name=topsecret", headers={"Authorization": "Bearer topsecret"})
    assert (response.status_code, response.json()) == (500, {"detail": "Internal server error"})
    log = capsys.readouterr().out
    assert "request_failed" in log
    assert "RuntimeError" in log
    assert "topsecret" not in log
