"""Sleeping until something is due or somebody rings."""

from __future__ import annotations

import asyncio


class Alarm:
    """One sleeper at a time. A ring before the sleep begins is not lost."""

    def __init__(self) -> None:
        self._is_rung = False
        self._sleeper: asyncio.Future[None] | None = None

    def ring(self) -> None:
        self._is_rung = True
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    async def wait(self, timeout_seconds: float) -> None:
        """Returns when rung, at the latest after `timeout_seconds`."""
        try:
            if not self._is_rung:
                # Made for each sleep: an engine that is started again may live in another event loop.
                self._sleeper = asyncio.get_running_loop().create_future()
                async with asyncio.timeout(timeout_seconds):
                    await self._sleeper
        except TimeoutError:
            return
        finally:
            self._is_rung, self._sleeper = False, None
