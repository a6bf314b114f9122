from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request as HostRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from agentclock.core.errors import ConfigError
from agentclock.core.lifecycle import settle
from agentclock.core.model import (
    Cause,
    Claim,
    Instruction,
    InstructionKind,
    OnLost,
    OutcomeKind,
    RetryPolicy,
    Run,
    RunStatus,
    Schedule,
    Target,
)
from agentclock.executor.dispatch import TargetExecutor
from agentclock.executor.targets import TargetSettings
from agentclock.ports import RunContext, Said

FIRE_AT = 1_767_225_600_000
TOKEN = "the-internal-token"


def context_of(
    endpoint: str = "/hook",
    *,
    target: str = "default",
    method: str = "POST",
    instruction: Instruction | None = None,
    timeout_seconds: int = 20,
) -> RunContext:
    called = Target(name=target, method=method, endpoint=endpoint, payload=None)
    schedule = Schedule(id="schedule-1", name="one", target=called, timeout_seconds=timeout_seconds)
    run = Run(
        id="run-1", schedule_id=schedule.id, cause=Cause.SCHEDULE, fire_at=FIRE_AT, attempt=1, instruction=instruction
    )

    def emit(_: Said) -> None:
        raise AssertionError("plain endpoints say nothing")

    async def note(_agent_run_id: str | None, _session_id: str | None) -> None:
        raise AssertionError("plain endpoints have no agent run")

    return RunContext(claim=Claim(run=run, schedule=schedule), emit=emit, note_agent_run=note)


async def echo(request: HostRequest) -> Response:
    """Answers what it was told, as a target that leaks would."""
    return JSONResponse({"headers": dict(request.headers), "body": (await request.body()).decode()})


def host_app() -> Starlette:
    async def stuck(request: HostRequest) -> Response:
        while (await request.receive())["type"] != "http.disconnect":
            """Answers nobody who waits."""
        return PlainTextResponse("")

    async def failing(_: HostRequest) -> Response:
        raise ValueError("no")

    return Starlette(
        routes=[
            Route("/hook", echo, methods=["GET", "POST"]),
            Route("/stuck", stuck, methods=["POST"]),
            Route("/failing", failing, methods=["POST"]),
        ]
    )


async def dying(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("no framework answers for me")


@asynccontextmanager
async def executor_in(
    app: Any = None, *, headers: Mapping[str, str] | None = None, is_open: bool = True, **options: Any
) -> AsyncIterator[TargetExecutor]:
    targets = {
        "default": TargetSettings(name="default", kind="http", in_process=True, headers=headers or {}),
        "elsewhere": TargetSettings(name="elsewhere", kind="http", base_url="http://elsewhere.invalid"),
        "agents": TargetSettings(name="agents", in_process=True),
    }
    executor = TargetExecutor(targets, app=app or host_app(), **options)
    assert executor.host is not None
    if is_open:
        executor.host.open()
    yield executor
    await executor.close()


async def test_an_endpoint_of_the_host_is_called_without_a_network() -> None:
    async with executor_in() as executor:
        outcome = await executor.execute(context_of())
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.SUCCESS, 200)
    assert '"x-agentclock-run":"run-1"' in outcome.output["content"]
    assert '"idempotency-key":"run-1.1"' in outcome.output["content"]


async def test_runs_wait_until_the_host_is_ready() -> None:
    async with executor_in(is_open=False) as executor:
        outcome = await executor.execute(context_of())
        assert await executor.reachable("default") == outcome.error
    assert outcome.kind is OutcomeKind.REFUSED
    assert "has not completed its start-up" in str(outcome.error)


async def test_the_internal_token_goes_along_and_is_never_stored() -> None:
    tokens = iter(["", "first-token-value", "second-token-value"])
    async with executor_in(token=lambda: next(tokens)) as executor:
        without = await executor.execute(context_of())
        bearing = [await executor.execute(context_of()) for _ in range(2)]
    assert "authorization" not in without.output["content"]
    for outcome in bearing:
        assert '"authorization":"Bearer [hidden]"' in outcome.output["content"]
        assert "token-value" not in repr(outcome)


async def test_a_target_keeps_credentials_of_its_own() -> None:
    seen: list[str] = []

    async def endpoint(request: HostRequest) -> Response:
        seen.append(request.headers["authorization"])
        return PlainTextResponse("")

    app = Starlette(routes=[Route("/hook", endpoint, methods=["POST"])])
    async with executor_in(app, token=lambda: TOKEN) as executor:
        await executor.execute(context_of())
    async with executor_in(app, token=lambda: TOKEN, headers={"authorization": "Basic mine"}) as executor:
        await executor.execute(context_of())
    assert seen == [f"Bearer {TOKEN}", "Basic mine"]


