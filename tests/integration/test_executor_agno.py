"""The executor against the real AgentOS, with models that need no network."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2
import pytest
from agno.db.sqlite import SqliteDb
from agno.os import AgentOS
from fastapi import FastAPI
from tests.agno_rig import agent, build, served, team
from tests.executor_help import PATIENT, QUICK, Recorder, executor_for, recorder

from agentclock.core.ids import attempt_run_id
from agentclock.core.model import Outcome, OutcomeKind
from agentclock.executor.dispatch import TargetExecutor


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return build(tmp_path_factory.mktemp("host") / "os.db").get_app()


@pytest.fixture
async def executor(app: FastAPI) -> AsyncIterator[TargetExecutor]:
    async with served(app) as url, executor_for(url, patience=PATIENT) as executor:
        yield executor


def called(component: str, **options: Any) -> Recorder:
    """All tests share a database, so no two runs may share an id."""
    return recorder(f"/{component}/runs", {"message": "What time is it?"}, name=str(uuid.uuid4()), **options)


async def execute(executor: TargetExecutor, component: str, **options: Any) -> tuple[Outcome, Recorder]:
    call = called(component, **options)
    return await executor.execute(call.context), call


async def stored_status(executor: TargetExecutor, component: str, outcome: Outcome) -> str:
    base_url = executor._targets["default"].base_url
    async with httpx2.AsyncClient(base_url=base_url) as client:
        found = await client.get(
            f"/{component}/runs/{outcome.agent_run_id}", params={"session_id": outcome.session_id or ""}
        )
        status: str = found.json()["status"]
        return status


async def test_an_agent_with_a_tool(executor: TargetExecutor) -> None:
    outcome, call = await execute(executor, "agents/greeter")
    assert (outcome.kind, outcome.status_code, outcome.error) == (OutcomeKind.SUCCESS, 200, None)
    assert "It is noon." in outcome.output["content"]
    assert outcome.output["content_type"] == "str"
    assert outcome.agent_run_id == attempt_run_id(call.context.claim.run.id, 1)
    assert call.noted == [(outcome.agent_run_id, outcome.session_id)]
    assert outcome.metrics["total_tokens"] == outcome.metrics["input_tokens"] + outcome.metrics["output_tokens"] > 0
    assert outcome.metrics["duration"] > 0
    [told] = [data["tool"]["result"] for event_type, data in call.events if event_type == "ToolCallCompleted"]
    assert told == "It is noon."
    said = "".join(data["content"] for event_type, data in call.events if event_type == "RunContent")
    assert said == outcome.output["content"]
    assert await stored_status(executor, "agents/greeter", outcome) == "COMPLETED"


async def test_a_team_counts_its_members_tokens(executor: TargetExecutor) -> None:
    outcome, call = await execute(executor, "teams/crew")
    assert (outcome.kind, outcome.error) == (OutcomeKind.SUCCESS, None)
    assert "It is noon." in outcome.output["content"]
    requests = [
        d["total_tokens"] for t, d in call.events if t in ("ModelRequestCompleted", "TeamModelRequestCompleted")
    ]
    assert len(requests) == 4
    assert outcome.metrics["total_tokens"] == sum(requests)
    assert call.types[0] == "TeamRunStarted"
    assert "RunCompleted" in call.types
    assert call.noted == [(outcome.agent_run_id, outcome.session_id)]


async def test_a_workflow_counts_its_steps_tokens(executor: TargetExecutor) -> None:
    outcome, call = await execute(executor, "workflows/report")
    assert (outcome.kind, outcome.error) == (OutcomeKind.SUCCESS, None)
    assert outcome.output["content"] == "heard: What time is it?"
    requests = [data["total_tokens"] for event_type, data in call.events if event_type == "ModelRequestCompleted"]
    assert outcome.metrics["total_tokens"] == sum(requests) > 0
    assert call.types.count("StepCompleted") == 2
    assert call.types[-1] == "WorkflowCompleted"


async def test_a_workflow_with_a_failed_step(executor: TargetExecutor) -> None:
    outcome, _ = await execute(executor, "workflows/stumbling")
    assert outcome.kind is OutcomeKind.SUCCESS
    assert outcome.error == "the workflow completed, but these steps failed: first (stumbled)"


async def test_an_agent_that_raises(executor: TargetExecutor) -> None:
    outcome, call = await execute(executor, "agents/broken")
    assert (outcome.kind, outcome.retryable, outcome.error) == (OutcomeKind.FAILED, True, "the model broke")
    assert call.types[-1] == "RunError"
    assert await stored_status(executor, "agents/broken", outcome) == "ERROR"


@pytest.mark.parametrize("component", ["agents/spender", "teams/spenders", "workflows/spending"])
async def test_a_run_that_waits_for_a_human(executor: TargetExecutor, component: str) -> None:
    outcome, _ = await execute(executor, component)
    assert (outcome.kind, outcome.error) == (OutcomeKind.PAUSED, None)
    assert "spend" in str(outcome.requirements)
    assert await stored_status(executor, component, outcome) == "PAUSED"


async def test_a_workflow_step_that_waits_for_a_human(executor: TargetExecutor) -> None:
    """AgentOS sends no event for the pause of the workflow itself: its state tells."""
    outcome, call = await execute(executor, "workflows/asking")
    assert outcome.kind is OutcomeKind.PAUSED
    assert outcome.requirements[0]["step_name"] == "ask"
    assert "WorkflowPaused" not in call.types


@pytest.mark.parametrize("component", ["agents/slow", "workflows/endless"])
async def test_a_timeout_stops_the_agent(executor: TargetExecutor, component: str) -> None:
    outcome, _ = await execute(executor, component, timeout_seconds=1)
    assert outcome.kind is OutcomeKind.TIMEOUT
    assert outcome.error == "no end within 1 s; AgentOS has stopped the run"
    assert await stored_status(executor, component, outcome) == "CANCELLED"


async def test_a_wish_to_cancel_stops_the_agent(executor: TargetExecutor) -> None:
    call = called("agents/slow")
    running = asyncio.create_task(executor.execute(call.context))
    await call.noted_once.wait()
    call.context.cancelled.set()
    outcome = await running
    assert (outcome.kind, outcome.error) == (OutcomeKind.CANCELLED, "cancelled; AgentOS has stopped the run")
    assert await stored_status(executor, "agents/slow", outcome) == "CANCELLED"


async def test_two_at_once_keep_apart(executor: TargetExecutor) -> None:
    calls = [recorder("/agents/greeter/runs", {"message": f"Question {n}"}, name=f"s{n}") for n in range(2)]
    outcomes = await asyncio.gather(*(executor.execute(call.context) for call in calls))
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.SUCCESS] * 2
    assert len({outcome.agent_run_id for outcome in outcomes}) == 2
    for call, outcome in zip(calls, outcomes, strict=True):
        assert {data["run_id"] for _, data in call.events} == {outcome.agent_run_id}


async def test_answers_of_agentos_to_bad_calls_are_final(executor: TargetExecutor) -> None:
    outcome, _ = await execute(executor, "agents/nobody")
    assert (outcome.kind, outcome.retryable, outcome.error) == (
        OutcomeKind.FAILED,
        False,
        "HTTP 404 Not Found: Agent not found",
    )
    silent = await executor.execute(recorder("/agents/greeter/runs", {"session_id": "x"}).context)
    assert (silent.retryable, silent.error) == (
        False,
        f"HTTP 422 {HTTPStatus(422).phrase}: body.message: Field required",
    )
    odd = await executor.execute(recorder("/agents/greeter/runs", {"message": "hi", "metadata": [1]}).context)
    assert (odd.status_code, odd.retryable) == (400, False)


async def test_a_team_without_a_database(tmp_path: Path) -> None:
    """Such an AgentOS cannot run in the background, and says so in its own way."""
    bare = AgentOS(id="bare", agents=[agent("greeter")], teams=[team("crew", agent("member"))], telemetry=False)
    async with served(bare.get_app()) as url, executor_for(url, patience=QUICK) as executor:
        for component in ("agents/greeter", "teams/crew"):
            outcome, _ = await execute(executor, component)
            assert outcome.kind is OutcomeKind.FAILED
            assert "database" in str(outcome.error)


async def test_the_owner_reaches_the_agent(tmp_path: Path) -> None:
    db = SqliteDb(db_file=str(tmp_path / "owner.db"))
    app = AgentOS(id="o", agents=[agent("greeter", db=db)], db=db, telemetry=False).get_app()
    async with served(app) as url:
        async with executor_for(url) as executor:
            call = recorder("/agents/greeter/runs", {"message": "hi", "user_id": "root"}, user_id="anna")
            outcome = await executor.execute(call.context)
        async with httpx2.AsyncClient(base_url=url) as client:
            session = (await client.get(f"/sessions/{outcome.session_id}", params={"type": "agent"})).json()
    assert session["user_id"] == "anna"
