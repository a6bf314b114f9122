"""The `agentclock` command."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from agentclock import __version__
from agentclock.cli.lazy import Entry, lazy_group

_RUN: Final = "Run it"
_SEE: Final = "See and steer schedules and runs, on a server or a database"
_DECLARE: Final = "Keep schedules in files"
_KEEP: Final = "Look after it"

#: In the order of the help. What a command imports is its own affair: nothing is imported for the others.
COMMANDS: Final = (
    Entry(
        "serve",
        "agentclock.cli.serve:serve",
        "Run the API and the engine in one process.",
        "Example: agentclock serve --database postgresql://clock@db/clock --target default=http://127.0.0.1:8000",
        panel=_RUN,
    ),
    Entry(
        "worker",
        "agentclock.cli.serve:worker",
        "Run the engine only: one more pair of hands on a shared PostgreSQL.",
        "Example: agentclock worker --database postgresql://clock@db/clock --concurrency 200",
        panel=_RUN,
    ),
    Entry(
        "demo",
        "agentclock.cli.demo:demo",
        "See it work: agents, a team, a workflow and plain endpoints on schedules, with a dashboard.",
        "Example: agentclock demo --port 7777",
        panel=_RUN,
    ),
    Entry(
        "schedules",
        "agentclock.cli.schedules:schedules_app",
        "See, make, change and trigger schedules.",
        panel=_SEE,
    ),
    Entry(
        "runs",
        "agentclock.cli.runs:runs_app",
        "See runs, watch them live, stop them, answer them, run them again.",
        panel=_SEE,
    ),
    Entry(
        "apply",
        "agentclock.cli.applying:apply",
        "Make schedules what files declare: all of it, or nothing.",
        "Examples: agentclock apply -f schedules.yaml --dry-run\n\nagentclock apply -f schedules/ --prune",
        panel=_DECLARE,
    ),
    Entry(
        "diff",
        "agentclock.cli.applying:diff",
        "Show what `apply` would do.",
        "Example: agentclock diff -f schedules/ --prune",
        panel=_DECLARE,
    ),
    Entry(
        "pull",
        "agentclock.cli.applying:pull",
        "Write schedules as a file that `apply` takes, and that then changes nothing.",
        "Examples: agentclock pull --manager team-a > schedules.yaml\n\nagentclock pull --all -o everything.yaml",
        panel=_DECLARE,
    ),
    Entry(
        "schema",
        "agentclock.cli.applying:schema",
        "Print the JSON Schema of files of schedules, for editors.",
        "Example: agentclock schema > schedules.schema.json",
        panel=_DECLARE,
    ),
    Entry(
        "timeline",
        "agentclock.cli.timeline:timeline",
        "Draw what ran and what will: a lane for each schedule, soonest fire first.",
        "Examples: agentclock timeline --watch\n\nagentclock timeline --from -2d --to +6h --tag reports",
        panel=_SEE,
    ),
    Entry(
        "stats",
        "agentclock.cli.stats:stats",
        "Show lateness, duration, success, tokens and cost of each schedule's runs.",
        "Examples: agentclock stats --from -7d --sort failures\n\nagentclock stats --accounts",
        panel=_SEE,
    ),
    Entry(
        "workers",
        "agentclock.cli.workers:workers",
        "Show who executes runs, and what waits.",
        "Example: agentclock workers",
        panel=_SEE,
    ),
    Entry(
        "attention",
        "agentclock.cli.attention:attention",
        "Show what needs a person, most urgent first, each with what to do about it.",
        "Example: agentclock attention",
        panel=_SEE,
    ),
    Entry(
        "cron",
        "agentclock.cli.cron:cron_app",
        "Explain cron expressions, show their next fires, check them.",
        panel=_KEEP,
    ),
    Entry(
        "backfill",
        "agentclock.cli.backfill:backfill",
        "Run the fires of a schedule between two times of the past, also such as were missed or skipped.",
        "Examples: agentclock backfill nightly-report --from 2026-03-01 --until 2026-03-08 --dry-run\n\n"
        "agentclock backfill nightly-report --from 2026-03-01 --existing failed --concurrency 4",
        panel=_KEEP,
    ),
    Entry(
        "doctor",
        "agentclock.cli.doctor:doctor",
        "Check database, schema, zone data, clocks, engine, targets and the accounting of every fire.",
        "Example: agentclock doctor --database agentclock.db",
        panel=_KEEP,
    ),
    Entry(
        "db",
        "agentclock.cli.db:db_app",
        "Look at the database schema and bring it up to date.",
        panel=_KEEP,
    ),
    Entry(
        "import",
        "agentclock.cli.importing:import_app",
        "Move schedules and their history over from another scheduler.",
        panel=_KEEP,
    ),
    Entry(
        "export",
        "agentclock.cli.export:export_app",
        "Let an outside clock, Kubernetes or AWS, trigger schedules.",
        panel=_KEEP,
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
