"""uvicorn as a guest of ours: it says when it is up, and ends without killing the process."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog
import uvicorn

from agentclock.cli.stopping import end_at_once, stopping
from agentclock.config import Settings

#: How long requests that are under way may take, once everything else has ended.
LAST_REQUESTS_SECONDS: Final = 3


class Server(uvicorn.Server):
    """`up` is set once requests are served.

    `retire` is what ends before requests are refused: whoever asks meanwhile hears that the process is not ready any
    more. Without it runs may take their time together with the last requests.
    """

    def __init__(self, app: object, settings: Settings, *, retire: Callable[[], Awaitable[None]] | None = None) -> None:
        grace_seconds = max(1, round(settings.shutdown_grace_seconds))
        super().__init__(
            uvicorn.Config(
                app,  # type: ignore[arg-type]
                http="httptools",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=grace_seconds if retire is None else LAST_REQUESTS_SECONDS,
            )
        )
        self.up = asyncio.Event()
        self._retire = retire
        self._is_asked = False
        self._retiring: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def on_tick(self, counter: int) -> bool:
        if self._is_asked and self._retire is not None and self._retiring is None:
            self._retiring = asyncio.create_task(self._retire_first(self._retire), name="agentclock-retire")
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: object) -> None:
        """The first Ctrl-C or SIGTERM stops cleanly, a second one at once."""
        if self._is_asked:
            end_at_once(sig)
        self._is_asked = True
        if self._retire is None or not self.started:
            self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's own way raises the signal once more after the stop, so that nobody could say goodbye and the exit
        code would tell of a crash."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        with stopping(self.handle_exit):
            yield

    async def _retire_first(self, retire: Callable[[], Awaitable[None]]) -> None:
        try:
            await retire()
        except Exception:
            structlog.get_logger("agentclock").exception("stop_failed")
        finally:
            self.should_exit = True
