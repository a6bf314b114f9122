"""Small builders for the store suite."""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import Any

from agentclock.core.ids import fire_run_id, uuid7
from agentclock.core.lifecycle import Settlement, settle
from agentclock.core.model import (
    Cause,
    Claim,
    Instant,
    Outcome,
    OutcomeKind,
    Run,
    Schedule,
    Target,
)
from agentclock.core.planning import Fire, Plan, Situation, plan_trigger
from agentclock.ports import PageRequest, PlanFunction, RunFilter, Store, WorkerInfo

#: Where FakeClock starts: a full minute.
START: Instant = 1_767_225_600_000
MINUTE = 60_000
ALL = PageRequest(limit=1000)

SUCCESS = Outcome(kind=OutcomeKind.SUCCESS, status_code=200, output={"content": "done"})
LATER = Outcome(kind=OutcomeKind.FAILED, retryable=True, error="try again")
REFUSED = Outcome(kind=OutcomeKind.REFUSED, error="connection refused")
PAUSED = Outcome(kind=OutcomeKind.PAUSED, requirements=[{"tool": "pay"}], agent_run_id="agent-1")
CANCELLED = Outcome(kind=OutcomeKind.CANCELLED, error="cancelled")
DETACHED = Outcome(kind=OutcomeKind.DETACHED)

_entropy = count(1)


def schedule(schedule_id: str = "s1", **fields: Any) -> Schedule:
    """Every minute, due at START, unless `fields` say otherwise."""
    given: dict[str, Any] = {
        "name": f"name of {schedule_id}",
        "target": Target(endpoint="/agents/echo/runs", payload={"message": "hello"}),
        "cron_expr": "* * * * *",
        "next_fire_at": START,
        "timetable_since": START - MINUTE,
        "created_at": START - MINUTE,
    }
    return Schedule(id=schedule_id, **(given | fields))


def nothing(schedule: Schedule, situation: Situation, now: Instant) -> Plan:
    """A plan that makes no run and leaves the schedule due much later."""
    return Plan(schedule_id=schedule.id, next_fire_at=now + 1000 * MINUTE)


def firing(
    *fires: Instant, available: Instant | None = START, again_at: Instant | None = None, cancel: bool = False
) -> PlanFunction:
    """A plan with a run for each of `fires`."""

    def plan(schedule: Schedule, situation: Situation, now: Instant) -> Plan:
        return Plan(
            schedule_id=schedule.id,
            fires=tuple(
                Fire(
                    run_id=fire_run_id(schedule.id, fire_at),
                    fire_at=fire_at,
                    cause=Cause.SCHEDULE,
                    available_at=available,
                )
                for fire_at in fires
            ),
            next_fire_at=again_at,
            last_fire_at=max(fires, default=schedule.last_fire_at),
            run_count=schedule.run_count + len(fires),
            cancel_active=cancel,
        )

    return plan


def triggering(run_id: str) -> PlanFunction:
    """A manual run with this id."""
    return partial(plan_trigger, run_id=run_id)


def manual_id(now: Instant) -> str:
    return uuid7(now, next(_entropy).to_bytes(10, "big"))


async def register(store: Store, worker_id: str = "w1", lease_seconds: float = 30) -> str:
    info = WorkerInfo(id=worker_id, name=f"host {worker_id}", app_version="1.0")
    assert await store.acquire_engine(info, lease_seconds) is None
    return worker_id


async def queued(store: Store, *schedule_ids: str, at: Instant = START) -> list[Run]:
    """One available pending run for each of the (new) schedules, oldest first."""
    await store.insert_schedules([schedule(schedule_id, next_fire_at=at) for schedule_id in schedule_ids])
    fired = await store.fire_due(firing(at, available=at), limit=len(schedule_ids))
    return sorted(fired.runs, key=lambda run: run.id)


async def held(store: Store, schedule_id: str = "s1", worker_id: str = "w1") -> Claim:
    """A run of a new schedule that the worker holds."""
    await queued(store, schedule_id)
    (claim,) = (await store.claim(worker_id, 1)).claims
    return claim


async def end(store: Store, claim: Claim, outcome: Outcome = SUCCESS, now: Instant | None = None) -> Settlement:
    settlement = settle(claim, outcome, await store.now() if now is None else now)
    assert await store.settle([settlement]) == {claim.run.id}
    return settlement


async def paused(store: Store, schedule_id: str = "s1", **fields: Any) -> Run:
    """A run of a new schedule that waits for a human."""
    await store.insert_schedules([schedule(schedule_id, **fields)])
    (claim,) = (await store.fire_due(firing(START), limit=1, worker_id="w1", slots=1)).claims
    await end(store, claim, PAUSED)
    return await run_of(store, claim.run.id)


async def detached(store: Store, schedule_id: str = "s1", **fields: Any) -> Run:
    """A run of a new schedule whose agent goes on without a worker."""
    await store.insert_schedules([schedule(schedule_id, **fields)])
    (claim,) = (await store.fire_due(firing(START), limit=1, worker_id="w1", slots=1)).claims
    assert await store.note_agent_run(claim.run.id, claim.run.fence, "agent-1", "session-1")
    await end(store, claim, DETACHED)
    return await run_of(store, claim.run.id)


async def run_of(store: Store, run_id: str) -> Run:
    run = await store.get_run(run_id)
    assert run is not None
    return run


async def history(store: Store, schedule_id: str = "s1") -> list[Run]:
    """Oldest first."""
    page = await store.list_runs(RunFilter(schedule_id=schedule_id), ALL)
    assert page.total_count == len(page.items)
    return list(reversed(page.items))


async def schedule_of(store: Store, schedule_id: str = "s1") -> Schedule:
    found = await store.get_schedule(schedule_id)
    assert found is not None
    return found
