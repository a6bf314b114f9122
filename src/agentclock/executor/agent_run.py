"""One agent run: started, or taken up where another worker left it, and watched until it ends or has to stop.

Whatever becomes of a stream, the run goes on at AgentOS. So once it may have begun it is never started again: its
stream is resumed, its state asked for, and it is told to stop when it has to, or when it shows no sign of life.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from yarl import URL

from agentclock.core.ids import attempt_run_id, run_session_id
from agentclock.core.model import InstructionKind, Json, Outcome, OutcomeKind, Run, TargetType
from agentclock.executor import agno_wire as wire
from agentclock.executor.agent_questions import STATUS_LIMIT_BYTES, Patience, Questions, State, json_object
from agentclock.executor.agent_relay import Relay
from agentclock.executor.headers import run_headers
from agentclock.executor.http import MAYBE_DONE
from agentclock.executor.outcomes import refusing_answer
from agentclock.executor.secrecy import DiscreetTransport, Secrecy
from agentclock.executor.supervision import Silence
from agentclock.executor.targets import TargetSettings
from agentclock.executor.transport import Answer, ConnectionBroken, NotConnected, NotHttp, Request, Transport
from agentclock.ports import RunContext

ERROR_BODY_LIMIT_BYTES: Final = 64 * 1024

#: A proxy that gave up waiting says nothing of what happened behind it.
_PROXY_TROUBLE: Final = frozenset({502, 504})

#: AgentOS resumes nothing here: it is too old, or its agent is a remote one or made anew for each request.
_NOT_RESUMABLE: Final = frozenset({400, 405, 501})


Read = TypeVar("Read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What is called, where, and for which run."""

    target: TargetSettings
    component: TargetType
    url: URL
    payload: Mapping[str, Json]
    context: RunContext
    secrecy: Secrecy

    @property
    def run(self) -> Run:
        return self.context.claim.run

    @property
    def is_unseen(self) -> bool:
        """Whether the run goes on without events.

        A workflow that goes on after a pause streams only to whoever let it go on, and is cancelled with that
        connection. Out of process a connection is worth less than the run: there it goes on without a stream.
        """
        instruction = self.run.instruction
        if instruction is None or self.component is not TargetType.WORKFLOW or self.target.in_process:
            return False
        return instruction.kind is InstructionKind.CONTINUE or bool(self.run.requirements)


