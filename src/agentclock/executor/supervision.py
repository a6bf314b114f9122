"""The limits that hold for every attempt: the schedule's timeouts, a wish to cancel, and the end of its worker."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from agentclock.core.model import SECOND, Outcome, OutcomeKind
from agentclock.ports import RunContext

#: A wish to cancel is heard this late at most in the first moments of an attempt.
WATCH_AFTER_SECONDS: Final = 0.1


class Silence:
    """How long an agent may say nothing: `seconds`, None for ever. `broken` once it was too long."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.broken = False
        self._heard_at = asyncio.get_running_loop().time()
        self._handle: asyncio.TimerHandle | None = None

    def heard(self) -> None:
        self._heard_at = asyncio.get_running_loop().time()

    def watch(self, limit: asyncio.Timeout) -> None:
        """Ends `limit` when the silence was too long."""
        if self.seconds is None:
            return
        loop = asyncio.get_running_loop()
        ends_at = self._heard_at + self.seconds
        if loop.time() < ends_at:
            self._handle = loop.call_at(ends_at, self.watch, limit)
        else:
            self.broken = True
            _end(limit)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()


async def supervised(
    work: Coroutine[Any, Any, Outcome], context: RunContext, silence: Silence | None = None, *, timed: bool = True
) -> Outcome | OutcomeKind:
    """The outcome of `work`, or why it had to be stopped before it was done: CANCELLED (somebody wants that), LOST
    (the worker stops) or TIMEOUT. With `timed` False only the worker's end counts."""
    watch = _Watch(context, heeds_cancel=timed)
    if (reason := watch.reason) is not None:
        work.close()
        return reason
    limit = asyncio.timeout(_seconds_left(context) if timed else None)
    try:
        async with limit:
            watch.start(limit)
            if silence is not None:
                silence.watch(limit)
            try:
                return await work
            finally:
                watch.close()
                if silence is not None:
                    silence.close()
    except TimeoutError:
        if not limit.expired():
            raise
        return watch.reason or OutcomeKind.TIMEOUT


def _seconds_left(context: RunContext) -> float:
    claim = context.claim
    return max(0.0, claim.schedule.timeout_seconds - claim.elapsed_ms / SECOND)


class _Watch:
    """Ends `limit` once an event is set that ends the work. Most requests are over before it would need tasks."""

    def __init__(self, context: RunContext, *, heeds_cancel: bool) -> None:
        self._reasons = [(context.stopping, OutcomeKind.LOST)]
        if heeds_cancel:
            self._reasons.insert(0, (context.cancelled, OutcomeKind.CANCELLED))
        self._tasks: list[asyncio.Task[None]] = []
        self._handle: asyncio.TimerHandle | None = None

    @property
    def reason(self) -> OutcomeKind | None:
        return next((kind for event, kind in self._reasons if event.is_set()), None)

    def start(self, limit: asyncio.Timeout) -> None:
        self._handle = asyncio.get_running_loop().call_later(WATCH_AFTER_SECONDS, self._listen, limit)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        for task in self._tasks:
            task.cancel()

    def _listen(self, limit: asyncio.Timeout) -> None:
        self._tasks = [
            asyncio.create_task(_end_when(event, limit), name="agentclock-limit-watch") for event, _ in self._reasons
        ]


async def _end_when(event: asyncio.Event, limit: asyncio.Timeout) -> None:
    await event.wait()
    _end(limit)


def _end(limit: asyncio.Timeout) -> None:
    if not limit.expired():
        limit.reschedule(asyncio.get_running_loop().time())
