"""What is called: agents that live on without the worker that watches them, and plain endpoints. They belong to the
world, not to any process, and remember every request that they accepted."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.simulation.plan import Plan

from agentclock.core.model import Claim, Outcome, OutcomeKind, Run

REFUSED: Final = Outcome(kind=OutcomeKind.REFUSED, error="connection refused")
CANCELLED: Final = Outcome(kind=OutcomeKind.CANCELLED, error="cancelled")
BROKEN: Final = Outcome(kind=OutcomeKind.LOST, error="the connection broke before the answer was there")
#: An agent in these words waits for a human, now and then.
_WORDS: Final = (1, 3, 40)


@dataclass(slots=True, kw_only=True)
class Agent:
    """One agent run. It says a word every `pace_us`; after `pause_after` of them it waits for a human (None: never)."""

    id: str
    words: int
    pace_us: int
    outcome: Outcome
    pause_after: int | None
    since_us: int
    said_before: int = 0
    cancelled: bool = False

    def said(self, now_us: int) -> int:
        if self.cancelled:
            return self.said_before
        said = self.said_before + max(0, now_us - self.since_us) // self.pace_us
        return min(said, self.words if self.pause_after is None else self.pause_after)

    def is_paused(self, now_us: int) -> bool:
        return not self.cancelled and self.pause_after is not None and self.said(now_us) == self.pause_after

    def is_over(self, now_us: int) -> bool:
        return self.cancelled or (self.pause_after is None and self.said(now_us) == self.words)

    def over_since_us(self) -> int:
        """When the last word was said, for one that is over."""
        return self.since_us if self.cancelled else self.since_us + (self.words - self.said_before) * self.pace_us

    def go_on(self, now_us: int) -> None:
        self.said_before, self.since_us, self.pause_after = self.said(now_us), now_us, None

    def cancel(self, now_us: int) -> None:
        self.said_before, self.since_us, self.cancelled = self.said(now_us), now_us, True


@dataclass(slots=True, kw_only=True)
class Call:
    """One request that a plain endpoint accepted: what it does, until when. It does not notice that nobody listens."""

    run_id: str
    attempt: int
    #: The number in the key under which it was sent.
    delivery: int
    outcome: Outcome
    until_us: int


@dataclass(slots=True)
class Targets:
    """They do what the seed makes of run and attempt, in whatever order things happen. `violate` hears of starts that
    must not be."""

    seed: int
    plan: Plan
    now_us: Callable[[], int]
    violate: Callable[[str], None]
    away: bool = False
    agents: dict[str, Agent] = field(default_factory=dict)
    calls: dict[str, list[Call]] = field(default_factory=dict)
    starts: int = 0
    #: How many workers have a run in hand now.
    in_hand: Counter[str] = field(default_factory=Counter)
    #: The ends of attempts whose truth the worker learnt, by run and attempt.
    heard: dict[tuple[str, int], OutcomeKind] = field(default_factory=dict)

    def chance(self, run: Run, what: str = "") -> random.Random:
        return random.Random(f"{self.seed} {run.id} {run.attempt} {run.refusals} {what}")

    def draw(self, run: Run) -> Outcome:
        """How a request of this attempt ends if nothing else happens to it."""
        weights = self.plan.faults.targets.model_dump()
        [fate] = self.chance(run, "fate").choices(list(weights), list(weights.values()))
        return _OUTCOMES[fate]

    def start_agent(self, claim: Claim) -> Agent:
        run, chance, now_us = claim.run, self.chance(claim.run), self.now_us()
        self._accept(claim, [agent.id for agent in self.agents_of(run) if not agent.is_over(now_us)])
        words = chance.choice(_WORDS)
        outcome = self.draw(run)
        agent = Agent(
            id=agent_id(run),
            words=words,
            pace_us=1_000 * chance.choice((1, 500, 5_000)),
            outcome=outcome if outcome.kind in (OutcomeKind.SUCCESS, OutcomeKind.FAILED) else _OUTCOMES["server_error"],
            pause_after=chance.choice((None, None, words // 2)),
            since_us=now_us,
        )
        self.agents[agent.id] = agent
        return agent

    def start_call(self, claim: Claim, delivery: int) -> Call:
        run, now_us = claim.run, self.now_us()
        earlier = self.calls.setdefault(run.id, [])
        self._accept(claim, [f"{run.id}/{call.attempt}" for call in earlier if call.until_us > now_us])
        seconds = self.chance(run, "length").choice(self.plan.schedules.run_seconds)
        call = Call(
            run_id=run.id,
            attempt=run.attempt,
            delivery=delivery or run.attempt,
            outcome=self.draw(run),
            until_us=now_us + round(seconds * 1_000_000),
        )
        earlier.append(call)
        return call

    def agents_of(self, run: Run) -> list[Agent]:
        """The agents of all its attempts, in order."""
        ids = (f"{run.id}/{number}" for number in range(1, run.attempt + 1))
        return [self.agents[id_] for id_ in ids if id_ in self.agents]

    def starts_of(self, run: Run) -> list[int]:
        """The numbers of the attempts that reached the target."""
        calls = [call.attempt for call in self.calls.get(run.id, ())]
        return calls + [int(agent.id.rpartition("/")[2]) for agent in self.agents_of(run)]

    def is_at_work(self, run: Run, slack_us: int) -> bool:
        """Whether somebody has this attempt in hand, or its target works on it, or did `slack_us` ago."""
        if self.in_hand[run.id]:
            return True
        horizon = self.now_us() - slack_us
        agent = self.agents.get(agent_id(run))
        if agent is not None:
            return not agent.is_over(self.now_us()) or agent.over_since_us() > horizon
        return any(call.attempt == run.attempt and call.until_us > horizon for call in self.calls.get(run.id, ()))

    def _accept(self, claim: Claim, alive: list[str]) -> None:
        run, schedule = claim.run, claim.schedule
        self.starts += 1
        made = self.starts_of(run)
        if run.attempt in made:
            self.violate(f"attempt {run.attempt} of run {run.id} was started twice")
        if len(made) >= 1 + schedule.retry.max_retries:
            allowed = f"{schedule.retry.max_retries} retries allowed"
            self.violate(f"run {run.id} was started {len(made) + 1} times, {allowed}")
        if alive and not schedule.retries_lost:
            self.violate(f"attempt {run.attempt} of run {run.id} was started beside {', '.join(alive)}")


def agent_id(run: Run) -> str:
    """Known before the request is sent, as AgentOS's is."""
    return f"{run.id}/{run.attempt}"


_OUTCOMES: Final = {
    "success": Outcome(
        kind=OutcomeKind.SUCCESS, status_code=200, output={"content": "done", "content_type": "text/plain"}
    ),
    "server_error": Outcome(kind=OutcomeKind.FAILED, retryable=True, status_code=503, error="503"),
    "client_error": Outcome(kind=OutcomeKind.FAILED, status_code=404, error="404"),
    "timeout": Outcome(kind=OutcomeKind.TIMEOUT, error="too slow"),
    "refused": REFUSED,
    "broken": BROKEN,
}
