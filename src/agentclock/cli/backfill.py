"""`agentclock backfill`: run fires of the past, on the database directly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from difflib import get_close_matches
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from agentclock.app import is_there, make_store
from agentclock.backfilling import Backfilling, BackfillPlan
from agentclock.backfilling import Progress as Standing
from agentclock.cli.options import ConfigFile, Database, load_settings
from agentclock.config import Settings
from agentclock.core.actors import Actor
from agentclock.core.backfills import Backfill, Choice, Existing
from agentclock.core.errors import AgentclockError, InvalidField
from agentclock.core.instants import iso_utc
from agentclock.core.model import SECOND, RunStatus, Schedule
from agentclock.core.zones import Zone
from agentclock.engine.clock import SystemClock
from agentclock.ports import Clock, PageRequest, ScheduleFilter, Store, Wakeup

#: Fires that a dry run lists; of more, the first and how many there are.
_LISTED: Final = 200
_LOOK_SECONDS: Final = 1.0

_NO_ENGINE: Final = "No engine is alive on this database: start `agentclock serve` or `agentclock worker`."


def backfill(
    schedule: Annotated[str, typer.Argument(help="Name or id of the schedule.")],
    from_text: Annotated[
        str | None,
        typer.Option("--from", help="First fire time to run: ISO 8601, in the schedule's zone without an offset."),
    ] = None,
    until_text: Annotated[
        str | None, typer.Option("--until", help="First fire time not to run. Default: now", show_default=False)
    ] = None,
    existing: Annotated[
        Existing, typer.Option(help="Fires that have a run: skip them, run the failed ones again, or all.")
    ] = Existing.SKIP,
    concurrency: Annotated[int, typer.Option(min=1, max=100, help="Runs at a time.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show which fires would run.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until all of it is over.")] = True,
    cancel: Annotated[
        str | None, typer.Option(metavar="ID", help="Cancel a backfill of the schedule instead of making one.")
    ] = None,
    config_file: ConfigFile = None,
    database: Database = None,
) -> None:
    """Run the fires of a schedule between two times of the past, also such as were missed or skipped.

    Works on the database directly; engines on it carry the runs out, beside what the schedule does otherwise.
    Exit 1 if a run did not succeed or nobody is there to carry them out, 2 if nothing could be done at all.
    """
    settings = load_settings(config_file, database=database)
    try:
        if cancel is not None:
            asyncio.run(_cancel(settings, schedule, cancel))
            return
        if from_text is None:
            _fail("--from is missing: say --from 2026-03-01, for instance")
        draft: dict[str, Any] = {"from": from_text, "until": until_text, "existing": existing}
        draft |= {"concurrency": concurrency, "dry_run": dry_run}
        good = asyncio.run(_backfill(settings, schedule, draft, wait=wait))
    except InvalidField as error:
        option = "SCHEDULE" if error.field == "schedule_id" else f"--{error.field}"
        _fail(f"{option} {error.message}")
    except AgentclockError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        Console(stderr=True).print("The backfill goes on without this command; --cancel with its id stops it.")
        raise typer.Exit(1) from None
    if not good:
        raise typer.Exit(1)


def _fail(message: str) -> NoReturn:
    Console(stderr=True, soft_wrap=True).print(message, markup=False, highlight=False)
    raise typer.Exit(2)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[Store, Wakeup, Clock]]:
    if not await asyncio.to_thread(is_there, settings.database):
        raise AgentclockError(f"database: {settings.database} does not exist: see --database")
    clock = SystemClock()
    store, wakeup = make_store(settings, clock, auto_migrate=False)
    await store.open()
    try:
        await wakeup.start(lambda: None)
        yield store, wakeup, clock
    finally:
        await wakeup.close()
        await store.close()


async def _backfill(settings: Settings, named: str, draft: dict[str, Any], *, wait: bool) -> bool:
    """Whether all went well, as far as it was waited for."""
    console = Console(highlight=False)
    async with _opened(settings) as (store, wakeup, clock):
        schedule = await find_schedule(store, named)
        backfilling = Backfilling(store, wakeup=wakeup.send)
        plan = await backfilling.create(schedule.id, draft, by=Actor("cli", "cli"))
        if draft["dry_run"]:
            console.print(_table(plan))
        console.print(_summary(plan), soft_wrap=True)
        if plan.backfill is None:
            return True
        if not await is_engine_alive(store):
            console.print(f"{_NO_ENGINE} The runs begin when there is one.", style="bold yellow", soft_wrap=True)
            return not wait
        return not wait or await _follow(console, store, backfilling, plan.backfill, clock)


async def _cancel(settings: Settings, named: str, backfill_id: str) -> None:
    async with _opened(settings) as (store, wakeup, _):
        schedule = await find_schedule(store, named)
        standing = await Backfilling(store, wakeup=wakeup.send).cancel(schedule.id, backfill_id)
        Console(highlight=False).print(f"Cancelled: {_states(standing)}. What runs is told to stop.", soft_wrap=True)


async def find_schedule(store: Store, named: str) -> Schedule:
    """The schedule with that id, or the only one with that name. Raises InvalidField, with what may have been meant."""
    by_id = await store.get_schedule(named)
    if by_id is not None:
        return by_id
    page = await store.list_schedules(ScheduleFilter(name_contains=named), PageRequest(limit=1_000))
    same = [schedule for schedule in page.items if schedule.name == named]
    if len(same) == 1:
        return same[0]
    if same:
        owners = ", ".join(f"{schedule.id} (of {schedule.user_id or 'nobody'})" for schedule in same)
        raise InvalidField("schedule_id", f"is ambiguous: several are named {named!r}: {owners}. Give the id")
    known = await store.list_schedules(ScheduleFilter(), PageRequest(limit=1_000))
    near = get_close_matches(named, [schedule.name for schedule in known.items], n=3, cutoff=0.4)
    hint = f": did you mean {' or '.join(near)}?" if near else ""
    raise InvalidField("schedule_id", f"{named!r} is neither the name nor the id of a schedule{hint}")


async def is_engine_alive(store: Store) -> bool:
    now = await store.now()
    return any(worker.lease_until > now for worker in await store.workers())


async def standings(backfilling: Backfilling, backfill: Backfill, clock: Clock) -> AsyncIterator[Standing]:
    """How it stands, every second, until all of its runs are over."""
    while True:
        standing = await backfilling.get(backfill.schedule_id, backfill.id)
        yield standing
        if not standing.left:
            return
        await clock.sleep(_LOOK_SECONDS)


async def _follow(console: Console, store: Store, backfilling: Backfilling, backfill: Backfill, clock: Clock) -> bool:
    """Shows the progress until all is over, and answers whether every run succeeded."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=backfill.fires)
        async for standing in standings(backfilling, backfill, clock):
            trouble = "" if not standing.left or await is_engine_alive(store) else f" [bold yellow]{_NO_ENGINE}[/]"
            over = backfill.fires - standing.left
            progress.update(bar, completed=over, description=f"{_states(standing)}{trouble}")
    bad = sum(count for status, count in standing.runs.items() if status is not RunStatus.SUCCESS)
    if bad:
        console.print("Run those that did not succeed again with --existing failed.", style="yellow")
    return not bad


