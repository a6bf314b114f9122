"""Between stored rows and the model, for both databases.

A row is a sequence of values in the order of its `*_COLUMNS`; instants are ints (epoch milliseconds) and JSON is text
by the time it gets here. JSON is written as pure ASCII, so that neither NUL nor a lone surrogate can break a
database; other text has such characters replaced.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import lru_cache
from types import NoneType
from typing import Any, Final

from agentclock.core.errors import CorruptRow
from agentclock.core.lifecycle import Settlement
from agentclock.core.model import (
    Attempt,
    CatchUp,
    Cause,
    Json,
    Overlap,
    Reason,
    RetryBackoff,
    RetryPolicy,
    Run,
    RunStatus,
    Schedule,
    Target,
)
from agentclock.ports import WorkerInfo, WorkerRow
from agentclock.store.building import builder

#: Made once: `json.dumps` and `json.loads` would look at their options for every value.
_TO_JSON: Final = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_FROM_JSON: Final = json.JSONDecoder().decode


def encode_json(value: Json) -> str | None:
    """JSON text, None for None. Infinite and undefined numbers, which JSON lacks, become strings.

    Raises TypeError for what is not JSON.
    """
    if value is None:
        return None
    try:
        return _TO_JSON(value)
    except ValueError:
        return _TO_JSON(_finite(value))


def clean_text(value: str | None) -> str | None:
    """`value` with the characters replaced that no database stores: NUL and lone surrogates."""
    if value is None or (value.isascii() and "\0" not in value):
        return value
    return value.replace("\0", "�").encode("utf-8", "replace").decode()


def _finite(value: Json) -> Json:
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case dict():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
        case _:
            return value


@dataclass(frozen=True, slots=True)
class Column:
    """What a stored value's type may be, and what turns it into the model's value (never called for None)."""

    types: frozenset[type]
    convert: Callable[[Any], Any] | None = None

    @property
    def optional(self) -> Column:
        return replace(self, types=self.types | {NoneType})


def _json_list_of_text(value: str) -> tuple[str, ...]:
    if value == "[]":
        return ()
    found = _FROM_JSON(value)
    if isinstance(found, list) and all(isinstance(item, str) for item in found):
        return tuple(found)
    raise ValueError("expected a JSON list of strings")


class _Words(dict[Any, Any]):
    """What each stored word stands for; to look one up is the whole conversion."""

    def __missing__(self, word: Any) -> Any:
        raise ValueError(f"{word!r:.40} is none of {', '.join(map(str, self))}")


def _word(words: type[StrEnum]) -> Column:
    return Column(frozenset({str}), _Words({word.value: word for word in words}).__getitem__)


_TYPE_NAMES: Final = {str: "text", int: "a whole number", bool: "a truth value", NoneType: "nothing"}

_TEXT: Final = Column(frozenset({str}))
_INTEGER: Final = Column(frozenset({int}))
_BOOLEAN: Final = Column(frozenset({int, bool}), _Words({0: False, 1: True}).__getitem__)
_JSON: Final = Column(frozenset({str, NoneType}), _FROM_JSON)
_TAGS: Final = Column(frozenset({str}), _json_list_of_text)

_SCHEDULE: Final[dict[str, Column]] = {
    "id": _TEXT,
    "name": _TEXT,
    "description": _TEXT.optional,
    "user_id": _TEXT.optional,
    "target": _TEXT,
    "method": _TEXT,
    "endpoint": _TEXT,
    "payload": _JSON,
    "cron_expr": _TEXT.optional,
    "run_at": _INTEGER.optional,
    "interval_seconds": _INTEGER.optional,
    "anchor_at": _INTEGER.optional,
    "timezone": _TEXT,
    "start_at": _INTEGER.optional,
    "end_at": _INTEGER.optional,
    "max_runs": _INTEGER.optional,
    "jitter_seconds": _INTEGER,
    "overlap": _word(Overlap),
    "catch_up": _word(CatchUp),
    "catch_up_window_seconds": _INTEGER,
    "misfire_grace_seconds": _INTEGER,
    "timeout_seconds": _INTEGER,
    "max_retries": _INTEGER,
    "retry_delay_seconds": _INTEGER,
    "retry_backoff": _word(RetryBackoff),
    "retry_max_delay_seconds": _INTEGER,
    "tags": _TAGS,
    "enabled": _BOOLEAN,
    "disabled_reason": _TEXT.optional,
    "managed_by": _TEXT.optional,
    "next_fire_at": _INTEGER.optional,
    "last_fire_at": _INTEGER.optional,
    "run_count": _INTEGER,
    "timetable_since": _INTEGER,
    "zone_data_version": _TEXT.optional,
    "version": _INTEGER,
    "created_at": _INTEGER,
    "updated_at": _INTEGER.optional,
}

_RUN: Final[dict[str, Column]] = {
    "id": _TEXT,
    "schedule_id": _TEXT,
    "user_id": _TEXT.optional,
    "cause": _word(Cause),
    "fire_at": _INTEGER,
    "last_fire_at": _INTEGER.optional,
    "fire_count": _INTEGER,
    "status": _word(RunStatus),
    "reason": _word(Reason).optional,
    "attempt": _INTEGER,
    "refusals": _INTEGER,
    "available_at": _INTEGER.optional,
    "worker_id": _TEXT.optional,
    "worker": _TEXT.optional,
    "fence": _INTEGER,
    "cancel_requested": _BOOLEAN,
    "created_at": _INTEGER,
    "started_at": _INTEGER.optional,
    "completed_at": _INTEGER.optional,
    "status_code": _INTEGER.optional,
    "agent_run_id": _TEXT.optional,
    "session_id": _TEXT.optional,
    "error": _TEXT.optional,
    "input": _JSON,
    "output": _JSON,
    "requirements": _JSON,
    "metrics": _JSON,
}

_ATTEMPT: Final[dict[str, Column]] = {
    "run_id": _TEXT,
    "number": _INTEGER,
    "status": _word(RunStatus),
    "worker": _TEXT.optional,
    "started_at": _INTEGER,
    "completed_at": _INTEGER.optional,
    "status_code": _INTEGER.optional,
    "agent_run_id": _TEXT.optional,
    "error": _TEXT.optional,
}

_WORKER: Final[dict[str, Column]] = {
    "id": _TEXT,
    "name": _TEXT,
    "app_version": _TEXT,
    "started_at": _INTEGER,
    "lease_until": _INTEGER,
}

_TABLES: Final = {"schedules": _SCHEDULE, "runs": _RUN, "attempts": _ATTEMPT, "workers": _WORKER}
_CONVERSIONS: Final = {
    table: [(place, column.convert) for place, column in enumerate(columns.values()) if column.convert is not None]
    for table, columns in _TABLES.items()
}

#: The columns that the codec reads and writes, in order. `schedules` has `deleted_at` besides.
SCHEDULE_COLUMNS: Final = tuple(_SCHEDULE)
RUN_COLUMNS: Final = tuple(_RUN)
ATTEMPT_COLUMNS: Final = tuple(_ATTEMPT)
WORKER_COLUMNS: Final = tuple(_WORKER)


_schedule: Final = builder(Schedule)
_target: Final = builder(Target)
_retry: Final = builder(RetryPolicy)
_run: Final = builder(Run)
_attempt: Final = builder(Attempt)


def _columns_of(part: type[Any], first: str) -> slice:
    """Where the columns of a schedule's part stand."""
    start = SCHEDULE_COLUMNS.index(first)
    return slice(start, start + len(fields(part)))


