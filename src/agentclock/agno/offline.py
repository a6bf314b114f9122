"""A language model for demos and tests: an agno `Model` that needs no network and no key.

Towards agno it behaves as a small real model does: it streams its answer in deltas, calls a tool when one is
offered and uses the result, reports tokens, and can be slow or fail. The same conversation always gets the
same answer.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import re
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agno.exceptions import ModelProviderError
from agno.metrics import MessageMetrics
from agno.models.base import Model
from agno.models.message import Message
from agno.models.response import ModelResponse

_OPENERS: Final = ("Right on time!", "Freshly checked:", "Good news from the clock:", "Here you go:")
_CLOSERS: Final = ("Have a great one!", "More at the next tick.", "That is all for now.", "See you soon!")
_MEMBER: Final = re.compile(r'<member id="([^"]+)"')
_QUOTE_LENGTH: Final = 160
_RESULT_LENGTH: Final = 600
#: A slow answer still says something this often, so that agno notices a cancellation in time.
_LONGEST_PAUSE_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that the model is told to make."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class OfflineModel(Model):
    """Answers in words of its own, the first time in a turn with a tool call if a tool is offered.

    `delay_seconds` is the pause before each delta; `seconds`, if given, is how long the answer takes as a
    whole instead. `calls` are the tool calls of a turn, one after the other, before the answer: a list, or what a
    function makes of the question. `script` replaces the composed answer, delta by delta; with it only `calls` are
    made. `fail_with` lets the answer break off after its first delta with that message.
    """

    id: str = "offline"
    name: str | None = "Offline"
    provider: str | None = "agentclock"
    delay_seconds: float = 0.03
    seconds: float | None = None
    calls: Sequence[Call] | Callable[[str], Sequence[Call]] | None = None
    script: Sequence[str] = ()
    fail_with: str | None = None

    def invoke(self, *args: Any, **kwargs: Any) -> ModelResponse:
        return _joined(list(self.invoke_stream(*args, **kwargs)))

    async def ainvoke(self, *args: Any, **kwargs: Any) -> ModelResponse:
        return _joined([delta async for delta in self.ainvoke_stream(*args, **kwargs)])

    def invoke_stream(self, *args: Any, **kwargs: Any) -> Iterator[ModelResponse]:
        for pause_seconds, delta in self._deltas(*args, **kwargs):
            time.sleep(pause_seconds)
            yield delta

    async def ainvoke_stream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ModelResponse]:
        for pause_seconds, delta in self._deltas(*args, **kwargs):
            await asyncio.sleep(pause_seconds)
            yield delta

    def _parse_provider_response(self, response: Any, **_kwargs: Any) -> ModelResponse:
        """There is no provider: responses are agno's own from the start."""
        if not isinstance(response, ModelResponse):
            raise TypeError(f"expected a ModelResponse, got {type(response).__name__}")
        return response

    def _parse_provider_response_delta(self, response: Any) -> ModelResponse:
        return self._parse_provider_response(response)

    def _deltas(
        self,
        messages: list[Message],
        assistant_message: Message | None = None,
        tools: list[dict[str, Any]] | None = None,
        **_kwargs: Any,
    ) -> Iterator[tuple[float, ModelResponse]]:
        """What to send, each with the pause before it; the token count comes with the last delta."""
        turn = _Turn.of(messages)
        call = self._call(turn, tools or [])
        if call is not None:
            usage = _usage(messages, json.dumps(call))
            yield self.delay_seconds, ModelResponse(role="assistant", tool_calls=[call], response_usage=usage)
            return
        pieces, pause_seconds = self._paced(list(self.script) or _pieces(turn.answer()))
        usage = _usage(messages, "".join(pieces))
        last = len(pieces) - 1
        for n, piece in enumerate(pieces):
            text, tokens = (piece.rstrip(), usage) if n == last else (piece, None)
            yield pause_seconds, ModelResponse(role="assistant", content=text, response_usage=tokens)
            if self.fail_with is not None:
                raise ModelProviderError(message=self.fail_with, model_name=self.name, model_id=self.id)

    def _call(self, turn: _Turn, tools: list[dict[str, Any]]) -> dict[str, Any] | None:
        """The turn's next tool call, None when it is time to answer."""
        if self.calls is not None:
            told = self.calls(turn.question) if callable(self.calls) else self.calls
            made = len(turn.results)
            return turn.told_call(told[made]) if made < len(told) else None
        return turn.call(tools) if tools and not turn.results and not self.script else None

    def _paced(self, pieces: list[str]) -> tuple[list[str], float]:
        """The pieces to say, over and over if the answer has to last longer, and the pause before each."""
        if self.seconds is None:
            return pieces, self.delay_seconds
        count = max(len(pieces), math.ceil(self.seconds / _LONGEST_PAUSE_SECONDS))
        return list(itertools.islice(itertools.cycle(pieces), count)), self.seconds / count


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """The part of a conversation that waits for an answer: what was asked, and what the tools said since.

    `delegated`: a team member said it, so that it is an answer already.
    """

    question: str
    results: tuple[str, ...]
    delegated: bool
    members: tuple[str, ...]
    seed: int

    @classmethod
    def of(cls, messages: list[Message]) -> _Turn:
        asked = max((n for n, message in enumerate(messages) if message.role == "user"), default=0)
        question = messages[asked].get_content_string().strip() if messages else ""
        system = "".join(m.get_content_string() for m in messages if m.role in ("system", "developer"))
        told = [m for m in messages[asked + 1 :] if m.role == "tool"]
        return cls(
            question=question,
            results=tuple(m.get_content_string().strip() for m in told),
            delegated=any((m.tool_name or "").startswith("delegate") for m in told),
            members=tuple(_MEMBER.findall(system)),
            seed=zlib.crc32(f"{question}{len(messages)}".encode()),
        )

    def call(self, tools: list[dict[str, Any]]) -> dict[str, Any]:
        """A call of the tool whose name is closest to the question."""
        asked = set(re.findall(r"[a-z]+", self.question.lower()))
        functions = sorted((tool["function"] for tool in tools), key=lambda f: str(f["name"]))
        chosen = max(functions, key=lambda f: len(asked & set(str(f["name"]).lower().split("_"))))
        return self.told_call(Call(chosen["name"], self._arguments(chosen)))

    def told_call(self, call: Call) -> dict[str, Any]:
        """The call as agno takes it, with an id of its own in the conversation."""
        return {
            "id": f"call_{self.seed:08x}",
            "type": "function",
            "function": {"name": call.tool, "arguments": json.dumps(dict(call.arguments))},
        }

    def _arguments(self, function: dict[str, Any]) -> dict[str, Any]:
        """Values for what the tool requires; what is optional stays at the tool's own defaults."""
        schema = function.get("parameters") or {}
        properties = schema.get("properties") or {}
        required = schema.get("required") or ()
        return {name: self._argument(name, properties.get(name) or {}) for name in required}

    def _argument(self, name: str, schema: dict[str, Any]) -> Any:
        if name == "member_id" and self.members:
            return self.members[self.seed % len(self.members)]
        if schema.get("enum"):
            return schema["enum"][self.seed % len(schema["enum"])]
        values = {"integer": 1, "number": 1.0, "boolean": True, "array": [], "object": {}}
        return values.get(str(schema.get("type")), self.question)

    def answer(self) -> str:
        """Two or three short sentences around what the tools said, or around the question without any."""
        opener = _OPENERS[self.seed % len(_OPENERS)]
        closer = _CLOSERS[self.seed // len(_OPENERS) % len(_CLOSERS)]
        told = " ".join(_shortened(result, _RESULT_LENGTH) for result in self.results)
        if self.delegated:
            return f"The team reports: {told}"
        return f"{opener} {told or self._unaided()} {closer}"

    def _unaided(self) -> str:
        if not self.question:
            return "All quiet here."
        return f"I was told: “{_shortened(self.question, _QUOTE_LENGTH)}” Noted and done."


def _shortened(text: str, length: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= length else flat[: length - 1].rstrip() + "…"


def _pieces(text: str) -> list[str]:
    """The text word by word, each with the blank after it, also the last: the answer may start again."""
    return [f"{word} " for word in text.split()]


def _usage(messages: list[Message], answer: str) -> MessageMetrics:
    """Tokens by the rule of thumb of four characters each."""
    asked = sum(len(message.get_content_string()) for message in messages) // 4 + 1
    answered = len(answer) // 4 + 1
    return MessageMetrics(input_tokens=asked, output_tokens=answered, total_tokens=asked + answered)


def _joined(deltas: list[ModelResponse]) -> ModelResponse:
    """The whole answer of a call that does not stream."""
    whole = ModelResponse(role="assistant", response_usage=deltas[-1].response_usage)
    whole.content = "".join(delta.content for delta in deltas if delta.content) or None
    whole.tool_calls = [call for delta in deltas for call in delta.tool_calls]
    return whole
