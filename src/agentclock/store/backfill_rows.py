"""Rows of backfills, to and from the database. Shared by both stores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from agentclock.core.backfills import Backfill, Existing
from agentclock.core.errors import CorruptRow
from agentclock.core.model import RunStatus
from agentclock.store.filters import first_run_id
from agentclock.store.rows import clean_text

#: Nobody reads further back than this.
LISTED: Final = 100

CANCELLED: Final = "cancelled: its backfill was cancelled"


def encode_backfill(backfill: Backfill, fires: int) -> dict[str, Any]:
    return {
        "id": clean_text(backfill.id),
        "schedule_id": clean_text(backfill.schedule_id),
        "from_at": backfill.from_at,
        "until_at": backfill.until_at,
        "existing": backfill.existing.value,
        "concurrency": backfill.concurrency,
        "fires": fires,
        "made_by": clean_text(backfill.by),
        "created_at": backfill.created_at,
        "cancelled_at": backfill.cancelled_at,
    }


def range_of(backfill: Backfill) -> dict[str, Any]:
    """The parameters of the query `backfill_states`: the ids of backfill runs begin with their fire times."""
    return {
        "schedule_id": clean_text(backfill.schedule_id),
        "first_id": first_run_id(backfill.from_at),
        "end_id": first_run_id(backfill.until_at),
        "created_at": backfill.created_at,
    }


def decode_states(rows: Iterable[Sequence[Any]]) -> dict[RunStatus, int]:
    """States that nobody knows are left out."""
    known = frozenset(RunStatus)
    return {RunStatus(status): count for status, count in rows if status in known}


def decode_backfill(row: Sequence[Any]) -> Backfill:
    """Raises CorruptRow."""
    backfill_id, schedule_id, from_at, until_at, existing, concurrency, fires, by, created_at, cancelled_at = row
    try:
        return Backfill(
            id=backfill_id,
            schedule_id=schedule_id,
            from_at=from_at,
            until_at=until_at,
            existing=Existing(existing),
            concurrency=concurrency,
            fires=fires,
            by=by,
            created_at=created_at,
            cancelled_at=cancelled_at,
        )
    except ValueError as error:
        raise CorruptRow("backfills", str(backfill_id), f"existing: {error}") from error
