"""A connection pooler in transaction mode, as unkind as it may be: no two transactions on the same server session.

Like PgBouncer it knows nothing of prepared statements, LISTEN or settings of a session. It can also lose the
answer to a COMMIT, which leaves a client in doubt about what was written.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass
from urllib.parse import urlsplit

_SSL_REQUEST, _CANCEL_REQUEST = 80877103, 80877102
_SERVERS = 3


@dataclass(frozen=True, slots=True)
class _Server:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class TransactionPooler:
    """Use as an async context manager; `dsn` is where clients connect."""

    def __init__(self, dsn: str) -> None:
        self._target = urlsplit(dsn)
        self._free: asyncio.Queue[_Server] = asyncio.Queue()
        self._connecting = asyncio.Lock()
        self._all: list[_Server] = []
        self._clients: set[asyncio.Task[None]] = set()
        self._greeting = b""
        self.transactions = 0
        self.lose_next_commit = False

    async def __aenter__(self) -> TransactionPooler:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        for server in self._all:
            server.writer.close()

    @property
    def dsn(self) -> str:
        port = self._listener.sockets[0].getsockname()[1]
        return self._target._replace(netloc=f"{self._target.username}@127.0.0.1:{port}").geturl()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if await self._welcome(reader, writer):
                await self._relay(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            self._clients.discard(task)
            writer.close()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        while True:
            size, code = struct.unpack("!II", await reader.readexactly(8))
            rest = await reader.readexactly(size - 8)
            if code == _CANCEL_REQUEST:
                return False
            if code != _SSL_REQUEST:
                break
            writer.write(b"N")
        async with self._connecting:
            while len(self._all) < _SERVERS:
                self._all.append(await self._connect(struct.pack("!II", size, code) + rest))
                self._free.put_nowait(self._all[-1])
        writer.write(self._greeting)
        return True

    async def _connect(self, startup: bytes) -> _Server:
        reader, writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        writer.write(startup)
        kind, self._greeting = b"", b""
        while kind != b"Z":
            kind, message = await _message(reader)
            self._greeting += message
        return _Server(reader, writer)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering: asyncio.Task[None] | None = None
        try:
            while True:
                kind, message = await _message(reader)
                if kind == b"X":
                    return
                if answering is None or answering.done():
                    server = await self._free.get()
                    answering = asyncio.create_task(self._answer(server, writer))
                if self.lose_next_commit and message[5:-1] == b"COMMIT":
                    self.lose_next_commit = False
                    writer.close()
                server.writer.write(message)
        finally:
            if answering is not None and not answering.done():
                server.writer.write(b"Q" + struct.pack("!I", 13) + b"ROLLBACK\0")
                await answering

    async def _answer(self, server: _Server, writer: asyncio.StreamWriter) -> None:
        """Relays what the server says until no transaction is open, then gives the server to whoever is next."""
        while True:
            kind, message = await _message(server.reader)
            if not writer.is_closing():
                writer.write(message)
            if kind == b"Z" and message[5:] == b"I":
                self.transactions += 1
                self._free.put_nowait(server)
                return


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    (size,) = struct.unpack("!I", head[1:])
    return head[:1], head + await reader.readexactly(size - 4)
