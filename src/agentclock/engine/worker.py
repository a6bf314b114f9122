"""The worker: claims pending runs, has them executed, settles them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import structlog

from agentclock.core.errors import LeaseLost, StoreUnavailable
from agentclock.core.events import AgentEvent, AttemptStarted, ResultDropped
from agentclock.core.model import Claim, Outcome, OutcomeKind, Overlap
from agentclock.engine.bus import Bus
from agentclock.engine.completer import Completer
from agentclock.ports import Clock, Executor, RunContext, Said, Store, Wakeup


@dataclass(slots=True)
class Room:
    """Slots set aside for one claim, and how many of them it filled."""

    slots: int
    used: int = 0


class Worker:
    """Holds at most `concurrency` runs at a time. `wake` is rung whenever its loop should look again."""

    def __init__(
        self,
        worker_id: str,
        *,
        store: Store,
        executor: Executor,
        completer: Completer,
        clock: Clock,
        bus: Bus,
        wakeup: Wakeup,
        wake: Callable[[], None],
        concurrency: int,
    ) -> None:
        self.id = worker_id
        self.wake = wake
        self._store = store
        self._executor = executor
        self._completer = completer
        self._clock = clock
        self._bus = bus
        self._wakeup = wakeup
        self._free = concurrency
        self._turned_away = False
        self._stopping = False
        self._running: dict[asyncio.Task[None], RunContext] = {}
        self._replaceable = 0
        self._next_available_ms: int | None = None

    async def step(self) -> bool:
        """Claims as many runs as there are free slots. True: there may be more to claim."""
        with self.room() as room:
            if not room.slots:
                self._turned_away = True
                return False
            claimed = await self._store.claim(self.id, room.slots)
            self.start(claimed.claims, room)
        for fault in claimed.faults:
            structlog.get_logger("agentclock.worker").error("run_unreadable", run=fault.row_id, reason=fault.reason)
        self._next_available_ms = claimed.next_available_ms
        return len(claimed.claims) == room.slots

    def idle_seconds(self, longest: float) -> float:
        """How long nothing will become available, at most `longest`."""
        if self._next_available_ms is None or not self._free:
            return longest
        return min(max(self._next_available_ms, 1) / 1000, longest)

    @contextmanager
    def room(self) -> Iterator[Room]:
        """Reserves all free slots while a claim is under way, so that planner and worker never claim twice."""
        room = Room(slots=self._free)
        self._free = 0
        try:
            yield room
        finally:
            self._free += room.slots - room.used
            if self._turned_away and self._free:
                self._turned_away = False
                self.wake()

    def start(self, claims: Sequence[Claim], room: Room) -> None:
        """Executes each claim in a task of its own."""
        room.used += len(claims)
        for claim in claims:
            context = RunContext(claim=claim, emit=self._relay(claim), note_agent_run=self._noter(claim))
            task = asyncio.create_task(self._execute(context), name=f"agentclock-run-{claim.run.id}")
            self._running[task] = context
            self._replaceable += claim.schedule.overlap is Overlap.CANCEL
            task.add_done_callback(self._ended)

    @property
    def busy(self) -> int:
        return len(self._running)

    @property
    def replaceable(self) -> bool:
        """Whether it holds a run that the next fire of its schedule would cancel."""
        return self._replaceable > 0

    def cancel(self, run_ids: Iterable[str]) -> None:
        """Asks the executor of each of these runs to cancel it at the target."""
        wanted = set(run_ids)
        for context in self._running.values():
            if context.claim.run.id in wanted:
                context.cancelled.set()

    async def stop(self, grace_seconds: float) -> None:
        """Lets runs end for `grace_seconds`; what is left then is settled as lost."""
        if self._running:
            await asyncio.wait(self._running, timeout=grace_seconds)
        self._stopping = True
        for task in tuple(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _execute(self, context: RunContext) -> None:
        claim = context.claim
        started = AttemptStarted(run=claim.run, schedule_name=claim.schedule.name, at=self._clock.now())
        self._bus.publish(started)
        try:
            outcome = await self._deliver(context)
        except LeaseLost:
            self._bus.publish(ResultDropped(run_id=claim.run.id))
            return
        if context.cancelled.is_set():
            claim = replace(claim, run=replace(claim.run, cancel_requested=True))
        settlement = await self._completer.settle(claim, outcome)
        if settlement is not None and settlement.is_retry:
            self._wakeup.send()

    async def _deliver(self, context: RunContext) -> Outcome:
        try:
            return await self._executor.execute(context)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            return Outcome(kind=OutcomeKind.LOST, error="the worker was stopped before the run ended")
        except LeaseLost:
            raise
        except Exception as error:
            # An executor never raises for what a target does, so this is a fault of ours: say so, do not retry.
            structlog.get_logger("agentclock.worker").exception("executor_failed", run=context.claim.run.id)
            return Outcome(kind=OutcomeKind.FAILED, error=f"agentclock's own fault: {type(error).__name__}: {error}")

    def _ended(self, task: asyncio.Task[None]) -> None:
        context = self._running.pop(task)
        self._replaceable -= context.claim.schedule.overlap is Overlap.CANCEL
        self._free += 1
        self.wake()
        if not task.cancelled() and (error := task.exception()) is not None:
            structlog.get_logger("agentclock.worker").error("run_task_failed", task=task.get_name(), exc_info=error)

    def _relay(self, claim: Claim) -> Callable[[Said], None]:
        def emit(said: Said) -> None:
            event = AgentEvent(run_id=claim.run.id, schedule_id=claim.run.schedule_id, type=said.type, data=said.data)
            self._bus.publish(event)

        return emit

    def _noter(self, claim: Claim) -> Callable[[str | None, str | None], Awaitable[None]]:
        async def note(agent_run_id: str | None, session_id: str | None) -> None:
            try:
                ours = await self._store.note_agent_run(claim.run.id, claim.run.fence, agent_run_id, session_id)
            except StoreUnavailable as error:
                # The ids come again with the outcome; a run in flight does not end for this.
                log = structlog.get_logger("agentclock.worker")
                log.warning("agent_run_not_noted", run=claim.run.id, error=str(error))
                return
            if not ours:
                raise LeaseLost(claim.run.id)

        return note
