"""An AgentOS whose agents, tools and endpoints say whatever might be taken for markup or code: agentclock and its
dashboard live in it. To be served by uvicorn; HOSTILE_FOLDER is where the databases go."""

from __future__ import annotations

import os
from typing import Any

from agno.agent import Agent
from agno.db.sqlite import SqliteDb
from agno.os import AgentOS
from agno.tools import tool
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from tests.browser.hostile_texts import CORPUS, EVIL

from agentclock.agno import attach
from agentclock.agno.offline import Call, OfflineModel


def look_up(what: str) -> str:
    """Looks something up."""
    return f"{what}: {EVIL}"


@tool(requires_confirmation=True)
def pay(to: str) -> str:
    """Pays.

    Args:
        to: Whom.
    """
    return f"{to} {EVIL}"


def build(folder: str) -> FastAPI:
    app = FastAPI()

    @app.post("/fails")
    async def fails() -> JSONResponse:
        return JSONResponse(
            {"detail": EVIL, EVIL: [EVIL]}, 500, headers={"X-Reason": "<script>alert('header')</script>"}
        )

    @app.post("/answers")
    async def answers() -> Any:
        return {"content": EVIL, EVIL: {"<script>alert('key')</script>": list(CORPUS)}}

    agents = [
        Agent(
            id="talker", name=CORPUS[1], description=EVIL, model=OfflineModel(script=[f"{text} " for text in CORPUS])
        ),
        Agent(
            id="caller",
            name=CORPUS[0],
            tools=[look_up],
            model=OfflineModel(calls=[Call("look_up", {"what": EVIL})], script=list(CORPUS)),
        ),
        Agent(id="payer", name=CORPUS[3], tools=[pay], model=OfflineModel(calls=[Call("pay", {"to": EVIL})])),
        Agent(id="breaker", name="Breaker", model=OfflineModel(fail_with=EVIL)),
    ]
    agent_os = AgentOS(
        name=CORPUS[0], description=EVIL, agents=agents, db=SqliteDb(db_file=f"{folder}/agno.db"), base_app=app,
        telemetry=False, on_route_conflict="preserve_base_app",
    )  # fmt: skip
    hosted: FastAPI = agent_os.get_app()
    return attach(hosted, database=f"{folder}/agentclock.db")


app = build(os.environ["HOSTILE_FOLDER"])
