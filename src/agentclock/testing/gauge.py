"""Waiting for a count, without sleeping."""

from __future__ import annotations

import asyncio


class Gauge:
    """A number that can be waited for."""

    def __init__(self) -> None:
        self._value = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def set(self, value: int) -> None:
        self._value = value
        for count, future in self._waiting:
            if value >= count and not future.done():
                future.set_result(None)

    async def reaches(self, count: int) -> None:
        if self._value >= count:
            return
        waiter = (count, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        try:
            await waiter[1]
        finally:
            self._waiting.remove(waiter)
