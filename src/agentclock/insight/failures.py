"""What failed, put together by what went wrong."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from agentclock.core.fingerprints import fingerprint, hint
from agentclock.core.model import Instant, RunStatus
from agentclock.insight.reading import DAY_MS, window
from agentclock.ports import Failure, RunFilter, Store
from agentclock.runs import check_texts

#: The newest failures that are looked at.
MOST_RUNS: Final = 2_000
#: What is shown of a group.
SHOWN_RUNS: Final = 50
SHOWN_SCHEDULES: Final = 20
SHOWN_CHARACTERS: Final = 500

_DEFAULT_MS: Final = 7 * DAY_MS
_MOST_MS: Final = 3_700 * DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Afflicted:
    """A schedule with runs in a group; `name` None: it is gone."""

    id: str
    name: str | None
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Runs that failed in the same way. `error`: the newest one's. `run_ids`: the newest ones, newest first."""

    fingerprint: str
    error: str | None
    status: RunStatus
    status_code: int | None
    hint: str | None
    count: int
    schedules: tuple[Afflicted, ...]
    schedules_total: int
    first_at: Instant
    last_at: Instant
    run_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """`is_complete` False: there are more failed runs in the time asked for, older ones, or more groups."""

    groups: tuple[FailureGroup, ...]
    runs_looked_at: int
    is_complete: bool


async def grouped_failures(
    store: Store,
    since: Instant | None,
    until: Instant | None,
    *,
    schedule_id: str | None,
    user_id: str | None,
    limit: int,
) -> Failures:
    """Those with the most runs first. Raises InvalidField."""
    check_texts(schedule_id=schedule_id)
    period = window(since, until, await store.now(), _DEFAULT_MS, _MOST_MS)
    where = RunFilter(schedule_id=schedule_id, user_id=user_id, since=period.since, until=period.until)
    rows = await store.failures(where, MOST_RUNS + 1)
    looked_at = rows[:MOST_RUNS]
    groups = await asyncio.to_thread(_grouped, looked_at)
    shown = sorted(groups.items(), key=lambda item: (-len(item[1]), -item[1][0].fire_at))[:limit]
    ids = {row.schedule_id for _, group in shown for row in group}
    names = await store.schedule_names(sorted(ids)) if ids else {}
    return Failures(
        groups=tuple(_group(mark, group, names) for mark, group in shown),
        runs_looked_at=len(looked_at),
        is_complete=len(rows) <= MOST_RUNS and len(shown) == len(groups),
    )


def _grouped(rows: Sequence[Failure]) -> Mapping[str, list[Failure]]:
    """By fingerprint; the newest first in each. Most errors come in the very same words many times."""
    fingerprint_of = lru_cache(maxsize=1_000)(fingerprint)
    groups: defaultdict[str, list[Failure]] = defaultdict(list)
    for row in rows:
        groups[fingerprint_of(row.status, row.status_code, row.error)].append(row)
    return groups


def _group(mark: str, rows: Sequence[Failure], names: Mapping[str, str]) -> FailureGroup:
    newest = rows[0]
    by_schedule = Counter(row.schedule_id for row in rows).most_common()
    ends = [row.fire_at for row in rows]
    return FailureGroup(
        fingerprint=mark,
        error=None if newest.error is None else newest.error[:SHOWN_CHARACTERS],
        status=newest.status,
        status_code=newest.status_code,
        hint=hint(newest.status, newest.status_code, newest.error),
        count=len(rows),
        schedules=tuple(
            Afflicted(id=schedule_id, name=names.get(schedule_id), count=count)
            for schedule_id, count in by_schedule[:SHOWN_SCHEDULES]
        ),
        schedules_total=len(by_schedule),
        first_at=min(ends),
        last_at=max(ends),
        run_ids=tuple(row.run_id for row in rows[:SHOWN_RUNS]),
    )
