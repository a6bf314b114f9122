"""A run as it goes on: the agent's words as they come, its tool calls, and what becomes of it."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import Any, Final, Protocol

from agentclock.cli.client import ExitCode, Row, Trouble
from agentclock.cli.desk import Desk
from agentclock.cli.finding import run_path
from agentclock.cli.marks import FINAL, mark_of
from agentclock.cli.moments import clock, lasted
from agentclock.cli.output import Output, one_line, to_json
from agentclock.cli.wording import answer_of

_TEXTS: Final = frozenset({"RunContent", "TeamRunContent", "RunIntermediateContent", "TeamRunIntermediateContent"})
_ARGS_LENGTH: Final = 200
_RESULT_LENGTH: Final = 200


class Listener(Protocol):
    """What is told of a run. Real: Silent, Lines (JSON), Teller."""

    def hear(self, kind: str, event_id: str, data: Row) -> None: ...

    def end(self, run: Row) -> None:
        """How it ended."""


async def follow(desk: Desk, run: Row, listener: Listener, *, until_paused: bool = False) -> Row:
    """The run as it ended, or, with `until_paused`, as it waits for a person. Connections may break and servers may be
    started again meanwhile. Raises Trouble."""

    def when_away(trouble: Trouble) -> None:
        desk.out.note(f"({trouble}; coming back)", style="yellow")

    async with aclosing(desk.client.events(run_path(run, "events"), when_away=when_away)) as events:
        async for event in events:
            data = json.loads(event.data)
            listener.hear(event.type, event.id, data)
            is_paused = event.type == "status" and data["status"] == "paused"
            if event.type == "end" or (until_paused and is_paused):
                found: Row = data
                return found
    found = await desk.client.get(run_path(run))
    listener.hear("end", "", found)
    return found


def code_of(run: Row) -> ExitCode:
    return ExitCode.OK if run["status"] == "success" else ExitCode.FAILED


def told_to(out: Output, name: str | None = None) -> Listener:
    """`name`: of the schedule, where it is not plain whose run it is."""
    return Lines(out) if out.as_json else Teller(out, name)


class Silent:
    def hear(self, kind: str, event_id: str, data: Row) -> None:
        """Nothing is shown."""

    def end(self, run: Row) -> None:
        """Nothing is shown."""


class Lines:
    """One JSON object a line: the event's name, its id and its data."""

    def __init__(self, out: Output) -> None:
        self._out = out

    def hear(self, kind: str, event_id: str, data: Row) -> None:
        self._out.json({"event": kind, "id": event_id or None, "data": data}, indent=None)

    def end(self, run: Row) -> None:
        self.hear("end", "", run)


