"""Looks after paused runs: ends those that no human answered in time, and notices answers given elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from agentclock.core.errors import StoreUnavailable
from agentclock.core.events import RunChanged
from agentclock.core.model import SECOND, ApprovalAction, Claim, Instant, Instruction, InstructionKind, RunStatus
from agentclock.core.triggers import as_triggered
from agentclock.engine.bus import Bus
from agentclock.logs import about_run, run_facts
from agentclock.ports import Clock, Executor, Store, Wakeup

BATCH: Final = 100
#: How often to ask for paused runs that need a look.
EVERY_SECONDS: Final = 3.0
#: Questions to targets at a time, and how many may wait for their turn: a run left out has its turn another time.
CONCURRENCY: Final = 10
BACKLOG: Final = 200


class Reviewer:
    """`wake` is rung when a run can go on. Targets are asked in the background: `step` never waits for one."""

    def __init__(
        self, store: Store, executor: Executor, clock: Clock, bus: Bus, wakeup: Wakeup, *, wake: Callable[[], None]
    ) -> None:
        self._store = store
        self._executor = executor
        self._clock = clock
        self._bus = bus
        self._wakeup = wakeup
        self._wake = wake
        self._due_at = 0.0
        self._gate = asyncio.Semaphore(CONCURRENCY)
        self._asking: set[asyncio.Task[None]] = set()

    @property
    def asking(self) -> int:
        """How many targets are being asked, or wait to be."""
        return len(self._asking)

    def idle_seconds(self) -> float:
        return max(0.0, self._due_at - self._clock.monotonic())

    async def step(self) -> bool:
        """Looks at the paused runs that are due, if it is time to. True: there are more."""
        if self.idle_seconds() > 0:
            return False
        due = await self._store.paused_due(BATCH)
        if due:
            now = await self._store.now()
            for claim in due:
                await self._look_at(claim, now)
        if len(due) == BATCH:
            return True
        self._due_at = self._clock.monotonic() + EVERY_SECONDS
        return False

    async def close(self) -> None:
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    async def _look_at(self, claim: Claim, now: Instant) -> None:
        run = claim.run
        if run.approval_due_at is not None and run.approval_due_at <= now:
            await self._end(claim)
        elif len(self._asking) < BACKLOG:
            task = asyncio.create_task(self._ask(claim), name=f"agentclock-review-{run.id}")
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _end(self, claim: Claim) -> None:
        run, action = claim.run, claim.schedule.approval_timeout_action
        waited_ms = (run.approval_due_at or 0) - (run.paused_at or 0)
        instruction = Instruction(
            kind=InstructionKind.CANCEL,
            why=f"not approved within {waited_ms // SECOND} s",
            ends_as=RunStatus.FAILED if action is ApprovalAction.FAIL else RunStatus.CANCELLED,
        )
        await self._instruct(claim, instruction)

    async def _ask(self, claim: Claim) -> None:
        about_run(claim)
        log = structlog.get_logger("agentclock.keeper")
        try:
            async with self._gate:
                moved_on = await self._executor.has_moved_on(as_triggered(claim))
            if moved_on:
                attach = Instruction(kind=InstructionKind.ATTACH, why="answered at AgentOS")
                await self._instruct(claim, attach)
        except StoreUnavailable as error:
            log.warning("review_failed", error=str(error))
        except Exception:
            log.exception("review_failed")

    async def _instruct(self, claim: Claim, instruction: Instruction) -> None:
        run = await self._store.instruct(claim.run.id, instruction)
        if run is None:  # somebody was quicker
            return
        log = structlog.get_logger("agentclock.keeper")
        facts = run_facts(run, claim.schedule.name)
        log.info("paused_run_goes_on", **facts, instruction=instruction.kind.value, why=instruction.why)
        name = claim.schedule.name
        changed = RunChanged(run_id=run.id, schedule_id=run.schedule_id, schedule_name=name, attempt=run.attempt)
        self._bus.publish(changed)
        self._wakeup.tell(run_id=run.id)
        self._wakeup.send()
        self._wake()
