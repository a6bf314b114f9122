"""How things stand, in one glance."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agentclock.core.figures import Spread, lateness_ms, spread_of
from agentclock.core.model import Cause, RunStatus
from agentclock.insight.reading import DAY_MS, briefs_by_id
from agentclock.ports import Backlog, Overview, RunFilter, Store

#: The newest runs that tell how punctual things are.
SAMPLED_RUNS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """`ended`: fires of the last 24 hours by what became of them. `lateness`: of the newest runs within that time."""

    overview: Overview
    ended: Mapping[RunStatus, int]
    lateness: Spread | None
    backlog: Backlog
    workers_alive: int


async def summary(store: Store, user_id: str | None) -> Summary:
    now = await store.now()
    overview, ended, lateness, backlog, workers = await asyncio.gather(
        store.overview(user_id),
        _ended(store, user_id, now),
        _lateness(store, user_id, now),
        store.backlog(),
        store.workers(),
    )
    return Summary(
        overview=overview,
        ended=ended,
        lateness=lateness,
        backlog=backlog,
        workers_alive=sum(worker.lease_until > now for worker in workers),
    )


async def _ended(store: Store, user_id: str | None, now: int) -> Mapping[RunStatus, int]:
    counts = Counter[RunStatus]()
    for count in await store.count_fires(RunFilter(user_id=user_id, since=now - DAY_MS, until=now + 1), 1):
        counts[count.status] += count.fires
    return counts


async def _lateness(store: Store, user_id: str | None, now: int) -> Spread | None:
    where = RunFilter(user_id=user_id, causes=(Cause.SCHEDULE,), since=now - DAY_MS)
    marks = [mark for mark in await store.newest_marks(where, SAMPLED_RUNS) if mark.started_at is not None]
    briefs = await briefs_by_id(store, sorted({mark.schedule_id for mark in marks}), user_id)
    known = [(mark, briefs[mark.schedule_id]) for mark in marks if mark.schedule_id in briefs]
    late = [lateness_ms(mark, brief.jitter_seconds) for mark, brief in known]
    return spread_of(value for value in late if value is not None)
