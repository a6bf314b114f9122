"""Who is asking, and what they may do. The rules themselves belong to the host: a `Guard`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from fastapi import Request

from agentclock.core.model import Target


class Permission(StrEnum):
    """What a route asks for."""

    READ = "schedules:read"
    WRITE = "schedules:write"
    DELETE = "schedules:delete"
    CANCEL = "runs:cancel"
    APPROVE = "runs:approve"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """`user_id`: the owner to whose rows the caller is confined, None: not confined. `owner`: whom new schedules of
    the caller belong to. `name`: whom records name."""

    user_id: str | None = None
    owner: str | None = None
    name: str | None = None


class Guard(Protocol):
    """Real: OpenGuard (everybody may do everything), AgnoGuard (the rules of the AgentOS that hosts us)."""

    async def admit(self, request: Request, permission: Permission) -> Caller:
        """Raises Unauthenticated, Forbidden."""

    async def may_call(self, request: Request, target: Target) -> None:
        """Whether the caller may have this target called. Raises Forbidden."""


class OpenGuard:
    async def admit(self, request: Request, permission: Permission) -> Caller:
        return Caller()

    async def may_call(self, request: Request, target: Target) -> None:
        """Everybody may."""
