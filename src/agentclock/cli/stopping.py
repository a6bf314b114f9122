"""Signals that end a process: the first one asks, a second one insists."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping(handle: Callable[[int, object], None]) -> Iterator[None]:
    """Lets `handle` take the signals, meanwhile. Only in the main thread."""
    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Asked:
    """Waits for the first signal, and ends the process at the second. Made in the event loop that waits."""

    def __init__(self) -> None:
        self._is_set = False
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def __call__(self, number: int, _: object = None) -> None:
        """A signal's handler."""
        if self._is_set:
            end_at_once(number)
        self._is_set = True
        self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        await self._event.wait()


def end_at_once(number: int) -> None:
    """As if nobody had handled the signal: the exit code tells of it. What was under way, others take over."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
