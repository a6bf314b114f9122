"""One schedule and its planner on a store in memory, and rows that read as one line each.

The stories begin on 2026-01-01 at 00:00 UTC unless they say otherwise; times of day are those of that day. Rows read
`00:15 runs`, `00:30 waits` (for the run before it), `00:45 +20s` (starts in 20 seconds), `01:00-03:00 superseded x9`
(one row, missed or skipped, with its reason and the number of its fires). Like runs that follow one another are shown
as `00:30-03:00 waits *11`: eleven rows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import groupby
from typing import Any

from tests.rig import Rig

from agentclock.core.lifecycle import settle
from agentclock.core.model import Claim, Instant, Run, RunStatus, Schedule, Target
from agentclock.core.timetable import rearmed
from agentclock.ports import PageRequest, RunFilter
from agentclock.scheduler import EngineState, Scheduler
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import SUCCESS, FakeClock, ScriptedExecutor

MIDNIGHT = 1_767_225_600_000
DAY = 86_400_000


def at(text: str) -> Instant:
    """`03:05`, `03:05:10` or `30d03:05`: that much after midnight."""
    days, _, time = text.rpartition("d")
    hours, minutes, seconds = [int(part) for part in f"{time}:00".split(":")[:3]]
    return MIDNIGHT + int(days or 0) * DAY + ((hours * 60 + minutes) * 60 + seconds) * 1000


def shown(instant: Instant) -> str:
    days, rest = divmod((instant - MIDNIGHT) // 1000, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    return (f"{days}d" if days else "") + f"{hours:02}:{minutes:02}" + (f":{seconds:02}" if seconds else "")


class Bench:
    """One schedule, its planner, and nobody who carries its runs out unless `carry_out` is called."""

    def __init__(self, start: Instant) -> None:
        self.clock = FakeClock(start)
        self.store = SqliteStore(":memory:", clock=self.clock)
        self.rig = Rig(self.store, self.clock, ScriptedExecutor(), slots=0)
        self.scheduler = Scheduler(
            self.store, clock=self.clock, wakeup=lambda: None, engine_state=lambda: EngineState(status="running")
        )

    async def add(self, **fields: Any) -> None:
        now = self.clock.now()
        blank = Schedule(id="s1", name="s1", target=Target(endpoint="/agents/a/runs"), created_at=now)
        await self.store.insert_schedules([rearmed(replace(blank, **fields), now)])

    async def change(self, **fields: Any) -> None:
        """As an older release of this program would have left the row, or somebody with SQL."""
        await self.store.change_schedule("s1", lambda schedule, _: replace(schedule, **fields))

    async def plan(self, when: str) -> None:
        """The engine is there at that time (or is there again)."""
        self.clock.jump((at(when) - self.clock.now()) / 1000)
        while await self.rig.planner.step():
            pass

    async def finish(self, claim: Claim) -> None:
        """The run of this claim succeeds, now."""
        await self.store.settle([settle(claim, SUCCESS, self.clock.now())])

    async def runs(self) -> list[Run]:
        found = (await self.store.list_runs(RunFilter(), PageRequest(limit=2_000))).items
        return sorted(found, key=lambda run: (run.fire_at, run.id))

    async def rows(self) -> list[str]:
        """All rows as they stand."""
        words = [(self.word(run), run) for run in await self.runs()]
        return [line for word, group in groupby(words, lambda pair: pair[0]) for line in _lines(word, [*group])]

    def word(self, run: Run) -> str:
        """How it stands."""
        if run.reason is not None:
            return f"{run.reason} x{run.fire_count}"
        if run.status is not RunStatus.PENDING:
            return str(run.status)
        if run.available_at is None:
            return "waits"
        seconds = (run.available_at - self.clock.now()) / 1000
        return "runs" if seconds <= 0 else f"+{seconds:g}s"

    async def schedule(self) -> Schedule:
        return await self.scheduler.get("s1")


def _lines(word: str, group: list[tuple[str, Run]]) -> Iterator[str]:
    first, last = group[0][1], group[-1][1]
    if first.reason is None and len(group) > 1:
        yield f"{shown(first.fire_at)}-{shown(last.fire_at)} {word} *{len(group)}"
        return
    for _, run in group:
        until = "" if run.last_fire_at in (None, run.fire_at) else f"-{shown(run.last_fire_at or 0)}"
        yield f"{shown(run.fire_at)}{until} {word}"


@asynccontextmanager
async def open_bench(start: Instant = MIDNIGHT) -> AsyncIterator[Bench]:
    made = Bench(start)
    await made.store.open()
    await made.rig.begin()
    await made.store.renew_lease(made.rig.worker.id, 10_000_000)  # nobody beats here
    try:
        yield made
    finally:
        await made.store.close()
