"""`agentclock runs list | show | failures`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from agentclock.cli.arguments import OfSchedule, RunId, since_option, until_option
from agentclock.cli.client import Row
from agentclock.cli.desk import Desk, over_api
from agentclock.cli.finding import find_run, find_schedule
from agentclock.cli.following import questions
from agentclock.cli.marks import status_cell
from agentclock.cli.moments import clock, lasted, read_moment
from agentclock.cli.output import NEVER, Cell, Column, one_line, plain_column, to_json
from agentclock.cli.wording import RUN_COLUMNS, answer_of, cause


class Status(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCESS = "success"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    LOST = "lost"
    SKIPPED = "skipped"
    MISSED = "missed"


class Cause(StrEnum):
    SCHEDULE = "schedule"
    MANUAL = "manual"
    CATCH_UP = "catch_up"
    BACKFILL = "backfill"


#: What `--failed` means.
UNSUCCESSFUL: Final = (Status.FAILED, Status.TIMEOUT, Status.LOST)


def times_of(since: str | None, until: str | None) -> dict[str, str | None]:
    """Raises Trouble."""
    return {
        "since": None if since is None else read_moment("--from", since),
        "until": None if until is None else read_moment("--to", until),
    }


@over_api
async def list_runs(
    desk: Desk,
    schedule: OfSchedule = None,
    search: Annotated[str | None, typer.Option(help="Part of the schedule's name.", show_default=False)] = None,
    status: Annotated[
        list[Status] | None, typer.Option(help="Only in this state; repeat it for more.", show_default=False)
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only failed, timeout and lost.")] = False,
    cause: Annotated[
        list[Cause] | None, typer.Option(help="Only of this cause; repeat it for more.", show_default=False)
    ] = None,
    since: Annotated[str | None, since_option("First fire time.")] = None,
    until: Annotated[str | None, until_option("First fire time that does not count.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Rows at most.")] = 50,
) -> None:
    """List runs, newest first; also fires that made no run (skipped, missed)."""
    of_one = await find_schedule(desk.client, schedule) if schedule else None
    statuses = [*(status or ()), *(UNSUCCESSFUL if failed else ())]
    query: dict[str, Any] = {
        "schedule_id": of_one and of_one["id"],
        "q": search,
        "status": [str(one) for one in dict.fromkeys(statuses)] or None,
        "cause": [str(one) for one in cause or ()] or None,
    }
    found = await desk.client.page("/runs", query | times_of(since, until), most=limit)
    if desk.out.as_json:
        desk.out.json(found)
        return
    rows, total = found["data"], found["meta"]["total_count"]
    if rows or not desk.out.is_terminal:
        desk.out.table(RUN_COLUMNS, rows)
    else:
        desk.out.note("No such run.")
    if len(rows) < total:
        desk.out.note(f"the newest {len(rows):,} of {total:,}; --limit {total} shows all")


@over_api
async def show_run(desk: Desk, run: RunId) -> None:
    """Show one run: its attempts, its answer, what it waits for, what it used up."""
    found = await find_run(desk.client, run)
    if desk.out.as_json:
        desk.out.json(found)
        return
    desk.out.facts(_facts(found))
    if found["status"] == "paused":
        for line in questions(found):
            desk.out.say(line, style="magenta")
    if len(found["attempts"]) > 1:
        desk.out.say("")
        desk.out.table(_ATTEMPT_COLUMNS, found["attempts"])
    if text := answer_of(found.get("output")):
        desk.out.say("")
        desk.out.say(text)


def _facts(run: Row) -> list[tuple[str, Cell]]:
    usage = run.get("usage") or {}
    tokens = "" if usage.get("total_tokens") is None else f"{usage['total_tokens']:,} tokens"
    cost = "" if usage.get("cost") is None else f"cost {usage['cost']:.4f}"
    by = f" by {run['triggered_by']}" if run.get("triggered_by") else ""
    why = f": {run['trigger_reason']}" if run.get("trigger_reason") else ""
    payload = "" if run.get("input") is None else to_json(run["input"])
    return [
        ("run", (run["id"], "bold")),
        ("schedule", f"{run.get('schedule_name') or 'deleted'}  {run['schedule_id']}"),
        ("status", status_cell(run["status"])),
        ("cause", f"{cause(run)}{by}{why}"),
        ("retry of", run.get("retry_of") or ""),
        ("due", f"{clock(run['fire_at'])}   {run['fire_at']}"),
        ("started", _begin(run)),
        ("ended", clock(run.get("ended_at"))),
        ("took", lasted(run.get("duration_ms"))),
        ("attempt", str(run["attempt"])),
        ("status code", str(run.get("status_code") or "")),
        ("reason", run.get("reason") or ""),
        ("error", (run.get("error") or "", "red")),
        ("agent run", run.get("run_id") or ""),
        ("session", run.get("session_id") or ""),
        ("worker", run.get("worker") or ""),
        ("used", ", ".join(filter(None, (tokens, cost, ", ".join(usage.get("models") or ()))))),
        ("payload", payload),
    ]


def _begin(run: Row) -> str:
    late = run.get("lateness_ms")
    behind = "" if late is None else f"   {lasted(late)} late"
    return f"{clock(run['started_at'])}{behind}" if run.get("started_at") else ""


_ATTEMPT_COLUMNS: Final = (
    plain_column("number", "attempt"),
    Column(field="status", title="status", cell=lambda row: status_cell(row["status"])),
    Column(field="started_at", title="started", cell=lambda row: clock(row["started_at"])),
    Column(field="completed_at", title="ended", cell=lambda row: clock(row.get("completed_at"))),
    plain_column("worker", from_width=110),
    Column(field="error", title="error", cell=lambda row: one_line(row.get("error") or "", 200)),
)


@over_api
async def failures(
    desk: Desk,
    schedule: OfSchedule = None,
    since: Annotated[str | None, since_option("First fire time.")] = "-24h",
    until: Annotated[str | None, until_option("First fire time that does not count.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="Groups at most.")] = 50,
) -> None:
    """Show failures by what they have in common: once each, with how often and where."""
    of_one = await find_schedule(desk.client, schedule) if schedule else None
    times = times_of(since, until)
    query: Row = {"from": times["since"], "to": times["until"], "limit": limit}
    query["schedule_id"] = of_one and of_one["id"]
    found = await desk.client.get("/runs/failures", query)
    if desk.out.as_json:
        desk.out.json(found)
        return
    if found["data"] or not desk.out.is_terminal:
        desk.out.table(_FAILURE_COLUMNS, found["data"])
    else:
        desk.out.note("Nothing failed.")
    if not found["is_complete"]:
        desk.out.note(f"only the newest {found['runs_looked_at']:,} runs were looked at")


def _where(group: Row) -> str:
    names = [str(one["name"] or one["id"]) for one in group["schedules"][:3]]
    more = group["schedules_total"] - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def _what(group: Row) -> Cell:
    hint = f"  {one_line(group['hint'])}" if group.get("hint") else ""
    return [(one_line(str(group.get("error") or "no message"), 300), ""), (hint, "bright_black")]


_FAILURE_COLUMNS: Final = (
    plain_column("fingerprint", from_width=NEVER),
    Column(field="count", title="count", cell=lambda row: f"{row['count']:,}", is_figure=True),
    Column(field="status", title="status", cell=lambda row: status_cell(row["status"])),
    plain_column("status_code", "code", from_width=110),
    Column(field="error", title="error", cell=_what),
    Column(
        field="schedules",
        title="schedules",
        cell=_where,
        raw=lambda group: ",".join(str(one["id"]) for one in group["schedules"]),
    ),
    plain_column("first_at", from_width=NEVER),
    Column(field="last_at", title="last", cell=lambda row: clock(row["last_at"])),
    plain_column("run_ids", from_width=NEVER),
)
