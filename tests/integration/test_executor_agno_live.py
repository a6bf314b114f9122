"""Taking up, answering and stopping runs of the real AgentOS."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from tests.agno_rig import build, served
from tests.executor_help import PATIENT, QUICK, Recorder, executor_for, recorder

from agentclock.core.approvals import describe
from agentclock.core.model import Instruction, InstructionKind, Json, Outcome, OutcomeKind
from agentclock.executor.dispatch import TargetExecutor
from agentclock.executor.targets import TargetSettings


class Wire:
    """A connection to somewhere else that can be cut, as often as wanted."""

    def __init__(self, url: str) -> None:
        self._to = urlsplit(url)
        self._writers: list[asyncio.StreamWriter] = []

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(self._to.hostname, self._to.port)
        self._writers += [writer, to_writer]
        await asyncio.gather(_pump(reader, to_writer), _pump(to_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        """It was cut."""
    finally:
        writer.close()


@asynccontextmanager
async def wired(url: str) -> AsyncIterator[tuple[Wire, str]]:
    wire = Wire(url)
    server = await asyncio.start_server(wire.carry, "127.0.0.1", 0)
    try:
        yield wire, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        wire.cut()
        server.close()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return build(tmp_path_factory.mktemp("host") / "os.db").get_app()


@pytest.fixture
async def url(app: FastAPI) -> AsyncIterator[str]:
    async with served(app) as url:
        yield url


@pytest.fixture
async def executor(url: str) -> AsyncIterator[TargetExecutor]:
    async with executor_for(url, patience=PATIENT) as executor:
        yield executor


def begun(endpoint: str) -> Recorder:
    """AgentOS keeps events for the whole process by the run's id: no two runs may share one."""
    return recorder(endpoint, {"message": "please"}, name=str(uuid.uuid4()))


def order(kind: InstructionKind, outcome: Outcome, call: Recorder, answers: Json = None) -> Recorder:
    known = {"agent_run_id": outcome.agent_run_id, "session_id": outcome.session_id}
    return call.taken_up(Instruction(kind=kind, answers=answers), requirements=outcome.requirements, **known)


async def paused(executor: TargetExecutor, component: str) -> tuple[Recorder, Outcome]:
    call = begun(f"/{component}/runs")
    outcome = await executor.execute(call.context)
    assert outcome.kind is OutcomeKind.PAUSED
    return call, outcome


async def answer(executor: TargetExecutor, component: str, answers: Json) -> tuple[Outcome, Recorder, Recorder]:
    call, outcome = await paused(executor, component)
    taken = order(InstructionKind.CONTINUE, outcome, call, answers)
    return await executor.execute(taken.context), call, taken


def text_of(*calls: Recorder) -> str:
    return "".join(said.data["content"] for call in calls for said in call.said if said.is_text)


async def test_a_stream_that_is_cut_again_and_again(url: str) -> None:
    async with wired(url) as (wire, wired_url), executor_for(wired_url, patience=PATIENT) as executor:
        call = begun("/agents/talker/runs")
        running = asyncio.create_task(executor.execute(call.context))
        for count in (3, 5, 7):
            await call.heard.reaches(count)
            wire.cut()
        outcome = await running
    assert outcome.kind is OutcomeKind.SUCCESS
    assert call.indices == list(range(len(call.indices)))
    assert text_of(call) == outcome.output["content"]
    assert call.types[-1] == "RunCompleted"


@pytest.mark.parametrize("component", ["agents/talker", "workflows/endless"])
async def test_another_worker_takes_over(url: str, executor: TargetExecutor, component: str) -> None:
    call = begun(f"/{component}/runs")
    first = asyncio.create_task(executor.execute(call.context))
    await call.heard.reaches(6)
    call.context.stopping.set()
    outcome = await first
    assert outcome.kind is OutcomeKind.DETACHED
    taken = order(InstructionKind.ATTACH, outcome, call)
    async with executor_for(url, patience=PATIENT) as another:
        second = asyncio.create_task(another.execute(taken.context))
        await taken.heard.reaches(2)
        if "endless" in component:
            taken.context.cancelled.set()
        final = await second
    assert call.indices + taken.indices == list(range(len(call.indices) + len(taken.indices)))
    if "endless" in component:
        assert final.kind is OutcomeKind.CANCELLED
        assert taken.types[-1] == "WorkflowCancelled"
    else:
        assert text_of(call, taken) == final.output["content"]
        assert final.usage is not None
        assert final.usage.model == "offline"


