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
            text = f"{runs} {_claims(result.claims)} {len(result.absences)} {result.next_due_ms}"
        case Claimed():
            text = f"{_claims(result.claims)} {result.next_available_ms}"
        case Run():
            text = f"{result.id} {result.status.value} {result.fence}"
        case EventCursor():
            text = f"{result.seq}"
        case frozenset() | set():
            text = f"{sorted(result)}"
        case [*claims] if claims and all(isinstance(claim, Claim) for claim in claims):
            text = _claims(claims)
        case None | bool() | int() | str():
            text = f"{result}"
        case _:
            text = type(result).__name__
    return text


def _claims(claims: Any) -> str:
    return f"{[(claim.run.id, claim.run.fence, claim.run.attempt) for claim in claims]}"
