"""Owners of schedules, and what they may have called: known from the tokens that they showed last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlsplit

from agentclock.core.model import Instant, Json, Target

#: So much of what a payload claims is repeated in errors.
_SHOWN: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """`scopes` as the owner's newest token grants them; `issued_at`: that token's `iat`, so that an older token with
    wider scopes brings nothing back. `revoked_at` set: whatever any token says, the owner may have nothing called."""

    user_id: str
    scopes: tuple[str, ...] = ()
    issued_at: Instant | None = None
    seen_at: Instant
    revoked_at: Instant | None = None
    revoked_by: str | None = None


def foreign_claim(payload: Json, owner: str | None) -> str | None:
    """What is wrong with a payload that claims to speak for somebody else than the schedule's owner, None: nothing.

    A schedule without an owner speaks for whom its payload names.
    """
    claimed = payload.get("user_id") if isinstance(payload, dict) else None
    if owner is None or claimed in (None, owner):
        return None
    shown = repr(claimed)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
    return f"the payload claims to be user {shown}, but the schedule belongs to {owner!r}: leave user_id out"


def foreign_call(target: Target, owner: str | None) -> str | None:
    """As `foreign_claim`, of the whole call: what its endpoint says behind "?" counts as well."""
    if owner is None:
        return None
    query = parse_qs(urlsplit(target.endpoint).query, keep_blank_values=True)
    claims = [{"user_id": claimed} for claimed in query.get("user_id", ())]
    faults = (foreign_claim(claim, owner) for claim in (target.payload, *claims))
    return next((fault for fault in faults if fault is not None), None)
