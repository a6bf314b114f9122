"""Between stored rows and the model, for both databases.

A row is a sequence of values in the order of its `*_COLUMNS`; instants are ints (epoch milliseconds) and JSON is text
by the time it gets here. JSON is written as pure ASCII, so that neither NUL nor a lone surrogate can break a
database; other text has such characters replaced.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any, Final

from agentclock.core.audit import AuditEntry
from agentclock.core.errors import CorruptRow
from agentclock.core.lifecycle import Settlement
from agentclock.core.model import (
    Attempt,
    Instruction,
    InstructionKind,
    Json,
    RetryPolicy,
    Run,
    RunStatus,
    Schedule,
    Target,
    TriggerNote,
    Usage,
)
from agentclock.core.owners import Owner
from agentclock.ports import LoggedEvent, WorkerInfo, WorkerRow
from agentclock.store.building import builder
from agentclock.store.columns import (
    ATTEMPT_COLUMNS,
    CONVERSIONS,
    SCHEDULE_COLUMNS,
    TABLES,
    WORKER_COLUMNS,
    misfit,
)

#: Made once: `json.dumps` would make one for every value.
_TO_JSON: Final = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode

#: A number that every reader of JSON understands, and that can be added up many times.
_LARGEST_COUNT: Final = 2**53


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


def encode_instruction(instruction: Instruction | None) -> str | None:
    """JSON of what is not empty."""
    if instruction is None:
        return None
    parts = {name: getattr(instruction, name) for name in ("kind", "answers", "by", "why", "ends_as")}
    return encode_json({name: value for name, value in parts.items() if value is not None})


def encode_trigger_note(note: TriggerNote | None) -> str | None:
    """JSON of what is not empty; a payload that is null is one, too. `retry_of` has a column of its own: older code
    refuses notes with parts that it does not know."""
    if note is None:
        return None
    parts = {"reason": note.reason, "by": note.by}
    payload = {"payload": note.payload} if note.has_payload else {}
    return encode_json({name: value for name, value in parts.items() if value is not None} | payload)


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


_make_schedule: Final = builder(Schedule)
_make_target: Final = builder(Target)
_make_retry: Final = builder(RetryPolicy)
_make_run: Final = builder(Run)
_make_attempt: Final = builder(Attempt)
_make_usage: Final = builder(Usage)
_make_event: Final = builder(LoggedEvent)
_make_entry: Final = builder(AuditEntry)
_make_owner: Final = builder(Owner)


def _columns_of(part: type[Any], first: str) -> slice:
    """Where the columns of a schedule's part stand."""
    start = SCHEDULE_COLUMNS.index(first)
    return slice(start, start + len(fields(part)))


_TARGET: Final = _columns_of(Target, "target")
_RETRY: Final = _columns_of(RetryPolicy, "max_retries")
_USAGE: Final = slice(ATTEMPT_COLUMNS.index("model"), len(ATTEMPT_COLUMNS))


def decode_schedule(row: Sequence[Any]) -> Schedule:
    """Like all of these, it takes no notice of further values in `row`. Raises CorruptRow."""
    values = decode_values("schedules", row[0], row)
    values[_RETRY] = [_make_retry(values[_RETRY])]
    values[_TARGET] = [_make_target(values[_TARGET])]
    return _make_schedule(values)


def decode_run(row: Sequence[Any], change: Callable[[list[Any]], None] | None = None) -> Run:
    """`change` is given the values that were read, in the order of RUN_COLUMNS, to put in those that are about to be
    written. Raises CorruptRow."""
    values = decode_values("runs", row[0], row)
    if change is not None:
        change(values)
    retry_of = values.pop()
    if retry_of is not None:
        values[-1] = replace(values[-1] or TriggerNote(), retry_of=retry_of)
    return _make_run(values)


def decode_attempt(row: Sequence[Any]) -> Attempt:
    """Raises CorruptRow."""
    values = decode_values("attempts", f"{row[0]}/{row[1]}", row)
    values[_USAGE] = [decode_usage(values[_USAGE])]
    return _make_attempt(values)


def decode_usage(values: Sequence[Any]) -> Usage | None:
    """None if nothing is known of it."""
    return None if all(value is None for value in values) else _make_usage(values)


def decode_event(row: Sequence[Any]) -> LoggedEvent:
    """Raises CorruptRow."""
    return _make_event(decode_values("run_events", f"{row[0]}/{row[1]}", row))


def decode_audit(row: Sequence[Any]) -> AuditEntry:
    """Raises CorruptRow."""
    return _make_entry(decode_values("audit_log", row[0], row))


def decode_owner(row: Sequence[Any]) -> Owner:
    """Raises CorruptRow."""
    return _make_owner(decode_values("owners", row[0], row))


def decode_worker(row: Sequence[Any]) -> WorkerRow:
    """`row` carries the number of runs that the worker holds behind WORKER_COLUMNS. Raises CorruptRow."""
    worker_id, name, app_version, started_at, lease_until, slots = decode_values("workers", row[0], row)
    return WorkerRow(
        info=WorkerInfo(id=worker_id, name=name, app_version=app_version, slots=slots),
        started_at=started_at,
        lease_until=lease_until,
        running=row[len(WORKER_COLUMNS)],
    )