_TARGET: Final = _columns_of(Target, "target")
_RETRY: Final = _columns_of(RetryPolicy, "max_retries")


def decode_schedule(row: Sequence[Any]) -> Schedule:
    """Like all of these, it takes no notice of further values in `row`. Raises CorruptRow."""
    values = _decode("schedules", row[0], row)
    values[_RETRY] = [_retry(values[_RETRY])]
    values[_TARGET] = [_target(values[_TARGET])]
    return _schedule(values)


def decode_run(row: Sequence[Any], change: Callable[[list[Any]], None] | None = None) -> Run:
    """`change` is given the values that were read, in the order of RUN_COLUMNS, to put in those that are about to be
    written. Raises CorruptRow."""
    values = _decode("runs", row[0], row)
    if change is not None:
        change(values)
    return _run(values)


def decode_attempt(row: Sequence[Any]) -> Attempt:
    """Raises CorruptRow."""
    return _attempt(_decode("attempts", f"{row[0]}/{row[1]}", row))


def decode_worker(row: Sequence[Any]) -> WorkerRow:
    """`row` carries the number of runs that the worker holds behind WORKER_COLUMNS. Raises CorruptRow."""
    worker_id, name, app_version, started_at, lease_until = _decode("workers", row[0], row)
    return WorkerRow(
        info=WorkerInfo(id=worker_id, name=name, app_version=app_version),
        started_at=started_at,
        lease_until=lease_until,
        running=row[len(_WORKER)],
    )


def _decode(table: str, row_id: Any, row: Sequence[Any]) -> list[Any]:
    """The columns' values, in order."""
    misfit = _misfit(table, tuple(map(type, row)))
    if misfit is not None:
        raise CorruptRow(table, str(row_id), misfit)
    values = list(row[: len(_TABLES[table])])
    place = 0
    try:
        for place, convert in _CONVERSIONS[table]:
            value = values[place]
            if value is not None:
                values[place] = convert(value)
    except (ValueError, RecursionError) as error:
        name = tuple(_TABLES[table])[place]
        raise CorruptRow(table, str(row_id), f"{name}: {error}") from error
    return values


