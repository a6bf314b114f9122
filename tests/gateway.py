"""A way to a server that can be closed: connections are refused, or nothing arrives any more; all are counted."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit


class Gateway:
    """Use as an async context manager; `dsn` is where clients connect. Attempts that are refused are counted, too:
    such a connection is accepted and closed at once."""

    def __init__(self, dsn: str) -> None:
        self._target = urlsplit(dsn)
        self._refuses = False
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.attempts: list[float] = []

    async def __aenter__(self) -> Gateway:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def dsn(self) -> str:
        return self._target._replace(netloc=f"{self._target.username}@127.0.0.1:{self.port}").geturl()

    def close(self) -> None:
        """The server is gone: every connection breaks, further ones are refused."""
        self._refuses = True
        for writer in tuple(self._writers):
            writer.transport.abort()

    def open(self) -> None:
        self._refuses = False
        self._flows.set()

    def swallow(self) -> None:
        """Nothing arrives any more, and nobody says so."""
        self._flows.clear()

    def most_in_a_second(self) -> int:
        """Of all attempts to connect since the last look."""
        attempts, self.attempts = self.attempts, []
        return max((sum(start <= at < start + 1 for at in attempts) for start in attempts), default=0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.attempts.append(asyncio.get_running_loop().time())
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            if not self._refuses:
                await self._relay(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # one side is gone, or the test is over
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        try:
            async with asyncio.TaskGroup() as group:
                up = group.create_task(self._pass_on(reader, up_writer))
                down = group.create_task(self._pass_on(up_reader, writer))
                await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
                up.cancel()
                down.cancel()
        finally:
            up_writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
