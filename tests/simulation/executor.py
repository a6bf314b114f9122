"""How a simulated worker speaks to targets, with the manners of the real executors: it starts, follows, continues and
stops, and never sends again what may have been accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from tests.simulation.targets import CANCELLED, REFUSED, Agent, Call, Targets, agent_id

from agentclock.core.model import Claim, InstructionKind, Outcome, OutcomeKind
from agentclock.ports import RunContext, Said

#: How long an agent run is looked for that nobody seems to know.
LOOKING_SECONDS: Final = 30
LOOKS: Final = 6
LET_GO: Final = Outcome(kind=OutcomeKind.LOST, error="the worker stops")


class SimulatedExecutor:
    """Implements `ports.Executor`. `elapsed`: until so many microseconds have passed in the world, whatever this
    process's own clocks say; what a target does goes by that."""

    def __init__(self, targets: Targets, elapsed: Callable[[int], Awaitable[None]]) -> None:
        self._targets = targets
        self._elapsed = elapsed

    async def execute(self, context: RunContext) -> Outcome:
        run = context.claim.run
        self._targets.in_hand[run.id] += 1
        try:
            outcome = await self._execute(context)
        finally:
            self._targets.in_hand[run.id] -= 1
        if outcome.kind in (OutcomeKind.SUCCESS, OutcomeKind.FAILED):
            self._targets.heard[run.id, run.attempt] = outcome.kind
        return outcome

    async def _execute(self, context: RunContext) -> Outcome:
        run = context.claim.run
        await asyncio.sleep(self._targets.chance(run, "latency").uniform(0, 0.05))
        if self._targets.away:
            return REFUSED
        is_plain = context.claim.schedule.target.component is None
        return await (self._call(context) if is_plain else self._converse(context))

    def can_attach(self, claim: Claim) -> bool:
        return claim.schedule.target.component is not None

    async def has_moved_on(self, claim: Claim) -> bool:
        agent = self._targets.agents.get(agent_id(claim.run))
        return not self._targets.away and agent is not None and not agent.is_paused(self._targets.now_us())

    async def close(self) -> None: ...

    # plain endpoints

    async def _call(self, context: RunContext) -> Outcome:
        if self._targets.draw(context.claim.run).kind is OutcomeKind.REFUSED:
            return REFUSED
        if context.cancelled.is_set():
            return CANCELLED
        call = self._targets.start_call(context.claim, context.delivery)
        return await self._answer(context, call)

    async def _answer(self, context: RunContext, call: Call) -> Outcome:
        answered = self._elapsed(call.until_us - self._targets.now_us())
        await _first_of(context, answered, asyncio.sleep(context.claim.schedule.timeout_seconds))
        if context.cancelled.is_set():
            return self._hung_up(call, CANCELLED)
        if context.stopping.is_set():
            return LET_GO
        if self._targets.now_us() < call.until_us:
            return self._hung_up(call, Outcome(kind=OutcomeKind.TIMEOUT, error="too slow"))
        return call.outcome

    def _hung_up(self, call: Call, outcome: Outcome) -> Outcome:
        """The endpoint notices that its caller is gone, and stops."""
        call.until_us = min(call.until_us, self._targets.now_us())
        return outcome

    # agents

    async def _converse(self, context: RunContext) -> Outcome:
        run, instruction = context.claim.run, context.claim.run.instruction
        if instruction is None:
            return await self._start(context)
        agent = await self._find(context)
        if agent is None:
            return Outcome(kind=OutcomeKind.LOST, error="nobody knows of the agent run")
        now_us = self._targets.now_us()
        if instruction.kind is InstructionKind.CANCEL and not agent.is_over(now_us):
            agent.cancel(now_us)
            return Outcome(kind=OutcomeKind(instruction.ends_as.value), error=instruction.why)
        if instruction.kind is InstructionKind.CONTINUE and agent.is_paused(now_us):
            agent.go_on(now_us)
        await context.note_agent_run(agent.id, f"session of {run.id}")
        return await self._watch(context, agent)

    async def _start(self, context: RunContext) -> Outcome:
        run = context.claim.run
        if self._targets.draw(run).kind is OutcomeKind.REFUSED:
            return REFUSED
        if context.cancelled.is_set():
            return CANCELLED
        agent = self._targets.start_agent(context.claim)
        await context.note_agent_run(agent.id, f"session of {run.id}")
        return await self._watch(context, agent)

    async def _find(self, context: RunContext) -> Agent | None:
        for _ in range(LOOKS):
            agent = self._targets.agents.get(agent_id(context.claim.run))
            if agent is not None or context.stopping.is_set():
                return agent
            await _first_of(context, asyncio.sleep(LOOKING_SECONDS / LOOKS))
        return None

    async def _watch(self, context: RunContext, agent: Agent) -> Outcome:
        heard = 0 if context.seen_index is None else context.seen_index + 1
        while True:
            now_us = self._targets.now_us()
            while heard < agent.said(now_us):
                context.emit(Said(type="RunContent", data={"content": f"{heard} "}, index=heard, is_text=True))
                heard += 1
            if agent.is_over(now_us):
                return CANCELLED if agent.cancelled else agent.outcome
            if context.cancelled.is_set():
                agent.cancel(now_us)
                return CANCELLED
            if agent.is_paused(now_us):
                return Outcome(kind=OutcomeKind.PAUSED, requirements=[{"id": agent.id}])
            if context.stopping.is_set():
                return Outcome(kind=OutcomeKind.DETACHED)
            await _first_of(context, self._elapsed(agent.pace_us))


async def _first_of(context: RunContext, *waits: Awaitable[object]) -> None:
    """Until one of `waits` is over, or somebody wants the attempt to end."""
    tasks = [asyncio.ensure_future(wait) for wait in (*waits, context.cancelled.wait(), context.stopping.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