@lru_cache(maxsize=4096)
def _misfit(table: str, types: tuple[type, ...]) -> str | None:
    """The first column whose value has a wrong type. Rows come in few shapes, so that looking each value over is
    not needed for every row."""
    for (name, column), found in zip(_TABLES[table].items(), types, strict=False):
        if found not in column.types:
            expected = " or ".join(sorted(_TYPE_NAMES[known] for known in column.types))
            return f"{name}: expected {expected}, found {_TYPE_NAMES.get(found, found.__name__)}"
    return None


def encode_schedule(schedule: Schedule) -> dict[str, Any]:
    """Column -> value for SCHEDULE_COLUMNS."""
    target, retry = schedule.target, schedule.retry
    return {
        "id": clean_text(schedule.id),
        "name": clean_text(schedule.name),
        "description": clean_text(schedule.description),
        "user_id": clean_text(schedule.user_id),
        "target": clean_text(target.name),
        "method": clean_text(target.method),
        "endpoint": clean_text(target.endpoint),
        "payload": encode_json(target.payload),
        "cron_expr": clean_text(schedule.cron_expr),
        "run_at": schedule.run_at,
        "interval_seconds": schedule.interval_seconds,
        "anchor_at": schedule.anchor_at,
        "timezone": clean_text(schedule.timezone),
        "start_at": schedule.start_at,
        "end_at": schedule.end_at,
        "max_runs": schedule.max_runs,
        "jitter_seconds": schedule.jitter_seconds,
        "overlap": schedule.overlap.value,
        "catch_up": schedule.catch_up.value,
        "catch_up_window_seconds": schedule.catch_up_window_seconds,
        "misfire_grace_seconds": schedule.misfire_grace_seconds,
        "timeout_seconds": schedule.timeout_seconds,
        "max_retries": retry.max_retries,
        "retry_delay_seconds": retry.delay_seconds,
        "retry_backoff": retry.backoff.value,
        "retry_max_delay_seconds": retry.max_delay_seconds,
        "tags": encode_json(list(schedule.tags)),
        "enabled": schedule.enabled,
        "disabled_reason": clean_text(schedule.disabled_reason),
        "managed_by": clean_text(schedule.managed_by),
        "next_fire_at": schedule.next_fire_at,
        "last_fire_at": schedule.last_fire_at,
        "run_count": schedule.run_count,
        "timetable_since": schedule.timetable_since,
        "zone_data_version": schedule.zone_data_version,
        "version": schedule.version,
        "created_at": schedule.created_at,
        "updated_at": schedule.updated_at,
    }


def encode_run(run: Run) -> dict[str, Any]:
    """Column -> value for RUN_COLUMNS."""
    return {
        "id": run.id,
        "schedule_id": run.schedule_id,
        "user_id": clean_text(run.user_id),
        "cause": run.cause.value,
        "fire_at": run.fire_at,
        "last_fire_at": run.last_fire_at,
        "fire_count": run.fire_count,
        "status": run.status.value,
        "reason": None if run.reason is None else run.reason.value,
        "attempt": run.attempt,
        "refusals": run.refusals,
        "available_at": run.available_at,
        "worker_id": run.worker_id,
        "worker": clean_text(run.worker),
        "fence": run.fence,
        "cancel_requested": run.cancel_requested,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "completed_at": run.completed_at,
        "status_code": run.status_code,
        "agent_run_id": clean_text(run.agent_run_id),
        "session_id": clean_text(run.session_id),
        "error": clean_text(run.error),
        "input": encode_json(run.input),
        "output": encode_json(run.output),
        "requirements": encode_json(run.requirements),
        "metrics": encode_json(run.metrics),
    }


def encode_settlement(settlement: Settlement) -> dict[str, Any]:
    """The parameters of settle_run, finish_attempt and forget_attempt."""
    outcome, ended = settlement.outcome, settlement.attempt_status
    paused = settlement.status is RunStatus.PAUSED
    return {
        "id": settlement.run_id,
        "fence": settlement.fence,
        "status": settlement.status.value,
        "retry": settlement.is_retry,
        "available_at": settlement.available_at,
        "completed_at": settlement.completed_at,
        "attempt": settlement.attempt,
        "refusals": settlement.refusals,
        "attempt_number": settlement.attempt_number,
        "attempt_status": None if ended is None else ended.value,
        "now": settlement.ended_at,
        "status_code": outcome.status_code,
        "error": clean_text(outcome.error),
        "agent_run_id": clean_text(outcome.agent_run_id),
        "session_id": clean_text(outcome.session_id),
        "input": encode_json(outcome.input),
        "output": encode_json(outcome.output),
        "requirements": encode_json(outcome.requirements) if paused else None,
        "metrics": encode_json(outcome.metrics),
    }
