"""Connections that dribble, never end, never read or come in crowds: they end, and everybody else is served.

Time is passed in: `sweep` is told that it is later. Nothing waits for a clock.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import pytest
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs
from tests.processes import until

from agentclock.cli.connections import (
    HEAD_BYTES,
    MOST_HEADERS,
    MOST_PIPELINED,
    TAKEN_BYTES,
    TAKEN_SECONDS,
    URL_BYTES,
    Connection,
)
from agentclock.cli.server import Server
from agentclock.config import Settings

GET = b"GET /length HTTP/1.1\r\nhost: x\r\n\r\n"
HUGE = 33_554_432


@dataclass(slots=True)
class App:
    """/length answers with the body's length, /wait when `go` is set, /huge with much, /early before it reads."""

    go: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    left: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        self.headers = scope["headers"]
        match scope["path"]:
            case "/huge":
                await self._answer(send, b"x" * HUGE)
            case "/early":
                await self._answer(send, b"no", status=413, close=True)
            case "/unread":
                await self._answer(send, b"no", status=401)
            case path:
                body = b""
                while (message := await receive())["type"] == "http.request":
                    body += message["body"]
                    if not message["more_body"]:
                        break
                else:
                    self.left += 1
                    return
                if path == "/wait":
                    self.waiting.set()
                    await self.go.wait()
                await self._answer(send, str(len(body)).encode())

    async def _answer(self, send: Send, body: bytes, *, status: int = 200, close: bool = False) -> None:
        headers = [(b"content-length", str(len(body)).encode())] + [(b"connection", b"close")] * close
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@dataclass(slots=True, kw_only=True)
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def at(cls, port: int, *sent: bytes) -> Self:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client = cls(reader=reader, writer=writer)
        await client.send(*sent)
        return client

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def answer(self) -> tuple[int, bytes]:
        """Status and body of the next answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        (length,) = [line.partition(":")[2] for line in head.split("\r\n") if line.startswith("content-length:")]
        return int(head.split()[1]), await self.reader.readexactly(int(length))

    async def ended(self) -> tuple[int, Any]:
        """Status and JSON of the last answer; the connection ends with it."""
        status, body = await self.answer()
        assert await self.reader.read() == b""
        self.writer.close()
        return status, json.loads(body)

    async def is_cut(self) -> bool:
        """The connection ends without another answer."""
        try:
            return await self.reader.read() == b""
        except ConnectionError:
            return True


@dataclass(slots=True, kw_only=True)
class Life:
    app: App
    server: Server
    port: int

    async def client(self, *sent: bytes) -> Client:
        return await Client.at(self.port, *sent)

    async def served(self) -> bool:
        """Whether a decent client is."""
        client = await self.client(GET)
        return await client.answer() == (200, b"0")

    def connections(self) -> list[Connection]:
        return [one for one in self.server.server_state.connections if isinstance(one, Connection)]

    async def reached(self, count: int, *, arrived: int = 0) -> None:
        """The server has `count` connections, each of which has got so many bytes of what it reads now."""
        await until(
            lambda: len(self.connections()) == count and all(one._arrived >= arrived for one in self.connections())
        )

    def sweep(self, seconds: float = 0.0) -> None:
        """It is that much later."""
        for connection in self.connections():
            connection.sweep(asyncio.get_running_loop().time() + seconds)


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[Life]:
    app = App()
    server = Server(app, Settings.load(**settings))
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    served = asyncio.create_task(server.serve(sockets=[listener]))
    await server.up.wait()
    try:
        yield Life(app=app, server=server, port=listener.getsockname()[1])
    finally:
        app.go.set()
        for connection in tuple(server.server_state.connections):
            connection.transport.abort()
        server.should_exit = True
        await served


@pytest.fixture
async def life() -> AsyncIterator[Life]:
    async with serving() as made:
        yield made


async def test_two_hundred_dribblers_keep_nobody_from_being_served(life: Life) -> None:
    dribblers = [await life.client(b"GET /length HT") for _ in range(200)]
    await life.reached(200, arrived=14)
    for dribbler in dribblers:
        await dribbler.send(b"T")
    assert await life.served()
    life.sweep(9)
    for dribbler in dribblers:
        await dribbler.send(b"P")
    life.sweep(11)
    ended = await asyncio.gather(*(dribbler.ended() for dribbler in dribblers))
    assert ended == [(408, {"detail": "Request Timeout"})] * 200
    assert await life.served()


async def test_who_never_says_anything_is_let_go(life: Life) -> None:
    silent = await life.client()
    await life.reached(1)
    life.sweep(9)
    assert life.connections()
    life.sweep(11)
    assert await silent.is_cut()


async def test_line_ends_are_no_request(life: Life) -> None:
    client = await life.client(GET)
    await client.answer()
    await client.send(b"\r\n")
    await life.reached(1, arrived=2)
    life.sweep(9)
    await client.send(b"\r\n")
    life.sweep(11)
    assert (await client.ended())[0] == 408


@pytest.mark.parametrize("seconds", [6, 31])
async def test_a_body_that_never_ends_ends(life: Life, seconds: float) -> None:
    """After six seconds because it came too slowly, after thirty-one in any case."""
    body = b"x" * (10 if seconds == 6 else 20_000)
    client = await life.client(b"POST /length HTTP/1.1\r\ncontent-length: 1000000\r\n\r\n", body)
    await life.reached(1, arrived=len(body))
    life.sweep(seconds - 2)
    assert life.app.left == 0
    life.sweep(seconds)
    assert await client.ended() == (408, {"detail": "Request Timeout"})
    await until(lambda: life.app.left)


HEADS = {
    "a path": (414, b"GET /" + b"a" * URL_BYTES + b" HTTP/1.1\r\n\r\n"),
    "a header": (431, b"GET / HTTP/1.1\r\nx: " + b"a" * HEAD_BYTES + b"\r\n\r\n"),
    "many headers": (431, b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * (MOST_HEADERS + 1) + b"\r\n"),
    "a header without end": (431, b"GET / HTTP/1.1\r\nx: " + b"a" * HEAD_BYTES),
    "a path without end": (431, b"GET /" + b"a" * HEAD_BYTES),
    "no HTTP": (400, b"\x16\x03\x01\x02\r\n\r\n"),
    "a path that is none": (400, b"GET /\xff\xfe HTTP/1.1\r\n\r\n"),
    "two lengths": (400, b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"),
    "a length and pieces": (400, b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"),
}


@pytest.mark.parametrize(("status", "head"), HEADS.values(), ids=HEADS.keys())
async def test_heads_that_are_too_large_or_wrong(life: Life, status: int, head: bytes) -> None:
    with capture_logs() as lines:
        client = await life.client(head)
        found, body = await client.ended()
    assert found == status
    assert body.keys() == {"detail"}
    assert {line["log_level"] for line in lines} <= {"debug"}
    assert await life.served()


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
async def test_a_token_that_no_head_has_room_for_is_a_wrong_token(end: bytes) -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nAUTHORIZATION: Bearer " + b"a" * 1_048_576 + end
    async with serving(security_key="key") as life:
        with capture_logs() as lines:
            client = await life.client(head)
            answered = (await client.reader.readuntil(b"\r\n\r\n")).decode()
        assert answered.startswith("HTTP/1.1 401 ")
        assert 'www-authenticate: Bearer error="invalid_token"' in answered
        told = [line for line in lines if line["log_level"] != "debug"]
        assert [(line["event"], line["reason"]) for line in told] == [("token_refused", "too_large")]
        client.writer.close()
        assert await life.served()
    async with serving() as life:
        assert (await (await life.client(head)).ended())[0] == 431


async def test_large_heads_that_are_bearable_are_served(life: Life) -> None:
    head = b"GET /length HTTP/1.1\r\nx: " + b"a" * (HEAD_BYTES - 1_000) + b"\r\n\r\n"
    client = await life.client(head)
    assert await client.answer() == (200, b"0")
    # On the same connection, in pieces.
    await client.send(head[:20_000], head[20_000:])
    assert await client.answer() == (200, b"0")


async def test_a_long_wait_is_none_of_the_clients_faults(life: Life) -> None:
    client = await life.client(b"POST /wait HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi")
    await life.app.waiting.wait()
    # Some clients end a body with one more line.
    await client.send(b"\r\n")
    await life.reached(1, arrived=2)
    for hour in range(1, 5):
        life.sweep(hour * 3_600)
    life.app.go.set()
    assert await client.answer() == (200, b"2")


async def test_requests_in_a_row_are_answered_but_not_in_a_crowd(life: Life) -> None:
    client = await life.client(GET * 3)
    assert [await client.answer() for _ in range(3)] == [(200, b"0")] * 3
    crowd = await life.client(GET * (MOST_PIPELINED + 3))
    assert await crowd.is_cut()
    assert await life.served()


async def test_nobody_has_too_many_connections() -> None:
    async with serving(connections_per_client=3) as life:
        friends = [await life.client() for _ in range(3)]
        await life.reached(3)
        fourth = await life.client()
        assert (await fourth.ended())[0] == 429
        friends[0].writer.close()
        await life.reached(2)
        assert await life.served()


async def test_proxies_may_have_as_many_connections_as_there_are() -> None:
    async with serving(connections_per_client=1, client_connections=3, trusted_proxies="127.0.0.0/8") as life:
        friends = [await life.client() for _ in range(3)]
        await life.reached(3)
        fourth = await life.client()
        assert (await fourth.ended())[0] == 503
        assert len(friends) == 3


async def test_who_never_reads_is_cut_off(life: Life) -> None:
    client = await life.client(b"GET /huge HTTP/1.1\r\n\r\n")
    await client.reader.readexactly(1)
    client.writer.transport.pause_reading()
    (connection,) = life.connections()
    await until(lambda: connection.cycle.response_complete)
    life.sweep()
    life.sweep(TAKEN_SECONDS - 1)
    assert life.connections()
    life.sweep(TAKEN_SECONDS + 1)
    await life.reached(0)
    client.writer.close()


async def test_who_reads_slowly_gets_everything(life: Life) -> None:
    client = await life.client(b"GET /huge HTTP/1.1\r\n\r\n")
    await client.reader.readuntil(b"\r\n\r\n")
    (connection,) = life.connections()
    read, seconds = 0, 0.0
    while size := connection.transport.get_write_buffer_size():
        life.sweep(seconds)
        seconds += TAKEN_SECONDS - 1
        while 0 < connection.transport.get_write_buffer_size() > size - TAKEN_BYTES:
            read += len(await client.reader.read(4_096))
    while read < HUGE:
        read += len(await client.reader.read(65_536))
    assert seconds > 2 * TAKEN_SECONDS


@pytest.mark.parametrize("size", [100_000, 6_000_000])
async def test_an_early_answer_can_be_read_while_one_still_sends(life: Life, size: int) -> None:
    client = await life.client(f"POST /early HTTP/1.1\r\ncontent-length: {size}\r\n\r\n".encode(), b"x" * (size - 1))
    assert await client.answer() == (413, b"no")
    assert await client.reader.read() == b""
    client.writer.close()
    await life.reached(0)


async def test_an_early_goodbye_does_not_last(life: Life) -> None:
    client = await life.client(b"POST /early HTTP/1.1\r\ncontent-length: 1000000\r\n\r\n", b"x")
    assert await client.answer() == (413, b"no")
    life.sweep(6)
    await life.reached(0)


async def test_a_body_that_nobody_wants_is_read_only_so_far(life: Life) -> None:
    head = b"POST /unread HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
    client = await life.client(head, b"5\r\nhello\r\n0\r\n\r\n", GET)
    assert [(await client.answer())[0] for _ in range(2)] == [401, 200]
    await client.send(head, b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
    assert (await client.answer())[0] == 401
    with pytest.raises(ConnectionError):
        await client.send(*[b"100000\r\n" + b"x" * 0x100000 + b"\r\n"] * 64)


async def test_what_follows_a_body_counts_for_nothing(life: Life) -> None:
    head = b"POST /length HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
    client = await life.client(head + b"2\r\nhi\r\n0\r\nx-forwarded-for: 192.0.2.1\r\n\r\n")
    assert await client.answer() == (200, b"2")
    assert life.app.headers == [(b"transfer-encoding", b"chunked")]


async def test_nothing_but_http_is_spoken(life: Life) -> None:
    upgrade = b"GET /length HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    client = await life.client(upgrade)
    assert await client.answer() == (200, b"0")
    assert await client.reader.read() == b""


async def test_the_server_does_not_say_what_it_is(life: Life) -> None:
    client = await life.client(GET)
    assert b"\r\nserver:" not in (await client.reader.readuntil(b"\r\n\r\n")).lower()


async def test_answers_are_sent_at_once(life: Life) -> None:
    await life.client()
    await life.reached(1)
    (connection,) = life.connections()
    connected = connection.transport.get_extra_info("socket")
    assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
