"""Finished runs from elsewhere, into PostgreSQL: one operation inside a transaction of its caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentclock.core.model import Attempt, Run
from agentclock.store.imports import encode_attempt
from agentclock.store.postgres_pool import Session
from agentclock.store.rows import encode_run


async def insert_history(session: Session, runs: Sequence[Run], attempts: Sequence[Attempt]) -> int:
    written = await session.rows("import_runs", **_columns([encode_run(run) for run in runs])) if runs else []
    if attempts:
        await session.rows("import_attempts", **_columns([encode_attempt(attempt) for attempt in attempts]))
    return len(written)


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}
