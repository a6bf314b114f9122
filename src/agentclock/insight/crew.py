"""Who executes runs, and which ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agentclock.core.model import Instant
from agentclock.insight.reading import briefs_by_id
from agentclock.ports import Backlog, RunMark, ScheduleBrief, Store, WorkerRow

#: Runs of one worker that are shown, the oldest.
SHOWN_RUNS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """A worker. `held`: the runs of the caller's schedules that it has in hand, the oldest first."""

    row: WorkerRow
    is_alive: bool
    held: Sequence[RunMark]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """All workers on the database, those alive first, and what waits for them. `schedules`: those of the runs."""

    hands: Sequence[Hand]
    schedules: Mapping[str, ScheduleBrief]
    backlog: Backlog
    now: Instant


async def crew(store: Store, user_id: str | None) -> Crew:
    now = await store.now()
    rows = sorted(await store.workers(), key=lambda row: (row.lease_until <= now, row.info.name, row.info.id))
    held = await store.held_runs([row.info.id for row in rows], SHOWN_RUNS)
    ids = sorted({mark.schedule_id for marks in held.values() for mark in marks})
    schedules = await briefs_by_id(store, ids, user_id)
    hands = [
        Hand(
            row=row,
            is_alive=row.lease_until > now,
            held=[mark for mark in held.get(row.info.id, ()) if user_id is None or mark.schedule_id in schedules],
        )
        for row in rows
    ]
    return Crew(hands=hands, schedules=schedules, backlog=await store.backlog(), now=now)
