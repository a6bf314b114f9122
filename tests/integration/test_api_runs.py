"""What people do with runs that are not over: cancel them, answer them, find those that wait; and what runs used up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from tests.apis import DRAFT, PAUSED, PAY, World, app_of, client_of, world

from agentclock.core.actors import Actor
from agentclock.core.events import RunChanged
from agentclock.core.model import Claim, Instruction, InstructionKind, Outcome, OutcomeKind, Run, Usage
from agentclock.testing import SUCCESS

MISSING = "00000000-0000-7000-8000-000000000000"
ASKED = {
    "id": "requirement-2",
    "tool_execution": {
        "tool_call_id": "call-2",
        "tool_name": "book",
        "requires_user_input": True,
        "user_input_schema": [{"name": "city", "field_type": "str", "value": None}],
    },
}


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


@pytest.fixture
async def client(here: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app_of(here)) as made:
        yield made


async def pending(here: World, **fields: Any) -> Run:
    detail = await here.scheduler.trigger(await here.create(**fields))
    return detail.run


async def running(here: World, **fields: Any) -> Claim:
    await pending(here, **fields)
    return await here.claim()


async def paused(here: World, *requirements: Any, **fields: Any) -> Run:
    claim = await running(here, **fields)
    await here.settle(claim, replace(PAUSED, requirements=list(requirements or [PAY])))
    return claim.run


def path_of(run: Run) -> str:
    return f"/schedules/{run.schedule_id}/runs/{run.id}"


def told(here: World, run: Run) -> bool:
    return RunChanged(run_id=run.id, schedule_id=run.schedule_id) in here.events


# cancel


async def test_a_run_that_waits_is_cancelled_at_once(here: World, client: httpx2.AsyncClient) -> None:
    run = await pending(here)
    here.events.clear()
    wakes = here.wakes
    response = await client.post(f"{path_of(run)}/cancel")
    assert (response.status_code, response.json()["status"], response.json()["error"]) == (
        200,
        "cancelled",
        "cancelled",
    )
    assert told(here, run)
    assert here.wakes == wakes + 1


async def test_a_run_at_work_is_cancelled_by_its_worker(here: World, client: httpx2.AsyncClient) -> None:
    claim = await running(here)
    response = await client.post(f"{path_of(claim.run)}/cancel")
    assert (response.status_code, response.json()["status"]) == (202, "running")
    assert response.json()["cancel_requested"] is True
    assert response.headers["location"] == path_of(claim.run)
    assert here.cancelled == [claim.run.id]
    assert await here.store.cancel_requests(claim.run.worker_id or "") == (claim.run.id,)


async def test_whoever_cancels_may_wait_for_the_end(here: World, client: httpx2.AsyncClient) -> None:
    claim = await running(here)
    request = asyncio.create_task(client.post(f"{path_of(claim.run)}/cancel", params={"wait": 60}))
    await here.clock.until_sleeping()
    await here.settle(claim, Outcome(kind=OutcomeKind.CANCELLED, error="cancelled"))
    response = await request
    assert (response.status_code, response.json()["status"], response.json()["cancel_requested"]) == (
        200,
        "cancelled",
        False,
    )


async def test_a_paused_run_is_cancelled_by_the_next_worker(here: World, client: httpx2.AsyncClient) -> None:
    run = await paused(here)
    response = await client.post(f"{path_of(run)}/cancel")
    assert (response.status_code, response.json()["status"]) == (202, "pending")
    again = await here.claim()
    assert again.run.instruction is not None
    assert (again.run.instruction.kind, again.run.attempt) == (InstructionKind.CANCEL, 1)


@pytest.mark.parametrize("kind", [OutcomeKind.SUCCESS, OutcomeKind.FAILED, OutcomeKind.CANCELLED])
async def test_cancelling_what_is_over_changes_nothing(
    here: World, client: httpx2.AsyncClient, kind: OutcomeKind
) -> None:
    claim = await running(here)
    await here.settle(claim, Outcome(kind=kind))
    before = (await client.get(path_of(claim.run))).json()
    here.events.clear()
    for _ in range(2):
        response = await client.post(f"{path_of(claim.run)}/cancel")
        assert (response.status_code, response.json()) == (200, before)
    assert here.events == []


# continue


async def test_an_approved_run_goes_on(here: World, client: httpx2.AsyncClient) -> None:
    run = await paused(here)
    here.events.clear()
    response = await client.post(f"{path_of(run)}/continue", json={"action": "approve", "note": "fine"})
    assert (response.status_code, response.json()["status"]) == (202, "pending")
    assert (response.headers["location"], response.json()["requirements"]) == (path_of(run), None)
    assert told(here, run)
    again = await here.claim()
    answers = {"action": "approve", "note": "fine"}
    assert again.run.instruction == Instruction(kind=InstructionKind.CONTINUE, answers=answers)


async def test_whoever_answers_may_wait_until_it_is_over_or_paused_again(
    here: World, client: httpx2.AsyncClient
) -> None:
    run = await paused(here)
    for outcome, status in ((PAUSED, "paused"), (SUCCESS, "success")):
        request = asyncio.create_task(
            client.post(f"{path_of(run)}/continue", json={"action": "reject"}, params={"wait": 60})
        )
        await here.clock.until_sleeping()
        await here.settle(await here.claim(), outcome)
        response = await request
        assert (response.status_code, response.json()["status"]) == (200, status)


async def test_of_two_who_answer_the_second_is_too_late(here: World, client: httpx2.AsyncClient) -> None:
    run = await paused(here)
    url = f"{path_of(run)}/continue"
    answers = await asyncio.gather(*(client.post(url, json={"action": word}) for word in ("approve", "reject")))
    assert sorted(answer.status_code for answer in answers) == [202, 409]
    late = await client.post(url, json={"action": "approve"})
    assert (late.status_code, late.json()) == (
        409,
        {"detail": "The run is pending, not paused: there is nothing to approve or reject"},
    )


async def test_a_run_that_is_answered_between_reading_and_writing_stays_answered(
    here: World, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await paused(here)
    instruct = here.store.instruct

    async def second(run_id: str, instruction: Instruction, *, by: Actor | None = None) -> Run | None:
        await instruct(run_id, Instruction(kind=InstructionKind.ATTACH))
        return await instruct(run_id, instruction, by=by)

    monkeypatch.setattr(here.store, "instruct", second)
    response = await client.post(f"{path_of(run)}/continue", json={"action": "approve"})
    assert response.status_code == 409


@pytest.mark.parametrize(
    "answers", [{}, {"note": "hm"}, {"action": "approve", "values": {}}, {"action": "approve", "values": {"town": "x"}}]
)
async def test_an_incomplete_answer_is_refused_and_says_what_is_missing(
    here: World, client: httpx2.AsyncClient, answers: dict[str, Any]
) -> None:
    run = await paused(here, ASKED)
    response = await client.post(f"{path_of(run)}/continue", json=answers)
    assert response.status_code == 422
    (fault,) = response.json()["detail"]
    assert fault["loc"] == ["body"]
    assert "values for city" in fault["msg"]
    assert (await client.get(path_of(run))).json()["status"] == "paused"


async def test_a_complete_answer_is_passed_on(here: World, client: httpx2.AsyncClient) -> None:
    run = await paused(here, ASKED)
    body = {"action": "approve", "values": {"city": "Zürich"}}
    assert (await client.post(f"{path_of(run)}/continue", json=body)).status_code == 202
    again = await here.claim()
    assert again.run.instruction is not None
    assert again.run.instruction.answers == body


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"action": "maybe"}, ["body", "action"]),
        ({"action": "approve", "tools": {}}, ["body", "tools"]),
        ({"action": "approve", "tools": [1]}, ["body", "tools", 0]),
        ({"action": "approve", "values": [1]}, ["body", "values"]),
        ({"action": "approve", "note": "x" * 5_000}, ["body", "note"]),
        ({"action": "approve", "note": "a\0b"}, ["body", "note"]),
        ({"action": "approve", "result": "a\0b"}, ["body", "result"]),
        ({"action": "approve", "values": {"city": "\ud800"}}, ["body", "values"]),
        ({"action": "approve", "vote": 1}, ["body", "vote"]),
    ],
)
async def test_a_wrong_answer_names_its_field(
    here: World, client: httpx2.AsyncClient, body: dict[str, Any], loc: list[Any]
) -> None:
    run = await paused(here)
    content = json.dumps(body).encode()
    response = await client.post(
        f"{path_of(run)}/continue", content=content, headers={"content-type": "application/json"}
    )
    assert (response.status_code, [fault["loc"] for fault in response.json()["detail"]]) == (422, [loc])
    assert (await client.get(path_of(run))).json()["status"] == "paused"


@pytest.mark.parametrize("state", ["pending", "running", "success"])
async def test_a_run_that_waits_for_nothing_takes_no_answer(
    here: World, client: httpx2.AsyncClient, state: str
) -> None:
    run = await pending(here)
    if state != "pending":
        claim = await here.claim()
        if state == "success":
            await here.settle(claim)
    response = await client.post(f"{path_of(run)}/continue", json={"action": "approve"})
    assert response.status_code == 409
    assert response.json()["detail"].startswith(f"The run is {state}, not paused")


async def test_what_is_not_there_is_not_found(here: World, client: httpx2.AsyncClient) -> None:
    run = await paused(here)
    other = await here.create(name="other")
    for schedule_id, run_id in (
        (run.schedule_id, MISSING),
        (run.schedule_id, "%00"),
        (other, run.id),
        (MISSING, run.id),
    ):
        for verb, body in (("cancel", None), ("continue", {"action": "approve"})):
            response = await client.post(f"/schedules/{schedule_id}/runs/{run_id}/{verb}", json=body)
            assert (response.status_code, response.json()) == (404, {"detail": "Schedule run not found"})
    response = await client.get(f"/schedules/{MISSING}/usage")
    assert (response.status_code, response.json()) == (404, {"detail": "Schedule not found"})


# the inbox


async def test_a_run_is_found_by_its_id_alone(here: World, client: httpx2.AsyncClient) -> None:
    run = await pending(here)
    found = (await client.get(f"/runs/{run.id}")).json()
    assert found.pop("schedule_name") == DRAFT["name"]
    assert found == (await client.get(path_of(run))).json()
    for unknown in (run.schedule_id, "nothing", "%00"):
        missing = await client.get(f"/runs/{unknown}")
        assert (missing.status_code, missing.json()) == (404, {"detail": "Schedule run not found"})


async def test_the_inbox_shows_what_waits_for_a_human(here: World, client: httpx2.AsyncClient) -> None:
    first = await paused(here, name="first", approval_timeout_seconds=600)
    third = await paused(here, ASKED, name="third", approval_timeout_seconds=None)
    await pending(here, name="second")
    answer = (await client.get("/runs", params={"status": "paused"})).json()
    assert answer["meta"]["total_count"] == 2
    rows = {row["id"]: row for row in answer["data"]}
    assert rows.keys() == {first.id, third.id}
    assert (rows[first.id]["schedule_name"], rows[third.id]["schedule_name"]) == ("first", "third")
    assert rows[first.id]["paused_at"] == "2026-01-01T00:00:00.000Z"
    assert (rows[first.id]["approval_due_at"], rows[third.id]["approval_due_at"]) == ("2026-01-01T00:10:00.000Z", None)
    (approval,) = rows[first.id]["approval"]
    assert (approval["kind"], approval["tool"], approval["args"]) == ("confirmation", "pay", {"amount": 120})
    (question,) = rows[third.id]["approval"]
    assert (question["kind"], [field["name"] for field in question["fields"]]) == ("user_input", ["city"])


async def test_runs_of_all_schedules_are_filtered_and_paged(here: World, client: httpx2.AsyncClient) -> None:
    ids = []
    for number in range(3):
        run = await pending(here, name=f"s{number}")
        here.clock.advance(1)
        ids.append(run.id)
    claim = await here.claim()
    await here.settle(claim)

    async def found(**params: Any) -> list[str]:
        response = await client.get("/runs", params=params)
        assert response.status_code == 200, response.text
        return [row["id"] for row in response.json()["data"]]

    assert await found() == ids[::-1]
    assert await found(status=["pending"]) == [ids[2], ids[1]]
    assert await found(status=["pending", "success"], cause="manual") == ids[::-1]
    assert await found(schedule_id=claim.schedule.id) == [claim.run.id]
    assert await found(since="2026-01-01T00:00:01Z", until="2026-01-01T00:00:02Z") == [ids[1]]
    assert await found(limit=1, page=2) == [ids[1]]
    cursor = (await client.get("/runs", params={"limit": 1})).json()["meta"]["next_cursor"]
    assert await found(limit=1, cursor=cursor) == [ids[1]]
    for wrong in ({"status": "x"}, {"since": "x"}, {"limit": 0}, {"cursor": "x"}, {"schedule_id": "\0"}):
        assert (await client.get("/runs", params=wrong)).status_code == 422, wrong


# usage


async def test_a_run_adds_up_what_its_attempts_used(here: World, client: httpx2.AsyncClient) -> None:
    claim = await running(here, max_retries=1, retry_delay_seconds=1)
    assert (await client.get(path_of(claim.run))).json()["usage"] is None
    first = Usage(model="m-1", input_tokens=10, output_tokens=5, total_tokens=15, cost=0.25)
    await here.settle(claim, Outcome(kind=OutcomeKind.FAILED, retryable=True, usage=first))
    here.clock.advance(1)
    second = Usage(model="m-2", input_tokens=100, total_tokens=120)
    await here.settle(await here.claim(), replace(SUCCESS, usage=second))
    run = (await client.get(path_of(claim.run))).json()
    assert run["usage"] == {
        "models": ["m-1", "m-2"], "input_tokens": 110, "output_tokens": 5, "total_tokens": 135, "cost": 0.25,
    }  # fmt: skip
    assert [attempt["usage"]["model"] for attempt in run["attempts"]] == ["m-1", "m-2"]
    assert run["attempts"][1]["usage"]["cost"] is None


async def test_a_schedule_adds_up_what_its_runs_used(here: World, client: httpx2.AsyncClient) -> None:
    schedule_id = await here.create(overlap="allow")
    for number in range(3):
        await here.scheduler.trigger(schedule_id)
        usage = Usage(model="big" if number else "small", input_tokens=10, output_tokens=1, total_tokens=11, cost=0.5)
        await here.execute(replace(SUCCESS, usage=usage))
        here.clock.advance(60)
    url = f"/schedules/{schedule_id}/usage"
    answer = (await client.get(url)).json()
    assert (answer["attempts"], answer["total"]["total_tokens"], answer["total"]["cost"]) == (3, 33, 1.5)
    assert [(row["model"], row["attempts"], row["total_tokens"]) for row in answer["models"]] == [
        ("big", 2, 22),
        ("small", 1, 11),
    ]
    some = (await client.get(url, params={"since": "2026-01-01T00:01:00Z", "until": "2026-01-01T00:02:00Z"})).json()
    assert (some["attempts"], some["total"]["total_tokens"]) == (1, 11)
    none = (await client.get(url, params={"since": "2027-01-01"})).json()
    nothing = {"input_tokens": None, "output_tokens": None, "total_tokens": None, "cost": None}
    assert none == {"attempts": 0, "total": nothing, "models": []}


async def test_the_new_fields_read_as_they_were_written(client: httpx2.AsyncClient) -> None:
    fields = {
        "idle_timeout_seconds": 30, "approval_timeout_seconds": 600, "approval_timeout_action": "fail",
        "on_lost": "retry",
    }  # fmt: skip
    made = (await client.post("/schedules", json=DRAFT | fields)).json()
    assert {name: made[name] for name in fields} == fields
    assert made["retries_lost"] is True
    emptied = {"idle_timeout_seconds": None, "approval_timeout_seconds": None, "on_lost": None}
    changed = (await client.patch(f"/schedules/{made['id']}", json=emptied)).json()
    assert {name: changed[name] for name in emptied} == emptied
    assert changed["retries_lost"] is False
    safe = (await client.post("/schedules", json=DRAFT | {"name": "safe", "method": "GET"})).json()
    assert (safe["on_lost"], safe["retries_lost"]) == (None, True)
    wrong = await client.patch(f"/schedules/{made['id']}", json={"retries_lost": True})
    assert wrong.json()["detail"][0]["msg"] == "'retries_lost' is read-only: leave it out"
