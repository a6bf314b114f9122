"""One process's agentclock, wired up, and its life."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import structlog

from agentclock import __version__
from agentclock.config import Settings
from agentclock.core.errors import StoreUnavailable
from agentclock.engine.bus import Bus
from agentclock.engine.service import Engine
from agentclock.executor.dispatch import TargetExecutor
from agentclock.live import Hub
from agentclock.logs import log_start
from agentclock.ports import Clock, News, Store, Wakeup
from agentclock.runs import Runs
from agentclock.scheduler import Scheduler
from agentclock.telemetry import Telemetry
from agentclock.webhooks.station import Webhooks

OPEN_PAUSE_SECONDS = (1.0, 2.0)
#: A start goes on without a database that is not open by then: a large one is being upgraded, or nothing answers.
OPEN_SECONDS = 5.0


@dataclass(slots=True, kw_only=True)
class Clockwork:
    """One process's agentclock, wired up. `start` and `stop` are idempotent enough for any host's lifespan.

    `is_introduced`: the log has begun already. `home`: the event loop that it lives on while its database is open, for
    those who come from other threads.
    `at_start` is done beside everything else once the database is open; `at_stop` is called, in a thread, when the
    engine has stopped: by whoever opened something of its own.
    """

    settings: Settings
    clock: Clock
    store: Store
    wakeup: Wakeup
    executor: TargetExecutor
    bus: Bus
    engine: Engine
    scheduler: Scheduler
    runs: Runs
    hub: Hub
    telemetry: Telemetry
    webhooks: Webhooks
    is_introduced: bool = field(default=False, init=False)
    home: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    at_start: list[Callable[[], Coroutine[None, None, None]]] = field(default_factory=list, init=False)
    at_stop: list[Callable[[], None]] = field(default_factory=list, init=False)
    _opening: asyncio.Task[None] | None = field(default=None, init=False)
    _errands: list[asyncio.Task[None]] = field(default_factory=list, init=False)

    async def start(self) -> None:
        """Opens the database and starts the engine. A database that is away is waited for in the background."""
        if not self.is_introduced:
            log_start(__version__, self.settings.database)
        first_try = asyncio.Event()
        opening = self._opening = asyncio.create_task(self._open_patiently(first_try), name="agentclock-open")
        opening.add_done_callback(lambda _: first_try.set())
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await first_try.wait()
        except TimeoutError:
            error = StoreUnavailable(f"not open after {OPEN_SECONDS:.0f} s: it answers late, or is being upgraded")
            self.engine.outage.failed("open", error, 0)
        if opening.done():
            opening.result()

    async def retire(self) -> None:
        """Ends the runs and the streams, as at a stop, but goes on answering requests: not ready, from now on."""
        self.engine.leave()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        for errand in self._errands:
            errand.cancel()
        await asyncio.gather(*self._errands, return_exceptions=True)
        await self.engine.stop()
        await self.hub.close()

    async def stop(self) -> None:
        await self.retire()
        for leave in tuple(self.at_stop):
            await asyncio.to_thread(leave)
        await self.wakeup.close()
        await self.executor.close()
        await self.webhooks.close()
        await self.telemetry.close()
        self.home = None
        await self.store.close()

    async def _open(self) -> None:
        await self.store.open()
        self.home = asyncio.get_running_loop()
        self.hub.open()
        await self.wakeup.start(self.engine.ring, self._hear)
        self.engine.start()
        self._errands = [asyncio.create_task(_reported(errand())) for errand in self.at_start]

    def _hear(self, news: News) -> None:
        self.engine.hear(news)
        self.hub.hear(news)

    async def _open_patiently(self, tried: asyncio.Event) -> None:
        pause, longest = OPEN_PAUSE_SECONDS
        while True:
            try:
                await self._open()
            except StoreUnavailable as error:
                self.engine.outage.failed("open", error, pause)
            except Exception as error:
                if not tried.is_set():
                    raise
                structlog.get_logger("agentclock").exception("loop_failed", loop="open")
                self.engine.outage.failed("open", error, pause)
            else:
                self.engine.outage.succeeded("open")
                return
            tried.set()
            await self.clock.sleep(pause)
            pause = min(pause * 2, longest)


async def _reported(errand: Coroutine[None, None, None]) -> None:
    try:
        await errand
    except Exception:
        structlog.get_logger("agentclock").exception("errand_failed")
