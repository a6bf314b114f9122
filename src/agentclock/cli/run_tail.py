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
        bool,
        typer.Option("--follow", "-f", help="With --schedule: the newest run, then those that come, until Ctrl-C."),
    ] = False,
) -> ExitCode | None:
    """Watch a run live: the agent's words, its tool calls, its states. Of a schedule, the newest run.

    Lost connections and restarts of the server are got over: nothing is missed, nothing comes twice. Exit 0 if the
    run succeeded, 1 if it did not.
    """
    if (run is None) == (schedule is None) or (all_runs and schedule is None):
        raise Trouble("say which: the id of a run, or --schedule NAME, with --follow if you like", ExitCode.USAGE)
    if run is not None:
        found = await find_run(desk.client, run)
        return code_of(await follow(desk, found, told_to(desk.out, found.get("schedule_name"))))
    of = await find_schedule(desk.client, schedule or "")
    if all_runs:
        await _follow_all(desk, of)
        return None
    newest = await newest_run(desk.client, of)
    return code_of(await follow(desk, newest, told_to(desk.out)))


async def _follow_all(desk: Desk, schedule: Row) -> None:
    """The newest run, and those that come; each after the one before. Raises Trouble."""
    news = _News(schedule["id"])
    hearing = asyncio.create_task(news.hear(desk))
    try:
        await news.is_heard.wait()
        await _put_newest(desk, schedule, news)
        while not isinstance(run := await news.runs.get(), Trouble):
            await follow(desk, run, told_to(desk.out))
        raise run
    finally:
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)


async def _put_newest(desk: Desk, schedule: Row, news: _News) -> None:
    try:
        news.put(await newest_run(desk.client, schedule))
    except Trouble as trouble:
        if trouble.code is not ExitCode.NOT_FOUND:
            raise
        desk.out.note(f"({trouble}; waiting for one)")


class _News:
    """Each run of a schedule once, as far as it is active or changes from now on; `is_heard`: from now on."""

    def __init__(self, schedule_id: str) -> None:
        self.runs: Final[asyncio.Queue[Row | Trouble]] = asyncio.Queue()
        self.is_heard: Final = asyncio.Event()
        self._schedule_id = schedule_id
        self._seen: set[str] = set()

    def put(self, run: Row) -> None:
        is_new = run["schedule_id"] == self._schedule_id and run["id"] not in self._seen
        if is_new and run["status"] not in _NO_RUN:
            self._seen.add(run["id"])
            self.runs.put_nowait(run)

    async def hear(self, desk: Desk) -> None:
        def when_away(trouble: Trouble) -> None:
            desk.out.note(f"({trouble}; coming back)", style="yellow")

        try:
            async with aclosing(desk.client.events("/schedules/events", when_away=when_away)) as events:
                async for event in events:
                    data = json.loads(event.data)
                    runs = data["runs"] if event.type == "snapshot" else [data] if event.type == "run" else []
                    for run in sorted(runs, key=lambda one: str(one["fire_at"])):
                        self.put(run)
                    self.is_heard.set()
        except Trouble as trouble:
            self.runs.put_nowait(trouble)
            self.is_heard.set()
