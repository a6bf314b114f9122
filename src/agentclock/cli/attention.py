"""`agentclock attention`: what needs a person."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from agentclock.cli.client import Row
from agentclock.cli.desk import Desk, over_api
from agentclock.cli.marks import severity_cell
from agentclock.cli.moments import away
from agentclock.cli.output import NEVER, Cell, Column, one_line, plain_column


@over_api
async def attention(
    desk: Desk,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="Rows at most.")] = 50,
) -> None:
    """Show what needs a person, most urgent first, each with what to do about it."""
    found = await desk.client.get("/schedules/attention", {"limit": limit})
    if desk.out.as_json:
        desk.out.json(found)
        return
    if not found["data"] and desk.out.is_terminal:
        desk.out.say("Nothing needs you.", style="green")
        return
    desk.out.table(_COLUMNS, found["data"])
    if not found.get("is_complete", True):
        desk.out.note("There is more; these are the most urgent.")


def _matter(row: Row) -> Cell:
    hint = f"  {one_line(row['hint'])}" if row.get("hint") else ""
    return [(one_line(row["title"]), ""), (hint, "bright_black")]


_COLUMNS: Final = (
    Column(field="severity", title="", cell=lambda row: severity_cell(row["severity"])),
    plain_column("kind", from_width=100),
    plain_column("schedule_id", from_width=NEVER),
    plain_column("schedule_name", "schedule"),
    plain_column("run_id", "run", from_width=150),
    Column(field="since", title="since", cell=lambda row: away(row.get("since"))),
    plain_column("count", from_width=NEVER),
    Column(field="title", title="what", cell=_matter),
    plain_column("hint", from_width=NEVER),
)
