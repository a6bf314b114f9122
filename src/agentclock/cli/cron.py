"""`agentclock cron`: understand an expression before anything runs by it."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from agentclock.core.cron import Cron, CronError
from agentclock.core.zones import Zone, ZoneError

cron_app = typer.Typer(no_args_is_help=True, help="Explain cron expressions, show their next fires, check them.")

Expression = Annotated[str, typer.Argument(help='Five fields in quotes, e.g. "0 3 * * 1-5", or @daily.')]
Timezone = Annotated[str, typer.Option("--timezone", "-z", help="IANA time zone, e.g. Europe/Rome.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@cron_app.command(epilog='Example: agentclock cron explain "0 3 * * *" --timezone America/New_York')
def explain(expression: Expression, timezone: Timezone = "UTC", as_json: AsJson = False) -> None:
    """Say in plain English when an expression fires, and what to look out for."""
    cron, zone = _read(expression, timezone)
    warnings = list(cron.warnings(zone, int(time.time())))
    sentence = f"{cron.explain()}, {zone.name}" if expression else cron.explain()
    if as_json:
        typer.echo(json.dumps({"explanation": sentence, "warnings": warnings, "canonical": cron.canonical}))
        return
    console = Console()
    console.print(sentence, style="bold", highlight=False)
    for warning in warnings:
        console.print(f"  ! {warning}", style="yellow", highlight=False)


@cron_app.command("next", epilog='Example: agentclock cron next "30 2 * * *" -z Europe/Berlin --count 5')
def next_fires(
    expression: Expression,
    timezone: Timezone = "UTC",
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="How many fires.")] = 10,
    after: Annotated[int | None, typer.Option(help="Epoch seconds to start from; default now.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the next fires in the zone's time with its offset, and in UTC."""
    cron, zone = _read(expression, timezone)
    at = int(time.time()) if after is None else after
    utc = Zone.load("UTC")
    fires: list[int] = []
    while len(fires) < count and (found := cron.next(at, zone)) is not None:
        fires.append(found)
        at = found
    if as_json:
        rows = [{"epoch": fire, "local": zone.iso(fire), "utc": utc.iso(fire)} for fire in fires]
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table("#", zone.name, "UTC", "in", title=cron.explain(), title_justify="left")
    now = time.time()
    for number, fire in enumerate(fires, 1):
        table.add_row(str(number), zone.iso(fire), utc.iso(fire), _distance(fire - now))
    Console().print(table)


@cron_app.command(epilog='Example: agentclock cron check "*/5 * * * *" "0 0 30 2 *"')
def check(
    expressions: Annotated[list[str], typer.Argument(help="Expressions, each in quotes.")],
    timezone: Timezone = "UTC",
) -> None:
    """Check expressions; exit 1 if one cannot be used."""
    zone = _zone(timezone)
    good = True
    for expression in expressions:
        try:
            cron = Cron.parse(expression)
        except CronError as error:
            good = False
            _show_fault(expression, error)
            continue
        typer.echo(f"ok   {expression}   {cron.explain()}")
        for warning in cron.warnings(zone, int(time.time())):
            typer.echo(f"     ! {warning}")
    if not good:
        raise typer.Exit(1)


def _read(expression: str, timezone: str) -> tuple[Cron, Zone]:
    try:
        return Cron.parse(expression), _zone(timezone)
    except CronError as error:
        _show_fault(expression, error)
        raise typer.Exit(1) from None


def _zone(timezone: str) -> Zone:
    try:
        return Zone.load(timezone)
    except ZoneError as error:
        typer.echo(f"timezone: {error}", err=True)
        raise typer.Exit(1) from None


def _show_fault(expression: str, error: CronError) -> None:
    """The expression with a caret under what is wrong."""
    shown = "".join(char if char.isprintable() else "?" for char in expression)
    print(f"bad  {shown}", file=sys.stderr)
    print(f"     {' ' * error.position}^ {error.field}: {error.reason}", file=sys.stderr)


def _distance(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 36 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
