"""What the executor's tests share: contexts that record what an executor does with them, and servers that misbehave."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from agentclock.core.ids import fire_run_id
from agentclock.core.model import Cause, Claim, Run, Schedule, Target
from agentclock.executor.agentos import Patience
from agentclock.executor.dispatch import TargetExecutor
from agentclock.executor.targets import TargetSettings
from agentclock.ports import RunContext

FIRE_AT = 1_767_225_600_000

#: Short enough for tests, in the proportions of the real one.
QUICK = Patience(first_pause=0.01, longest_pause=0.05, unknown=0.3, answer=2.0, confirm=3.0, idle=5.0, drain=1.0)


@dataclass(slots=True)
class Recorder:
    """A run's context, and what became of it."""

    context: RunContext
    events: list[tuple[str, Any]] = field(default_factory=list)
    noted: list[tuple[str | None, str | None]] = field(default_factory=list)
    noted_once: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def types(self) -> list[str]:
        return [event_type for event_type, _ in self.events]


def recorder(
    endpoint: str = "/agents/greeter/runs",
    payload: Any = None,
    *,
    method: str = "POST",
    target: str = "default",
    timeout_seconds: int = 20,
    attempt: int = 1,
    user_id: str | None = None,
    name: str = "s",
) -> Recorder:
    schedule = Schedule(
        id=f"schedule-{name}",
        name=name,
        user_id=user_id,
        target=Target(name=target, method=method, endpoint=endpoint, payload=payload),
        timeout_seconds=timeout_seconds,
    )
    run = Run(
        id=fire_run_id(schedule.id, FIRE_AT),
        schedule_id=schedule.id,
        cause=Cause.SCHEDULE,
        fire_at=FIRE_AT,
        attempt=attempt,
    )

    async def note(agent_run_id: str | None, session_id: str | None) -> None:
        made.noted.append((agent_run_id, session_id))
        made.noted_once.set()

    def emit(event_type: str, data: Any) -> None:
        made.events.append((event_type, data))

    made = Recorder(RunContext(claim=Claim(run=run, schedule=schedule), emit=emit, note_agent_run=note))
    return made


@asynccontextmanager
async def executor_for(base_url: str, **options: Any) -> AsyncIterator[TargetExecutor]:
    """An executor that knows one target, `default`."""
    kind, headers = options.pop("kind", "agentos"), options.pop("headers", {})
    target = TargetSettings(name="default", base_url=base_url, kind=kind, headers=headers)
    executor = TargetExecutor({"default": target}, **{"patience": QUICK, **options})
    try:
        yield executor
    finally:
        await executor.close()


Session = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(session: Session, *, until: bytes = b"\r\n\r\n", port: int = 0) -> AsyncIterator[str]:
    """The base URL of a server that reads the head of a request and leaves the rest to `session`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(until)
            await session(head, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            """The client has gone: some tests want just that."""
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def answering(raw: bytes) -> Session:
    """Sends the same bytes to everybody and closes the connection."""

    async def session(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return session


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
