"""What is left of agno's own scheduler, said once, at the start, with what to do: schedules in its table that nobody
fires any more, or the scheduler itself, still at work."""

from __future__ import annotations

from typing import Final

import structlog
from starlette.applications import Starlette

from agentclock.agno.databases import MEMORY, address_of
from agentclock.agno.importer_source import AgnoTables, SourceUnusable, open_source
from agentclock.app import Clockwork, sqlite_path

#: More are not looked up: it is a hint, and each start gives it.
LOOKED_UP: Final = 1_000


async def look_for_another_scheduler(app: Starlette) -> None:
    """Warns if agno's own scheduler was started with the app."""
    if getattr(app.state, "scheduler_poller", None) is not None:
        structlog.get_logger("agentclock.agno").warning(
            "two_schedulers",
            detail="agno's own scheduler runs in this app too: what is in its tables fires there as well",
            hint="make the AgentOS with scheduler=False, or attach to the AgentOS before its app is made",
        )


async def look_for_schedules_left_behind(db: object, clockwork: Clockwork) -> None:
    """Warns of enabled schedules that agno's scheduler kept for `db` and that agentclock does not know."""
    address = address_of(db)
    if sqlite_path(address) in ("", MEMORY):
        return
    usual = AgnoTables()
    tables = AgnoTables(
        schema=getattr(db, "db_schema", None) or usual.schema,
        schedules=getattr(db, "schedules_table_name", usual.schedules),
    )
    try:
        source = await open_source(address, tables)
    except SourceUnusable:
        return  # agno has never kept a schedule here
    try:
        rows = await source.schedules()
    finally:
        await source.close()
    enabled = [str(row["id"]) for row in rows if row.get("enabled")][:LOOKED_UP]
    unknown = [schedule_id for schedule_id in enabled if await clockwork.store.get_schedule(schedule_id) is None]
    if unknown:
        structlog.get_logger("agentclock.agno").warning(
            "schedules_left_behind",
            count=len(unknown),
            where=source.where,
            hint="agno's own table has schedules that do not fire here; `agentclock import agno` copies them",
        )
