"""Event logs of runs in SQLite: each function is one operation inside a transaction of its caller."""

from __future__ import annotations

from collections.abc import Sequence

from agentclock.ports import EventBatch, EventCursor, LoggedEvent
from agentclock.store.claiming import report
from agentclock.store.filters import decoded
from agentclock.store.rows import clean_text, decode_event, encode_event
from agentclock.store.sqlite_file import Session, id_list


def append_events(session: Session, batches: Sequence[EventBatch]) -> frozenset[str]:
    ids = id_list({batch.run_id for batch in batches})
    fences = {run_id: fence for run_id, fence, *_ in session.rows("held_runs", ids=ids)}
    ours = [batch for batch in batches if fences.get(batch.run_id) == batch.fence]
    kept = (event for batch in ours for event in batch.events if event.seq >= batch.keep_from_seq)
    session.run_many("insert_event", map(encode_event, kept))
    cut = (batch for batch in ours if batch.keep_from_seq > 1)
    session.run_many("forget_events", ({"run_id": b.run_id, "keep_from_seq": b.keep_from_seq} for b in cut))
    return frozenset(batch.run_id for batch in ours)


def event_cursor(session: Session, run_id: str) -> EventCursor:
    row = session.row("event_cursor", id=clean_text(run_id))
    if row is None:
        return EventCursor()
    seq, kept_from_seq, attempt, source_index, size_bytes = row
    return EventCursor(
        seq=seq, kept_from_seq=kept_from_seq, attempt=attempt, source_index=source_index, size_bytes=size_bytes
    )


def events_after(session: Session, run_id: str, seq: int, limit: int) -> list[LoggedEvent]:
    rows = session.rows("events_after", id=clean_text(run_id), seq=seq, limit=max(0, limit))
    events, faults = decoded(rows, decode_event)
    report(faults)
    return list(events)
