"""Everything by which a process tells others how it is, put together."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

from agentclock.config import Settings
from agentclock.core.errors import ConfigError
from agentclock.core.events import Event
from agentclock.ports import Clock, Executor, Store
from agentclock.telemetry.exposition import written
from agentclock.telemetry.gauges import DatabaseWatch, EngineFacts, Gauges
from agentclock.telemetry.metrics import Metrics
from agentclock.telemetry.observed import ObservedExecutor
from agentclock.telemetry.pings import Pinger
from agentclock.telemetry.timed import Stopwatch, timed
from agentclock.telemetry.tracing import SpanSink, Tracer
from agentclock.telemetry.vigil import Vigil

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Telemetry:
    """Of one process. `listeners` belong on the bus; the engine works with the store and the executor that `timed`
    and `observed` answer; `watch` says what else is there. Raises ConfigError."""

    def __init__(self, settings: Settings, clock: Clock, *, version: str, sink: SpanSink | None = None) -> None:
        self._settings = settings
        self._clock = clock
        self._version = version
        self.metrics = Metrics(monotonic=clock.monotonic, schedule_limit=settings.metrics_schedule_limit)
        self.metrics.expect_targets(settings.targets)
        self.metrics.expect_webhooks(settings.webhooks)
        self.pinger = Pinger(clock, self.metrics, networks=settings.allowed_networks)
        sink = sink or _configured_sink(settings, version)
        self._tracer = None if sink is None else Tracer(sink, clock.now)
        self._stopwatch = Stopwatch(self.metrics, clock.monotonic)
        self._database: DatabaseWatch | None = None
        self._vigil: Vigil | None = None

    @property
    def listeners(self) -> list[Callable[[Event], None]]:
        own: list[Callable[[Event], None]] = [self.metrics.hear, self.pinger.hear]
        return own if self._tracer is None else [*own, self._tracer.hear]

    def timed(self, store: Store) -> Store:
        return timed(store, self._stopwatch)

    def observed(self, executor: Executor) -> Executor:
        monotonic = self._clock.monotonic
        names = self._settings.targets.keys()
        return ObservedExecutor(executor, self.metrics, targets=names, monotonic=monotonic, witness=self._tracer)

    def watch(
        self, store: Store, engine: EngineFacts, *, open_streams: Callable[[], int], hears: Callable[[], bool]
    ) -> None:
        self._database = DatabaseWatch(store, self._clock.monotonic)
        gauges = Gauges(
            version=self._version,
            engine=engine,
            slots=self._settings.concurrency,
            open_streams=open_streams,
            hears=hears,
            planned_ago_seconds=self._stopwatch.since_planned,
            database=self._database,
        )
        self.metrics.registry.register(gauges)
        if self._settings.engine_ping_url is not None:
            self._vigil = Vigil(
                url=self._settings.engine_ping_url,
                every_seconds=self._settings.engine_ping_seconds,
                poll_seconds=self._settings.poll_seconds,
                engine=engine,
                stopwatch=self._stopwatch,
                store=store,
                clock=self._clock,
                pinger=self.pinger,
            )

    async def keep_vigil(self) -> None:
        """Pings for the engine until cancelled, if it is to be pinged for."""
        if self._vigil is not None:
            await self._vigil.keep()

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """As `exposition.written`. Never waits long for a database that is away."""
        if self._database is not None:
            await self._database.look()
        # Thousands of lines take a while to write.
        return await asyncio.to_thread(written, self.metrics.registry, accept)

    async def close(self) -> None:
        """What is left to tell is told, within seconds."""
        if self._database is not None:
            await self._database.close()
        await self.pinger.close()
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.close)


def _configured_sink(settings: Settings, version: str) -> SpanSink | None:
    """Spans are exported if the setting says so, or if it says nothing and OpenTelemetry's own variables name a
    collector, and the extra is installed."""
    wanted = settings.otel
    if wanted is None:
        is_off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
        is_off = is_off or os.environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
        if is_off or not any(os.environ.get(name) for name in _ENDPOINTS):
            return None
    elif not wanted:
        return None
    try:
        from agentclock.telemetry.otel import otlp_sink  # noqa: PLC0415 - an extra

        return otlp_sink(version)
    except ImportError:
        if wanted:
            raise ConfigError(["otel: traces need more packages: pip install 'agentclock[otel]'"]) from None
        return None