def _states(standing: Standing) -> str:
    shown = (f"{standing.runs[status]} {status}" for status in RunStatus if standing.runs.get(status))
    return ", ".join(shown) or "nothing to run"


def _summary(plan: BackfillPlan) -> str:
    name, left = escape(plan.schedule.name), len(plan.choices) - plan.to_run
    kept = f", {left:,} left as they are" if left else ""
    zone = Zone.load(plan.schedule.timezone)
    if not plan.choices:
        begin, end = zone.iso(plan.from_at // SECOND), zone.iso(plan.until_at // SECOND)
        return f"{name} has no fire from {begin} until {end}: nothing to run."
    if plan.backfill is None:
        return f"{name}: {plan.to_run:,} of {len(plan.choices):,} fires to be run{kept}. Nothing was written."
    made = plan.backfill
    return f"{name}: backfill {made.id} runs {made.fires:,} fires, {made.concurrency} at a time{kept}."


def _table(plan: BackfillPlan) -> Table:
    zone = Zone.load(plan.schedule.timezone)
    table = Table(zone.name, "UTC", "newest run", "now", title=escape(plan.schedule.name), title_justify="left")
    for choice in plan.choices[:_LISTED]:
        local, utc = zone.iso(choice.fire_at // SECOND), iso_utc(choice.fire_at)[:19] + "Z"
        table.add_row(local, utc, choice.found or "none", _fate(choice))
    if len(plan.choices) > _LISTED:
        table.caption = f"and {len(plan.choices) - _LISTED:,} more"
    return table


def _fate(choice: Choice) -> str:
    if choice.number is None:
        return "[dim]left as it is[/]"
    return "[green]runs[/]" if choice.found is None else "[yellow]runs again[/]"
