"""`agentclock timeline`: past and future of schedules, drawn in the terminal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from agentclock.cli.arguments import since_option, until_option
from agentclock.cli.client import ExitCode, Row, Trouble
from agentclock.cli.desk import Desk, over_api
from agentclock.cli.moments import read_moment
from agentclock.cli.output import Output, as_text
from agentclock.cli.timeline_drawing import Line, draw, plain

if TYPE_CHECKING:
    from rich.text import Text

#: Lines that are no lanes.
_OTHER_LINES: Final = 8
_MOST_LANES: Final = 200
_MOST_BINS: Final = 500


@over_api
async def timeline(
    desk: Desk,
    since: Annotated[str | None, since_option("Where it begins. Default: -12h.")] = None,
    until: Annotated[str | None, until_option("Where it ends. Default: +12h.")] = None,
    search: Annotated[
        str | None, typer.Option(help="Part of name, description, endpoint or a tag.", show_default=False)
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Only schedules with this tag.", show_default=False)] = None,
    target: Annotated[
        str | None, typer.Option(help="Only what calls this target, agent, team or workflow.", show_default=False)
    ] = None,
    lanes: Annotated[
        int | None,
        typer.Option(
            "--lanes", "-n", min=0, max=_MOST_LANES, help="Lanes at most. Default: what fits.", show_default=False
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Draw it again and again, until Ctrl-C.")] = False,
    pause: Annotated[float, typer.Option("--interval", min=0.5, max=3600, help="Seconds between drawings.")] = 3,
) -> None:
    """Draw what ran and what will: a lane for each schedule, soonest fire first.

    Each run is a shape and a colour by how it ended, drawn out as long as it took; dots are fires to come.
    """
    filters: Row = {"q": search, "tag": tag, "target": target}
    while True:
        query = filters | _times(since, until) | _size(desk.out, lanes)
        try:
            found = await desk.client.get("/schedules/timeline", query)
        except Trouble as trouble:
            if not watch or trouble.code is not ExitCode.UNAVAILABLE:
                raise
            desk.out.note(f"({trouble}; coming back)", style="yellow")
        else:
            _show(desk.out, found, is_again=watch)
        if not watch:
            return
        await asyncio.sleep(pause)


def _times(since: str | None, until: str | None) -> dict[str, Any]:
    """Anew each time: most of what people write moves on with the clock. Raises Trouble."""
    return {
        "from": read_moment("--from", since or "-12h"),
        "to": read_moment("--to", until or "+12h"),
    }


def _size(out: Output, lanes: int | None) -> dict[str, int]:
    fitting = max(out.console.height - _OTHER_LINES, 1) if out.is_terminal else 40
    return {"bins": min(max(out.console.width, 1), _MOST_BINS), "lanes": min(lanes or fitting, _MOST_LANES)}


def _show(out: Output, found: Row, *, is_again: bool) -> None:
    if out.as_json:
        out.json(found, indent=None if is_again else 2)
        return
    lines = draw(found, out.console.width, has_shapes=out.has_shapes)
    if not out.is_terminal:
        sys.stdout.write(plain(lines) + "\n" + "\n" * is_again)
        sys.stdout.flush()
        return
    if is_again:
        out.console.clear()
    for text in _texts(lines):
        out.console.print(text, soft_wrap=False, overflow="fold")


def _texts(lines: Sequence[Line]) -> list[Text]:
    return [as_text(line) for line in lines]
