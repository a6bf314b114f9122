"""An ASGI app alive without a server, spoken to without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from starlette.types import ASGIApp, Message


@asynccontextmanager
async def living(app: ASGIApp) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of `app` between its start-up and its shutdown."""
    inbox, outbox = asyncio.Queue[Message](), asyncio.Queue[Message]()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    task = asyncio.create_task(_run(app, scope, inbox, outbox))
    try:
        inbox.put_nowait({"type": "lifespan.startup"})
        assert (told := await outbox.get())["type"] == "lifespan.startup.complete", told
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
