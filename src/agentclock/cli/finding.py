"""Schedules and runs by what people call them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from http import HTTPStatus
from typing import Final

from agentclock.cli.client import ApiError, Client, ExitCode, Row, Trouble, path_of

_ID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
#: Names of which near ones are looked for.
_KNOWN: Final = 1_000


async def find_schedule(client: Client, named: str) -> Row:
    """The schedule with that id, or the only one with that name, as lists show it. Raises Trouble: exit 3 with what may
    have been meant, exit 2 with those that have the name."""
    if _ID.fullmatch(named) and (found := await _by_id(client, named)):
        return found
    listed = await client.page("/schedules", {"name": named})
    same = [row for row in listed["data"] if row["name"] == named]
    if len(same) == 1:
        only: Row = same[0]
        return only
    if same:
        raise Trouble(_ambiguous(named, same), ExitCode.USAGE)
    # Ids need not look like ours: what was taken over from elsewhere may keep its own.
    if not _ID.fullmatch(named) and (found := await _by_id(client, named)):
        return found
    known = await client.page("/schedules", most=_KNOWN)
    near = get_close_matches(named, [row["name"] for row in known["data"]], n=3, cutoff=0.4)
    hint = f": did you mean {' or '.join(near)}?" if near else ": see `agentclock schedules list`"
    raise Trouble(f"{named!r} is neither the name nor the id of a schedule{hint}", ExitCode.NOT_FOUND)


async def find_schedules(client: Client, named: Sequence[str]) -> list[Row]:
    """Each of them once. Raises Trouble."""
    rows = [await find_schedule(client, name) for name in named]
    return list({row["id"]: row for row in rows}.values())


async def _by_id(client: Client, schedule_id: str) -> Row | None:
    try:
        found = await client.get(path_of("schedules", schedule_id))
    except ApiError as error:
        if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY):
            return None
        raise
    # Words such as "summary" are routes of their own.
    return found if isinstance(found, dict) and found.get("id") == schedule_id else None


def _ambiguous(named: str, rows: Sequence[Row]) -> str:
    owners = "\n".join(f"  {row['id']}  of {row.get('user_id') or 'nobody'}" for row in rows)
    return f"Several schedules are named {named!r}; give the id of one:\n{owners}"


async def find_run(client: Client, run_id: str) -> Row:
    """Raises Trouble."""
    try:
        found: Row = await client.get(path_of("runs", run_id))
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        hint = "runs are named by their ids: see `agentclock runs list`"
        raise Trouble(f"there is no run {run_id!r}; {hint}", ExitCode.NOT_FOUND) from None
    return found


async def newest_run(client: Client, schedule: Row) -> Row:
    """The newest run that was or is executed. Raises Trouble if there is none."""
    statuses = ("pending", "running", "paused", "success", "failed", "timeout", "cancelled", "lost")
    listed = await client.page(path_of("schedules", schedule["id"], "runs"), {"status": statuses}, most=1)
    if not listed["data"]:
        raise Trouble(f"{schedule['name']} has no run yet", ExitCode.NOT_FOUND)
    found: Row = listed["data"][0]
    return found


def run_path(run: Row, *more: str) -> str:
    return path_of("schedules", run["schedule_id"], "runs", run["id"], *more)
