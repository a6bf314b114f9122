"""Answers of the database in few words, for the trace of a simulation."""

from __future__ import annotations

from typing import Any

from agentclock.core.model import Claim, Run
from agentclock.ports import Claimed, EventCursor, Fired


def summary(result: Any) -> str:
    """What a difference between two simulations would show in. No word of it depends on the order of a set."""
    match result:
        case Fired():
            runs = [(run.id, run.status.value, run.available_at) for run in result.runs]
            return f"{runs} {_claims(result.claims)} {len(result.absences)} {result.next_due_ms}"
        case Claimed():
            return f"{_claims(result.claims)} {result.next_available_ms}"
        case Run():
            return f"{result.id} {result.status.value} {result.fence}"
        case EventCursor():
            return f"{result.seq}"
        case frozenset() | set():
            return f"{sorted(result)}"
        case [*claims] if claims and all(isinstance(claim, Claim) for claim in claims):
            return _claims(claims)
        case None | bool() | int() | str():
            return f"{result}"
        case _:
            return type(result).__name__


def _claims(claims: Any) -> str:
    return f"{[(claim.run.id, claim.run.fence, claim.run.attempt) for claim in claims]}"
