"""One run's event log on its way to the database: what is put together, how it is numbered, what makes room.

Plain bookkeeping, no waiting: the recorder decides when a batch is written.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from agentclock.core.model import Claim, Instant, Json
from agentclock.ports import EventBatch, EventCursor, LoggedEvent, Said

#: Neighbouring pieces of text are put together up to this size.
TEXT_BYTES: Final = 4_096
#: A larger row is cut down to its scalar fields.
ROW_BYTES: Final = 65_536
#: What is written of one run at a time, at most.
BATCH_BYTES: Final = 262_144
#: What a row costs besides its data.
ROW_OVERHEAD_BYTES: Final = 64
#: Once a limit is passed, room is made down to this part of it, so that it is not made for every single row.
KEPT_PART: Final = 0.75
#: The books of what is on record are kept in this many blocks.
BLOCKS: Final = 64
#: A text inside a row that was cut down has at most so many characters.
CUT_TEXT_LENGTH: Final = 8_192


class RunLog:
    """The events of one claim of a run, from the agent's mouth to the batch that is written.

    Rows wait until a batch takes them and gives them their numbers; the batch stays the same until it is `written`,
    for a reply may be lost after the rows are there.
    """

    def __init__(self, claim: Claim, cursor: EventCursor, *, events_limit: int, bytes_limit: int) -> None:
        self.claim = claim
        #: When the next batch may be written, on the monotonic clock.
        self.due_at = 0.0
        self._seq = cursor.seq
        self._rows: deque[_Row] = deque()
        self._batch: EventBatch | None = None
        self._batch_rows: list[_Row] = []
        self._waiting_bytes = 0
        self._bytes_limit = bytes_limit
        self._kept = _Kept(cursor, events_limit=events_limit, bytes_limit=bytes_limit)
        self._spoiled = False

    @property
    def is_clean(self) -> bool:
        """Whether everything that was said is on record."""
        return not self._rows and not self._batch_rows

    @property
    def events_waiting(self) -> int:
        return sum(row.events for row in (*self._batch_rows, *self._rows))

    def add(self, said: Said, at: Instant) -> None:
        grown = self._rows[-1].take(said) if self._rows else None
        if grown is None:
            row = _row(said, at)
            self._rows.append(row)
            grown = row.size
        self._waiting_bytes += grown
        if self._waiting_bytes > self._bytes_limit:
            self._cut()

    def batch(self) -> EventBatch | None:
        """The next rows to write, numbered; None when there are none."""
        if self._batch is None and self._rows:
            self._batch_rows = self._next_rows()
            events = tuple(self._numbered(row) for row in self._batch_rows)
            run = self.claim.run
            first = self._kept.make_room()
            self._batch = EventBatch(run_id=run.id, fence=run.fence, events=events, keep_from_seq=first)
        return self._batch

    def written(self, next_at: float) -> None:
        """The batch is on record; the next one may be written at `next_at`."""
        self._waiting_bytes -= sum(row.size for row in self._batch_rows)
        self._batch, self._batch_rows, self._spoiled = None, [], False
        self.due_at = next_at

    def spoiled(self) -> bool:
        """The batch cannot be written at all: a `cut` row takes its place. False: such a row could not be, either."""
        if self._spoiled or self._batch is None:
            return False
        self._spoiled = True
        self._seq = self._batch.events[0].seq - 1
        self._rows.extendleft(reversed(self._batch_rows))
        self._drop(len(self._batch_rows))
        self._batch, self._batch_rows = None, []
        return True

    def _next_rows(self) -> list[_Row]:
        room = min(BATCH_BYTES, self._bytes_limit // 2)
        rows: list[_Row] = []
        while self._rows and (not rows or self._rows[0].size <= room):
            rows.append(self._rows.popleft())
            room -= rows[-1].size
        return rows

    def _numbered(self, row: _Row) -> LoggedEvent:
        self._seq += 1
        self._kept.add(self._seq, row.size)
        return LoggedEvent(
            run_id=self.claim.run.id,
            seq=self._seq,
            attempt=self.claim.run.attempt,
            at=row.at,
            type=row.type,
            data=row.whole(),
            source_index=row.index,
        )

    def _cut(self) -> None:
        """The database takes nothing: the oldest rows make room, and one row says how many events they were."""
        room, count = self._bytes_limit * KEPT_PART, 0
        left = self._waiting_bytes
        while count < len(self._rows) - 1 and left > room:
            left -= self._rows[count].size
            count += 1
        if count:
            self._drop(count)

    def _drop(self, count: int) -> None:
        dropped = [self._rows.popleft() for _ in range(count)]
        events = sum(row.events for row in dropped)
        indexes = [row.index for row in dropped if row.index is not None]
        size = ROW_OVERHEAD_BYTES
        self._rows.appendleft(
            _Row(
                type="cut",
                data={"events": events},
                at=dropped[-1].at,
                index=indexes[-1] if indexes else None,
                size=size,
                events=events,
            )
        )
        self._waiting_bytes += size - sum(row.size for row in dropped)


@dataclass(slots=True, kw_only=True)
class _Row:
    """`texts` None: it stands alone. `events`: how many said events are in it."""

    type: str
    data: Json
    at: Instant
    index: int | None
    size: int
    speaker: str | None = None
    texts: list[str] | None = None
    text_length: int = 0
    events: int = 1
    last_index: Json = None

    def take(self, said: Said) -> int | None:
        """Puts a neighbouring piece of text to the row's own and answers how much it is; None: it does not fit."""
        if self.texts is None or not said.is_text or (self.type, self.speaker) != (said.type, said.speaker):
            return None
        text = _text(said)
        if text is None or self.text_length + len(text) > TEXT_BYTES:
            return None
        self.texts.append(text)
        self.text_length += len(text)
        self.size += len(text)
        self.events += 1
        self.index = said.index if said.index is not None else self.index
        self.last_index = said.data.get("event_index", self.last_index)
        return len(text)

    def whole(self) -> Json:
        if self.texts is None or self.events == 1:
            return self.data
        joined = {**self.data, "content": "".join(self.texts)}
        return joined if self.last_index is None else {**joined, "event_index": self.last_index}


