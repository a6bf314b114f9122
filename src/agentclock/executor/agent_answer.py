"""A human's answer to a paused agent run: passed on once, and the run watched from there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from agentclock.core.approvals import missing_answers, same_questions
from agentclock.core.model import Json, Outcome, OutcomeKind, TargetType
from agentclock.executor import agno_wire as wire
from agentclock.executor.agent_questions import STATUS_LIMIT_BYTES, json_object
from agentclock.executor.agent_run import ERROR_BODY_LIMIT_BYTES, AgentRun
from agentclock.executor.outcomes import refusing_answer
from agentclock.executor.transport import Answer, ConnectionBroken, NotConnected, NotHttp


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reply:
    """What AgentOS said to the answer: a refusal with its status, the end of the run, or neither."""

    refusal: Outcome | None = None
    outcome: Outcome | None = None


class Continuation:
    """Lets a paused run go on with `answers`."""

    def __init__(self, run: AgentRun, answers: Json) -> None:
        self._run = run
        self._answers = answers if isinstance(answers, dict) else {}

    async def carry_out(self) -> Outcome:
        run = self._run
        state = await run.questions.state()
        if state.code not in (200, 404):
            return Outcome(kind=OutcomeKind.REFUSED, retryable=True, error=state.trouble)
        if state.outcome is None:
            return await run.follow()
        if state.outcome.kind is not OutcomeKind.PAUSED:
            return await run.complete(state.outcome)
        if (unfit := self._unfit(state.outcome.requirements)) is not None:
            return replace(state.outcome, error=unfit)
        return await self._pass_on(state.outcome.requirements)

    def _unfit(self, waits_for: Json) -> str | None:
        """Why the answer must not be passed on."""
        call = self._run.call
        shown = call.run.requirements
        if shown and not same_questions(shown, call.secrecy.blotter.json(waits_for)):
            return "the answer was not passed on: by now the run waits for something else"
        missing = missing_answers(waits_for, self._answers)
        return f"the answer was not passed on, it lacks: {'; '.join(missing)}" if missing else None

    async def _pass_on(self, waits_for: Json) -> Outcome:
        run, refusal = self._run, None
        run.lives_here = True
        try:
            reply = await self._send(waits_for)
        except NotConnected as error:
            run.lives_here = False
            return error.outcome()
        except (ConnectionBroken, NotHttp) as error:
            run.broke(error)
            refusal = str(error)
            await asyncio.sleep(run.patience.drain)  # it may have been taken all the same
        else:
            refusal = reply.refusal.error if reply.refusal else None
            if reply.outcome is not None:
                return await run.complete(reply.outcome)
        outcome = await run.conclude()
        untouched = outcome.kind is OutcomeKind.PAUSED and same_questions(waits_for, outcome.requirements)
        if untouched and not run.relay.has_begun_leg:
            said = refusal or run.relay.nameless_error or "nothing"
            return replace(outcome, error=f"the run still waits; to the answer AgentOS said: {said}")
        return outcome

    async def _send(self, waits_for: Json) -> _Reply:
        call, questions = self._run.call, self._run.questions
        owner = call.context.claim.schedule.user_id
        form = wire.continue_form(call.component, waits_for, self._answers, questions.session_id, owner)
        reply = await self._post({**form, "background": "true", "stream": "true"})
        if call.component is TargetType.WORKFLOW and reply.refusal and reply.refusal.status_code == 409:
            # In the background workflows go on only where AgentOS has a durable queue.
            if call.target.in_process:
                return await self._post({**form, "stream": "true"}, may_leave=False)
            return await self._post_unseen({**form, "stream": "false"})
        return reply

    async def _post(self, form: dict[str, str], *, may_leave: bool = True) -> _Reply:
        """`may_leave`: the run does not depend on this stream."""
        run = self._run

        async def read(answer: Answer) -> _Reply:
            run.status_code = answer.status
            if not 200 <= answer.status < 300:
                text, _ = await answer.text(ERROR_BODY_LIMIT_BYTES)
                return _Reply(refusal=refusing_answer(answer.status, answer.reason, answer.headers, text))
            if answer.media_type == "text/event-stream":
                run.relay.begin_leg()
                await run.relay.read(answer, patience_seconds=run.patience.idle if may_leave else None)
                return _Reply()
            text, _ = await answer.text(STATUS_LIMIT_BYTES)
            return _Reply(outcome=wire.outcome_of_status(json_object(text)))

        patience_seconds = run.patience.idle if form["stream"] == "true" else None
        return await run.exchange(run.questions.proceed(form), read, patience_seconds)

    async def _post_unseen(self, form: dict[str, str]) -> _Reply:
        """The answer comes with the end of the run; a connection that died without a word is noticed by asking."""
        posting = asyncio.create_task(self._post(form), name="agentclock-continue")
        try:
            while not (await asyncio.wait({posting}, timeout=self._run.patience.idle))[0]:
                outcome = (await self._run.questions.state()).outcome
                if outcome is not None and outcome.kind is not OutcomeKind.PAUSED:
                    return _Reply(outcome=outcome)
            return posting.result()
        finally:
            posting.cancel()
            await asyncio.gather(posting, return_exceptions=True)
