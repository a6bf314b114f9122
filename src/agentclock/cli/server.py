"""uvicorn as a guest of ours: it says when it is up, and ends without killing the process."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from agentclock.config import Settings


class Server(uvicorn.Server):
    """`up` is set once requests are served."""

    def __init__(self, app: object, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                app,  # type: ignore[arg-type]
                http="httptools",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=max(1, round(settings.shutdown_grace_seconds)),
            )
        )
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The first Ctrl-C or SIGTERM stops cleanly, a second one at once. uvicorn's own way raises the signal once
        more after the stop, so that nobody could say goodbye and the exit code would tell of a crash."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
