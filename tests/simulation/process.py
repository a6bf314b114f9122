"""One simulated process: a real engine on a real store, in an event loop of its own that can be stopped at any time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tests.simulation.calls import Call, NamedStore, Request
from tests.simulation.loop import SimulatedLoop

from agentclock.backfilling import Backfilling
from agentclock.core.errors import AgentclockError, StoreUnavailable
from agentclock.core.events import Event
from agentclock.core.model import Instant
from agentclock.engine.bus import Bus
from agentclock.engine.service import Engine, EngineOptions, EngineStatus
from agentclock.ports import News
from agentclock.runs import Runs
from agentclock.scheduler import EngineState, Scheduler

if TYPE_CHECKING:
    from tests.simulation.world import World


class ProcessClock:
    """A process's own idea of the time; the database's clock rules."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def now(self) -> Instant:
        return self.store_now() + self._process.skew_ms

    def store_now(self) -> Instant:
        return self._process.world.database_now()

    def monotonic(self) -> float:
        return self._process.loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SimulatedWakeup:
    """Notices between processes: late, lost, twice."""

    state = "ok"

    def __init__(self, process: Process) -> None:
        self._process = process

    async def start(self, on_wake: Callable[[], None], on_news: Callable[[News], None] | None = None) -> None: ...

    def send(self) -> None:
        self._process.world.network.wake_others(self._process)

    def tell(self, *, run_id: str | None = None, schedule_id: str | None = None) -> None:
        if run_id is not None:
            self._process.world.network.tell_others(self._process, run_id)

    async def close(self) -> None: ...


