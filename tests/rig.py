"""One process's engine, taken apart: its loops are stepped by hand, on the real store and a clock that stands still."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from agentclock.core.events import Event
from agentclock.core.model import Run, Schedule, Target
from agentclock.engine.bus import Bus
from agentclock.engine.completer import Completer
from agentclock.engine.keeper import Keeper
from agentclock.engine.planner import Planner
from agentclock.engine.recorder import Recorder
from agentclock.engine.worker import Worker
from agentclock.ports import News, PageRequest, RunFilter, Store, WorkerInfo
from agentclock.testing import FakeClock, ScriptedExecutor

LEASE_SECONDS = 15.0
Seen = TypeVar("Seen", bound=Event)


class NoWakeup:
    """Wake-ups across processes are of no use to one that is stepped by hand: they are counted, news is kept."""

    state = "ok"

    def __init__(self) -> None:
        self.sent = 0
        self.told: list[str | None] = []

    async def start(self, on_wake: Callable[[], None], on_news: Callable[[News], None] | None = None) -> None: ...

    def send(self) -> None:
        self.sent += 1

    def tell(self, *, run_id: str | None = None, schedule_id: str | None = None) -> None:
        self.told.append(run_id or schedule_id)

    async def close(self) -> None: ...


class Rig:
    """One process's engine, taken apart."""

    def __init__(self, store: Store, clock: FakeClock, executor: ScriptedExecutor, *, slots: int = 10) -> None:
        self.store, self.clock, self.executor = store, clock, executor
        self.events: list[Event] = []
        self.wakes = 0
        self.bus = Bus()
        self.bus.subscribe(self.events.append)
        self.wakeup = NoWakeup()
        self.completer = Completer(store, clock, self.bus)
        self.recorder = Recorder(store, clock, self.bus, self.wakeup)
        self.worker = Worker(
            str(uuid.uuid4()),
            store=store,
            executor=executor,
            completer=self.completer,
            recorder=self.recorder,
            clock=clock,
            bus=self.bus,
            wakeup=self.wakeup,
            wake=self._wake,
            concurrency=slots,
        )
        self.planner = Planner(store, self.worker, self.bus, self.wakeup)
        self.keeper = Keeper(
            store,
            self.worker,
            self.completer,
            clock,
            self.bus,
            executor=executor,
            wakeup=self.wakeup,
            lease_seconds=LEASE_SECONDS,
            history_days=None,
        )

    def _wake(self) -> None:
        self.wakes += 1

    async def begin(self) -> Rig:
        info = WorkerInfo(id=self.worker.id, name="here:1", app_version="1")
        assert await self.store.acquire_engine(info, LEASE_SECONDS) is None
        return self

    async def tick(self) -> None:
        """Everything that is due now happens, attempts that are not held open end."""
        await self.settled()
        for step in (self.keeper.step, self.reviewed, self.planner.step, self.worker.step):
            while await step():
                pass
            await self.settled()

    async def reviewed(self) -> bool:
        """Until every target was asked about its paused runs."""
        await self.until(lambda: not self.keeper.reviewer.asking)
        return False

    async def settled(self) -> None:
        """Until every attempt is over, but for those that the executor holds open."""
        for _ in range(20):  # whoever was just released gets going
            await asyncio.sleep(0)
        await self.until(lambda: self.worker.busy <= self.executor.running)

    async def until(self, condition: Callable[[], object]) -> None:
        """The store's threads need real time, the clock's does not pass."""
        while not condition():  # noqa: ASYNC110 - there is no event for "nothing is left to do"
            await asyncio.sleep(0.0005)

    def seen(self, kind: type[Seen]) -> list[Seen]:
        return [event for event in self.events if isinstance(event, kind)]

    async def runs(self) -> list[Run]:
        return sorted((await self.store.list_runs(RunFilter(), PageRequest())).items, key=lambda run: run.id)


async def add(store: Store, clock: FakeClock, **changes: Any) -> Schedule:
    """A schedule of an agent that is due now."""
    base = Schedule(
        id="s1",
        name="s1",
        target=Target(endpoint="/agents/greeter/runs"),
        run_at=clock.now(),
        next_fire_at=clock.now(),
        created_at=clock.now(),
    )
    schedule = replace(base, **changes)
    await store.insert_schedules([schedule])
    return schedule


async def only(rig: Rig) -> Run:
    [run] = await rig.runs()
    return run
