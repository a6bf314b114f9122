"""Starting, running and stopping the engine.

starting -> standby (another process owns the engine) -> running -> stopping -> stopped
    ^                                                       |
    +---- the database went away, or others declared us dead
"""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import structlog

from agentclock.core.errors import StoreUnavailable
from agentclock.core.events import WorkerDeclaredDead
from agentclock.engine.alarm import Alarm
from agentclock.engine.bus import Bus
from agentclock.engine.completer import Completer
from agentclock.engine.keeper import Declared, Keeper
from agentclock.engine.outage import Outage
from agentclock.engine.planner import Planner
from agentclock.engine.recorder import BYTES_LIMIT, EVENTS_LIMIT, Recorder
from agentclock.engine.worker import Worker
from agentclock.ports import Clock, Executor, News, Store, Wakeup, WorkerInfo

STANDBY_LOOK_SECONDS = 1.0
#: While the database is away, between two tries. Most of them cost nothing: the store knows.
TROUBLE_PAUSE_SECONDS = (0.5, 2.0)
#: After a fault of ours.
FAULT_PAUSE_SECONDS = 10.0
#: How long a stop waits for a step that is under way, and for the lease to be given back.
STEP_GRACE_SECONDS = 2.0
LEAVING = "this process stops"


class EngineStatus(StrEnum):
    STARTING = "starting"
    STANDBY = "standby"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """`poll_seconds` is the safety net: how long a loop sleeps at most when nothing seems due. `event_log_events` and
    `event_log_bytes`: what is kept of one run's events."""

    concurrency: int = 100
    lease_seconds: float = 15.0
    poll_seconds: float = 30.0
    shutdown_grace_seconds: float = 30.0
    history_days: int | None = 90
    event_log_events: int = EVENTS_LIMIT
    event_log_bytes: int = BYTES_LIMIT
    app_version: str = "0"


class Loop(Protocol):
    async def step(self) -> bool: ...

    def idle_seconds(self, longest: float) -> float: ...


def _random_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True)
class _Crew:
    worker: Worker
    completer: Completer
    recorder: Recorder
    planner: Planner
    keeper: Keeper


