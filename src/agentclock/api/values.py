"""Single values as they are sent."""

from __future__ import annotations

import json
import math
import time
from typing import Final

from agentclock.core.instants import iso_utc
from agentclock.core.model import SECOND, Instant, Json
from agentclock.core.storable import PAYLOAD_DEPTH, is_deeper

_ELLIPSIS: Final = "…"


def presentable(value: Json) -> Json:
    """Stored JSON as it can be sent: what a target once answered must never break a list.

    Lone surrogates become "?", numbers that JSON lacks become null, what is nested too deep is cut.
    """
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return _repaired(value, PAYLOAD_DEPTH)
    return _repaired(value, PAYLOAD_DEPTH) if is_deeper(value, PAYLOAD_DEPTH) else value


def _repaired(value: Json, levels: int) -> Json:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {_repaired(k, 0): _repaired(v, levels - 1) for k, v in value.items()} if levels else _ELLIPSIS
        case list():
            return [_repaired(item, levels - 1) for item in value] if levels else _ELLIPSIS
        case _:
            return value


def epoch_seconds(at: Instant | None) -> int | None:
    return None if at is None else at // SECOND


def iso_or_null(at: Instant | None) -> str | None:
    return None if at is None else iso_utc(at)


def ms_since(began: float) -> float:
    """`began` by `time.perf_counter`."""
    return round((time.perf_counter() - began) * 1000, 3)
