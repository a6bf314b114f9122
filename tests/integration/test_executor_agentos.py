"""Agent runs against an AgentOS that misbehaves in every way we could think of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from tests.executor_help import QUICK, Recorder, answering, executor_for, raw_server, recorder, unused_port

from agentclock.core.approvals import describe
from agentclock.core.errors import LeaseLost
from agentclock.core.ids import attempt_run_id, run_session_id
from agentclock.core.model import Outcome, OutcomeKind, Usage
from agentclock.executor.dispatch import TargetExecutor
from agentclock.testing import Behaviour, FakeAgentOS

GOOD = {"content": "Good morning.", "content_type": "str"}


@pytest.fixture
async def fake() -> AsyncIterator[FakeAgentOS]:
    async with FakeAgentOS() as fake:
        yield fake


@pytest.fixture
async def executor(fake: FakeAgentOS) -> AsyncIterator[TargetExecutor]:
    async with executor_for(fake.base_url, headers={"Authorization": "Bearer top-secret-token"}) as executor:
        yield executor


def ids_of(call: Recorder) -> tuple[str, str]:
    run = call.context.claim.run
    return attempt_run_id(run.id, run.attempt), run_session_id(run.id)


async def run_as(fake: FakeAgentOS, executor: TargetExecutor, *behaviours: Behaviour, **options: Any) -> Outcome:
    fake.behave("greeter", *behaviours)
    return await executor.execute(recorder(payload={"message": "hi"}, **options).context)


@pytest.mark.parametrize("endpoint", ["/agents/greeter/runs", "/teams/greeter/runs", "/workflows/greeter/runs/"])
async def test_a_run_that_goes_well(fake: FakeAgentOS, executor: TargetExecutor, endpoint: str) -> None:
    call = recorder(endpoint.rstrip("/"), {"message": "hi", "n": 1})
    outcome = await executor.execute(call.context)
    run_id, session_id = ids_of(call)
    assert outcome == Outcome(
        kind=OutcomeKind.SUCCESS,
        status_code=200,
        agent_run_id=run_id,
        session_id=session_id,
        input={"input_content": "hi", "n": 1},
        output=GOOD,
        metrics={
            "input_tokens": 5,
            "output_tokens": 3,
            "total_tokens": 8,
            "model": "model-1",
            "model_provider": "maker",
        },
        usage=Usage(model="model-1", input_tokens=5, output_tokens=3, total_tokens=8),
    )
    prefix = fake.runs[run_id].prefix
    assert call.types == [f"{prefix}Started", f"{prefix}Content", f"{prefix}Content", f"{prefix}Completed"]
    assert call.indices == [0, 1, 2, 3]
    assert [said.is_text for said in call.said] == [False, prefix != "Workflow", prefix != "Workflow", False]
    assert {said.speaker for said in call.said} == {run_id}
    assert call.noted == [(run_id, session_id)]
    assert len(fake.calls) == 1


async def test_what_is_sent(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    payload = {
        "message": "hi",
        "session_id": "mine",
        "session_state": {"a": 1},
        "flag": True,
        "nothing": None,
        "user_id": "root",
        "version": 2,
        "run_id": "fixed",
        "stream": False,
    }
    call = recorder(payload=payload, user_id="änna", attempt=2)
    outcome = await executor.execute(call.context)
    [seen] = fake.calls
    run_id, _ = ids_of(call)
    assert seen.form == {
        "message": "hi",
        "session_id": "mine",
        "session_state": '{"a": 1}',
        "flag": "true",
        "user_id": "änna",
        "run_id": run_id,
        "background": "true",
        "stream": "true",
    }
    assert seen.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert seen.headers["X-Schedule-Owner"] == "%C3%A4nna"
    assert seen.headers["Idempotency-Key"] == f"{call.context.claim.run.id}.2"
    assert seen.headers["Authorization"] == "Bearer top-secret-token"
    assert seen.headers["X-Agentclock-Attempt"] == "2"
    assert outcome.session_id == "mine"
    assert "top-secret-token" not in repr(outcome)


async def test_events_of_a_tool_call_are_relayed(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    fake.behave("greeter", Behaviour.TOOL)
    call = recorder(payload={"message": "hi"})
    assert (await executor.execute(call.context)).kind is OutcomeKind.SUCCESS
    assert call.types[2:4] == ["ToolCallStarted", "ToolCallCompleted"]
    assert call.events[3][1]["tool"]["result"] == "noon"


async def test_an_agent_error_may_be_retried(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    outcome = await run_as(fake, executor, Behaviour.ERROR)
    assert (outcome.kind, outcome.retryable, outcome.error) == (OutcomeKind.FAILED, True, "the model broke")


async def test_a_paused_run_tells_what_it_waits_for(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    outcome = await run_as(fake, executor, Behaviour.PAUSE)
    assert outcome.kind is OutcomeKind.PAUSED
    assert [ask["tool"] for ask in describe(outcome.requirements)] == ["spend"]
    assert outcome.output == {"content": "May I?", "content_type": None}
    # The event tells no figures, the stored run does.
    assert outcome.usage == Usage(model="model-1", input_tokens=5, output_tokens=3, total_tokens=8)


async def test_ids_that_come_back_win(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    fake.behave("greeter", Behaviour.OWN_IDS)
    call = recorder(payload={"message": "hi"})
    outcome = await executor.execute(call.context)
    [own] = fake.runs
    assert own != ids_of(call)[0]
    assert outcome.agent_run_id == own
    assert call.noted == [(own, outcome.session_id)]
    assert outcome.kind is OutcomeKind.SUCCESS


@pytest.mark.parametrize("behaviour", [Behaviour.DROP, Behaviour.NO_STREAM])
async def test_a_stream_that_breaks_is_resumed(
    fake: FakeAgentOS, executor: TargetExecutor, behaviour: Behaviour
) -> None:
    fake.behave("greeter", behaviour)
    call = recorder(payload={"message": "hi"})
    outcome = await executor.execute(call.context)
    assert (outcome.kind, outcome.output) == (OutcomeKind.SUCCESS, GOOD)
    assert outcome.status_code == (202 if behaviour is Behaviour.NO_STREAM else 200)
    assert call.indices == list(range(len(call.indices)))
    assert call.types[-1] == "RunCompleted"
    assert len(fake.starts()) == 1
    [resumed] = fake.calls[1:]
    last = {} if behaviour is Behaviour.NO_STREAM else {"last_event_index": "1"}
    assert resumed.form == {"session_id": outcome.session_id, **last}
    assert "Idempotency-Key" not in resumed.headers
    assert resumed.headers["Authorization"] == "Bearer top-secret-token"


@pytest.mark.parametrize("behaviour", [Behaviour.FORGET, Behaviour.GARBAGE])
async def test_a_run_that_is_never_heard_of_again_is_lost(
    fake: FakeAgentOS, executor: TargetExecutor, behaviour: Behaviour
) -> None:
    outcome = await run_as(fake, executor, behaviour)
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.LOST, 200)
    assert outcome.error == ("AgentOS accepted the run but does not know it any more; AgentOS was told to cancel it")
    assert len(fake.starts()) == 1
    assert len(fake.calls_of("cancel")) == 1


@pytest.mark.parametrize(
    ("behaviour", "status", "retryable", "wish"),
    [
        (Behaviour.SERVER_ERROR, 500, True, None),
        (Behaviour.BUSY, 429, True, 7.0),
        (Behaviour.REDIRECT, 307, False, None),
    ],
)
async def test_a_start_that_is_refused(
    fake: FakeAgentOS, executor: TargetExecutor, behaviour: Behaviour, status: int, retryable: bool, wish: float | None
) -> None:
    outcome = await run_as(fake, executor, behaviour)
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.FAILED, status)
    assert (outcome.retryable, outcome.retry_after_seconds) == (retryable, wish)
    assert (outcome.agent_run_id, outcome.session_id) == (None, None)
    assert len(fake.calls) == 1


async def test_a_timeout_cancels_the_run(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    outcome = await run_as(fake, executor, Behaviour.HANG, timeout_seconds=1)
    assert outcome.kind is OutcomeKind.TIMEOUT
    assert outcome.error == "no end within 1 s; AgentOS has stopped the run"
    [run] = fake.runs.values()
    assert run.status == "CANCELLED"
    assert [call.path.rpartition("/")[2] for call in fake.calls] == ["runs", "cancel", run.run_id, "resume"]
    assert outcome.agent_run_id == run.run_id


async def test_a_wish_to_cancel(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    fake.behave("greeter", Behaviour.HANG)
    call = recorder(payload={"message": "hi"})
    running = asyncio.create_task(executor.execute(call.context))
    await call.noted_once.wait()
    call.context.cancelled.set()
    outcome = await running
    assert (outcome.kind, outcome.error) == (OutcomeKind.CANCELLED, "cancelled; AgentOS has stopped the run")
    # AgentOS lets RunCompleted follow, which is no event of a run that was cancelled.
    assert call.types == ["RunStarted", "RunContent", "RunCancelled"]


async def test_a_run_that_ends_in_the_moment_of_its_cancellation_has_succeeded(
    fake: FakeAgentOS, executor: TargetExecutor
) -> None:
    fake.behave("greeter", Behaviour.HANG)
    call = recorder(payload={"message": "hi"})
    running = asyncio.create_task(executor.execute(call.context))
    await call.noted_once.wait()
    [run] = fake.runs.values()
    call.context.cancelled.set()
    run.end("COMPLETED", content="just in time", content_type="str")
    outcome = await running
    assert outcome.kind is OutcomeKind.SUCCESS
    assert outcome.output == {"content": "just in time", "content_type": "str"}


async def test_somebody_else_cancels_the_run(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    fake.behave("greeter", Behaviour.HANG)
    call = recorder(payload={"message": "hi"})
    running = asyncio.create_task(executor.execute(call.context))
    await call.noted_once.wait()
    [run] = fake.runs.values()
    run.end("CANCELLED", reason="by the operator")
    outcome = await running
    assert (outcome.kind, outcome.error) == (OutcomeKind.CANCELLED, "by the operator")
    assert len(fake.calls) == 1


async def test_a_run_that_does_not_stop() -> None:
    async def stubborn(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if head.startswith(b"POST /agents/greeter/runs "):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: on my way\n\n")
            await reader.read()
        else:
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: 21\r\nConnection: close\r\n\r\n" + b'{"status": "RUNNING"}'
            )

    patience = replace(QUICK, confirm=0.3)
    async with raw_server(stubborn) as url, executor_for(url, patience=patience) as executor:
        outcome = await executor.execute(recorder(payload={"message": "hi"}, timeout_seconds=1).context)
    assert outcome.kind is OutcomeKind.TIMEOUT
    assert outcome.error == "no end within 1 s; AgentOS did not confirm within 0.3 s that the run has stopped"


async def test_a_server_that_hangs_and_then_is_gone() -> None:
    async def hang(_head: bytes, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    patience = replace(QUICK, confirm=0.3)
    async with raw_server(hang) as url, executor_for(url, patience=patience) as executor:
        outcome = await executor.execute(recorder(payload={"message": "hi"}, timeout_seconds=1).context)
    assert outcome.kind is OutcomeKind.TIMEOUT
    assert "did not confirm" in str(outcome.error)


async def test_a_refused_connection() -> None:
    async with executor_for(f"http://127.0.0.1:{unused_port()}") as executor:
        outcome = await executor.execute(recorder(payload={"message": "hi"}).context)
    assert outcome.kind is OutcomeKind.REFUSED
    assert "connection refused" in str(outcome.error)
    assert outcome.agent_run_id is None


async def test_a_connection_that_breaks_before_the_answer() -> None:
    """The run may have begun: it is asked for under the id that we gave it, and not started again."""
    heads: list[bytes] = []

    async def session(head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(head.partition(b" HTTP")[0])
        if head.startswith(b"GET"):
            writer.write(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async with raw_server(session) as url, executor_for(url) as executor:
        call = recorder(payload={"message": "hi"})
        outcome = await executor.execute(call.context)
    assert (outcome.kind, outcome.retryable) == (OutcomeKind.FAILED, True)
    assert "the target may have done the work (asked for its state, AgentOS said HTTP 404" in str(outcome.error)
    assert heads.count(b"POST /agents/greeter/runs") == 1
    assert len(heads) > 2
    assert heads[-2].endswith(b"/cancel?session_id=" + run_session_id(call.context.claim.run.id).encode())


async def test_a_server_that_dies_of_the_request() -> None:
    gone = asyncio.Event()

    async def die(_head: bytes, _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        gone.set()

    async with executor_for(f"http://127.0.0.1:{unused_port()}") as executor:
        port = int(executor._targets["default"].base_url.rpartition(":")[2])
        server = raw_server(die, port=port)
        await server.__aenter__()
        running = asyncio.create_task(executor.execute(recorder(payload={"message": "hi"}).context))
        await gone.wait()
        await server.__aexit__(None, None, None)
        outcome = await running
    assert outcome.kind is OutcomeKind.LOST
    assert "AgentOS does not tell what became of the run" in str(outcome.error)
    assert "connection refused" in str(outcome.error)


async def test_a_proxy_that_gave_up_waiting() -> None:
    """504 says nothing of the run behind the proxy; the run itself does."""

    async def session(head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = json.dumps({"status": "COMPLETED", "content": "done", "content_type": "str"}).encode()
        status = b"200 OK" if head.startswith(b"GET") else b"504 Gateway Timeout"
        writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, len(body), body))

    async with raw_server(session) as url, executor_for(url) as executor:
        outcome = await executor.execute(recorder(payload={"message": "hi"}).context)
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.SUCCESS, 504)


@pytest.mark.parametrize(
    "body", [b"<html>Please log in</html>", b"[1, 2]", b"", b'{"run_id": "../../x"}', b'{"status": "COMPLETED"}']
)
async def test_something_that_is_no_agentos(body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n"
    async with raw_server(answering(head + body)) as url, executor_for(url) as executor:
        outcome = await executor.execute(recorder(payload={"message": "hi"}).context)
    assert (outcome.kind, outcome.retryable) == (OutcomeKind.FAILED, False)
    assert "text/html instead of events; is target 'default' an AgentOS?" in str(outcome.error)


def stream_of(*events: dict[str, Any], tail: bytes = b"") -> bytes:
    frames = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nConnection: close\r\n\r\n"
    return head + frames + tail


async def test_only_the_outer_run_ends_the_run() -> None:
    raw = stream_of(
        {"event": "RunStarted", "run_id": "inner", "workflow_run_id": "outer", "session_id": "s"},
        {"event": "RunStarted", "run_id": "outer", "session_id": "s"},
        {"event": "RunCompleted", "run_id": "inner", "parent_run_id": "outer", "content": "not yet"},
        {"event": "RunError", "content": "whose?"},
        {"event": "RunCompleted", "run_id": "outer", "content": "now", "content_type": "str"},
        {"event": "RunError", "run_id": "outer", "content": "too late"},
    )
    call = recorder(payload={"message": "hi"})
    async with raw_server(answering(raw)) as url, executor_for(url) as executor:
        outcome = await executor.execute(call.context)
    assert (outcome.kind, outcome.agent_run_id) == (OutcomeKind.SUCCESS, "outer")
    assert outcome.output == {"content": "now", "content_type": "str"}
    assert call.noted == [("outer", "s")]


async def test_an_error_before_the_run_began_is_told() -> None:
    """AgentOS sends such errors without a run id, and keeps no run."""
    raw = stream_of({"event": "RunError", "content": "the database is gone"})

    async def session(head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        missing = b"HTTP/1.1 404 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        writer.write(missing if head.startswith(b"GET") else raw)

    async with raw_server(session) as url, executor_for(url) as executor:
        outcome = await executor.execute(recorder(payload={"message": "hi"}).context)
    assert (outcome.kind, outcome.retryable) == (OutcomeKind.FAILED, True)
    assert outcome.error == "the database is gone"


async def test_an_event_that_is_too_big_leaves_a_mark_and_does_not_end_the_stream() -> None:
    raw = stream_of(
        {"event": "RunStarted", "run_id": "r", "session_id": "s"},
        {"event": "ToolCallCompleted", "run_id": "r", "tool": "x" * 2_000_000},
        {"event": "RunCompleted", "run_id": "r", "content": "fine", "content_type": "str"},
    )
    call = recorder(payload={"message": "hi"})
    async with raw_server(answering(raw)) as url, executor_for(url) as executor:
        outcome = await executor.execute(call.context)
    assert (outcome.kind, call.types) == (OutcomeKind.SUCCESS, ["RunStarted", "cut", "RunCompleted"])
    assert call.said[1].data == {"events": 1}


async def test_a_long_answer_is_cut() -> None:
    raw = stream_of(
        {"event": "RunStarted", "run_id": "r", "session_id": "s"},
        {"event": "RunCompleted", "run_id": "r", "content": "x" * 300_000, "content_type": "str"},
    )
    async with raw_server(answering(raw)) as url, executor_for(url) as executor:
        outcome = await executor.execute(recorder(payload={"message": "hi"}).context)
    assert outcome.output == {"content": "x" * 262_144, "content_type": "str", "truncated": True}


async def test_what_no_database_takes_is_replaced_in_events_too() -> None:
    raw = stream_of(
        {"event": "RunStarted", "run_id": "r", "session_id": "s", "note": "a\0b"},
        {"event": "RunCompleted", "run_id": "r", "content": "c\0\ud800", "content_type": "str"},
    )
    call = recorder(payload={"message": "hi"})
    async with raw_server(answering(raw)) as url, executor_for(url) as executor:
        outcome = await executor.execute(call.context)
    assert call.events[0][1]["note"] == "a\ufffdb"
    assert outcome.output == {"content": "c\ufffd?", "content_type": "str"}


async def test_a_silent_connection_is_not_trusted() -> None:
    """The run has ended, but the stream says nothing and never closes; nor does the first question get an answer."""
    questions = iter(range(10))

    async def session(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if head.startswith(b"GET") and next(questions) == 0:
            await reader.read()
        elif head.startswith(b"GET"):
            body = b'{"status": "COMPLETED", "content": "done", "content_type": "str"}'
            writer.write(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))
        else:
            writer.write(stream_of({"event": "RunStarted", "run_id": "r", "session_id": "s"}))
            await reader.read()

    patience = replace(QUICK, idle=0.1, answer=0.1)
    async with raw_server(session) as url, executor_for(url, patience=patience, connection_limit=1) as executor:
        outcome = await executor.execute(recorder(payload={"message": "hi"}).context)
    assert (outcome.kind, outcome.output["content"]) == (OutcomeKind.SUCCESS, "done")


@pytest.mark.parametrize("payload", [["a", "list"], "text", 5])
async def test_a_payload_without_names(fake: FakeAgentOS, executor: TargetExecutor, payload: Any) -> None:
    outcome = await executor.execute(recorder(payload=payload).context)
    assert (outcome.kind, outcome.retryable) == (OutcomeKind.FAILED, False)
    assert fake.calls == []


async def test_a_run_endpoint_on_a_plain_target_is_a_plain_request(fake: FakeAgentOS) -> None:
    async with executor_for(fake.base_url, kind="http") as executor:
        await executor.execute(recorder(payload={"message": "hi"}).context)
    [seen] = fake.calls
    assert json.loads(seen.body) == {"message": "hi"}


async def test_a_lost_lease_ends_the_attempt_and_leaves_the_run_alone(
    fake: FakeAgentOS, executor: TargetExecutor
) -> None:
    fake.behave("greeter", Behaviour.HANG)
    call = recorder(payload={"message": "hi"})

    async def lost(_run_id: str | None, _session_id: str | None) -> None:
        raise LeaseLost(call.context.claim.run.id)

    call.context.note_agent_run = lost
    with pytest.raises(LeaseLost):
        await executor.execute(call.context)
    [run] = fake.runs.values()
    assert run.status == "RUNNING"
    assert len(fake.calls) == 1


async def test_when_the_worker_is_torn_away_the_run_goes_on(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    fake.behave("greeter", Behaviour.HANG)
    call = recorder(payload={"message": "hi"})
    running = asyncio.create_task(executor.execute(call.context))
    await call.noted_once.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    [run] = fake.runs.values()
    assert run.status == "RUNNING"
    assert len(fake.calls) == 1


async def test_many_at_once(fake: FakeAgentOS, executor: TargetExecutor) -> None:
    calls = [recorder(payload={"message": str(n)}, name=f"s{n}") for n in range(50)]
    outcomes = await asyncio.gather(*(executor.execute(call.context) for call in calls))
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.SUCCESS}
    assert [outcome.agent_run_id for outcome in outcomes] == [ids_of(call)[0] for call in calls]
