"""What a trigger may say about the one run that it makes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from agentclock.core.model import Claim, Instant, Json

#: How long a key of a trigger is known (the time that EventBridge retries for, twice).
KEY_HOURS: Final = 48


class PayloadMode(StrEnum):
    """How a trigger's payload meets the schedule's: as a JSON Merge Patch (RFC 7396), or instead of it."""

    MERGE = "merge"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerKey:
    """The same `key` for the same schedule means the same run. `fingerprint`: a digest of all else that was asked for;
    with another one under the same key, somebody made a mistake."""

    key: str
    fingerprint: str


def merged(document: Json, patch: Json) -> Json:
    """`document` changed by the JSON Merge Patch `patch`: null removes, objects go into each other (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def as_triggered(claim: Claim) -> Claim:
    """`claim` with the schedule as this run calls it: with the payload that its trigger gave, if one did."""
    note = claim.run.trigger_note
    if note is None or not note.has_payload:
        return claim
    target = replace(claim.schedule.target, payload=note.payload)
    return replace(claim, schedule=replace(claim.schedule, target=target))


def is_too_old(fire_at: Instant, now: Instant, max_age_seconds: int) -> bool:
    return now - fire_at > max_age_seconds * 1000
