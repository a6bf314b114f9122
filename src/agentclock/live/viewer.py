"""One open stream, and the task that looks for all streams of a topic."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from structlog.contextvars import clear_contextvars

from agentclock.ports import Clock


class Viewer:
    """Sleeps until there is something to see. It has a position of its own and holds nobody up.

    `spoke_at`, in monotonic seconds: when it was shown something last. `ends_at`: when its stream is old enough.
    """

    def __init__(self, now: float, ends_at: float) -> None:
        self.spoke_at = now
        self.ends_at = ends_at
        self.is_over = False
        self._wake = asyncio.Event()

    def stir(self) -> None:
        """Look again: something may be new."""
        self._wake.set()

    def end(self) -> None:
        self.is_over = True
        self._wake.set()

    async def stirred(self) -> None:
        await self._wake.wait()
        self._wake.clear()


class Looker:
    """Looks when it is wanted: one look at a time, and another one after it if it was wanted meanwhile.

    `pause_seconds`: the least time between two looks.
    """

    def __init__(self, look: Callable[[], Awaitable[None]], clock: Clock, pause_seconds: float = 0.0) -> None:
        self._look = look
        self._clock = clock
        self._pause_seconds = pause_seconds
        self._wanted = False
        self._task: asyncio.Task[None] | None = None

    def want(self) -> None:
        self._wanted = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="agentclock-look")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        clear_contextvars()  # those of the run that happened to give reason to look
        while self._wanted:
            self._wanted = False
            await self._look()
            if self._pause_seconds:
                await self._clock.sleep(self._pause_seconds)
