"""A real AgentOS whose agents need no network, served on a free port."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from agno.agent import Agent
from agno.db.sqlite import SqliteDb
from agno.os import AgentOS
from agno.team import Team
from agno.tools import tool
from agno.workflow import Step, Workflow
from agno.workflow.types import HumanReview, StepInput, StepOutput
from fastapi import FastAPI

from agentclock.agno.offline import OfflineModel


def noon() -> str:
    """Tells the time."""
    return "It is noon."


@tool(requires_confirmation=True)
def spend(amount: int) -> str:
    """Spends money.

    Args:
        amount: In euros.
    """
    return f"spent {amount}"


@tool(requires_user_input=True, user_input_fields=["city"])
def weather(city: str, unit: str) -> str:
    """Tells the weather.

    Args:
        city: Where.
        unit: In which unit.
    """
    return f"fine in {city}"


@tool(external_execution=True)
def deploy(version: str) -> str:
    """Deploys a version.

    Args:
        version: Which.
    """
    return f"this is never called with {version}"


def echo(asked: StepInput) -> StepOutput:
    return StepOutput(content=f"heard: {asked.input}")


def stumble(_asked: StepInput) -> StepOutput:
    return StepOutput(content="nothing", success=False, error="stumbled")


def agent(agent_id: str, *tools: Any, db: SqliteDb | None = None, **model: Any) -> Agent:
    return Agent(
        id=agent_id,
        name=agent_id,
        model=OfflineModel(**{"delay_seconds": 0.0, **model}),
        tools=list(tools),
        db=db,
        telemetry=False,
    )


def team(team_id: str, *members: Agent) -> Team:
    model = OfflineModel(delay_seconds=0.0)
    return Team(id=team_id, name=team_id, model=model, members=list(members), telemetry=False)


def workflow(workflow_id: str, *steps: Step) -> Workflow:
    return Workflow(id=workflow_id, name=workflow_id, steps=list(steps), telemetry=False)


def build(db_file: Path, **options: Any) -> AgentOS:
    return AgentOS(
        id="executor-test",
        db=SqliteDb(db_file=str(db_file)),
        agents=[
            agent("greeter", noon),
            agent("broken", fail_with="the model broke"),
            agent("spender", spend),
            agent("slow", seconds=60.0),
            agent("talker", seconds=2.0),
            agent("asker", weather),
            agent("deployer", deploy),
            agent("slow-spender", spend, seconds=2.0),
        ],
        teams=[team("crew", agent("member", noon)), team("spenders", agent("member2", spend))],
        workflows=[
            workflow("report", Step(name="look", agent=agent("w1", noon)), Step(name="write", executor=echo)),
            workflow("stumbling", Step(name="first", executor=stumble), Step(name="second", executor=echo)),
            workflow("asking", Step(name="ask", executor=echo, human_review=HumanReview(requires_confirmation=True))),
            workflow(
                "filling",
                Step(
                    name="fill",
                    executor=echo,
                    human_review=HumanReview(
                        requires_user_input=True,
                        user_input_schema=[{"name": "city", "field_type": "str", "description": "Where."}],
                    ),
                ),
            ),
            workflow(
                "reviewed", Step(name="write", executor=echo, human_review=HumanReview(requires_output_review=True))
            ),
            workflow("spending", Step(name="pay", agent=agent("w2", spend)), Step(name="write", executor=echo)),
            workflow("endless", Step(name="wait", agent=agent("w3", seconds=60.0))),
        ],
        telemetry=False,
        **options,
    )


class Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """The base URL of `app`, which may be served again afterwards: to make it takes longer."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await server.ready.wait()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


async def serve_until_killed(db_file: Path) -> None:
    async with served(build(db_file).get_app()) as url:
        print(url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve_until_killed(Path(sys.argv[1])))