class AgentRun:
    """One agent run and what a worker does with it. Nothing that AgentOS does raises; LeaseLost does, when the run
    belongs to somebody else by now.

    `maybe_started`: AgentOS may have the run; `is_accepted`: it has said so. `lives_here`: if it has, then on behalf of
    this worker. `shows_life`: whether AgentOS has a way of showing that the run is alive.
    """

    def __init__(self, streams: Transport, questions: Transport, patience: Patience, call: Call) -> None:
        run, schedule, target = call.run, call.context.claim.schedule, call.target
        has_begun = run.instruction is not None
        self.call = call
        self.patience = patience
        self.silence = Silence(None if call.is_unseen else schedule.idle_timeout_seconds)
        self.questions = Questions(
            DiscreetTransport(questions, call.secrecy),
            target,
            patience,
            call.url,
            run_headers(target, call.context),
            call.secrecy,
        )
        self.questions.run_id = _agent_run_id(run)
        named = run.session_id if has_begun else None
        self.questions.session_id = named or str(call.payload.get("session_id") or run_session_id(run.id))
        self.relay = Relay(
            call.component,
            call.context,
            self.questions,
            call.secrecy,
            self.silence,
            drain_seconds=patience.drain,
            knows_ids=has_begun,
        )
        self._streams = DiscreetTransport(streams, call.secrecy)
        self._fields = wire.call_fields(call.payload, self.questions.session_id, schedule.user_id)
        self.is_accepted = has_begun and run.agent_run_id == self.questions.run_id
        self._is_resumable = True
        self.shows_life = not call.is_unseen
        self.maybe_started = has_begun
        self.lives_here = False
        self.status_code: int | None = None

    @property
    def input(self) -> Json:
        """What was asked, in agno's shape, with the other fields as they were sent."""
        rest = {name: value for name, value in self._fields.items() if name not in ("message", "session_id")}
        return {"input_content": self._fields.get("message"), **rest}

    async def start(self) -> Outcome:
        """Starts the run and watches it until it ends."""
        call, outcome = self.call, None
        headers = run_headers(call.target, call.context)
        try:
            request = Request(method="POST", url=call.url, headers=headers, form=await self._form())
            self.maybe_started = self.lives_here = True
            outcome = await self.exchange(request, self._begin, self.patience.idle)
        except NotConnected as error:
            self.maybe_started = False
            return error.outcome()
        except NotHttp as error:
            if not self.is_accepted:
                text = f"target '{call.target.name}' at {call.target.base_url} did not answer in HTTP: {error}"
                return Outcome(kind=OutcomeKind.FAILED, error=text)
            self.broke(error)
        except ConnectionBroken as error:
            self.broke(error)
        return outcome or await self.conclude()

    async def _form(self) -> dict[str, str]:
        """What starts the run, with its secrets. Raises NotAllowed."""
        payload = await self.call.secrecy.payload(self.call.target)
        fields = wire.call_fields(payload or {}, self.questions.session_id, self.call.context.claim.schedule.user_id)
        return wire.form_of(fields, self.questions.run_id)

    async def conclude(self) -> Outcome:
        """The outcome that the stream told, else what is found out by asking."""
        return await self._told() or await self.follow()

    async def follow(self, *, state_first: bool = False) -> Outcome:
        """Resumes the stream, and asks for the state where that shows no end, with growing pauses.

        A run that shows no sign of life is given up after a while, and cancelled: it must not go on unseen.
        """
        pause, search = self.patience.first_pause, _Search(self)
        while True:
            if not state_first:
                heard = self.relay.last_index
                await self._resume(self.relay.last_index)
                if (told := await self._told()) is not None:
                    return told
                if self.relay.last_index != heard:
                    pause = self.patience.first_pause
            state_first = False
            state = await self.questions.state()
            await self._note_acceptance(state)
            if state.outcome is not None:
                return await self.complete(state.outcome)
            if state.code == 404 and self.relay.nameless_error is not None:
                return Outcome(kind=OutcomeKind.FAILED, retryable=True, error=self.relay.nameless_error)
            if (hopeless := search.judge(state)) is not None:
                return await self._give_up(hopeless)
            await asyncio.sleep(pause)
            pause = min(pause * 2, self.patience.longest_pause)

    async def complete(self, outcome: Outcome) -> Outcome:
        """What the state told, once the events that were missed are passed on; of an error only they tell the cause."""
        failed = outcome.kind is OutcomeKind.FAILED
        try:
            async with asyncio.timeout(self.patience.answer):
                await self._resume(None if failed else self.relay.last_index)
        except TimeoutError:
            self.questions.went_wrong("not_caught_up", "events of the end may be missing")
        told = self.relay.ending
        if failed and told is not None and told.kind is outcome.kind:
            return replace(outcome, error=told.error)
        return outcome

    async def stop(self, kind: OutcomeKind, why: str, patience_seconds: float | None = None) -> Outcome:
        """Cancels the run and sees to it, for a bounded time, that it stops; answers what became of it."""
        if not self.maybe_started:
            return Outcome(kind=kind, error=why)
        seconds, ended = patience_seconds or self.patience.confirm, None
        try:
            async with asyncio.timeout(seconds):
                await self.questions.cancel()
                ended = await self._ended()
                ended = await self.complete(ended)
        except TimeoutError:
            if ended is None:
                trouble = f" ({self.questions.trouble})" if self.questions.trouble else ""
                waited = f"AgentOS did not confirm within {seconds:g} s that the run has stopped{trouble}"
                return Outcome(kind=kind, error=f"{why}; {waited}")
        match ended.kind:
            case OutcomeKind.SUCCESS:
                return ended
            case OutcomeKind.PAUSED if kind is OutcomeKind.LOST:
                return ended  # it waits in the database, whatever becomes of this process
            case OutcomeKind.PAUSED:
                said = "the run waited for a human, and AgentOS was told to cancel it"
            case _:
                said = "AgentOS has stopped the run"
        return replace(ended, kind=kind, retryable=False, requirements=None, error=f"{why}; {said}")

    async def exchange(
        self, request: Request, read: Callable[[Answer], Awaitable[Read]], patience_seconds: float | None
    ) -> Read:
        """What `read` makes of the answer, which must begin within `patience_seconds`.

        Raises NotConnected, ConnectionBroken and NotHttp.
        """
        await self.questions.take_turn()
        limit = asyncio.timeout(patience_seconds)
        try:
            async with limit, self._streams.send(self.call.target, request) as answer:
                limit.reschedule(None)
                return await read(answer)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise ConnectionBroken(f"AgentOS did not begin to answer within {patience_seconds:g} s") from error

    async def hear(self, answer: Answer) -> None:
        """Passes on the events of a stream that the run does not depend on: one that falls silent is left."""
        await self.relay.read(answer, patience_seconds=self.patience.idle)

    def broke(self, error: Exception) -> None:
        if self.relay.ending is None:
            self.questions.went_wrong("stream_broken", str(error))

    async def _begin(self, answer: Answer) -> Outcome | None:
        """The outcome if the answer to the start tells it, None if it is still to come."""
        self.status_code = answer.status
        if not 200 <= answer.status < 300:
            return await self._refused(answer)
        self.is_accepted = True
        if answer.media_type == "text/event-stream":
            await self.hear(answer)
            if self.relay.ending is None:
                self.questions.went_wrong("stream_ended", "the stream ended before the run did")
            return None
        text, _ = await answer.text(STATUS_LIMIT_BYTES)
        body = json_object(text)
        if await self.relay.learn_ids(body):
            return wire.outcome_of_status(body)
        if answer.status == 202:
            self.questions.went_wrong("ids_missing", "AgentOS accepted the run without naming its id")
            return None
        kind, name = answer.media_type or "nothing", self.call.target.name
        error = f"HTTP {answer.status} came with {kind} instead of events; is target '{name}' an AgentOS?"
        return Outcome(kind=OutcomeKind.FAILED, error=error)

    async def _refused(self, answer: Answer) -> Outcome | None:
        text, _ = await answer.text(ERROR_BODY_LIMIT_BYTES)
        if answer.status in _PROXY_TROUBLE and (await self.questions.state()).code == 200:
            self.is_accepted = True
            self.questions.went_wrong("proxy_trouble", f"HTTP {answer.status}")
            return None
        self.maybe_started = False
        return refusing_answer(answer.status, answer.reason, answer.headers, text)

    async def _resume(self, last_index: int | None) -> None:
        """Passes on what came after event number `last_index`, and what comes, as far as AgentOS can tell."""
        if not self._is_resumable:
            return
        try:
            await self.exchange(self.questions.resume(last_index), self._catch_up, self.patience.answer)
        except (NotConnected, ConnectionBroken, NotHttp) as error:
            self.broke(error)

    async def _catch_up(self, answer: Answer) -> None:
        if answer.status == 200 and answer.media_type == "text/event-stream":
            await self.relay.read(answer, patience_seconds=self.patience.idle, resumed=True)
            return
        self._is_resumable = answer.status not in _NOT_RESUMABLE
        self.shows_life = self.shows_life and self._is_resumable
        self.questions.went_wrong("not_resumed", f"asked to resume its stream, AgentOS said HTTP {answer.status}")

    def unknown(self, state: State) -> Outcome:
        """What a run is that AgentOS has not known for too long."""
        if self.is_accepted:
            error = "AgentOS accepted the run but does not know it any more"
            return Outcome(kind=OutcomeKind.LOST, retryable=True, error=error)
        if self.call.run.instruction is not None:
            error = "AgentOS does not know the run: it was probably never started"
            return Outcome(kind=OutcomeKind.LOST, retryable=True, error=error)
        return Outcome(kind=OutcomeKind.FAILED, retryable=True, error=f"{MAYBE_DONE} ({state.trouble})")

    async def _note_acceptance(self, state: State) -> None:
        """Whoever knows the run must have accepted it, under the ids that we asked for."""
        if state.code == 200 and not self.is_accepted:
            self.is_accepted = True
            await self.call.context.note_agent_run(self.questions.run_id, self.questions.session_id)

    async def _told(self) -> Outcome | None:
        """The outcome that the events told. Of a pause the stored run tells more, and by now it may be over, or not
        even begun: one step of a workflow waits while others go on."""
        ending, self.relay.ending = self.relay.ending, None
        if ending is None or ending.kind is not OutcomeKind.PAUSED:
            return ending
        state = await self.questions.state()
        if state.outcome is None:
            return ending if ending.requirements and state.code != 200 else None
        return state.outcome if state.outcome.kind is OutcomeKind.PAUSED else await self.complete(state.outcome)

    async def _ended(self) -> Outcome:
        """The end of the run; waits for ever, so the caller sets the limit."""
        pause = self.patience.first_pause
        while (outcome := (await self.questions.state()).outcome) is None:
            await asyncio.sleep(pause)
            pause = min(pause * 2, self.patience.longest_pause, 1.0)
        return outcome

    async def _give_up(self, hopeless: Outcome) -> Outcome:
        refusal = await self.questions.cancel()
        outcome = (await self.questions.state()).outcome
        if outcome is not None and outcome.kind is OutcomeKind.SUCCESS:
            return await self.complete(outcome)
        told = f"AgentOS could not be told to cancel it ({refusal})" if refusal else "AgentOS was told to cancel it"
        return replace(hopeless, error=f"{hopeless.error}; {told}")


