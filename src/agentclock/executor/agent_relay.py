"""The events of one agent run, passed on as they come: each exactly once, however often the stream breaks."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from agentclock.core.model import Json, Outcome, OutcomeKind, TargetType
from agentclock.executor import agno_wire as wire
from agentclock.executor.agent_questions import Questions, json_object
from agentclock.executor.agno_usage import Tally
from agentclock.executor.outcomes import DEPTH_LIMIT, Blotter
from agentclock.executor.sse import SseDecoder, SseEvent
from agentclock.executor.supervision import Silence
from agentclock.executor.transport import Answer
from agentclock.ports import RunContext, Said

#: In a text without these, JSON strings are what they look like and numbers are finite.
_NEEDS_CARE: Final = re.compile(r"\\|NaN|Infinity")


class Relay:
    """Reads the streams of one agent run, one after the other, and knows how the run ended.

    `ending`: the outcome that the events tell, None as long as they tell none. `nameless_error`: an error without a
    run, by which AgentOS says that it could not begin, or go on. `alive_at`: the loop's time at the last sign of life.
    """

    def __init__(
        self,
        component: TargetType,
        context: RunContext,
        questions: Questions,
        blotter: Blotter,
        silence: Silence,
        *,
        drain_seconds: float,
    ) -> None:
        self._component = component
        self._context = context
        self._questions = questions
        self._blotter = blotter
        self._silence = silence
        self._drain_seconds = drain_seconds
        self._log = structlog.get_logger("agentclock.executor").bind(run=context.claim.run.id)
        self._garbage_seen = False
        self._is_new_leg = False
        self._counts_itself = False
        self.last_index = context.seen_index
        self.has_emitted = context.seen_index is not None
        self.ending: Outcome | None = None
        self.nameless_error: str | None = None
        self.alive_at = asyncio.get_running_loop().time()
        self.tally = Tally()

    def begin_leg(self) -> None:
        """What comes next is a continuation's own stream: all of it is new.

        AgentOS may count its events from 0 again (it was restarted since), and leaves numbers out where it streams
        without keeping a record; then they are filled in.
        """
        self._is_new_leg = self._counts_itself = True
        self.ending = self.nameless_error = None

    async def read(
        self,
        answer: Answer,
        *,
        patience_seconds: float | None,
        learn: Callable[[dict[str, Json]], Awaitable[object]] | None = None,
    ) -> None:
        """Until the end of the stream, of the run, or (after `patience_seconds` of silence) of hope.

        `learn` gets events of the run itself, as long as it answers nothing. Raises ConnectionBroken and NotHttp.
        """
        decoder, loop, ends_at = SseDecoder(), asyncio.get_running_loop(), None
        while True:
            if self.ending is None:
                ends_at = None if patience_seconds is None else loop.time() + patience_seconds
            try:
                async with asyncio.timeout_at(ends_at):
                    piece = await answer.piece()
            except TimeoutError:
                return
            self.alive_at = loop.time()
            for event in decoder.feed(piece):
                data = self._parsed(event)
                if data and learn is not None and not wire.is_nested(data) and await learn(data):
                    learn = None
                self.take(event, data)
                if self.ending is not None:
                    # AgentOS closes the stream once the run is stored: then whoever reads our outcome finds it there.
                    ends_at = loop.time() + self._drain_seconds
            if not piece:
                if decoder.oversized:
                    self._questions.went_wrong("events_too_big", f"{decoder.oversized} events were too big to be read")
                return

    async def catch_up(self, answer: Answer, *, patience_seconds: float | None) -> bool:
        """Reads a resumed stream likewise; answers whether it was that of a run which goes on."""
        alive_before = self.alive_at
        stream = _Resumed(self, answer)
        await self.read(stream, patience_seconds=patience_seconds)
        return self.alive_at != alive_before

    def take(self, event: SseEvent, data: dict[str, Json]) -> None:
        raise NotImplementedError
