"""`agentclock apply`, `diff`, `pull` and `schema`: schedules as files."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import typer

from agentclock.cli.client import ApiError, Client, ExitCode, Row, Trouble
from agentclock.cli.desk import Desk, over_api
from agentclock.cli.output import Output
from agentclock.cli.plan_view import faults_as_json, show_faults, show_plan
from agentclock.declaring.editors import json_schema
from agentclock.declaring.files import read_files
from agentclock.declaring.model import manager_of, mark_of
from agentclock.declaring.reading import Declarations, Declared
from agentclock.declaring.tree import Fault
from agentclock.declaring.writing import document, yaml_of

Files = Annotated[
    list[str],
    typer.Option("--file", "-f", metavar="PATH", help="YAML or JSON file, folder, or - for stdin; repeat for more."),
]
Manager = Annotated[
    str | None, typer.Option("--manager", "-m", help="Whose files these are that do not say it.", show_default=False)
]
Prune = Annotated[bool, typer.Option("--prune", help="Delete what the manager declared before and does no more.")]
Adopt = Annotated[bool, typer.Option("--adopt", help="Take over schedules of these names from nobody or others.")]
OutputFile = Annotated[Path | None, typer.Option("--output", "-o", help="File to write.", show_default=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    prune: bool
    adopt: bool


@over_api
async def apply(
    desk: Desk,
    file: Files,
    manager: Manager = None,
    prune: Prune = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    adopt: Adopt = False,
) -> None:
    """Make schedules what files declare: all of it, or nothing.

    What is so already is not touched. What somebody declared with another manager, or made by hand, is left alone
    unless --adopt. A file that is wrong anywhere changes nothing: every fault is shown with its line.
    """
    declared = await _read(desk.out, file, manager)
    answer = await _applied(desk, declared, _Options(prune=prune, adopt=adopt), dry_run=dry_run)
    _show(desk.out, answer)


@over_api
async def diff(
    desk: Desk, file: Files, manager: Manager = None, prune: Prune = False, adopt: Adopt = False
) -> ExitCode | None:
    """Show what `apply` would do. Exit 0: nothing; 1: something; more: it cannot be said."""
    try:
        declared = await _read(desk.out, file, manager)
        answer = await _applied(desk, declared, _Options(prune=prune, adopt=adopt), dry_run=True)
    except Trouble as trouble:
        if trouble.code is not ExitCode.FAILED:
            raise
        raise Trouble(str(trouble), ExitCode.USAGE) from None
    _show(desk.out, answer)
    return ExitCode.FAILED if answer["unchanged"] < len(answer["plan"]) else None


def _show(out: Output, answer: Row) -> None:
    if out.as_json:
        out.json(answer)
    else:
        show_plan(out, answer)


async def _read(out: Output, paths: Sequence[str], manager: str | None) -> Declarations:
    """Raises Trouble."""
    declared = await asyncio.to_thread(read_files, paths, manager, sys.stdin.buffer.read)
    _refuse(out, declared, declared.faults)
    return declared


def _refuse(out: Output, declared: Declarations, faults: Sequence[Fault]) -> None:
    """Raises Trouble if there are any."""
    if not faults:
        return
    if out.as_json:
        out.json({"faults": faults_as_json(faults)})
    else:
        show_faults(out, faults, declared.texts)
    raise Trouble(f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'}: nothing was changed", ExitCode.USAGE)


async def _applied(desk: Desk, declared: Declarations, options: _Options, *, dry_run: bool) -> Row:
    """Several managers are applied one after the other, but only if nothing is wrong with any of them."""
    managers = declared.by_manager
    for check in [True, False] if len(managers) > 1 and not dry_run else [dry_run]:
        answers = []
        for manager, schedules in managers.items():
            try:
                answers.append(await _apply_one(desk.client, manager, schedules, options, dry_run=check))
            except ApiError as error:
                _refuse(desk.out, declared, _faults_of(error, schedules))
                raise
    return _together(answers)


async def _apply_one(
    client: Client, manager: str, schedules: Sequence[Declared], options: _Options, *, dry_run: bool
) -> Row:
    body = {
        "manager": manager,
        "schedules": [declared.fields for declared in schedules],
        "prune": options.prune,
        "adopt": options.adopt,
        "dry_run": dry_run,
    }
    answer: Row = await client.post("/schedules/apply", body)
    return answer


def _faults_of(error: ApiError, schedules: Sequence[Declared]) -> list[Fault]:
    """What the API says of single schedules, at the places of these in their files; empty if it speaks of others."""
    if error.status != HTTPStatus.UNPROCESSABLE_ENTITY or not isinstance(error.detail, list):
        return []
    faults = []
    for said in error.detail:
        match said.get("loc"):
            case ["body", "schedules", int() as number, *path] if number < len(schedules):
                position = (said.get("ctx") or {}).get("position")
                faults.append(schedules[number].fault(path, said["msg"], position))
            case _:
                return []
    return sorted(faults, key=lambda fault: fault.place)


def _together(answers: Sequence[Row]) -> Row:
    """One answer; of several managers, each row says whose it is."""
    if len(answers) == 1:
        return answers[0]
    totals = {name: sum(answer[name] for answer in answers) for name in ("created", "changed", "unchanged", "deleted")}
    return {
        "manager": None,
        "dry_run": answers[0]["dry_run"],
        "plan": [row | {"manager": answer["manager"]} for answer in answers for row in answer["plan"]],
        **totals,
        "undeclared": [name for answer in answers for name in answer["undeclared"]],
    }


@over_api
async def pull(
    desk: Desk,
    manager: Annotated[
        str | None, typer.Option("--manager", "-m", help="What this manager declared.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every schedule, also those that nobody declared.")] = False,
    owner: Annotated[
        str | None, typer.Option(help="Whose, where you see schedules of several owners.", show_default=False)
    ] = None,
    output: OutputFile = None,
) -> None:
    """Write schedules as a file that `apply` takes, and that then changes nothing.

    Only what is not the default is written; of being enabled only that something is not.
    """
    if (manager is None) is not everything:
        raise Trouble("say --manager NAME or --all", ExitCode.USAGE)
    where = {"managed_by": None if manager is None else mark_of(manager)}
    found = await desk.client.page("/schedules", where)
    for fault in found["meta"].get("unreadable", ()):
        desk.out.note(f"left out, for it cannot be read: {fault['id']}: {fault['reason']}", style="yellow")
    rows = _declarable(desk.out, _of_one_owner(found["data"], owner))
    documents = _documents(manager, rows)
    if desk.out.as_json:
        text = json.dumps(documents[0] if len(documents) == 1 else documents, indent=2) + "\n"
    else:
        text = yaml_of(documents)
    await asyncio.to_thread(_write, text, output)
    for managed, schedules in ((part.get("manager"), part["schedules"]) for part in documents):
        if managed is None and schedules:
            desk.out.note("nobody declared these so far: apply them with --manager NAME --adopt")


def _of_one_owner(rows: Sequence[Row], owner: str | None) -> list[Row]:
    """Names are unique for each owner only. Raises Trouble."""
    if owner is not None:
        return [row for row in rows if (row["user_id"] or "") == owner]
    owners = sorted({row["user_id"] or "" for row in rows})
    if len(owners) > 1:
        known = ", ".join(repr(name) for name in owners)
        raise Trouble(f"these belong to several owners: say --owner with one of {known} ('': nobody)", ExitCode.USAGE)
    return list(rows)


def _declarable(out: Output, rows: Iterable[Row]) -> list[Row]:
    """Without what other software looks after."""
    mine: list[Row] = []
    foreign: list[Row] = []
    for row in rows:
        is_foreign = row["managed_by"] is not None and manager_of(row["managed_by"]) is None
        (foreign if is_foreign else mine).append(row)
    if foreign:
        names = ", ".join(row["name"] for row in foreign)
        out.note(f"left out, for other software looks after them: {names}", style="yellow")
    return mine


def _documents(manager: str | None, rows: Iterable[Row]) -> list[dict[str, Any]]:
    """One for each manager; last, what nobody declared."""
    by_manager: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_manager[manager_of(row["managed_by"]) or ""].append(row)
    names = sorted(name for name in by_manager if name) + ([""] if "" in by_manager else [])
    return [document(name or None, by_manager[name]) for name in names] or [document(manager, [])]


def schema(output: OutputFile = None) -> None:
    """Print the JSON Schema of files of schedules, for editors."""
    _write(json.dumps(json_schema(), indent=2) + "\n", output)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")
