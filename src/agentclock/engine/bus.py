"""One stream of events from the engine to whoever listens: logs, the demo's view, people who wait for a run."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from agentclock.core.events import Event, RunSettled

Listener = Callable[[Event], None]


class Bus:
    """Calls every listener with every event, in order. Listeners return at once; one that raises is reported and
    does not disturb the engine or the others."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Answers the function that ends the subscription."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def publish(self, event: Event) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:
                structlog.get_logger("agentclock.bus").exception("listener_failed", event_type=type(event).__name__)
        if isinstance(event, RunSettled):
            for watcher in self._watchers.get(event.run.id, ()):
                watcher.set()

    @contextmanager
    def watch(self, run_id: str) -> Iterator[asyncio.Event]:
        """An event that is set each time an attempt of this run settles in this process."""
        watcher = asyncio.Event()
        self._watchers[run_id].add(watcher)
        try:
            yield watcher
        finally:
            self._watchers[run_id].discard(watcher)
            if not self._watchers[run_id]:
                del self._watchers[run_id]
