"""Settling in batches: many attempts end at about the same time, one transaction writes them all."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from structlog.contextvars import clear_contextvars

from agentclock.core.errors import StoreUnavailable
from agentclock.core.events import ResultDropped, RunSettled, ScheduleChanged
from agentclock.core.lifecycle import Settlement, settle
from agentclock.core.model import SECOND, Claim, Outcome
from agentclock.engine.bus import Bus
from agentclock.engine.outage import Outage
from agentclock.ports import Clock, Store

BATCH = 500
PAUSE_SECONDS = (0.2, 2.0)


@dataclass(slots=True, eq=False)
class _Ended:
    claim: Claim
    outcome: Outcome
    ended: float
    settlement: asyncio.Future[Settlement | None]

    @property
    def is_open(self) -> bool:
        """Not written yet. Whoever waited may have gone: the result counts all the same."""
        return not self.settlement.done() or self.settlement.cancelled()


class Completer:
    """Takes ends of attempts from many tasks, and announces them once they are durable.

    While the database is away they wait here; none is dropped. There are never more than the worker has slots, for
    each keeps its slot, and those of one batch that the keeper takes over.
    """

    def __init__(self, store: Store, clock: Clock, bus: Bus, outage: Outage | None = None) -> None:
        self._store = store
        self._clock = clock
        self._bus = bus
        self._outage = outage or Outage(clock, bus)
        self._waiting: deque[_Ended] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def settle(self, claim: Claim, outcome: Outcome) -> Settlement | None:
        """What follows from `outcome`, once it is durable; None when the run is another worker's by now."""
        ended = _Ended(claim, outcome, self._clock.monotonic(), asyncio.get_running_loop().create_future())
        self._waiting.append(ended)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all(), name="agentclock-completer")
        return await ended.settlement

    async def close(self) -> None:
        """Gives up what could not be written; the runs' leases end by themselves and they count as lost."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        for ended in self._waiting:
            ended.settlement.cancel()

    async def _write_all(self) -> None:
        clear_contextvars()  # those of the run that happened to come first
        pause, longest = PAUSE_SECONDS
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            try:
                await self._write_or_apart(batch)
                self._outage.succeeded("completer")
                pause = PAUSE_SECONDS[0]
            except StoreUnavailable as error:
                self._waiting.extendleft(ended for ended in reversed(batch) if ended.is_open)
                self._outage.failed("completer", error, pause)
                await self._clock.sleep(pause)
                pause = min(pause * 2, longest)
            except asyncio.CancelledError:
                self._waiting.extendleft(reversed(batch))
                raise

    async def _write_or_apart(self, batch: list[_Ended]) -> None:
        """One result that no database takes must not keep the others from being written."""
        try:
            await self._write(batch)
        except StoreUnavailable:
            raise
        except Exception as error:
            if len(batch) == 1:
                # Whatever it is, the waiting task must learn of it; the run is recovered as lost.
                if not batch[0].settlement.done():
                    batch[0].settlement.set_exception(error)
                return
            for ended in batch:
                await self._write_or_apart([ended])

    async def _write(self, batch: list[_Ended]) -> None:
        now, monotonic = await self._store.now(), self._clock.monotonic()
        settlements = [
            settle(ended.claim, ended.outcome, now - round((monotonic - ended.ended) * SECOND)) for ended in batch
        ]
        written = await self._store.settle(settlements)
        for ended, settlement in zip(batch, settlements, strict=True):
            ours = settlement.run_id in written
            self._bus.publish(_settled(ended.claim, settlement) if ours else dropped(ended.claim))
            if ours and settlement.outcome.disables is not None:
                self._bus.publish(ScheduleChanged(schedule_id=settlement.schedule_id))
            if not ended.settlement.done():
                ended.settlement.set_result(settlement if ours else None)


def dropped(claim: Claim) -> ResultDropped:
    run, name = claim.run, claim.schedule.name
    return ResultDropped(run_id=run.id, schedule_id=run.schedule_id, schedule_name=name, attempt=run.attempt)


def _settled(claim: Claim, settlement: Settlement) -> RunSettled:
    return RunSettled(
        run=claim.run,
        schedule_name=claim.schedule.name,
        ping_url=claim.schedule.ping_url,
        status=settlement.status,
        available_at=settlement.available_at,
        attempt_spent=settlement.attempt_status is not None,
        error=settlement.outcome.error,
        output=settlement.outcome.output,
        at=settlement.ended_at,
        goes_on=None if settlement.instruction is None else settlement.instruction.kind,
    )
