"""The worker: claims pending runs, has them executed, settles them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from agentclock.core.delivery import delivery_number
from agentclock.core.errors import LeaseLost, StoreUnavailable
from agentclock.core.events import AgentEvent, AttemptStarted, EngineTrouble
from agentclock.core.model import Claim, Instant, Outcome, OutcomeKind, Overlap, RunStatus
from agentclock.core.triggers import as_triggered
from agentclock.engine.bus import Bus
from agentclock.engine.completer import Completer, dropped
from agentclock.engine.recorder import Recorder
from agentclock.logs import about_run, run_facts
from agentclock.ports import Clock, Executor, RunContext, Said, Store, Wakeup

#: How long executors may take to let go of their runs once the grace of a stop is over.
LETTING_GO_SECONDS: Final = 10.0
#: How long a stop waits for ends of runs to be written.
SETTLING_SECONDS: Final = 3.0
#: Between two looks at a run's attempts, while the database is away.
PAUSE_SECONDS: Final = (0.2, 5.0)

#: Of an attempt that sent nothing. Another one takes its place and its number.
NOT_SENT: Final = Outcome(
    kind=OutcomeKind.REFUSED,
    error="nothing was sent: with the database away, what became of the request before is unknown",
)

#: Of a worker that froze between the claim and the request, and stopped before it could ask whose the run is now.
UNSURE: Final = Outcome(
    kind=OutcomeKind.REFUSED, error="nothing was sent: the worker's lease may have been over, and could not be renewed"
)


@dataclass(slots=True)
class Room:
    """Slots set aside for one claim, and how many of them it filled."""

    slots: int
    used: int = 0


@dataclass(slots=True, eq=False)
class _Held:
    """A run in this worker's hands. `executing`: the executor has not answered yet. `disowned`: it is another
    worker's by now. `unsure`: it waits to hear whether the lease still holds. `recorded`: an agent, team or workflow,
    whose events are logged."""

    context: RunContext
    executing: bool = False
    disowned: bool = False
    unsure: bool = False
    recorded: bool = field(init=False)

    def __post_init__(self) -> None:
        self.recorded = self.context.claim.schedule.target.component is not None

    @property
    def lacks_delivery(self) -> bool:
        """Whether it is to send what an attempt before it may have sent, and does not know yet if it did."""
        run = self.context.claim.run
        return run.attempt > 1 and run.instruction is None and not self.context.delivery


class Worker:
    """Holds at most `concurrency` runs at a time. `wake` is rung whenever its loop should look again."""

    def __init__(
        self,
        worker_id: str,
        *,
        store: Store,
        executor: Executor,
        completer: Completer,
        recorder: Recorder,
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
        self._recorder = recorder
        self._clock = clock
        self._bus = bus
        self._wakeup = wakeup
        self._free = concurrency
        self._turned_away = False
        self._stopping = self._given_up = False
        self._running: dict[asyncio.Task[None], _Held] = {}
        self._replaceable = 0
        self._next_available_ms: int | None = None
        self._leased_until = float("inf")
        self._renewal = asyncio.Event()

    def renewed(self, until: float) -> None:
        """The lease holds until then, by this process's own clock."""
        self._leased_until = until
        self._renewal.set()

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
        for claim in map(as_triggered, claims):
            held = _Held(self._context(claim))
            task = asyncio.create_task(self._execute(held), name=f"agentclock-run-{claim.run.id}")
            self._running[task] = held
            self._replaceable += claim.schedule.overlap is Overlap.CANCEL
            task.add_done_callback(self._ended)

    @property
    def busy(self) -> int:
        return len(self._running)

    @property
    def replaceable(self) -> bool:
        """Whether it holds a run that the next fire of its schedule would cancel."""
        return self._replaceable > 0

    def holds(self, run_ids: Set[str]) -> bool:
        """Whether one of these runs is in its hands."""
        return any(held.context.claim.run.id in run_ids for held in self._running.values())

    def cancel(self, run_ids: Iterable[str]) -> None:
        """Asks the executor of each of these runs to cancel it at the target."""
        wanted = set(run_ids)
        for held in self._running.values() if wanted else ():
            if held.context.claim.run.id in wanted:
                held.context.cancelled.set()

    async def stop(self, grace_seconds: float) -> None:
        """Lets runs end for `grace_seconds`, then asks their executors to let go of them, then interrupts them.

        Each is settled: handed over where its agent goes on, else lost. A database that is away is not waited for
        without end: such a run is taken over by others when the lease has ended.
        """
        await self._all_ended(grace_seconds)
        for held in self._running.values():
            held.context.stopping.set()
        self._renewal.set()  # nobody waits for one any longer
        if any(held.executing for held in self._running.values()):
            await self._all_ended(LETTING_GO_SECONDS)
        self._stopping = True
        for task, held in tuple(self._running.items()):
            if held.executing:
                task.cancel()
        await self._all_ended(SETTLING_SECONDS)
        for held in self._running.values():
            log = structlog.get_logger("agentclock.worker")
            log.error("run_not_settled", **_facts(held.context.claim), detail="others take it over")
        await self._give_up()

    async def abandon(self) -> None:
        """Drops every run at once, unsettled: they are others' now."""
        for held in self._running.values():
            held.disowned = True
        await self._give_up()

    async def _all_ended(self, timeout_seconds: float) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=timeout_seconds)

    async def _give_up(self) -> None:
        self._given_up = True
        for task in tuple(self._running):
            task.cancel()
        await self._all_ended(SETTLING_SECONDS)

    async def _execute(self, held: _Held) -> None:
        claim = held.context.claim
        about_run(claim)
        self._bus.publish(_started(claim, self._clock.now()))
        self._wakeup.tell(run_id=claim.run.id)
        try:
            outcome = await self._deliver(held)
            if self._given_up:
                return
            has_begun = outcome.kind is not OutcomeKind.REFUSED or claim.run.instruction is not None
            if held.recorded and has_begun:
                await self._recorder.flush(claim)
            settlement = await self._completer.settle(_as_it_stands(held.context), outcome)
        except LeaseLost:
            self._bus.publish(dropped(claim))
            return
        except asyncio.CancelledError:
            if held.disowned:  # it had ended, and could not be settled before others took it over
                self._bus.publish(dropped(claim))
            raise
        finally:
            if held.recorded:
                self._recorder.forget(claim)
        if settlement is not None:
            self._wakeup.tell(run_id=claim.run.id)
            if settlement.status is RunStatus.PENDING:
                self._wakeup.send()

    async def _deliver(self, held: _Held) -> Outcome:
        context = held.context
        held.executing = True
        try:
            if held.recorded:
                context.seen_index = await self._open_log(held)
            if held.lacks_delivery:
                await self._learn_delivery(held)
            if held.lacks_delivery:
                return NOT_SENT
            return await self._executor.execute(context) if await self._is_sure(held) else UNSURE
        except asyncio.CancelledError:
            if held.disowned:
                raise LeaseLost(context.claim.run.id) from None
            if not self._stopping:
                raise
            if held.unsure:
                return UNSURE
            return NOT_SENT if held.lacks_delivery else self._left_behind(context.claim)
        except LeaseLost:
            raise
        except Exception as error:
            # An executor never raises for what a target does, so this is a fault of ours: say so, do not retry.
            structlog.get_logger("agentclock.worker").exception("executor_failed")
            return Outcome(kind=OutcomeKind.FAILED, error=f"agentclock's own fault: {type(error).__name__}: {error}")
        finally:
            held.executing = False

    async def _open_log(self, held: _Held) -> int | None:
        """Answers what the agent was heard to say last in this attempt, by other workers."""
        task, run = asyncio.current_task(), held.context.claim.run

        def disown() -> None:
            if held.executing and task is not None:  # later on, settling finds it out by itself
                held.disowned = True
                task.cancel()

        cursor = await self._recorder.open(held.context.claim, disown)
        return cursor.source_index if cursor.attempt == run.attempt else None

    async def _learn_delivery(self, held: _Held) -> None:
        """Finds out whose request this attempt repeats. A database that is away is waited for, as long as an attempt
        may take: a request with the wrong key could do its work twice.

        Raises LeaseLost when the attempt was ended by others meanwhile.
        """
        context, (pause, longest) = held.context, PAUSE_SECONDS
        run = context.claim.run
        until = self._clock.monotonic() + context.claim.schedule.timeout_seconds
        while not (context.stopping.is_set() or context.cancelled.is_set()):
            try:
                attempts = await self._store.attempts(run.id)
            except StoreUnavailable as error:
                if self._clock.monotonic() >= until:
                    return
                if pause == PAUSE_SECONDS[0]:
                    self._bus.publish(EngineTrouble(loop="worker", error=str(error), retry_in_seconds=pause))
                await self._clock.sleep(pause)
                pause = min(pause * 2, longest)
            else:
                if any(attempt.number == run.attempt and attempt.status.is_final for attempt in attempts):
                    raise LeaseLost(run.id)
                context.delivery = delivery_number(attempts, run.attempt)
                return

    async def _is_sure(self, held: _Held) -> bool:
        """A process that froze after the claim, for longer than its lease, must not send what others have taken over:
        it first waits for the lease to be renewed. If that is refused, this task is cancelled. False: we stop."""
        while self._clock.monotonic() >= self._leased_until:
            held.unsure = True
            if held.context.stopping.is_set():
                return False
            self._renewal.clear()
            await self._renewal.wait()
        held.unsure = False
        return True

    def _left_behind(self, claim: Claim) -> Outcome:
        """The executor did not let go in time."""
        if self._executor.can_attach(claim):
            return Outcome(kind=OutcomeKind.DETACHED)
        return Outcome(kind=OutcomeKind.LOST, error="the worker was stopped before the run ended")

    def _ended(self, task: asyncio.Task[None]) -> None:
        held = self._running.pop(task)
        self._replaceable -= held.context.claim.schedule.overlap is Overlap.CANCEL
        self._free += 1
        self.wake()
        if not task.cancelled() and (error := task.exception()) is not None:
            log = structlog.get_logger("agentclock.worker")
            log.error("run_task_failed", **_facts(held.context.claim), exc_info=error)

    def _context(self, claim: Claim) -> RunContext:
        context = RunContext(claim=claim, emit=self._relay(claim), note_agent_run=self._noter(claim))
        if claim.run.cancel_requested:
            context.cancelled.set()
        return context

    def _relay(self, claim: Claim) -> Callable[[Said], None]:
        run = claim.run

        def emit(said: Said) -> None:
            self._recorder.record(claim, said)
            event = AgentEvent(run_id=run.id, schedule_id=run.schedule_id, type=said.type, data=said.data)
            self._bus.publish(event)

        return emit

    def _noter(self, claim: Claim) -> Callable[[str | None, str | None], Awaitable[None]]:
        async def note(agent_run_id: str | None, session_id: str | None) -> None:
            try:
                ours = await self._store.note_agent_run(claim.run.id, claim.run.fence, agent_run_id, session_id)
            except StoreUnavailable as error:
                # The ids come again with the outcome; a run in flight does not end for this.
                log = structlog.get_logger("agentclock.worker")
                log.warning("agent_run_not_noted", error=str(error))
                return
            if not ours:
                raise LeaseLost(claim.run.id)

        return note


def _facts(claim: Claim) -> dict[str, object]:
    return run_facts(claim.run, claim.schedule.name)


def _started(claim: Claim, now: Instant) -> AttemptStarted:
    schedule = claim.schedule
    return AttemptStarted(run=claim.run, schedule_name=schedule.name, ping_url=schedule.ping_url, at=now)


def _as_it_stands(context: RunContext) -> Claim:
    """The claim, with what was learnt since."""
    claim = context.claim
    return replace(claim, run=replace(claim.run, cancel_requested=True)) if context.cancelled.is_set() else claim