class Engine:
    """Planner, worker and keeper on one store. `prepare` runs once it owns the engine, before the first tick; `new_id`
    names each incarnation of the worker, and must never answer the same twice."""

    def __init__(
        self,
        *,
        store: Store,
        executor: Executor,
        clock: Clock,
        bus: Bus,
        wakeup: Wakeup,
        options: EngineOptions,
        prepare: Callable[[], Awaitable[None]] | None = None,
        new_id: Callable[[], str] = _random_id,
    ) -> None:
        self._store = store
        self._executor = executor
        self._clock = clock
        self._bus = bus
        self._wakeup = wakeup
        self._options = options
        self._prepare = prepare
        self._new_id = new_id
        self._alarms = {name: Alarm() for name in ("planner", "worker", "keeper")}
        self._main: asyncio.Task[None] | None = None
        self._crew: _Crew | None = None
        self._is_leaving = False
        self._log = structlog.get_logger("agentclock.engine")
        self.status = EngineStatus.STOPPED
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        #: The process that runs the engine while this one stands by.
        self.owner: str | None = None
        self.outage = Outage(clock, bus)

    @property
    def trouble(self) -> str | None:
        """What keeps a part of the engine from its work, None if nothing does."""
        return LEAVING if self._is_leaving else self.outage.error

    @property
    def busy(self) -> int:
        """How many runs this process executes now."""
        return self._crew.worker.busy if self._crew else 0

    def start(self) -> None:
        """Begins in the background; a database that is away is waited for."""
        self.status, self._is_leaving = EngineStatus.STARTING, False
        self._main = asyncio.create_task(self._run(), name="agentclock-engine")

    def ring(self) -> None:
        """Look again at once: something changed."""
        self._alarms["planner"].ring()
        self._alarms["worker"].ring()
        if self.busy:  # perhaps one of them is to be cancelled
            self._alarms["keeper"].ring()

    def hear(self, news: News) -> None:
        """Word from other processes: a run of ours may have to be cancelled."""
        if self._crew is not None and self._crew.worker.holds(news.run_ids):
            self._alarms["keeper"].ring()

    def cancel(self, run_id: str) -> None:
        """Tells the worker now, if the run is ours; its owner elsewhere learns it from the database."""
        if self._crew is not None:
            self._crew.worker.cancel([run_id])

    def _hurry(self) -> None:
        """A new fire may want a run of ours cancelled: wishes to cancel are read at once."""
        if self._crew is not None and self._crew.worker.replaceable:
            self._alarms["keeper"].ring()

    def leave(self) -> None:
        """From now on whoever asks is told that this process stops."""
        self._is_leaving = True

    async def stop(self) -> None:
        """No new claims; runs in flight get the grace, then are handed over where their agents go on without us, or
        settled as lost; the lease is given back. A database that is away costs seconds more, no minutes."""
        self.leave()
        if self._main is not None:
            self._main.cancel()
            await asyncio.gather(self._main, return_exceptions=True)
        self.status = EngineStatus.STOPPED

    async def _run(self) -> None:
        while True:
            await self._incarnation()

    async def _incarnation(self) -> None:
        """One life of a worker, from owning the engine until the end of its lease or of the process."""
        options = self._options
        info = WorkerInfo(id=self._new_id(), name=self.name, app_version=options.app_version, slots=options.concurrency)
        await self._own_engine(info)
        crew = self._crew = self._make_crew(info.id)
        try:
            await self._tick(crew)
        except Declared:
            self._bus.publish(WorkerDeclaredDead(worker=self.name, runs=crew.worker.busy))
            self.status = EngineStatus.STARTING
            await crew.worker.abandon()
        except asyncio.CancelledError:
            self.status = EngineStatus.STOPPING
            await self._drain(crew)
            raise
        finally:
            await crew.completer.close()
            await crew.recorder.close()
            await crew.keeper.close()
            with suppress(StoreUnavailable, TimeoutError):  # the lease then ends by itself
                async with asyncio.timeout(STEP_GRACE_SECONDS):
                    await self._store.release_engine(info.id)
            self._crew = None

    async def _own_engine(self, info: WorkerInfo) -> None:
        pause, longest = TROUBLE_PAUSE_SECONDS
        while True:
            try:
                owner = await self._store.acquire_engine(info, self._options.lease_seconds)
                self.outage.succeeded("start")
                if owner is None:
                    self.owner = None
                    if self._prepare is not None:
                        await self._prepare()
                    return
                self._stand_by(owner)
                await self._clock.sleep(STANDBY_LOOK_SECONDS)
                pause = TROUBLE_PAUSE_SECONDS[0]
            except StoreUnavailable as error:
                self.outage.failed("start", error, pause)
                await self._clock.sleep(pause)
                pause = min(pause * 2, longest)
            except Exception as error:
                # Whoever gave up here would do nothing for ever, and keep a lock that others wait for.
                self._log.exception("loop_failed", loop="start")
                self.outage.failed("start", error, FAULT_PAUSE_SECONDS)
                await self._clock.sleep(FAULT_PAUSE_SECONDS)

    def _stand_by(self, owner: str) -> None:
        if self.owner != owner:
            self._log.warning("standing_by", owner=owner, detail="another process runs the engine on this database")
        self.owner, self.status = owner, EngineStatus.STANDBY

    def _make_crew(self, worker_id: str) -> _Crew:
        completer = Completer(self._store, self._clock, self._bus, self.outage)
        recorder = Recorder(
            self._store,
            self._clock,
            self._bus,
            self._wakeup,
            events_limit=self._options.event_log_events,
            bytes_limit=self._options.event_log_bytes,
            outage=self.outage,
        )
        worker = Worker(
            worker_id,
            store=self._store,
            executor=self._executor,
            completer=completer,
            recorder=recorder,
            clock=self._clock,
            bus=self._bus,
            wakeup=self._wakeup,
            wake=self._alarms["worker"].ring,
            concurrency=self._options.concurrency,
        )
        keeper = Keeper(
            self._store,
            worker,
            completer,
            self._clock,
            self._bus,
            executor=self._executor,
            wakeup=self._wakeup,
            lease_seconds=self._options.lease_seconds,
            history_days=self._options.history_days,
            is_patient=self.outage.ended_within(self._options.lease_seconds),
        )
        planner = Planner(self._store, worker, self._bus, self._wakeup, hurry=self._hurry)
        return _Crew(worker, completer, recorder, planner, keeper)

    async def _tick(self, crew: _Crew) -> None:
        """Runs the three loops until one of them ends this incarnation."""
        self._log.info("engine_running", worker=self.name, concurrency=self._options.concurrency)
        self.status = EngineStatus.RUNNING
        # What dead workers left must be settled before the first plan, or it would count as still running.
        await self._patiently("keeper", crew.keeper)
        loops: dict[str, Loop] = {"planner": crew.planner, "worker": crew.worker, "keeper": crew.keeper}
        try:
            async with asyncio.TaskGroup() as group:
                for name, loop in loops.items():
                    group.create_task(self._loop(name, loop), name=f"agentclock-{name}")
        except* Declared as group_error:
            raise Declared(str(group_error.exceptions[0])) from None

    async def _loop(self, name: str, loop: Loop) -> None:
        while True:
            await self._patiently(name, loop)
            await self._alarms[name].wait(loop.idle_seconds(self._options.poll_seconds))

    async def _patiently(self, name: str, loop: Loop) -> None:
        """Steps until there is no more work. A database that is away costs pauses, never the loop."""
        pause, longest = TROUBLE_PAUSE_SECONDS
        while True:
            try:
                while await _undisturbed(loop.step):
                    pass
            except StoreUnavailable as error:
                self.outage.failed(name, error, pause)
                await self._clock.sleep(pause)
                pause = min(pause * 2, longest)
            except Declared:
                raise
            except Exception as error:
                # A fault of ours must be loud, but must not stop every other schedule for good.
                self._log.exception("loop_failed", loop=name)
                self.outage.failed(name, error, FAULT_PAUSE_SECONDS)
                await self._clock.sleep(FAULT_PAUSE_SECONDS)
            else:
                self.outage.succeeded(name)
                return

    async def _drain(self, crew: _Crew) -> None:
        """Nothing new is begun; what runs may end within the grace, under a lease that goes on being renewed."""
        keeping = asyncio.create_task(self._loop("keeper", crew.keeper), name="agentclock-keeper-drain")
        try:
            await crew.worker.stop(self._options.shutdown_grace_seconds)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)


async def _undisturbed(step: Callable[[], Coroutine[None, None, bool]]) -> bool:
    """One step that a stop does not cut in half: runs that it claims must reach the worker, or nobody would hold
    them and they would end as lost without ever having been started."""
    task = asyncio.create_task(step())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=STEP_GRACE_SECONDS)
        task.cancel()
        raise