def decode_values(table: str, row_id: Any, row: Sequence[Any]) -> list[Any]:
    """The columns' values, in order. Raises CorruptRow."""
    found = misfit(table, tuple(map(type, row)))
    if found is not None:
        raise CorruptRow(table, str(row_id), found)
    values = list(row[: len(TABLES[table])])
    place = 0
    try:
        for place, convert in CONVERSIONS[table]:
            value = values[place]
            if value is not None:
                values[place] = convert(value)
    except (ValueError, RecursionError) as error:
        name = tuple(TABLES[table])[place]
        raise CorruptRow(table, str(row_id), f"{name}: {error}") from error
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
        "catch_up_limit": schedule.catch_up_limit,
        "catch_up_stagger_seconds": schedule.catch_up_stagger_seconds,
        "misfire_grace_seconds": schedule.misfire_grace_seconds,
        "timeout_seconds": schedule.timeout_seconds,
        "idle_timeout_seconds": schedule.idle_timeout_seconds,
        "approval_timeout_seconds": schedule.approval_timeout_seconds,
        "approval_timeout_action": schedule.approval_timeout_action.value,
        "on_lost": None if schedule.on_lost is None else schedule.on_lost.value,
        "max_retries": retry.max_retries,
        "retry_delay_seconds": retry.delay_seconds,
        "retry_backoff": retry.backoff.value,
        "retry_max_delay_seconds": retry.max_delay_seconds,
        "tags": encode_json(list(schedule.tags)),
        "enabled": schedule.enabled,
        "disabled_reason": clean_text(schedule.disabled_reason),
        "managed_by": clean_text(schedule.managed_by),
        "provenance": encode_json(schedule.provenance),
        "ping_url": clean_text(schedule.ping_url),
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
        "instruction": encode_instruction(run.instruction),
        "created_at": run.created_at,
        "started_at": run.started_at,
        "attempt_started_at": run.attempt_started_at,
        "paused_at": run.paused_at,
        "review_at": run.review_at,
        "approval_due_at": run.approval_due_at,
        "completed_at": run.completed_at,
        "status_code": run.status_code,
        "agent_run_id": clean_text(run.agent_run_id),
        "session_id": clean_text(run.session_id),
        "error": clean_text(run.error),
        "input": encode_json(run.input),
        "output": encode_json(run.output),
        "requirements": encode_json(run.requirements),
        "metrics": encode_json(run.metrics),
        "trigger_note": encode_trigger_note(run.trigger_note),
        "retry_of": None if run.trigger_note is None else clean_text(run.trigger_note.retry_of),
    }


#: With what a run goes on that was to wait for a human when somebody had asked for its cancel.
CALLED_OFF: Final = encode_instruction(Instruction(kind=InstructionKind.CANCEL, why="cancelled"))


def encode_settlement(settlement: Settlement) -> dict[str, Any]:
    """The parameters of what settles a run."""
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
        "instruction": encode_instruction(settlement.instruction),
        "paused_at": settlement.ended_at if paused else None,
        "review_at": settlement.review_at,
        "approval_due_at": settlement.approval_due_at,
        "status_code": outcome.status_code,
        "error": clean_text(outcome.error),
        "agent_run_id": clean_text(outcome.agent_run_id),
        "session_id": clean_text(outcome.session_id),
        "input": encode_json(outcome.input),
        "output": encode_json(outcome.output),
        "requirements": encode_json(outcome.requirements) if paused else None,
        "metrics": encode_json(outcome.metrics),
        **(_NO_USAGE if outcome.usage is None else _encode_usage(outcome.usage)),
    }


def encode_cancel(why: str, *, asked: bool) -> dict[str, Any]:
    """The parameters of cancel_runs; `asked`: somebody wants just this run cancelled."""
    instruction = Instruction(kind=InstructionKind.CANCEL, why=why)
    return {"why": clean_text(why), "instruction": encode_instruction(instruction), "asked": asked}


def _encode_usage(usage: Usage) -> dict[str, Any]:
    cost = usage.cost
    return {
        "model": clean_text(usage.model),
        "input_tokens": _countable(usage.input_tokens),
        "output_tokens": _countable(usage.output_tokens),
        "total_tokens": _countable(usage.total_tokens),
        "cost": None if cost is None or not math.isfinite(cost) else float(cost),
    }


def _countable(number: int | None) -> int | None:
    """A number out of an agent's answer; one that no database could hold says nothing."""
    return None if number is None or abs(number) > _LARGEST_COUNT else number


_NO_USAGE: Final = _encode_usage(Usage())


def encode_event(event: LoggedEvent) -> dict[str, Any]:
    """Column -> value for EVENT_COLUMNS."""
    return {
        "run_id": event.run_id,
        "seq": event.seq,
        "attempt": event.attempt,
        "at": event.at,
        "type": clean_text(event.type),
        "data": encode_json(event.data),
        "source_index": _countable(event.source_index),
    }
