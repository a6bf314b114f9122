"""The two limits that hold for every attempt: the schedule's timeout and a wish to cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from agentclock.core.model import Outcome, OutcomeKind
from agentclock.ports import RunContext

#: A wish to cancel is heard this late at most in the first moments of an attempt.
WATCH_AFTER_SECONDS: Final = 0.1


async def supervised(work: Coroutine[Any, Any, Outcome], context: RunContext) -> Outcome | OutcomeKind:
    """The outcome of `work`, or TIMEOUT or CANCELLED when it had to be stopped before it was done."""
    if context.cancelled.is_set():
        work.close()
        return OutcomeKind.CANCELLED
    limit = asyncio.timeout(context.claim.schedule.timeout_seconds)
    try:
        async with limit:
            watch = _CancelWatch(context.cancelled, limit)
            try:
                return await work
            finally:
                watch.close()
    except TimeoutError:
        if not limit.expired():
            raise
        return OutcomeKind.CANCELLED if context.cancelled.is_set() else OutcomeKind.TIMEOUT


class _CancelWatch:
    """Ends `limit` once `cancelled` is set. Most requests are over before it would need a task of its own."""

    def __init__(self, cancelled: asyncio.Event, limit: asyncio.Timeout) -> None:
        self._cancelled = cancelled
        self._limit = limit
        self._task: asyncio.Task[None] | None = None
        self._handle = asyncio.get_running_loop().call_later(WATCH_AFTER_SECONDS, self._start)

    def close(self) -> None:
        self._handle.cancel()
        if self._task is not None:
            self._task.cancel()

    def _start(self) -> None:
        self._task = asyncio.create_task(self._end_when_cancelled(), name="agentclock-cancel-watch")

    async def _end_when_cancelled(self) -> None:
        await self._cancelled.wait()
        self._limit.reschedule(asyncio.get_running_loop().time())
