"""The fields of a schedule as options, and as text in an editor."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import Parameter
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import quote

import typer

from agentclock.cli.arguments import read_payload
from agentclock.cli.client import ExitCode, Row, Trouble

_WHEN: Final = "When"
_WHAT: Final = "What is called"
_HOW: Final = "Policies; --set for those that have no option"


class _Field(NamedTuple):
    """One field of a schedule as an option."""

    name: str
    option: str
    kind: Any
    help: str
    panel: str


_FIELDS: Final = (
    _Field("cron_expr", "--cron", str, 'Five fields in quotes, such as "0 3 * * 1-5", or @daily.', _WHEN),
    _Field("interval_seconds", "--every", int, "Seconds between fires.", _WHEN),
    _Field("run_at", "--at", str, "Once: ISO 8601, with an offset or in the zone.", _WHEN),
    _Field("timezone", "--zone", str, "IANA time zone, such as Europe/Rome. Default: UTC", _WHEN),
    _Field("start_at", "--start", str, "No fire before this.", _WHEN),
    _Field("end_at", "--end", str, "No fire from this on.", _WHEN),
    _Field("max_runs", "--max-runs", int, "It fires at most so many times.", _WHEN),
    _Field("target", "--target", str, "Which configured base URL is called. Default: default", _WHAT),
    _Field("method", "--method", str, "Default: POST", _WHAT),
    _Field("description", "--description", str, "What it is for.", _HOW),
    _Field("overlap", "--overlap", str, "skip, queue, allow or cancel, if the run before is active still.", _HOW),
    _Field("catch_up", "--catch-up", str, "latest, none or all, after an outage.", _HOW),
    _Field("jitter_seconds", "--jitter", int, "Seconds that its start is spread over.", _HOW),
    _Field("timeout_seconds", "--timeout", int, "Seconds that an attempt may take.", _HOW),
    _Field("max_retries", "--max-retries", int, "Further attempts after the first.", _HOW),
    _Field("retry_delay_seconds", "--retry-delay", int, "Seconds before another attempt.", _HOW),
)
#: Options of which each stands for an endpoint.
_COMPONENTS: Final = ("agent", "team", "workflow")


def _parameters() -> list[Parameter]:
    def option(name: str, kind: Any, help_: str, panel: str, *names: str, metavar: str | None = None) -> Parameter:
        described = typer.Option(*names, help=help_, rich_help_panel=panel, show_default=False, metavar=metavar)
        annotation = Annotated[kind, described]
        default = False if kind is bool else None
        return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)

    fields = [option(one.name, one.kind | None, one.help, one.panel, one.option) for one in _FIELDS]
    fields += [
        option(name, str | None, f"Run this {name} of an AgentOS.", _WHAT, f"--{name}", metavar="ID")
        for name in _COMPONENTS
    ]
    return [
        *fields,
        option("on_demand", bool, "No timetable: it runs when it is triggered.", _WHEN, "--on-demand"),
        option("endpoint", str | None, "Call this path of the target.", _WHAT, "--endpoint", metavar="PATH"),
        option("message", str | None, "What the agent is told: `message` of the payload.", _WHAT, "--message"),
        option("payload", str | None, "What is sent.", _WHAT, "--payload", metavar="JSON|@FILE|-"),
        option("tags", list[str] | None, "Repeat it for more.", _HOW, "--tag"),
        option(
            "others", list[str] | None, "Any other field, such as on_lost=retry.", _HOW, "--set", metavar="FIELD=VALUE"
        ),
    ]


def takes_fields(work: Callable[..., Coroutine[Any, Any, ExitCode | None]]) -> Any:
    """Gives `work` the options of a schedule's fields; what is given reaches it as `fields`, by wire names."""
    own = inspect.signature(work, eval_str=True)
    added = _parameters()

    @wraps(work)
    async def command(desk: Any, **given: Any) -> ExitCode | None:
        options = {parameter.name: given.pop(parameter.name) for parameter in added}
        return await work(desk, fields=read_fields(options), **given)

    kept = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in own.parameters.values() if one.name != "fields"]
    desk, *rest = kept
    described: Any = command
    described.__signature__ = inspect.Signature(
        [desk.replace(kind=Parameter.POSITIONAL_OR_KEYWORD), *rest, *added], return_annotation=own.return_annotation
    )
    return command


def read_fields(given: Row) -> Row:
    """Wire names and values of the options that were given. Raises Trouble."""
    names = {one.name for one in _FIELDS}
    fields = {name: value for name, value in given.items() if name in names and value is not None}
    if given["on_demand"]:
        fields["cron_expr"] = ""
    if (endpoint := _endpoint(given)) is not None:
        fields["endpoint"] = endpoint
    if (payload := read_payload(given["payload"], given["message"])) is not None:
        fields["payload"] = payload
    if given["tags"]:
        fields["tags"] = given["tags"]
    return fields | dict(_other(text) for text in given["others"] or ())


def _endpoint(given: Row) -> str | None:
    """Raises Trouble."""
    said = [name for name in (*_COMPONENTS, "endpoint") if given[name] is not None]
    if len(said) > 1:
        raise Trouble(f"--{said[0]} and --{said[1]} exclude each other", ExitCode.USAGE)
    if not said:
        return None
    [name] = said
    value: str = given[name]
    return value if name == "endpoint" else f"/{name}s/{quote(value, safe='')}/runs"


def _other(text: str) -> tuple[str, Any]:
    """JSON where it is JSON, else text. Raises Trouble."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise Trouble(f"--set {text!r} must be FIELD=VALUE", ExitCode.USAGE)
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value


#: What decides when a schedule fires.
TIMING: Final = ("cron_expr", "run_at", "interval_seconds", "timezone", "start_at", "end_at", "max_runs")
_TIMETABLES: Final = TIMING[:3]


def timing_of(schedule: Row) -> Row:
    """What a preview needs to know; empty if it fires on demand."""
    if not any(schedule.get(name) for name in _TIMETABLES):
        return {}
    return {name: schedule[name] for name in TIMING if schedule.get(name) is not None}


def changed_timing(schedule: Row, changes: Row) -> Row | None:
    """The timing with the changes, None if they leave it as it is. One timetable takes the place of another."""
    if not changes.keys() & set(TIMING):
        return None
    before = dict(schedule)
    if any(changes.get(name) is not None for name in _TIMETABLES):
        before |= dict.fromkeys(_TIMETABLES)
    return timing_of(before | changes)
