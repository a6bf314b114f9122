"""Sleeping until something is due or somebody rings."""

from __future__ import annotations

import asyncio


class Alarm:
    """One sleeper at a time. A ring before the sleep begins is not lost."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, timeout_seconds: float) -> None:
        """Returns when rung, at the latest after `timeout_seconds`."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._rung.wait()
        except TimeoutError:
            return
        finally:
            self._rung.clear()