async def test_the_token_goes_to_nobody_else() -> None:
    async with executor_in(token=lambda: TOKEN) as executor:
        called = (executor._target(Target(name=name, endpoint="/")) for name in ("elsewhere", "default"))
    elsewhere, here = (target.complete() for target in called)
    assert (dict(elsewhere.headers), dict(here.headers)) == ({}, {"Authorization": f"Bearer {TOKEN}"})


def test_a_target_in_this_process_needs_a_host() -> None:
    with pytest.raises(ConfigError, match="target 'default': in_process needs an app that hosts agentclock"):
        TargetExecutor({"default": TargetSettings(name="default", in_process=True)})


def test_a_target_elsewhere_needs_a_base_url() -> None:
    with pytest.raises(ConfigError, match="target 'default': base URL ''"):
        TargetExecutor({"default": TargetSettings(name="default", base_url="")})


async def test_reachable() -> None:
    async with executor_in() as executor:
        assert await executor.reachable("default") is None
        assert "is not configured" in str(await executor.reachable("nowhere"))
    async with executor_in(dying) as executor:
        assert await executor.reachable("default") == "the app raised ValueError before it answered"


async def test_an_error_of_the_host_is_an_error_of_the_target() -> None:
    async with executor_in() as executor:
        outcome = await executor.execute(context_of("/failing"))
    assert (outcome.kind, outcome.retryable, outcome.status_code) == (OutcomeKind.FAILED, True, 500)


@pytest.mark.parametrize(
    ("method", "on_lost", "status"),
    [
        ("POST", None, RunStatus.LOST),
        ("POST", OnLost.RETRY, RunStatus.PENDING),
        ("PUT", None, RunStatus.PENDING),
        ("GET", OnLost.FAIL, RunStatus.LOST),
    ],
)
async def test_a_request_without_an_answer_is_repeated_only_if_it_may_be(
    method: str, on_lost: OnLost | None, status: RunStatus
) -> None:
    context = context_of(method=method)
    async with executor_in(dying) as executor:
        outcome = await executor.execute(context)
    assert outcome.kind is OutcomeKind.LOST
    schedule = replace(context.claim.schedule, on_lost=on_lost, retry=RetryPolicy(max_retries=1))
    assert settle(replace(context.claim, schedule=schedule), outcome, FIRE_AT).status is status


async def test_a_worker_that_stops_gives_the_request_up() -> None:
    context = context_of("/stuck")
    async with executor_in() as executor:
        running = asyncio.create_task(executor.execute(context))
        await asyncio.sleep(0)
        context.stopping.set()
        async with asyncio.timeout(10):
            outcome = await running
    assert outcome.kind is OutcomeKind.LOST
    assert str(outcome.error).startswith("the worker was stopped while the request was under way")


async def test_the_timeout_counts_what_was_used_before() -> None:
    context = context_of("/stuck", timeout_seconds=3600)
    context.claim = replace(context.claim, elapsed_ms=3_600_000)
    async with executor_in() as executor, asyncio.timeout(10):
        outcome = await executor.execute(context)
    assert outcome.kind is OutcomeKind.TIMEOUT


@pytest.mark.parametrize(
    ("instruction", "kind"),
    [
        (Instruction(kind=InstructionKind.CANCEL, why="not approved within 5 s"), OutcomeKind.CANCELLED),
        (Instruction(kind=InstructionKind.CANCEL, ends_as=RunStatus.FAILED), OutcomeKind.FAILED),
        (Instruction(kind=InstructionKind.ATTACH), OutcomeKind.LOST),
        (Instruction(kind=InstructionKind.CONTINUE, answers=[]), OutcomeKind.LOST),
    ],
)
async def test_an_instruction_for_a_plain_endpoint_sends_nothing(instruction: Instruction, kind: OutcomeKind) -> None:
    async with executor_in(dying) as executor:  # would answer LOST for another reason
        outcome = await executor.execute(context_of(instruction=instruction))
    assert (outcome.kind, outcome.retryable) == (kind, False)
    assert "the target answers plain requests now" in str(outcome.error)
    assert str(outcome.error).startswith(instruction.why or "")


async def test_only_agents_can_be_attached_to() -> None:
    async with executor_in() as executor:
        for context in (context_of(), context_of("/agents/a/runs"), context_of(target="nowhere")):
            assert not executor.can_attach(context.claim)
            assert not await executor.has_moved_on(context.claim)
