"""uvicorn as a guest of ours: it says when it is up, and ends without killing the process."""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog
import uvicorn

from agentclock.api.clients import Proxies
from agentclock.auth import RefusalLog, is_configured
from agentclock.cli.connections import Config, Connection, Door
from agentclock.cli.stopping import end_at_once, stopping
from agentclock.config import Settings
from agentclock.engine.clock import SystemClock

#: How long requests that are under way may take, once everything else has ended.
LAST_REQUESTS_SECONDS: Final = 3
#: uvicorn ticks ten times a second.
TICKS_PER_SWEEP: Final = 10
#: Open files that are no connections to clients: the database, targets, and what Python itself needs.
OTHER_FILES: Final = 256
#: A fifth of what Python gives a thread by itself.
SWITCH_SECONDS: Final = 0.001


class Server(uvicorn.Server):
    """`up` is set once requests are served.

    `retire` is what ends before requests are refused: whoever asks meanwhile hears that the process is not ready any
    more. Without it runs may take their time together with the last requests.
    """

    def __init__(self, app: object, settings: Settings, *, retire: Callable[[], Awaitable[None]] | None = None) -> None:
        grace_seconds = max(1, round(settings.shutdown_grace_seconds))
        super().__init__(
            Config(
                app,
                _door(settings),
                log_config=None,
                access_log=False,
                server_header=False,
                # Whom to believe is said by `trusted_proxies`.
                proxy_headers=False,
                timeout_graceful_shutdown=grace_seconds if retire is None else LAST_REQUESTS_SECONDS,
            )
        )
        self.up = asyncio.Event()
        self._retire = retire
        self._is_asked = False
        self._retiring: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What is there by now stays. Looking through all of it again and again would hold up the loop each time.
        gc.collect()
        gc.freeze()
        # Threads that compute leave the interpreter to the loop that soon: it needs it often, and briefly.
        sys.setswitchinterval(SWITCH_SECONDS)
        self.up.set()

    async def on_tick(self, counter: int) -> bool:
        if self._is_asked and self._retire is not None and self._retiring is None:
            self._retiring = asyncio.create_task(self._retire_first(self._retire), name="agentclock-retire")
        if counter % TICKS_PER_SWEEP == 0:
            now = asyncio.get_running_loop().time()
            for connection in tuple(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.sweep(now)
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


def _door(settings: Settings) -> Door:
    return Door(
        header_seconds=settings.header_seconds,
        body_seconds=settings.body_seconds,
        body_bytes=settings.body_limit_bytes,
        most_connections=_affordable_connections(settings),
        connections_per_client=settings.connections_per_client,
        proxies=Proxies(settings.trusted_proxies),
        refusals=RefusalLog(SystemClock()) if is_configured(settings) else None,
    )


def _affordable_connections(settings: Settings) -> int:
    """As many as the setting says, if the system lets this process open so many files beside those that it needs: were
    all taken by clients, neither database nor targets could be reached any more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    others = OTHER_FILES + settings.connection_limit
    wanted = settings.client_connections + others
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return settings.client_connections
    return max(soft - others, soft // 2)
