"""Server-sent events in, by the WHATWG standard: bytes to events, in whatever pieces they arrive.

No I/O. What stands here and in no library: a size limit per event, and the corner cases (BOM, CR alone, an id with
NUL, a tail without its blank line) that the standard settles.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

EVENT_SIZE_LIMIT: Final = 1024 * 1024

_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class SseEvent:
    """One dispatched event; `id` is the last id that the stream has set, not necessarily in this event."""

    type: str
    data: str
    id: str = ""


@dataclass(slots=True)
class SseDecoder:
    """Feed it the bytes of one stream; what is incomplete at the end of the stream never becomes an event.

    An event over `size_limit` bytes (one line of it, or its data lines together) is dropped and counted in
    `oversized`; the stream goes on. `retry_ms` is the reconnection time that the stream asked for, if it did.
    """

    size_limit: int = EVENT_SIZE_LIMIT
    oversized: int = 0
    retry_ms: int | None = None
    _tail: bytearray = field(default_factory=bytearray)
    _at_start: bool = True
    _after_cr: bool = False
    _too_big: bool = False
    _type: str = ""
    _id: str = ""
    _data: list[bytes] = field(default_factory=list)
    _data_size: int = 0

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that `chunk` completes."""
        events: list[SseEvent] = []
        if not chunk:
            return events
        after_cr, self._after_cr = self._after_cr, chunk.endswith(b"\r")
        if after_cr:
            chunk = chunk.removeprefix(b"\n")
        for piece in chunk.splitlines(keepends=True):
            self._tail += piece
            if piece.endswith((b"\n", b"\r")):
                line = bytes(self._tail).rstrip(b"\r\n")
                self._tail.clear()
                self._take(line, events)
        self._bound_tail()
        return events

    def _take(self, line: bytes, events: list[SseEvent]) -> None:
        if self._at_start:
            line, self._at_start = line.removeprefix(_BOM), False
        if not line:
            self._dispatch(events)
        elif len(line) > self.size_limit:
            self._drop()
        elif not self._too_big:
            name, _, value = line.partition(b":")
            self._set_field(name, value.removeprefix(b" "))

    def _set_field(self, name: bytes, value: bytes) -> None:
        match name:
            case b"data":
                self._data.append(value)
                self._data_size += len(value)
                if self._data_size > self.size_limit:
                    self._drop()
            case b"event":
                self._type = value.decode("utf-8", "replace")
            case b"id" if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
            case b"retry" if value.isdigit():
                self.retry_ms = int(value[:10])
            case _:
                """Comments (an empty name) and unknown fields are ignored, says the standard."""

    def _dispatch(self, events: list[SseEvent]) -> None:
        if self._too_big:
            self.oversized += 1
        elif self._data:
            data = b"\n".join(self._data).decode("utf-8", "replace")
            events.append(SseEvent(type=self._type or "message", data=data, id=self._id))
        self._type, self._too_big, self._data_size = "", False, 0
        self._data.clear()

    def _drop(self) -> None:
        self._too_big, self._data_size = True, 0
        self._data.clear()

    def _bound_tail(self) -> None:
        """An endless line must not fill the memory; one byte of it is enough to know that it is not blank."""
        if len(self._tail) > self.size_limit:
            self._drop()
        if self._too_big:
            del self._tail[1:]
