"""The agent runs of a FakeAgentOS: what they say, how they end, and who may still listen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

WORDS: Final = ("Good ", "morning.")
USAGE: Final = {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8}

_ENDINGS: Final = {"COMPLETED": "Completed", "ERROR": "Error", "PAUSED": "Paused", "CANCELLED": "Cancelled"}


class Behaviour(StrEnum):
    """How a FakeAgentOS takes one start of a run, or lets one go on after a pause. Its other routes tell what became
    of the run."""

    OK = "ok"
    TOOL = "tool"
    ERROR = "error"
    #: Asks a human whether it may spend money.
    PAUSE = "pause"
    OWN_IDS = "own_ids"
    #: Says that it has begun, then nothing until `say`, `finish`, a cancellation or the end of the server.
    HANG = "hang"
    #: The stream breaks off after the first words; the run ends well.
    DROP = "drop"
    #: Likewise, and the run is never heard of again.
    FORGET = "forget"
    #: 202 with ids and no stream; the run ends well.
    NO_STREAM = "no_stream"
    #: A stream of bytes that are no events, and no run.
    GARBAGE = "garbage"
    SERVER_ERROR = "server_error"
    #: 429 with Retry-After: 7.
    BUSY = "busy"
    #: 307 to another host.
    REDIRECT = "redirect"


@dataclass(slots=True, kw_only=True)
class FakeRun:
    """A run of a FakeAgentOS; `prefix` starts the names of its events.

    `events` is what a stream can still be resumed from; `is_hosted` False: the server was restarted since, nobody
    works on the run. `is_called_off`: told to stop while it waited, it will not go on.
    """

    run_id: str
    session_id: str
    prefix: str
    status: str = "RUNNING"
    answer: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    legs: int = 0
    is_hosted: bool = True
    is_called_off: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def usage(self) -> dict[str, int]:
        """Of all legs together, as AgentOS counts."""
        return {name: tokens * self.legs for name, tokens in USAGE.items()}

    @property
    def state(self) -> dict[str, Any]:
        ids = {"run_id": self.run_id, "session_id": self.session_id}
        return {**ids, "status": self.status, "metrics": self.usage, **self.answer}

    def say(self, name: str, **data: Any) -> None:
        """One more event; those of tools and steps have no prefix."""
        event = name if name.startswith(("Tool", "Step")) else self.prefix + name
        ids = {"run_id": self.run_id, "session_id": self.session_id}
        self.events.append({"event": event, **ids, "event_index": len(self.events), **data})
        self._tell()

    def end(self, status: str, **answer: Any) -> None:
        """The last event as well; a workflow that pauses says so of its step only."""
        self.status, self.answer = status, answer
        if status == "PAUSED" and self.prefix == "Workflow":
            self.say("StepPaused")
        elif status in _ENDINGS:
            said = {name: value for name, value in answer.items() if status != "PAUSED" or name != "metrics"}
            self.say(_ENDINGS[status], **said)
        if status == "CANCELLED":
            self.say("Completed", content="so far")
        self.over.set()
        self._tell()

    def complete(self) -> None:
        self.end("COMPLETED", content="".join(WORDS), content_type="str", metrics=self.usage)

    def pause(self) -> None:
        name = "step_requirements" if self.prefix == "Workflow" else "requirements"
        self.end("PAUSED", content="May I?", **{name: [self._question()]})

    def lose_host(self) -> None:
        """The server is restarted: what was only in memory is gone, and the state stays as it was stored."""
        self.is_hosted = False
        self.events.clear()
        self.over.set()
        self._tell()

    async def perform(self, behaviour: Behaviour) -> None:
        """One leg of the run, from its start or a human's answer to its next end."""
        self.legs += 1
        self.status, self.answer = "RUNNING", {}
        self.over.clear()
        self.say("Started" if self.legs == 1 else "Continued", model="model-1", model_provider="maker")
        self.say("Content", content=WORDS[0])
        match behaviour:
            case Behaviour.ERROR:
                self.end("ERROR", content="the model broke")
            case Behaviour.PAUSE:
                self.pause()
            case Behaviour.HANG:
                await self.over.wait()
            case Behaviour.TOOL:
                tool = {"tool_name": "clock", "tool_args": {}, "result": "noon"}
                self.say("ToolCallStarted", tool={**tool, "result": None})
                self.say("ToolCallCompleted", tool=tool)
                self.complete()
            case Behaviour.DROP | Behaviour.FORGET:
                self.complete()
            case _:
                self.say("Content", content=WORDS[1])
                self.complete()

    async def listen(self, after: int = -1) -> AsyncIterator[dict[str, Any]]:
        """The events with a greater number, until the run is over."""
        while True:
            for event in self.events[after + 1 :]:
                after = event["event_index"]
                yield event
            if self.over.is_set():
                return
            self._news.clear()
            await self._news.wait()

    def _question(self) -> dict[str, Any]:
        if self.prefix == "Workflow":
            return {"step_id": f"s{self.legs}", "step_name": "pay", "requires_confirmation": True, "confirmed": None}
        call = {"tool_call_id": f"t{self.legs}", "tool_name": "spend", "tool_args": {"amount": 1}}
        return {"id": f"r{self.legs}", "tool_execution": {**call, "requires_confirmation": True, "confirmed": None}}

    def _tell(self) -> None:
        self._news.set()


def frame(event: dict[str, Any]) -> bytes:
    return f"event: {event['event']}\ndata: {json.dumps(event)}\n\n".encode()
