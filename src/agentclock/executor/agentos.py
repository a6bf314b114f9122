"""Runs of agents, teams and workflows: started once in the background, then watched until they end.

The start is one POST whose answer is a stream of events. Whatever becomes of the stream, the run goes on at
AgentOS, so from then on only its state is asked for, and a cancellation sent when the run has to stop.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

import structlog
from yarl import URL

from agentclock.core.ids import attempt_run_id, run_session_id
from agentclock.core.model import Json, Outcome, OutcomeKind, TargetType
from agentclock.executor import agno_wire as wire
from agentclock.executor.headers import run_headers
from agentclock.executor.http import MAYBE_DONE
from agentclock.executor.outcomes import Blotter, error_detail, output_of, parse_json, refusing_answer
from agentclock.executor.sse import SseDecoder, SseEvent
from agentclock.executor.supervision import supervised
from agentclock.executor.targets import TargetSettings
from agentclock.executor.transport import Answer, ConnectionBroken, NotConnected, NotHttp, Request, Transport
from agentclock.ports import RunContext, Said

#: A stored run carries all its messages; beyond this its state cannot be read.
STATUS_LIMIT_BYTES: Final = 32 * 1024 * 1024

ERROR_BODY_LIMIT_BYTES: Final = 64 * 1024

#: A proxy that gave up waiting says nothing of what happened behind it.
_PROXY_TROUBLE: Final = frozenset({502, 504})

_PASSING_STATUSES: Final = frozenset({408, 425, 429})

_UNSTORABLE: Final = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often AgentOS is asked and how long it is waited for, all in seconds.

    Pauses between questions double from `first_pause` to `longest_pause`; one question may take `answer`.
    `unknown`: how long a run may be unknown to AgentOS. `confirm`: how long a cancelled run may take to stop.
    `idle`: silence on the stream after which the state is asked for. `drain`: how long AgentOS may tidy up after
    a run's last event.
    """

    first_pause: float = 0.2
    longest_pause: float = 10.0
    unknown: float = 30.0
    answer: float = 15.0
    confirm: float = 10.0
    idle: float = 60.0
    drain: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """Answer to one question for a run's state; `code` None: there was no usable answer."""

    code: int | None = None
    outcome: Outcome | None = None
    trouble: str | None = None


class AgentOSExecutor:
    """Live runs hold connections of `streams`; what is asked about them goes through `questions`, so that runs
    which use up all connections cannot keep each other from being looked after."""

    def __init__(
        self, streams: Transport, questions: Transport, *, response_cap_bytes: int, patience: Patience | None = None
    ) -> None:
        self._streams = streams
        self._questions = questions
        self._cap_bytes = response_cap_bytes
        self._patience = patience or Patience()

    async def execute(self, target: TargetSettings, component: TargetType, context: RunContext) -> Outcome:
        payload = context.claim.schedule.target.payload
        if not isinstance(payload, dict | None):
            return Outcome(kind=OutcomeKind.FAILED, error="the payload of an agent run must be a JSON object")
        try:
            url = target.url_for(context.claim.schedule.target.endpoint)
        except ValueError as error:
            return Outcome(kind=OutcomeKind.FAILED, error=str(error))
        run = _AgentRun(self._streams, self._questions, self._patience, target, component, url, payload or {}, context)
        outcome = await supervised(run.start_and_watch(), context)
        if isinstance(outcome, OutcomeKind):
            outcome = await run.stop(outcome)
        return self._presentable(outcome, run, Blotter.for_headers(target.headers))

    def _presentable(self, outcome: Outcome, run: _AgentRun, blotter: Blotter) -> Outcome:
        output = outcome.output or {}
        content = blotter.json(output.get("content"))
        return replace(
            outcome,
            status_code=outcome.status_code or run.status_code,
            agent_run_id=run.run_id if run.maybe_started else None,
            session_id=run.session_id if run.maybe_started else None,
            error=blotter.error(outcome.error) if outcome.error else None,
            input=blotter.json(run.input),
            output=output_of(content, output.get("content_type"), self._cap_bytes),
            requirements=blotter.json(outcome.requirements),
            metrics=blotter.json(outcome.metrics),
        )


