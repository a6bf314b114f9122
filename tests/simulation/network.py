"""What lies between processes and their database, and between one another: time, and what may go wrong on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tests.simulation.calls import Call
from tests.simulation.plan import Happening

from agentclock.ports import News

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World

#: A call that takes longer keeps a worker from renewing its lease in time, perhaps.
SLOW_US: Final = 250_000
#: After so long a process gives a call up.
PATIENCE_US: Final = 15_000_000
#: In peace nothing takes longer than that.
QUICK_US: Final = 10_000


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one call. `before`, `after`: what happens just then to whoever makes it, or to the world."""

    arrives_in_us: int
    returns_in_us: int
    fails: bool = False
    loses_reply: bool = False
    before: Callable[[], None] | None = None
    after: Callable[[], None] | None = None


class Network:
    def __init__(self, world: World) -> None:
        self._world = world
        #: Events of the plan that wait for a certain store call.
        self.traps: list[Happening] = []
        self.away_until_us = 0

    # to the database

    def send(self, process: Process, call: Call) -> None:
        fate = self._trapped(process, call, self._fate(process, call))
        if fate.arrives_in_us + fate.returns_in_us > SLOW_US:
            process.harm(until_us=self._world.now_us + fate.arrives_in_us + fate.returns_in_us)
        self._world.after(fate.arrives_in_us, lambda: self._arrive(process, call, fate))

    def hurry(self, process: Process) -> None:
        """Whatever is under way arrives now."""
        for call in process.calls:
            if call.executed:
                self._world.after(0, lambda call=call: self._return(process, call))  # type: ignore[misc]
            else:
                self._world.after(0, lambda call=call: self._arrive(process, call, Fate(0, 0)))  # type: ignore[misc]

    def _fate(self, process: Process, call: Call) -> Fate:
        world, faults = self._world, self._world.plan.faults
        chance = world.random.random
        arrives, returns = (1 + world.draw_us(world.plan.workers.latency_ms, 1_000) for _ in range(2))
        if world.is_calm:
            return Fate(min(arrives, QUICK_US), min(returns, QUICK_US))
        if chance() < faults.slow_call.probability:
            world.count("slow calls")
            extra = world.draw_us(faults.slow_call.seconds, 1_000_000)
            arrives, returns = (arrives + extra, returns) if chance() < 0.5 else (arrives, returns + extra)
        fails = chance() < faults.failed_call.probability or arrives > PATIENCE_US
        late = arrives + returns > PATIENCE_US
        lost = chance() < faults.lost_reply.probability or late
        fate = Fate(
            arrives_in_us=min(arrives, PATIENCE_US),
            returns_in_us=min(returns, PATIENCE_US),
            fails=fails,
            loses_reply=lost and world.database.loses_replies,
        )
        if chance() >= faults.crash.probability:
            return fate
        seconds = world.draw_us(faults.crash.seconds, 1_000_000) / 1_000_000
        when = "before" if chance() < 0.5 else "after"
        return replace(fate, **{when: self._crash(process, f"{when} {call.request.name}", seconds)})

    def _crash(self, process: Process, when: str, seconds: float) -> Callable[[], None]:
        return lambda: self._world.crash(process, when, down_seconds=seconds)

    def _trapped(self, process: Process, call: Call, fate: Fate) -> Fate:
        """The fate that the plan wrote down for this call, if it did."""
        for trap in self.traps:
            name = trap.before or trap.after
            if name == call.request.name and trap.worker == process.number:
                self.traps.remove(trap)
                if trap.action == "lose_reply":
                    return replace(fate, fails=False, loses_reply=self._world.database.loses_replies)

                def spring(trap: Happening = trap) -> None:
                    self._world.befall(trap)

                return replace(fate, fails=False, **{"before" if trap.before else "after": spring})
        return fate

    def _arrive(self, process: Process, call: Call, fate: Fate) -> None:
        world = self._world
        if not process.is_alive or call.executed:
            return
        if fate.before is not None:
            fate.before()
            if not process.is_alive:
                return
        if world.now_us < self.away_until_us:
            call.fail("the simulated database is away")
        elif fate.fails:
            world.count("failed calls")
            call.fail("the simulated connection was closed before the call")
        else:
            self._execute(process, call, fate)
        call.executed = True
        if call.error is not None:
            world.note("unanswered", process.name, call.request.name, call.error)
        if process.is_alive:
            world.after(fate.returns_in_us, lambda: self._return(process, call))

    def _execute(self, process: Process, call: Call, fate: Fate) -> None:
        world = self._world
        world.execute(process, call)
        if fate.after is not None:
            fate.after()
            world.count("commits whose reply was not heard", not process.is_alive)
        if process.is_alive and fate.loses_reply:
            world.count("lost replies")
            call.fail("the simulated connection was closed before the reply")

    def _return(self, process: Process, call: Call) -> None:
        if process.is_alive:
            call.reply()

    # between processes

    def wake_others(self, sender: Process) -> None:
        for process in self._world.processes:
            if process is not sender:
                for delay_us in self._deliveries():
                    self._world.after(delay_us, lambda process=process: self.wake(process))  # type: ignore[misc]

    def tell_others(self, sender: Process, run_id: str) -> None:
        news = News(run_ids=frozenset({run_id}))
        for process in self._world.processes:
            if process is not sender and process.engine.busy:
                for delay_us in self._deliveries():
                    self._world.after(delay_us, lambda process=process: self._tell(process, news))  # type: ignore[misc]

    def wake(self, process: Process) -> None:
        if process.is_alive:
            process.loop.call_soon(process.engine.ring)

    def _tell(self, process: Process, news: News) -> None:
        if process.is_alive:
            process.loop.call_soon(process.engine.hear, news)

    def _deliveries(self) -> list[int]:
        """After how long a notice arrives, each time that it does."""
        world, wakeups = self._world, self._world.plan.faults.wakeups
        if not world.is_calm and world.random.random() < wakeups.lost:
            world.count("lost wake-ups")
            return []
        times = 1 + (not world.is_calm and world.random.random() < wakeups.duplicated)
        return [world.draw_us(wakeups.delay_ms, 1_000) for _ in range(times)]
