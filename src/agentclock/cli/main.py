"""The `agentclock` command."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from agentclock import __version__
from agentclock.cli.lazy import Entry, lazy_group

_RUN: Final = "Run it"
_SEE: Final = "See and steer schedules and runs, on a server or a database"
_KEEP: Final = "Look after it"

#: In the order of the help. What a command imports is its own affair: nothing is imported for the others.
COMMANDS: Final = (
    Entry(
        "serve",
        "agentclock.cli.serve:serve",
        "Run the API and, if this process gets the engine, the schedules.",
        "Example: agentclock serve --database postgresql://clock@db/clock --target default=http://127.0.0.1:8000",
        panel=_RUN,
    ),
)

app = typer.Typer(
    cls=lazy_group(COMMANDS),
    no_args_is_help=True,
    rich_markup_mode="rich",
    # What variables hold in a traceback may be a secret.
    pretty_exceptions_show_locals=False,
    help="The clock AI agents run by: calls agents, teams, workflows and HTTP endpoints on cron schedules.",
    epilog='Try: [bold]agentclock demo[/bold], or [bold]agentclock cron explain "0 3 * * 1-5" -z Europe/Rome[/bold]',
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from agentclock.core.zones import tzdata_version  # noqa: PLC0415 - most commands do not ask

        typer.echo(f"agentclock {__version__} (time zone data {tzdata_version()})")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Common options."""