def _row(said: Said, at: Instant) -> _Row:
    text = _text(said) if said.is_text else None
    size = _size(said.data)
    data = said.data
    if size is None or size > ROW_BYTES:
        data, text = _cut_down(said.data, size), None
        size = _size(data) or 0
    return _Row(
        type=said.type,
        data=data,
        at=at,
        index=said.index,
        size=size + ROW_OVERHEAD_BYTES,
        speaker=said.speaker,
        texts=None if text is None else [text],
        text_length=len(text or ""),
        last_index=None if text is None else data.get("event_index"),
    )


def _text(said: Said) -> str | None:
    content = said.data.get("content") if isinstance(said.data, dict) else None
    return content if isinstance(content, str) else None


def _size(data: Json) -> int | None:
    """In bytes of JSON; None for what cannot be written as JSON."""
    try:
        return len(json.dumps(data, ensure_ascii=False).encode(errors="surrogatepass"))
    except (TypeError, ValueError, RecursionError):
        return None


def _cut_down(data: Json, size: int | None) -> Json:
    """The scalar fields, long texts shortened, and a mark that says how large the whole was."""
    kept: dict[str, Any] = {"truncated": True, "size_bytes": size}
    room = ROW_BYTES // 2
    for name, value in data.items() if isinstance(data, dict) else ():
        if isinstance(value, str):
            value = value[:CUT_TEXT_LENGTH]  # noqa: PLW2901 - the shortened text stands for the whole one
        elif not isinstance(value, bool | int | float | None):
            continue
        room -= (_size({name: value}) or ROW_BYTES) if isinstance(name, str) else ROW_BYTES
        if room < 0:
            break
        kept.setdefault(name, value)
    return kept


@dataclass(slots=True)
class _Block:
    first_seq: int
    events: int
    size: int


class _Kept:
    """How much of a run is on record, in blocks: exact enough to say what goes when it is too much, and small for
    a log of any length."""

    def __init__(self, cursor: EventCursor, *, events_limit: int, bytes_limit: int) -> None:
        self._events_limit, self._bytes_limit = events_limit, bytes_limit
        self._blocks: deque[_Block] = deque()
        self._events = self._size = 0
        self._first_seq = cursor.kept_from_seq
        old = cursor.seq + 1 - cursor.kept_from_seq
        step = max(-(-old // BLOCKS), 1)
        for first in range(cursor.kept_from_seq, cursor.seq + 1, step):
            events = min(step, cursor.seq + 1 - first)
            self._count(_Block(first, 0, 0), events, cursor.size_bytes * events // old)

    def add(self, seq: int, size: int) -> None:
        block = self._blocks[-1] if self._blocks else None
        if block is None or self._is_full(block):
            block = _Block(seq, 0, 0)
        self._count(block, 1, size)

    def make_room(self) -> int:
        """The number of the oldest event that stays."""
        if self._events > self._events_limit or self._size > self._bytes_limit:
            while len(self._blocks) > 1 and self._is_over(KEPT_PART):
                gone = self._blocks.popleft()
                self._events -= gone.events
                self._size -= gone.size
            self._first_seq = self._blocks[0].first_seq
        return self._first_seq

    def _is_over(self, part: float) -> bool:
        return self._events > self._events_limit * part or self._size > self._bytes_limit * part

    def _is_full(self, block: _Block) -> bool:
        return block.events * BLOCKS >= self._events_limit or block.size * BLOCKS >= self._bytes_limit

    def _count(self, block: _Block, events: int, size: int) -> None:
        if not block.events:
            self._blocks.append(block)
        block.events += events
        block.size += size
        self._events += events
        self._size += size
