"""AgentOS apps for tests: alive without a server, spoken to without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from agno.agent import Agent
from agno.os.auth import create_dev_token
from fastapi import FastAPI
from tests import asgi_life
from tests.asgi_life import client_of
from tests.processes import until

from agentclock.agno.offline import OfflineModel

__all__ = ["AT_ONCE", "SECRET", "as_user", "bearer", "client_of", "created", "greeter", "living", "triggered"]

SECRET = "a secret of 256 bits or more, as HS256 wants it"
AT_ONCE = {"name": "by hand", "endpoint": "/agents/greeter/runs", "payload": {"message": "good morning"}}


def greeter(agent_id: str = "greeter", **options: Any) -> Agent:
    model = options.pop("model", None) or OfflineModel(delay_seconds=0.0)
    return Agent(id=agent_id, name=agent_id, model=model, telemetry=False, **options)


@asynccontextmanager
async def living(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of `app` between its start-up and its shutdown, with the engine at work if it has one."""
    async with asgi_life.living(app) as client:
        if (clockwork := getattr(app.state, "agentclock", None)) is not None:
            await until(lambda: clockwork.engine.status in ("running", "standby"))
        yield client


async def created(client: httpx2.AsyncClient, **draft: Any) -> dict[str, Any]:
    """A schedule made of `AT_ONCE` and `draft`."""
    answer = await client.post("/schedules", json=AT_ONCE | draft)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def triggered(client: httpx2.AsyncClient, schedule_id: str) -> dict[str, Any]:
    """A run by hand, at its end."""
    answer = await client.post(f"/schedules/{schedule_id}/trigger?wait=60")
    assert answer.status_code == 200, answer.text
    run: dict[str, Any] = answer.json()
    return run


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def as_user(name: str, *scopes: str) -> dict[str, str]:
    return bearer(create_dev_token(name, secret=SECRET, scopes=list(scopes)))
