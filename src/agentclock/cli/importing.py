"""`agentclock import`: move over from another scheduler."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agentclock.app import is_there, make_store
from agentclock.cli.options import ConfigFile, Database, load_settings
from agentclock.config import Settings
from agentclock.core.errors import AgentclockError
from agentclock.core.instants import iso_utc
from agentclock.core.model import DAY_SECONDS, SECOND, Instant
from agentclock.engine.clock import SystemClock
from agentclock.ports import Store
from agentclock.store.migrating import SchemaMissing

if TYPE_CHECKING:
    from agentclock.agno.importer import ImportReport, ScheduleReport
    from agentclock.agno.importer_source import AgnoSource, AgnoTables

import_app = typer.Typer(no_args_is_help=True, help="Move schedules and their history over from another scheduler.")

_STYLE: Final = {"new": "green", "equal": "dim", "changed": "yellow", "name_taken": "bold red", "refused": "bold red"}


@import_app.command(
    "agno", epilog="Example: agentclock import agno --from postgresql+psycopg://ai:ai@localhost:5532/ai --apply"
)
def import_agno(
    source: Annotated[str, typer.Option("--from", help="agno's database: its URL, or an SQLite file.")],
    schema: Annotated[str, typer.Option(help="agno's schema on PostgreSQL.")] = "ai",
    schedules_table: Annotated[str, typer.Option(help="agno's table of schedules.")] = "agno_schedules",
    runs_table: Annotated[str, typer.Option(help="agno's table of their runs.")] = "agno_schedule_runs",
    config_file: ConfigFile = None,
    database: Database = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write. Without it nothing is written anywhere.")] = False,
    with_history: Annotated[bool, typer.Option("--with-history/--no-history", help="Take past runs along.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Copy agno's schedules and their past runs, or, by default, say what that would do and what will be different.

    Where agentclock keeps them: as --database or the configuration says; else where agentclock's AgentOS looks for
    them when it is given agno's database. Ids stay. Doing it twice changes nothing.

    Exit 1 if a schedule could not be taken over, 2 if nothing could be read or written at all.
    """
    try:
        from agentclock.agno.importer_source import AgnoTables, check_readable  # noqa: PLC0415 - an extra

        check_readable(source)
        tables = AgnoTables(schema=schema, schedules=schedules_table, runs=runs_table)
        settings = _settings(config_file, database, source)
        where, report = asyncio.run(_import(settings, source, tables, apply=apply, with_history=with_history))
    except ImportError as error:
        _fail(f"The import needs agno: pip install 'agentclock[agno]'  ({error})")
    except AgentclockError as error:
        _fail(str(error))
    if as_json:
        typer.echo(json.dumps(_as_json(report, where, settings), indent=2))
    else:
        _show(report, where, settings)
    if not report.is_complete:
        raise typer.Exit(1)


def _fail(message: str) -> NoReturn:
    Console(stderr=True, soft_wrap=True).print(message, markup=False, highlight=False)
    raise typer.Exit(2)


def _settings(config_file: Any, database: str | None, source: str) -> Settings:
    """With the database that was named anywhere, else the one that belongs to agno's."""
    from agentclock.agno.databases import database_for  # noqa: PLC0415 - an extra

    settings = load_settings(config_file, database=database)
    if "database" in settings.model_fields_set:
        return settings
    return load_settings(config_file, database=database_for(source))


async def _import(
    settings: Settings, source: str, tables: AgnoTables, *, apply: bool, with_history: bool
) -> tuple[str, ImportReport]:
    """Where it came from, and what came of it."""
    from agentclock.agno.importer_source import open_source  # noqa: PLC0415 - an extra

    theirs = await open_source(source, tables)
    try:
        store = await _store(settings, apply=apply)
        try:
            return theirs.where, await _run(theirs, store, settings, apply=apply, with_history=with_history)
        finally:
            if store is not None:
                await store.close()
    finally:
        await theirs.close()


async def _store(settings: Settings, *, apply: bool) -> Store | None:
    """Our database, open. None where there is none yet and nothing is to be written."""
    store, _ = make_store(settings, SystemClock(), auto_migrate=None if apply else False)
    if not apply and not await asyncio.to_thread(is_there, settings.database):
        return None
    try:
        await store.open()
    except SchemaMissing:
        await store.close()
        if apply:
            raise
        return None
    return store


