"""The relay on its own: what of a stream is passed on, and how it says that the run ended."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from tests.executor_help import QUICK, Recorder, recorder
from yarl import URL

from agentclock.core.model import OutcomeKind, Target, TargetType
from agentclock.executor.agent_questions import Questions
from agentclock.executor.agent_relay import Relay
from agentclock.executor.blotting import Blotter
from agentclock.executor.discretion import Discretion
from agentclock.executor.secrecy import Secrecy
from agentclock.executor.secrets import Secrets
from agentclock.executor.supervision import Silence
from agentclock.executor.targets import TargetSettings
from agentclock.executor.transport import Answer, HttpTransport

SECRET = "very-secret-token"


class Pieces(Answer):
    """The body of an answer, piece by piece; None stands for silence."""

    def __init__(self, *pieces: bytes | None) -> None:
        super().__init__(200, "OK", CIMultiDictProxy(CIMultiDict({"Content-Type": "text/event-stream"})))
        self._pieces = list(pieces)

    async def piece(self) -> bytes:
        piece = self._pieces.pop(0) if self._pieces else b""
        if piece is None:
            await asyncio.Event().wait()
        return piece or b""


def event(name: str, index: int | None = None, **data: Any) -> bytes:
    fields = {"event": name, "run_id": "r", "session_id": "s", **data}
    if index is not None:
        fields["event_index"] = index
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def secrecy_of(value: str) -> Secrecy:
    """As after a request with this credential."""
    made = Secrecy(Secrets(environment={}), Discretion(), Target(endpoint="/"))
    made.blotter = Blotter.for_headers({"Authorization": value})
    return made


def relay_for(call: Recorder, component: TargetType = TargetType.AGENT, *, knows_ids: bool = True) -> Relay:
    target = TargetSettings(name="t", base_url="http://t.invalid", headers={"Authorization": f"Bearer {SECRET}"})
    url = URL("http://t.invalid/agents/greeter/runs")
    secrecy = secrecy_of(f"Bearer {SECRET}")
    questions = Questions(HttpTransport(connection_limit=1), target, QUICK, url, {}, secrecy)
    questions.run_id, questions.session_id = "r", "s"
    return Relay(
        component,
        call.context,
        questions,
        secrecy,
        Silence(None),
        drain_seconds=0.01,
        knows_ids=knows_ids,
    )


async def read(relay: Relay, *pieces: bytes | None, resumed: bool = False) -> None:
    await relay.read(Pieces(*pieces), patience_seconds=0.01, resumed=resumed)


async def test_what_came_before_does_not_come_again() -> None:
    call = recorder()
    relay = relay_for(call)
    await read(relay, event("RunStarted", 0), event("RunContent", 1, content="a"))
    await read(
        relay,
        event("catch_up"),
        event("RunContent", 1, content="a"),
        event("RunContent", 2, content="b"),
        event("subscribed"),
        event("RunContent", 2, content="b"),
        event("RunContent", 3, content="c"),
        resumed=True,
    )
    assert call.indices == [0, 1, 2, 3]
    assert call.types == ["RunStarted", "RunContent", "RunContent", "RunContent"]
    assert relay.ending is None


async def test_events_without_numbers_are_not_repeated() -> None:
    call = recorder()
    relay = relay_for(call)
    await read(relay, event("RunStarted"), event("RunContent", content="a"))
    await read(relay, event("RunContent", content="a"), event("RunCompleted", content="a"), resumed=True)
    assert call.types == ["RunStarted", "RunContent"]
    assert relay.ending is not None
    fresh = recorder()
    await read(relay_for(fresh), event("RunContent", content="a"), event("RunContent", content="b"), resumed=True)
    assert fresh.types == ["RunContent", "RunContent"]


async def test_a_replayed_pause_is_no_end_if_something_follows() -> None:
    call = recorder()
    relay = relay_for(call)
    await read(
        relay, event("replay"), event("RunPaused", 4), event("RunContinued", 5), event("RunContent", 6), resumed=True
    )
    assert relay.ending is None
    await read(relay, event("RunPaused", 7, requirements=[{"id": "r1"}]), resumed=True)
    assert relay.ending is not None
    assert relay.ending.kind is OutcomeKind.PAUSED


async def test_only_the_first_ending_counts() -> None:
    call = recorder()
    relay = relay_for(call)
    await read(relay, event("RunCancelled", 0, reason="so"), event("RunCompleted", 1, content="so far"))
    assert relay.ending is not None
    assert (relay.ending.kind, relay.ending.error) == (OutcomeKind.CANCELLED, "so")
    assert call.types == ["RunCancelled"]
    assert relay.last_index == 1


async def test_members_do_not_end_a_team() -> None:
    call = recorder("/teams/crew/runs")
    relay = relay_for(call, TargetType.TEAM)
    await read(relay, event("RunCompleted", 3, run_id="member"), event("TeamRunError", 4, run_id="inner"))
    assert relay.ending is None
    assert [said.speaker for said in call.said] == ["member", "inner"]


async def test_a_continuation_that_counts_anew() -> None:
    call = recorder()
    relay = relay_for(call)
    await read(relay, event("RunStarted", 0), event("RunPaused", 9))
    relay.begin_leg()
    assert (relay.ending, relay.has_begun_leg) == (None, False)
    await read(relay, event("RunContinued", 0), event("RunContent", 1, content="a"))
    assert (call.indices, relay.last_index, relay.has_begun_leg) == ([0, 9, 0, 1], 1, True)


async def test_a_continuation_that_leaves_numbers_out() -> None:
    call = recorder("/workflows/w/runs")
    relay = relay_for(call, TargetType.WORKFLOW)
    await read(relay, event("WorkflowStarted", 0), event("StepPaused", 1))
    relay.begin_leg()
    await read(
        relay,
        event("StepContinued"),
        event("RunStarted", 3, run_id="inner"),
        event("StepCompleted"),
        event("WorkflowPaused", step_requirements=[{"step_id": "s"}]),
        event("WorkflowRunOutput", content="all of it once more"),
    )
    assert call.indices == [0, 1, 2, 3, 4, 5]
    assert relay.ending is not None
    assert relay.ending.kind is OutcomeKind.PAUSED


async def test_secrets_and_what_no_database_takes() -> None:
    call = recorder()
    deep: Any = "bottom"
    for _ in range(100):
        deep = [deep]
    await read(
        relay_for(call),
        event("RunContent", 0, content=f"it is {SECRET}"),
        event("RunContent", 1, content=f"it is {SECRET[0]}").replace(
            b'"it is v"', b'"it is \\u0076' + SECRET[1:].encode() + b'"'
        ),
        event("RunContent", 2, content="a\0b"),
        event("RunContent", 3, score=float("inf"), deep=deep),
    )
    assert [said.data.get("content") for said in call.said] == ["it is [hidden]", "it is [hidden]", "a\ufffdb", None]
    assert call.said[3].data["score"] == "inf"
    assert "nested too deep" in json.dumps(call.said[3].data)


async def test_signs_of_life() -> None:
    relay = relay_for(recorder())
    relay.alive_at = 0.0
    await read(relay, event("replay"), b": heartbeat\n\n", resumed=True)
    assert relay.alive_at == 0.0
    await read(relay, event("subscribed"), b": heartbeat\n\n", None, resumed=True)
    assert relay.alive_at > 0.0


async def test_a_stream_that_cannot_be_resumed_says_nothing_of_the_agent() -> None:
    call = recorder()
    relay = relay_for(call)
    await read(relay, b'event: error\ndata: {"event": "error", "error": "not found"}\n\n', resumed=True)
    assert (call.said, relay.nameless_error) == ([], None)
    await read(relay, b'event: error\ndata: {"event": "error", "error": "no database"}\n\n')
    assert relay.nameless_error == "no database"


@pytest.mark.parametrize("nested", [{"parent_run_id": "outer"}, {"workflow_run_id": "outer"}])
async def test_ids_are_learnt_from_the_run_itself(nested: dict[str, str]) -> None:
    call = recorder()
    relay = relay_for(call, knows_ids=False)
    await read(relay, event("RunStarted", 0, run_id="inner", **nested), event("RunStarted", 1, run_id="own"))
    assert call.noted == [("own", "s")]
