"""What both stores make of rows of runs: claims, when paused runs are looked at again, how much is to be done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog

from agentclock.core.errors import CorruptRow
from agentclock.core.lifecycle import REVIEW_SECONDS, next_review_at
from agentclock.core.model import SECOND, Claim, Instant, Run, Schedule
from agentclock.ports import Backlog

T = TypeVar("T")

#: A paused run that cannot be read is left alone as long as one that nobody has answered for a long time.
_UNREADABLE_PAUSE_MS: Final = REVIEW_SECONDS[1] * SECOND


def tried(decode: Callable[[Sequence[Any]], T], row: Sequence[Any]) -> T | CorruptRow:
    try:
        return decode(row)
    except CorruptRow as fault:
        return fault


def report(faults: Iterable[CorruptRow]) -> None:
    for fault in faults:
        structlog.get_logger("agentclock.store").error("unreadable row", **vars(fault))


def claim_of(run: Run, schedule: Schedule, now: Instant) -> Claim:
    """What was used up of the timeout counts only for an attempt that goes on in new hands."""
    if run.instruction is None or run.attempt_started_at is None:
        return Claim(run=run, schedule=schedule)
    return Claim(run=run, schedule=schedule, elapsed_ms=max(0, now - run.attempt_started_at))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviews:
    """Paused runs to look at, and when to look again at each that was found, by run id."""

    claims: tuple[Claim, ...]
    faults: tuple[CorruptRow, ...]
    next_at: dict[str, Instant]


def reviews_of(found: Iterable[tuple[str, Run | CorruptRow, Schedule | CorruptRow]], now: Instant) -> Reviews:
    """What cannot be read is not ended, for it may be mended while a human thinks: it is looked at again."""
    claims: list[Claim] = []
    faults: list[CorruptRow] = []
    next_at: dict[str, Instant] = {}
    for run_id, run, schedule in found:
        next_at[run_id] = now + _UNREADABLE_PAUSE_MS
        if isinstance(run, CorruptRow):
            faults.append(run)
        elif isinstance(schedule, CorruptRow):
            faults.append(schedule)
        else:
            paused_at = run.created_at if run.paused_at is None else run.paused_at
            next_at[run_id] = next_review_at(paused_at, run.approval_due_at, now)
            claims.append(Claim(run=run, schedule=schedule))
    return Reviews(claims=tuple(claims), faults=tuple(faults), next_at=next_at)


def backlog_of(row: Sequence[Any]) -> Backlog:
    """Out of what the query `backlog` answered with."""
    now, due_at, available_at, pending, running, paused = row
    return Backlog(
        due_lag_ms=0 if due_at is None else max(0, now - due_at),
        queue_lag_ms=0 if available_at is None else max(0, now - available_at),
        pending=pending,
        running=running,
        paused=paused,
    )
