"""Paused agent runs that a human answers, against an AgentOS that does as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.executor_help import Recorder, executor_for, recorder, recording, unused_port

from agentclock.core.approvals import describe
from agentclock.core.model import Instruction, InstructionKind, Json, Outcome, OutcomeKind, Usage
from agentclock.executor.dispatch import TargetExecutor
from agentclock.testing import Behaviour, FakeAgentOS, Hindrance

MESSAGE = {"message": "hi"}
ENDPOINTS = ["/agents/greeter/runs", "/teams/greeter/runs", "/workflows/greeter/runs"]


@pytest.fixture
async def fake() -> AsyncIterator[FakeAgentOS]:
    async with FakeAgentOS() as fake:
        yield fake


@pytest.fixture
async def executor(fake: FakeAgentOS) -> AsyncIterator[TargetExecutor]:
    async with executor_for(fake.base_url) as executor:
        yield executor


async def paused(
    fake: FakeAgentOS, executor: TargetExecutor, *then: Behaviour, **options: Any
) -> tuple[Recorder, Outcome]:
    fake.behave("greeter", Behaviour.PAUSE, *then)
    call = recorder(payload=MESSAGE, **options)
    outcome = await executor.execute(call.context)
    assert outcome.kind is OutcomeKind.PAUSED
    fake.calls.clear()
    return call, outcome


def answered(call: Recorder, outcome: Outcome, answers: Json) -> Recorder:
    order = Instruction(kind=InstructionKind.CONTINUE, answers=answers)
    known = {"agent_run_id": outcome.agent_run_id, "session_id": outcome.session_id}
    return call.taken_up(order, requirements=outcome.requirements, **known)


APPROVE = {"action": "approve"}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_an_approval_lets_the_run_go_on(fake: FakeAgentOS, executor: TargetExecutor, endpoint: str) -> None:
    call, outcome = await paused(fake, executor, Behaviour.OK, endpoint=endpoint, user_id="anna")
    taken = answered(call, outcome, APPROVE)
    final = await executor.execute(taken.context)
    assert (final.kind, final.agent_run_id) == (OutcomeKind.SUCCESS, outcome.agent_run_id)
    assert final.output == {"content": "Good morning.", "content_type": "str"}
    # AgentOS goes on counting: the attempt's usage is that of all its legs.
    assert final.usage == Usage(model="model-1", input_tokens=10, output_tokens=6, total_tokens=16)
    sent = fake.calls_of("continue")[-1].form
    assert (sent["session_id"], sent["user_id"]) == (outcome.session_id, "anna")
    if "agents" in endpoint:
        assert json.loads(sent["tools"])[0]["confirmed"] is True
    elif "teams" in endpoint:
        assert json.loads(sent["requirements"])[0]["tool_execution"]["confirmed"] is True
    else:
        assert json.loads(sent["step_requirements"])[0]["confirmed"] is True
    if "workflows" not in endpoint:
        assert call.indices + taken.indices == list(range(len(call.indices) + len(taken.indices)))


async def test_a_workflow_elsewhere_does_not_depend_on_our_connection(
    fake: FakeAgentOS, executor: TargetExecutor
) -> None:
    call, outcome = await paused(fake, executor, Behaviour.HANG, endpoint=ENDPOINTS[2])
    running = asyncio.create_task(executor.execute(answered(call, outcome, APPROVE).context))
    await fake.called(3)
    refused, sent = fake.calls_of("continue")
    assert (refused.form["background"], sent.form["stream"]) == ("true", "false")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    [run] = fake.runs.values()
    second = asyncio.create_task(executor.execute(answered(call, outcome, APPROVE).context))
    await fake.called(5)
    fake.finish(run.run_id)
    assert (await second).kind is OutcomeKind.SUCCESS
    assert len(fake.calls_of("continue")) == 2


async def test_a_rejection_with_its_reason(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    call, outcome = await paused(fake, executor, Behaviour.OK)
    await executor.execute(answered(call, outcome, {"action": "reject", "note": "too dear"}).context)
    [sent] = fake.calls_of("continue")
    [tool] = json.loads(sent.form["tools"])
    assert (tool["confirmed"], tool["confirmation_note"]) == (False, "too dear")


async def test_a_second_pause(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    call, outcome = await paused(fake, executor, Behaviour.PAUSE)
    taken = answered(call, outcome, APPROVE)
    again = await executor.execute(taken.context)
    assert (again.kind, again.error) == (OutcomeKind.PAUSED, None)
    assert again.requirements != outcome.requirements
    # A worker that died in between has its order carried out again: it must not answer the next question with it.
    late = answered(taken, outcome, APPROVE)
    unchanged = await executor.execute(late.context)
    assert (unchanged.kind, unchanged.error) == (
        OutcomeKind.PAUSED,
        "the answer was not passed on: by now the run waits for something else",
    )
    assert len(fake.calls_of("continue")) == 1


async def test_an_answer_that_lacks_something(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    call, outcome = await paused(fake, executor)
    unchanged = await executor.execute(answered(call, outcome, {"values": {"a": 1}}).context)
    assert (unchanged.kind, unchanged.error) == (
        OutcomeKind.PAUSED,
        "the answer was not passed on, it lacks: spend: approve or reject",
    )
    assert describe(unchanged.requirements) == describe(outcome.requirements)
    assert fake.calls_of("continue") == []


async def test_somebody_else_answered_first(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    call, outcome = await paused(fake, executor, Behaviour.HANG)
    taken = answered(call, outcome, APPROVE)
    first = asyncio.create_task(executor.execute(taken.context))
    await taken.heard.reaches(1)
    second = answered(call, outcome, {"action": "reject"})
    attached = asyncio.create_task(executor.execute(second.context))
    await second.heard.reaches(2)
    [run] = fake.runs.values()
    fake.finish(run.run_id)
    assert {(await first).kind, (await attached).kind} == {OutcomeKind.SUCCESS}
    assert len(fake.calls_of("continue")) == 1
    assert second.types == ["RunContinued", "RunContent", "RunCompleted"]


async def test_a_stream_that_breaks_after_the_answer(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    call, outcome = await paused(fake, executor, Behaviour.HANG)
    taken = answered(call, outcome, APPROVE)
    running = asyncio.create_task(executor.execute(taken.context))
    await taken.heard.reaches(2)
    [run] = fake.runs.values()
    fake.cut_streams()
    run.say("Content", content="more")
    await taken.heard.reaches(3)
    fake.finish(run.run_id)
    assert (await running).kind is OutcomeKind.SUCCESS
    assert call.indices + taken.indices == list(range(7))
    assert len(fake.calls_of("continue")) == 1


async def test_a_host_that_was_restarted_counts_from_0_again(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    call, outcome = await paused(fake, executor, Behaviour.OK)
    fake.restart()
    taken = answered(call, outcome, APPROVE)
    final = await executor.execute(taken.context)
    assert final.kind is OutcomeKind.SUCCESS
    assert taken.types == ["RunContinued", "RunContent", "RunContent", "RunCompleted"]


@pytest.mark.parametrize("hindrance", [403, 409, 500, Hindrance.CUT])
async def test_an_answer_that_agentos_refuses(
    fake: FakeAgentOS, executor: TargetExecutor, hindrance: Hindrance | int
) -> None:
    call, outcome = await paused(fake, executor)
    fake.hinder("continue", hindrance)
    unchanged = await executor.execute(answered(call, outcome, APPROVE).context)
    assert unchanged.kind is OutcomeKind.PAUSED
    said = "nothing" if hindrance is Hindrance.CUT else f"HTTP {hindrance}"
    assert f"the run still waits; to the answer AgentOS said: {said}" in str(unchanged.error)
    assert describe(unchanged.requirements) == describe(outcome.requirements)
    assert len(fake.calls_of("continue")) == 1


async def test_an_agentos_that_cannot_be_asked_refuses(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    call, outcome = await paused(fake, executor)
    fake.hinder("state", 500)
    assert (await executor.execute(answered(call, outcome, APPROVE).context)).kind is OutcomeKind.REFUSED
    async with executor_for(f"http://127.0.0.1:{unused_port()}") as elsewhere:
        refused = await elsewhere.execute(answered(call, outcome, APPROVE).context)
    assert (refused.kind, refused.retryable) == (OutcomeKind.REFUSED, True)
    assert fake.calls_of("continue") == []


async def test_a_session_that_was_deleted_while_the_run_waited(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    call, outcome = await paused(fake, executor)
    fake.runs.clear()
    lost = await executor.execute(answered(call, outcome, APPROVE).context)
    assert lost.kind is OutcomeKind.LOST
    assert "does not know it any more" in str(lost.error)
    assert fake.calls_of("continue") == []


async def test_whether_a_paused_run_has_moved_on(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    call, outcome = await paused(fake, executor)
    known = recording(answered(call, outcome, APPROVE).context.claim)
    assert not await executor.has_moved_on(known.context.claim)
    fake.hinder("state", 500)
    assert not await executor.has_moved_on(known.context.claim)
    fake.hinder("state", None)
    [run] = fake.runs.values()
    run.complete()
    assert await executor.has_moved_on(known.context.claim)
    fake.runs.clear()
    assert await executor.has_moved_on(known.context.claim)
