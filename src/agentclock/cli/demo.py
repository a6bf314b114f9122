"""`agentclock demo`: a real AgentOS and agentclock in one process, on one port, with something to look at."""

from __future__ import annotations

import asyncio
import logging
import socket
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from agentclock.app import Clockwork, create_app
from agentclock.cli.demo_view import DemoView, LineView, LiveView
from agentclock.cli.serve import bind, make_clockwork
from agentclock.cli.server import Server
from agentclock.config import Settings
from agentclock.core.actors import Actor
from agentclock.core.instants import iso_utc
from agentclock.core.model import SECOND
from agentclock.ports import PageRequest

FIRST_FIRE_SECONDS = 10


def demo(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", help="Port to listen on; 0 picks a free one.")] = 7777,
    keep: Annotated[
        Path | None, typer.Option(help="Keep the databases in this folder and go on from them next time.")
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a live view.")] = False,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "error",
) -> None:
    """See it work: an agent every minute, a one-off in ten seconds, a team, a workflow and a plain endpoint.

    Needs no key: the agents speak through an offline model, or through OpenAI when OPENAI_API_KEY is set.
    """
    try:
        from agentclock.agno.demo_os import build_demo_os  # noqa: PLC0415 - an extra
    except ImportError as error:
        Console(stderr=True).print(f"The demo needs agno: pip install 'agentclock\\[agno]'  ({error})")
        raise typer.Exit(2) from None
    with tempfile.TemporaryDirectory(prefix="agentclock-demo-", ignore_cleanup_errors=True) as scratch:
        folder = keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        settings = _settings(folder, host, port, log_level)
        listener = bind(settings)
        settings = _settings(folder, host, listener.getsockname()[1], log_level)
        clockwork = make_clockwork(settings)
        app = create_app(clockwork)
        app.post("/demo/webhook", tags=["Demo"])(_webhook)
        for name in ("agno", "agno-team", "agno-workflow"):
            # agno sets its own levels with each run; a filter stays.
            logging.getLogger(name).addFilter(lambda record: record.levelno >= logging.WARNING)
        hosted = build_demo_os(str(folder / "agno.db"), base_app=app)
        console = Console()
        url = f"http://{settings.host}:{settings.port}"
        view = LineView(console, url) if plain or not console.is_terminal else LiveView(console, url)
        clockwork.bus.subscribe(view.on_event)
        server = Server(hosted, settings)
        asyncio.run(_run(server, listener, clockwork, view))


def _settings(folder: Path, host: str, port: int, log_level: str) -> Settings:
    return Settings.load(
        None,
        database=str(folder / "agentclock.db"),
        host=host,
        port=port,
        targets={"default": {"base_url": f"http://{host}:{port}"}},
        log_level=log_level,
        shutdown_grace_seconds=2,
    )


async def _webhook(body: dict[str, Any] | None = None) -> dict[str, Any]:
    """A plain endpoint, as yours might be: it answers what it got."""
    return {"received": body}


async def _run(server: Server, listener: socket.socket, clockwork: Clockwork, view: DemoView) -> None:
    view.opening()
    showing = asyncio.create_task(_show(server, clockwork, view))
    try:
        await server.serve(sockets=[listener])
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)
        view.closing()


async def _show(server: Server, clockwork: Clockwork, view: DemoView) -> None:
    await server.up.wait()
    await _create_schedules(clockwork)
    while True:
        page = await clockwork.scheduler.list(page=PageRequest(limit=20))
        view.schedules(
            [(schedule, clockwork.scheduler.describe(schedule).explanation or "") for schedule in page.items]
        )
        await asyncio.sleep(0.5)


async def _create_schedules(clockwork: Clockwork) -> None:
    if (await clockwork.scheduler.list()).total_count:
        return
    once_at = iso_utc((await clockwork.store.now()) + FIRST_FIRE_SECONDS * SECOND)
    for draft in (
        {
            "name": "plain-endpoint-every-15-s",
            "interval_seconds": 15,
            "endpoint": "/demo/webhook",
            "payload": {"ping": "from the clock"},
        },
        {
            "name": "workflow-every-2-minutes",
            "cron_expr": "*/2 * * * *",
            "endpoint": "/workflows/morning-report/runs",
            "payload": {"message": "Write this morning's report."},
        },
        {
            "name": "team-every-40-s",
            "interval_seconds": 40,
            "endpoint": "/teams/newsroom/runs",
            "payload": {"message": "Give me today's headline."},
        },
        {
            "name": "agent-every-minute",
            "cron_expr": "* * * * *",
            "timezone": "Europe/Rome",
            "endpoint": "/agents/greeter/runs",
            "payload": {"message": "Greet me and tell me the time."},
        },
        {
            "name": "agent-once-in-10-s",
            "run_at": once_at,
            "endpoint": "/agents/greeter/runs",
            "payload": {"message": "Say hello, this is the first run!"},
        },
    ):
        await clockwork.scheduler.create(draft, by=Actor("demo", "cli"))
