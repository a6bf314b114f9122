"""What an agent says piece by piece, passed on without a piece of a secret in it, however it was cut up."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from agentclock.core.model import Json
from agentclock.executor.blotting import HIDDEN, SHORTEST_SECRET, Blotter, Span, storable
from agentclock.ports import Said

#: An event is held back no longer: what follows is too late to be of the same word.
HOLD_SECONDS: Final = 0.5

#: Nor are more of them, or more characters of their text.
_HELD_LIMIT: Final = 1_000
_TEXT_LIMIT: Final = 1_000_000


class Veil:
    """Passes events on to `emit`, in their order. One whose text ends like a secret begins is held back, and those
    after it are, until it is clear what it is: the next piece tells, or `flush`, or the time.

    When time is up, what looks like the beginning of a secret is hidden if it is SHORTEST_SECRET characters or more.
    Should the secret go on all the same, the rest of it is hidden as well.
    """

    def __init__(self, emit: Callable[[Said], None], *, hold_seconds: float = HOLD_SECONDS) -> None:
        self._emit = emit
        self._hold_seconds = hold_seconds
        self._held: deque[_Held] = deque()
        self._threads: dict[tuple[str, str | None, str], _Thread] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._length = 0

    def pass_on(self, said: Said, texts: Sequence[str], blotter: Blotter) -> None:
        """`texts`: names of those fields of its data, of texts as they came, that go on in later events of its kind."""
        loop = asyncio.get_running_loop()
        held = _Held(said, loop.time())
        self._held.append(held)
        for name in texts:
            thread = self._threads.setdefault((said.type, said.speaker, name), _Thread())
            thread.add(_Piece(held, name, said.data[name]), blotter)
            self._length += len(said.data[name])
        self._let_go()
        if len(self._held) > _HELD_LIMIT or self._length > _TEXT_LIMIT:
            self.flush(blotter)
        if self._held and self._timer is None:
            self._timer = loop.call_later(self._hold_seconds, self._look, blotter)

    def flush(self, blotter: Blotter, *, is_end: bool = False) -> None:
        """Passes on all that is held back. `is_end`: nothing more will be said, so no secret can have begun."""
        for thread in self._threads.values():
            thread.close(blotter, is_end=is_end)
        self._let_go()

    def _look(self, blotter: Blotter) -> None:
        """Time is up for the oldest event, if it is still the one that was waited for."""
        self._timer = None
        loop = asyncio.get_running_loop()
        if self._held and loop.time() >= (due_at := self._held[0].since + self._hold_seconds):
            self.flush(blotter)
        elif self._held:
            self._timer = loop.call_at(due_at, self._look, blotter)

    def _let_go(self) -> None:
        while self._held and not self._held[0].undecided:
            self._emit(self._held.popleft().said)
        if not self._held:
            self._length = 0
            self._threads = {key: thread for key, thread in self._threads.items() if thread.has_begun}
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None


@dataclass(slots=True)
class _Held:
    """`undecided`: how many of its texts may still turn out to hold a piece of a secret."""

    said: Said
    since: float
    undecided: int = 0

    def decide(self, name: str, text: str) -> None:
        if text != self.said.data[name]:
            data: dict[str, Json] = {**self.said.data, name: text}
            self.said = replace(self.said, data=data)
        self.undecided -= 1


@dataclass(slots=True)
class _Piece:
    held: _Held
    name: str
    text: str


@dataclass(slots=True)
class _Thread:
    """One text that comes in pieces. `past`: the end of what was passed on already, if a secret may have begun there;
    `past_is_hidden`: that it was blotted out."""

    pieces: list[_Piece] = field(default_factory=list)
    past: str = ""
    past_is_hidden: bool = False

    @property
    def has_begun(self) -> bool:
        return bool(self.past or self.pieces)

    def add(self, piece: _Piece, blotter: Blotter) -> None:
        piece.held.undecided += 1
        self.pieces.append(piece)
        text, spans = self._read(blotter)
        withheld, begun = blotter.undecided_from(text)
        for start, end in spans:
            if start < withheld < end:
                withheld = start
        length = self._settle(spans, withheld if withheld < len(text) else None)
        if length:
            self.past, self.past_is_hidden = text[begun:length], False

    def close(self, blotter: Blotter, *, is_end: bool) -> None:
        """Decides on all pieces."""
        if not self.pieces:
            return
        text, spans = self._read(blotter)
        start = len(text) if is_end else blotter.undecided_from(text)[1]
        past, hides = text[start:], len(text) - start >= SHORTEST_SECRET
        if hides:
            spans = [*(span for span in spans if span[1] <= start), (start, len(text))]
        self._settle(spans, None)
        self.past, self.past_is_hidden = past, hides

    def _read(self, blotter: Blotter) -> tuple[str, list[Span]]:
        text = self.past + "".join(piece.text for piece in self.pieces)
        return text, blotter.spans(text)

    def _settle(self, spans: list[Span], undecided: int | None) -> int:
        """Decides on the pieces that end before `undecided`, None: on all. Answers where the last of them ends, 0 if
        there was none."""
        first = begin = len(self.past)
        while self.pieces:
            piece = self.pieces[0]
            end = begin + len(piece.text)
            if undecided is not None and end > undecided:
                break
            shown = _shown(piece.text, begin, spans, is_marked=begin > first or self.past_is_hidden)
            piece.held.decide(piece.name, storable(shown))
            del self.pieces[0]
            begin = end
        if begin == first:
            return 0
        if self.pieces:
            # What is left of a secret that ends here was marked where it began.
            rest = max((till - begin for start, till in spans if start < begin < till), default=0)
            self.pieces[0].text = self.pieces[0].text[rest:]
        return begin


def _shown(text: str, begin: int, spans: Sequence[Span], *, is_marked: bool) -> str:
    """`text`, which begins at `begin` of the whole, without `spans` of the whole. `is_marked`: of a secret that began
    before it has been said already that it is hidden."""
    pieces, read, end = [], 0, begin + len(text)
    for start, till in spans:
        if till <= begin or start >= end:
            continue
        pieces.append(text[read : max(start - begin, 0)])
        if start >= begin or not is_marked:
            pieces.append(HIDDEN)
        read = min(till, end) - begin
    pieces.append(text[read:])
    return "".join(pieces)
