"""Scopes: what a token allows, in AgentOS's words (`resource:action`, `resource:<id>:action`, `resource:*:action`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from agentclock.core.model import Target

ADMIN: Final = "agent_os:admin"


def permits(scopes: Iterable[str], wanted: str) -> bool:
    """Whether one of `scopes` is enough for `wanted`.

    The rules are AgentOS's: the admin scope is enough for everything; `agents:run` and `agents:*:run` are enough for
    `agents:greeter:run`, never the other way round. What is no scope allows nothing.
    """
    resource, wanted_id, action = _parts(wanted)
    for scope in scopes:
        if scope == ADMIN:
            return True
        held = _parts(scope)
        if held[0] and (held[0], held[2]) == (resource, action) and held[1] in ("", "*", wanted_id or "*"):
            return True
    return False


def scope_to_call(target: Target, *, is_agentos: bool) -> str:
    """The scope that having `target` called asks for: of an agent, team or workflow its run scope, of everything else
    `targets:<name>:call`, which no token of AgentOS has but an admin's. An endpoint that is a URL is for admins."""
    if not target.endpoint.startswith("/"):
        return ADMIN
    if is_agentos and target.component is not None:
        kind, component_id = target.component
        return f"{kind}s:{component_id}:run"
    return f"targets:{target.name}:call"


def _parts(scope: str) -> tuple[str, str, str]:
    """Resource, id (empty: none) and action; three empty ones for what is no scope."""
    parts = scope.split(":")
    if not all(parts) or len(parts) not in (2, 3):
        return "", "", ""
    return (parts[0], "", parts[1]) if len(parts) == 2 else (parts[0], parts[1], parts[2])
