"""The events of one agent run, passed on as they come: each exactly once, however often the stream breaks."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Final

from agentclock.core.model import Json, Outcome, OutcomeKind, TargetType
from agentclock.executor import agno_wire as wire
from agentclock.executor.agent_questions import Questions, json_object
from agentclock.executor.agno_usage import Tally
from agentclock.executor.blotting import DEPTH_LIMIT
from agentclock.executor.secrecy import Secrecy
from agentclock.executor.sse import SseDecoder, SseEvent
from agentclock.executor.supervision import Silence
from agentclock.executor.transport import Answer
from agentclock.executor.veil import Veil
from agentclock.ports import RunContext, Said

#: Without these in it, the strings in a text of JSON are what they look like, and its numbers are finite.
_NEEDS_CARE: Final = re.compile(r"\\|NaN|Infinity")


class Relay:
    """Reads the streams of one agent run, one after the other, and knows how the run ended.

    `ending`: the outcome that the events tell, None as long as they tell none. `nameless_error`: an error without a
    run, by which AgentOS says that it could not begin, or go on. `alive_at`: the loop's time at the last sign of life.
    `knows_ids` False: the first event of the run itself tells under which ids AgentOS runs it.
    """

    def __init__(
        self,
        component: TargetType,
        context: RunContext,
        questions: Questions,
        secrecy: Secrecy,
        silence: Silence,
        *,
        drain_seconds: float,
        knows_ids: bool,
    ) -> None:
        self._component = component
        self._context = context
        self._questions = questions
        self._secrecy = secrecy
        self._veil = Veil(context.emit)
        self._silence = silence
        self._drain_seconds = drain_seconds
        self._last_index = context.seen_index
        self._has_emitted = context.seen_index is not None
        self._garbage_seen = False
        self._is_resumed = self._is_live = self._may_repeat = False
        self._is_new_leg = self._fills_in = False
        self.knows_ids = knows_ids
        self.ending: Outcome | None = None
        self.nameless_error: str | None = None
        self.alive_at = asyncio.get_running_loop().time()
        self.tally = Tally()

    @property
    def last_index(self) -> int | None:
        """AgentOS's number of the last event that was passed on."""
        return self._last_index

    @property
    def has_begun_leg(self) -> bool:
        """Whether a continuation has said anything yet."""
        return self._fills_in and not self._is_new_leg

    def begin_leg(self) -> None:
        """What comes next is a continuation's own stream: all of it is new.

        AgentOS may count its events from 0 again (if it was restarted since). Where it streams without keeping a
        record it leaves numbers out: those are filled in.
        """
        self._is_new_leg = self._fills_in = True
        self.ending = self.nameless_error = None

    async def read(self, answer: Answer, *, patience_seconds: float | None, resumed: bool = False) -> None:
        """Until the end of the stream or of the run, or until nothing came for `patience_seconds`.

        `resumed`: AgentOS first says of the stream whether it is that of a run which goes on. Raises ConnectionBroken,
        NotHttp, and LeaseLost when the run belongs to somebody else by now.
        """
        loop, decoder = asyncio.get_running_loop(), SseDecoder()
        self._is_resumed, self._is_live = resumed, not resumed
        self._may_repeat = resumed and self._has_emitted
        ends_at: float | None = None
        unread = 0
        while True:
            if self.ending is None:
                ends_at = None if patience_seconds is None else loop.time() + patience_seconds
            try:
                async with asyncio.timeout_at(ends_at):
                    piece = await answer.piece()
            except TimeoutError:
                return
            was_open = self.ending is None
            events = list(decoder.feed(piece))
            if decoder.oversized > unread:
                # What is missing from the record is on record as well. Its pieces came before those of these events.
                self._pass_on(Said(type="cut", data={"events": decoder.oversized - unread}))
                unread = decoder.oversized
            for event in events:
                await self._take(event)
            if was_open and self.ending is not None:
                # AgentOS closes the stream once the run is stored: then whoever reads our outcome finds it there too.
                ends_at = loop.time() + self._drain_seconds
            if self._is_live:
                self.alive_at = loop.time()
            if not piece:
                if decoder.oversized:
                    self._questions.went_wrong("events_too_big", f"{decoder.oversized} events were too big to be read")
                return

    def close(self) -> None:
        """Nothing more will be heard: what was held back is passed on."""
        is_end = self.ending is not None and self.ending.kind is not OutcomeKind.PAUSED
        self._veil.flush(self._secrecy.blotter, is_end=is_end)

    async def learn_ids(self, data: dict[str, Json]) -> bool:
        """AgentOS may give the run ids of its own choice: those are the ones that count, unless they tell secrets."""
        run_id, session_id = wire.usable_id(data.get("run_id")), data.get("session_id")
        hides = self._secrecy.blotter.hides
        if run_id is None or hides(run_id):
            return False
        self._questions.run_id = run_id
        if isinstance(session_id, str) and session_id and not hides(session_id):
            self._questions.session_id = session_id
        self.knows_ids = True
        await self._context.note_agent_run(run_id, self._questions.session_id)
        return True

    async def _take(self, event: SseEvent) -> None:
        data = json_object(event.data)
        if not data:
            if not self._garbage_seen:  # a stream of garbage must not become a log of garbage
                self._questions.went_wrong("garbage_event", f"event {event.type!r} carries no JSON object")
            self._garbage_seen = True
            return
        named = data.get("event")
        event_type = named if isinstance(named, str) and named else event.type
        if wire.is_echo(event_type) or (self._is_resumed and self._is_about_stream(event_type, data)):
            return
        if not self.knows_ids and not wire.is_nested(data):
            await self.learn_ids(data)
        is_own = data.get("run_id") == self._questions.run_id
        is_afterthought = self._note_ending(event_type, data, is_own=is_own)
        index = self._index_of(data)
        if self._is_new(index) and not is_afterthought:
            self.tally.hear(event_type, data, own=is_own)
            self._emit(event_type, data, index, event.data)
        if self.ending is not None:
            self.close()

    def _is_about_stream(self, event_type: str, data: dict[str, Json]) -> bool:
        if wire.is_meta(event_type):
            self._is_live = wire.promises_more(event_type)
            return True
        if event_type == "error":
            self._questions.went_wrong("not_resumed", f"AgentOS could not resume: {wire.error_text(data)}")
            return True
        return False

    def _note_ending(self, event_type: str, data: dict[str, Json], *, is_own: bool) -> bool:
        """Remembers how the run ends; answers whether this is but another ending of a run that had ended.

        A pause is an ending as long as nothing follows it. AgentOS lets RunCompleted follow RunCancelled.
        """
        kind = wire.ending_of(self._component, event_type)
        if is_own:
            waits = self.ending is not None and self.ending.kind is OutcomeKind.PAUSED
            if waits or wire.goes_on(event_type):
                self.ending = None
            if kind is None:
                return False
            is_afterthought = self.ending is not None
            self.ending = self.ending or wire.outcome_of_event(kind, data)
            return is_afterthought
        if data.get("run_id") is None and (kind is OutcomeKind.FAILED or event_type == "error"):
            # A step within may have failed as well, so this ends nothing by itself.
            self.nameless_error = wire.error_text(data)
        return False

    def _index_of(self, data: dict[str, Json]) -> int | None:
        index = wire.index_of(data)
        if index is None and self._fills_in and data.get("run_id") is not None:
            index = 0 if self._last_index is None else self._last_index + 1
        if self._is_new_leg and index is not None:
            self._is_new_leg = False
            if self._last_index is not None and index <= self._last_index:
                self._last_index = None
        return index

    def _is_new(self, index: int | None) -> bool:
        """An event without a number that comes again cannot be told from a new one; it will have come before."""
        if index is None:
            return not self._may_repeat
        if self._last_index is not None and index <= self._last_index:
            return False
        self._last_index = index
        return True

    def _emit(self, event_type: str, data: dict[str, Json], index: int | None, raw: str) -> None:
        blotter, streamed = self._secrecy.blotter, wire.streamed_texts(event_type, data)
        if blotter.hides(event_type):
            event_type = blotter.text(event_type)
        if _NEEDS_CARE.search(raw) or raw.count("{") + raw.count("[") > DEPTH_LIMIT or blotter.hides(raw):
            # What comes in pieces is looked at as a whole.
            data = {**blotter.json({**data, **dict.fromkeys(streamed)}), **{name: data[name] for name in streamed}}
        self._has_emitted = True
        self._silence.heard()
        said = Said(
            type=event_type,
            data=data,
            index=index,
            is_text=wire.is_text(event_type, data),
            speaker=wire.speaker_of(data),
        )
        self._pass_on(said, streamed)

    def _pass_on(self, said: Said, streamed: Sequence[str] = ()) -> None:
        self._veil.pass_on(said, streamed, self._secrecy.blotter)
