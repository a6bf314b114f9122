"""A client of the HTTP API that does not care how it reaches it: over a network, or in this process on a database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import IntEnum
from http import HTTPStatus
from typing import Any, Final, Protocol, TypeAlias
from urllib.parse import quote, urlencode

from agentclock.executor.sse import SseDecoder, SseEvent

#: An answer that is larger is none of ours.
MOST_BYTES: Final = 256 * 1024 * 1024
#: An `end` of a run holds its whole output.
EVENT_BYTES: Final = 64 * 1024 * 1024
#: Rows that are asked for at a time.
PAGE_ROWS: Final = 500
#: How long one waits before one comes back to a stream that broke off, the first time and at most.
RETRY_SECONDS: Final = (0.5, 5.0)

#: What frameworks say where there is no route; of what is not there, the API says what it is.
_NO_ROUTE: Final = "Not Found"

Query: TypeAlias = Mapping[str, "str | int | float | bool | Sequence[str] | None"]
Row: TypeAlias = dict[str, Any]


class ExitCode(IntEnum):
    """How a command ends."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    UNAVAILABLE = 5
    INTERRUPTED = 130


class Trouble(Exception):
    """What ends a command: one sentence for people, and the exit code."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.code = code


class ApiError(Trouble):
    """The API's own word on what is wrong. `detail` as it said it: a sentence, or a list of faults."""

    def __init__(self, status: int, detail: Any) -> None:
        super().__init__(sentence_of(detail) or _phrase(status), exit_code(status))
        self.status = status
        self.detail = detail


class Unreachable(Trouble):
    """Nothing was answered, or not to the end. `was_sent`: what was asked for may have been done."""

    def __init__(self, message: str, *, was_sent: bool = False) -> None:
        super().__init__(message, ExitCode.UNAVAILABLE)
        self.was_sent = was_sent


def exit_code(status: int) -> ExitCode:
    """What a refusal of the API means for a command."""
    match status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return ExitCode.REFUSED
        case HTTPStatus.NOT_FOUND:
            return ExitCode.NOT_FOUND
        case HTTPStatus.CONFLICT:
            return ExitCode.FAILED
        case HTTPStatus.TOO_MANY_REQUESTS:
            return ExitCode.UNAVAILABLE
        case _:
            return ExitCode.UNAVAILABLE if status >= HTTPStatus.INTERNAL_SERVER_ERROR else ExitCode.USAGE


def sentence_of(detail: Any) -> str:
    """The sentence, or one line for each field that is wrong."""
    if not isinstance(detail, list):
        return str(detail or "")
    return "\n".join(_fault(fault) for fault in detail)


def _fault(fault: Any) -> str:
    if not isinstance(fault, dict):
        return str(fault)
    place = [str(part) for part in fault.get("loc") or ()]
    field_name = ".".join(place[1:] or place)
    return f"{field_name}: {fault.get('msg')}" if field_name else str(fault.get("msg"))


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"status {status}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. `path` is quoted; `is_stream`: its answer comes as long as there is something to tell."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    is_stream: bool = False


class Answer(Protocol):
    """An answer whose body is still to come."""

    status: int

    @property
    def headers(self) -> Mapping[str, str]: ...

    async def piece(self) -> bytes:
        """What has arrived of the body; empty at its end. Raises Unreachable."""


class Transport(Protocol):
    """Carries calls. Real: NetworkTransport, LocalTransport."""

    def send(self, call: Call) -> AbstractAsyncContextManager[Answer]:
        """Raises Unreachable."""


