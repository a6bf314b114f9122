"""`agentclock db`: the schema, for those who bring it up to date by hand."""

from __future__ import annotations

import asyncio

import typer

from agentclock.app import is_there, make_store
from agentclock.cli.options import ConfigFile, Database, load_settings
from agentclock.config import Settings
from agentclock.core.errors import AgentclockError
from agentclock.engine.clock import SystemClock

db_app = typer.Typer(no_args_is_help=True, help="Look at the database schema and bring it up to date.")


@db_app.command(epilog="Example: agentclock db upgrade --database postgresql://clock@db/clock")
def upgrade(config_file: ConfigFile = None, database: Database = None) -> None:
    """Apply every migration that is missing. Safe while servers run, and when started many times at once."""
    settings = load_settings(config_file, database=database)
    typer.echo(f"schema version {_schema_version(settings, migrate=True)}: up to date")


@db_app.command(epilog="Example: agentclock db version --database agentclock.db")
def version(config_file: ConfigFile = None, database: Database = None) -> None:
    """Show the schema version. Changes nothing; exit 1 if the schema is behind this release or not there."""
    settings = load_settings(config_file, database=database)
    if not is_there(settings.database):
        typer.echo(f"database: {settings.database} does not exist yet; `agentclock db upgrade` makes it", err=True)
        raise typer.Exit(1)
    typer.echo(f"schema version {_schema_version(settings, migrate=False)}")


def _schema_version(settings: Settings, *, migrate: bool) -> int:
    async def opened() -> int:
        store, _ = make_store(settings, SystemClock(), auto_migrate=migrate)
        try:
            await store.open()
            return (await store.health()).schema_version
        finally:
            await store.close()

    try:
        return asyncio.run(opened())
    except AgentclockError as error:
        typer.echo(f"database: {error}", err=True)
        raise typer.Exit(1) from None
