"""What lies between processes and their database, and between one another: time, and what may go wrong on the way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from tests.simulation.calls import Call
from tests.simulation.plan import Happening

from agentclock.ports import News

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World

#: A call that takes longer keeps a worker from renewing its lease in time, perhaps.
SLOW_US: Final = 250_000


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one call."""

    arrives_in_us: int
    returns_in_us: int
    fails: bool = False
    crashes: Literal["before", "after"] | None = None
    loses_reply: bool = False


class Network:
    def __init__(self, world: World) -> None:
        self._world = world
        #: Events of the plan that wait for a certain store call.
        self.traps: list[Happening] = []
        self.away_until_us = 0

    # to the database

    def send(self, process: Process, call: Call) -> None:
        fate = self._fate(process, call)
        if fate.arrives_in_us + fate.returns_in_us > SLOW_US:
            process.harmed_at_us = self._world.now_us + fate.arrives_in_us + fate.returns_in_us
        self._world.after(fate.arrives_in_us, lambda: self._arrive(process, call, fate))

    def _fate(self, process: Process, call: Call) -> Fate:
        world, faults = self._world, self._world.plan.faults
        chance = world.random.random
        arrives, returns = (world.draw_us(world.plan.workers.latency_ms, 1_000) for _ in range(2))
        if world.is_calm:
            return self._trapped(process, call, Fate(arrives, returns))
        if chance() < faults.slow_call.probability:
            world.count("slow calls")
            extra = world.draw_us(faults.slow_call.seconds, 1_000_000)
            arrives, returns = (arrives + extra, returns) if chance() < 0.5 else (arrives, returns + extra)
        crashes: Literal["before", "after"] | None = None
        if chance() < faults.crash.probability:
            crashes = "before" if chance() < 0.5 else "after"
        fate = Fate(
            arrives_in_us=arrives,
            returns_in_us=returns,
            fails=chance() < faults.failed_call.probability,
            crashes=crashes,
            loses_reply=chance() < faults.lost_reply.probability and world.database.loses_replies,
        )
        return self._trapped(process, call, fate)

    def _trapped(self, process: Process, call: Call, fate: Fate) -> Fate:
        """The fate that the plan wrote down for this call, if it did."""
        for trap in self.traps:
            name = trap.before or trap.after
            if name == call.request.name and trap.worker == process.number:
                self.traps.remove(trap)
                match trap.action:
                    case "crash":
                        crashes: Literal["before", "after"] = "before" if trap.before else "after"
                        return replace(fate, crashes=crashes)
                    case "lose_reply":
                        return replace(fate, loses_reply=self._world.database.loses_replies)
                    case _:
                        self._world.befall(trap)
                        return fate
        return fate

    def _arrive(self, process: Process, call: Call, fate: Fate) -> None:
        world = self._world
        if not process.is_alive or call.executed:
            return
        if fate.crashes == "before":
            world.crash(process, f"before {call.request.name}")
            return
        if world.now_us < self.away_until_us:
            call.fail("the simulated database is away")
        elif fate.fails:
            world.count("failed calls")
            call.fail("the simulated connection was closed before the call")
        else:
            world.execute(process, call)
            if fate.crashes == "after":
                world.count("commits whose reply was not heard")
                world.crash(process, f"after {call.request.name}")
                return
            if fate.loses_reply:
                world.count("lost replies")
                call.fail("the simulated connection was closed before the reply")
        call.executed = True
        world.after(fate.returns_in_us, lambda: self._return(process, call))

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
