"""The keeper: renews this worker's lease, takes over what dead workers left, looks after paused runs, tidies."""

from __future__ import annotations

import asyncio

from agentclock.core.errors import AgentclockError
from agentclock.core.events import RunTakenOver
from agentclock.core.model import DAY_SECONDS, SECOND, Claim, Outcome, OutcomeKind
from agentclock.engine.bus import Bus
from agentclock.engine.completer import Completer
from agentclock.engine.reviewer import Reviewer
from agentclock.engine.worker import Worker
from agentclock.ports import Clock, Executor, Store, Wakeup

BATCH = 100
PRUNE_BATCH = 5_000
PRUNE_EVERY_SECONDS = 3_600.0

LOST = Outcome(kind=OutcomeKind.LOST, error="the worker that held this run died or lost its lease")


class Declared(AgentclockError):
    """Others declared this worker dead: its runs are theirs now, it must start again under a new id."""


class Keeper:
    """Rung often: all that costs a write has its own time, only wishes to cancel are heeded at each step.

    `is_patient`: the database was away until just now, so that nobody can be blamed for silence yet.
    """

    def __init__(
        self,
        store: Store,
        worker: Worker,
        completer: Completer,
        clock: Clock,
        bus: Bus,
        *,
        executor: Executor,
        wakeup: Wakeup,
        lease_seconds: float,
        history_days: int | None,
        is_patient: bool = False,
    ) -> None:
        self._store = store
        self._worker = worker
        self._completer = completer
        self._clock = clock
        self._bus = bus
        self._executor = executor
        self._wakeup = wakeup
        self._lease_seconds = lease_seconds
        self._history_days = history_days
        self.reviewer = Reviewer(store, executor, clock, bus, wakeup, wake=worker.wake)
        self._renewed_at: float | None = None
        self._patient_until = clock.monotonic() + lease_seconds if is_patient else 0.0
        self._more_orphans = False
        self._prune_at = 0.0

    async def step(self) -> bool:
        """One round. True: there is more to take over, to look at or to tidy."""
        if self._renewal_in() <= 0:
            await self._renew()
            await self._store.release_waiting()
            self._more_orphans = True
        elif self._worker.busy:
            self._worker.cancel(await self._store.cancel_requests(self._worker.id))
        if self._more_orphans:
            self._more_orphans = await self._take_over() == BATCH
        more_paused = await self.reviewer.step()
        return self._more_orphans or more_paused or await self._prune()

    def idle_seconds(self, longest: float) -> float:
        return min(max(self._renewal_in(), 0), self.reviewer.idle_seconds(), longest)

    async def close(self) -> None:
        await self.reviewer.close()

    def _renewal_in(self) -> float:
        """Seconds until a third of the lease is over."""
        if self._renewed_at is None:
            return 0
        return self._renewed_at + self._lease_seconds / 3 - self._clock.monotonic()

    async def _renew(self) -> None:
        asked_at = self._clock.monotonic()
        beat = await self._store.renew_lease(self._worker.id, self._lease_seconds)
        if not beat.alive:
            raise Declared("this worker's lease ended and others took its runs over")
        if self._renewed_at is not None and self._clock.monotonic() - self._renewed_at > self._lease_seconds / 2:
            # We could not renew in time (database away, process frozen), and whoever renewed just before us has no
            # lease any more: give all one lease of time to renew theirs before we call anybody dead.
            self._patient_until = self._clock.monotonic() + self._lease_seconds
            self._worker.wake()  # without a lease it could claim nothing
        self._renewed_at = asked_at
        self._worker.renewed(asked_at + self._lease_seconds)
        self._worker.cancel(beat.cancel_requested)

    async def _take_over(self) -> int:
        if self._clock.monotonic() < self._patient_until:
            return 0
        orphans = await self._store.orphans(BATCH)
        fates = [self._fate(claim) for claim in orphans]
        for claim, fate in zip(orphans, fates, strict=True):
            attaches = fate.kind is OutcomeKind.DETACHED
            self._bus.publish(RunTakenOver(run=claim.run, schedule_name=claim.schedule.name, attaches=attaches))
        await asyncio.gather(*map(self._completer.settle, orphans, fates))
        for claim in orphans:
            self._wakeup.tell(run_id=claim.run.id)
        if orphans:
            self._worker.wake()
            self._wakeup.send()
        return len(orphans)

    def _fate(self, claim: Claim) -> Outcome:
        """An agent that lives elsewhere goes on, and so does its run; of anything else nobody knows how it ended."""
        return Outcome(kind=OutcomeKind.DETACHED) if self._executor.can_attach(claim) else LOST

    async def _prune(self) -> bool:
        if self._history_days is None or self._clock.monotonic() < self._prune_at:
            return False
        horizon = await self._store.now() - self._history_days * DAY_SECONDS * SECOND
        if await self._store.prune(horizon, PRUNE_BATCH) == PRUNE_BATCH:
            return True
        self._prune_at = self._clock.monotonic() + PRUNE_EVERY_SECONDS
        return False
