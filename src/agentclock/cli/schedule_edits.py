"""`agentclock schedules create | edit`."""

from __future__ import annotations

import asyncio
import sys
from http import HTTPStatus
from typing import Annotated, Final

import typer

from agentclock.cli.arguments import Named, Yes
from agentclock.cli.asking import confirm_if_anybody_is_there
from agentclock.cli.client import ApiError, ExitCode, Row, Trouble, path_of
from agentclock.cli.desk import Desk, over_api
from agentclock.cli.finding import find_schedule
from agentclock.cli.schedule_drafts import changed_timing, takes_fields, timing_of

#: Fires that a preview shows.
_FIRES: Final = 5
#: The fields are wrong, says the API: they can be mended.
_WRONG: Final = HTTPStatus.UNPROCESSABLE_ENTITY

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show when it would fire.")]


@over_api
@takes_fields
async def create(
    desk: Desk,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits, blanks and . _ -")],
    fields: Row,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Make a schedule. What it says is shown first: in plain English, its next fires, and what clock changes do.

    On a terminal one is asked before it is made.
    """
    if not fields.get("endpoint"):
        raise Trouble("say what is called: --agent, --team, --workflow or --endpoint", ExitCode.USAGE)
    draft = {"name": name, **fields}
    await show_preview(desk, timing_of(draft))
    if dry_run:
        return
    confirm_if_anybody_is_there(f"Make {name}?", is_sure=yes)
    made = await desk.client.post("/schedules", draft)
    if desk.out.as_json:
        desk.out.json(made)
    else:
        desk.out.say(f"{made['name']} is made: {made['id']}")


@over_api
@takes_fields
async def edit(
    desk: Desk,
    schedule: Named,
    fields: Row,
    name: Annotated[str | None, typer.Option(help="Another name.", show_default=False)] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Change a schedule by options; without any, in your editor ($VISUAL, $EDITOR).

    Nothing is changed if somebody else changed it meanwhile.
    """
    found = await find_schedule(desk.client, schedule)
    before = await desk.client.get(path_of("schedules", found["id"]))
    changes = fields | ({} if name is None else {"name": name})
    if changes:
        await _change(desk, before, changes, dry_run=dry_run, yes=yes)
        return
    if not sys.stdin.isatty():
        raise Trouble("say what to change, such as --cron '0 4 * * *'; there is no terminal to edit on", ExitCode.USAGE)
    await _change_in_editor(desk, before, dry_run=dry_run, yes=yes)


async def _change(desk: Desk, before: Row, changes: Row, *, dry_run: bool, yes: bool) -> None:
    """Raises Trouble."""
    timing = changed_timing(before, changes)
    if timing is not None:
        await show_preview(desk, timing)
    if dry_run:
        return
    confirm_if_anybody_is_there(f"Change {', '.join(changes)} of {before['name']}?", is_sure=yes)
    headers = {"If-Match": f'"{before["version"]}"'}
    after = await desk.client.patch(path_of("schedules", before["id"]), changes, headers=headers)
    if desk.out.as_json:
        desk.out.json(after)
    else:
        desk.out.say(f"{after['name']} is changed: {', '.join(changes)}")


async def _change_in_editor(desk: Desk, before: Row, *, dry_run: bool, yes: bool) -> None:
    """Until it is right, or left as it was. Raises Trouble."""
    from agentclock.cli import editing  # noqa: PLC0415 - takes long

    shown = {name: before.get(name) for name in editing.EDITABLE}
    text, last_written = editing.to_text(shown), ""
    while (written := await asyncio.to_thread(editing.edited, text)) != text:
        try:
            changes = editing.changes_of(shown, editing.from_text(written) or shown)
            if not changes:
                break
            await _change(desk, before, changes, dry_run=dry_run, yes=yes)
        except (ValueError, ApiError) as error:
            if isinstance(error, ApiError) and error.status != _WRONG:
                raise
            if written == last_written:
                raise Trouble(f"{error}; nothing was changed", ExitCode.USAGE) from None
            text, last_written = editing.with_remark(written, str(error)), written
        else:
            return
    desk.out.note("Nothing was changed.")


async def show_preview(desk: Desk, timing: Row) -> None:
    """When it would fire, beside the result. Raises Trouble."""
    if not timing:
        desk.out.note("It runs on demand: only when it is triggered.")
        return
    preview = await desk.client.get("/schedules/preview", {**timing, "count": _FIRES})
    if preview.get("explanation"):
        desk.out.note(preview["explanation"], style="bold")
    for warning in preview["warnings"]:
        desk.out.note(f"  ! {warning}", style="yellow")
    for fire in preview["fires"]:
        note = f"   {fire['note']}" if fire.get("note") else ""
        desk.out.note(f"  {fire['local']}   {fire['utc']}{note}")
    if not preview["fires"]:
        desk.out.note("  It never fires.", style="yellow")
