"""Schedules in the hands of a poller that is not ours, such as agno's, and the runs that it tells us of.

Such a poller is one more worker: what it claims is planned by our planner and held under a lease like any other run,
so that no fire happens twice or gets lost, whoever else works on the database. While one of our engines does, there
is nothing to claim. What others tell of runs that they did not claim here is kept in books of its own.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from agentclock.agno.schedule_rows import Row, instant, run_row
from agentclock.agno.told_times import ToldTimes, due_now
from agentclock.auth.permits import OwnerPermits
from agentclock.core.actors import Actor
from agentclock.core.errors import NotFound
from agentclock.core.lifecycle import Settlement, settle
from agentclock.core.model import SECOND, Claim, Instant, Outcome, OutcomeKind, RetryPolicy, RunStatus, Schedule
from agentclock.core.owners import foreign_call
from agentclock.core.planning import Plan, Situation, plan
from agentclock.ports import ForeignRun, Store, WorkerInfo
from agentclock.scheduler import Scheduler

#: How a worker that is not ours says so.
_MARK: Final = "agno"

#: Ids of pollers' runs that are remembered.
_ALIASES: Final = 1_000

_OUTCOMES: Final = {
    "success": OutcomeKind.SUCCESS,
    "failed": OutcomeKind.FAILED,
    "timeout": OutcomeKind.TIMEOUT,
    "cancelled": OutcomeKind.CANCELLED,
    "paused": OutcomeKind.PAUSED,
    "running": OutcomeKind.LOST,
}


@dataclass(slots=True)
class _Held:
    """A claim of a poller. `told`: its own account of the run, the latest attempt; `names`: the ids it uses for it."""

    claim: Claim
    poller: str
    told: Row | None = None
    names: set[str] = field(default_factory=set)


class ForeignWork:
    def __init__(self, store: Store, scheduler: Scheduler, told_times: ToldTimes) -> None:
        self._store = store
        self._scheduler = scheduler
        self._told_times = told_times
        self._permits = OwnerPermits(store, by_scopes=False)
        self._workers: dict[str, WorkerInfo] = {}
        self._held: dict[str, _Held] = {}
        #: The ids of pollers' runs that are ours under another id.
        self._aliases: dict[str, str] = {}

    # claims

    async def sees_an_engine(self) -> bool:
        """Whether an engine of ours works on the database, in whatever process."""
        if self._scheduler.engine_state().owner is not None:
            return True
        now = await self._store.now()
        workers = await self._store.workers()
        return any(row.lease_until > now and row.info.app_version != _MARK for row in workers)

    async def claim(self, poller: str, lease_seconds: int) -> Claim | None:
        """What is due, for one caller only. None: nothing is, or an engine of ours got in between."""
        worker = self._workers.get(poller) or WorkerInfo(id=str(uuid.uuid4()), name=poller, app_version=_MARK)
        if await self._store.acquire_engine(worker, lease_seconds) is not None:
            return None
        self._workers[poller] = worker
        await self._make_due()
        claim = await self._next_permitted(worker.id)
        if claim is None:
            await self._retire(poller)
            return None
        self._held[claim.schedule.id] = _Held(claim=claim, poller=poller)
        return claim

    async def _make_due(self) -> None:
        """What others told a time for that has come, although by the timetable it has not."""
        for schedule_id in self._told_times.come(await self._store.now()):

            def change(schedule: Schedule, now: Instant) -> Schedule:
                return schedule if self._told_times.of(schedule) is None else due_now(schedule, now)

            with suppress(NotFound):
                await self._scheduler.alter(schedule_id, change, by=Actor(_MARK))
            self._told_times.forget(schedule_id)

    async def _next_permitted(self, worker_id: str) -> Claim | None:
        """What a poller may not be given, because its owner may not have it called, ends here."""
        while (claim := await self._next(worker_id)) is not None:
            schedule = claim.schedule
            refusal = foreign_call(schedule.target, schedule.user_id) or await self._permits.refusal(claim)
            if refusal is None:
                return claim
            refused = Outcome(kind=OutcomeKind.FAILED, error=refusal, disables=refusal)
            await self._store.settle([settle(claim, refused, await self._store.now())])
        return None

    async def _next(self, worker_id: str) -> Claim | None:
        while True:
            planned = 0

            def plan_unless_told(schedule: Schedule, situation: Situation, now: Instant) -> Plan:
                nonlocal planned
                if self._told_times.holds_back(schedule, now):
                    return _left_alone(schedule)
                planned += 1
                return plan(schedule, situation, now)

            # Those that are held back stay due: they must not stand in the way of the others.
            limit = 1 + self._told_times.waiting(await self._store.now())
            fired = await self._store.fire_due(plan_unless_told, limit=limit, worker_id=worker_id, slots=1)
            claims = fired.claims or (await self._store.claim(worker_id, 1)).claims
            if claims:
                return claims[0]
            if not planned and not fired.faults:
                return None

    def holds(self, schedule_id: str) -> bool:
        return schedule_id in self._held

    async def release(
        self, schedule_id: str, next_run_at: int | None, poller: str | None, locked_at: int | None
    ) -> bool:
        """The poller's account of the run is its end. Without one it was done if the poller goes on to the next fire,
        else it is given back. False: not this poller's claim, or not any more."""
        held = self._held.get(schedule_id)
        if held is None or poller not in (None, held.poller):
            return False
        claimed_at = (held.claim.run.started_at or 0) // SECOND
        if locked_at not in (None, claimed_at):
            return False
        now = await self._store.now()
        if held.told is None and next_run_at is None:
            settlement = _given_back(held.claim, now)
        else:
            settlement = settle(_without_retries(held.claim), _outcome(held.told), now)
        del self._held[schedule_id]
        settled = await self._store.settle([settlement])
        await self._retire(held.poller)
        return bool(settled)

    async def _retire(self, poller: str) -> None:
        """A poller that holds nothing makes room for whoever would run an engine."""
        if all(held.poller != poller for held in self._held.values()):
            worker = self._workers.pop(poller, None)
            if worker is not None:
                await self._store.release_engine(worker.id)

    async def close(self) -> None:
        """What pollers still hold is lost with them."""
        for worker in self._workers.values():
            await self._store.release_engine(worker.id)
        self._workers.clear()

    # accounts of runs

    async def record(self, data: Row) -> Row:
        held = self._held.get(data["schedule_id"])
        if held is not None:
            self._remember(data["id"], held.claim.run.id)
            held.names.add(data["id"])
            held.told = dict(data)
            return held.told
        created_at = instant(data.get("created_at")) or await self._store.now()
        row = {**data, "created_at": created_at // SECOND}
        await self._store.put_foreign_run(
            ForeignRun(
                id=data["id"],
                schedule_id=data["schedule_id"],
                created_at=created_at,
                completed_at=instant(data.get("completed_at")),
                body=row,
            )
        )
        return row

    async def change(self, run_id: str, values: Row) -> Row | None:
        held = next((held for held in self._held.values() if run_id in held.names), None)
        if held is not None and held.told is not None:
            if held.told["id"] == run_id:
                held.told.update(values)
                await self._note_agent_run(held)
            return {**held.told, "id": run_id}
        known = await self._store.get_foreign_run(run_id)
        if known is None:
            return await self.find(run_id)
        row = {**known.body, **values}
        completed_at = instant(row.get("completed_at"))
        await self._store.put_foreign_run(
            ForeignRun(
                id=known.id,
                schedule_id=known.schedule_id,
                created_at=known.created_at,
                completed_at=completed_at,
                body=row,
            )
        )
        return row

    async def find(self, run_id: str) -> Row | None:
        ours = self._aliases.get(run_id)
        if ours is not None:
            run = await self._store.get_run(ours)
            return None if run is None else {**run_row(run), "id": run_id}
        known = await self._store.get_foreign_run(run_id)
        return None if known is None else dict(known.body)

    async def rows_of(self, schedule_id: str) -> list[Row]:
        return [dict(run.body) for run in await self._store.foreign_runs(schedule_id)]

    def _remember(self, name: str, run_id: str) -> None:
        self._aliases[name] = run_id
        if len(self._aliases) > _ALIASES:
            del self._aliases[next(iter(self._aliases))]

    async def _note_agent_run(self, held: _Held) -> None:
        told, run = held.told or {}, held.claim.run
        if told.get("run_id"):
            await self._store.note_agent_run(run.id, run.fence, told["run_id"], told.get("session_id"))


def _without_retries(claim: Claim) -> Claim:
    """The poller has made all attempts there will be."""
    return replace(claim, schedule=replace(claim.schedule, retry=RetryPolicy(max_retries=0)))


def _outcome(told: Row | None) -> Outcome:
    """How the run ended by the poller's account."""
    if told is None:
        return Outcome(kind=OutcomeKind.SUCCESS)
    return Outcome(
        kind=_OUTCOMES.get(str(told.get("status")), OutcomeKind.LOST),
        status_code=told.get("status_code"),
        error=told.get("error"),
        agent_run_id=told.get("run_id"),
        session_id=told.get("session_id"),
        input=told.get("input"),
        output=told.get("output"),
        requirements=told.get("requirements"),
    )


def _left_alone(schedule: Schedule) -> Plan:
    return Plan(
        schedule_id=schedule.id,
        next_fire_at=schedule.next_fire_at,
        last_fire_at=schedule.last_fire_at,
        run_count=schedule.run_count,
    )


def _given_back(claim: Claim, now: int) -> Settlement:
    """As if it had never been claimed."""
    run = claim.run
    return Settlement(
        run_id=run.id,
        schedule_id=run.schedule_id,
        fence=run.fence,
        status=RunStatus.PENDING,
        available_at=now,
        completed_at=None,
        attempt=run.attempt - 1,
        attempt_number=run.attempt,
        attempt_status=None,
        refusals=run.refusals,
        ended_at=now,
        outcome=Outcome(kind=OutcomeKind.REFUSED),
    )
