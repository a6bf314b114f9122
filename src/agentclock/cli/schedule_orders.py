"""`agentclock schedules enable | disable | delete | trigger`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from agentclock.cli.arguments import Message, Named, PayloadText, Reason, SeveralNamed, Yes, read_payload
from agentclock.cli.asking import confirm
from agentclock.cli.client import Client, ExitCode, Row, path_of
from agentclock.cli.desk import Desk, over_api
from agentclock.cli.finding import find_schedule, find_schedules
from agentclock.cli.following import Silent, code_of, follow, told_to
from agentclock.cli.moments import away
from agentclock.cli.output import Output


class Overlap(StrEnum):
    SKIP = "skip"
    QUEUE = "queue"
    ALLOW = "allow"
    CANCEL = "cancel"


@over_api
async def enable(desk: Desk, schedules: SeveralNamed) -> ExitCode | None:
    """Let schedules fire from now on; what was due meanwhile is not made up."""
    return await _switch(desk, schedules, "enable")


@over_api
async def disable(desk: Desk, schedules: SeveralNamed, reason: Reason = None) -> ExitCode | None:
    """Let schedules fire no more; runs that exist go on."""
    return await _switch(desk, schedules, "disable", reason)


async def _switch(desk: Desk, named: list[str], order: str, reason: str | None = None) -> ExitCode | None:
    rows = await find_schedules(desk.client, named)
    if len(rows) > 1 or reason is not None:
        return show_bulk(desk.out, rows, await _bulk(desk.client, order, rows, reason), f"{order}d")
    found = await desk.client.post(path_of("schedules", rows[0]["id"], order))
    if desk.out.as_json:
        desk.out.json(found)
        return None
    detail = await desk.client.get(path_of("schedules", found["id"]))
    fires = f"; fires {away(detail['next_fire_at'])}" if detail.get("next_fire_at") else ""
    desk.out.say(f"{found['name']} is {'enabled' + fires if found['enabled'] else 'disabled'}")
    return None


async def _bulk(client: Client, order: str, rows: list[Row], reason: str | None = None) -> Row:
    body: Row = {"ids": [row["id"] for row in rows]} | ({} if reason is None else {"reason": reason})
    found: Row = await client.post(f"/schedules/bulk/{order}", body)
    return found


def show_bulk(out: Output, rows: list[Row], answer: Row, done: str) -> ExitCode | None:
    """What became of each row of many. `done`: what was done to those where all went well."""
    if out.as_json:
        out.json(answer)
    else:
        names = {row["id"]: row.get("name") or row["id"] for row in rows}
        for one in answer["data"]:
            name = names.get(one["id"], one["id"])
            said = done if one["ok"] else f"{one['error']} ({one['status_code']})"
            out.say(f"{name}: {said}", style=None if one["ok"] else "bold red")
    return ExitCode.FAILED if answer["failed"] else None


@over_api
async def delete(desk: Desk, schedules: SeveralNamed, yes: Yes = False) -> ExitCode | None:
    """Delete schedules; their pending runs are cancelled."""
    rows = await find_schedules(desk.client, schedules)
    names = ", ".join(row["name"] for row in rows[:5]) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")
    confirm(f"Delete {names}?", is_sure=yes)
    if len(rows) > 1:
        return show_bulk(desk.out, rows, await _bulk(desk.client, "delete", rows), "deleted")
    await desk.client.delete(path_of("schedules", rows[0]["id"]))
    if not desk.out.as_json:
        desk.out.say(f"{rows[0]['name']} is deleted")
    return None


@over_api
async def trigger(
    desk: Desk,
    schedule: Named,
    payload: PayloadText = None,
    message: Message = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="The payload stands in place of the schedule's; else it is merged into it."),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until the run is over, and end as it does.")] = False,
    tail: Annotated[bool, typer.Option("--tail", help="Watch it live until it is over.")] = False,
    reason: Reason = None,
    overlap: Annotated[
        Overlap | None, typer.Option(help="For this run instead of the schedule's policy.", show_default=False)
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="Idempotency-Key: whoever repeats it within 48 h gets the same run.", show_default=False),
    ] = None,
) -> ExitCode | None:
    """Run a schedule now, outside its timetable."""
    body = {"payload": read_payload(payload, message), "reason": reason}
    draft: dict[str, Any] = {name: value for name, value in body.items() if value is not None}
    if replace:
        draft["payload_mode"] = "replace"
    found = await find_schedule(desk.client, schedule)
    run = await desk.client.post(
        path_of("schedules", found["id"], "trigger"),
        draft or None,
        query={"wait": 0, "overlap": overlap and overlap.value},
        headers={} if key is None else {"Idempotency-Key": key},
    )
    if tail:
        return code_of(await follow(desk, run, told_to(desk.out)))
    if wait:
        run = await follow(desk, run, Silent(), until_paused=True)
    return show_started(desk.out, run, found["name"], is_over=wait)


def show_started(out: Output, run: Row, name: str, *, is_over: bool) -> ExitCode | None:
    """A run that was made by hand. `is_over`: its end was waited for, and counts."""
    if out.as_json:
        out.json(run)
    elif not is_over:
        out.say(f"{name}: run {run['id']} is {run['status']}")
        out.note(f"Watch it: agentclock runs tail {run['id']}")
    else:
        told_to(out).end(run)
    return code_of(run) if is_over else None
