"""One simulation from its seed: steps in which things happen, then peace, then the books are checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from unittest.mock import patch

from tests.simulation.checks import check_everything, check_history
from tests.simulation.databases import Database
from tests.simulation.logbook import listening
from tests.simulation.people import People
from tests.simulation.plan import LastingFault, Plan
from tests.simulation.process import Process
from tests.simulation.world import US, Mutation, Violation, World

from agentclock.engine import reviewer

#: How long, beside its leases, a world in peace may need to come to rest: pauses after trouble and refusals, and the
#: search for an agent that nobody knows.
REST_SECONDS = 45.0


@dataclass(slots=True, kw_only=True)
class Result:
    """`violation`: what did not hold, None if everything did. `trace`: equal for equal simulations. `differs`: another
    one of the same seed went another way."""

    seed: int
    store: str
    trace: str
    seconds: float
    counts: Counter[str]
    violation: str | None = None
    differs: bool = False


def simulate(
    plan: Plan, seed: int, database: Database, mutation: Mutation | None = None, *, verbose: bool = False
) -> Result:
    """Raises whatever is wrong with the simulator or its real database; what is wrong with the program is a
    violation."""
    with patch.object(reviewer, "EVERY_SECONDS", plan.workers.review_seconds):
        world = World(plan, seed, database, mutation, verbose=verbose)
        with listening(world):
            violation: str | None = None
            try:
                _Simulation(world).run()
            except Violation as found:
                violation = str(found)
            finally:
                world.end()
    world.count("requests that targets accepted", world.targets.starts)
    return Result(
        seed=seed,
        store=database.kind,
        trace=world.trace,
        seconds=world.now_us / US,
        counts=world.counts,
        violation=violation,
    )


class _Simulation:
    def __init__(self, world: World) -> None:
        self._world = world
        self._plan = world.plan
        self._people = People(world)
        self._chance = world.random.random

    def run(self) -> None:
        world = self._world
        world.start_all()
        for step in range(1, self._plan.steps + 1):
            world.step = step
            self._step(step)
            if step % self._plan.check_every_steps == 0 or step == self._plan.steps:
                self._check()
        check_history(world)
        world.raise_violations()

    def _step(self, step: int) -> None:
        world = self._world
        if self._chance() < self._plan.leap_probability:
            self._leap(world.random.choice(self._plan.leap_seconds))
        seconds = world.random.choice(self._plan.step_seconds)
        for happening in self._plan.events:
            if happening.step == step:
                world.expect(happening)
        self._plan_faults(seconds)
        if self._chance() < self._plan.people.probability:
            self._some_time(seconds, self._people.do_something)
        world.pass_time(seconds)
        world.watch.after_step()
        world.raise_violations()

    def _leap(self, seconds: float) -> None:
        """A long time in which no worker does anything."""
        world = self._world
        how = world.random.choice(("killed", "stopped", "frozen", "asleep"))
        world.note("leap", how, seconds)
        world.count("outages of all workers")
        world.outage_until_us = world.now_us + round(seconds * US)
        for process in tuple(world.processes):
            match how:
                case "killed":
                    world.crash(process, "outage", down_seconds=seconds)
                case "stopped":
                    world.deploy(process, seconds)
                case _:
                    world.freeze(process, round(seconds * US), asleep=how == "asleep")
        world.pass_time(seconds)

    def _plan_faults(self, seconds: float) -> None:
        """What befalls somebody in the course of this step."""
        world, faults = self._world, self._plan.faults
        self._perhaps(faults.database_away, seconds, world.take_database_away)
        self._perhaps(faults.frozen, seconds, self._one(lambda process, us: world.freeze(process, us, asleep=False)))
        self._perhaps(faults.suspended, seconds, self._one(lambda process, us: world.freeze(process, us, asleep=True)))
        self._perhaps(faults.deploy, seconds, self._one(lambda process, us: world.deploy(process, us / US)))
        self._perhaps(faults.host_away, seconds, world.take_host_away)
        if self._chance() < faults.skew.probability:
            jump = world.random.choice(faults.skew.seconds)
            self._some_time(seconds, lambda: self._one(lambda process, _: world.set_clock(process, jump))(0))
        if self._chance() < faults.database_clock.probability:
            jump = world.random.choice(faults.database_clock.seconds)
            self._some_time(seconds, lambda: world.jump_database_clock(jump))
        if self._chance() < faults.wakeups.spurious:
            self._some_time(seconds, lambda: self._one(lambda process, _: world.network.wake(process))(0))

    def _perhaps(self, fault: LastingFault, within_seconds: float, action: Callable[[float], None]) -> None:
        if self._chance() < fault.probability:
            length = self._world.draw_us(fault.seconds, US) / US
            self._some_time(within_seconds, lambda: action(length))

    def _some_time(self, within_seconds: float, action: Callable[[], None]) -> None:
        self._world.after(round(self._chance() * within_seconds * US), action)

    def _one(self, action: Callable[[Process, int], None]) -> Callable[[float], None]:
        """The action, on one of those that are alive when it comes to it."""
        world = self._world

        def befall(seconds: float) -> None:
            alive = [process for process in world.processes if process.is_alive]
            if alive and not world.is_calm:
                process = world.random.choice(alive)
                world.note("fault", process.name, seconds)
                action(process, round(seconds * US))

        return befall

    def _check(self) -> None:
        """Everybody is left in peace until whatever was begun must have come to its end, or have a future."""
        world = self._world
        world.make_peace()
        world.pass_time(_rest_seconds(world))
        check_everything(world, world.watch.after_step())
        world.raise_violations()
        world.is_calm = False


def _rest_seconds(world: World) -> float:
    """A worker that froze in the worst moment: its lease ends, then the others give one another a lease of time, then
    one of them renews its own and looks for orphans."""
    setting = world.setting
    sleepy = max(0.0, setting.poll_seconds - REST_SECONDS)
    return 2.7 * setting.lease_seconds + REST_SECONDS + setting.shutdown_grace_seconds + sleepy
