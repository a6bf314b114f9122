"""Between stored rows and the model, for both databases.

A row is a sequence of values in the order of its `*_COLUMNS`; instants are ints (epoch milliseconds) and JSON is text
by the time it gets here. JSON is written as pure ASCII, so that neither NUL nor a lone surrogate can break a
database; other text has such characters replaced.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, TypeVar

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

Word = TypeVar("Word", bound=StrEnum)
Decoder = Callable[[Any], Any]


def encode_json(value: Json) -> str | None:
    """JSON text, None for None. Infinite and undefined numbers, which JSON lacks, become strings.

    Raises TypeError for what is not JSON.
    """
    if value is None:
        return None
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, separators=(",", ":"))


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


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"expected text, found {type(value).__name__}")


def _integer(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"expected a whole number, found {type(value).__name__}")


def _boolean(value: Any) -> bool:
    if value in (0, 1) and isinstance(value, int):
        return bool(value)
    raise ValueError(f"expected a truth value, found {value!r:.40}")


def _json(value: Any) -> Json:
    return None if value is None else json.loads(_text(value))


def _tags(value: Any) -> tuple[str, ...]:
    tags = _json(value)
    if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags):
        return tuple(tags)
    raise ValueError("expected a JSON list of strings")


def _word(words: type[Word]) -> Decoder:
    """StrEnum's own message names the unknown word already."""
    known: Mapping[str, Word] = {word.value: word for word in words}

    def decode(value: Any) -> Word:
        found = known.get(value) if isinstance(value, str) else None
        return words(value) if found is None else found

    return decode


def _optional(decode: Decoder) -> Decoder:
    return lambda value: None if value is None else decode(value)


_SCHEDULE: Final[dict[str, Decoder]] = {
    "id": _text,
    "name": _text,
    "description": _optional(_text),
    "user_id": _optional(_text),
    "target": _text,
    "method": _text,
    "endpoint": _text,
    "payload": _json,
    "cron_expr": _optional(_text),
    "run_at": _optional(_integer),
    "interval_seconds": _optional(_integer),
    "anchor_at": _optional(_integer),
    "timezone": _text,
    "start_at": _optional(_integer),
    "end_at": _optional(_integer),
    "max_runs": _optional(_integer),
    "jitter_seconds": _integer,
    "overlap": _word(Overlap),
    "catch_up": _word(CatchUp),
    "catch_up_window_seconds": _integer,
    "misfire_grace_seconds": _integer,
    "timeout_seconds": _integer,
    "max_retries": _integer,
    "retry_delay_seconds": _integer,
    "retry_backoff": _word(RetryBackoff),
    "retry_max_delay_seconds": _integer,
    "tags": _tags,
    "enabled": _boolean,
    "disabled_reason": _optional(_text),
    "managed_by": _optional(_text),
    "next_fire_at": _optional(_integer),
    "last_fire_at": _optional(_integer),
    "run_count": _integer,
    "timetable_since": _integer,
    "zone_data_version": _optional(_text),
    "version": _integer,
    "created_at": _integer,
    "updated_at": _optional(_integer),
}

_RUN: Final[dict[str, Decoder]] = {
    "id": _text,
    "schedule_id": _text,
    "user_id": _optional(_text),
    "cause": _word(Cause),
    "fire_at": _integer,
    "last_fire_at": _optional(_integer),
    "fire_count": _integer,
    "status": _word(RunStatus),
    "reason": _optional(_word(Reason)),
    "attempt": _integer,
    "refusals": _integer,
    "available_at": _optional(_integer),
    "worker_id": _optional(_text),
    "worker": _optional(_text),
    "fence": _integer,
    "cancel_requested": _boolean,
    "created_at": _integer,
    "started_at": _optional(_integer),
    "completed_at": _optional(_integer),
    "status_code": _optional(_integer),
    "agent_run_id": _optional(_text),
    "session_id": _optional(_text),
    "error": _optional(_text),
    "input": _json,
    "output": _json,
    "requirements": _json,
    "metrics": _json,
}

_ATTEMPT: Final[dict[str, Decoder]] = {
    "run_id": _text,
    "number": _integer,
    "status": _word(RunStatus),
    "worker": _optional(_text),
    "started_at": _integer,
    "completed_at": _optional(_integer),
    "status_code": _optional(_integer),
    "agent_run_id": _optional(_text),
    "error": _optional(_text),
}

_WORKER: Final[dict[str, Decoder]] = {
    "id": _text,
    "name": _text,
    "app_version": _text,
    "started_at": _integer,
    "lease_until": _integer,
}

#: The columns that the codec reads and writes, in order. `schedules` has `deleted_at` besides.
SCHEDULE_COLUMNS: Final = tuple(_SCHEDULE)
RUN_COLUMNS: Final = tuple(_RUN)
ATTEMPT_COLUMNS: Final = tuple(_ATTEMPT)
WORKER_COLUMNS: Final = tuple(_WORKER)


def decode_schedule(row: Sequence[Any]) -> Schedule:
    """Raises CorruptRow."""
    values = _decode("schedules", row[0], _SCHEDULE, row)
    target = Target(
        name=values.pop("target"),
        method=values.pop("method"),
        endpoint=values.pop("endpoint"),
        payload=values.pop("payload"),
    )
    retry = RetryPolicy(
        max_retries=values.pop("max_retries"),
        delay_seconds=values.pop("retry_delay_seconds"),
        backoff=values.pop("retry_backoff"),
        max_delay_seconds=values.pop("retry_max_delay_seconds"),
    )
    return Schedule(target=target, retry=retry, **values)


def decode_run(row: Sequence[Any]) -> Run:
    """Raises CorruptRow."""
    return Run(**_decode("runs", row[0], _RUN, row))


def decode_attempt(row: Sequence[Any]) -> Attempt:
    """Raises CorruptRow."""
    return Attempt(**_decode("attempts", f"{row[0]}/{row[1]}", _ATTEMPT, row))


def decode_worker(row: Sequence[Any]) -> WorkerRow:
    """`row` carries the number of runs that the worker holds behind WORKER_COLUMNS. Raises CorruptRow."""
    values = _decode("workers", row[0], _WORKER, row)
    return WorkerRow(
        info=WorkerInfo(id=values["id"], name=values["name"], app_version=values["app_version"]),
        started_at=values["started_at"],
        lease_until=values["lease_until"],
        running=_integer(row[len(_WORKER)]),
    )


def _decode(table: str, row_id: Any, decoders: dict[str, Decoder], row: Sequence[Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    column = ""
    try:
        for (column, decode), value in zip(decoders.items(), row, strict=False):
            values[column] = decode(value)
    except (ValueError, RecursionError) as error:
        raise CorruptRow(table, str(row_id), f"{column}: {error}") from error
    return values


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


def encode_attempt(attempt: Attempt) -> dict[str, Any]:
    """Column -> value for ATTEMPT_COLUMNS."""
    return {
        "run_id": attempt.run_id,
        "number": attempt.number,
        "status": attempt.status.value,
        "worker": clean_text(attempt.worker),
        "started_at": attempt.started_at,
        "completed_at": attempt.completed_at,
        "status_code": attempt.status_code,
        "agent_run_id": clean_text(attempt.agent_run_id),
        "error": clean_text(attempt.error),
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
