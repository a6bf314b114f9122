"""Agent runs that another worker began, and runs whose streams, hosts and states misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from tests.executor_help import QUICK, Recorder, executor_for, recorder, unused_port

from agentclock.core.ids import attempt_run_id
from agentclock.core.model import Instruction, InstructionKind, Outcome, OutcomeKind, RunStatus
from agentclock.executor.dispatch import TargetExecutor
from agentclock.testing import Behaviour, FakeAgentOS, FakeRun, Hindrance

ATTACH = Instruction(kind=InstructionKind.ATTACH)
MESSAGE = {"message": "hi"}


@pytest.fixture
async def fake() -> AsyncIterator[FakeAgentOS]:
    async with FakeAgentOS() as fake:
        yield fake


@pytest.fixture
async def executor(fake: FakeAgentOS) -> AsyncIterator[TargetExecutor]:
    async with executor_for(fake.base_url) as executor:
        yield executor


async def begun(fake: FakeAgentOS, executor: TargetExecutor, **options: Any) -> tuple[Recorder, FakeRun]:
    """A run that hangs, and whose worker has died after its first two events."""
    fake.behave("greeter", Behaviour.HANG)
    call = recorder(payload=MESSAGE, **options)
    running = asyncio.create_task(executor.execute(call.context))
    await call.heard.reaches(2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    [run] = fake.runs.values()
    return call, run


def noted(call: Recorder) -> dict[str, Any]:
    agent_run_id, session_id = call.noted[-1]
    return {"agent_run_id": agent_run_id, "session_id": session_id}


def assert_unhurried(fake: FakeAgentOS, gap: float) -> None:
    """The pauses add up, even if a single request was late."""
    assert len(fake.calls) <= fake.span_seconds() / gap + 2


# the stream breaks


async def test_every_event_comes_once_however_often_the_stream_breaks(
    fake: FakeAgentOS, executor: TargetExecutor
) -> None:
    fake.behave("greeter", Behaviour.HANG)
    call = recorder(payload=MESSAGE)
    running = asyncio.create_task(executor.execute(call.context))
    for count in range(2, 7):
        await call.heard.reaches(count)
        [run] = fake.runs.values()
        fake.cut_streams()
        run.say("Content", content=f"{count} ")
    await call.heard.reaches(7)
    fake.finish(run.run_id)
    outcome = await running
    assert outcome.kind is OutcomeKind.SUCCESS
    assert call.indices == list(range(8))
    assert "".join(said.data["content"] for said in call.said if said.is_text) == "Good 2 3 4 5 6 "
    assert len(fake.starts()) == 1
    assert outcome.error is None


async def test_a_stream_that_ends_at_once_is_not_asked_for_ever_faster(fake: FakeAgentOS) -> None:
    patience = replace(QUICK, gap=0.05, first_pause=0.01, longest_pause=0.01, lost=0.4)
    async with executor_for(fake.base_url, patience=patience) as executor:
        call, _ = await begun(fake, executor)
        fake.calls.clear()
        fake.hinder("resume", Hindrance.CUT)
        outcome = await executor.execute(call.taken_up(ATTACH, **noted(call)).context)
    assert outcome.kind is OutcomeKind.LOST
    assert len(fake.calls) > 4
    assert_unhurried(fake, 0.05)


@pytest.mark.parametrize("hindrance", [500, 401, 503, Hindrance.GARBAGE, Hindrance.STALL])
async def test_a_state_that_nobody_tells(fake: FakeAgentOS, hindrance: Hindrance | int) -> None:
    patience = replace(QUICK, gap=0.05, answer=0.1, lost=0.4)
    async with executor_for(fake.base_url, patience=patience) as executor:
        call, run = await begun(fake, executor)
        fake.calls.clear()
        fake.hinder("state", hindrance)
        fake.hinder("resume", hindrance)
        outcome = await executor.execute(call.taken_up(ATTACH, **noted(call)).context)
    assert outcome.kind is OutcomeKind.LOST
    assert "AgentOS does not tell what became of the run" in str(outcome.error)
    assert run.status == "CANCELLED"
    assert_unhurried(fake, 0.05)


async def test_trouble_that_passes_changes_nothing(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    call, run = await begun(fake, executor)
    fake.calls.clear()
    fake.hinder("state", 500)
    fake.hinder("resume", 502)
    taken = call.taken_up(ATTACH, **noted(call))
    running = asyncio.create_task(executor.execute(taken.context))
    await fake.called(4)
    fake.hinder("state", None)
    fake.hinder("resume", None)
    run.say("Content", content="still here")
    await taken.heard.reaches(1)
    fake.finish(run.run_id)
    assert (await running).kind is OutcomeKind.SUCCESS
    assert call.indices + taken.indices == [0, 1, 2, 3]


async def test_an_agentos_that_resumes_nothing_is_asked_for_the_state(fake: FakeAgentOS) -> None:
    """Nor does it show that a run is alive: so its word for it has to do."""
    async with executor_for(fake.base_url, patience=replace(QUICK, lost=0.02)) as executor:
        call, run = await begun(fake, executor)
        fake.calls.clear()
        fake.hinder("resume", 405)
        running = asyncio.create_task(executor.execute(call.taken_up(ATTACH, **noted(call)).context))
        await fake.called(6)
        fake.finish(run.run_id)
        outcome = await running
    assert outcome.kind is OutcomeKind.SUCCESS
    assert len(fake.calls_of("resume")) == 1


# another worker takes over


async def test_another_worker_hears_the_rest(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    call, run = await begun(fake, executor)
    taken = call.taken_up(ATTACH, **noted(call))
    running = asyncio.create_task(executor.execute(taken.context))
    run.say("Content", content="there")
    await taken.heard.reaches(1)
    fake.finish(run.run_id)
    outcome = await running
    assert (outcome.kind, outcome.agent_run_id) == (OutcomeKind.SUCCESS, run.run_id)
    assert call.indices + taken.indices == [0, 1, 2, 3]
    assert taken.types == ["RunContent", "RunCompleted"]
    assert len(fake.starts()) == 1
    assert outcome.input == {"input_content": "hi"}


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        ("COMPLETED", OutcomeKind.SUCCESS),
        ("ERROR", OutcomeKind.FAILED),
        ("CANCELLED", OutcomeKind.CANCELLED),
        ("PAUSED", OutcomeKind.PAUSED),
    ],
)
async def test_a_run_that_ended_unheard(
    fake: FakeAgentOS, executor: TargetExecutor, end: str, kind: OutcomeKind
) -> None:
    call, run = await begun(fake, executor)
    if end == "PAUSED":
        run.pause()
    else:
        run.end(end, content="by itself", content_type="str")
    taken = call.taken_up(ATTACH, **noted(call))
    outcome = await executor.execute(taken.context)
    assert outcome.kind is kind
    assert taken.indices == [2]
    if kind is OutcomeKind.FAILED:
        assert outcome.error == "by itself"


async def test_the_error_is_found_even_if_its_event_was_heard(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    """The first worker died after the last event, before it could write down the end."""
    call, run = await begun(fake, executor)
    run.end("ERROR", error="the model broke", content="Good ")
    first = call.taken_up(ATTACH, **noted(call))
    await executor.execute(first.context)
    second = first.taken_up(ATTACH)
    outcome = await executor.execute(second.context)
    assert (outcome.kind, outcome.error) == (OutcomeKind.FAILED, "the model broke")
    assert second.said == []


async def test_ids_that_were_never_noted_are_those_that_were_asked_for(
    fake: FakeAgentOS, executor: TargetExecutor
) -> None:
    call, run = await begun(fake, executor, attempt=2)
    stale = attempt_run_id(call.context.claim.run.id, 1)
    for known in ({}, {"agent_run_id": stale}):
        taken = call.taken_up(ATTACH, **known)
        running = asyncio.create_task(executor.execute(taken.context))
        run.say("Content", content="more")
        await taken.heard.reaches(1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    fake.finish(run.run_id)
    taken = call.taken_up(ATTACH)
    outcome = await executor.execute(taken.context)
    assert (outcome.kind, outcome.agent_run_id) == (OutcomeKind.SUCCESS, run.run_id)
    assert taken.noted == [(run.run_id, run.session_id)]


async def test_a_run_that_was_never_started(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    outcome = await executor.execute(recorder(payload=MESSAGE).taken_up(ATTACH).context)
    assert outcome.kind is OutcomeKind.LOST
    assert str(outcome.error).startswith("AgentOS does not know the run: it was probably never started")
    # A request that is still on its way must not start it now.
    assert len(fake.calls_of("cancel")) == 1


async def test_a_worker_that_stops_before_the_answer_claims_nothing() -> None:
    """Nobody knows whether the start has reached AgentOS: no id goes on record, so that nobody says it has."""
    asked = asyncio.Event()

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        asked.set()
        await reader.read()
        writer.close()

    port = unused_port()
    server = await asyncio.start_server(stall, "127.0.0.1", port)
    async with server, executor_for(f"http://127.0.0.1:{port}") as executor:
        call = recorder(payload=MESSAGE)
        running = asyncio.create_task(executor.execute(call.context))
        await asked.wait()
        call.context.stopping.set()
        outcome = await running
    assert (outcome.kind, outcome.agent_run_id, call.noted) == (OutcomeKind.DETACHED, None, [])


@pytest.mark.parametrize(("hindrance", "said"), [(500, "asked to cancel, AgentOS said HTTP 500"), (None, None)])
async def test_whether_a_run_that_is_given_up_was_told_to_stop(
    fake: FakeAgentOS, executor: TargetExecutor, hindrance: int | None, said: str | None
) -> None:
    call, _ = await begun(fake, executor)
    fake.restart()
    fake.hinder("cancel", hindrance)
    outcome = await executor.execute(call.taken_up(ATTACH, **noted(call)).context)
    told = f"AgentOS could not be told to cancel it ({said})" if said else "AgentOS was told to cancel it"
    assert str(outcome.error).endswith(f"; {told}")


async def test_a_host_that_was_restarted(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    """AgentOS says RUNNING for ever."""
    call, run = await begun(fake, executor)
    fake.restart()
    outcome = await executor.execute(call.taken_up(ATTACH, **noted(call)).context)
    assert run.status == "RUNNING"
    assert (outcome.kind, outcome.error) == (
        OutcomeKind.LOST,
        "AgentOS says that the run goes on, but shows no sign of it: given up after 0.6 s; "
        "AgentOS was told to cancel it",
    )


async def test_a_session_that_was_deleted_during_the_run(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    """The state is gone, the agent is not: as long as it talks, it is listened to."""
    call, run = await begun(fake, executor)
    fake.hinder("state", 404)
    taken = call.taken_up(ATTACH, **noted(call))
    running = asyncio.create_task(executor.execute(taken.context))
    for count in range(1, 4):
        run.say("Content", content="x")
        await taken.heard.reaches(count)
        fake.cut_streams()
    fake.finish(run.run_id)
    assert (await running).kind is OutcomeKind.SUCCESS
    assert call.indices + taken.indices == list(range(6))


async def test_a_server_that_is_gone(fake: FakeAgentOS) -> None:
    async with executor_for(f"http://127.0.0.1:{unused_port()}") as executor:
        outcome = await executor.execute(recorder(payload=MESSAGE).taken_up(ATTACH).context)
    assert outcome.kind is OutcomeKind.LOST
    assert "connection refused" in str(outcome.error)


# limits


async def test_the_worker_stops(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    fake.behave("greeter", Behaviour.HANG)
    call = recorder(payload=MESSAGE)
    running = asyncio.create_task(executor.execute(call.context))
    await call.heard.reaches(2)
    call.context.stopping.set()
    outcome = await running
    [run] = fake.runs.values()
    assert outcome.kind is OutcomeKind.DETACHED
    assert (outcome.agent_run_id, outcome.session_id) == (run.run_id, run.session_id)
    assert run.status == "RUNNING"
    assert len(fake.calls) == 1


async def test_a_worker_that_stops_before_it_called(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    call = recorder(payload=MESSAGE)
    call.context.stopping.set()
    assert (await executor.execute(call.context)).kind is OutcomeKind.REFUSED
    assert fake.calls == []


async def test_silence_is_bounded(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    fake.behave("greeter", Behaviour.HANG)
    outcome = await executor.execute(recorder(payload=MESSAGE, idle_timeout_seconds=1).context)
    assert (outcome.kind, outcome.error) == (OutcomeKind.TIMEOUT, "no event for 1 s; AgentOS has stopped the run")
    [run] = fake.runs.values()
    assert run.status == "CANCELLED"


async def test_time_that_an_earlier_worker_used_counts(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    call, run = await begun(fake, executor)
    claim = replace(call.context.claim, elapsed_ms=20_000)
    call.context.claim = claim
    outcome = await executor.execute(call.taken_up(ATTACH, **noted(call)).context)
    assert (outcome.kind, outcome.error) == (OutcomeKind.TIMEOUT, "no end within 20 s; AgentOS has stopped the run")
    assert run.status == "CANCELLED"


# cancel


def cancel(**fields: Any) -> Instruction:
    return Instruction(kind=InstructionKind.CANCEL, **fields)


async def test_an_order_to_cancel(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    call, run = await begun(fake, executor)
    taken = call.taken_up(cancel(why="the user said so"), **noted(call))
    outcome = await executor.execute(taken.context)
    assert (outcome.kind, outcome.error) == (
        OutcomeKind.CANCELLED,
        "the user said so; AgentOS has stopped the run",
    )
    assert run.status == "CANCELLED"
    assert taken.types == ["RunCancelled"]


async def test_an_order_to_fail_a_paused_run(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    fake.behave("greeter", Behaviour.PAUSE)
    call = recorder(payload=MESSAGE)
    paused = await executor.execute(call.context)
    order = cancel(why="not approved within 5 s", ends_as=RunStatus.FAILED)
    taken = call.taken_up(order, requirements=paused.requirements, **noted(call))
    outcome = await executor.execute(taken.context)
    assert (outcome.kind, outcome.retryable, outcome.requirements) == (OutcomeKind.FAILED, False, None)
    assert outcome.error == "not approved within 5 s; the run waited for a human, and AgentOS was told to cancel it"
    [run] = fake.runs.values()
    assert run.is_called_off


async def test_an_order_that_comes_too_late(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    call, run = await begun(fake, executor)
    fake.finish(run.run_id)
    outcome = await executor.execute(call.taken_up(cancel(), **noted(call)).context)
    assert outcome.kind is OutcomeKind.SUCCESS
    assert outcome.output == {"content": "Good morning.", "content_type": "str"}


async def test_a_cancel_that_nobody_confirms(fake: FakeAgentOS) -> None:
    async with executor_for(fake.base_url, patience=replace(QUICK, confirm=0.3)) as executor:
        call, _ = await begun(fake, executor)
        fake.hinder("cancel", 500)
        outcome: Outcome = await executor.execute(call.taken_up(cancel(), **noted(call)).context)
    assert outcome.kind is OutcomeKind.CANCELLED
    assert "did not confirm within 0.3 s that the run has stopped" in str(outcome.error)


async def test_whether_a_run_can_be_taken_up(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    assert executor.can_attach(recorder(payload=MESSAGE).context.claim)
    assert not executor.can_attach(recorder("/jobs/1", MESSAGE).context.claim)
    assert not executor.can_attach(recorder(payload=MESSAGE, target="elsewhere").context.claim)
