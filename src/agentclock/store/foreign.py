"""Rows of runs that other software made, to and from the database. Shared by both stores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from agentclock.core.errors import CorruptRow
from agentclock.ports import ForeignRun
from agentclock.store.rows import clean_text, encode_json

#: Nobody reads further back than this.
LISTED: Final = 1_000


def encode_foreign(run: ForeignRun) -> dict[str, Any]:
    return {
        "id": clean_text(run.id),
        "schedule_id": clean_text(run.schedule_id),
        "created_at": run.created_at,
        "completed_at": run.completed_at,
        "body": encode_json(run.body) or "null",
    }


def decode_foreign(row: Sequence[Any]) -> ForeignRun:
    """Raises CorruptRow."""
    run_id, schedule_id, created_at, completed_at, body = row
    try:
        told = json.loads(body)
    except (TypeError, ValueError) as error:
        raise CorruptRow("foreign_runs", str(run_id), f"body: {error}") from error
    return ForeignRun(id=run_id, schedule_id=schedule_id, created_at=created_at, completed_at=completed_at, body=told)
