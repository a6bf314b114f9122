"""`agentclock runs tail`: watch runs as they go on."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import Annotated, Final

import typer

from agentclock.cli.arguments import OfSchedule
from agentclock.cli.client import ExitCode, Row, Trouble
from agentclock.cli.desk import Desk, over_api
from agentclock.cli.finding import find_run, find_schedule, newest_run
from agentclock.cli.following import code_of, follow, told_to

#: Fires that made no run: there is nothing to watch.
_NO_RUN: Final = frozenset({"skipped", "missed"})


@over_api
async def tail(
    desk: Desk,
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Id of the run; or --schedule.")] = None,
    schedule: OfSchedule = None,
    all_runs: Annotated[
        bool, typer.Option("--follow", "-f", help="With --schedule: one run after the other, until Ctrl-C.")
    ] = False,
) -> ExitCode | None:
    """Watch a run live: the agent's words, its tool calls, its states. Of a schedule, the newest run.

    Lost connections and restarts of the server are got over: nothing is missed, nothing comes twice. Exit 0 if the
    run succeeded, 1 if it did not.
    """
    if (run is None) == (schedule is None) or (all_runs and schedule is None):
        raise Trouble("say which: the id of a run, or --schedule NAME, with --follow if you like", ExitCode.USAGE)
    if run is not None:
        return code_of(await follow(desk, await find_run(desk.client, run), told_to(desk.out)))
    of = await find_schedule(desk.client, schedule or "")
    if all_runs:
        await _follow_all(desk, of)
        return None
    newest = await newest_run(desk.client, of)
    return code_of(await follow(desk, newest | {"schedule_name": of["name"]}, told_to(desk.out)))


async def _follow_all(desk: Desk, schedule: Row) -> None:
    """Runs that are active now, and those that come; each after the one before. Raises Trouble."""
    coming: asyncio.Queue[Row | Trouble] = asyncio.Queue()
    hearing = asyncio.create_task(_hear(desk, schedule["id"], coming))
    try:
        while not isinstance(run := await coming.get(), Trouble):
            await follow(desk, run | {"schedule_name": schedule["name"]}, told_to(desk.out))
        raise run
    finally:
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)


async def _hear(desk: Desk, schedule_id: str, coming: asyncio.Queue[Row | Trouble]) -> None:
    """Puts each run of the schedule there once: those that are active, and all that change from now on."""
    seen: set[str] = set()

    def when_away(trouble: Trouble) -> None:
        desk.out.note(f"({trouble}; coming back)", style="yellow")

    try:
        async with aclosing(desk.client.events("/schedules/events", when_away=when_away)) as events:
            async for event in events:
                data = json.loads(event.data)
                runs = data["runs"] if event.type == "snapshot" else [data] if event.type == "run" else []
                for run in sorted(runs, key=lambda one: str(one["fire_at"])):
                    is_new = run["schedule_id"] == schedule_id and run["id"] not in seen
                    if is_new and run["status"] not in _NO_RUN:
                        seen.add(run["id"])
                        coming.put_nowait(run)
    except Trouble as trouble:
        coming.put_nowait(trouble)
