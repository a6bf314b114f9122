"""Mistakes that somebody could make in the program, planted into every simulated process: the simulator must see."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from tests.simulation.executor import SimulatedExecutor
from tests.simulation.process import Process
from tests.simulation.targets import REFUSED, Targets
from tests.simulation.world import Mutation

from agentclock.core.lifecycle import Settlement
from agentclock.core.model import SECOND, Claim, Instant, Outcome, OutcomeKind, Run, RunStatus, Schedule
from agentclock.core.planning import Plan, Situation
from agentclock.ports import Beat, Claimed, EventBatch, PageRequest, PlanFunction, RunContext, RunFilter


class Store:
    """The real store, but for what a subclass does in its place."""

    def __init__(self, store: Any, process: Process) -> None:
        self._store = store
        self._process = process

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class Unfenced(Store):
    """Whoever writes is believed, under whatever token."""

    async def settle(self, settlements: Sequence[Settlement]) -> Any:
        return await self._store.settle([replace(one, fence=await self._fence(one.run_id)) for one in settlements])

    async def append_events(self, batches: Sequence[EventBatch]) -> Any:
        return await self._store.append_events([replace(one, fence=await self._fence(one.run_id)) for one in batches])

    async def note_agent_run(self, run_id: str, fence: int, *ids: str | None) -> Any:
        return await self._store.note_agent_run(run_id, await self._fence(run_id), *ids)

    async def _fence(self, run_id: str) -> int:
        return (await self._store.get_run(run_id)).fence  # type: ignore[no-any-return]


class Late(Store):
    """Makes the runs first, and moves the schedules on in a transaction of its own."""

    async def fire_due(self, plan: PlanFunction, **options: Any) -> Any:
        plans: dict[str, Plan] = {}

        def standing(schedule: Schedule, situation: Situation, now: Instant) -> Plan:
            made = plans[schedule.id] = plan(schedule, situation, now)
            return replace(made, next_fire_at=schedule.next_fire_at, last_fire_at=schedule.last_fire_at)

        fired = await self._store.fire_due(standing, **options)
        for schedule_id, made in plans.items():
            await self._store.change_schedule(schedule_id, _moved_on(made))
        return replace(fired, next_due_ms=0) if plans else fired


def _moved_on(made: Plan) -> Any:
    def change(schedule: Schedule, now: Instant) -> Schedule:
        return replace(schedule, next_fire_at=made.next_fire_at, last_fire_at=made.last_fire_at)

    return change


class Sleepy(Store):
    """Sleeps until the time of a retry has come, and writes it down then."""

    async def settle(self, settlements: Sequence[Settlement]) -> Any:
        retries = [one for one in settlements if one.is_retry and one.attempt_status is not None]
        for retry in retries:
            asyncio.create_task(self._later(retry))  # noqa: RUF006 - it is lost with its process, that is the point
        others = [one for one in settlements if one not in retries]
        return await self._store.settle(others) | {retry.run_id for retry in retries}

    async def _later(self, retry: Settlement) -> None:
        now = self._process.clock.store_now()
        await asyncio.sleep(max(0, (retry.available_at or now) - now) / SECOND)
        await self._store.settle([retry])


class Unrenewed(Store):
    """Believes in its lease without renewing it."""

    async def renew_lease(self, worker_id: str, lease_seconds: float) -> Any:
        return Beat(alive=True, cancel_requested=await self._store.cancel_requests(worker_id))


class Greedy(Store):
    """Takes over what others hold without a look at their leases."""

    async def orphans(self, limit: int) -> Any:
        for row in await self._store.workers():
            if row.info.id != self._process.worker_id:
                await self._store.release_engine(row.info.id)
        return await self._store.orphans(limit)


class Careless(Store):
    """Looks for pending runs in one transaction and takes them in another, pending or not."""

    async def claim(self, worker_id: str, limit: int) -> Any:
        page = await self._store.list_runs(RunFilter(statuses=(RunStatus.PENDING,)), PageRequest(limit=max(1, limit)))
        now = self._process.clock.store_now()
        wanted = [run.id for run in page.items if run.available_at is not None and run.available_at <= now]
        claimed: Claimed = await self._store.claim(worker_id, limit)
        mine = {claim.run.id for claim in claimed.claims}
        taken = [await self._taken(run_id) for run_id in wanted if run_id not in mine]
        return replace(claimed, claims=(*claimed.claims, *filter(None, taken))[:limit])

    async def _taken(self, run_id: str) -> Claim | None:
        run: Run = await self._store.get_run(run_id)
        schedule = await self._store.get_schedule(run.schedule_id)
        if run.status is not RunStatus.RUNNING or run.instruction is not None:
            return None
        return Claim(run=run, schedule=schedule)


class Forgetful(Store):
    """Leaves no record of missed fires."""

    async def fire_due(self, plan: PlanFunction, **options: Any) -> Any:
        def forgetting(schedule: Schedule, situation: Situation, now: Instant) -> Plan:
            made = plan(schedule, situation, now)
            kept = tuple(absence for absence in made.absences if absence.status is not RunStatus.MISSED)
            return replace(made, absences=kept)

        return await self._store.fire_due(forgetting, **options)


class Blind(Store):
    """Plans without a look at the runs that are there."""

    async def fire_due(self, plan: PlanFunction, **options: Any) -> Any:
        return await self._store.fire_due(
            lambda schedule, situation, now: plan(schedule, replace(situation, active=0, waiting=0), now), **options
        )


class Restarting(Store):
    """Starts the agent of a run that it takes up, instead of following the one that is there."""

    async def claim(self, worker_id: str, limit: int) -> Any:
        claimed: Claimed = await self._store.claim(worker_id, limit)
        anew = tuple(replace(claim, run=replace(claim.run, instruction=None)) for claim in claimed.claims)
        return replace(claimed, claims=anew)


class Doubled(Store):
    """Fires once more what it fired, under an id of its own."""

    async def fire_due(self, plan: PlanFunction, **options: Any) -> Any:
        def doubling(schedule: Schedule, situation: Situation, now: Instant) -> Plan:
            made = plan(schedule, situation, now)
            again = [replace(fire, run_id=fire.run_id[:-4] + "ffff") for fire in made.fires]
            return replace(made, fires=(*made.fires, *again))

        return await self._store.fire_due(doubling, **options)


class _NoDoubts:
    def __bool__(self) -> bool:
        return False

    @contextmanager
    def noted(self) -> Iterator[list[Claim]]:
        yield []


class Trusting(Mutation):
    """Takes a claim whose reply was lost for one that was never written."""

    def store(self, store: Any, process: Process) -> Any:
        store._doubts = _NoDoubts()
        return store


class Resending(SimulatedExecutor):
    """Takes a connection that broke for one that was refused."""

    async def execute(self, context: RunContext) -> Outcome:
        outcome = await super().execute(context)
        return REFUSED if outcome.kind is OutcomeKind.LOST else outcome


class Resent(Mutation):
    def executor(self, targets: Targets, process: Process) -> SimulatedExecutor:
        return Resending(targets, process.elapsed)


class Stored(Mutation):
    """A mistake on the way to the database."""

    def __init__(self, kind: type[Store]) -> None:
        self._kind = kind

    def store(self, store: Any, process: Process) -> Any:
        return self._kind(store, process)


@dataclass(frozen=True, slots=True)
class Mutant:
    """`plan`: the faults that bring it to light; `sign`: what the violation says, in part."""

    name: str
    mutation: Mutation
    plan: str
    store: str
    sign: str


MUTANTS: Final = (
    Mutant("no fencing", Stored(Unfenced), "leases", "postgres", "old fencing token|given away twice"),
    Mutant("schedules move on too late", Stored(Late), "outages", "sqlite", "fires were due|was due"),
    Mutant("retries in memory", Stored(Sleepy), "targets", "sqlite", "stayed running"),
    Mutant("leases are not renewed", Stored(Unrenewed), "leases", "postgres", "was taken from|nobody takes it"),
    Mutant("leases are not looked at", Stored(Greedy), "leases", "postgres", "was taken from"),
    Mutant("claims are not compared", Stored(Careless), "leases", "postgres", "started twice"),
    Mutant(
        "a broken connection is tried again",
        Resent(),
        "targets",
        "sqlite",
        r"started twice|has no record of the attempts \[1\] that its target accepted",
    ),
    Mutant("missed fires leave no record", Stored(Forgetful), "outages", "sqlite", "fires were due"),
    Mutant("overlap is not looked at", Stored(Blind), "targets", "sqlite", "in spite of overlap"),
    Mutant("agents are started anew", Stored(Restarting), "leases", "postgres", "started twice"),
    Mutant(
        "fires have two runs",
        Stored(Doubled),
        "targets",
        "sqlite",
        "fires were due|has 2 rows|in spite of|caught up on",
    ),
    Mutant("claims whose reply was lost are forgotten", Trusting(), "leases", "postgres", "stayed running"),
)
