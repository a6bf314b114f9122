"""`agentclock serve` and `agentclock worker`."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Annotated

import structlog
import typer
from rich.console import Console

from agentclock import __version__
from agentclock.app import Clockwork, assemble, create_app, create_status_app, is_postgres
from agentclock.auth import check
from agentclock.cli.exposure import refuse_exposure, warn_of_exposure
from agentclock.cli.options import (
    AllowAnyone,
    Concurrency,
    ConfigFile,
    Database,
    LogFormatOption,
    LogLevel,
    Targets,
    load_settings,
)
from agentclock.cli.server import Server
from agentclock.cli.stopping import Asked, stopping
from agentclock.config import LogFormat, Settings
from agentclock.core.errors import ConfigError
from agentclock.logs import configure_logging, log_start


def serve(
    config_file: ConfigFile = None,
    database: Database = None,
    host: Annotated[str | None, typer.Option(help="Default: 127.0.0.1", show_default=False)] = None,
    port: Annotated[int | None, typer.Option("--port", "-p", help="Default: 7777", show_default=False)] = None,
    target: Targets = None,
    concurrency: Concurrency = None,
    log_level: LogLevel = None,
    log_format: LogFormatOption = None,
    allow_anyone: AllowAnyone = None,
) -> None:
    """Run the API and the engine in one process."""
    settings = load_settings(
        config_file,
        target,
        database=database,
        host=host,
        port=port,
        concurrency=concurrency,
        log_level=log_level,
        log_format=log_format,
        allow_anyone=allow_anyone,
    )
    clockwork = make_clockwork(settings)
    listener = bind(settings)
    announce(settings, listener)
    server = Server(create_app(clockwork), settings, retire=clockwork.retire)
    asyncio.run(server.serve(sockets=[listener]))
    if not server.started:
        raise typer.Exit(1)


def worker(
    config_file: ConfigFile = None,
    database: Database = None,
    target: Targets = None,
    concurrency: Concurrency = None,
    log_level: LogLevel = None,
    log_format: LogFormatOption = None,
    allow_anyone: AllowAnyone = None,
) -> None:
    """Run the engine only: one more pair of hands on a shared PostgreSQL."""
    settings = load_settings(
        config_file,
        target,
        database=database,
        concurrency=concurrency,
        log_level=log_level,
        log_format=log_format,
        allow_anyone=allow_anyone,
    )
    clockwork = make_clockwork(settings)
    if settings.worker_port is None:
        asyncio.run(_work(clockwork))
        return
    listener = bind(settings.model_copy(update={"port": settings.worker_port}))
    server = Server(create_status_app(clockwork), settings, retire=clockwork.retire)
    asyncio.run(server.serve(sockets=[listener]))
    if not server.started:
        raise typer.Exit(1)


async def _work(clockwork: Clockwork) -> None:
    asked = Asked()
    with stopping(asked):
        try:
            await clockwork.start()
            await asked.wait()
        finally:
            await clockwork.stop()


def make_clockwork(settings: Settings) -> Clockwork:
    """Wires everything up, or exits 2 with what to mend. The log begins here."""
    configure_logging(settings.log_level, settings.log_format)
    log_start(__version__, settings.database)
    try:
        check(settings)
        clockwork = assemble(settings)
    except ConfigError as error:
        Console(stderr=True).print(f"[bold red]Cannot start:[/bold red] {error}", highlight=False)
        raise typer.Exit(2) from None
    clockwork.is_introduced = True
    return clockwork


def bind(settings: Settings) -> socket.socket:
    """The listening socket, taken before anything else starts so that a busy port is a short clear error.

    Exits 2 where everybody could connect and do everything.
    """
    refuse_exposure(settings, settings.host)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        console = Console(stderr=True)
        console.print(f"[bold red]Cannot listen on {settings.host}:{settings.port}:[/bold red] {error.strerror}")
        console.print("Choose another port with --port, or stop what uses this one.")
        raise typer.Exit(1) from None
    # A name may mean something else by now.
    refuse_exposure(settings, listener.getsockname()[0])
    warn_of_exposure(settings, listener.getsockname()[0])
    return listener


def announce(settings: Settings, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    if settings.log_format is LogFormat.JSON:
        # Whoever reads lines as JSON shall find nothing else.
        structlog.get_logger("agentclock").info("listening", url=f"http://{shown}:{port}")
        return
    console = Console(stderr=True, highlight=False)
    backend = "PostgreSQL" if is_postgres(settings.database) else f"SQLite ({settings.database})"
    console.print(f"[bold]agentclock {__version__}[/bold] on {backend}")
    console.print(f"  API     http://{shown}:{port}   (docs at /docs)")
    for name, target in settings.targets.items():
        console.print(f"  target  {name} = {target.base_url}")
    sys.stderr.flush()