class Process:
    """From its start to its death. `number` says which of the workers it is, `life` counts its incarnations."""

    def __init__(self, world: World, number: int, life: int, *, skew_ms: int) -> None:
        self.world, self.number, self.life, self.skew_ms = world, number, life, skew_ms
        self.name = f"w{number}.{life}"
        self.is_alive = True
        self.is_stopping = False
        #: Nothing of it runs until then.
        self.frozen_until_us = 0
        #: How long its own monotonic clock stood still.
        self.asleep_us = self._sleep_until_us = 0
        #: When something last kept it from doing its work.
        self.harmed_at_us = world.now_us
        self.calls: list[Call] = []
        self.worker_id = ""
        self.loop = SimulatedLoop(lambda: (world.now_us - self.asleep_us) / 1_000_000, self._complain)
        self.clock = ProcessClock(self)
        self._real_store = world.database.store(self.clock, self)
        self.store: Any = NamedStore(world.mutation.store(self._real_store, self))
        self.wakeup = SimulatedWakeup(self)
        self.bus = Bus()
        self.bus.subscribe(self._hear)
        self.engine = self._engine()
        self.loop.call_soon(self.engine.start)

    def _engine(self) -> Engine:
        setting = self.world.setting
        engine = Engine(
            store=self.store,
            executor=self.world.mutation.executor(self.world.targets, self),
            clock=self.clock,
            bus=self.bus,
            wakeup=self.wakeup,
            options=EngineOptions(
                concurrency=setting.concurrency,
                lease_seconds=setting.lease_seconds,
                poll_seconds=setting.poll_seconds,
                shutdown_grace_seconds=setting.shutdown_grace_seconds,
                history_days=None,
            ),
            new_id=lambda: self.world.new_worker_id(self),
        )
        engine.name = self.name
        return engine

    # what people ask of it

    def scheduler(self) -> Scheduler:
        return Scheduler(
            self.store,
            clock=self.clock,
            wakeup=self._look_again,
            engine_state=lambda: EngineState(status=self.engine.status.value, owner=self.engine.owner),
            entropy=self.world.random.randbytes,
        )

    def runs(self) -> Runs:
        return Runs(self.store, clock=self.clock, wakeup=self._look_again, cancel_here=self.engine.cancel)

    def backfilling(self) -> Backfilling:
        return Backfilling(self.store, wakeup=self._look_again, entropy=self.world.random.randbytes)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """A request of somebody's: refused or cut off, it is their business to ask again."""

        async def attempt() -> None:
            with suppress(AgentclockError):
                await work

        self.loop.call_soon(lambda: self.loop.create_task(attempt()))

    def _look_again(self) -> None:
        self.engine.ring()
        self.wakeup.send()

    # what happens to it

    @property
    def is_frozen(self) -> bool:
        return self.frozen_until_us > self.world.now_us

    @property
    def is_working(self) -> bool:
        return self.is_alive and not self.is_stopping and self.engine.status is EngineStatus.RUNNING

    @property
    def has_room(self) -> bool:
        return self.engine.busy < self.world.setting.concurrency

    def has_work(self) -> bool:
        return self.is_alive and not self.is_frozen and self.loop.has_work()

    def next_at_us(self) -> int | None:
        """When it wants to run next."""
        timer = self.loop.next_timer()
        if timer is None:
            return None
        at_us = math.ceil(timer * 1_000_000) + self.asleep_us
        while (at_us - self.asleep_us) / 1_000_000 < timer:  # fractions of a second are no round numbers
            at_us += 1
        return max(self.frozen_until_us, at_us)

    def run(self) -> None:
        self.loop.run_until_idle()

    def harm(self, *, until_us: int) -> None:
        """Something keeps it from doing its work, for so long."""
        self.harmed_at_us = max(self.harmed_at_us, until_us)

    def freeze(self, us: int, *, asleep: bool) -> None:
        """Nothing of it runs for so long. `asleep`: its machine sleeps, and its monotonic clock does not notice."""
        until_us = self.world.now_us + us
        if asleep:
            self.asleep_us += max(0, until_us - max(self.world.now_us, self._sleep_until_us))
            self._sleep_until_us = max(self._sleep_until_us, until_us)
        self.frozen_until_us = max(self.frozen_until_us, until_us)
        self.harm(until_us=self.frozen_until_us)

    def wake_up(self) -> None:
        """Whatever it slept in, it goes on now."""
        if self.is_frozen:
            self.asleep_us -= max(0, self._sleep_until_us - self.world.now_us)
            self.frozen_until_us = self._sleep_until_us = self.harmed_at_us = self.world.now_us

    def stop(self) -> None:
        """As at a deployment."""
        if self.is_stopping:
            return
        self.is_stopping, self.harmed_at_us = True, self.world.now_us

        async def stopping() -> None:
            await self.engine.stop()
            await self._real_store.close()
            self.is_alive = False

        self.loop.call_soon(lambda: self.loop.create_task(stopping()))

    def crash(self) -> None:
        """kill -9. What was on its way to the database may have been executed or not; nobody hears the answer."""
        self.is_alive = False
        self.world.database.crash(self._real_store)
        for call in tuple(self.calls):
            if not call.executed and self.world.random.random() < 0.5:
                self.world.execute(self, call)
        self.bury()

    def bury(self) -> None:
        """Puts away what a dead process has left in memory."""
        self.world.is_muted = True
        self.loop.unwind()
        self.world.is_muted = False

    async def elapsed(self, us: int) -> None:
        """Until so much time has passed in the world, by whatever clock: word from outside comes when it comes."""
        come = self.loop.create_future()
        self.world.after(max(us, 1), lambda: None if come.done() or not self.is_alive else come.set_result(None))
        await come

    # its line to the database

    @property
    def is_direct(self) -> bool:
        return not isinstance(asyncio.get_running_loop(), SimulatedLoop)

    async def ask(self, request: Request, work: Callable[[], Awaitable[Any]]) -> Any:
        if not self.is_alive:
            raise asyncio.CancelledError
        call = Call(request, work, self.loop.create_future(), self.world.now_us)
        self.calls.append(call)
        self.world.network.send(self, call)
        try:
            return await call.answer
        except StoreUnavailable:
            self.harm(until_us=self.world.now_us)
            raise
        finally:
            self.calls.remove(call)

    def _hear(self, event: Event) -> None:
        if self.is_alive:
            self.world.hear(event)

    def _complain(self, text: str) -> None:
        if self.is_alive:
            self.world.violate(f"{self.name}: {text}")
