"""What is looked up when somebody asks: the state of this process and of the database."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from agentclock.core.errors import AgentclockError
from agentclock.core.model import SECOND
from agentclock.core.zones import tzdata_version
from agentclock.ports import Backlog, Store, StoreHealth
from agentclock.telemetry import definitions as metric
from agentclock.telemetry.definitions import Metric

#: What the database said is shown again for so long, however many ask.
FRESH_SECONDS: Final = 3.0
#: A database that takes longer counts as away. The look at it goes on, for the next one who asks.
PATIENCE_SECONDS: Final = 2.0

ENGINE_STATES: Final = ("starting", "standby", "running", "stopping", "stopped")


class EngineFacts(Protocol):
    """What of an engine is shown."""

    @property
    def status(self) -> str: ...

    @property
    def busy(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What the database said of itself."""

    health: StoreHealth
    backlog: Backlog


class DatabaseWatch:
    """Looks at the database for everybody who asks, once in a while and never twice at a time."""

    def __init__(self, store: Store, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._monotonic = monotonic
        self._looking: asyncio.Task[Reading | None] | None = None
        self._looked_at: float | None = None
        #: None while the database is away.
        self.reading: Reading | None = None

    async def look(self) -> None:
        """Brings `reading` up to date, within the patience."""
        if self._looked_at is not None and self._monotonic() - self._looked_at < FRESH_SECONDS:
            return
        if self._looking is None:
            self._looking = asyncio.create_task(self._read(), name="agentclock-database-watch")
        looking = self._looking
        await asyncio.wait({looking}, timeout=PATIENCE_SECONDS)
        self.reading = looking.result() if looking.done() and not looking.cancelled() else None
        self._looked_at = self._monotonic()
        if looking.done():
            self._looking = None

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
            self._looking = None

    async def _read(self) -> Reading | None:
        try:
            return Reading(await self._store.health(), await self._store.backlog())
        except AgentclockError:
            return None
        except Exception:
            # A fault of ours; what else there is to see shall be seen all the same.
            structlog.get_logger("agentclock.metrics").exception("database_not_read")
            return None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gauges(Collector):
    """Of one process. `planned_ago_seconds`: since its planner stepped last, None: it never did."""

    version: str
    engine: EngineFacts
    slots: int
    open_streams: Callable[[], int]
    hears: Callable[[], bool]
    planned_ago_seconds: Callable[[], float | None]
    database: DatabaseWatch

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield _labelled(
            metric.BUILD,
            (self.version, tzdata_version(), platform.python_version()),
        )
        status = self.engine.status
        yield _labelled_all(metric.ENGINE, {state: float(state == status) for state in ENGINE_STATES})
        yield _plain(metric.SLOTS, self.slots)
        yield _plain(metric.SLOTS_BUSY, self.engine.busy)
        yield _plain(metric.STREAMS, self.open_streams())
        yield _plain(metric.LISTENER, self.hears())
        planned_ago = self.planned_ago_seconds()
        if planned_ago is not None:
            yield _plain(metric.PLANNED_AGO, planned_ago)
        reading = self.database.reading
        yield _plain(metric.DATABASE_UP, reading is not None)
        if reading is not None:
            yield from _of_database(reading)


def _of_database(reading: Reading) -> Iterator[GaugeMetricFamily]:
    health, backlog = reading.health, reading.backlog
    yield _labelled(metric.DATABASE_INFO, (health.backend, health.version, str(health.schema_version)))
    yield _plain(metric.DUE_LAG, backlog.due_lag_ms / SECOND)
    yield _plain(metric.QUEUE_LAG, backlog.queue_lag_ms / SECOND)
    active = {"pending": backlog.pending, "running": backlog.running, "paused": backlog.paused}
    yield _labelled_all(metric.ACTIVE, active)
    yield _plain(metric.LATENCY, health.latency_ms / SECOND)
    yield _plain(metric.CLOCK_DIFFERENCE, health.clock_difference_ms / SECOND)
    if health.oldest_snapshot_seconds is not None:
        yield _plain(metric.SNAPSHOT, health.oldest_snapshot_seconds)


def _plain(what: Metric, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(what.name, what.meaning, value=float(value))


def _labelled(what: Metric, values: tuple[str, ...]) -> GaugeMetricFamily:
    """An information: its labels say it, its value is 1."""
    family = GaugeMetricFamily(what.name, what.meaning, labels=what.labels)
    family.add_metric(values, 1.0)
    return family


def _labelled_all(what: Metric, values: dict[str, float] | dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(what.name, what.meaning, labels=what.labels)
    for label, value in values.items():
        family.add_metric((label,), float(value))
    return family
