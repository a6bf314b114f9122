"""Fires of the past, run on request: outside the books of what was due, under a concurrency of their own."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agentclock.core.model import Instant


class Existing(StrEnum):
    """What a backfill does with a fire that has a run: leave it, run it again if it did not succeed, or always."""

    SKIP = "skip"
    FAILED = "failed"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """A request to run the fires with `from_at` <= fire_at < `until_at`, at most `concurrency` at a time.

    Its runs (cause `backfill`) are rows from the beginning, waiting for one another. They count neither for the overlap
    policy nor in the accounting: their fires were accounted for when they were due. `fires`: how many runs it made.
    """

    id: str
    schedule_id: str
    from_at: Instant
    until_at: Instant
    existing: Existing = Existing.SKIP
    concurrency: int = 1
    fires: int = 0
    by: str | None = None
    created_at: Instant = 0
    cancelled_at: Instant | None = None
