"""Tokens that are refused: why, and what the log says of it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import structlog

from agentclock.core.errors import Unauthenticated
from agentclock.ports import Clock

WINDOW_SECONDS: Final = 60
#: Lines within a window, for one source and for all together; what goes beyond is not told.
LINES_OF_SOURCE: Final = 100
LINES_OF_ALL: Final = 1_000
_MOST_SOURCES: Final = 1_024


class Refusal(StrEnum):
    """Why a token is refused. For the log: whoever sent it is told nothing but that it is."""

    HEADER = "header"
    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    EXTENSION = "extension"
    ALGORITHM = "algorithm"
    UNKNOWN_KEY = "unknown_key"
    SIGNATURE = "signature"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    ISSUER = "issuer"
    AUDIENCE = "audience"
    CLAIMS = "claims"


class TokenRefused(Unauthenticated):
    is_wrong = True

    def __init__(self, refusal: Refusal) -> None:
        super().__init__("The token is not valid (any more)")
        self.refusal = refusal


@dataclass(slots=True)
class _Window:
    began_at: float
    refused: int = 0


class RefusalLog:
    """One line for each refused token, and an end to lines from whoever sends too many of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._of_all = _Window(clock.monotonic())
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    def note(self, error: TokenRefused, *, source: str | None, client: str) -> None:
        """`source`: the address. `client`: what counts as one source."""
        window = self._window_of(client)
        self._of_all = self._current(self._of_all)
        window.refused += 1
        if window.refused > LINES_OF_SOURCE or self._of_all.refused >= LINES_OF_ALL:
            return
        self._of_all.refused += 1
        is_last = window.refused == LINES_OF_SOURCE
        more = {"silent_seconds": WINDOW_SECONDS} if is_last else {}
        structlog.get_logger("agentclock.auth").warning(
            "token_refused", reason=str(error.refusal), source=source, **more
        )

    def _window_of(self, client: str) -> _Window:
        window = self._current(self._windows.pop(client, None))
        self._windows[client] = window
        if len(self._windows) > _MOST_SOURCES:
            self._windows.popitem(last=False)
        return window

    def _current(self, window: _Window | None) -> _Window:
        now = self._clock.monotonic()
        return window if window is not None and now - window.began_at < WINDOW_SECONDS else _Window(now)
