"""Runs of agents, teams and workflows, within their limits: what the rest of the package calls."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, assert_never

from agentclock.core.model import Claim, InstructionKind, Json, Outcome, OutcomeKind, RunStatus, TargetType
from agentclock.executor.agent_answer import Continuation
from agentclock.executor.agent_questions import Patience
from agentclock.executor.agent_run import AgentRun, Call
from agentclock.executor.agno_usage import usage_from
from agentclock.executor.blotting import Blotter
from agentclock.executor.outcomes import output_of
from agentclock.executor.secrecy import Secrecy
from agentclock.executor.supervision import supervised
from agentclock.executor.targets import TargetSettings
from agentclock.executor.transport import Transport
from agentclock.ports import RunContext

__all__ = ["AgentOSExecutor", "Patience"]


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

    async def execute(
        self, target: TargetSettings, component: TargetType, context: RunContext, secrecy: Secrecy
    ) -> Outcome:
        """Starts an agent run, or follows the instruction for one that has begun."""
        run = self._run(target, component, context, secrecy)
        if isinstance(run, str):
            return Outcome(kind=OutcomeKind.FAILED, error=run)
        instruction = context.claim.run.instruction
        if instruction is not None:
            await secrecy.recall(target)
        is_end = instruction is not None and instruction.kind is InstructionKind.CANCEL
        try:
            outcome = await supervised(_work(run), context, run.silence, timed=not is_end)
            if isinstance(outcome, OutcomeKind):
                outcome = await _stopped(run, outcome)
        finally:
            run.relay.close()
        return self._presentable(outcome, run, secrecy.blotter)

    def can_attach(self, target: TargetSettings, claim: Claim) -> bool:
        """Always, as far as anybody can tell: AgentOS keeps runs going, and stores what became of them."""
        is_run = target.kind == "agentos" and claim.schedule.target.component is not None
        return is_run and claim.run.attempt > 0

    async def has_moved_on(self, target: TargetSettings, claim: Claim, secrecy: Secrecy) -> bool:
        """One question. True as well if AgentOS does not know the run any more: there is nothing left to answer."""
        component = claim.schedule.target.component
        if component is None:
            return False
        context = RunContext(claim=claim, emit=_ignore, note_agent_run=_note_nothing)
        run = self._run(target, component[0], context, secrecy)
        if isinstance(run, str):
            return False
        state = await run.questions.state()
        if state.code == 200:
            return state.outcome is None or state.outcome.kind is not OutcomeKind.PAUSED
        return state.code == 404

    def _run(
        self, target: TargetSettings, component: TargetType, context: RunContext, secrecy: Secrecy
    ) -> AgentRun | str:
        """The run, or why there can be none."""
        called = context.claim.schedule.target
        if not isinstance(called.payload, dict | None):
            return "the payload of an agent run must be a JSON object"
        try:
            url = target.url_for(called.endpoint)
        except ValueError as error:
            return str(error)
        payload = called.payload or {}
        call = Call(target=target, component=component, url=url, payload=payload, context=context, secrecy=secrecy)
        return AgentRun(self._streams, self._questions, self._patience, call)

    def _presentable(self, outcome: Outcome, run: AgentRun, blotter: Blotter) -> Outcome:
        output, stored = outcome.output or {}, run.call.run
        has_begun = stored.instruction is not None
        # Whoever takes the run up must not believe AgentOS to have it because we hoped so.
        has_ids = run.is_accepted if outcome.kind is OutcomeKind.DETACHED else run.maybe_started
        content, content_type = blotter.json(output.get("content")), blotter.json(output.get("content_type"))
        metrics = run.relay.tally.metrics(outcome.metrics)
        return replace(
            outcome,
            status_code=outcome.status_code or run.status_code or (stored.status_code if has_begun else None),
            agent_run_id=run.questions.run_id if has_ids else None,
            session_id=run.questions.session_id if has_ids else None,
            error=blotter.error(outcome.error) if outcome.error else None,
            input=blotter.json(stored.input if has_begun and stored.input is not None else run.input),
            output=output_of(content, content_type, self._cap_bytes),
            requirements=blotter.json(outcome.requirements),
            metrics=blotter.json(metrics),
            usage=usage_from(blotter.json(metrics)),
        )


def _work(run: AgentRun) -> Coroutine[Any, Any, Outcome]:
    instruction = run.call.run.instruction
    if instruction is None:
        return run.start()
    match instruction.kind:
        case InstructionKind.ATTACH:
            return run.follow(state_first=True)
        case InstructionKind.CONTINUE:
            return Continuation(run, instruction.answers).carry_out()
        case InstructionKind.CANCEL:
            kind = OutcomeKind.FAILED if instruction.ends_as is RunStatus.FAILED else OutcomeKind.CANCELLED
            return run.stop(kind, instruction.why or "cancelled")
        case _ as never:
            assert_never(never)


async def _stopped(run: AgentRun, reason: OutcomeKind) -> Outcome:
    """What becomes of a run that reached one of its limits: never does an agent go on that nobody watches."""
    schedule = run.call.context.claim.schedule
    match reason:
        case OutcomeKind.LOST:
            return await _left(run)
        case OutcomeKind.TIMEOUT if run.silence.broken:
            return await run.stop(reason, f"no event for {run.silence.seconds:g} s")
        case OutcomeKind.TIMEOUT:
            return await run.stop(reason, f"no end within {schedule.timeout_seconds} s")
        case _:
            return await run.stop(reason, "cancelled")


async def _left(run: AgentRun) -> Outcome:
    """The worker stops. Elsewhere the agent goes on, here it does not."""
    if not run.maybe_started:
        return Outcome(kind=OutcomeKind.REFUSED, retryable=True, error="the worker was stopped before the run began")
    if run.call.target.in_process and run.lives_here:
        why = "the process that hosts the agent was stopped"
        return await run.stop(OutcomeKind.LOST, why, run.patience.parting)
    return Outcome(kind=OutcomeKind.DETACHED)


def _ignore(_said: Json) -> None:
    """Nothing is said by a run that is only asked about."""


async def _note_nothing(_agent_run_id: str | None, _session_id: str | None) -> None:
    """Nor has it any news of its ids."""