@pytest.mark.parametrize("component", ["agents/spender", "teams/spenders", "workflows/asking", "workflows/spending"])
async def test_an_approval(executor: TargetExecutor, component: str) -> None:
    final, call, taken = await answer(executor, component, {"action": "approve"})
    assert (final.kind, final.error) == (OutcomeKind.SUCCESS, None)
    if component != "workflows/asking":
        assert final.usage is not None
        assert final.usage.total_tokens
    if "workflows" not in component:
        assert "ToolCallCompleted" in taken.types
        assert "spent 1" in str(final.output)
        assert call.indices + taken.indices == list(range(len(call.indices) + len(taken.indices)))
        requests = [
            data["total_tokens"]
            for event_type, data in call.events + taken.events
            if event_type.endswith("ModelRequestCompleted")
        ]
        assert final.usage is not None
        assert final.usage.total_tokens == sum(requests)


@pytest.mark.parametrize("component", ["agents/spender", "teams/spenders", "workflows/asking"])
async def test_a_rejection(executor: TargetExecutor, component: str) -> None:
    final, _, taken = await answer(executor, component, {"action": "reject", "note": "too dear"})
    assert final.kind is OutcomeKind.SUCCESS
    assert "ToolCallCompleted" not in taken.types
    assert "spent" not in str(final.output)
    if "agents" in component:
        assert "too dear" in final.output["content"]


async def test_other_answers(executor: TargetExecutor) -> None:
    asked, _, _ = await answer(executor, "agents/asker", {"action": "approve", "values": {"city": "Rome"}})
    assert "fine in Rome" in asked.output["content"]
    deployed, _, _ = await answer(executor, "agents/deployer", {"result": "version 7 is out"})
    assert "version 7 is out" in deployed.output["content"]
    filled, _, _ = await answer(executor, "workflows/filling", {"values": {"city": "Rome"}})
    assert filled.kind is OutcomeKind.SUCCESS
    reviewed, _, _ = await answer(executor, "workflows/reviewed", {"action": "approve"})
    assert reviewed.kind is OutcomeKind.SUCCESS
    lacking, call, _ = await answer(executor, "agents/asker", {"action": "approve"})
    assert (lacking.kind, lacking.error) == (
        OutcomeKind.PAUSED,
        "the answer was not passed on, it lacks: weather: values for city",
    )
    [shown] = describe(lacking.requirements)
    assert (shown["kind"], shown["tool"], [field["name"] for field in shown["fields"]]) == (
        "user_input",
        "weather",
        ["city", "unit"],
    )
    assert await executor.has_moved_on(call.context.claim) is False


async def test_an_answer_that_agno_refuses(executor: TargetExecutor) -> None:
    refused, _, _ = await answer(executor, "workflows/filling", {"values": {"city": 3}})
    assert refused.kind is OutcomeKind.PAUSED
    assert "expected str, got int" in str(refused.error)


async def test_a_worker_that_stops_after_the_answer(url: str, executor: TargetExecutor) -> None:
    call, outcome = await paused(executor, "agents/slow-spender")
    taken = order(InstructionKind.CONTINUE, outcome, call, {"action": "approve"})
    running = asyncio.create_task(executor.execute(taken.context))
    await taken.heard.reaches(3)
    taken.context.stopping.set()
    assert (await running).kind is OutcomeKind.DETACHED
    again = taken.taken_up(Instruction(kind=InstructionKind.CONTINUE, answers={"action": "approve"}))
    async with executor_for(url, patience=PATIENT) as another:
        final = await another.execute(again.context)
    assert final.kind is OutcomeKind.SUCCESS
    heard = call.indices + taken.indices + again.indices
    assert heard == list(range(len(heard)))
    assert (taken.types + again.types).count("ToolCallStarted") == 1


