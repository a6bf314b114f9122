"""The store with a stopwatch: how long each operation takes, which ones fail, and when they last succeeded."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Final, cast

from agentclock.core.errors import AgentclockError, CorruptRow, StoreUnavailable
from agentclock.ports import Store
from agentclock.telemetry import definitions as metric
from agentclock.telemetry.metrics import Metrics

#: The operation with which a planner steps.
PLANNING: Final = "fire_due"


class Stopwatch:
    """Told of each operation by name; `failed`: the database did not carry it out."""

    def __init__(self, metrics: Metrics, monotonic: Callable[[], float]) -> None:
        self.monotonic = monotonic
        self._metrics = metrics
        self._planned_at: float | None = None

    def stopped(self, operation: str, seconds: float, *, failed: bool) -> None:
        self._metrics.observe(metric.TRIPS, seconds, operation)
        if failed:
            self._metrics.count(metric.TRIP_ERRORS, operation)
        elif operation == PLANNING:
            self._planned_at = self.monotonic()

    def since_planned(self) -> float | None:
        """Seconds since this process looked for due fires and the database was there; None: it never did."""
        return None if self._planned_at is None else self.monotonic() - self._planned_at


def timed(store: Store, stopwatch: Stopwatch) -> Store:
    """`store`, behaving as it does. What it raises on purpose is an answer, not a failure of the database."""
    return cast(Store, _Timed(store, stopwatch))


class _Timed:
    """Wraps each method at its first use; what is not a coroutine function is passed on as it is."""

    def __init__(self, store: Store, stopwatch: Stopwatch) -> None:
        self._store = store
        self._stopwatch = stopwatch

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._store, name)
        if name.startswith("_") or not inspect.iscoroutinefunction(member):
            return member
        wrapped = self._wrapped(name, member)
        # Found without us from now on.
        setattr(self, name, wrapped)
        return wrapped

    def _wrapped(self, name: str, member: Callable[..., Any]) -> Callable[..., Any]:
        stopped, monotonic = self._stopwatch.stopped, self._stopwatch.monotonic

        @functools.wraps(member)
        async def measured(*args: Any, **options: Any) -> Any:
            begun = monotonic()
            try:
                answer = await member(*args, **options)
            except Exception as error:
                stopped(name, monotonic() - begun, failed=_is_failure(error))
                raise
            stopped(name, monotonic() - begun, failed=False)
            return answer

        return measured


def _is_failure(error: Exception) -> bool:
    return isinstance(error, StoreUnavailable | CorruptRow) or not isinstance(error, AgentclockError)
