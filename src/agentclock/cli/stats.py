"""`agentclock stats`: how schedules do, and whether every fire is accounted for."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from agentclock.cli.arguments import OfSchedule, since_option, until_option
from agentclock.cli.client import ExitCode, Row, path_of
from agentclock.cli.desk import Desk, over_api
from agentclock.cli.finding import find_schedule
from agentclock.cli.moments import lasted, read_moment
from agentclock.cli.output import NEVER, Cell, Column, Output, plain_column

#: Rows that these lists have on a page.
_PAGE_ROWS: Final = 200


class Order(StrEnum):
    NAME = "name"
    LATENESS = "lateness"
    FAILURES = "failures"
    DURATION = "duration"
    RUNS = "runs"


@over_api
async def stats(
    desk: Desk,
    since: Annotated[str | None, since_option("First fire time. Default: -7d, with --accounts -24h.")] = None,
    until: Annotated[str | None, until_option("First fire time that does not count.")] = None,
    schedule: OfSchedule = None,
    search: Annotated[
        str | None, typer.Option(help="Part of name, description, endpoint or a tag.", show_default=False)
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Only with this tag.", show_default=False)] = None,
    sort: Annotated[Order, typer.Option(help="By name, or the greatest first.")] = Order.NAME,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Rows at most.")] = 200,
    accounts: Annotated[
        bool, typer.Option("--accounts", help="Due = runs + skipped + missed, instead. Exit 1 if one differs.")
    ] = False,
) -> ExitCode | None:
    """Show lateness, duration, success, tokens and cost of each schedule's runs."""
    query: Row = {"q": search, "tag": tag, **_period(since, until)}
    if schedule is not None:
        found = await find_schedule(desk.client, schedule)
        if not accounts:
            row = await desk.client.get(path_of("schedules", found["id"], "statistics"), _period(since, until))
            _show(desk.out, row, [row])
            return None
        listed = await _pages(desk, "/schedules/accounts", query | {"name": found["name"]}, None)
        listed["data"] = [row for row in listed["data"] if row["schedule_id"] == found["id"]]
        return _show_accounts(desk.out, listed | {"meta": listed["meta"] | {"total_count": len(listed["data"])}})
    if accounts:
        return _show_accounts(desk.out, await _pages(desk, "/schedules/accounts", query, limit))
    listed = await _pages(desk, "/schedules/statistics", query | {"sort": sort.value}, limit)
    _show(desk.out, listed, listed["data"])
    return None


def _period(since: str | None, until: str | None) -> dict[str, str | None]:
    """Raises Trouble."""
    return {
        "from": None if since is None else read_moment("--from", since),
        "to": None if until is None else read_moment("--to", until),
    }


async def _pages(desk: Desk, path: str, query: Row, most: int | None) -> Row:
    return await desk.client.page(path, query, most=most, page_rows=_PAGE_ROWS, is_numbered=True)


def _show(out: Output, found: Any, rows: list[Row]) -> None:
    if out.as_json:
        out.json(found)
        return
    out.table(_COLUMNS, rows)
    if any(row["is_sample"] for row in rows):
        out.note("Of schedules marked with * only the newest runs were looked at.")
    _say_more(out, found.get("meta"), len(rows))


def _show_accounts(out: Output, found: Row) -> ExitCode | None:
    rows = found["data"]
    wrong = [row for row in rows if not row["balanced"]]
    if out.as_json:
        out.json(found)
    else:
        out.table(_ACCOUNT_COLUMNS, rows)
        _say_more(out, found["meta"], len(rows))
        sums = {name: sum(row[name] or 0 for row in rows) for name in ("due", "runs", "skipped", "missed")}
        verdict = "every fire is accounted for" if not wrong else f"{len(wrong):,} schedules differ"
        figures = "{due:,} due = {runs:,} runs + {skipped:,} skipped + {missed:,} missed".format(**sums)
        out.note(f"{figures}: {verdict}", style="bold red" if wrong else "green")
    return ExitCode.FAILED if wrong else None


def _say_more(out: Output, meta: Row | None, shown: int) -> None:
    if meta is not None and shown < meta["total_count"]:
        out.note(f"{shown:,} of {meta['total_count']:,}; --limit shows more")


def _spread(field: str, name: str, title: str, *, from_width: int = 0) -> Column:
    """One figure of how something is spread, in ms for scripts."""
    return Column(
        field=f"{field}.{name}",
        title=title,
        cell=lambda row: lasted((row.get(field) or {}).get(name)),
        is_figure=True,
        from_width=from_width,
    )


def _figure(field: str, *, from_width: int = 0, style: str = "") -> Column:
    def cell(row: Row) -> Cell:
        value = row.get(field)
        return ("" if value is None else f"{value:,}", style if value else "")

    return Column(field=field, title=field, cell=cell, is_figure=True, from_width=from_width)


def _rate(row: Row) -> Cell:
    rate = row["success_rate"]
    if rate is None:
        return ""
    # Rounding must not hide that something failed.
    shown = min(rate, 0.9999) if rate < 1 else rate
    return f"{shown * 100:.4g} %", "green" if rate == 1 else "red" if rate < 0.9 else "yellow"


_COLUMNS: Final = (
    plain_column("schedule_id", from_width=NEVER),
    Column(
        field="schedule_name",
        title="schedule",
        cell=lambda row: row["schedule_name"] + ("*" if row["is_sample"] else ""),
    ),
    _figure("runs"),
    plain_column("success", from_width=NEVER),
    Column(field="unsuccessful", title="failed", cell=lambda row: f"{row['unsuccessful']:,}", is_figure=True),
    Column(field="success_rate", title="success", cell=_rate, is_figure=True),
    _spread("lateness_ms", "p50", "late p50"),
    _spread("lateness_ms", "p99", "late p99"),
    _spread("lateness_ms", "max", "late max", from_width=130),
    _spread("duration_ms", "p50", "took p50", from_width=90),
    _spread("duration_ms", "p95", "took p95", from_width=90),
    _spread("duration_ms", "max", "took max", from_width=130),
    Column(
        field="total_tokens",
        title="tokens",
        cell=lambda row: "" if row["total_tokens"] is None else f"{row['total_tokens']:,}",
        is_figure=True,
        from_width=100,
    ),
    Column(
        field="cost",
        title="cost",
        cell=lambda row: "" if row["cost"] is None else f"{row['cost']:.4f}",
        is_figure=True,
        from_width=110,
    ),
    plain_column("is_sample", from_width=NEVER),
)


def _verdict(row: Row) -> Cell:
    if row["trouble"]:
        return str(row["trouble"]), "bold red"
    if not row["balanced"]:
        return "differs", "bold red"
    return (f"overdue for {lasted(row['overdue_ms'])}", "yellow") if row["overdue_ms"] else ("ok", "green")


_ACCOUNT_COLUMNS: Final = (
    plain_column("schedule_id", from_width=NEVER),
    plain_column("schedule_name", "schedule"),
    _figure("due"),
    _figure("runs"),
    _figure("skipped", style="yellow"),
    _figure("missed", style="yellow"),
    Column(field="balanced", title="", cell=_verdict),
    plain_column("trouble", from_width=NEVER),
    plain_column("overdue_ms", from_width=NEVER),
)