async def test_orders_to_cancel(executor: TargetExecutor) -> None:
    call = begun("/agents/slow/runs")
    first = asyncio.create_task(executor.execute(call.context))
    await call.heard.reaches(3)
    call.context.stopping.set()
    outcome = await first
    running = await executor.execute(order(InstructionKind.CANCEL, outcome, call).context)
    assert (running.kind, running.error) == (OutcomeKind.CANCELLED, "cancelled; AgentOS has stopped the run")
    waiting_call, waiting = await paused(executor, "teams/spenders")
    stopped = await executor.execute(order(InstructionKind.CANCEL, waiting, waiting_call).context)
    assert (stopped.kind, stopped.error) == (
        OutcomeKind.CANCELLED,
        "cancelled; the run waited for a human, and AgentOS was told to cancel it",
    )


@asynccontextmanager
async def in_process(tmp_path: Path) -> AsyncIterator[TargetExecutor]:
    app = build(tmp_path / "inside.db").get_app()
    target = TargetSettings(name="default", in_process=True)
    executor = TargetExecutor({"default": target}, app=app, patience=QUICK)
    async with app.router.lifespan_context(app):
        assert executor.host is not None
        executor.host.open()
        try:
            yield executor
        finally:
            await executor.close()


async def test_in_the_process_of_the_agents(tmp_path: Path) -> None:
    async with in_process(tmp_path) as executor:
        final, call, taken = await answer(executor, "workflows/spending", {"action": "approve"})
        assert final.kind is OutcomeKind.SUCCESS
        # Here a workflow goes on with a stream, since nothing can come between.
        heard = call.indices + taken.indices
        assert heard == list(range(len(heard)))
        assert taken.types[-1] == "WorkflowCompleted"

        slow = begun("/agents/slow/runs")
        running = asyncio.create_task(executor.execute(slow.context))
        await slow.heard.reaches(3)
        slow.context.stopping.set()
        lost = await running
    assert (lost.kind, lost.error) == (
        OutcomeKind.LOST,
        "the process that hosts the agent was stopped; AgentOS has stopped the run",
    )


@asynccontextmanager
async def host(db_file: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """An AgentOS in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.agno_rig", str(db_file), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        while not (line := (await process.stdout.readline()).decode()).startswith("http"):
            assert line, "the host did not start"
        yield process, line.strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_host_that_died_in_the_middle(tmp_path: Path) -> None:
    """Its successor has the run's state in the database, RUNNING for ever, and has the paused run still."""
    async with host(tmp_path / "os.db") as (process, url), executor_for(url, patience=PATIENT) as executor:
        waiting_call, waiting = await paused(executor, "agents/spender")
        asking_call, asking = await paused(executor, "workflows/asking")
        call = begun("/agents/slow/runs")
        running = asyncio.create_task(executor.execute(call.context))
        await call.heard.reaches(3)
        process.kill()
        await process.wait()
        call.context.stopping.set()
        outcome = await running
    assert outcome.kind is OutcomeKind.DETACHED
    async with host(tmp_path / "os.db") as (_, url), executor_for(url) as executor:
        lost = await executor.execute(order(InstructionKind.ATTACH, outcome, call).context)
        taken = order(InstructionKind.CONTINUE, waiting, waiting_call, {"action": "approve"})
        final = await executor.execute(taken.context)
        asked = order(InstructionKind.CONTINUE, asking, asking_call, {"action": "approve"})
        answered = await executor.execute(asked.context)
    assert lost.kind is OutcomeKind.LOST
    assert "AgentOS says that the run goes on, but shows no sign of it" in str(lost.error)
    assert (final.kind, taken.types[0]) == (OutcomeKind.SUCCESS, "RunContinued")
    assert "spent 1" in final.output["content"]
    # AgentOS sends all that it has stored of a workflow: what is on record does not come again.
    assert (answered.kind, asked.types) == (OutcomeKind.SUCCESS, ["StepContinued"])