class Teller:
    """For people: text as it comes, everything else on lines of its own."""

    def __init__(self, out: Output, name: str | None = None) -> None:
        self._out = out
        self._name = name
        self._is_mid_line = False
        self._has_spoken = False
        self._speaker = ""
        self._state: tuple[Any, ...] = ()

    def hear(self, kind: str, event_id: str, data: Row) -> None:
        match kind:
            case "status":
                self._say_state(data)
            case "end":
                self.end(data)
            case "cut":
                missing = data.get("events_missing")
                self._mark(f"({missing or 'some'} earlier events are no longer kept)", "yellow")
            case "trouble":
                self._mark(f"({data.get('detail')})", "yellow")
            case "attempt":
                self._say_attempt(data)
            case _:
                self._hear_agent(kind, data.get("data"))

    def end(self, run: Row) -> None:
        if not self._has_spoken and (text := answer_of(run.get("output"))):
            self._speak(text)
        took = lasted(run.get("duration_ms"))
        why = run.get("error") or run.get("reason")
        parts = (str(run["status"]), f"after {took}" if took else "", f": {why}" if why else "")
        mark = mark_of(run["status"])
        self._mark(f"{mark.shape} {' '.join(filter(None, parts[:2]))}{parts[2]}", mark.style)
        if run["status"] == "paused":
            self._say_questions(run)

    def _say_state(self, run: Row) -> None:
        """When it is news: whoever comes back is told again. Of a run that is over the events come first."""
        state = (run["status"], run["attempt"], run.get("available_at"))
        if state == self._state or run["status"] in FINAL:
            return
        self._state = state
        mark = mark_of(run["status"])
        again = run.get("available_at") if run["status"] == "pending" and run["attempt"] else None
        later = f", attempt {run['attempt'] + 1} at {clock(again)}" if again else ""
        self._mark(f"{mark.shape} {run['status']}{later}{f'  {self._name}' if self._name else ''}", mark.style)
        if run["status"] == "paused":
            self._say_questions(run)

    def _say_attempt(self, data: Row) -> None:
        number = (data.get("data") or {}).get("number", data.get("attempt"))
        self._has_spoken = False
        if number != 1:
            self._mark(f"attempt {number}", "bold")

    def _say_questions(self, run: Row) -> None:
        for line in questions(run):
            self._mark(line, "magenta")
        self._mark(f"  agentclock runs approve {run['id']}    or: agentclock runs reject {run['id']}", "bright_black")

    def _hear_agent(self, kind: str, data: Any) -> None:
        if not isinstance(data, dict):
            return
        if kind in _TEXTS and isinstance(data.get("content"), str):
            self._name_speaker(data)
            self._speak(data["content"])
        elif kind.endswith(("ToolCallStarted", "ToolCallCompleted", "ToolCallError")):
            self._mark(_tool_line(kind, data), "cyan")
        elif kind == "StepStarted":
            self._mark(f"# {one_line(str(data.get('step_name') or 'step'))}", "bold")
        elif kind.endswith(("RunError", "WorkflowError", "StepError")):
            self._mark(f"✗ {one_line(str(data.get('error') or data.get('content') or kind))}", "red")

    def _name_speaker(self, data: Row) -> None:
        """Where several speak, which of them it is."""
        speaker = one_line(str(data.get("agent_name") or data.get("team_name") or ""))
        if self._speaker and speaker and speaker != self._speaker:
            self._mark(f"[{speaker}]", "bold")
        self._speaker = speaker or self._speaker

    def _speak(self, text: str) -> None:
        if text:
            self._out.write(text)
            self._has_spoken, self._is_mid_line = True, not text.endswith("\n")

    def _mark(self, line: str, style: str) -> None:
        if self._is_mid_line:
            self._out.write("\n")
        self._is_mid_line = False
        self._out.say(line, style=style)


def _tool_line(kind: str, data: Row) -> str:
    """`→ search(query="clocks")`, then `← search: what came of it`."""
    given = data.get("tool")
    tool: Row = given if isinstance(given, dict) else {}
    name = one_line(str(tool.get("tool_name") or "a tool"))
    if kind.endswith("Started"):
        args = tool.get("tool_args")
        pairs = args.items() if isinstance(args, dict) else ()
        shown = ", ".join(f"{key}={to_json(value, indent=None)}" for key, value in pairs)
        return f"→ {name}({one_line(shown, _ARGS_LENGTH)})"
    result = data.get("error") if kind.endswith("Error") else tool.get("result") or data.get("content")
    return f"{'✗' if kind.endswith('Error') else '←'} {name}: {one_line(str(result or ''), _RESULT_LENGTH)}"


def questions(run: Row) -> list[str]:
    """What a paused run waits for, one line each."""
    lines = []
    for asked in run.get("approval") or ():
        args = f" {one_line(to_json(asked['args'], indent=None), _ARGS_LENGTH)}" if asked.get("args") else ""
        message = f": {one_line(str(asked['message']))}" if asked.get("message") else ""
        lines.append(f"  {asked['kind']} of {one_line(str(asked['tool']))}{args}{message}")
        for wanted in asked.get("fields") or ():
            choices = f", one of {', '.join(map(str, wanted['choices']))}" if wanted.get("choices") else ""
            lines.append(f"    --answer {one_line(str(wanted['name']))}=...  ({wanted.get('type') or 'str'}{choices})")
    due = f" until {clock(run['approval_due_at'])}" if run.get("approval_due_at") else ""
    return [f"  waits for a person{due}", *lines]
