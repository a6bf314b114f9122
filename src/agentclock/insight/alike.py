"""Which runs failed in the way that a fingerprint names."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache

from agentclock.core.fingerprints import fingerprint
from agentclock.core.model import Instant
from agentclock.insight.failures import MOST_RUNS
from agentclock.insight.reading import DAY_MS, window
from agentclock.ports import Failure, RunFilter, Store

_DEFAULT_MS = 7 * DAY_MS
_MOST_MS = 3_700 * DAY_MS


async def alike(
    store: Store, mark: str, since: Instant | None, until: Instant | None, *, user_id: str | None
) -> list[Failure]:
    """Newest first, out of the same runs that are looked at for groups of failures. Raises InvalidField."""
    period = window(since, until, await store.now(), _DEFAULT_MS, _MOST_MS)
    rows = await store.failures(RunFilter(user_id=user_id, since=period.since, until=period.until), MOST_RUNS)
    return await asyncio.to_thread(_picked, rows, mark)


def _picked(rows: Sequence[Failure], mark: str) -> list[Failure]:
    fingerprint_of = lru_cache(maxsize=1_000)(fingerprint)
    return [row for row in rows if fingerprint_of(row.status, row.status_code, row.error) == mark]
