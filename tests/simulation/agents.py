"""Agents that live outside of the workers that watch them, as on an AgentOS."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from agentclock.core.model import Claim, Instruction, InstructionKind, Outcome, OutcomeKind, Run
from agentclock.ports import RunContext, Said
from agentclock.testing import FakeClock, ScriptedExecutor

REFUSED = Outcome(kind=OutcomeKind.REFUSED, error="connection refused")
CANCELLED = Outcome(kind=OutcomeKind.CANCELLED, error="cancelled")


@dataclass(slots=True, kw_only=True)
class Agent:
    """One agent run. It says a word every `pace_ms`; after `pause_after` of them it waits for a human (None: never)."""

    id: str
    words: int
    pace_ms: int
    outcome: Outcome
    pause_after: int | None
    since: int
    said_before: int = 0
    cancelled: bool = False
    answers: int = 0

    def said(self, now: int) -> int:
        if self.cancelled:
            return self.said_before
        said = self.said_before + max(0, now - self.since) // self.pace_ms
        return min(said, self.words if self.pause_after is None else self.pause_after)

    def is_paused(self, now: int) -> bool:
        return not self.cancelled and self.pause_after is not None and self.said(now) == self.pause_after

    def is_over(self, now: int) -> bool:
        return self.cancelled or (self.pause_after is None and self.said(now) == self.words)

    def go_on(self, now: int) -> None:
        assert self.is_paused(now), "an answer to an agent that asked nothing"
        self.said_before, self.since, self.pause_after = self.said(now), now, None
        self.answers += 1

    def cancel(self, now: int) -> None:
        self.said_before, self.cancelled = self.said(now), True


@dataclass(slots=True)
class Host:
    """Where the agents live. They are what their seed makes of them, in whatever order things happen."""

    seed: int
    clock: FakeClock
    away: bool = False
    agents: dict[str, Agent] = field(default_factory=dict)

    @property
    def now(self) -> int:
        """The host's clock, in milliseconds: nobody sets it."""
        return round(self.clock.monotonic() * 1000)

    def start(self, run: Run) -> Agent:
        now, chance = self.now, random.Random(f"{self.seed} {run.id} {run.attempt}")
        earlier = [agent for agent in self.of(run) if not agent.is_over(now)]
        assert not earlier, "an agent was started beside an earlier one of the same run"
        agent_id = f"{run.id}/{run.attempt}"
        assert agent_id not in self.agents, "an attempt started two agents"
        words = chance.choice((1, 3, 40))
        agent = Agent(
            id=agent_id,
            words=words,
            pace_ms=chance.choice((1, 500, 5_000)),
            outcome=chance.choice(
                (
                    Outcome(kind=OutcomeKind.SUCCESS, output={"content": "done", "content_type": "text/plain"}),
                    Outcome(kind=OutcomeKind.FAILED, retryable=True, error="the agent failed"),
                )
            ),
            pause_after=chance.choice((None, None, words // 2)),
            since=now,
        )
        self.agents[agent_id] = agent
        return agent

    def of(self, run: Run) -> list[Agent]:
        """The agents of all its attempts, in order."""
        ids = (f"{run.id}/{number}" for number in range(1, run.attempt + 1))
        return [self.agents[agent_id] for agent_id in ids if agent_id in self.agents]


class AgentExecutor(ScriptedExecutor):
    """Starts agents at the host and watches them until they are over; plain calls go by the script."""

    def __init__(self, host: Host, script: Callable[[RunContext], Outcome]) -> None:
        super().__init__(script, attachable=lambda claim: claim.run.agent_run_id is not None)
        self._host = host
        self._watching = 0

    @property
    def running(self) -> int:
        return super().running + self._watching

    async def execute(self, context: RunContext) -> Outcome:
        run = context.claim.run
        if context.claim.schedule.target.component is None:
            return await super().execute(context)
        if self._host.away:
            return REFUSED
        now = self._host.now
        if run.instruction is None:
            agent = self._host.start(run)
            await context.note_agent_run(agent.id, "session")
        else:
            agent = self._host.agents[run.agent_run_id or ""]
            if run.instruction.kind is InstructionKind.CANCEL and not agent.is_over(now):
                agent.cancel(now)
                return _ended_as(run.instruction)
            if run.instruction.kind is InstructionKind.CONTINUE and agent.is_paused(now):
                agent.go_on(now)
        return await self._watch(context, agent)

    async def has_moved_on(self, claim: Claim) -> bool:
        agent = self._host.agents[claim.run.agent_run_id or ""]
        return not self._host.away and not agent.is_paused(self._host.now)

    async def _watch(self, context: RunContext, agent: Agent) -> Outcome:
        heard = 0 if context.seen_index is None else context.seen_index + 1
        while True:
            now = self._host.now
            while heard < agent.said(now):
                context.emit(Said(type="RunContent", data={"content": f"{heard} "}, index=heard, is_text=True))
                heard += 1
            if agent.is_over(now):
                return CANCELLED if agent.cancelled else agent.outcome
            if context.cancelled.is_set():
                agent.cancel(now)
                return CANCELLED
            if agent.is_paused(now):
                return Outcome(kind=OutcomeKind.PAUSED, requirements=[{"id": agent.id}])
            if context.stopping.is_set():
                return Outcome(kind=OutcomeKind.DETACHED)
            await self._something_happens(context, agent)

    async def _something_happens(self, context: RunContext, agent: Agent) -> None:
        self._watching += 1
        waits = (self._host.clock.sleep(agent.pace_ms / 1000), context.cancelled.wait(), context.stopping.wait())
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._watching -= 1
            for task in tasks:
                task.cancel()


def _ended_as(instruction: Instruction) -> Outcome:
    return Outcome(kind=OutcomeKind(instruction.ends_as.value), error=instruction.why)
