"""The offline model and the demo's AgentOS, driven through agno itself, with connections to other hosts refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx2
import pytest
from agno.agent import Agent
from agno.run.agent import RunOutput, RunStatus
from agno.team import Team
from agno.workflow import Step, Workflow
from fastapi import FastAPI

from agentclock.agno.demo_os import build_demo_os
from agentclock.agno.offline import Call, OfflineModel

pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.filterwarnings("ignore:Duplicate Operation ID"),
]


@pytest.fixture(autouse=True)
def _no_real_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def model(**settings: Any) -> OfflineModel:
    return OfflineModel(**{"delay_seconds": 0.0} | settings)


def weather(city: str) -> str:
    """Tells the weather."""
    return f"sunny in {city}"


def dice() -> str:
    """Rolls a die."""
    return "you rolled a four"


def agent(**settings: Any) -> Agent:
    return Agent(**{"id": "anna", "name": "Anna", "model": model(), "telemetry": False} | settings)


class TestAgent:
    async def test_calls_the_tool_and_uses_its_result(self) -> None:
        run = await agent(tools=[dice]).arun("Try your luck")
        assert [tool.tool_name for tool in run.tools or []] == ["dice"]
        assert "you rolled a four" in run.content

    async def test_calls_the_tool_that_the_question_names(self) -> None:
        run = await agent(tools=[dice, weather]).arun("How is the weather?")
        assert [(tool.tool_name, tool.tool_args) for tool in run.tools or []] == [
            ("weather", {"city": "How is the weather?"})
        ]

    async def test_answers_without_tools(self) -> None:
        run = await agent().arun("Water the plants")
        assert run.status is RunStatus.completed
        assert "Water the plants" in run.content

    async def test_streams_in_deltas_that_join_to_the_answer(self) -> None:
        events = [event async for event in agent(tools=[dice]).arun("Roll", stream=True, stream_events=True)]
        deltas = [event.content for event in events if event.event == "RunContent"]
        assert len(deltas) > 3
        assert "".join(deltas) == events[-1].content

    async def test_reports_tokens_of_every_request(self) -> None:
        run = await agent(tools=[dice]).arun("Roll")
        assert run.metrics is not None
        assert run.metrics.input_tokens > 0
        assert run.metrics.output_tokens > 10
        assert run.metrics.total_tokens == run.metrics.input_tokens + run.metrics.output_tokens

    async def test_same_question_same_answer_in_every_mode(self) -> None:
        answers = [
            (await agent().arun("Hello")).content,
            agent().run("Hello").content,
            [event async for event in agent().arun("Hello", stream=True, stream_events=True)][-1].content,
            list(agent().run("Hello", stream=True, stream_events=True))[-1].content,
        ]
        assert len(set(answers)) == 1

    async def test_script_is_said_delta_by_delta(self) -> None:
        scripted = agent(model=model(script=["one ", "two ", "three"]), tools=[dice])
        events = [event async for event in scripted.arun("Count", stream=True)]
        assert [event.content for event in events if event.event == "RunContent"] == ["one ", "two ", "three"]

    async def test_makes_the_calls_that_it_is_told_one_after_the_other(self) -> None:
        calls = [Call("weather", {"city": "Rome"}), Call("dice"), Call("weather", {"city": "Oslo"})]
        run = await agent(model=model(calls=calls), tools=[dice, weather]).arun("Whatever")
        made = [(tool.tool_name, tool.tool_args) for tool in run.tools or []]
        assert made == [("weather", {"city": "Rome"}), ("dice", {}), ("weather", {"city": "Oslo"})]
        assert "sunny in Rome you rolled a four sunny in Oslo" in run.content

    async def test_the_question_may_decide_what_it_calls(self) -> None:
        def plan(question: str) -> list[Call]:
            return [Call("weather", {"city": "Rome"})] if "Rome" in question else []

        talker = agent(model=model(calls=plan), tools=[weather])
        assert "sunny in Rome" in (await talker.arun("How is Rome?")).content
        assert (await talker.arun("How are you?")).tools in (None, [])

    async def test_a_script_follows_the_calls(self) -> None:
        scripted = agent(model=model(calls=[Call("dice")], script=["all ", "done"]), tools=[dice])
        run = await scripted.arun("Roll")
        assert ([tool.tool_name for tool in run.tools or []], run.content) == (["dice"], "all done")

    @pytest.mark.parametrize("stream", [True, False])
    async def test_fails_when_told_to(self, stream: bool) -> None:
        failing = agent(model=model(fail_with="the model is on strike"))
        if stream:
            events = [event async for event in failing.arun("Hello", stream=True, stream_events=True)]
            assert (events[-1].event, events[-1].content) == ("RunError", "the model is on strike")
        else:
            run: RunOutput = await failing.arun("Hello")
            assert (run.status, run.content) == (RunStatus.error, "the model is on strike")

    def test_seconds_are_spread_over_pauses_short_enough_to_be_cancelled(self) -> None:
        pieces, pause_seconds = OfflineModel(seconds=30.0)._paced(["tick ", "tock "])
        assert len(pieces) * pause_seconds == pytest.approx(30.0)
        assert pause_seconds <= 0.25
        assert pieces[:3] == ["tick ", "tock ", "tick "]


class TestTeamAndWorkflow:
    async def test_leader_delegates_to_its_member_and_reports(self) -> None:
        team = Team(id="crew", model=model(), members=[agent(id="bob", name="Bob", tools=[dice])], telemetry=False)
        run = await team.arun("Roll the dice")
        assert [tool.tool_args for tool in run.tools or []] == [
            {"member_id": "bob", "task": "Roll the dice"},
        ]
        assert run.content.startswith("The team reports: ")
        assert "you rolled a four" in run.content

    async def test_steps_build_on_each_other(self) -> None:
        steps = [
            Step(name="roll", agent=agent(tools=[dice])),
            Step(name="tell", agent=agent(id="tom", name="Tom")),
        ]
        run = await Workflow(id="two", steps=steps, telemetry=False).arun("Go")
        assert run.status is RunStatus.completed
        assert "you rolled a four" in str(run.content)


def frames(body: str) -> list[tuple[str, dict[str, Any]]]:
    """The events of a complete SSE answer."""
    blocks = [block.split("\n") for block in body.split("\n\n") if block.startswith("event: ")]
    return [(event.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for event, data in blocks]


def without_repeats(events: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [name for name, _ in groupby(name for name, _ in events)]


class TestDemoOS:
    @pytest.fixture
    def started(self) -> list[str]:
        return []

    @pytest.fixture
    async def client(self, tmp_path: Path, started: list[str]) -> AsyncIterator[httpx2.AsyncClient]:
        @asynccontextmanager
        async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
            started.append("base app")
            yield

        base_app = FastAPI(lifespan=lifespan)

        @base_app.get("/schedules")
        def schedules() -> dict[str, str]:
            return {"from": "base app"}

        app = build_demo_os(str(tmp_path / "demo.db"), base_app=base_app)
        transport = httpx2.ASGITransport(app=app)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=transport, base_url="http://demo") as client,
        ):
            yield client

    async def test_shares_the_port_with_the_base_app(self, client: httpx2.AsyncClient, started: list[str]) -> None:
        assert started == ["base app"]
        assert (await client.get("/schedules")).json() == {"from": "base app"}
        assert [row["id"] for row in (await client.get("/agents")).json()] == ["greeter", "novelist", "cashier"]
        assert [row["id"] for row in (await client.get("/teams")).json()] == ["newsroom"]
        assert [row["id"] for row in (await client.get("/workflows")).json()] == ["morning-report"]
        assert (await client.get("/docs")).status_code == 200
        assert "/agents/{agent_id}/runs" in (await client.get("/openapi.json")).json()["paths"]

    @pytest.mark.parametrize(
        ("component", "last_event"),
        [
            ("agents/greeter", "RunCompleted"),
            ("teams/newsroom", "TeamRunCompleted"),
            ("workflows/morning-report", "WorkflowCompleted"),
        ],
    )
    async def test_background_stream_keeps_our_ids_and_can_be_asked_later(
        self, client: httpx2.AsyncClient, component: str, last_event: str
    ) -> None:
        form = {"message": "Good morning", "background": "true", "stream": "true"}
        ids = {"run_id": "run-of-ours", "session_id": "session-of-ours"}
        answer = await client.post(f"/{component}/runs", data=form | ids)
        assert answer.headers["content-type"].startswith("text/event-stream")
        name, data = frames(answer.text)[-1]
        assert (name, data["run_id"], data["session_id"]) == (last_event, *ids.values())

        status = await client.get(f"/{component}/runs/{ids['run_id']}", params={"session_id": ids["session_id"]})
        assert status.json()["status"] == "COMPLETED"
        assert status.json()["content"] == data["content"]

    async def test_the_greeter_looks_at_the_clock_before_it_speaks(self, client: httpx2.AsyncClient) -> None:
        form = {"message": "What time is it?", "background": "true", "stream": "true"}
        events = frames((await client.post("/agents/greeter/runs", data=form)).text)
        assert without_repeats(events) == [
            "RunStarted",
            "ModelRequestStarted",
            "ModelRequestCompleted",
            "ToolCallStarted",
            "ToolCallCompleted",
            "ModelRequestStarted",
            "RunContent",
            "ModelRequestCompleted",
            "RunContentCompleted",
            "RunCompleted",
        ]
        assert "It is " in events[-1][1]["content"]
        assert events[-1][1]["metrics"]["total_tokens"] > 0

    async def test_an_app_of_its_own_without_a_base(self, tmp_path: Path) -> None:
        paths = build_demo_os(str(tmp_path / "demo.db")).openapi()["paths"]
        assert "/agents/{agent_id}/runs" in paths


@pytest.mark.parametrize(("key", "expected"), [("", "offline"), ("sk-not-a-key", "some-model")])
async def test_a_key_brings_the_real_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str, expected: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setenv("AGENTCLOCK_DEMO_MODEL", "some-model")
    transport = httpx2.ASGITransport(app=build_demo_os(str(tmp_path / "demo.db")))
    async with httpx2.AsyncClient(transport=transport, base_url="http://demo") as client:
        greeter, *_ = (await client.get("/agents")).json()
    assert greeter["model"]["model"] == expected
