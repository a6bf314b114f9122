"""Weeks of an engine's life in seconds, from a seed: random schedules, failures, crashes and clock jumps.

A failing seed is part of the test's name; `SEED=123 make sim` runs that one alone.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from contextlib import suppress
from dataclasses import replace

import pytest
from tests.rig import Rig

from agentclock.audit import all_schedules, audit_schedule
from agentclock.core.errors import InvalidField
from agentclock.core.model import (
    CatchUp,
    Cause,
    Outcome,
    OutcomeKind,
    Overlap,
    RetryBackoff,
    RetryPolicy,
    Run,
    RunStatus,
    Schedule,
    Target,
)
from agentclock.core.timetable import next_fire
from agentclock.ports import PageRequest, RunContext, RunFilter
from agentclock.scheduler import EngineState, Scheduler
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import SUCCESS, FakeClock, ScriptedExecutor

SEEDS = [int(os.environ["SEED"])] if "SEED" in os.environ else list(range(int(os.environ.get("SEEDS", "8"))))
STEPS = 120
EXPRESSIONS = ("* * * * *", "*/5 * * * *", "0 * * * *", "30 2 * * *", "0 0 * * 1", "15,45 9-17 * * *")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana")
OUTCOMES = (
    SUCCESS,
    SUCCESS,
    Outcome(kind=OutcomeKind.FAILED, retryable=True, error="503"),
    Outcome(kind=OutcomeKind.FAILED, error="404"),
    Outcome(kind=OutcomeKind.TIMEOUT, error="too slow"),
    Outcome(kind=OutcomeKind.REFUSED, error="connection refused"),
)


class World:
    """A store that outlives its workers, and one worker that may die at any step."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        start = self.random.choice((1_774_700_000_000, 1_792_800_000_000, 1_767_225_600_000))
        self.clock = FakeClock(start)
        self.store = SqliteStore(":memory:", clock=self.clock)
        self.calls: Counter[tuple[str, int, int]] = Counter()
        self.scheduler = Scheduler(
            self.store,
            clock=self.clock,
            wakeup=lambda: None,
            engine_state=lambda: EngineState(status="running"),
            entropy=self.random.randbytes,
        )
        self.rig: Rig

    async def open(self) -> None:
        await self.store.open()
        for number in range(6):
            await self.store.insert_schedules([self.schedule(f"s{number}")])
        await self.boot()

    async def boot(self) -> None:
        executor = ScriptedExecutor(self.answer)
        self.rig = await Rig(self.store, self.clock, executor, slots=self.random.choice((1, 3, 50))).begin()

    def answer(self, context: RunContext) -> Outcome:
        run = context.claim.run
        self.calls[run.id, run.attempt, run.refusals] += 1
        return self.random.choice(OUTCOMES)

    def schedule(self, schedule_id: str) -> Schedule:
        pick, now = self.random.choice, self.clock.now()
        blank = Schedule(
            id=schedule_id,
            name=schedule_id,
            target=Target(endpoint="/x"),
            timezone=pick(ZONES),
            overlap=pick(tuple(Overlap)),
            catch_up=pick(tuple(CatchUp)),
            catch_up_window_seconds=pick((0, 3_600, 86_400)),
            misfire_grace_seconds=pick((0, 60, 600)),
            jitter_seconds=pick((0, 0, 90)),
            max_runs=pick((None, None, 5)),
            timeout_seconds=pick((10, 3_600)),
            retry=RetryPolicy(
                max_retries=pick((0, 1, 3)), delay_seconds=pick((1, 60)), backoff=pick(tuple(RetryBackoff))
            ),
            created_at=now,
            timetable_since=now,
        )
        timings = ({"cron_expr": pick(EXPRESSIONS)}, {"interval_seconds": pick((7, 600, 86_400)), "anchor_at": now})
        timed = replace(blank, **pick((*timings, {"run_at": now + 5_000_000})))
        return replace(timed, next_fire_at=next_fire(timed, now))

    async def step(self) -> None:
        self.clock.advance(seconds=self.random.choice((1, 13, 60, 61, 600, 3_600, 30_000)))
        await self.rig.tick()
        match self.random.randrange(12):
            case 0:  # kill -9 in the middle of attempts: tasks vanish, rows stay
                self.rig.executor.hold()
                self.clock.advance(seconds=60)
                await self.rig.tick()
                await self.abandon()
            case 1:
                self.clock.jump(self.random.choice((-3_700, -61, 5_000)))
            case 2:
                await self.edit()
            case _:
                return

    async def abandon(self) -> None:
        """A new worker; the old one's lease runs out, and what it finds out afterwards must count for nothing."""
        dead = self.rig
        self.clock.advance(seconds=60)
        await self.boot()
        while await self.rig.keeper.step():
            pass
        dead.executor.release()
        await dead.settled()

    async def edit(self) -> None:
        schedule_id = f"s{self.random.randrange(6)}"
        match self.random.randrange(3):
            case 0:
                with suppress(InvalidField):  # nothing is left to fire after max_runs
                    await self.scheduler.change(schedule_id, {"cron_expr": "*/10 * * * *"})
            case 1:
                await self.scheduler.disable(schedule_id)
            case _:
                await self.scheduler.enable(schedule_id)

    async def runs(self) -> list[Run]:
        found: list[Run] = []
        cursor: str | None = None
        while True:
            page = await self.store.list_runs(RunFilter(), PageRequest(limit=1_000, cursor=cursor))
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
async def test_every_fire_is_accounted_for_and_no_attempt_is_made_twice(seed: int) -> None:
    world = World(seed)
    await world.open()
    try:
        for _ in range(STEPS):
            await world.step()
        for _ in range(200):
            world.clock.advance(seconds=1)
            await world.rig.tick()
        await check(world)
    finally:
        await world.store.close()


async def check(world: World) -> None:
    assert all(count == 1 for count in world.calls.values()), "an attempt was made twice"
    now = await world.store.now()
    async for schedule in all_schedules(world.store):
        audit = await audit_schedule(world.store, schedule, now)
        assert audit.trouble is None, (schedule, audit)
    runs = await world.runs()
    assert runs
    due = [(run.schedule_id, run.fire_at) for run in runs if run.cause is not Cause.MANUAL]
    assert len(due) == len(set(due)), "a fire has two rows"
    stuck = [run for run in runs if run.status is RunStatus.RUNNING]
    assert not stuck, "a run stayed running though no worker holds it"
