"""What makes attempts, and what it may ask of its worker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from agentclock.core.model import Claim, Json, Outcome, TargetType


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One event of an agent's stream. `index`: the framework's own number of it within the agent run.

    `is_text`: a piece of text in `data["content"]`; neighbours of the same `type` and `speaker` may be put together
    by joining it.
    """

    type: str
    data: Json
    index: int | None = None
    is_text: bool = False
    speaker: str | None = None


@dataclass(slots=True, kw_only=True)
class RunContext:
    """What a running attempt may ask of its worker.

    `seen_index`: the number of the last event of the attempt's agent run that is on record (from earlier workers).
    `delivery`: the number of the attempt that first sent this request. Greater than 0 and less than the attempt's own
    where the ends of the attempts in between are unknown: the target may have done the work, and can tell by the key.
    0: as the attempt's own.
    """

    claim: Claim
    #: Relays one event of the agent's stream; never blocks.
    emit: Callable[[Said], None]
    #: Stores the agent's run id and session id; raises LeaseLost when the run is no longer ours.
    note_agent_run: Callable[[str | None, str | None], Awaitable[None]]
    seen_index: int | None = None
    delivery: int = 0
    #: Whether targets are to keep what they trace of this run, as far as it is for us to say.
    is_sampled: bool = True
    #: Set when somebody wants the run cancelled.
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    #: Set when this worker stops and will wait no longer.
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


class Permits(Protocol):
    """Whether owners still may have their targets called, asked just before a request leaves.

    Real: OwnerPermits (by the scopes of the owners' tokens), AgnoPermits (by the rules of the AgentOS that hosts us).
    """

    async def refusal(self, claim: Claim) -> str | None:
        """Why the schedule must not be run for its owner (any more), None: it may be. Raises StoreUnavailable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """An agent, team or workflow of an AgentOS. `endpoint`: where it is run."""

    type: TargetType
    id: str
    name: str
    description: str | None
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """What a target has. `trouble`: why there is not more, None: this is all."""

    found: tuple[Component, ...] = ()
    trouble: str | None = None


class Executor(Protocol):
    """Makes one attempt. Real: HttpExecutor, AgentOSExecutor (and a chooser of both); tests: ScriptedExecutor.

    Never raises for what a target does: every ending is an Outcome. Enforces the schedule's timeouts itself and
    cancels the agent before it answers TIMEOUT or CANCELLED. Once `stopping` is set it answers soon: DETACHED where
    the agent goes on without us, LOST where nobody will know. asyncio.CancelledError: it took too long.
    """

    async def execute(self, context: RunContext) -> Outcome:
        """Starts an attempt, or follows the run's instruction."""

    def can_attach(self, claim: Claim) -> bool:
        """Whether the agent of this run may be alive without the worker that started it, and can be found again."""

    async def has_moved_on(self, claim: Claim) -> bool:
        """Whether the agent run of this paused run is paused no more: somebody answered it elsewhere."""

    async def close(self) -> None: ...
