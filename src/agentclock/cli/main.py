"""The `agentclock` command."""

from __future__ import annotations

from typing import Annotated

import typer

from agentclock import __version__
from agentclock.cli.backfill import backfill
from agentclock.cli.cron import cron_app
from agentclock.cli.db import db_app
from agentclock.cli.demo import demo
from agentclock.cli.doctor import doctor
from agentclock.cli.export import export_app
from agentclock.cli.importing import import_app
from agentclock.cli.serve import serve, worker
from agentclock.core.zones import tzdata_version

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    # What variables hold in a traceback may be a secret.
    pretty_exceptions_show_locals=False,
    help="The clock AI agents run by: calls agents, teams, workflows and HTTP endpoints on cron schedules.",
    epilog='Try: [bold]agentclock demo[/bold], or [bold]agentclock cron explain "0 3 * * 1-5" -z Europe/Rome[/bold]',
)
app.add_typer(cron_app, name="cron")
app.add_typer(db_app, name="db")
app.add_typer(import_app, name="import")
app.add_typer(export_app, name="export")
app.command(
    epilog="Example: agentclock serve --database postgresql://clock@db/clock --target default=http://127.0.0.1:8000"
)(serve)
app.command(epilog="Example: agentclock worker --database postgresql://clock@db/clock --concurrency 200")(worker)
app.command(epilog="Example: agentclock doctor --database agentclock.db")(doctor)
app.command(
    epilog="Examples: agentclock backfill nightly-report --from 2026-03-01 --until 2026-03-08 --dry-run\n\n"
    "agentclock backfill nightly-report --from 2026-03-01 --existing failed --concurrency 4"
)(backfill)
app.command(epilog="Example: agentclock demo --port 7777")(demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"agentclock {__version__} (time zone data {tzdata_version()})")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Common options."""
