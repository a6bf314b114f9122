"""Connections of the server, and when it has been patient enough with one.

uvicorn waits for ever for requests that never end and for readers that never read. Here a request's head and body must
arrive in time, answers must be taken, and nobody has too many connections. What takes long on our side (waiting for a
run, event streams) is none of this.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Final

import httptools
import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from agentclock.api.clients import Proxies, client_key
from agentclock.api.headers import SAFE_HEADERS
from agentclock.auth import Refusal, RefusalLog, TokenRefused

HEAD_BYTES: Final = 32_768
URL_BYTES: Final = 16_384
MOST_HEADERS: Final = 100
#: Requests that may wait on one connection for the one before them.
MOST_PIPELINED: Final = 16
#: A body comes at least this quick, on average from its beginning, or is given up before its time is over.
BODY_BYTES_PER_SECOND: Final = 200
BODY_LENIENCY_SECONDS: Final = 5
#: A reader takes this much within that time, or everything.
TAKEN_BYTES: Final = 8_192
TAKEN_SECONDS: Final = 20.0
#: A client that was refused may go on sending for a moment, so that it reads the answer instead of a broken connection.
LINGER_SECONDS: Final = 5.0
LINGER_BYTES: Final = 16_777_216

_AUTHORIZATION: Final = re.compile(rb"\nauthorization[ \t]*:", re.IGNORECASE)


@dataclass(slots=True, kw_only=True)
class Door:
    """Who is let in, and how long they may take. Counts connections, all and those of each client; behind proxies that
    are trusted nobody's are counted. `refusals`: told of tokens that no head has room for; None: nobody is asked for
    a token."""

    header_seconds: float
    body_seconds: float
    body_bytes: int
    most_connections: int
    connections_per_client: int
    proxies: Proxies
    refusals: RefusalLog | None = None
    _of_client: Counter[str] = field(default_factory=Counter, init=False)
    _all: int = field(default=0, init=False)

    def enter(self, host: str | None) -> HTTPStatus | None:
        """Counts one more connection; what to refuse it with, None: nothing."""
        client = client_key(host)
        self._all += 1
        self._of_client[client] += 1
        if self._of_client[client] > self.connections_per_client and not self.proxies.trusts(host):
            return HTTPStatus.TOO_MANY_REQUESTS
        return HTTPStatus.SERVICE_UNAVAILABLE if self._all > self.most_connections else None

    def refusal_of(self, head: bytes | bytearray, host: str | None) -> HTTPStatus:
        """What to refuse a head with that is too large: if it has a token, as any other token that cannot be right."""
        if self.refusals is None or not _AUTHORIZATION.search(head):
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        self.refusals.note(TokenRefused(Refusal.TOO_LARGE), source=host, client=client_key(host))
        return HTTPStatus.UNAUTHORIZED

    def leave(self, host: str | None) -> None:
        client = client_key(host)
        self._all -= 1
        self._of_client[client] -= 1
        if not self._of_client[client]:
            del self._of_client[client]


class Config(uvicorn.Config):
    """uvicorn's, with a door."""

    def __init__(self, app: Any, door: Door, **options: Any) -> None:
        super().__init__(app, http=Connection, ws="none", **options)
        self.door: Final = door


class _Stage(Enum):
    """What is to come next from a client."""

    NOTHING = auto()
    HEAD = auto()
    BODY = auto()
    GOODBYE = auto()


class _RefusedError(Exception):
    """Raised inside of the parser, which then parses no further."""


