"""A place that nobody may reach, and names that lead to it."""

from __future__ import annotations

import asyncio
import socket
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass(slots=True)
class Sentinel:
    """Listens on one port of several addresses and counts the connections; `answer` goes to whoever comes.

    `lines` are the first lines of the requests, `received` all that came."""

    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    port: int = 0
    connections: int = 0
    lines: list[str] = field(default_factory=list)
    received: bytes = b""

    @asynccontextmanager
    async def open(self, *hosts: str) -> AsyncIterator[Sentinel]:
        """On `hosts`, on the sentinel's port if it has one."""
        servers = []
        try:
            for host in hosts:
                servers.append(await asyncio.start_server(self._serve, host, self.port))
                self.port = servers[-1].sockets[0].getsockname()[1]
            yield self
        finally:
            for server in servers:
                server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.lines.append(head.split(b"\r\n")[0].decode())
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                self.received += head + await reader.readexactly(int(length[0].split(b":")[1]) if length else 0)
                writer.write(self.answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            """The client has gone."""
        finally:
            writer.close()


#: What a name resolves to, anew each time it is asked for.
Answers = Sequence[str] | Callable[[], Sequence[str]]


@dataclass(slots=True)
class Names:
    """Stands in for the system's resolver. Names that it does not know do not exist; literals are read as ever.

    `connected`: the addresses that anything tried to connect to, by a name or not."""

    known: dict[str, Answers] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    connected: list[str] = field(default_factory=list)

    def resolve(self, host: Any, port: Any, *options: Any, **more: Any) -> list[Any]:
        name = (host.decode() if isinstance(host, bytes) else host).lower()
        self.asked.append(name)
        answers = self.known.get(name)
        if answers is None:
            flags = socket.AI_NUMERICHOST
            return _REAL(host, port, more.get("family", 0), more.get("type", 0), more.get("proto", 0), flags)
        found = answers() if callable(answers) else answers
        return [_entry(address, int(port or 0)) for address in found]


_REAL = socket.getaddrinfo


def _entry(address: str, port: int) -> tuple[Any, ...]:
    bare, _, zone = address.partition("%")
    if ":" in bare:
        return (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, int(zone or 0)))
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))


def taking_over(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    """Every look-up of this process; connections are noted, and made."""
    names, connect = Names(), BaseSelectorEventLoop.sock_connect

    async def noted(loop: BaseSelectorEventLoop, sock: socket.socket, address: Any) -> None:
        names.connected.append(str(address[0]))
        await connect(loop, sock, address)

    monkeypatch.setattr(socket, "getaddrinfo", names.resolve)
    monkeypatch.setattr(BaseSelectorEventLoop, "sock_connect", noted)
    yield names
