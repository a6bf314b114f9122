"""Fires of the past, run on request: outside the books of what was due, under a concurrency of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agentclock.core.ids import backfill_run_id, fire_run_id
from agentclock.core.model import Cause, Instant, Run, RunStatus, Schedule
from agentclock.core.timetable import timetable_of

#: Fires that one backfill makes up for, at most.
MOST_FIRES: Final = 10_000


class Existing(StrEnum):
    """What a backfill does with a fire whose run is over: leave it, run it again if it did not succeed, or always.

    A run that goes on, or waits to, is left in any case.
    """

    SKIP = "skip"
    FAILED = "failed"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """A request to run the fires with `from_at` <= fire_at < `until_at`, at most `concurrency` at a time.

    Its runs (cause `backfill`) are rows from the beginning, waiting for one another. They count neither for the overlap
    policy nor in the accounting: their fires were accounted for when they were due. `fires`: how many runs it made;
    they have its `created_at`.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a backfill does with one fire. `number`: of the backfill run (from 1) that is made for it, None: it is left
    as it is. `found`: the state of its newest run, None: it has none."""

    fire_at: Instant
    number: int | None
    found: RunStatus | None = None


def fires_between(schedule: Schedule, from_at: Instant, until_at: Instant, limit: int) -> list[Instant]:
    """The first `limit` fires of the present timetable with from_at <= fire_at < until_at, within start_at and end_at;
    max_runs is no matter here. Raises CronError or ZoneError."""
    first = from_at if schedule.start_at is None else max(from_at, schedule.start_at)
    last = until_at - 1 if schedule.end_at is None else min(until_at - 1, schedule.end_at)
    return timetable_of(schedule).between(first - 1, last, limit) if first <= last else []


def run_id_of(schedule_id: str, fire_at: Instant, number: int) -> str:
    """The id of a run that a fire may have: number 0 is the one that the schedule itself makes, the others are of
    backfills."""
    return backfill_run_id(schedule_id, fire_at, number) if number else fire_run_id(schedule_id, fire_at)


def state_of(run: Run) -> RunStatus | None:
    """The state of what may be a run of a fire; None if it is a record of fires that made none, or was cancelled before
    it began."""
    is_run = run.status not in (RunStatus.SKIPPED, RunStatus.MISSED)
    return run.status if is_run and (run.status is not RunStatus.CANCELLED or run.attempt > 0) else None


def choose(fire_at: Instant, states: Sequence[RunStatus | None], existing: Existing) -> Choice:
    """`states`: of the fire's runs (`state_of`), by their number; None where there is none."""
    known = [state for state in states if state is not None]
    found = known[-1] if known else None
    if found is None:
        again = True
    elif not all(state.is_final for state in known):
        again = False
    else:
        again = existing is Existing.ALL or (existing is Existing.FAILED and found is not RunStatus.SUCCESS)
    return Choice(fire_at=fire_at, number=max(len(states), 1) if again else None, found=found)


def runs_of(backfill: Backfill, schedule: Schedule, choices: Sequence[Choice]) -> list[Run]:
    """The runs that it makes, oldest fire first: pending, until the store lets them go."""
    return [
        Run(
            id=backfill_run_id(schedule.id, choice.fire_at, choice.number),
            schedule_id=schedule.id,
            user_id=schedule.user_id,
            cause=Cause.BACKFILL,
            fire_at=choice.fire_at,
            created_at=backfill.created_at,
        )
        for choice in choices
        if choice.number is not None
    ]
