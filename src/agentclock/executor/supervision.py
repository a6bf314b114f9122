"""The two limits that hold for every attempt: the schedule's timeout and a wish to cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from agentclock.core.model import Outcome, OutcomeKind
from agentclock.ports import RunContext


async def supervised(work: Coroutine[Any, Any, Outcome], context: RunContext) -> Outcome | OutcomeKind:
    """The outcome of `work`, or TIMEOUT or CANCELLED when it had to be stopped before it was done."""
    if context.cancelled.is_set():
        work.close()
        return OutcomeKind.CANCELLED
    limit = asyncio.timeout(context.claim.schedule.timeout_seconds)
    watcher: asyncio.Task[None] | None = None
    try:
        async with limit:
            watcher = asyncio.create_task(_end_when_cancelled(context.cancelled, limit))
            return await work
    except TimeoutError:
        if not limit.expired():
            raise
        return OutcomeKind.CANCELLED if context.cancelled.is_set() else OutcomeKind.TIMEOUT
    finally:
        if watcher is not None:
            watcher.cancel()


async def _end_when_cancelled(cancelled: asyncio.Event, limit: asyncio.Timeout) -> None:
    await cancelled.wait()
    limit.reschedule(asyncio.get_running_loop().time())
