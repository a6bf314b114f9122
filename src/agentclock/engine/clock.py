"""The real clock."""

from __future__ import annotations

import asyncio
import time

from agentclock.core.model import Instant


class SystemClock:
    """This machine's time; leaves rulings about what is due to the database's own clock."""

    def now(self) -> Instant:
        return time.time_ns() // 1_000_000

    def store_now(self) -> Instant | None:
        return None

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
