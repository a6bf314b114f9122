"""`agentclock schedules list | show | why`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from agentclock.cli.arguments import Named
from agentclock.cli.client import Row, path_of
from agentclock.cli.desk import Desk, over_api
from agentclock.cli.finding import find_schedule
from agentclock.cli.moments import away, clock, read_local
from agentclock.cli.output import Cell, to_json
from agentclock.cli.schedule_drafts import timing_of
from agentclock.cli.wording import RUN_COLUMNS, SCHEDULE_COLUMNS, state, timetable


class Order(StrEnum):
    NEWEST = "newest"
    NEXT_FIRE = "next_fire"
    NAME = "name"


@over_api
async def list_schedules(
    desk: Desk,
    search: Annotated[str | None, typer.Option(help="Part of name, description, endpoint or a tag.")] = None,
    name: Annotated[str | None, typer.Option(help="Part of the name.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only with this tag.")] = None,
    target: Annotated[
        str | None, typer.Option(help="Only what calls this target, agent, team, workflow or endpoint.")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="Only of this owner.")] = None,
    managed_by: Annotated[str | None, typer.Option(help="Only what this keeps, such as apply:team-a.")] = None,
    enabled: Annotated[
        bool | None, typer.Option("--enabled/--disabled", help="Only these.", show_default=False)
    ] = None,
    sort: Annotated[Order, typer.Option(help="Order of the rows.")] = Order.NEXT_FIRE,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Rows at most.")] = 100,
    recent: Annotated[int, typer.Option(min=0, max=50, help="Show the states of so many last runs.")] = 10,
) -> None:
    """List schedules: when they fire next, what they call, how they did lately."""
    query: dict[str, Any] = {"q": search, "name": name, "tag": tag, "target": target, "owner": owner}
    query |= {"managed_by": managed_by, "enabled": enabled, "sort": sort.value, "recent_runs": recent}
    found = await desk.client.page("/schedules", query, most=limit)
    if desk.out.as_json:
        desk.out.json(found)
        return
    rows, total = found["data"], found["meta"]["total_count"]
    if not rows and desk.out.is_terminal:
        desk.out.note("No such schedule. Make one: agentclock schedules create --help")
    else:
        desk.out.table(SCHEDULE_COLUMNS, rows)
    if len(rows) < total:
        desk.out.note(f"{len(rows):,} of {total:,}; --limit {total} shows all")
    for fault in found["meta"].get("unreadable", ()):
        desk.out.note(f"left out, for it cannot be read: {fault['id']}: {fault['reason']}", style="yellow")


@over_api
async def show_schedule(
    desk: Desk,
    schedule: Named,
    runs: Annotated[int, typer.Option(min=0, max=100, help="So many of its last runs.")] = 5,
) -> None:
    """Show one schedule: its timetable in plain English, the next fires, its last runs."""
    found = await find_schedule(desk.client, schedule)
    detail = await desk.client.get(path_of("schedules", found["id"]))
    if desk.out.as_json:
        desk.out.json(detail)
        return
    preview = None
    if detail["enabled"] and timing_of(detail):
        preview = await desk.client.get("/schedules/preview", {**timing_of(detail), "count": 3})
    fires = [f"{fire['local']}   {away(fire['utc'])}" for fire in (preview or {"fires": ()})["fires"]]
    desk.out.facts([*_facts(detail), ("next fires", "\n".join(fires))])
    for warning in detail.get("warnings") or ():
        desk.out.say(f"! {warning}", style="yellow")
    if runs:
        listed = await desk.client.page(path_of("schedules", detail["id"], "runs"), most=runs)
        if listed["data"]:
            desk.out.say("")
            desk.out.table(RUN_COLUMNS, [row | {"schedule_name": detail["name"]} for row in listed["data"]])


#: Fields that are shown under their own names, where they say something.
_POLICIES: Final = (
    "overlap", "catch_up", "misfire_grace_seconds", "jitter_seconds", "timeout_seconds", "max_retries", "retry_backoff",
    "max_runs", "start_at", "end_at", "approval_timeout_seconds", "on_lost",
)  # fmt: skip


def _facts(row: Row) -> list[tuple[str, Cell]]:
    payload = "" if row.get("payload") is None else to_json(row["payload"])
    policies = ", ".join(f"{name} {row[name]}" for name in _POLICIES if row.get(name) not in (None, 0))
    return [
        ("name", (row["name"], "bold")),
        ("id", row["id"]),
        ("description", row.get("description") or ""),
        ("fires", timetable(row)),
        ("next", state(row)),
        ("calls", f"{row['method']} {row['endpoint']}  (target {row['target']})"),
        ("payload", payload),
        ("policies", policies),
        ("tags", ", ".join(row.get("tags") or ())),
        ("owner", row.get("user_id") or ""),
        ("managed by", row.get("managed_by") or ""),
        ("version", str(row["version"])),
    ]


@over_api
async def why(
    desk: Desk,
    schedule: Named,
    at: Annotated[
        str | None,
        typer.Option(
            help="Which fire: 03:00, a date and time in the schedule's zone, or with an offset. "
            "Default: the next or the latest.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Say why a schedule ran at a time, or why it did not."""
    found = await find_schedule(desk.client, schedule)
    moment = None if at is None else read_local("--at", at, found["timezone"])
    answer = await desk.client.get(path_of("schedules", found["id"], "why"), {"at": moment})
    if desk.out.as_json:
        desk.out.json(answer)
        return
    zone, near = found["timezone"], answer.get("near") or {}
    desk.out.say(answer["answer"], style="bold")
    for fact in answer["facts"]:
        when = f"{clock(fact['at'], zone)}  " if fact.get("at") else ""
        who = f"  ({fact['by']})" if fact.get("by") else ""
        desk.out.say(f"  {when}{fact['text']}{who}")
    before, after = (clock(near.get(name), zone) or "none" for name in ("before", "after"))
    desk.out.say(f"The fire before: {before}. The fire after: {after}. Times are those of {zone}.")
    if answer.get("run_id"):
        desk.out.note(f"See: agentclock runs show {answer['run_id']}")
