"""AgentOS apps for tests: alive without a server, spoken to without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from agno.agent import Agent
from agno.os.auth import create_dev_token
from starlette.types import ASGIApp, Message
from tests.processes import until

from agentclock.agno.offline import OfflineModel

SECRET = "a secret of 256 bits or more, as HS256 wants it"
AT_ONCE = {"name": "by hand", "endpoint": "/agents/greeter/runs", "payload": {"message": "good morning"}}


def greeter(agent_id: str = "greeter", **options: Any) -> Agent:
    model = options.pop("model", None) or OfflineModel(delay_seconds=0.0)
    return Agent(id=agent_id, name=agent_id, model=model, telemetry=False, **options)


@asynccontextmanager
async def living(app: ASGIApp) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of `app` between its start-up and its shutdown, with the engine at work if it has one."""
    inbox, outbox = asyncio.Queue[Message](), asyncio.Queue[Message]()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    task = asyncio.create_task(_run(app, scope, inbox, outbox))
    try:
        inbox.put_nowait({"type": "lifespan.startup"})
        assert (told := await outbox.get())["type"] == "lifespan.startup.complete", told
        clockwork = getattr(getattr(app, "state", None), "agentclock", None)
        if clockwork is not None:
            await until(lambda: clockwork.engine.status in ("running", "standby"))
        async with client_of(app) as client:
            yield client
    finally:
        inbox.put_nowait({"type": "lifespan.shutdown"})
        await task
    assert (told := await outbox.get())["type"] == "lifespan.shutdown.complete", told


def client_of(app: ASGIApp) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://os.test", timeout=30)


async def _run(app: ASGIApp, scope: Any, inbox: asyncio.Queue[Message], outbox: asyncio.Queue[Message]) -> None:
    try:
        await app(scope, inbox.get, outbox.put)
    except Exception as error:
        outbox.put_nowait({"type": "raised", "error": error})


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
