"""What can be called: the configured targets, and what an AgentOS among them has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from fastapi import Request
from pydantic import BaseModel, Field

from agentclock.api.auth import Caller, Guard, TheCaller, could_call
from agentclock.api.parameters import TargetName
from agentclock.core.errors import NotFound
from agentclock.core.model import Target as CalledTarget
from agentclock.core.model import TargetType
from agentclock.ports import Components


async def _nothing(_: str) -> Components:
    return Components(trouble="nobody can ask it here")


class Target(BaseModel):
    """A named base URL."""

    name: str
    kind: str = Field(description="`agentos`: run endpoints are followed as agent runs; `http`: any endpoint.")
    in_process: bool = Field(description="Whether it is the app in whose process agentclock lives.")


class TargetList(BaseModel):
    data: list[Target] = Field(description="By name.")


class Component(BaseModel):
    """An agent, team or workflow of an AgentOS."""

    type: TargetType
    id: str
    name: str
    description: str | None
    endpoint: str = Field(description="What a schedule of it has for its endpoint.")


class ComponentList(BaseModel):
    data: list[Component] = Field(description="Only what the caller may have called.")
    trouble: str | None = Field(description="Why there is not more; null: this is all.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetDesk:
    """`targets`: those of the settings. `ask`: what one of them has; never raises."""

    targets: Sequence[Target] = ()
    ask: Callable[[str], Awaitable[Components]] = _nothing


class TargetRoutes:
    def __init__(self, desk: TargetDesk, guard: Guard) -> None:
        self._desk = desk
        self._guard = guard

    async def list_targets(self) -> TargetList:
        """What schedules can name as their target."""
        return TargetList(data=sorted(self._desk.targets, key=lambda target: target.name))

    async def list_target_components(self, name: TargetName, request: Request, caller: TheCaller) -> ComponentList:
        """The agents, teams and workflows of an AgentOS that the caller may have called, as it says itself; its answer
        is kept for 30 seconds. What it does not answer is told as `trouble`."""
        if not any(target.name == name for target in self._desk.targets):
            raise NotFound("Target")
        components = await self._desk.ask(name)
        shown = [
            Component(type=one.type, id=one.id, name=one.name, description=one.description, endpoint=one.endpoint)
            for one in components.found
            if await self._is_callable(name, one.endpoint, request, caller)
        ]
        return ComponentList(data=shown, trouble=components.trouble)

    async def _is_callable(self, name: str, endpoint: str, request: Request, caller: Caller) -> bool:
        return caller.user_id is None or await could_call(
            self._guard, request, CalledTarget(name=name, method="POST", endpoint=endpoint)
        )
