"""Event logs of runs in PostgreSQL: each function is one operation inside a transaction of its caller."""

from __future__ import annotations

from collections.abc import Sequence

from agentclock.ports import EventBatch, EventCursor, LoggedEvent
from agentclock.store.claiming import report
from agentclock.store.filters import decoded
from agentclock.store.postgres_pool import Session, filled, run_uuid
from agentclock.store.rows import decode_event, encode_event


async def append_events(session: Session, batches: Sequence[EventBatch]) -> frozenset[str]:
    """One statement for any number of batches."""
    numbered = [
        (number, encode_event(event)) for number, batch in enumerate(batches, start=1) for event in batch.events
    ]
    written = await session.rows(
        "append_events",
        run_ids=[run_uuid(batch.run_id) for batch in batches],
        fences=[batch.fence for batch in batches],
        keep_from_seqs=[batch.keep_from_seq for batch in batches],
        **filled(
            batch_numbers=[number for number, _ in numbered],
            seqs=[event["seq"] for _, event in numbered],
            attempts=[event["attempt"] for _, event in numbered],
            at=[event["at"] for _, event in numbered],
            types=[event["type"] for _, event in numbered],
            data=[event["data"] for _, event in numbered],
            source_indexes=[event["source_index"] for _, event in numbered],
        ),
    )
    return frozenset(row[0] for row in written)


async def event_cursor(session: Session, run_id: str) -> EventCursor:
    row = await session.row("event_cursor", id=run_uuid(run_id))
    if row is None:
        return EventCursor()
    seq, kept_from_seq, attempt, source_index, size_bytes = row
    return EventCursor(
        seq=seq, kept_from_seq=kept_from_seq, attempt=attempt, source_index=source_index, size_bytes=size_bytes
    )


async def events_after(session: Session, run_id: str, seq: int, limit: int) -> list[LoggedEvent]:
    rows = await session.rows("events_after", id=run_uuid(run_id), seq=seq, limit=max(0, limit))
    events, faults = decoded(rows, decode_event)
    report(faults)
    return list(events)
