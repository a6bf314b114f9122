"""Arguments and options that several commands over the API have, and how what is given with them is read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from agentclock.cli.client import ExitCode, Trouble
from agentclock.cli.completing import schedule_names

Named = Annotated[str, typer.Argument(metavar="NAME_OR_ID", autocompletion=schedule_names, help="Of the schedule.")]
SeveralNamed = Annotated[
    list[str], typer.Argument(metavar="NAME_OR_ID...", autocompletion=schedule_names, help="Of one schedule or more.")
]
OfSchedule = Annotated[
    str | None,
    typer.Option(
        "--schedule", "-s", metavar="NAME_OR_ID", autocompletion=schedule_names, help="Only of it.", show_default=False
    ),
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run.")]
PayloadText = Annotated[
    str | None,
    typer.Option("--payload", metavar="JSON|@FILE|-", help="A JSON object; - is standard input.", show_default=False),
]
Message = Annotated[
    str | None, typer.Option(help="What the agent is told: `message` of the payload.", show_default=False)
]
Reason = Annotated[str | None, typer.Option(help="Why; shown with the run and in the audit log.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

MOMENT: Final = "2026-03-01T03:00, yesterday, -24h, +30min"


def since_option(help_: str) -> Any:
    return typer.Option("--from", "--since", metavar="TIME", help=f"{help_} Such as {MOMENT}.", show_default=False)


def until_option(help_: str) -> Any:
    return typer.Option("--to", "--until", metavar="TIME", help=help_, show_default=False)


def read_given(option: str, text: str) -> str:
    """`@file` and `-` stand for what they name. Raises Trouble."""
    if text != "-" and not text.startswith("@"):
        return text
    try:
        return sys.stdin.read() if text == "-" else Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise Trouble(f"{option} {text}: {why}", ExitCode.USAGE) from None


def read_json(option: str, text: str | None) -> Any:
    """None: nothing was given. Raises Trouble."""
    if text is None:
        return None
    content = read_given(option, text)
    try:
        return json.loads(content)
    except ValueError as error:
        source = text if text.startswith("@") else "it"
        raise Trouble(f"{option}: {source} is no JSON: {error}", ExitCode.USAGE) from None


def read_payload(payload: str | None, message: str | None) -> Any:
    """None: neither was given. Raises Trouble."""
    read = read_json("--payload", payload)
    if message is None:
        return read
    if not isinstance(read, dict | None):
        raise Trouble("--payload must be a JSON object", ExitCode.USAGE)
    return {**(read or {}), "message": message}
