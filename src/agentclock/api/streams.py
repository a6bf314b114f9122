"""Server-sent events out (WHATWG HTML, 9.2)."""

from __future__ import annotations

import asyncio
import json
import weakref
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from typing import Any, Final

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agentclock.core.model import Json

#: A reader that takes nothing for so long is let go.
SEND_SECONDS: Final = 10.0
#: How soon a client comes back.
RETRY_MS: Final = 1_000
#: What is sent at a time, so that a slow reader of much is told apart from one that takes nothing.
CHUNK_BYTES: Final = 65_536

_LINE_ENDS: Final = str.maketrans("", "", "\r\n\0")

PULSE: Final = b": alive\n\n"


def frame(event: str, data: Json, event_id: object = None) -> bytes:
    """One event. Without an id, a client that comes back goes on after the last event that had one."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    head = "" if event_id is None else f"id: {event_id}\n"
    return f"{head}event: {event.translate(_LINE_ENDS)}\ndata: {text}\n\n".encode("utf-8", "replace")


def chunks(frames: Iterator[bytes]) -> Iterator[bytes]:
    """The frames put together to pieces of a bearable size."""
    piece = bytearray()
    for one in frames:
        piece += one
        if len(piece) >= CHUNK_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


class EventStream(Response):
    """Sends what `content` yields until it ends, the reader goes away, or takes nothing any more. Then `at_end` is
    called; also if the stream is never begun."""

    media_type = "text/event-stream"

    def __init__(self, content: AsyncGenerator[bytes, None], at_end: Callable[[], None] = lambda: None) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._content = content
        self._end = weakref.finalize(self, at_end)
        self._end.atexit = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        left = asyncio.create_task(_departure(receive), name="agentclock-stream-departure")
        sent = asyncio.create_task(self._send_all(send), name="agentclock-stream")
        try:
            await asyncio.wait({left, sent}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (left, sent):
                task.cancel()
            await asyncio.gather(left, sent, return_exceptions=True)
            # A stream that was never begun has a generator all the same.
            await self._content.aclose()
            self._end()
        if not sent.cancelled():
            self._report(sent.exception())

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(self._content):
            await self._send(send, f"retry: {RETRY_MS}\n\n".encode())
            async for piece in self._content:
                await self._send(send, piece)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, piece: bytes) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await send({"type": "http.response.body", "body": piece, "more_body": True})

    def _report(self, error: BaseException | None) -> None:
        """The answer has begun: it can only be cut off, and the client comes back."""
        log = structlog.get_logger("agentclock.api")
        match error:
            case None:
                return
            case TimeoutError():
                log.info("stream_dropped", reason="the reader took nothing", seconds=SEND_SECONDS)
            case OSError():
                log.debug("stream_dropped", reason="the reader went away")
            case _:
                log.error("stream_failed", error=type(error).__name__, exc_info=error)


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


#: How the interface is described: by one event, as OpenAPI has no word for streams before 3.2.
DESCRIPTION: Final[Mapping[str, Any]] = {
    "description": "A stream of events, each as described; see the reference of event streams.",
    "content": {
        EventStream.media_type: {
            "schema": {
                "type": "object",
                "properties": {
                    "event": {"type": "string"},
                    "data": {"type": "string", "contentMediaType": "application/json"},
                    "id": {"type": "string", "description": "Come back with it to go on after this event."},
                },
                "required": ["event", "data"],
            }
        }
    },
}
