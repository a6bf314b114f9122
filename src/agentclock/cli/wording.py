"""How schedules and runs are shown in rows."""

from __future__ import annotations

from typing import Any, Final

from agentclock.cli.client import Row
from agentclock.cli.marks import mark_of, status_cell
from agentclock.cli.moments import away, clock, lasted
from agentclock.cli.output import NEVER, Cell, Column, one_line, plain_column

#: Letters of an error in a table.
ERROR_LENGTH: Final = 60


def timetable(row: Row) -> str:
    """In plain English if the API says it so."""
    if row.get("explanation"):
        return str(row["explanation"])
    if row.get("cron_expr"):
        return f"{row['cron_expr']}  {row['timezone']}"
    if row.get("interval_seconds"):
        return f"every {row['interval_seconds']} s"
    return f"once, {clock(row['run_at'])}" if row.get("run_at") else "on demand"


def state(row: Row) -> Cell:
    """Of a schedule: when it fires next, or why it does not."""
    if not row["enabled"]:
        why = row.get("disabled_reason")
        return (f"disabled: {why}", "yellow") if why else ("disabled", "bright_black")
    return away(row.get("next_fire_at")) or ("nothing due", "bright_black")


def strip(row: Row) -> Cell:
    """The last runs, the newest to the right."""
    marks = [mark_of(run["status"]) for run in reversed(row.get("recent_runs") or ())]
    return [(mark.shape, mark.style) for mark in marks]


SCHEDULE_COLUMNS: Final = (
    plain_column("id", from_width=NEVER),
    plain_column("name"),
    plain_column("enabled", from_width=NEVER),
    Column(field="next_fire_at", title="next", cell=state),
    Column(field="explanation", title="when", cell=timetable),
    plain_column("cron_expr", from_width=NEVER),
    plain_column("timezone", from_width=NEVER),
    Column(
        field="recent_runs",
        title="last runs",
        cell=strip,
        raw=lambda row: ",".join(run["status"] for run in row.get("recent_runs") or ()),
        from_width=90,
    ),
    plain_column("target", from_width=140),
    plain_column("endpoint", "calls", from_width=110),
    plain_column("tags", from_width=150),
)


def late(row: Row) -> Cell:
    """In red if it is more than a second."""
    ms = row.get("lateness_ms")
    return lasted(ms), "yellow" if (ms or 0) > 1_000 else ""


def remark(row: Row) -> str:
    """Why there was no run, or why it went wrong."""
    return one_line(str(row.get("reason") or row.get("error") or ""), ERROR_LENGTH)


def cause(row: Row) -> str:
    count = int(row.get("fire_count") or 1)
    return f"{row['cause']} ×{count}" if count > 1 else str(row["cause"])


RUN_COLUMNS: Final = (
    plain_column("id", "run", from_width=100),
    plain_column("schedule_name", "schedule"),
    plain_column("schedule_id", from_width=NEVER),
    Column(field="status", title="status", cell=lambda row: status_cell(row["status"])),
    Column(field="cause", title="cause", cell=cause, from_width=120),
    Column(field="fire_at", title="due", cell=lambda row: clock(row["fire_at"])),
    Column(field="lateness_ms", title="late", cell=late, is_figure=True, from_width=110),
    Column(field="duration_ms", title="took", cell=lambda row: lasted(row.get("duration_ms")), is_figure=True),
    Column(field="attempt", title="attempt", cell=lambda row: str(row["attempt"]), is_figure=True, from_width=140),
    plain_column("fire_count", from_width=NEVER),
    plain_column("reason", from_width=NEVER),
    Column(field="error", title="", cell=remark, from_width=150),
)


def answer_of(output: Any) -> str:
    """What came back, as text."""
    content = output.get("content") if isinstance(output, dict) else output
    return "" if content is None else str(content)
