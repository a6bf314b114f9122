"""`agentclock demo`: a real AgentOS and agentclock in one process, on one port, with something to look at."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from agentclock.app import Clockwork, create_app
from agentclock.cli.demo_schedules import BY, add_endpoints, create_schedules
from agentclock.cli.demo_view import DemoView, LineView, LiveView
from agentclock.cli.serve import bind, make_clockwork
from agentclock.cli.server import Server
from agentclock.config import Settings
from agentclock.core.model import RunStatus
from agentclock.ports import PageRequest, RunFilter

#: So long a run that is cancelled at the end may take to say so.
_PARTING_SECONDS: Final = 2


def demo(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", help="Port to listen on; 0 picks a free one.")] = 7777,
    keep: Annotated[
        Path | None, typer.Option(help="Keep the databases in this folder and go on from them next time.")
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a live view.")] = False,
    browser: Annotated[
        bool | None,
        typer.Option(
            "--browser/--no-browser",
            help="Open the dashboard. Default: if this is a terminal on a desktop.",
            show_default=False,
        ),
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "error",
) -> None:
    """See it work: agents, a team, a workflow and plain endpoints on schedules, with a dashboard. Some go well, some
    fail, one talks for minutes, one waits for your approval.

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
        for handler in logging.getLogger().handlers:
            handler.addFilter(_is_news)
        app = create_app(clockwork)
        add_endpoints(app)
        for name in ("agno", "agno-team", "agno-workflow"):
            # agno sets its own levels with each run; a filter stays.
            logging.getLogger(name).addFilter(lambda record: record.levelno >= logging.WARNING)
        hosted = build_demo_os(str(folder / "agno.db"), base_app=app)
        console = Console()
        url = f"http://{settings.host}:{settings.port}"
        view = LineView(console, url) if plain or not console.is_terminal else LiveView(console, url)
        clockwork.bus.subscribe(view.on_event)
        server = Server(hosted, settings, retire=lambda: _retire(clockwork))
        opens = console.is_terminal and _is_desktop() if browser is None else browser
        asyncio.run(_run(server, listener, clockwork, view, f"{url}/#/?span=1h" if opens else None))


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


def _is_desktop() -> bool:
    """Whether a browser would have somewhere to appear; without one, text browsers would take the terminal."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


async def _run(
    server: Server, listener: socket.socket, clockwork: Clockwork, view: DemoView, dashboard: str | None
) -> None:
    view.opening()
    showing = asyncio.create_task(_show(server, clockwork, view, dashboard))
    try:
        await server.serve(sockets=[listener])
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)
        view.closing()


async def _retire(clockwork: Clockwork) -> None:
    """The agents end with this process: those who are still talking are told so, or agno waits half a minute for
    them."""
    talking = await clockwork.runs.list(RunFilter(statuses=(RunStatus.RUNNING,)))
    await asyncio.gather(
        *(
            clockwork.runs.cancel(one.run.schedule_id, one.run.id, by=BY, wait_seconds=_PARTING_SECONDS)
            for one in talking.items
        )
    )
    await clockwork.retire()


async def _show(server: Server, clockwork: Clockwork, view: DemoView, dashboard: str | None) -> None:
    await server.up.wait()
    if dashboard is not None:
        await asyncio.to_thread(webbrowser.open, dashboard)
    await create_schedules(clockwork)
    while True:
        page = await clockwork.scheduler.list(page=PageRequest(limit=20))
        view.schedules(
            [(schedule, clockwork.scheduler.describe(schedule).explanation or "") for schedule in page.items]
        )
        await asyncio.sleep(0.5)


def _is_news(record: logging.LogRecord) -> bool:
    """The view shows how runs end, and some of the demo's are meant to fail."""
    return not (isinstance(record.msg, dict) and record.msg.get("event") == "run_failed")
