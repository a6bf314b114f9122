"""Commands over the API: what each of them gets, the options that all of them have, and how they end."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, Concatenate, Final, ParamSpec

import typer

from agentclock.cli.client import Client, ExitCode, Trouble
from agentclock.cli.connecting import Connection, connected
from agentclock.cli.output import Output

P = ParamSpec("P")

_PANEL: Final = "Where agentclock is, and how to show it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What a command works with."""

    client: Client
    out: Output


def _option(kind: Any, *names: str, help_: str, **more: Any) -> Any:
    return Annotated[kind, typer.Option(*names, help=help_, show_default=False, rich_help_panel=_PANEL, **more)]


#: The options of every command over the API, by the names of what they set.
_SHARED: Final[dict[str, tuple[Any, Any]]] = {
    "url": (_option(str | None, "--url", help_="Address of the server. Variable: AGENTCLOCK_URL."), None),
    "token": (
        _option(
            str | None, "--token", help_="Bearer token; others may see it here. Better: AGENTCLOCK_TOKEN, --token-file."
        ),
        None,
    ),
    "token_file": (
        _option(Path | None, "--token-file", help_="File with the token. Variable: AGENTCLOCK_TOKEN_FILE."),
        None,
    ),
    "database": (
        _option(
            str | None, "--database", "-d", help_="Work on this SQLite file or postgresql:// URL instead of a server."
        ),
        None,
    ),
    "config_file": (
        _option(
            Path | None, "--config", "-c", help_="TOML file with settings, for --database.", envvar="AGENTCLOCK_CONFIG"
        ),
        None,
    ),
    "as_json": (_option(bool, "--json", help_="Print exactly what the API says."), False),
    "no_color": (_option(bool, "--no-color", help_="No colours. Variable: NO_COLOR."), False),
}
_OF_CONNECTION: Final = ("url", "token", "token_file", "database", "config_file")


def over_api(work: Callable[Concatenate[Desk, P], Coroutine[Any, Any, ExitCode | None]]) -> Callable[..., None]:
    """Makes a command of `work`: its first parameter is the desk, the others are options and arguments of its own, to
    which come those that all have. Ends with the code that `work` answers, or that of what went wrong."""
    signature = inspect.signature(work, eval_str=True)
    _, *own = signature.parameters.values()
    given_to: Callable[..., Coroutine[Any, Any, ExitCode | None]] = work
    shared = [
        Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)
        for name, (annotation, default) in _SHARED.items()
    ]

    @wraps(work)
    def command(**given: Any) -> None:
        connection = Connection(**{name: given.pop(name) for name in _OF_CONNECTION})
        out = Output(as_json=given.pop("as_json"), no_color=given.pop("no_color"))
        code = run_command(connection, out, lambda desk: given_to(desk, **given))
        if code:
            raise typer.Exit(code)

    parameters = [parameter.replace(kind=Parameter.POSITIONAL_OR_KEYWORD) for parameter in (*own, *shared)]
    described: Any = command
    del described.__wrapped__  # or its parameters would be taken for ours
    described.__signature__ = inspect.Signature(parameters)
    described.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def run_command(
    connection: Connection, out: Output, work: Callable[[Desk], Coroutine[Any, Any, ExitCode | None]]
) -> ExitCode:
    """Connects, works, and says what went wrong."""

    async def connect_and_work() -> ExitCode | None:
        async with connected(connection) as client:
            return await work(Desk(client=client, out=out))

    try:
        return asyncio.run(connect_and_work()) or ExitCode.OK
    except Trouble as trouble:
        out.note(str(trouble), style="bold red")
        return trouble.code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
