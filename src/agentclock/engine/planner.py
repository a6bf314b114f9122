"""The planner: turns due fire times into runs."""

from __future__ import annotations

from collections.abc import Callable

from agentclock.core.events import FiresAbsent, RunQueued, ScheduleFaulty
from agentclock.core.planning import plan
from agentclock.engine.bus import Bus
from agentclock.engine.worker import Worker
from agentclock.ports import Fired, Store, Wakeup

#: Schedules planned in one transaction.
BATCH = 200


class Planner:
    """`hurry` is called when fires made runs that cannot start yet: what they wait for may have to be cancelled."""

    def __init__(
        self, store: Store, worker: Worker, bus: Bus, wakeup: Wakeup, *, hurry: Callable[[], None] = lambda: None
    ) -> None:
        self._store = store
        self._worker = worker
        self._bus = bus
        self._wakeup = wakeup
        self._hurry = hurry
        self._next_due_ms: int | None = None

    async def step(self) -> bool:
        """Plans one batch of due schedules. True: there may be more that are due already.

        Runs that this worker has room for are claimed in the same transaction, which saves a round trip between
        the fire time and the request.
        """
        with self._worker.room() as room:
            fired = await self._store.fire_due(plan, limit=BATCH, worker_id=self._worker.id, slots=room.slots)
            self._worker.start(fired.claims, room)
        self._announce(fired)
        self._next_due_ms = fired.next_due_ms
        return fired.next_due_ms is not None and fired.next_due_ms <= 0 and fired.planned > 0

    def idle_seconds(self, longest: float) -> float:
        """How long nothing is due, at most `longest`."""
        if self._next_due_ms is None:
            return longest
        return min(max(self._next_due_ms, 1) / 1000, longest)

    def _announce(self, fired: Fired) -> None:
        for run in fired.runs:
            self._bus.publish(
                RunQueued(
                    run_id=run.id,
                    schedule_id=run.schedule_id,
                    schedule_name=fired.schedules[run.schedule_id].name,
                    fire_at=run.fire_at,
                    cause=run.cause,
                )
            )
        for schedule_id, absence in fired.absences:
            self._bus.publish(
                FiresAbsent(
                    schedule_id=schedule_id,
                    schedule_name=fired.schedules[schedule_id].name,
                    ping_url=fired.schedules[schedule_id].ping_url,
                    status=absence.status,
                    reason=absence.reason,
                    fire_at=absence.fire_at,
                    last_fire_at=absence.last_fire_at,
                    count=absence.count,
                )
            )
        for fault in fired.faults:
            self._bus.publish(ScheduleFaulty(schedule_id=fault.row_id, reason=fault.reason))
        if len(fired.runs) > len(fired.claims):
            self._worker.wake()
            self._wakeup.send()
        if any(run.available_at is None for run in fired.runs):
            self._hurry()
