"""`agentclock export`: let an outside clock, Kubernetes or AWS, keep the time of schedules."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from agentclock.cli.export_source import Selection, Source, opened
from agentclock.cli.options import ConfigFile, Database, load_settings
from agentclock.config import Settings
from agentclock.core.errors import AgentclockError, InvalidField
from agentclock.core.model import Instant, Schedule
from agentclock.exporting import (
    CURL_IMAGE,
    MOST_SCHEDULES,
    Eventbridge,
    HandedOver,
    Inexpressible,
    Kubernetes,
    entry,
    fires_by_itself,
    has_timetable,
    manifest,
    template,
    to_yaml,
)

export_app = typer.Typer(no_args_is_help=True, help="Let an outside clock, Kubernetes or AWS, trigger schedules.")

Named = Annotated[list[str] | None, typer.Argument(metavar="NAME_OR_ID", help="Names or ids of schedules.")]
Everything = Annotated[bool, typer.Option("--all", help="All schedules that have a timetable.")]
Tag = Annotated[str | None, typer.Option(help="All schedules with this tag that have a timetable.")]
CronText = Annotated[
    str | None, typer.Option("--cron", help="This timetable instead of the schedule's own, such as '0 3 * * *'.")
]
ZoneText = Annotated[str | None, typer.Option("--timezone", "-z", help="IANA time zone of --cron.")]
OnDemand = Annotated[
    bool,
    typer.Option(
        "--on-demand",
        help="Take their own timetables from the schedules in the same go, so that they fire once. Without it the "
        "exported clock stands still as long as the schedule fires by itself.",
    ),
]
Url = Annotated[
    str | None, typer.Option(help="Where the clock reaches agentclock. Default: public_url", show_default=False)
]


class Format(StrEnum):
    YAML = "yaml"
    JSON = "json"


@export_app.command(
    "k8s",
    epilog="Examples: agentclock export k8s nightly-report --url http://agentclock.agentclock.svc:7777 -o cron/\n\n"
    "agentclock export k8s --tag reports --on-demand --namespace clocks | kubectl apply -f -",
)
def k8s(
    schedules: Named = None,
    everything: Everything = False,
    tag: Tag = None,
    url: Url = None,
    namespace: Annotated[str | None, typer.Option(help="Namespace of the CronJobs.")] = None,
    image: Annotated[str, typer.Option(help="Image with a shell and curl.")] = CURL_IMAGE,
    secret: Annotated[str, typer.Option(help="Secret in that namespace with the bearer token.")] = "agentclock",
    secret_key: Annotated[str, typer.Option(help="Its key there.")] = "token",
    cron: CronText = None,
    timezone: ZoneText = None,
    on_demand: OnDemand = False,
    output: Annotated[
        # As text: a Path forgets the slash at the end.
        str | None,
        typer.Option("--output", "-o", metavar="PATH", help="File, or a folder (ending in /) for one file each."),
    ] = None,
    config_file: ConfigFile = None,
    database: Database = None,
) -> None:
    """Write a CronJob for each schedule: Kubernetes keeps the time and triggers it, once for each Job.

    Exit 1 if a schedule has a timetable that a CronJob cannot keep; the others are written all the same.
    """
    settings = load_settings(config_file, database=database)
    options = Kubernetes(
        base_url=_base_url(settings, url), namespace=namespace, image=image, secret=secret, secret_key=secret_key
    )

    def convert(schedule: Schedule, active: bool, now: Instant) -> HandedOver:
        return manifest(schedule, options, now, active=active)

    def write(parts: Sequence[HandedOver]) -> None:
        texts = {f"{part.content['metadata']['name']}.yaml": _commented(part) for part in parts}
        if output is None:
            _write("---\n".join(texts.values()), None)
        elif output.endswith("/") or Path(output).is_dir():
            Path(output).mkdir(parents=True, exist_ok=True)
            for name, text in texts.items():
                _write(text, Path(output, name))
        else:
            _write("---\n".join(texts.values()), Path(output))

    selection = Selection(named=tuple(schedules or ()), everything=everything, tag=tag)
    _export(settings, selection, _Way(convert=convert, write=write, retime=_retimed(cron, timezone)), on_demand)


@export_app.command(
    "eventbridge",
    epilog="Examples: agentclock export eventbridge nightly-report --url https://clock.example.com -o clock.yaml\n\n"
    "agentclock export eventbridge --all --on-demand --secret agentclock/token -o clock.yaml",
)
def eventbridge(
    schedules: Named = None,
    everything: Everything = False,
    tag: Tag = None,
    url: Url = None,
    secret: Annotated[
        str, typer.Option(help="Secret in AWS Secrets Manager with the bearer token.")
    ] = "agentclock/token",
    secret_key: Annotated[
        str | None, typer.Option(help="Its key there, if the secret is JSON.", show_default=False)
    ] = None,
    by_rule: Annotated[
        bool, typer.Option("--rule", help="A rule keeps the time, not a Scheduler entry: fewer parts, only UTC.")
    ] = False,
    cron: CronText = None,
    timezone: ZoneText = None,
    on_demand: OnDemand = False,
    format_: Annotated[Format, typer.Option("--format", help="Of the template.")] = Format.YAML,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write to.")] = None,
    config_file: ConfigFile = None,
    database: Database = None,
) -> None:
    """Write a CloudFormation template: EventBridge keeps the time and triggers each schedule over HTTPS.

    Exit 1 if a schedule has a timetable that AWS cannot keep; the others are written all the same.
    """
    settings = load_settings(config_file, database=database)
    base_url = _base_url(settings, url)
    if not base_url.startswith("https://"):
        _warn(f"EventBridge calls https:// only, which {base_url} is not: say --url, or set public_url")
    options = Eventbridge(base_url=base_url, secret=secret, secret_key=secret_key, by_rule=by_rule)

    def convert(schedule: Schedule, active: bool, now: Instant) -> HandedOver:
        return entry(schedule, options, now, active=active)

    def write(parts: Sequence[HandedOver]) -> None:
        if len(parts) > MOST_SCHEDULES:
            raise InvalidField("schedules", f"{len(parts)} are too many for one template: at most {MOST_SCHEDULES}")
        made = template(parts, options)
        comments = "".join(_comment(part) for part in parts)
        _write(comments + to_yaml(made) if format_ is Format.YAML else json.dumps(made, indent=2) + "\n", output)

    selection = Selection(named=tuple(schedules or ()), everything=everything, tag=tag)
    _export(settings, selection, _Way(convert=convert, write=write, retime=_retimed(cron, timezone)), on_demand)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """How one kind of clock is written. `retime`: puts the timetable of the command line in place, if one was given."""

    convert: Callable[[Schedule, bool, Instant], HandedOver]
    write: Callable[[Sequence[HandedOver]], None]
    retime: Callable[[Source, Schedule], Schedule]


def _export(settings: Settings, selection: Selection, way: _Way, on_demand: bool) -> None:
    try:
        complete = asyncio.run(_hand_over(settings, selection, way, on_demand))
    except InvalidField as error:
        _warn(f"{error.field}: {error.message}")
        raise typer.Exit(2) from None
    except (AgentclockError, OSError) as error:
        _warn(str(error))
        raise typer.Exit(2) from None
    if not complete:
        raise typer.Exit(1)


async def _hand_over(settings: Settings, selection: Selection, way: _Way, on_demand: bool) -> bool:
    """Whether every schedule could be. Nothing is changed before what is to take over has been written."""
    async with opened(settings) as source:
        parts, refused = [], 0
        for schedule in await source.schedules(selection):
            active = schedule.enabled and (on_demand or not fires_by_itself(schedule))
            try:
                parts.append(way.convert(way.retime(source, schedule), active, await source.now()))
            except Inexpressible as error:
                refused += 1
                _warn(f"{schedule.name}: not exported: {error}{await source.hint(schedule)}")
        if parts:
            way.write(parts)
        for part in parts:
            await _settle(source, part, on_demand)
        return not refused


async def _settle(source: Source, part: HandedOver, on_demand: bool) -> None:
    """Sees to it that nothing fires twice, and says what else is to be known."""
    schedule = await source.current(part.schedule.id)
    if on_demand and has_timetable(schedule):
        await source.make_on_demand(schedule.id)
        _warn(f"{schedule.name}: is on demand now; nobody keeps its time until what was written is applied")
    elif fires_by_itself(schedule):
        _warn(
            f"{schedule.name}: still fires by itself, so its clock is exported standing still (it would fire twice). "
            f"To hand it over: the same command with --on-demand"
        )
    if not schedule.enabled:
        _warn(f"{schedule.name}: is disabled, and triggers are refused (409); its clock is exported standing still")
    for remark in part.remarks:
        _warn(f"{schedule.name}: {remark}")


def _retimed(cron: str | None, timezone: str | None) -> Callable[[Source, Schedule], Schedule]:
    def retime(source: Source, schedule: Schedule) -> Schedule:
        if cron is None and timezone is None:
            return schedule
        return source.with_timetable(schedule, cron, timezone)

    return retime


def _base_url(settings: Settings, url: str | None) -> str:
    found = url or settings.public_url
    if found is None:
        found = f"http://{settings.host}:{settings.port}"
        _warn(f"Neither --url nor public_url says where agentclock is reached; {found} stands in what is written")
    if "://" not in found or any(character.isspace() for character in found):
        _warn(f"--url: {found} is not a URL; write it like https://clock.example.com")
        raise typer.Exit(2)
    return found


def _commented(part: HandedOver) -> str:
    return _comment(part) + to_yaml(part.content)


def _comment(part: HandedOver) -> str:
    name = json.dumps(part.schedule.name)
    return "".join(f"# {name}: {remark}\n" for remark in part.remarks)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")


def _warn(text: str) -> None:
    Console(stderr=True, soft_wrap=True).print(text, style="yellow", markup=False, highlight=False)
