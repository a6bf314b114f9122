"""Where everything is put together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from starlette.types import ASGIApp

from agentclock import __version__
from agentclock.app.clockwork import Clockwork
from agentclock.app.confidential import confidential
from agentclock.app.databases import make_store
from agentclock.auth.keys import split_keys
from agentclock.auth.permits import OwnerPermits
from agentclock.auth.permitted import PermittedExecutor
from agentclock.config import Settings, TargetKind
from agentclock.core.events import FiresAbsent, RunChanged, ScheduleChanged
from agentclock.engine.bus import Bus
from agentclock.engine.clock import SystemClock
from agentclock.engine.eventlog import log_event
from agentclock.engine.service import Engine, EngineOptions
from agentclock.executor.agentos import Patience
from agentclock.executor.discretion import Discretion
from agentclock.executor.dispatch import TargetExecutor
from agentclock.executor.secrets import Secrets
from agentclock.live import Hub
from agentclock.logs import hush
from agentclock.ports import Clock, Permits, Store, Wakeup
from agentclock.runs import Runs
from agentclock.scheduler import EngineState, Scheduler
from agentclock.telemetry import Telemetry, definitions
from agentclock.webhooks.station import Webhooks


def assemble(
    settings: Settings,
    *,
    app: ASGIApp | None = None,
    token: Callable[[], str | None] | None = None,
    permits: Callable[[Store], Permits] | None = None,
    clock: Clock | None = None,
) -> Clockwork:
    """Wires one process up; nothing is opened yet. Raises ConfigError.

    `app`: what serves targets in this process; they are sent `token()`. `permits`: whose rules say what owners may have
    called; None: ours. `clock`: another one than the system's rules what is due, which deadlines have passed and which
    leases are over.
    """
    clock = clock or SystemClock()
    telemetry = Telemetry(settings, clock, version=__version__)
    bare_store, wakeup = make_store(settings, clock)
    store = telemetry.timed(bare_store)
    bus = Bus()
    for listener in (log_event, *telemetry.listeners):
        bus.subscribe(listener)
    discretion = Discretion(confidential(settings))
    hush(discretion)
    secrets = Secrets(folder=settings.secrets_dir, file=settings.secrets_file, discretion=discretion)
    executor = _executor(settings, app, token, secrets, discretion)

    async def prepare() -> None:
        await scheduler.refresh_zone_data()

    engine = Engine(
        store=store,
        executor=PermittedExecutor(telemetry.observed(executor), (permits or partial(_permits, settings))(store)),
        clock=clock,
        bus=bus,
        wakeup=wakeup,
        options=_engine_options(settings),
        prepare=prepare,
    )
    scheduler, runs = _use_cases(settings, store, clock, bus, engine, wakeup)
    hub = _hub(settings, store, clock, bus, wakeup)
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
        webhooks=_webhooks(settings, store, clock, bus, telemetry, secrets),
    )
    clockwork.at_start += [telemetry.keep_vigil, clockwork.webhooks.courier.run]
    return clockwork


def _executor(
    settings: Settings,
    app: ASGIApp | None,
    token: Callable[[], str | None] | None,
    secrets: Secrets,
    discretion: Discretion,
) -> TargetExecutor:
    return TargetExecutor(
        settings.targets,
        app=app,
        token=token,
        service_token=next(iter(split_keys(settings.service_token)), None),
        origins=settings.allowed_origins,
        networks=settings.allowed_networks,
        secrets=secrets,
        discretion=discretion,
        connection_limit=settings.connection_limit,
        response_cap_bytes=settings.response_cap_bytes,
        patience=Patience(lost=settings.lost_after_seconds),
    )


def _hub(settings: Settings, store: Store, clock: Clock, bus: Bus, wakeup: Wakeup) -> Hub:
    hub = Hub(
        store,
        clock=clock,
        hears=lambda: wakeup.state == "ok",
        stream_limit=settings.stream_limit,
        stream_max_seconds=settings.stream_max_seconds,
    )
    bus.subscribe(hub.notice)
    return hub


def _webhooks(
    settings: Settings, store: Store, clock: Clock, bus: Bus, telemetry: Telemetry, secrets: Secrets
) -> Webhooks:
    webhooks = Webhooks(
        settings,
        store,
        clock,
        secrets=secrets,
        count=partial(telemetry.metrics.count, definitions.NOTICES),
    )
    bus.subscribe(webhooks.courier.hear)
    return webhooks


def _permits(settings: Settings, store: Store) -> Permits:
    """By what owners' tokens grant, where owners come with tokens."""
    agentos = [name for name, target in settings.targets.items() if target.kind is TargetKind.AGENTOS]
    have_tokens = any((settings.jwt_secret, settings.jwt_public_key, settings.jwt_jwks))
    return OwnerPermits(store, agentos=agentos, by_scopes=have_tokens)


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
        origins=settings.allowed_origins,
        secrets={name: target.secrets for name, target in settings.targets.items()},
        history_days=settings.history_days,
        schedules_per_owner=settings.schedules_per_owner,
        trigger_max_age_seconds=settings.trigger_max_age_seconds,
    )
    runs = Runs(store, clock=clock, wakeup=wake, cancel_here=engine.cancel, publish=publish, watch=bus.watch)
    return scheduler, runs
