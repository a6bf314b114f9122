"""What the executor's tests share: contexts that record what an executor does with them, and servers that misbehave."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from agentclock.core.ids import fire_run_id
from agentclock.core.model import Cause, Claim, Instruction, Run, RunStatus, Schedule, Target
from agentclock.executor.agentos import Patience
from agentclock.executor.dispatch import TargetExecutor
from agentclock.executor.targets import TargetSettings
from agentclock.ports import RunContext, Said
from agentclock.testing.gauge import Gauge

FIRE_AT = 1_767_225_600_000

#: Short enough for tests, in the proportions of the real one.
QUICK = Patience(
    gap=0.01,
    first_pause=0.01,
    longest_pause=0.05,
    unknown=0.3,
    lost=0.6,
    lost_in_process=0.3,
    answer=2.0,
    confirm=3.0,
    parting=1.0,
    idle=5.0,
    drain=1.0,
)
#: Where nothing is to be given up. A real AgentOS on a busy machine takes its time: its answer begins late, and until
#: a run is stored it says that it knows none such, which means nothing for a good while.
PATIENT = replace(QUICK, unknown=15.0, lost=15.0, answer=15.0, confirm=15.0, idle=15.0)


@dataclass(slots=True)
class Recorder:
    """A run's context, and what became of it."""

    context: RunContext
    said: list[Said] = field(default_factory=list)
    heard: Gauge = field(default_factory=Gauge)
    noted: list[tuple[str | None, str | None]] = field(default_factory=list)
    noted_once: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def events(self) -> list[tuple[str, Any]]:
        return [(said.type, said.data) for said in self.said]

    @property
    def types(self) -> list[str]:
        return [said.type for said in self.said]

    @property
    def indices(self) -> list[int | None]:
        return [said.index for said in self.said]

    def taken_up(self, instruction: Instruction, **run: Any) -> Recorder:
        """The same run in the hands of the next worker, which has all events of the first on record."""
        claim = self.context.claim
        seen = [index for index in self.indices if index is not None]
        stored = replace(claim.run, fence=claim.run.fence + 1, instruction=instruction, status=RunStatus.RUNNING, **run)
        return recording(replace(claim, run=stored), seen_index=seen[-1] if seen else None)


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
    idle_timeout_seconds: int | None = None,
    elapsed_ms: int = 0,
    **known: Any,
) -> Recorder:
    """`known`: further fields of the run."""
    schedule = Schedule(
        id=f"schedule-{name}",
        name=name,
        user_id=user_id,
        target=Target(name=target, method=method, endpoint=endpoint, payload=payload),
        timeout_seconds=timeout_seconds,
        idle_timeout_seconds=idle_timeout_seconds,
    )
    run = Run(
        id=fire_run_id(schedule.id, FIRE_AT),
        schedule_id=schedule.id,
        cause=Cause.SCHEDULE,
        fire_at=FIRE_AT,
        attempt=attempt,
        **known,
    )
    return recording(Claim(run=run, schedule=schedule, elapsed_ms=elapsed_ms))


def recording(claim: Claim, seen_index: int | None = None) -> Recorder:
    async def note(agent_run_id: str | None, session_id: str | None) -> None:
        made.noted.append((agent_run_id, session_id))
        made.noted_once.set()

    def emit(said: Said) -> None:
        made.said.append(said)
        made.heard.set(len(made.said))

    made = Recorder(RunContext(claim=claim, emit=emit, note_agent_run=note, seen_index=seen_index))
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
