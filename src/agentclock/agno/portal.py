"""A thread with an event loop of its own: the way into asynchronous code from any thread, an event loop's included."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Portal:
    """Runs coroutines on its own event loop. The thread starts with the first call and ends with `close`.

    A caller that waits blocks its own thread only: nothing on the portal's loop ever waits for the caller's loop.
    Context variables of the caller hold in the coroutine.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._process = 0

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Waits for the answer. From a thread that runs an event loop it holds that loop up for as long."""
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("a portal cannot wait for itself: await the asynchronous method instead")
        return self._submit(work).result()

    async def acall(self, work: Coroutine[Any, Any, T]) -> T:
        """The same for an event loop: only the calling task waits."""
        return await asyncio.wrap_future(self._submit(work))

    @property
    def is_open(self) -> bool:
        """Whether anything was ever called since the start, or since the last `close`."""
        return self._loop is not None

    def close(self) -> None:
        """Ends the thread once the coroutines on it are over or cancelled. May be called twice."""
        with self._starting:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None or self._process != os.getpid():
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join()

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._running_loop())

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            # A forked child inherits the object but not the thread.
            if self._loop is None or self._process != os.getpid():
                self._loop = asyncio.new_event_loop()
                self._process = os.getpid()
                self._thread = threading.Thread(target=_serve, args=(self._loop,), name=self._name, daemon=True)
                self._thread.start()
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
