"""`agentclock runs cancel | approve | reject | retry`."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from agentclock.cli.arguments import (
    Message,
    OfSchedule,
    PayloadText,
    Reason,
    RunId,
    Yes,
    read_given,
    read_json,
    read_payload,
    since_option,
    until_option,
)
from agentclock.cli.asking import confirm
from agentclock.cli.client import ExitCode, Row, Trouble
from agentclock.cli.desk import Desk, over_api
from agentclock.cli.finding import find_run, find_schedule, run_path
from agentclock.cli.following import Silent, code_of, follow, told_to
from agentclock.cli.run_views import UNSUCCESSFUL, times_of
from agentclock.cli.schedule_orders import show_bulk, show_started

#: Runs that one request may be about.
_MOST: Final = 1_000
#: Kinds of fields whose values are no texts.
_JSON_KINDS: Final = ("int", "float", "bool", "dict", "list", "number", "integer", "boolean", "object", "array")

Note = Annotated[str | None, typer.Option(help="Why; an agent that is refused something reads it.", show_default=False)]
Wait = Annotated[bool, typer.Option("--wait", help="Stay until the run is over, and end as it does.")]
Tail = Annotated[bool, typer.Option("--tail", help="Watch it live until it is over.")]


@over_api
async def cancel(
    desk: Desk,
    run: RunId,
    wait: Annotated[float, typer.Option(min=0, max=300, help="Seconds to wait until it has stopped.")] = 10,
) -> ExitCode | None:
    """Stop a run wherever it stands. Exit 0 if it has stopped or will; a run that is over stays as it is."""
    found = await find_run(desk.client, run)
    ended = await desk.client.post(run_path(found, "cancel"), query={"wait": wait})
    if desk.out.as_json:
        desk.out.json(ended)
    elif ended["status"] == "cancelled":
        desk.out.say(f"{_name(found)}: run {ended['id']} is cancelled")
    elif ended.get("completed_at"):
        desk.out.say(f"{_name(found)}: run {ended['id']} was over already: {ended['status']}")
    else:
        desk.out.say(f"{_name(found)}: run {ended['id']} is told to stop; it is {ended['status']}")
    return None


@over_api
async def approve(
    desk: Desk,
    run: RunId,
    note: Note = None,
    answer: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=VALUE", help="What the agent asked for; repeat it for more.", show_default=False),
    ] = None,
    result: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT|@FILE|-", help="What came of a tool that was to be carried out outside.", show_default=False
        ),
    ] = None,
    wait: Wait = False,
    tail: Tail = False,
) -> ExitCode | None:
    """Let a paused run go on: approve what it waits for, with what it asks for."""
    found = await find_run(desk.client, run)
    answers: Row = {"action": "approve", "note": note, "values": read_answers(answer or [], found)}
    answers["result"] = None if result is None else read_given("--result", result)
    return await _continue(desk, found, answers, wait=wait, tail=tail)


@over_api
async def reject(desk: Desk, run: RunId, note: Note = None, wait: Wait = False, tail: Tail = False) -> ExitCode | None:
    """Refuse what a paused run waits for; its agent reads the note and goes on without."""
    found = await find_run(desk.client, run)
    return await _continue(desk, found, {"action": "reject", "note": note}, wait=wait, tail=tail)


async def _continue(desk: Desk, run: Row, answers: Row, *, wait: bool, tail: bool) -> ExitCode | None:
    given = {name: value for name, value in answers.items() if value is not None}
    going_on = await desk.client.post(run_path(run, "continue"), given)
    if tail:
        return code_of(await follow(desk, going_on, told_to(desk.out)))
    if wait:
        going_on = await follow(desk, going_on, Silent(), until_paused=True)
    return show_started(desk.out, going_on, _name(run), is_over=wait)


def read_answers(given: list[str], run: Row) -> Row | None:
    """By the fields that the run asks for: what is no text is JSON, several choices are parted by commas. Raises
    Trouble."""
    kinds = {
        str(wanted["name"]): str(wanted.get("type") or "str")
        for asked in run.get("approval") or ()
        for wanted in asked.get("fields") or ()
    }
    values: Row = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or (kinds and name not in kinds):
            known = f"; it asks for {', '.join(kinds)}" if kinds else ""
            raise Trouble(f"--answer {text!r} must be FIELD=VALUE{known}", ExitCode.USAGE)
        values[name] = _value(value, kinds.get(name, "str"))
    return values or None


def _value(text: str, kind: str) -> Any:
    if kind == "list" and not text.startswith("["):
        return [part.strip() for part in text.split(",")]
    if kind.lower() not in _JSON_KINDS:
        return text
    return read_json("--answer", text.lower() if kind.lower().startswith("bool") else text)


@over_api
async def retry(
    desk: Desk,
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Id of the run; or say which with options.")
    ] = None,
    payload: PayloadText = None,
    message: Message = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="The payload stands in place of the run's; else it is merged into it.")
    ] = False,
    reason: Reason = None,
    wait: Wait = False,
    tail: Tail = False,
    failed: Annotated[bool, typer.Option("--failed", help="All that failed, timed out or were lost.")] = False,
    schedule: OfSchedule = None,
    since: Annotated[str | None, since_option("With --failed: first fire time.")] = None,
    until: Annotated[str | None, until_option("With --failed: first fire time that does not count.")] = None,
    yes: Yes = False,
) -> ExitCode | None:
    """Run a run again with the payload that it had, or many of those that failed."""
    if failed == (run is not None):
        raise Trouble("say which: the id of a run, or --failed with --since", ExitCode.USAGE)
    if run is None:
        if since is None or payload is not None or message is not None or wait or tail:
            message = "--failed needs --since, such as --since 24h, and goes without --payload, --wait and --tail"
            raise Trouble(message, ExitCode.USAGE)
        return await _retry_many(desk, schedule, times_of(since, until), reason, yes=yes)
    body: Row = {"payload": read_payload(payload, message), "reason": reason}
    body["payload_mode"] = "replace" if replace else None
    found = await find_run(desk.client, run)
    given = {name: value for name, value in body.items() if value is not None}
    made = await desk.client.post(run_path(found, "retry"), given or None, query={"wait": 0})
    if tail:
        return code_of(await follow(desk, made, told_to(desk.out)))
    if wait:
        made = await follow(desk, made, Silent(), until_paused=True)
    return show_started(desk.out, made, _name(found), is_over=wait)


async def _retry_many(
    desk: Desk, schedule: str | None, times: Row, reason: str | None, *, yes: bool
) -> ExitCode | None:
    """Every run that failed in that time."""
    of_one = await find_schedule(desk.client, schedule) if schedule else None
    query = {"status": [str(status) for status in UNSUCCESSFUL], "schedule_id": of_one and of_one["id"], **times}
    found = await desk.client.page("/runs", query, most=_MOST)
    rows, total = found["data"], found["meta"]["total_count"]
    if not rows:
        desk.out.note("Nothing failed: nothing is run again.")
        return None
    count = f"{len(rows):,} runs" if len(rows) == total else f"the newest {len(rows):,} of {total:,} runs"
    schedules = len({row["schedule_id"] for row in rows})
    confirm(f"Run {count} of {schedules:,} schedules again?", is_sure=yes)
    order: Row = {"runs": [{"schedule_id": row["schedule_id"], "run_id": row["id"]} for row in rows]}
    answer = await desk.client.post("/runs/bulk/retry", order | ({} if reason is None else {"reason": reason}))
    named = [{"id": row["id"], "name": f"{row.get('schedule_name')} {row['id']}"} for row in rows]
    return show_bulk(desk.out, named, answer, "runs again")


def _name(run: Row) -> str:
    return str(run.get("schedule_name") or run["schedule_id"])