class _Search:
    """Looks for signs of life of a run that nobody hears, and says when it is to be given up."""

    def __init__(self, run: AgentRun) -> None:
        patience = run.patience
        self._run = run
        self._lost_seconds = patience.lost_in_process if run.call.target.in_process else patience.lost
        self._unknown_seconds = min(patience.unknown, self._lost_seconds)
        self._alive_at = asyncio.get_running_loop().time()
        self._unknown_since: float | None = None
        self._trace: int | None = None

    def judge(self, state: State) -> Outcome | None:
        """The outcome of a run that is to be given up, None while there is hope."""
        now = asyncio.get_running_loop().time()
        self._look_for_life(state, now)
        if state.code == 404:
            since = now if self._unknown_since is None else max(self._unknown_since, self._alive_at)
            self._unknown_since = since
            return self._run.unknown(state) if now - since >= self._unknown_seconds else None
        self._unknown_since = None
        if now - self._alive_at < self._lost_seconds:
            return None
        if state.code == 200:
            said = "AgentOS says that the run goes on, but shows no sign of it"
        else:
            said = f"AgentOS does not tell what became of the run ({state.trouble})"
        error = f"{said}: given up after {self._lost_seconds:g} s"
        return Outcome(kind=OutcomeKind.LOST, retryable=True, error=error)

    def _look_for_life(self, state: State, now: float) -> None:
        self._alive_at = max(self._alive_at, self._run.relay.alive_at)
        if state.trace is not None:
            has_moved = self._trace not in (None, state.trace)
            if has_moved or not self._run.shows_life:
                self._alive_at = now
            self._trace = state.trace


def _agent_run_id(run: Run) -> str:
    """The id that AgentOS gave the present attempt's run, else the one that it was asked to give.

    What is on record may be of an attempt before it, if nobody lived to note the newer one.
    """
    own = attempt_run_id(run.id, run.attempt)
    if run.instruction is None or run.agent_run_id is None:
        return own
    earlier = (attempt_run_id(run.id, number) for number in range(1, run.attempt))
    return own if run.agent_run_id in earlier else run.agent_run_id
