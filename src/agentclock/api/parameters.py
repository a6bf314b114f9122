"""What several routes take, and how it is read."""

from __future__ import annotations

import re
from typing import Annotated, Final, TypeAlias

from fastapi import Path, Query

from agentclock.core.errors import InvalidField
from agentclock.core.model import SECOND, Instant
from agentclock.core.zones import Zone
from agentclock.timing import parse_instant

LONGEST_WAIT_SECONDS: Final = 300
#: Epoch times from here on (the year 5138 in seconds) are taken for milliseconds.
_MILLISECONDS_FROM: Final = 100_000_000_000

_WAIT: Final = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,9})", re.IGNORECASE)
_ASYNC: Final = re.compile(r"(?:^|[,;\s])respond-async(?:$|[,;\s])", re.IGNORECASE)
_ETAG: Final = re.compile(r'\s*(?:W/)?"([0-9]{1,18})"\s*')

ScheduleId: TypeAlias = Annotated[str, Path(description="Id of the schedule.")]
RunId: TypeAlias = Annotated[str, Path(description="Id of the run (`id`, not `run_id`).")]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=1000, description="Rows of a page.")]
PageNumber: TypeAlias = Annotated[int, Query(ge=1, description="Counted from 1; `cursor` is quicker far down.")]
Cursor: TypeAlias = Annotated[str | None, Query(max_length=512, description="next_cursor of the page before.")]
Time: TypeAlias = Annotated[
    str | None, Query(max_length=64, description="Fire time, ISO 8601 (UTC without an offset) or epoch seconds.")
]
Wait: TypeAlias = Annotated[
    float | None, Query(ge=0, le=LONGEST_WAIT_SECONDS, description="Seconds to wait for the run's end.")
]


def expected_version(if_match: str | None) -> int | None:
    """None: any. What is no version of ours matches none."""
    if if_match is None or if_match.strip() == "*":
        return None
    match = _ETAG.fullmatch(if_match)
    return int(match[1]) if match else 0


def preferred_wait(prefer: str | None, default: float) -> float:
    if match := _WAIT.search(prefer or ""):
        return min(float(match[1]), LONGEST_WAIT_SECONDS)
    return 0.0 if _ASYNC.search(prefer or "") else default


def read_instant(field: str, text: str | None) -> Instant | None:
    """Raises InvalidField."""
    if text is None:
        return None
    if text.isascii() and text.isdecimal():
        number = int(text)
        at = number if number >= _MILLISECONDS_FROM else number * SECOND
        if at > 2**48:
            raise InvalidField(field, "lies too far in the future")
        return at
    return parse_instant(field, text, Zone.load("UTC"))