class Connection(HttpToolsProtocol):
    """One connection. `sweep` is to be called about once a second."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._door = config.door
        self._swept_at = self.loop.time()
        self._untaken_bytes, self._untaken_since = 0, self._swept_at
        self._refusal = HTTPStatus.BAD_REQUEST
        self._arrived, self._head = 0, bytearray()
        self._enter(_Stage.HEAD)

    # what uvicorn and the parser tell

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        _send_at_once(transport)
        if (status := self._door.enter(self._host)) is not None:
            transport.write(_answer(status))
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.leave(self._host)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._stage is _Stage.NOTHING:
            self._enter(_Stage.HEAD)
        self._arrived += len(data)
        if self._stage is _Stage.HEAD and len(self._head) <= HEAD_BYTES:
            self._head += data
        if self._stage is _Stage.GOODBYE:
            if self._arrived > LINGER_BYTES:
                self.transport.abort()
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nothing else is spoken here. The request is answered as any other, and the connection ends with it.
            self.cycle.keep_alive = False
        except httptools.HttpParserError:
            self._refuse(self._refusal)
        else:
            if self._stage is _Stage.BODY and not self._arrived:
                # It began with this piece.
                self._arrived = len(data)
            self._check_size()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._stage is _Stage.NOTHING:
            self._enter(_Stage.HEAD)

    def on_header(self, name: bytes, value: bytes) -> None:
        # What follows a body in pieces (trailers) counts for nothing.
        if self._stage is not _Stage.BODY:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._check_head()
        super().on_headers_complete()
        self.cycle.transport = _Courteous(self.transport, self._say_goodbye)  # type: ignore[assignment]
        self._enter(_Stage.BODY)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._enter(_Stage.NOTHING)
        if self.cycle.response_complete:
            self._rest()

    def on_response_complete(self) -> None:
        if self._stage is not _Stage.GOODBYE:
            super().on_response_complete()

    # when patience ends

    def sweep(self, now: float) -> None:
        """Ends the connection if its time is over."""
        passed, self._swept_at = now - self._swept_at, now
        if self._is_untaken(now):
            self.transport.abort()
        if self.transport.is_closing():
            return
        if self.flow.read_paused or (self._stage is _Stage.HEAD and self._is_answering):
            # It is us who take our time.
            self._since += passed
        waited = now - self._since
        match self._stage:
            case _Stage.HEAD if waited > self._door.header_seconds:
                self._refuse(HTTPStatus.REQUEST_TIMEOUT)
            case _Stage.BODY if waited > self._door.body_seconds or self._is_slow(waited):
                self._refuse(HTTPStatus.REQUEST_TIMEOUT)
            case _Stage.GOODBYE if waited > LINGER_SECONDS:
                self.transport.abort()

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            # The answer is still being read. If it is not, `sweep` sees to that.
            self._rest()
        else:
            super().timeout_keep_alive_handler()

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _is_slow(self, waited: float) -> bool:
        return self._arrived < (waited - BODY_LENIENCY_SECONDS) * BODY_BYTES_PER_SECOND

    def _is_untaken(self, now: float) -> bool:
        """Whether what was written waits to be read, and hardly any of it has been for a while."""
        size = self.transport.get_write_buffer_size()
        if not size or not self._untaken_bytes or size <= self._untaken_bytes - TAKEN_BYTES:
            self._untaken_bytes, self._untaken_since = size, now
        self._untaken_bytes = max(size, self._untaken_bytes)
        return now - self._untaken_since > TAKEN_SECONDS

    def _check_head(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if len(self.url) > URL_BYTES:
            self._refusal = HTTPStatus.REQUEST_URI_TOO_LONG
        elif size > HEAD_BYTES or len(self.headers) > MOST_HEADERS:
            self._refusal = self._door.refusal_of(self._head, self._host)
        elif len(self.pipeline) >= MOST_PIPELINED:
            self._refusal = HTTPStatus.TOO_MANY_REQUESTS
        else:
            return
        raise _RefusedError(self._refusal)

    def _check_size(self) -> None:
        """Of a head or body that has not ended yet. As pieces of one byte each, a body takes six times its size."""
        if self._stage is _Stage.HEAD and self._arrived > HEAD_BYTES:
            self._refuse(self._door.refusal_of(self._head, self._host))
        elif self._stage is _Stage.BODY and self._arrived > self._door.body_bytes * (8 if self._is_answering else 1):
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    # how it ends

    @property
    def _host(self) -> str | None:
        return self.client[0] if self.client else None

    def _enter(self, stage: _Stage) -> None:
        self._stage, self._since, self._arrived = stage, self.loop.time(), 0
        self._head = bytearray()

    def _rest(self) -> None:
        """Until the next request, but not for ever."""
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _refuse(self, status: HTTPStatus) -> None:
        """Ends the connection; with an answer if one is owed to what is just being read."""
        if self._stage is _Stage.HEAD:
            is_owed = self._arrived > 0 and not self._is_answering
        else:
            is_owed = self._stage is _Stage.BODY and not self.cycle.response_started
        structlog.get_logger("agentclock.server").debug("client_cut_off", status=status.value, client=self._host)
        if is_owed:
            self.transport.write(_answer(status))
        if self._is_answering:
            self.cycle.disconnected = True
            self.cycle.waiting_for_100_continue = False
            self.cycle.message_event.set()
        self.pipeline.clear()
        self._say_goodbye(is_over=not is_owed)

    def _say_goodbye(self, *, is_over: bool | None = None) -> None:
        """Closes the connection. Where more of a request may come, the client gets time to read the answer first: data
        that nobody reads would break the connection, and the answer with it."""
        if is_over is None:
            is_over = self._stage is not _Stage.BODY
        if is_over or self.transport.is_closing():
            self.transport.close()
            return
        self.flow.resume_reading()
        self._enter(_Stage.GOODBYE)
        self.transport.write_eof()


class _Courteous:
    """A transport that closes with a goodbye."""

    def __init__(self, transport: asyncio.Transport, goodbye: Callable[[], None]) -> None:
        self._transport = transport
        self.close = goodbye

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def _send_at_once(transport: asyncio.Transport) -> None:
    """An answer is written in two pieces. Without this the second one waits 40 ms for word of the first; asyncio sees
    to it only for sockets that name their protocol, and those of a listening socket need not."""
    connected: socket.socket | None = transport.get_extra_info("socket")
    if connected is not None and connected.family in (socket.AF_INET, socket.AF_INET6):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _answer(status: HTTPStatus) -> bytes:
    """A whole answer, for what never reaches the application."""
    body = json.dumps({"detail": status.phrase}).encode()
    headers = {
        **SAFE_HEADERS,
        b"content-type": b"application/json",
        b"content-length": str(len(body)).encode(),
        b"connection": b"close",
    }
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        headers[b"retry-after"] = b"1"
    if status is HTTPStatus.UNAUTHORIZED:
        headers[b"www-authenticate"] = b'Bearer error="invalid_token"'
    lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode(), *(b": ".join(item) for item in headers.items())]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