class _AgentRun:
    """One agent run, from the request that starts it to its outcome.

    `maybe_started`: the request may have reached AgentOS. `trouble`: the last thing that went wrong on the way.
    """

    def __init__(
        self,
        streams: Transport,
        questions: Transport,
        patience: Patience,
        target: TargetSettings,
        component: TargetType,
        url: URL,
        payload: dict[str, Json],
        context: RunContext,
    ) -> None:
        claim = context.claim
        self._streams = streams
        self._questions = questions
        self._patience = patience
        self._target = target
        self._component = component
        self._url = url
        self._context = context
        self._headers = run_headers(target, context)
        self._log = structlog.get_logger("agentclock.executor").bind(run=claim.run.id, target=target.name)
        self.run_id = attempt_run_id(claim.run.id, claim.run.attempt)
        self.session_id = str(payload.get("session_id") or run_session_id(claim.run.id))
        self._fields = wire.call_fields(payload, self.session_id, claim.schedule.user_id)
        self._ids_seen = False
        self._garbage_seen = False
        self._nameless_error: str | None = None
        self._accepted = False
        self.maybe_started = False
        self.status_code: int | None = None
        self.trouble: str | None = None

    @property
    def input(self) -> Json:
        """What was asked, in agno's shape, with the other fields as they were sent."""
        rest = {name: value for name, value in self._fields.items() if name not in ("message", "session_id")}
        return {"input_content": self._fields.get("message"), **rest}

    async def start_and_watch(self) -> Outcome:
        request = Request(
            method="POST", url=self._url, headers=self._headers, form=wire.form_of(self._fields, self.run_id)
        )
        self.maybe_started, outcome = True, None
        try:
            async with self._streams.send(self._target, request) as answer:
                outcome = await self._watch(answer)
        except NotConnected as error:
            self.maybe_started = False
            return Outcome(kind=OutcomeKind.REFUSED, retryable=True, error=str(error))
        except NotHttp as error:
            if not self._accepted:
                text = f"target '{self._target.name}' at {self._target.base_url} did not answer in HTTP: {error}"
                return Outcome(kind=OutcomeKind.FAILED, error=text)
            self._went_wrong("stream_broken", str(error))
        except ConnectionBroken as error:
            self._went_wrong("stream_broken", str(error))
        return outcome or await self._follow()

    async def stop(self, kind: OutcomeKind) -> Outcome:
        """Cancels the run and sees to it, for a bounded time, that it stops; answers what became of it."""
        why = "cancelled"
        if kind is OutcomeKind.TIMEOUT:
            why = f"no end within {self._context.claim.schedule.timeout_seconds} s"
        if not self.maybe_started:
            return Outcome(kind=kind, error=why)
        try:
            async with asyncio.timeout(self._patience.confirm):
                await self._send_cancel()
                ended = await self._confirmed()
        except TimeoutError:
            waited = f"AgentOS did not confirm within {self._patience.confirm:g} s that the run has stopped"
            trouble = f" ({self.trouble})" if self.trouble else ""
            return Outcome(kind=kind, error=f"{why}; {waited}{trouble}")
        if ended.kind in (OutcomeKind.SUCCESS, OutcomeKind.PAUSED):
            return ended
        return replace(ended, kind=kind, error=f"{why}; AgentOS has stopped the run")

    async def _watch(self, answer: Answer) -> Outcome | None:
        """The outcome if the answer tells it, None if the run has to be followed by asking."""
        self.status_code = answer.status
        if not 200 <= answer.status < 300:
            return await self._refused(answer)
        self._accepted = True
        if answer.media_type == "text/event-stream":
            return await self._relay(answer)
        text, _ = await answer.text(STATUS_LIMIT_BYTES)
        body = _json_object(text)
        if await self._learn_ids(body):
            return wire.outcome_of_status(body)
        if answer.status == 202:
            self._went_wrong("ids_missing", "AgentOS accepted the run without naming its id")
            return None
        kind = answer.media_type or "nothing"
        error = f"HTTP {answer.status} came with {kind} instead of events; is target '{self._target.name}' an AgentOS?"
        return Outcome(kind=OutcomeKind.FAILED, error=error)

    async def _refused(self, answer: Answer) -> Outcome | None:
        text, _ = await answer.text(ERROR_BODY_LIMIT_BYTES)
        if answer.status in _PROXY_TROUBLE and (await self._ask()).code == 200:
            self._accepted = True
            self._went_wrong("proxy_trouble", f"HTTP {answer.status}")
            return None
        self.maybe_started = False
        return refusing_answer(answer.status, answer.reason, answer.headers, text)

    async def _relay(self, answer: Answer) -> Outcome | None:
        """Passes events on as they come, until the one that ends the run or the end of the stream."""
        decoder = SseDecoder()
        while True:
            try:
                async with asyncio.timeout(self._patience.idle):
                    piece = await answer.piece()
            except TimeoutError:
                # A connection can die without a word while the run goes on, or ends.
                if outcome := (await self._ask()).outcome:
                    return outcome
                continue
            for event in decoder.feed(piece):
                if outcome := await self._take(event):
                    await self._drain(answer)
                    return outcome
            if not piece:
                break
        lost = f"; {decoder.oversized} events were too big to be read" if decoder.oversized else ""
        self._went_wrong("stream_ended", f"the stream ended before the run did{lost}")
        return None

    async def _take(self, event: SseEvent) -> Outcome | None:
        data = _json_object(event.data)
        if not data:
            if not self._garbage_seen:  # a stream of garbage must not become a log of garbage
                self._went_wrong("garbage_event", f"event {event.type!r} carries no JSON object")
            self._garbage_seen = True
            return None
        if _UNSTORABLE.search(event.data):
            data = Blotter().json(data)
        named = data.get("event")
        event_type = named if isinstance(named, str) and named else event.type
        if not self._ids_seen and not wire.is_nested(data):
            await self._learn_ids(data)
        self._context.emit(Said(type=event_type, data=data))
        ending = wire.ending_of(self._component, event_type)
        run_id = data.get("run_id")
        if ending is not None and run_id == self.run_id:
            return wire.outcome_of_event(ending, data)
        if run_id is None and (ending is OutcomeKind.FAILED or event_type == "error"):
            # AgentOS says so when a run fails before it has begun; a step within may have failed as well.
            self._nameless_error = wire.error_text(data)
        return None

    async def _drain(self, answer: Answer) -> None:
        """AgentOS closes the stream once the run is stored: then whoever reads our outcome finds it there too."""
        try:
            async with asyncio.timeout(self._patience.drain):
                while await answer.piece():
                    pass
        except (TimeoutError, ConnectionBroken, NotHttp) as error:
            self._log.debug("stream_not_closed", error=str(error))

    async def _learn_ids(self, data: dict[str, Json]) -> bool:
        """AgentOS may give the run ids of its own choice: those are the ones that count."""
        run_id = wire.usable_id(data.get("run_id"))
        if run_id is None:
            return False
        self.run_id = run_id
        session_id = data.get("session_id")
        self.session_id = session_id if isinstance(session_id, str) and session_id else self.session_id
        self._ids_seen = True
        await self._context.note_agent_run(self.run_id, self.session_id)
        return True

    async def _follow(self) -> Outcome:
        """Asks for the run's state, with growing pauses, until it has ended or AgentOS knows it no more."""
        loop, unknown_since = asyncio.get_running_loop(), None
        pause = self._patience.first_pause
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._patience.longest_pause)
            state = await self._ask()
            if state.outcome is not None:
                return state.outcome
            if state.code == 404 or (state.code is None and not self._accepted):
                unknown_since = loop.time() if unknown_since is None else unknown_since
                if self._nameless_error is not None or loop.time() - unknown_since >= self._patience.unknown:
                    return self._unknown()
                continue
            unknown_since = None
            if state.code is not None and 400 <= state.code < 500 and state.code not in _PASSING_STATUSES:
                error = f"the run was started but cannot be followed: {state.trouble}"
                return Outcome(kind=OutcomeKind.FAILED, error=error)

    async def _ask(self) -> _State:
        """One question for the run's state. Never raises for what AgentOS does."""
        url = self._part("").update_query(session_id=self.session_id)
        try:
            async with (
                asyncio.timeout(self._patience.answer),
                self._questions.send(self._target, self._further("GET", url)) as answer,
            ):
                text, cut = await answer.text(STATUS_LIMIT_BYTES)
        except TimeoutError:
            return self._state(trouble=f"asked for its state, AgentOS said nothing for {self._patience.answer:g} s")
        except (NotConnected, ConnectionBroken, NotHttp) as error:
            return self._state(trouble=str(error))
        if not 200 <= answer.status < 300:
            detail = error_detail(text)
            trouble = f"asked for its state, AgentOS said HTTP {answer.status} {detail}"
            return self._state(code=answer.status, trouble=trouble)
        data = _json_object(text)
        if not data:
            trouble = "the state of the run is too big to be read" if cut else "the state of the run is no JSON object"
            return self._state(trouble=trouble)
        return _State(code=answer.status, outcome=wire.outcome_of_status(data))

    def _state(self, *, trouble: str, code: int | None = None) -> _State:
        self.trouble = trouble
        return _State(code=code, trouble=trouble)

    def _unknown(self) -> Outcome:
        if self._nameless_error is not None:
            return Outcome(kind=OutcomeKind.FAILED, retryable=True, error=self._nameless_error)
        if not self._accepted:
            error = f"{MAYBE_DONE} ({self.trouble})"
            return Outcome(kind=OutcomeKind.FAILED, retryable=True, error=error)
        return Outcome(
            kind=OutcomeKind.LOST, retryable=True, error="AgentOS accepted the run but does not know it any more"
        )

    async def _send_cancel(self) -> None:
        url = self._part("/cancel").update_query(session_id=self.session_id)
        try:
            async with self._questions.send(self._target, self._further("POST", url)) as answer:
                if answer.status >= 300:
                    self._went_wrong("cancel_refused", f"asked to cancel, AgentOS said HTTP {answer.status}")
        except (NotConnected, ConnectionBroken, NotHttp) as error:
            self._went_wrong("cancel_failed", str(error))

    async def _confirmed(self) -> Outcome:
        """The end of the run; waits for ever, so the caller sets the limit."""
        pause = self._patience.first_pause
        while (outcome := (await self._ask()).outcome) is None:
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._patience.longest_pause, 1.0)
        return outcome

    def _part(self, suffix: str) -> URL:
        path = f"{self._url.raw_path.rstrip('/')}/{quote(self.run_id, safe='')}{suffix}"
        return self._url.with_path(path, encoded=True)

    def _further(self, method: str, url: URL) -> Request:
        headers = {name: value for name, value in self._headers.items() if name != "Idempotency-Key"}
        return Request(method=method, url=url, headers=headers)

    def _went_wrong(self, event: str, trouble: str) -> None:
        """Remembered for the outcome, and said in the log: the run itself may still end well."""
        self.trouble = trouble
        self._log.warning(event, trouble=trouble, agent_run=self.run_id)


def _json_object(text: str) -> dict[str, Json]:
    """The JSON object that `text` is, or an empty one."""
    try:
        value = parse_json(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