async def _run(
    source: AgnoSource, store: Store | None, settings: Settings, *, apply: bool, with_history: bool
) -> ImportReport:
    from agentclock.agno.importer import Importer  # noqa: PLC0415 - an extra
    from agentclock.agno.importer_cron import NoComparison, agno_next_run  # noqa: PLC0415

    try:
        next_run = agno_next_run()
    except NoComparison:
        next_run = None
    now = SystemClock().now() if store is None else await store.now()
    kept = settings.history_days
    importer = Importer(
        source=source,
        store=store,
        now=now,
        next_run=next_run,
        with_history=with_history,
        kept_since=None if kept is None else now - kept * DAY_SECONDS * SECOND,
    )
    return await importer.run(apply=apply)


# for people


def _show(report: ImportReport, where: str, settings: Settings) -> None:
    console = Console(highlight=False)
    title = f"{escape(where)} → {escape(_shown(settings.database))}"
    table = Table(
        "schedule", "", "next in agno (UTC)", "next here (UTC)", "past runs", title=title, title_justify="left"
    )
    for item in report.schedules:
        here = item.schedule.next_fire_at if item.schedule is not None else None
        fate = f"[{_STYLE[item.fate]}]{item.fate.replace('_', ' ')}[/]"
        table.add_row(escape(item.name), fate, _time(item.agno_next_at), _time(here), _past(item))
    console.print(table)
    for item in report.schedules:
        for style, line in _remarks(item):
            console.print(f"  {line}", style=style, markup=False, soft_wrap=True)
    for line in _closing(report):
        console.print(line, markup=False, soft_wrap=True)


def _remarks(item: ScheduleReport) -> Iterator[tuple[str, str]]:
    if item.why is not None:
        yield _STYLE[item.fate], f"{item.name}: {item.why.field}: {item.why.text}"
    for remark in (*item.remarks, *item.history.remarks):
        yield "yellow" if remark.fires_differently else "dim", f"{item.name}: {remark.field}: {remark.text}"
    for reason, count in item.history.left_out:
        yield "dim", f"{item.name}: history: {count} left out, {reason}"


def _closing(report: ImportReport) -> Iterator[str]:
    new = sum(item.fate == "new" for item in report.schedules)
    not_here = sum(not item.fate.is_here for item in report.schedules)
    there = len(report.schedules) - new - not_here
    verb = "imported" if report.applied else "to be imported"
    yield f"{_some(new, 'schedule')} and {_some(report.new_runs, 'past run')} {verb}."
    yield f"{_some(there, 'schedule')} there already, {not_here} that cannot be imported."
    if not report.compared:
        yield "croniter is not installed here, so when agno fires was not compared: pip install 'agno[scheduler]'"
    if not report.applied:
        yield "Nothing was written. Add --apply to do it."
    elif not new and not report.new_runs:
        yield "Nothing had to be changed."
    else:
        yield "Now switch agno's own scheduler off (scheduler=False), or everything fires twice."


def _some(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _past(item: ScheduleReport) -> str:
    counts = ((item.history.new, "new"), (item.history.there, "there"))
    return ", ".join(f"{count} {word}" for count, word in counts if count)


def _time(at: Instant | None) -> str:
    """To the minute, UTC."""
    return "" if at is None else iso_utc(at)[:16].replace("T", " ")


def _shown(database: str) -> str:
    """Without what stands before the host: it may hold a password."""
    scheme, separator, rest = database.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else database


# for programs


def _as_json(report: ImportReport, where: str, settings: Settings) -> dict[str, Any]:
    return {
        "source": where,
        "database": _shown(settings.database),
        "applied": report.applied,
        "compared": report.compared,
        "complete": report.is_complete,
        "new_runs": report.new_runs,
        "schedules": [_schedule_as_json(item) for item in report.schedules],
    }


def _schedule_as_json(item: ScheduleReport) -> dict[str, Any]:
    schedule = item.schedule
    return {
        "id": item.id,
        "name": item.name,
        "fate": item.fate,
        "why": None if item.why is None else {"field": item.why.field, "text": item.why.text},
        "agno_cron_expr": item.agno_cron,
        "agno_next_run_at": None if item.agno_next_at is None else iso_utc(item.agno_next_at),
        "cron_expr": None if schedule is None else schedule.cron_expr,
        "timezone": None if schedule is None else schedule.timezone,
        "enabled": None if schedule is None else schedule.enabled,
        "next_fire_at": iso_utc(schedule.next_fire_at) if schedule and schedule.next_fire_at is not None else None,
        "remarks": [
            {"field": remark.field, "text": remark.text, "fires_differently": remark.fires_differently}
            for remark in (*item.remarks, *item.history.remarks)
        ],
        "history": {"new": item.history.new, "there": item.history.there, "left_out": dict(item.history.left_out)},
    }
