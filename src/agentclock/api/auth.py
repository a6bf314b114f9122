"""Who is asking, and what they may do. The rules themselves belong to the host: a `Guard`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Any, Final, Protocol, TypeAlias, runtime_checkable

from fastapi import Depends, Request
from fastapi.params import Depends as Dependency

from agentclock.core.actors import Actor
from agentclock.core.errors import Forbidden
from agentclock.core.model import Instant, Target


class Permission(StrEnum):
    """What a route asks for."""

    READ = "schedules:read"
    WRITE = "schedules:write"
    DELETE = "schedules:delete"
    CANCEL = "runs:cancel"
    APPROVE = "runs:approve"
    ADMIN = "agent_os:admin"


#: The scopes of which each one is enough. Who may write schedules may also end and answer their runs.
SCOPES: Final[Mapping[Permission, tuple[str, ...]]] = {
    Permission.READ: (Permission.READ,),
    Permission.WRITE: (Permission.WRITE,),
    Permission.DELETE: (Permission.DELETE,),
    Permission.CANCEL: (Permission.CANCEL, Permission.WRITE),
    Permission.APPROVE: (Permission.APPROVE, Permission.WRITE),
    Permission.ADMIN: (Permission.ADMIN,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """`user_id`: the owner to whose rows the caller is confined, None: not confined. `owner`: whom new schedules of
    the caller belong to. `name`: whom records name. `source`: the address that the request came from."""

    user_id: str | None = None
    owner: str | None = None
    name: str | None = None
    source: str | None = None

    @property
    def actor(self) -> Actor:
        return Actor(self.name, self.source)


class Mode(StrEnum):
    """How callers show who they are. OPEN: nobody is asked. HOST: as the app says that agentclock lives in."""

    OPEN = "open"
    KEY = "key"
    TOKEN = "token"
    KEY_OR_TOKEN = "key_or_token"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Who a caller is found to be. `is_known`: the caller has shown it, or need not. `expires_at`: until when what was
    shown is good, None: nobody knows, or for ever."""

    mode: Mode
    is_known: bool = False
    name: str | None = None
    user_id: str | None = None
    may: tuple[Permission, ...] = ()
    expires_at: Instant | None = None


class Guard(Protocol):
    """Real: OpenGuard (everybody may do everything), TokenGuard (keys and tokens of our own), AgnoGuard (the rules of
    the AgentOS that hosts us)."""

    async def admit(self, request: Request, permission: Permission) -> Caller:
        """Raises Unauthenticated, Forbidden."""

    async def may_call(self, request: Request, target: Target) -> None:
        """Whether the caller may have this target called. Raises Forbidden."""


@runtime_checkable
class Doorkeeper(Protocol):
    """A guard that can say more of a caller than whether a single thing is allowed. All guards of ours are."""

    async def about(self, request: Request) -> Standing:
        """Who calls, also if that is nobody. Raises Unauthenticated for credentials that are not good."""

    async def could_call(self, request: Request, target: Target) -> bool:
        """As `Guard.may_call`, of a caller who is admitted and does not try it: nothing is put on record."""


class OpenGuard:
    async def admit(self, request: Request, permission: Permission) -> Caller:
        return Caller()

    async def about(self, request: Request) -> Standing:
        return Standing(mode=Mode.OPEN, is_known=True, may=tuple(Permission))

    async def may_call(self, request: Request, target: Target) -> None:
        """Everybody may."""

    async def could_call(self, request: Request, target: Target) -> bool:
        return True


async def could_call(guard: Guard, request: Request, target: Target) -> bool:
    if isinstance(guard, Doorkeeper):
        return await guard.could_call(request, target)
    try:
        await guard.may_call(request, target)
    except Forbidden:
        return False
    return True


_CALLER: Final = "agentclock.caller"


@dataclass(frozen=True, slots=True, eq=False)
class Admission:
    """A route's dependency: the guard's word on who calls and whether they may. Asked once a request."""

    guard: Guard
    permission: Permission

    @property
    def __globals__(self) -> dict[str, Any]:
        """Where older releases of FastAPI look up what annotations name; objects that are called have none."""
        return globals()

    async def __call__(self, request: Request) -> None:
        if _CALLER not in request.scope:
            caller = await self.guard.admit(request, self.permission)
            request.scope[_CALLER] = replace(caller, source=request.client.host if request.client else None)


def admission_of(dependencies: Sequence[Dependency]) -> Admission | None:
    """The admission among a route's dependencies."""
    found = (one.dependency for one in dependencies)
    return next((one for one in found if isinstance(one, Admission)), None)


async def _admitted(request: Request) -> Caller:
    caller: Caller = request.scope[_CALLER]
    return caller


TheCaller: TypeAlias = Annotated[Caller, Depends(_admitted)]
