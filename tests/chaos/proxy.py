"""A TCP proxy on loopback, in a process of its own: it cuts, refuses and stalls connections, and counts them.

    python -m tests.chaos.proxy --record FILE db.1=127.0.0.1:5432 os.1=127.0.0.1:8000 ...

Says on stdout where each link listens, as JSON. Then it takes orders on stdin, one a line, and says `ok` to each:
`cut db.*`, `refuse os.*`, `accept os.*`, `stall db.1`, `resume db.1`. Ends with its stdin.

Refused connections are accepted and reset at once where they are to be counted (links whose name starts with `db`);
elsewhere nobody listens any more, as on a machine whose server is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from tests.chaos.journal import Journal

_RESET = struct.pack("ii", 1, 0)
_PIECE_BYTES = 65_536


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection as a broken machine does: with RST, not with a goodbye."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


@dataclass(slots=True)
class Link:
    """One way through the proxy. `counts`: attempts to connect are seen even while it refuses."""

    name: str
    host: str
    port: int
    journal: Journal
    listens_at: int = 0
    refuses: bool = False
    flows: asyncio.Event = field(default_factory=asyncio.Event)
    bytes_up: int = 0
    bytes_down: int = 0
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def open(self) -> None:
        self.flows.set()
        await self._listen()

    async def obey(self, order: str) -> None:
        match order:
            case "cut":
                self._cut()
            case "refuse":
                self.refuses = True
                if not self._counts:
                    await self._deafen()
            case "accept":
                self.refuses = False
                if not self._counts:
                    await self._listen()
            case "stall":
                self.flows.clear()
            case "resume":
                self.flows.set()
            case _:
                raise ValueError(f"no such order: {order}")

    @property
    def _counts(self) -> bool:
        return self.name.startswith("db")

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.listens_at, backlog=512)
            self.listens_at = self._server.sockets[0].getsockname()[1]

    async def _deafen(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def _cut(self) -> None:
        for writer in tuple(self._writers):
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.journal.note("attempt", link=self.name, refused=self.refuses)
        self._writers.add(writer)
        try:
            if self.refuses:
                return
            await self.flows.wait()
            up_reader, up_writer = await asyncio.open_connection(self.host, self.port)
            self._writers.add(up_writer)
            try:
                await self._relay(reader, writer, up_reader, up_writer)
            finally:
                self._writers.discard(up_writer)
                _reset(up_writer)
        except OSError:
            pass  # the other side is gone: that is what the proxy is for
        finally:
            self._writers.discard(writer)
            _reset(writer)

    async def _relay(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> None:
        """Both directions, until one side ends and the other has had all that it was sent."""
        up = asyncio.create_task(self._pump(reader, up_writer, "bytes_up"))
        down = asyncio.create_task(self._pump(up_reader, writer, "bytes_down"))
        try:
            await asyncio.gather(up, down)
        finally:
            up.cancel()
            down.cancel()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counter: str) -> None:
        while piece := await reader.read(_PIECE_BYTES):
            await self.flows.wait()
            setattr(self, counter, getattr(self, counter) + len(piece))
            writer.write(piece)
            await writer.drain()
        await self.flows.wait()
        if writer.can_write_eof():
            writer.write_eof()


async def serve(journal: Journal, wanted: list[str]) -> None:
    links = []
    for text in wanted:
        name, _, address = text.partition("=")
        host, _, port = address.rpartition(":")
        links.append(Link(name, host, int(port), journal))
        await links[-1].open()
    print(json.dumps({link.name: link.listens_at for link in links}), flush=True)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := (await orders.readline()).decode().split():
        for link in links:
            if fnmatch(link.name, line[1]):
                await link.obey(line[0])
        print("ok", flush=True)
    for link in links:
        journal.note("bytes", link=link.name, up=link.bytes_up, down=link.bytes_down)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("links", nargs="+", metavar="NAME=HOST:PORT")
    options = parser.parse_args()
    asyncio.run(serve(Journal(options.record), options.links))


if __name__ == "__main__":
    main()
