"""The simulated world: one clock, one queue of what happens next, and every random choice drawn from one seed.

Nothing runs beside anything else. A process runs until it has nothing left to do at this instant; a transaction runs
from its beginning to its end; then the next entry of the queue is taken, and time passes in between.
"""

from __future__ import annotations

import hashlib
import heapq
import random
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

from tests.simulation.calls import Call
from tests.simulation.databases import Database
from tests.simulation.executor import SimulatedExecutor
from tests.simulation.invariants import Watch
from tests.simulation.loop import Spinning
from tests.simulation.network import Network
from tests.simulation.plan import Happening, Plan, Range
from tests.simulation.population import make_schedules
from tests.simulation.process import Process
from tests.simulation.targets import Targets
from tests.simulation.trace import summary

from agentclock.core.events import Event, RunTakenOver, WorkerDeclaredDead
from agentclock.core.model import Instant

US = 1_000_000
#: How long a process takes to start, at least.
START_US = 1_000_000


class Violation(Exception):
    """An invariant did not hold."""


class Mutation:
    """The program as it is. Subclasses plant a fault into every process."""

    name = "none"

    def store(self, store: Any, process: Process) -> Any:
        return store

    def executor(self, targets: Targets, process: Process) -> SimulatedExecutor:
        return SimulatedExecutor(targets, process.elapsed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How the processes of one simulation are set up."""

    workers: int
    concurrency: int
    lease_seconds: float
    poll_seconds: float
    shutdown_grace_seconds: float


class World:
    def __init__(
        self, plan: Plan, seed: int, database: Database, mutation: Mutation | None = None, *, verbose: bool = False
    ) -> None:
        self.plan, self.seed, self.database, self._verbose = plan, seed, database, verbose
        self.mutation = mutation or Mutation()
        self.random = random.Random(seed)
        self.now_us = 0
        self._epoch_ms = plan.begin(self.random.randrange(len(plan.begins)))
        self.database_offset_ms = self._latest_offset_ms = 0
        self.is_muted = False
        #: Until then nobody is started.
        self.outage_until_us = 0
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self.is_calm = False
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._lives: Counter[int] = Counter()
        self._hash = hashlib.blake2b(digest_size=8)
        self.step = 0
        self.setting = self._setting()
        self.targets = Targets(seed, plan, lambda: self.now_us, self.violate)
        self.network = Network(self)
        self.processes: list[Process] = []
        #: Which process every worker id belongs to, of the dead as well.
        self.workers: dict[str, Process] = {}
        #: When something last befell all of them.
        self.harmed_at_us = 0
        self.own_store = database.begin(_DatabaseClock(self))
        self.schedules = make_schedules(plan, self.random, self.database_now())
        self.watch = Watch(self)
        self.do(self.own_store.insert_schedules(self.schedules))

    def _setting(self) -> Setting:
        workers, pick = self.plan.workers, self.random.choice
        return Setting(
            workers=self.random.randint(workers.count.least, workers.count.most),
            concurrency=pick(workers.concurrency),
            lease_seconds=pick(workers.lease_seconds),
            poll_seconds=workers.poll_seconds,
            shutdown_grace_seconds=pick(workers.shutdown_grace_seconds),
        )

    # time and chance

    def database_now(self) -> Instant:
        return self._epoch_ms + self.now_us // 1_000 + self.database_offset_ms

    def latest_now(self) -> Instant:
        """What the database's clock would say if nobody had ever set it back."""
        return self._epoch_ms + self.now_us // 1_000 + self._latest_offset_ms

    def draw_us(self, bounds: Range, unit_us: int) -> int:
        return round(self.random.uniform(bounds.least, bounds.most) * unit_us)

    def after(self, us: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now_us + us, next(self._order), action))

    def pass_time(self, seconds: float) -> None:
        """Everything that happens in so much time. Raises Violation."""
        until_us = self.now_us + round(seconds * US)
        while True:
            self._let_processes_run()
            self.raise_violations()
            at_us = self._next_at_us()
            if at_us is None or at_us > until_us:
                break
            self.now_us = max(self.now_us, at_us)
            if self._queue and self._queue[0][0] <= self.now_us:
                heapq.heappop(self._queue)[2]()
        self.now_us = until_us

    def _let_processes_run(self) -> None:
        ready = [process for process in self.processes if process.has_work()]
        if len(ready) > 1:
            self.random.shuffle(ready)
        for process in ready:
            try:
                process.run()
            except Spinning:
                self.violate(f"{process.name} goes round and round without letting time pass")
        for process in [process for process in self.processes if not process.is_alive]:
            process.bury()
            self.processes.remove(process)

    def _next_at_us(self) -> int | None:
        times = [at for process in self.processes if (at := process.next_at_us()) is not None]
        if self._queue:
            times.append(self._queue[0][0])
        return min(times, default=None)

    # processes

    def start(self, number: int) -> None:
        if any(process.number == number for process in self.processes):
            return
        if self.now_us < self.outage_until_us:
            self.after(self.outage_until_us - self.now_us, lambda: self.start(number))
            return
        self._lives[number] += 1
        skew_ms = 0
        process = Process(self, number, self._lives[number], skew_ms=skew_ms)
        self.processes.append(process)
        self.note("start", process.name)

    def start_all(self) -> None:
        for number in range(1, self.setting.workers + 1):
            self.start(number)

    def crash(self, process: Process, when: str, *, down_seconds: float) -> None:
        """It comes back after a while, as whoever supervises it would see to."""
        if not process.is_alive:
            return
        self.count("crashes")
        self.note("crash", process.name, when)
        process.crash()
        self.after(max(START_US, round(down_seconds * US)), lambda: self.start(process.number))

    def end(self) -> None:
        """Of the simulation: what it left in memory is put away."""
        for process in self.processes:
            process.crash()

    def expect(self, happening: Happening) -> None:
        """What a plan's event asks for: at the store call that it names, or now."""
        if happening.before or happening.after:
            self.network.traps.append(happening)
        else:
            self.befall(happening)

    def deploy(self, process: Process, seconds: float) -> None:
        """Stopped, and started again so long after its end."""
        self.count("deployments")
        self.note("stop", process.name)
        process.stop()
        self.after(max(START_US, round(seconds * US)), lambda: self._start_once_stopped(process))

    def _start_once_stopped(self, process: Process) -> None:
        if process.is_alive:
            self.after(US, lambda: self._start_once_stopped(process))
        else:
            self.start(process.number)

    def befall(self, happening: Happening) -> None:
        """What a plan's event asks for, now."""
        for process in [one for one in self.processes if one.number == happening.worker]:
            match happening.action:
                case "crash":
                    self.crash(process, "planned", down_seconds=happening.seconds)
                case "freeze" | "suspend":
                    self.freeze(process, round(happening.seconds * US), asleep=happening.action == "suspend")
                case "deploy":
                    self.deploy(process, happening.seconds)
                case "skew":
                    self.set_clock(process, happening.seconds)
                case _:
                    pass
        if happening.action == "database_away":
            self.take_database_away(happening.seconds)
        elif happening.action == "database_clock":
            self.jump_database_clock(happening.seconds)

    def freeze(self, process: Process, us: int, *, asleep: bool) -> None:
        self.count("sleeps" if asleep else "freezes")
        process.freeze(us, asleep=asleep)

    def set_clock(self, process: Process, seconds: float) -> None:
        """Wrong by so much."""
        self.count("clocks set wrong")
        process.skew_ms = round(seconds * 1_000)

    def take_database_away(self, seconds: float) -> None:
        self.count("times the database was away")
        self.network.away_until_us = max(self.network.away_until_us, self.now_us + round(seconds * US))
        self.harmed_at_us = max(self.harmed_at_us, self.network.away_until_us)

    def take_host_away(self, seconds: float) -> None:
        self.count("times the targets were away")
        self.targets.away = True
        self.after(round(seconds * US), self._bring_host_back)

    def _bring_host_back(self) -> None:
        self.targets.away = False

    def jump_database_clock(self, seconds: float) -> None:
        self.count("clock jumps")
        self.note("clock", seconds)
        self.database_offset_ms += round(seconds * 1_000)
        self._latest_offset_ms = max(self._latest_offset_ms, self.database_offset_ms)
        self.harmed_at_us = max(self.harmed_at_us, self.now_us)

    def make_peace(self) -> None:
        """From now on nothing goes wrong. A clock that was set back is set right."""
        self.is_calm = True
        self.note("peace")
        self.network.away_until_us = 0
        self.network.traps.clear()
        self.targets.away = False
        if self.database_offset_ms != self._latest_offset_ms:
            self.database_offset_ms = self._latest_offset_ms
            self.harmed_at_us = max(self.harmed_at_us, self.now_us)
        self.outage_until_us = 0
        for process in self.processes:
            process.skew_ms = 0
            process.wake_up()
            self.network.hurry(process)
            self.network.wake(process)
            if process.is_stopping:
                self._start_once_stopped(process)
        for number in range(1, self.setting.workers + 1):
            self.start(number)

    def new_worker_id(self, process: Process) -> str:
        worker_id = process.worker_id = str(uuid.UUID(bytes=self.random.randbytes(16), version=4))
        self.workers[worker_id] = process
        return worker_id

    # the database

    def do(self, work: Any) -> Any:
        return self.database.do(work)

    def execute(self, process: Process, call: Call) -> None:
        """One transaction, from its beginning to its end."""
        call.executed = True
        self.count("transactions")
        try:
            call.result = self.do(call.work())
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            call.error = error
        self.note("call", process.name, call.request.name, summary(call.result), type(call.error).__name__)
        if call.error is None:
            self.watch.executed(process, call.request, call.result)

    # what is told of it

    def count(self, what: str, by: int = 1) -> None:
        self.counts[what] += by

    def note(self, *facts: object) -> None:
        self._hash.update(f"{self.now_us} {facts}\n".encode())
        if self._verbose:
            print(f"step {self.step:<3} {self.now_us / US:14.6f} s  {'  '.join(map(str, facts))}")

    @property
    def trace(self) -> str:
        """The same for two simulations in which the same happened, in the same order, at the same times."""
        return self._hash.hexdigest()

    def hear(self, event: Event) -> None:
        if isinstance(event, WorkerDeclaredDead):
            self.count("workers declared dead")
        elif isinstance(event, RunTakenOver):
            self.count("runs taken over")

    def violate(self, text: str) -> None:
        self.violations.append(f"step {self.step}, {self.now_us / US:.3f} s: {text}")

    def raise_violations(self) -> None:
        if self.violations:
            raise Violation("; ".join(self.violations[:3]))


class _DatabaseClock:
    """The simulator's own store goes by the database's clock."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> Instant:
        return self._world.database_now()

    store_now = now

    def monotonic(self) -> float:
        return self._world.now_us / US

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("the simulator does not sleep")
