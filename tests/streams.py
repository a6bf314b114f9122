"""An ASGI client that reads server-sent events as they are sent, goes away when told, and can be slow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI
from tests.apis import World, app_of

from agentclock.core.model import Claim
from agentclock.live import Hub

WITHIN_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Frame:
    """`id` None: this event set none."""

    event: str
    data: Any
    id: str | None = None


@dataclass(slots=True)
class Stream:
    """One request. `status` and `headers` once they are there; frames come one by one."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    #: Cleared: the client takes nothing.
    takes: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    frames: asyncio.Queue[Frame | None] = field(default_factory=asyncio.Queue)
    _tail: str = ""

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        await self.takes.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            self.begun.set()
            return
        self.body += message.get("body", b"")
        *blocks, self._tail = (self._tail + message.get("body", b"").decode()).split("\n\n")
        for block in blocks:
            self._read(block)
        if not message.get("more_body"):
            self.frames.put_nowait(None)

    def _read(self, block: str) -> None:
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if "data" in fields:
            self.frames.put_nowait(Frame(fields["event"], json.loads(fields["data"]), fields.get("id")))
        else:
            self.comments.append(block)

    async def next(self) -> Frame | None:
        """None: the server has ended the stream."""
        async with asyncio.timeout(WITHIN_SECONDS):
            return await self.frames.get()

    async def dropped(self) -> None:
        """Returns once the server has given up."""
        async with asyncio.timeout(WITHIN_SECONDS):
            await self.gone.wait()

    async def take(self, count: int) -> list[Frame]:
        frames = [await self.next() for _ in range(count)]
        assert None not in frames, frames
        return [frame for frame in frames if frame is not None]

    async def rest(self) -> list[Frame]:
        """All until the server ends the stream."""
        frames = []
        while (frame := await self.next()) is not None:
            frames.append(frame)
        return frames


@asynccontextmanager
async def stream(app: FastAPI, path: str, headers: Mapping[str, str] | None = None) -> AsyncIterator[Stream]:
    """Open until the context ends: then the client goes away, and the server must notice."""
    made = Stream()
    made.takes.set()
    plain, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": plain,
        "raw_path": plain.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        "client": ("127.0.0.1", 1),
        "server": ("agentclock.test", 80),
    }
    request = asyncio.create_task(app(scope, made.receive, made.send))
    request.add_done_callback(lambda _: made.gone.set())
    try:
        async with asyncio.timeout(WITHIN_SECONDS):
            await made.begun.wait()
        yield made
    finally:
        made.left.set()
        made.takes.set()
        async with asyncio.timeout(WITHIN_SECONDS):
            await request


async def running(here: World, **fields: Any) -> tuple[Claim, str]:
    """A run that a worker holds, and the path of its stream."""
    schedule_id = await here.create(**fields)
    detail = await here.scheduler.trigger(schedule_id)
    return await here.claim(), f"/schedules/{schedule_id}/runs/{detail.run.id}/events"


def app_of_hub(here: World, hub: Hub) -> FastAPI:
    """The API of a process that hears nothing of what happens in this one."""
    here.hub = hub
    return app_of(here)


async def tick(here: World, seconds: float) -> None:
    """Time passes for the hub."""
    await here.clock.until_sleeping()
    here.clock.advance(seconds)
    await settled()


@asynccontextmanager
async def passing_time(here: World) -> AsyncIterator[None]:
    """Time goes by, faster than it does outside."""

    async def pass_on() -> None:
        while True:
            await asyncio.sleep(0.001)
            here.clock.advance(0.25)

    passing = asyncio.create_task(pass_on())
    try:
        yield
    finally:
        passing.cancel()


async def settled() -> None:
    """Everybody has done what could be done at once."""
    for _ in range(20):
        await asyncio.sleep(0)
