"""An event loop that the simulator turns: nothing in it runs by itself, and its time is the simulator's."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from itertools import count
from typing import Any

#: So many callbacks at one instant: somebody goes round and round without letting time pass.
TURNS_LIMIT = 200_000

TASKS_BETWEEN_CLEANINGS = 64


class Spinning(Exception):
    """A process that never comes to rest."""


class _Numbered:
    """Hashed by a number instead of its address, so that a set of them is walked in the same order every time."""

    number: int

    def __hash__(self) -> int:
        return self.number


class SimulatedTask(_Numbered, asyncio.Task):  # type: ignore[type-arg]
    def __init__(self, number: int, *args: Any, **kwargs: Any) -> None:
        self.number = number
        super().__init__(*args, **kwargs)


class SimulatedFuture(_Numbered, asyncio.Future):  # type: ignore[type-arg]
    def __init__(self, number: int, *, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        super().__init__(loop=loop)


class SimulatedLoop(asyncio.AbstractEventLoop):
    """One process's event loop. `seconds` tells the time; `complain` hears of exceptions that nobody caught."""

    def __init__(self, seconds: Callable[[], float], complain: Callable[[str], None]) -> None:
        self._seconds = seconds
        self._complain = complain
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = count(1)
        # asyncio itself holds tasks weakly, and when the collector comes is no matter of the seed.
        self._tasks: dict[int, SimulatedTask] = {}
        self._ahead = 0.0
        self._is_running = False

    # what the simulator asks of it

    def has_work(self) -> bool:
        return bool(self._ready) or self._timer_is_due()

    def next_timer(self) -> float | None:
        """When it wants to run again, on its own clock."""
        self._forget_cancelled()
        return self._timers[0][0] if self._timers else None

    def run_until_idle(self) -> None:
        """Until nothing is left to do at this instant."""
        asyncio._set_running_loop(self)
        self._is_running = True
        try:
            for _ in range(TURNS_LIMIT):
                while self._timer_is_due():
                    self._ready.append(heapq.heappop(self._timers)[2])
                if not self._ready:
                    return
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
            raise Spinning
        finally:
            self._is_running = False
            asyncio._set_running_loop(None)

    def unwind(self) -> None:
        """Ends what a dead process has left in memory. Whatever it does meanwhile must have no effect."""
        for _ in range(1_000):
            tasks = [task for task in self._tasks.values() if not task.done()]
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            self.run_until_idle()
            if (at := self.next_timer()) is not None:
                self._ahead += max(0.0, at - self.time())
        raise Spinning

    # what asyncio asks of it

    def time(self) -> float:
        return self._seconds() + self._ahead

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return SimulatedFuture(next(self._numbers), loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task = SimulatedTask(next(self._numbers), coro, loop=self, name=name, context=context)
        if task.number % TASKS_BETWEEN_CLEANINGS == 0:
            self._tasks = {number: task for number, task in self._tasks.items() if not task.done()}
        self._tasks[task.number] = task
        return task

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """At once: threads would bring their own order of things."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self._is_running

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self._complain(f"{context.get('message')}: {context.get('exception')!r}")

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """asyncio wants to be able to say so; cancelled timers are dropped when their time has come."""

    def _timer_is_due(self) -> bool:
        self._forget_cancelled()
        return bool(self._timers) and self._timers[0][0] <= self.time()

    def _forget_cancelled(self) -> None:
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
