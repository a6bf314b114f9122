"""What people do meanwhile, through the use cases, by way of any process that lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.process import Process

from agentclock.core.instants import iso_utc
from agentclock.core.model import Instruction, InstructionKind, Run, RunStatus
from agentclock.ports import PageRequest, RunFilter

#: How far back people go, and how many runs they want at a time.
BACKFILL_MS: Final = 600_000
BACKFILL_CONCURRENCY: Final = 2

if TYPE_CHECKING:
    from tests.simulation.world import World


class People:
    def __init__(self, world: World) -> None:
        self._world = world
        weights = world.plan.people.model_dump(exclude={"probability"})
        self._weights: dict[str, float] = {what: weight for what, weight in weights.items() if weight}

    def do_something(self) -> None:
        world = self._world
        alive = [process for process in world.processes if process.is_alive]
        if not alive or not self._weights or world.is_calm:
            return
        process = world.random.choice(alive)
        [what] = world.random.choices(list(self._weights), list(self._weights.values()))
        world.count("deeds of people")
        world.note("people", what, process.name)
        deed: Callable[[Process], None] = getattr(self, f"_{what}")
        deed(process)

    def _schedule_id(self) -> str:
        return self._world.random.choice(self._world.schedules).id

    def _change(self, process: Process) -> None:
        patch: dict[str, Any] = {"cron_expr": self._world.random.choice(("*/10 * * * *", "7 * * * *"))}
        process.spawn(process.scheduler().change(self._schedule_id(), patch))

    def _disable(self, process: Process) -> None:
        process.spawn(process.scheduler().disable(self._schedule_id()))

    def _enable(self, process: Process) -> None:
        process.spawn(process.scheduler().enable(self._schedule_id()))

    def _trigger(self, process: Process) -> None:
        process.spawn(process.scheduler().trigger(self._schedule_id()))

    def _cancel(self, process: Process) -> None:
        if run := self._one_of(RunStatus.PENDING, RunStatus.RUNNING, RunStatus.PAUSED):
            process.spawn(process.runs().cancel(run.schedule_id, run.id))

    def _approve(self, process: Process) -> None:
        if run := self._one_of(RunStatus.PAUSED):
            answers = [{"id": run.agent_run_id, "confirmation": True}]
            process.spawn(process.store.instruct(run.id, Instruction(kind=InstructionKind.CONTINUE, answers=answers)))

    def _answer_elsewhere(self, process: Process) -> None:
        """At the target itself; we are not told."""
        if run := self._one_of(RunStatus.PAUSED):
            agents = self._world.targets.agents_of(run)
            if agents and agents[-1].is_paused(self._world.now_us):
                agents[-1].go_on(self._world.now_us)

    def _backfill(self, process: Process) -> None:
        began = iso_utc(self._world.database_now() - BACKFILL_MS)
        draft = {"from": began, "existing": self._world.random.choice(("skip", "failed", "all"))}
        draft |= {"concurrency": BACKFILL_CONCURRENCY}
        process.spawn(process.backfilling().create(self._schedule_id(), draft))

    def _one_of(self, *statuses: RunStatus) -> Run | None:
        world = self._world
        page = world.do(world.own_store.list_runs(RunFilter(statuses=statuses), PageRequest(limit=100)))
        return world.random.choice(page.items) if page.items else None
