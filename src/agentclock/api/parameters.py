"""What several routes take, and how it is read."""

from __future__ import annotations

import re
from typing import Annotated, Final, TypeAlias

from fastapi import Path, Query

from agentclock.core.model import Instant
from agentclock.timing import read_time

LONGEST_WAIT_SECONDS: Final = 300

_WAIT: Final = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,9})", re.IGNORECASE)
_ASYNC: Final = re.compile(r"(?:^|[,;\s])respond-async(?:$|[,;\s])", re.IGNORECASE)
_ETAG: Final = re.compile(r'\s*(?:W/)?"([0-9]{1,18})"\s*')

ScheduleId: TypeAlias = Annotated[str, Path(description="Id of the schedule.")]
RunId: TypeAlias = Annotated[str, Path(description="Id of the run (`id`, not `run_id`).")]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=1000, description="Rows of a page.")]
PageNumber: TypeAlias = Annotated[int, Query(ge=1, description="Counted from 1; `cursor` is quicker far down.")]
Cursor: TypeAlias = Annotated[str | None, Query(max_length=512, description="next_cursor of the page before.")]
Name: TypeAlias = Annotated[str, Path(max_length=255, description="Name of the schedule.")]
TargetName: TypeAlias = Annotated[str, Path(max_length=255, description="Name of the target.")]
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
    return None if text is None else read_time(field, text)
