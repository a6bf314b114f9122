"""Any HTTP endpoint: one request, one answer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

from yarl import URL

from agentclock.core.model import Instruction, InstructionKind, Json, Outcome, OutcomeKind, RunStatus
from agentclock.executor.headers import run_headers
from agentclock.executor.outcomes import output_of, refusing_answer
from agentclock.executor.secrecy import DiscreetTransport, Secrecy
from agentclock.executor.supervision import supervised
from agentclock.executor.targets import TargetSettings
from agentclock.executor.transport import Answer, ConnectionBroken, NotConnected, NotHttp, Request, Transport
from agentclock.ports import RunContext

MAYBE_DONE: Final = "the connection broke before an answer came; the target may have done the work"


class HttpExecutor:
    """Sends the payload as JSON (as query parameters with GET) and keeps the answer up to `response_cap_bytes`.

    The output has agno's shape: `content` is the body as text, just as it came, `content_type` its media type.
    """

    def __init__(self, transport: Transport, *, response_cap_bytes: int) -> None:
        self._transport = transport
        self._cap_bytes = response_cap_bytes

    async def execute(self, target: TargetSettings, context: RunContext, secrecy: Secrecy) -> Outcome:
        payload = context.claim.schedule.target.payload
        if context.claim.run.instruction is not None:
            outcome: Outcome | OutcomeKind = _instructed(context.claim.run.instruction)
        else:
            outcome = await supervised(self._exchange(target, context, secrecy), context)
        if isinstance(outcome, OutcomeKind):
            outcome = Outcome(kind=outcome, error=_stopped(outcome, context))
        blotter = secrecy.blotter
        return replace(
            outcome,
            input=blotter.json(payload),
            error=blotter.error(outcome.error) if outcome.error else None,
            output=blotter.json(outcome.output),
        )

    async def _exchange(self, target: TargetSettings, context: RunContext, secrecy: Secrecy) -> Outcome:
        begun: Answer | None = None
        try:
            request = _request(target, context, await secrecy.payload(target))
            async with DiscreetTransport(self._transport, secrecy).send(target, request) as begun:
                return await self._read(begun, secrecy)
        except ValueError as error:
            return Outcome(kind=OutcomeKind.FAILED, error=str(error))
        except NotConnected as error:
            return error.outcome()
        except NotHttp as error:
            text = f"target '{target.name}' at {target.base_url} did not answer in HTTP: {error}"
            return Outcome(kind=OutcomeKind.FAILED, status_code=begun.status if begun else None, error=text)
        except ConnectionBroken as error:
            return _broken(begun, error)

    async def _read(self, answer: Answer, secrecy: Secrecy) -> Outcome:
        body, cut = await answer.text(self._cap_bytes)
        if cut:
            body = secrecy.blotter.text(body, is_cut=True)
        if not 200 <= answer.status < 300:
            return refusing_answer(answer.status, answer.reason, answer.headers, body)
        output = output_of(body, answer.media_type or None, self._cap_bytes)
        if cut:
            output["truncated"] = True
        return Outcome(kind=OutcomeKind.SUCCESS, status_code=answer.status, output=output)


def _request(target: TargetSettings, context: RunContext, payload: Json) -> Request:
    called = context.claim.schedule.target
    url, headers = target.url_for(called.endpoint), run_headers(target, context, delivery=context.delivery)
    if payload is None:
        return Request(method=called.method, url=url, headers=headers)
    if called.method == "GET":
        return Request(method="GET", url=with_query(url, payload), headers=headers)
    headers["Content-Type"] = "application/json"
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    return Request(method=called.method, url=url, headers=headers, body=body)


def with_query(url: URL, payload: Json) -> URL:
    """The payload as further query parameters: lists repeat, what is nested goes as JSON, null stays out.

    Raises ValueError for a payload without names.
    """
    if not isinstance(payload, dict):
        raise ValueError("GET carries its payload as query parameters, so it must be a JSON object")  # noqa: TRY004
    pairs = [
        (str(name), _query_value(item))
        for name, value in payload.items()
        for item in (value if isinstance(value, list) else [value])
        if item is not None
    ]
    return url.extend_query(pairs)


def _query_value(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _broken(begun: Answer | None, error: ConnectionBroken) -> Outcome:
    """A target that began to say no has failed; otherwise nobody knows what became of the request."""
    if begun is None:
        return Outcome(kind=OutcomeKind.LOST, retryable=True, error=f"{MAYBE_DONE} ({error})")
    text = f"the connection broke in the middle of the answer {begun.status} ({error})"
    if 200 <= begun.status < 300:
        return Outcome(kind=OutcomeKind.LOST, retryable=True, status_code=begun.status, error=text)
    return replace(refusing_answer(begun.status, begun.reason, begun.headers, ""), error=text)


def _instructed(instruction: Instruction) -> Outcome:
    """A run that has an agent, by a target that was changed since: here is nothing to watch, answer or stop."""
    why = "the target answers plain requests now; what became of the agent run is unknown"
    if instruction.kind is InstructionKind.CANCEL:
        kind = OutcomeKind.FAILED if instruction.ends_as is RunStatus.FAILED else OutcomeKind.CANCELLED
        return Outcome(kind=kind, error=f"{instruction.why or 'cancelled'}; {why}")
    return Outcome(kind=OutcomeKind.LOST, error=why)


def _stopped(kind: OutcomeKind, context: RunContext) -> str:
    match kind:
        case OutcomeKind.CANCELLED:
            return "cancelled; the request was given up, the target may have done the work"
        case OutcomeKind.LOST:
            return "the worker was stopped while the request was under way; whether it was done is unknown"
        case _:
            seconds = context.claim.schedule.timeout_seconds
            return f"no complete answer within {seconds} s; the target may have done the work"
