"""The recorder: what agents say while they run, on record in batches, before anybody else sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from structlog.contextvars import clear_contextvars

from agentclock.core.errors import StoreUnavailable
from agentclock.core.events import EventsLogged
from agentclock.core.model import Claim
from agentclock.engine.alarm import Alarm
from agentclock.engine.bus import Bus
from agentclock.engine.outage import Outage
from agentclock.engine.runlog import RunLog
from agentclock.logs import run_facts
from agentclock.ports import Clock, EventBatch, EventCursor, Said, Store, Wakeup

#: One run is written at most so often; the first event after some quiet at once.
WRITE_EVERY_SECONDS: Final = 0.25
#: Between two transactions.
TICK_SECONDS: Final = 0.02
#: A transaction takes further runs until it has this many events: writing them out holds up the event loop.
TRANSACTION_EVENTS: Final = 200
PAUSE_SECONDS: Final = (0.2, 5.0)

EVENTS_LIMIT: Final = 10_000
BYTES_LIMIT: Final = 1_048_576


@dataclass(slots=True, eq=False)
class _Recording:
    log: RunLog
    disown: Callable[[], None]
    flushed: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def run_id(self) -> str:
        return self.log.claim.run.id

    @property
    def facts(self) -> dict[str, object]:
        return run_facts(self.log.claim.run, self.log.claim.schedule.name)

    @property
    def key(self) -> tuple[str, int]:
        return _key(self.log.claim)


class Recorder:
    """Writes the event logs of a worker's runs: `record` never waits, one task writes for all of them.

    A run keeps at most `events_limit` events and `bytes_limit` bytes on record, the newest ones; as many bytes wait
    in memory while the database is away.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        bus: Bus,
        wakeup: Wakeup,
        *,
        events_limit: int = EVENTS_LIMIT,
        bytes_limit: int = BYTES_LIMIT,
        outage: Outage | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._bus = bus
        self._outage = outage or Outage(clock, bus)
        self._wakeup = wakeup
        self._events_limit = events_limit
        self._bytes_limit = bytes_limit
        self._recordings: dict[tuple[str, int], _Recording] = {}
        self._unwritten: dict[_Recording, None] = {}
        self._writer: asyncio.Task[None] | None = None
        self._alarm = Alarm()
        self._away = False

    async def open(self, claim: Claim, disown: Callable[[], None]) -> EventCursor:
        """Begins to record what the run's agent says, after what is on record already.

        `disown` is called, once at most, when the run turns out to be another worker's. A database that is away is
        waited for.
        """
        run = claim.run
        cursor = await self._cursor(run.id) if run.fence > 1 else EventCursor()
        log = RunLog(claim, cursor, events_limit=self._events_limit, bytes_limit=self._bytes_limit)
        if cursor.attempt < run.attempt:
            # It goes on record with what follows it: an attempt that is refused a connection never was one.
            began = {"number": run.attempt, "cause": run.cause.value, "worker": run.worker}
            log.add(Said(type="attempt", data=began), self._clock.now())
        recording = _Recording(log, disown)
        self._recordings[recording.key] = recording
        return cursor

    def record(self, claim: Claim, said: Said) -> None:
        recording = self._recordings.get(_key(claim))
        if recording is not None:  # None: no log is kept of this run, or it is not ours any more
            recording.log.add(said, self._clock.now())
            self._write_soon(recording)

    async def flush(self, claim: Claim) -> None:
        """Until all that was recorded is durable, or the run is not ours any more, or the recorder is closed."""
        recording = self._recordings.get(_key(claim))
        if recording is None or recording.log.is_clean:
            return
        flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        recording.flushed.append(flushed)
        self._write_soon(recording)
        self._alarm.ring()
        await flushed

    def forget(self, claim: Claim) -> None:
        """The claim is over."""
        recording = self._recordings.get(_key(claim))
        if recording is not None:
            self._drop(recording)

    async def close(self) -> None:
        """Gives up what could not be written."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        for recording in tuple(self._recordings.values()):
            self._drop(recording)

    def _write_soon(self, recording: _Recording) -> None:
        self._unwritten.setdefault(recording)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all(), name="agentclock-recorder")

    async def _cursor(self, run_id: str) -> EventCursor:
        pause, longest = PAUSE_SECONDS
        while True:
            try:
                cursor = await self._store.event_cursor(run_id)
            except StoreUnavailable as error:
                self._troubled(error, pause)
                await self._clock.sleep(pause)
                pause = min(pause * 2, longest)
            else:
                self._well()
                return cursor

    async def _write_all(self) -> None:
        clear_contextvars()  # those of the run that happened to speak first
        pause, longest = PAUSE_SECONDS
        while self._unwritten:
            try:
                await self.step()
            except Exception as error:
                if not isinstance(error, StoreUnavailable):  # a fault of ours, which nobody may wait for in vain
                    structlog.get_logger("agentclock.recorder").exception("recorder_failed")
                self._troubled(error, pause)
                await self._clock.sleep(pause)
                pause = min(pause * 2, longest)
            else:
                pause = PAUSE_SECONDS[0]
                await self._alarm.wait(TICK_SECONDS)

    async def step(self) -> None:
        """Writes one batch of each run that is due, in one transaction."""
        due = self._due()
        if not due:
            return
        try:
            await self._write(due)
        except StoreUnavailable:
            raise
        except Exception:
            structlog.get_logger("agentclock.recorder").exception("events_refused", runs=len(due))
            await self._write_apart(due)
        self._well()

    def _due(self) -> list[tuple[_Recording, EventBatch]]:
        """The next batch of each run that is due; of two claims of one run, the earlier."""
        now, found, events = self._clock.monotonic(), dict[str, tuple[_Recording, EventBatch]](), 0
        for recording in self._unwritten:
            if events >= TRANSACTION_EVENTS:
                break
            if recording.log.due_at > now and not recording.flushed:
                continue
            batch = recording.log.batch() if recording.run_id not in found else None
            if batch is not None:
                found[recording.run_id] = (recording, batch)
                events += len(batch.events)
        return list(found.values())

    async def _write(self, due: Sequence[tuple[_Recording, EventBatch]]) -> None:
        ours = await self._store.append_events([batch for _, batch in due])
        next_at = self._clock.monotonic() + WRITE_EVERY_SECONDS
        for recording, batch in due:
            if batch.run_id in ours:
                self._written(recording, batch, next_at)
            else:
                self._drop(recording)
                recording.disown()

    def _written(self, recording: _Recording, batch: EventBatch, next_at: float) -> None:
        recording.log.written(next_at)
        if recording in self._unwritten:
            del self._unwritten[recording]
            if recording.log.is_clean:
                _release(recording)
            else:  # to the end of the row, so that all have their turn
                self._unwritten[recording] = None
        self._bus.publish(_logged(recording.log.claim, batch.events[-1].seq))
        self._wakeup.tell(run_id=batch.run_id)

    async def _write_apart(self, due: Sequence[tuple[_Recording, EventBatch]]) -> None:
        """One run's rows that no database takes must not keep the others from being written."""
        for recording, batch in due:
            try:
                await self._write([(recording, batch)])
            except StoreUnavailable:
                raise
            except Exception:
                log = structlog.get_logger("agentclock.recorder")
                log.exception("events_lost", **recording.facts, events=len(batch.events))
                if not recording.log.spoiled():
                    self._drop(recording)

    def _drop(self, recording: _Recording) -> None:
        self._recordings.pop(recording.key, None)
        if recording in self._unwritten:
            del self._unwritten[recording]
            log = structlog.get_logger("agentclock.recorder")
            log.warning("events_dropped", **recording.facts, events=recording.log.events_waiting)
        _release(recording)

    def _troubled(self, error: Exception, pause: float) -> None:
        """Once for each time that the database goes away: the tries that follow say nothing new."""
        if not self._away:
            self._outage.failed("recorder", error, pause)
        self._away = True

    def _well(self) -> None:
        self._away = False
        self._outage.succeeded("recorder")


def _logged(claim: Claim, seq: int) -> EventsLogged:
    run, name = claim.run, claim.schedule.name
    return EventsLogged(run_id=run.id, schedule_id=run.schedule_id, schedule_name=name, attempt=run.attempt, seq=seq)


def _key(claim: Claim) -> tuple[str, int]:
    return claim.run.id, claim.run.fence


def _release(recording: _Recording) -> None:
    for flushed in recording.flushed:
        if not flushed.done():
            flushed.set_result(None)
    recording.flushed.clear()
