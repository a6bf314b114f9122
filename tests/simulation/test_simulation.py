"""Weeks of an engine's life in seconds, from a seed: random schedules, failures, crashes, clock jumps, agents that
outlive their workers, and humans who answer or do not.

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
from tests.simulation.agents import REFUSED, AgentExecutor, Host

from agentclock.audit import all_schedules, audit_schedule
from agentclock.core.errors import InvalidField
from agentclock.core.model import (
    SECOND,
    ApprovalAction,
    CatchUp,
    Cause,
    Instruction,
    InstructionKind,
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
from agentclock.engine.reviewer import EVERY_SECONDS
from agentclock.ports import PageRequest, RunContext, RunFilter
from agentclock.scheduler import EngineState, Scheduler
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import SUCCESS, FakeClock

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
        self.host = Host(seed, self.clock)
        self.calls: Counter[tuple[str, int, int]] = Counter()
        self.scheduler = Scheduler(
            self.store,
            clock=self.clock,
            wakeup=lambda: None,
            engine_state=lambda: EngineState(status="running"),
            entropy=self.random.randbytes,
        )
        self.rig: Rig
        self.rigs: list[Rig] = []

    async def open(self) -> None:
        await self.store.open()
        for number in range(6):
            await self.store.insert_schedules([self.schedule(f"s{number}")])
        await self.boot()

    async def boot(self) -> None:
        executor = AgentExecutor(self.host, self.answer)
        self.rig = await Rig(self.store, self.clock, executor, slots=self.random.choice((1, 3, 50))).begin()
        self.rigs.append(self.rig)

    async def close(self) -> None:
        for rig in self.rigs:
            await rig.worker.abandon()
            await rig.completer.close()
            await rig.recorder.close()
            await rig.keeper.close()
        await self.store.close()

    def answer(self, context: RunContext) -> Outcome:
        run = context.claim.run
        self.calls[run.id, run.attempt, run.refusals] += 1
        return self.random.choice(OUTCOMES)

    def schedule(self, schedule_id: str) -> Schedule:
        pick, now = self.random.choice, self.clock.now()
        endpoint = pick(("/x", "/agents/a/runs"))
        blank = Schedule(
            id=schedule_id,
            name=schedule_id,
            target=Target(endpoint=endpoint),
            timezone=pick(ZONES),
            overlap=pick(tuple(Overlap)),
            catch_up=pick(tuple(CatchUp)),
            catch_up_window_seconds=pick((0, 3_600, 86_400)),
            misfire_grace_seconds=pick((0, 60, 600)),
            jitter_seconds=pick((0, 0, 90)),
            max_runs=pick((None, None, 5)),
            timeout_seconds=pick((10, 3_600)),
            approval_timeout_seconds=pick((None, 30, 3_600)),
            approval_timeout_action=pick(tuple(ApprovalAction)),
            retry=RetryPolicy(
                max_retries=pick((0, 1, 3)), delay_seconds=pick((1, 60)), backoff=pick(tuple(RetryBackoff))
            ),
            created_at=now,
            timetable_since=now,
        )
        shortest, expressions = (7, EXPRESSIONS) if endpoint == "/x" else (300, EXPRESSIONS[1:])  # agents take long
        intervals = {"interval_seconds": pick((shortest, 600, 86_400)), "anchor_at": now}
        timings = ({"cron_expr": pick(expressions)}, intervals)
        timed = replace(blank, **pick((*timings, {"run_at": now + 5_000_000})))
        return replace(timed, next_fire_at=next_fire(timed, now))

    async def step(self) -> None:
        self.clock.advance(seconds=self.random.choice((1, 13, 60, 61, 600, 3_600, 30_000)))
        await self.rig.tick()
        await self.answer_some()
        match self.random.randrange(14):
            case 0:  # kill -9 in the middle of attempts: tasks vanish, rows stay
                self.rig.executor.hold()
                self.clock.advance(seconds=60)
                await self.rig.tick()
                await self.abandon()
            case 1:
                self.clock.jump(self.random.choice((-3_700, -61, 5_000)))
            case 2:
                await self.edit()
            case 3:
                self.host.away = not self.host.away
            case 4:  # a deployment
                await self.rig.worker.stop(0)
                await self.boot()
            case 5:
                await self.cancel_one()
            case _:
                return

    async def abandon(self) -> None:
        """A new worker; the old one's lease runs out, and what it finds out afterwards must count for nothing."""
        dead = self.rig
        if self.random.random() < 0.5:
            await dead.worker.abandon()
        self.clock.advance(seconds=60)
        await self.boot()
        while await self.rig.keeper.step():
            pass
        dead.executor.release()
        await dead.settled()

    async def answer_some(self) -> None:
        """Humans answer some of the agents that wait for them, here or at the host."""
        for run in await self.active(RunStatus.PAUSED):
            match self.random.randrange(12):
                case 0:
                    answers = [{"id": run.agent_run_id, "confirmation": True}]
                    await self.store.instruct(run.id, Instruction(kind=InstructionKind.CONTINUE, answers=answers))
                case 1:
                    agent = self.host.agents[run.agent_run_id or ""]
                    if agent.is_paused(self.host.now):
                        agent.go_on(self.host.now)
                case _:
                    pass

    async def cancel_one(self) -> None:
        active = await self.active(RunStatus.PENDING, RunStatus.RUNNING, RunStatus.PAUSED)
        if active:
            await self.store.request_cancel(self.random.choice(active).id)

    async def active(self, *statuses: RunStatus) -> list[Run]:
        page = await self.store.list_runs(RunFilter(statuses=statuses), PageRequest(limit=1_000))
        return list(page.items)

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
        world.host.away = False
        for _ in range(200):
            world.clock.advance(seconds=1)
            await world.rig.tick()
        await check(world)
    finally:
        await world.close()


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
    for run in runs:
        check_state(world, run, now)
        if world.host.of(run):
            await check_events(world, run)


def check_state(world: World, run: Run, now: int) -> None:
    """Nothing is stuck, nothing is left running that nobody watches."""
    alive = [agent for agent in world.host.of(run) if not agent.is_over(world.host.now)]
    if run.status is RunStatus.RUNNING:
        assert alive, "a run stayed running though no agent does"
        assert run.worker_id == world.rig.worker.id, "a run stayed running though no worker holds it"
    elif run.status is RunStatus.PAUSED:
        patience_ms = round((EVERY_SECONDS + 1) * SECOND)
        assert alive or (run.review_at or 0) + patience_ms > now, "nobody looked at a paused run whose agent is over"
        assert run.approval_due_at is None or run.approval_due_at + patience_ms > now, "nobody ended a paused run"
    elif run.status.is_final and run.status is not RunStatus.LOST and run.error != REFUSED.error:
        assert not alive, "an agent goes on though its run is over"


async def check_events(world: World, run: Run) -> None:
    """What the agents said is on record once, in order and without gaps, whoever watched them."""
    events = await world.store.events_after(run.id, 0, 100_000)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    for agent in world.host.of(run):
        attempt = int(agent.id.rpartition("/")[2])
        own = [event for event in events if event.attempt == attempt]
        words = "".join(event.data["content"] for event in own if event.type == "RunContent").split()
        is_over = attempt < run.attempt or run.status.is_final
        beginnings = [place for place, event in enumerate(own) if event.type == "attempt"]
        assert beginnings == ([0] if own or is_over else []), "an attempt does not begin once, at its beginning"
        assert words == [str(number) for number in range(len(words))], "words were lost or said twice"
        if run.status is RunStatus.SUCCESS and attempt == run.attempt:
            assert len(words) == agent.words, "the end of what the agent said is missing"