def path_of(*parts: str) -> str:
    """`path_of("schedules", name)`: no part can lead anywhere else."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


class Client:
    """`where`: what it speaks to, for people. Every method raises ApiError and Unreachable.

    Answers are the API's own JSON: fields by their wire names.
    """

    def __init__(self, transport: Transport, *, where: str) -> None:
        self._transport = transport
        self.where: Final = where

    async def get(self, path: str, query: Query | None = None) -> Any:
        return await self.ask("GET", path, query=query)

    async def post(
        self, path: str, body: Any = None, *, query: Query | None = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        return await self.ask("POST", path, query=query, body=body, headers=headers)

    async def patch(self, path: str, body: Any, *, headers: Mapping[str, str] | None = None) -> Any:
        return await self.ask("PATCH", path, body=body, headers=headers)

    async def delete(self, path: str) -> None:
        await self.ask("DELETE", path)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The answer's JSON, None where there is none."""
        content = None if body is None else json.dumps(body).encode()
        call = Call(method=method, path=path + _query(query), headers=_headers(headers, content), body=content)
        async with self._transport.send(call) as answer:
            return _json_of(answer, await _whole(answer), self.where)

    async def page(
        self,
        path: str,
        query: Query | None = None,
        *,
        most: int | None = None,
        page_rows: int = PAGE_ROWS,
        is_numbered: bool = False,
    ) -> Row:
        """One list, of as many pages as it takes for `most` rows (None: all), in the shape of one page. `is_numbered`:
        its pages have numbers, no cursors."""
        rows: list[Row] = []
        place: Row = {}
        limit = page_rows if most is None else min(page_rows, most)
        while True:
            found: Row = await self.get(path, {**(query or {}), "limit": limit, **place})
            if not isinstance(found, dict) or not found.keys() >= {"data", "meta"}:
                raise Unreachable(f"{self.where} does not answer as an agentclock does", was_sent=True)
            rows += found["data"]
            place = _next_page(found["meta"]) if is_numbered else _next_cursor(found["meta"])
            if not place or (most is not None and len(rows) >= most):
                return found | {"data": rows[:most]}

    async def events(
        self, path: str, *, after: str | None = None, when_away: Callable[[Trouble], None] = lambda _: None
    ) -> AsyncGenerator[SseEvent, None]:
        """What a stream tells, once and in order, whatever happens to the connection meanwhile: it comes back with the
        last id until the stream says that all was told (204). A stream that was never there is an error; each time
        that one cannot be taken up again `when_away` is told why."""
        was_there, pause = False, RETRY_SECONDS[0]
        while True:
            try:
                async with self._transport.send(_stream(path, after)) as answer:
                    if answer.status == HTTPStatus.NO_CONTENT:
                        return
                    if answer.status != HTTPStatus.OK:
                        _json_of(answer, await _whole(answer), self.where)
                    was_there, pause = True, RETRY_SECONDS[0]
                    async for event in _events_of(answer):
                        after = event.id or after
                        yield event
            except Trouble as error:
                if not was_there or error.code is not ExitCode.UNAVAILABLE:
                    raise
                when_away(error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_SECONDS[1])


def _stream(path: str, after: str | None) -> Call:
    headers = {"accept": "text/event-stream"} | ({} if after is None else {"last-event-id": after})
    return Call(method="GET", path=path, headers=headers, is_stream=True)


async def _events_of(answer: Answer) -> AsyncIterator[SseEvent]:
    decoder = SseDecoder(size_limit=EVENT_BYTES)
    while piece := await answer.piece():
        for event in decoder.feed(piece):
            yield event


def _next_cursor(meta: Row) -> Row:
    """What asks for the next page; empty after the last one."""
    cursor = meta.get("next_cursor")
    return {"cursor": cursor} if cursor else {}


def _next_page(meta: Row) -> Row:
    """As above."""
    return {"page": meta["page"] + 1} if meta["page"] < meta["total_pages"] else {}


def _query(query: Query | None) -> str:
    """Without what is None; booleans as JSON has them."""
    given = {name: _text(value) for name, value in (query or {}).items() if value is not None}
    return f"?{urlencode(given, doseq=True)}" if given else ""


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return list(value) if isinstance(value, tuple | list) else value


def _headers(given: Mapping[str, str] | None, body: bytes | None) -> Mapping[str, str]:
    kind = {} if body is None else {"content-type": "application/json"}
    return {"accept": "application/json"} | kind | dict(given or {})


async def _whole(answer: Answer) -> bytes:
    body = bytearray()
    while piece := await answer.piece():
        body += piece
        if len(body) > MOST_BYTES:
            raise Unreachable(f"the answer is longer than {MOST_BYTES:,} bytes", was_sent=True)
    return bytes(body)


def _json_of(answer: Answer, body: bytes, where: str) -> Any:
    """Raises ApiError; Unreachable if whoever answers is no agentclock."""
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        there = answer.headers.get("Location", "")
        raise Unreachable(f"{where} sends us elsewhere ({there}): give that address, if you know it", was_sent=True)
    try:
        content = json.loads(body) if body else None
    except ValueError:
        content = None
        if answer.status < HTTPStatus.BAD_REQUEST:
            raise Unreachable(f"{where} answers with no JSON: is it an agentclock?", was_sent=True) from None
    if answer.status >= HTTPStatus.BAD_REQUEST:
        detail = content.get("detail") if isinstance(content, dict) else None
        if answer.status == HTTPStatus.NOT_FOUND and detail in (None, _NO_ROUTE):
            raise Unreachable(f"{where} does not know this: it is an older agentclock, or none", was_sent=True)
        raise ApiError(answer.status, detail)
    return content
