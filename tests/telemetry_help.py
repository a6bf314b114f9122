"""A process's telemetry without the process: a store that says what it is told to, and events of all kinds."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from prometheus_client.parser import text_string_to_metric_families

from agentclock.config import Settings
from agentclock.core.errors import StoreUnavailable
from agentclock.core.events import (
    AttemptStarted,
    EngineTrouble,
    Event,
    FiresAbsent,
    ResultDropped,
    RunQueued,
    RunSettled,
    RunTakenOver,
    ScheduleFaulty,
    WorkerDeclaredDead,
)
from agentclock.core.model import Cause, Claim, Outcome, Reason, Run, RunStatus, Schedule, Target
from agentclock.ports import Backlog, Fired, RunContext, Store, StoreHealth
from agentclock.telemetry import Telemetry
from agentclock.testing import SUCCESS, FakeClock, ScriptedExecutor

RUN_ID = "0190d6f0-5a1b-8c3d-9e6f-5a1f6f0c2b11"
PING_URL = "https://hc.test/ping/s3cret?team=a"
#: Name, labels in order, value.
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def run_of(**changes: Any) -> Run:
    facts: dict[str, Any] = {
        "id": RUN_ID,
        "schedule_id": "s1",
        "cause": Cause.SCHEDULE,
        "fire_at": 10_000,
        "available_at": 10_000,
        "attempt": 1,
        "fence": 1,
        "started_at": 10_000,
        "attempt_started_at": 10_000,
    }
    return Run(**facts | changes)


def started(run: Run | None = None, *, at: int = 10_020, name: str = "nightly", ping: str | None = None) -> Event:
    return AttemptStarted(run=run or run_of(), schedule_name=name, ping_url=ping, at=at)


def settled(status: RunStatus = RunStatus.SUCCESS, run: Run | None = None, **changes: Any) -> Event:
    facts: dict[str, Any] = {"schedule_name": "nightly", "available_at": None, "attempt_spent": True}
    facts |= {"error": None, "output": None, "at": 12_500}
    return RunSettled(run=run or run_of(), status=status, **facts | changes)


def missed(**changes: Any) -> Event:
    facts: dict[str, Any] = {"schedule_id": "s1", "schedule_name": "nightly", "status": RunStatus.MISSED}
    facts |= {"reason": Reason.CATCH_UP_NONE, "fire_at": 0, "last_fire_at": 60_000, "count": 7}
    return FiresAbsent(**facts | changes)


def every_event() -> list[Event]:
    """Of those that are counted."""
    pending = {"status": RunStatus.PENDING, "available_at": 20_000}
    return [
        RunQueued(run_id=RUN_ID, schedule_id="s1", schedule_name="nightly", fire_at=10_000, cause=Cause.SCHEDULE),
        started(),
        settled(),
        settled(**pending),
        settled(**pending, attempt_spent=False),
        missed(),
        missed(status=RunStatus.SKIPPED, reason=Reason.OVERLAP),
        ResultDropped(run_id=RUN_ID),
        WorkerDeclaredDead(worker="here:1", runs=1),
        RunTakenOver(run=run_of(), schedule_name="nightly", attaches=True),
        ScheduleFaulty(schedule_id="s1", reason="unreadable"),
        EngineTrouble(loop="planner", error="away", retry_in_seconds=1),
    ]


class StubStore:
    """`away` True: it does not answer; an event: it answers when that is set."""

    def __init__(self) -> None:
        self.away: bool | asyncio.Event = False
        self.looks = 0

    async def health(self) -> StoreHealth:
        self.looks += 1
        await self._answer()
        return StoreHealth(
            backend="postgres",
            version="18",
            schema_version=4,
            latency_ms=1.5,
            clock_difference_ms=-250,
            oldest_snapshot_seconds=12,
        )

    async def backlog(self) -> Backlog:
        return Backlog(due_lag_ms=1_500, queue_lag_ms=250, pending=3, running=2, paused=1)

    async def now(self) -> int:
        await self._answer()
        return 10_000

    async def fire_due(self, *_: Any, **__: Any) -> Fired:
        await self._answer()
        return Fired()

    async def _answer(self) -> None:
        if isinstance(self.away, asyncio.Event):
            await self.away.wait()
        elif self.away:
            raise StoreUnavailable("password=hunter2")


class StubEngine:
    status = "running"
    busy = 2


class Watched:
    """Telemetry of a process that is not there."""

    def __init__(self, **settings: Any) -> None:
        self.clock = FakeClock()
        self.bare_store, self.engine = StubStore(), StubEngine()
        hook = {"url": "https://chat.example.com/", "format": "slack"}
        configured = Settings(**({"webhooks": {"chat": hook}} | settings))
        self.telemetry = Telemetry(configured, self.clock, version="1.2.3")
        self.store = self.telemetry.timed(cast(Store, self.bare_store))
        self.telemetry.watch(self.store, self.engine, open_streams=lambda: 4, hears=lambda: True)

    def hear(self, *events: Event) -> None:
        for event in events:
            for listener in self.telemetry.listeners:
                listener(event)

    async def execute(self, outcome: Outcome = SUCCESS, target: str = "default", endpoint: str = "/hook") -> None:
        """One request by way of the wrapped executor."""
        schedule = Schedule(id="s1", name="nightly", target=Target(name=target, endpoint=endpoint))
        context = RunContext(claim=Claim(run=run_of(), schedule=schedule), emit=_ignore, note_agent_run=_nothing)
        await self.telemetry.observed(ScriptedExecutor([outcome])).execute(context)

    async def shown(self) -> Samples:
        text, _ = await self.telemetry.exposition("")
        return samples_of(text.decode())


def samples_of(text: str) -> Samples:
    families = text_string_to_metric_families(text)
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def _ignore(_: object) -> None: ...


async def _nothing(*_: object) -> None: ...
