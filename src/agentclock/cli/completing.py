"""Completion of words in the shell. It never says anything but words, and never takes long."""

from __future__ import annotations

import asyncio
import os
from importlib import import_module
from pathlib import Path
from typing import Final

import typer

from agentclock.cli.client import Client
from agentclock.cli.connecting import Connection, connected

#: A shell that does not answer at once is worse than one that does not know.
PATIENCE_SECONDS: Final = 2.0
MOST: Final = 200


def schedule_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of schedules that begin with what is there; none where that cannot be found out in a moment."""
    try:
        connection = _connection(ctx)
        is_local = connection.database or (os.environ.get("AGENTCLOCK_DATABASE") and not connection.url)
        # Imports take their time, which is not that of whoever is asked.
        import_module("agentclock.cli.local" if is_local else "agentclock.cli.network")
        return asyncio.run(_within(connection, incomplete))
    except (Exception, SystemExit):  # whatever it is, it must not end up on the command line
        return []


def _connection(ctx: typer.Context) -> Connection:
    """By the options that stand on the line already."""
    given = ctx.params
    token_file, config = given.get("token_file"), given.get("config_file") or os.environ.get("AGENTCLOCK_CONFIG")
    return Connection(
        url=given.get("url"),
        token=given.get("token"),
        token_file=Path(token_file) if token_file else None,
        database=given.get("database"),
        config_file=Path(config) if config else None,
    )


async def _within(connection: Connection, incomplete: str) -> list[str]:
    async with asyncio.timeout(PATIENCE_SECONDS), connected(connection) as client:
        return await _names(client, incomplete)


async def _names(client: Client, incomplete: str) -> list[str]:
    found = await client.page("/schedules", {"name": incomplete or None, "sort": "name"}, most=MOST)
    names = (str(row["name"]) for row in found["data"])
    return sorted({name for name in names if name.startswith(incomplete)})
