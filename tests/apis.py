"""A scheduler, and its API, on a store in memory and a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

import httpx2
from fastapi import FastAPI

from agentclock.api import Guard, add_routes
from agentclock.config import WebhookEntry
from agentclock.core.events import AttemptStarted, Event, EventsLogged, RunSettled
from agentclock.core.lifecycle import settle
from agentclock.core.model import Claim, Outcome, OutcomeKind, Run
from agentclock.core.notices import Subscription
from agentclock.engine.bus import Bus
from agentclock.live import Hub
from agentclock.ports import EventBatch, LoggedEvent, WorkerInfo
from agentclock.runs import Runs
from agentclock.scheduler import EngineState, Scheduler
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import SUCCESS, FakeClock
from agentclock.webhooks.answers import Answer
from agentclock.webhooks.desk import WebhookDesk
from agentclock.webhooks.messages import Message

DRAFT: dict[str, Any] = {"name": "nightly", "endpoint": "/agents/assistant/runs", "cron_expr": "0 3 * * *"}
WORKER = WorkerInfo(id="00000000-0000-4000-8000-000000000001", name="worker-1", app_version="test")


@dataclass(slots=True)
class World:
    """`engine` is what the engine says of itself; tests put another state there. `wakes` counts wake-ups, `events` is
    what went over the bus, `cancelled` what the engine of this process was told to end."""

    clock: FakeClock
    store: SqliteStore
    bus: Bus
    engine: EngineState = field(default_factory=lambda: EngineState(status="running"))
    listener: str = "ok"
    wakes: int = 0
    events: list[Event] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    #: What webhooks were sent by hand, and what they answer.
    posted: list[tuple[str, Message]] = field(default_factory=list)
    answer: Answer = field(default_factory=lambda: Answer(status_code=204))
    desk: WebhookDesk = field(init=False)
    scheduler: Scheduler = field(init=False)
    runs: Runs = field(init=False)
    hub: Hub = field(init=False)

    def __post_init__(self) -> None:
        self.bus.subscribe(self.events.append)
        self.hub = Hub(self.store, clock=self.clock, wants_exit=lambda: False)
        self.bus.subscribe(self.hub.notice)
        self.runs = Runs(
            self.store,
            clock=self.clock,
            wakeup=self._wake,
            cancel_here=self.cancelled.append,
            publish=self.bus.publish,
            watch=self.bus.watch,
        )
        self.scheduler = Scheduler(
            self.store,
            clock=self.clock,
            wakeup=self._wake,
            engine_state=lambda: self.engine,
            watch=self.bus.watch,
            publish=self.bus.publish,
            targets=("default", "hooks"),
        )

        webhooks = {name: WebhookEntry.model_validate(entry) for name, entry in WEBHOOKS.items()}
        self.desk = WebhookDesk(self.store, webhooks, clock=self.clock, post=self._post, ring=self._wake)

    def _wake(self) -> None:
        self.wakes += 1

    async def _post(self, webhook: str, message: Message) -> Answer:
        self.posted.append((webhook, message))
        return self.answer

    async def create(self, **fields: Any) -> str:
        """The id of a schedule made of DRAFT and `fields`."""
        return (await self.scheduler.create(DRAFT | fields)).id

    async def execute(self, outcome: Outcome = SUCCESS) -> Run:
        """Does what a worker does with the one run that is available."""
        claim = await self.claim()
        await self.settle(claim, outcome)
        return claim.run

    async def claim(self) -> Claim:
        await self.store.acquire_engine(WORKER, 60)
        claimed = await self.store.claim(WORKER.id, 1)
        claim = claimed.claims[0]
        self.bus.publish(AttemptStarted(run=claim.run, schedule_name=claim.schedule.name, at=self.clock.now()))
        return claim

    async def settle(self, claim: Claim, outcome: Outcome = SUCCESS) -> None:
        settlement = settle(claim, outcome, self.clock.now())
        await self.store.settle([settlement])
        settled = RunSettled(
            run=claim.run,
            schedule_name=claim.schedule.name,
            status=settlement.status,
            available_at=settlement.available_at,
            attempt_spent=True,
            error=outcome.error,
            output=outcome.output,
            at=self.clock.now(),
        )
        self.bus.publish(settled)

    async def log(self, claim: Claim, *texts: str, keep_from_seq: int = 1, kind: str = "RunContent") -> None:
        """Puts events of an agent on record, as the recorder does."""
        run = claim.run
        first = (await self.store.event_cursor(run.id)).seq + 1
        events = tuple(
            LoggedEvent(
                run_id=run.id,
                seq=first + number,
                attempt=run.attempt,
                at=self.clock.now(),
                type=kind,
                data={"content": text},
            )
            for number, text in enumerate(texts)
        )
        batch = EventBatch(run_id=run.id, fence=run.fence, events=events, keep_from_seq=keep_from_seq)
        assert await self.store.append_events([batch])
        self.bus.publish(EventsLogged(run_id=run.id, schedule_id=run.schedule_id, seq=events[-1].seq))


#: A tool call that an agent must not make before a human has agreed, as AgentOS tells of it.
PAY = {
    "id": "requirement-1",
    "tool_execution": {
        "tool_call_id": "call-1",
        "tool_name": "pay",
        "tool_args": {"amount": 120},
        "requires_confirmation": True,
        "confirmed": None,
    },
}
PAUSED = Outcome(kind=OutcomeKind.PAUSED, requirements=[PAY], agent_run_id="agent-run-1")


#: Paths and secrets are not to be shown.
WEBHOOKS: dict[str, dict[str, Any]] = {
    "ops": {"url": "https://hooks.example.com/topsecret", "secret": "whsec_dG9wc2VjcmV0IHRvcHNlY3JldA=="},
    "chat": {"url": "${secret:CHAT_URL}", "format": "slack", "events": ["run.succeeded"], "tags": ["night"]},
}


@asynccontextmanager
async def world(*subscriptions: Subscription) -> AsyncIterator[World]:
    clock = FakeClock()
    store = SqliteStore(":memory:", clock=clock, subscriptions=subscriptions)
    await store.open()
    made = World(clock, store, Bus())
    try:
        yield made
    finally:
        await made.hub.close()
        await store.close()


class _Part:
    """Stands for one part of whatever world is on stage."""

    def __init__(self, stage: _Stage, name: str) -> None:
        self._stage = stage
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(getattr(self._stage.world, self._name), attribute)


class _Stage:
    """One app for many worlds, one at a time: to make an app takes longer than most tests."""

    world: World

    def __init__(self) -> None:
        scheduler, runs, hub, desk = (_Part(self, name) for name in ("scheduler", "runs", "hub", "desk"))
        self.app = FastAPI()
        add_routes(
            self.app,
            cast(Scheduler, scheduler),
            cast(Runs, runs),
            cast(Hub, hub),
            trigger_wait_seconds=0,
            listener=lambda: self.world.listener,
            webhooks=cast(WebhookDesk, desk),
        )


@cache
def _stage() -> _Stage:
    return _Stage()


def app_of(somewhere: World, *, guard: Guard | None = None, trigger_wait_seconds: float = 0) -> FastAPI:
    """Without options it is the same app for every world, and the world of the last call is the one it shows."""
    if guard is None and not trigger_wait_seconds:
        stage = _stage()
        stage.world = somewhere
        return stage.app
    app = FastAPI()
    add_routes(
        app,
        somewhere.scheduler,
        somewhere.runs,
        somewhere.hub,
        guard=guard,
        trigger_wait_seconds=trigger_wait_seconds,
        listener=lambda: somewhere.listener,
        webhooks=somewhere.desk,
    )
    return app


def client_of(app: FastAPI) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://agentclock.test")
