"""The composition root: the only module that names the concrete classes together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp

from agentclock import __version__
from agentclock.api import TrailingSlash, add_routes, build_metrics_router, build_status_router
from agentclock.config import Settings
from agentclock.core.errors import ConfigError, StoreUnavailable
from agentclock.core.events import FiresAbsent, RunChanged, ScheduleChanged
from agentclock.engine.bus import Bus
from agentclock.engine.clock import SystemClock
from agentclock.engine.eventlog import log_event
from agentclock.engine.service import Engine, EngineOptions
from agentclock.executor.agentos import Patience
from agentclock.executor.dispatch import TargetExecutor
from agentclock.live import Hub
from agentclock.logs import log_start
from agentclock.ports import Clock, News, Store, Wakeup
from agentclock.runs import Runs
from agentclock.scheduler import EngineState, Scheduler
from agentclock.store.sqlite import SqliteStore
from agentclock.store.wakeup import SqliteWakeup
from agentclock.telemetry import Telemetry

OPEN_PAUSE_SECONDS = (1.0, 2.0)
#: A start goes on without a database that is not open by then: a large one is being upgraded, or nothing answers.
OPEN_SECONDS = 5.0


def is_postgres(database: str) -> bool:
    return database.partition("://")[0].partition("+")[0] in ("postgresql", "postgres")


def sqlite_path(database: str) -> str:
    """`sqlite:///path`, `sqlite+aiosqlite:///path` and a plain path are the same."""
    scheme, separator, path = database.partition(":///")
    return path if separator and scheme.partition("+")[0] == "sqlite" else database


def is_there(database: str) -> bool:
    """False for an SQLite file that does not exist: opening it would make it, and some only want to look."""
    return is_postgres(database) or Path(sqlite_path(database)).exists()


def make_store(settings: Settings, clock: Clock, *, auto_migrate: bool | None = None) -> tuple[Store, Wakeup]:
    """The store that the database setting names, and what wakes engines on it. Raises ConfigError."""
    migrate = settings.auto_migrate if auto_migrate is None else auto_migrate
    if not is_postgres(settings.database):
        path = sqlite_path(settings.database)
        if "://" in path:
            raise ConfigError([f"database: {path.partition(':')[0]} is not supported; use SQLite or PostgreSQL"])
        store = SqliteStore(path, clock=clock, synchronous=settings.sqlite_synchronous, auto_migrate=migrate)
        return store, SqliteWakeup(path)
    try:
        from agentclock.store.postgres import PostgresStore  # noqa: PLC0415 - an extra
        from agentclock.store.wakeup import PostgresWakeup  # noqa: PLC0415
    except ImportError:
        raise ConfigError(["database: PostgreSQL needs one more package: pip install 'agentclock[postgres]'"]) from None
    listen_url = settings.listen_url or settings.database
    return (
        PostgresStore(
            settings.database,
            clock=clock,
            pool_size=settings.pool_size,
            auto_migrate=migrate,
            pooler=settings.pooler,
        ),
        PostgresWakeup(listen_url),
    )


@dataclass(slots=True, kw_only=True)
class Clockwork:
    """One process's agentclock, wired up. `start` and `stop` are idempotent enough for any host's lifespan.

    `is_introduced`: the log has begun already. `home`: the event loop that it lives on while its database is open, for
    those who come from other threads.
    `at_start` is done beside everything else once the database is open; `at_stop` is called, in a thread, when the
    engine has stopped: by whoever opened something of its own.
    """

    settings: Settings
    clock: Clock
    store: Store
    wakeup: Wakeup
    executor: TargetExecutor
    bus: Bus
    engine: Engine
    scheduler: Scheduler
    runs: Runs
    hub: Hub
    telemetry: Telemetry
    is_introduced: bool = field(default=False, init=False)
    home: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    at_start: list[Callable[[], Coroutine[None, None, None]]] = field(default_factory=list, init=False)
    at_stop: list[Callable[[], None]] = field(default_factory=list, init=False)
    _opening: asyncio.Task[None] | None = field(default=None, init=False)
    _errands: list[asyncio.Task[None]] = field(default_factory=list, init=False)

    async def start(self) -> None:
        """Opens the database and starts the engine. A database that is away is waited for in the background."""
        if not self.is_introduced:
            log_start(__version__, self.settings.database)
        first_try = asyncio.Event()
        opening = self._opening = asyncio.create_task(self._open_patiently(first_try), name="agentclock-open")
        opening.add_done_callback(lambda _: first_try.set())
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await first_try.wait()
        except TimeoutError:
            error = StoreUnavailable(f"not open after {OPEN_SECONDS:.0f} s: it answers late, or is being upgraded")
            self.engine.outage.failed("open", error, 0)
        if opening.done():
            opening.result()

    async def retire(self) -> None:
        """Ends the runs and the streams, as at a stop, but goes on answering requests: not ready, from now on."""
        self.engine.leave()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        for errand in self._errands:
            errand.cancel()
        await asyncio.gather(*self._errands, return_exceptions=True)
        await self.engine.stop()
        await self.hub.close()

    async def stop(self) -> None:
        await self.retire()
        for leave in tuple(self.at_stop):
            await asyncio.to_thread(leave)
        await self.wakeup.close()
        await self.executor.close()
        await self.telemetry.close()
        self.home = None
        await self.store.close()

    async def _open(self) -> None:
        await self.store.open()
        self.home = asyncio.get_running_loop()
        self.hub.open()
        await self.wakeup.start(self.engine.ring, self._hear)
        self.engine.start()
        self._errands = [asyncio.create_task(_reported(errand())) for errand in self.at_start]

    def _hear(self, news: News) -> None:
        self.engine.hear(news)
        self.hub.hear(news)

    async def _open_patiently(self, tried: asyncio.Event) -> None:
        pause, longest = OPEN_PAUSE_SECONDS
        while True:
            try:
                await self._open()
            except StoreUnavailable as error:
                self.engine.outage.failed("open", error, pause)
            except Exception as error:
                if not tried.is_set():
                    raise
                structlog.get_logger("agentclock").exception("loop_failed", loop="open")
                self.engine.outage.failed("open", error, pause)
            else:
                self.engine.outage.succeeded("open")
                return
            tried.set()
            await self.clock.sleep(pause)
            pause = min(pause * 2, longest)


async def _reported(errand: Coroutine[None, None, None]) -> None:
    try:
        await errand
    except Exception:
        structlog.get_logger("agentclock").exception("errand_failed")


def assemble(
    settings: Settings,
    *,
    app: ASGIApp | None = None,
    token: Callable[[], str | None] | None = None,
    clock: Clock | None = None,
) -> Clockwork:
    """Wires one process up; nothing is opened yet. Raises ConfigError.

    `app`: what serves targets in this process; they are sent `token()`. `clock`: another one than the system's rules
    what is due, which deadlines have passed and which leases are over.
    """
    clock = clock or SystemClock()
    telemetry = Telemetry(settings, clock, version=__version__)
    bare_store, wakeup = make_store(settings, clock)
    store = telemetry.timed(bare_store)
    bus = Bus()
    for listener in (log_event, *telemetry.listeners):
        bus.subscribe(listener)
    executor = _executor(settings, app, token)

    async def prepare() -> None:
        await scheduler.refresh_zone_data()

    engine = Engine(
        store=store,
        executor=telemetry.observed(executor),
        clock=clock,
        bus=bus,
        wakeup=wakeup,
        options=_engine_options(settings),
        prepare=prepare,
    )
    scheduler, runs = _use_cases(settings, store, clock, bus, engine, wakeup)
    hub = Hub(
        store,
        clock=clock,
        hears=lambda: wakeup.state == "ok",
        stream_limit=settings.stream_limit,
        stream_max_seconds=settings.stream_max_seconds,
    )
    bus.subscribe(hub.notice)
    telemetry.watch(store, engine, open_streams=lambda: hub.open_streams, hears=lambda: wakeup.state == "ok")
    clockwork = Clockwork(
        settings=settings,
        clock=clock,
        store=store,
        wakeup=wakeup,
        executor=executor,
        bus=bus,
        engine=engine,
        scheduler=scheduler,
        runs=runs,
        hub=hub,
        telemetry=telemetry,
    )
    clockwork.at_start.append(telemetry.keep_vigil)
    return clockwork


def _executor(settings: Settings, app: ASGIApp | None, token: Callable[[], str | None] | None) -> TargetExecutor:
    return TargetExecutor(
        settings.targets,
        app=app,
        token=token,
        connection_limit=settings.connection_limit,
        response_cap_bytes=settings.response_cap_bytes,
        patience=Patience(lost=settings.lost_after_seconds),
    )


def _engine_options(settings: Settings) -> EngineOptions:
    return EngineOptions(
        concurrency=settings.concurrency,
        lease_seconds=settings.lease_seconds,
        poll_seconds=settings.poll_seconds,
        shutdown_grace_seconds=settings.shutdown_grace_seconds,
        history_days=settings.history_days,
        event_log_events=settings.event_log_events,
        event_log_bytes=settings.event_log_bytes,
        app_version=__version__,
    )


def _use_cases(
    settings: Settings, store: Store, clock: Clock, bus: Bus, engine: Engine, wakeup: Wakeup
) -> tuple[Scheduler, Runs]:
    """What they change is news for this process and for the others on the database."""

    def wake() -> None:
        engine.ring()
        wakeup.send()

    def publish(change: RunChanged | ScheduleChanged | FiresAbsent) -> None:
        bus.publish(change)
        if isinstance(change, RunChanged):
            wakeup.tell(run_id=change.run_id)
        else:
            wakeup.tell(schedule_id=change.schedule_id)

    def engine_state() -> EngineState:
        return EngineState(status=engine.status, owner=engine.owner, trouble=engine.trouble)

    scheduler = Scheduler(
        store,
        clock=clock,
        wakeup=wake,
        engine_state=engine_state,
        watch=bus.watch,
        publish=publish,
        targets=tuple(settings.targets),
        history_days=settings.history_days,
        trigger_max_age_seconds=settings.trigger_max_age_seconds,
    )
    runs = Runs(store, clock=clock, wakeup=wake, cancel_here=engine.cancel, publish=publish, watch=bus.watch)
    return scheduler, runs


def create_app(clockwork: Clockwork) -> FastAPI:
    """The API on its own app; its lifespan starts and stops the clockwork."""
    app = _empty_app(clockwork)
    app.add_middleware(TrailingSlash)
    add_routes(
        app,
        clockwork.scheduler,
        clockwork.runs,
        clockwork.hub,
        trigger_wait_seconds=clockwork.settings.trigger_wait_seconds,
        listener=lambda: clockwork.wakeup.state,
        exposition=clockwork.telemetry.exposition,
    )
    return app


def create_status_app(clockwork: Clockwork) -> FastAPI:
    """As `create_app`, with nothing but /health, /ready, /info and /metrics: for a process that only works."""
    app = _empty_app(clockwork)
    app.include_router(build_status_router(clockwork.scheduler, listener=lambda: clockwork.wakeup.state))
    app.include_router(build_metrics_router(clockwork.telemetry.exposition))
    return app


def _empty_app(clockwork: Clockwork) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await clockwork.start()
        try:
            yield
        finally:
            await clockwork.stop()

    return FastAPI(title="agentclock", version=__version__, summary="The clock AI agents run by.", lifespan=lifespan)
