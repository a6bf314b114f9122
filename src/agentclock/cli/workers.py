"""`agentclock workers`: who executes runs, and what waits."""

from __future__ import annotations

from typing import Final

from agentclock.cli.client import ExitCode, Row
from agentclock.cli.desk import Desk, over_api
from agentclock.cli.moments import away, clock, lasted
from agentclock.cli.output import NEVER, Cell, Column, plain_column


@over_api
async def workers(desk: Desk) -> ExitCode | None:
    """Show who executes runs, and what waits. Exit 1 if nobody is alive."""
    found = await desk.client.get("/workers")
    is_alive = any(worker["alive"] for worker in found["data"])
    code = None if is_alive else ExitCode.FAILED
    if desk.out.as_json:
        desk.out.json(found)
        return code
    desk.out.table(_COLUMNS, found["data"])
    for worker in found["data"] if desk.out.is_terminal else ():
        for run in worker["runs"]:
            name = run.get("schedule_name") or run["schedule_id"]
            desk.out.say(f"  {worker['name']}: {name}, attempt {run['attempt']}, since {clock(run['started_at'])}")
    backlog = found["backlog"]
    counts = ", ".join(f"{backlog[name]:,} {name}" for name in ("pending", "running", "paused"))
    lags = f"due lag {lasted(backlog['due_lag_ms'])}, queue lag {lasted(backlog['queue_lag_ms'])}"
    desk.out.note(f"{counts}; {lags}")
    for name in ("database", "engine", "listener"):
        part = found.get(name)
        if isinstance(part, dict) and not part.get("ok", True):
            desk.out.note(f"{name}: {part.get('detail') or part.get('status')}", style="yellow")
    if not is_alive:
        desk.out.note("No engine is alive: start `agentclock serve` or `agentclock worker`.", style="bold red")
    return code


def _state(row: Row) -> Cell:
    return ("alive", "green") if row["alive"] else (f"gone, {away(row['lease_until'])}", "bold red")


def _busy(row: Row) -> str:
    return f"{row['running']:,}" if row.get("slots") is None else f"{row['running']:,} of {row['slots']:,}"


_COLUMNS: Final = (
    plain_column("id", from_width=NEVER),
    plain_column("name", "worker"),
    Column(field="alive", title="state", cell=_state),
    Column(field="running", title="runs", cell=_busy, is_figure=True),
    plain_column("slots", from_width=NEVER),
    Column(field="started_at", title="since", cell=lambda row: clock(row["started_at"])),
    plain_column("app_version", "version", from_width=80),
    plain_column("lease_until", from_width=NEVER),
)
