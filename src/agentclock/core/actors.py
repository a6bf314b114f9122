"""Who does something, as records tell it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """`name`: a person's id, a key's name, or the part of agentclock that acts by itself; None: nobody said.

    `source`: where the request came from (an IP address, "cli"), None: from within. `reason`: why, as they say.
    """

    name: str | None = None
    source: str | None = None
    reason: str | None = None


def name_of(actor: Actor | None) -> str | None:
    return None if actor is None else actor.name
