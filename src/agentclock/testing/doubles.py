"""A clock that stands still and an executor with a script."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeAlias

from agentclock.core.model import Claim, Instant, Outcome, OutcomeKind
from agentclock.ports import RunContext, Said
from agentclock.testing.gauge import Gauge

SUCCESS: Final = Outcome(
    kind=OutcomeKind.SUCCESS, status_code=200, output={"content": "done", "content_type": "text/plain"}
)

#: What a scripted call answers; an exception is raised.
Answer: TypeAlias = Outcome | BaseException
Script: TypeAlias = Callable[[RunContext], Answer] | Sequence[Answer]


class FakeClock:
    """Time that moves only when told to. Implements `ports.Clock`; starts at 2026-01-01T00:00:00Z.

    Counts whole microseconds inside, so that sums of fractions of a second stay exact.
    """

    def __init__(self, now_ms: Instant = 1_767_225_600_000) -> None:
        self._wall_us = now_ms * 1000
        self._monotonic_us = 0
        self._order = itertools.count()
        self._sleepers: dict[int, tuple[int, asyncio.Future[None]]] = {}
        self._sleeping = Gauge()

    def now(self) -> Instant:
        return self._wall_us // 1000

    def store_now(self) -> Instant:
        return self.now()

    def monotonic(self) -> float:
        return self._monotonic_us / 1_000_000

    async def sleep(self, seconds: float) -> None:
        """Waits until the clock was advanced by `seconds`; without any to wait, lets others run once."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        key, future = next(self._order), asyncio.get_running_loop().create_future()
        self._sleepers[key] = (self._monotonic_us + round(seconds * 1_000_000), future)
        try:
            self._sleeping.set(len(self._sleepers))
            await future
        finally:
            del self._sleepers[key]
            self._sleeping.set(len(self._sleepers))

    def advance(self, seconds: float = 0, *, ms: int = 0) -> None:
        """Time passes; whoever slept that long goes on as soon as the event loop runs."""
        step_us = round(seconds * 1_000_000) + ms * 1000
        if step_us < 0:
            raise ValueError("time does not go back: use jump() for a wall clock that is set back")
        self._wall_us += step_us
        self._monotonic_us += step_us
        for wake_us, future in self._sleepers.values():
            if wake_us <= self._monotonic_us and not future.done():
                future.set_result(None)

    def set(self, now_ms: Instant) -> None:
        """Time passes until `now_ms`, which may not lie in the past."""
        self.advance(ms=now_ms - self.now())

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock, forward or back; no time passes and nobody wakes up."""
        self._wall_us += round(seconds * 1_000_000)

    @property
    def sleeping(self) -> int:
        """How many coroutines sleep now."""
        return len(self._sleepers)

    @property
    def next_wake_seconds(self) -> float | None:
        """How far to advance until the first sleeper wakes up, None when nobody sleeps."""
        if not self._sleepers:
            return None
        return max(0, min(wake_us for wake_us, _ in self._sleepers.values()) - self._monotonic_us) / 1_000_000

    async def until_sleeping(self, count: int = 1) -> None:
        """Waits, in real time, until at least `count` coroutines sleep."""
        await self._sleeping.reaches(count)


class ScriptedExecutor:
    """Answers attempts by a script and remembers them. Implements `ports.Executor`.

    `script` is a function of the context, or a list: one answer a call, the last one repeats. `contexts` are
    the calls so far, in order. `says`: what the agent is heard to say at the start of each call. While held, calls
    stay open; one whose context is cancelled ends as CANCELLED, and when the worker stops it ends as DETACHED if
    the run is attachable, else as LOST.

    `attachable`: whether agents live on without their worker, for all runs or as a function of the claim.
    `moved_on`: the ids of paused runs that somebody answered elsewhere.
    """

    def __init__(
        self,
        script: Script = (SUCCESS,),
        *,
        says: Sequence[Said] | Callable[[RunContext], Sequence[Said]] = (),
        attachable: bool | Callable[[Claim], bool] = False,
    ) -> None:
        if not callable(script) and not script:
            raise ValueError("a script needs at least one answer")
        self.script = script
        self.says = says
        self.attachable = attachable
        self.moved_on: set[str] = set()
        self.contexts: list[RunContext] = []
        self.peak_running = 0
        self.interrupted = 0
        self.closed = False
        self._held = False
        self._open: dict[int, tuple[str, asyncio.Event]] = {}
        self._calls = Gauge()

    @property
    def running(self) -> int:
        return len(self._open)

    async def execute(self, context: RunContext) -> Outcome:
        answer, key, gate = self._answer(context), len(self.contexts), asyncio.Event()
        self.contexts.append(context)
        self._open[key] = (context.claim.run.id, gate)
        self.peak_running = max(self.peak_running, self.running)
        self._calls.set(len(self.contexts))
        for said in self.says(context) if callable(self.says) else self.says:
            context.emit(said)
        try:
            if self._held:
                await _first_of(gate.wait(), context.cancelled.wait(), context.stopping.wait())
        except asyncio.CancelledError:
            self.interrupted += 1
            raise
        finally:
            del self._open[key]
        if context.cancelled.is_set():
            return Outcome(kind=OutcomeKind.CANCELLED, error="cancelled")
        if context.stopping.is_set() and not gate.is_set():
            attachable = self.can_attach(context.claim)
            return Outcome(kind=OutcomeKind.DETACHED if attachable else OutcomeKind.LOST, error="the worker stops")
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def can_attach(self, claim: Claim) -> bool:
        return self.attachable(claim) if callable(self.attachable) else self.attachable

    async def has_moved_on(self, claim: Claim) -> bool:
        return claim.run.id in self.moved_on

    def hold(self) -> None:
        """From now on calls stay open until `release`."""
        self._held = True

    def release(self, run_id: str | None = None) -> None:
        """Ends the hold and every open call, or only the open call of one run (others stay held)."""
        self._held = self._held and run_id is not None
        for held_run_id, gate in self._open.values():
            if run_id in (None, held_run_id):
                gate.set()

    async def started(self, count: int = 1) -> None:
        """Waits until `count` calls were made in all."""
        await self._calls.reaches(count)

    async def close(self) -> None:
        self.closed = True

    def _answer(self, context: RunContext) -> Answer:
        if callable(self.script):
            return self.script(context)
        return self.script[min(len(self.contexts), len(self.script) - 1)]


async def _first_of(*waits: Coroutine[Any, Any, object]) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
