"""The columns that the codec reads and writes: their order, the types of their values, and what converts them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import lru_cache
from types import NoneType
from typing import Any, Final

from agentclock.core.audit import Action
from agentclock.core.model import (
    ApprovalAction,
    CatchUp,
    Cause,
    Instruction,
    InstructionKind,
    OnLost,
    Overlap,
    Reason,
    RetryBackoff,
    RunStatus,
    TriggerNote,
)
from agentclock.ports import ScheduleBrief

#: The newest step of the schema that this code knows, and the oldest one that it can work with.
NEWEST_SCHEMA: Final = 6
OLDEST_SCHEMA: Final = 3

#: Made once: `json.loads` would look at its options for every value.
_FROM_JSON: Final = json.JSONDecoder().decode


@dataclass(frozen=True, slots=True)
class Column:
    """What a stored value's type may be, and what turns it into the model's value (never called for None).

    `since`: the step of the schema that brought the column; where it is missing, `absent` is what all rows have.
    """

    types: frozenset[type]
    convert: Callable[[Any], Any] | None = None
    since: int = 1
    absent: int | None = None

    @property
    def optional(self) -> Column:
        return replace(self, types=self.types | {NoneType})

    def added(self, since: int, *, absent: int | None = None) -> Column:
        return replace(self, since=since, absent=absent)


def _json_list_of_text(value: str) -> tuple[str, ...]:
    if value == "[]":
        return ()
    found = _FROM_JSON(value)
    if isinstance(found, list) and all(isinstance(item, str) for item in found):
        return tuple(found)
    raise ValueError("expected a JSON list of strings")


def _instruction(value: str) -> Instruction:
    """What `rows.encode_instruction` made; whatever else stands there is refused."""
    found = _FROM_JSON(value)
    if type(found) is not dict:
        raise ValueError(f"expected a JSON object, found {value:.40}")
    by, why = found.pop("by", None), found.pop("why", None)
    if {type(by), type(why)} - {str, NoneType}:
        raise ValueError("by and why must be text")
    made = Instruction(
        kind=InstructionKind(found.pop("kind", None)),
        answers=found.pop("answers", None),
        by=by,
        why=why,
        ends_as=RunStatus(found.pop("ends_as", RunStatus.CANCELLED)),
    )
    if found:
        raise ValueError(f"unknown part {next(iter(found))!r:.40}")
    return made


def _trigger_note(value: str) -> TriggerNote:
    """What `rows.encode_trigger_note` made; whatever else stands there is refused."""
    found = _FROM_JSON(value)
    if type(found) is not dict:
        raise ValueError(f"expected a JSON object, found {value:.40}")
    has_payload, payload = "payload" in found, found.pop("payload", None)
    reason, by = found.pop("reason", None), found.pop("by", None)
    if {type(reason), type(by)} - {str, NoneType}:
        raise ValueError("reason and by must be text")
    if found:
        raise ValueError(f"unknown part {next(iter(found))!r:.40}")
    return TriggerNote(reason=reason, by=by, has_payload=has_payload, payload=payload)


class _Words(dict[Any, Any]):
    """What each stored word stands for; to look one up is the whole conversion."""

    def __missing__(self, word: Any) -> Any:
        raise ValueError(f"{word!r:.40} is none of {', '.join(map(str, self))}")


def _word(words: type[StrEnum]) -> Column:
    return Column(frozenset({str}), _Words({word.value: word for word in words}).__getitem__)


_TYPE_NAMES: Final = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "a truth value",
    NoneType: "nothing",
}

_TEXT: Final = Column(frozenset({str}))
_INTEGER: Final = Column(frozenset({int}))
_BOOLEAN: Final = Column(frozenset({int, bool}), _Words({0: False, 1: True}).__getitem__)
_FLOAT: Final = Column(frozenset({float}))
_JSON: Final = Column(frozenset({str, NoneType}), _FROM_JSON)
_LIST: Final = Column(frozenset({str}), _json_list_of_text)
_INSTRUCTION: Final = Column(frozenset({str, NoneType}), _instruction)
_TRIGGER_NOTE: Final = Column(frozenset({str, NoneType}), _trigger_note)

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
    "catch_up_limit": _INTEGER.added(4, absent=100),
    "catch_up_stagger_seconds": _INTEGER.added(4, absent=1),
    "misfire_grace_seconds": _INTEGER,
    "timeout_seconds": _INTEGER,
    "idle_timeout_seconds": _INTEGER.optional,
    "approval_timeout_seconds": _INTEGER.optional,
    "approval_timeout_action": _word(ApprovalAction),
    "on_lost": _word(OnLost).optional,
    "max_retries": _INTEGER,
    "retry_delay_seconds": _INTEGER,
    "retry_backoff": _word(RetryBackoff),
    "retry_max_delay_seconds": _INTEGER,
    "tags": _LIST,
    "enabled": _BOOLEAN,
    "disabled_reason": _TEXT.optional,
    "managed_by": _TEXT.optional,
    "provenance": _JSON,
    "ping_url": _TEXT.optional.added(4),
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
    "instruction": _INSTRUCTION,
    "created_at": _INTEGER,
    "started_at": _INTEGER.optional,
    "attempt_started_at": _INTEGER.optional,
    "paused_at": _INTEGER.optional,
    "review_at": _INTEGER.optional,
    "approval_due_at": _INTEGER.optional,
    "completed_at": _INTEGER.optional,
    "status_code": _INTEGER.optional,
    "agent_run_id": _TEXT.optional,
    "session_id": _TEXT.optional,
    "error": _TEXT.optional,
    "input": _JSON,
    "output": _JSON,
    "requirements": _JSON,
    "metrics": _JSON,
    "trigger_note": _TRIGGER_NOTE.added(5),
    "retry_of": _TEXT.optional.added(6),
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
    "model": _TEXT.optional,
    "input_tokens": _INTEGER.optional,
    "output_tokens": _INTEGER.optional,
    "total_tokens": _INTEGER.optional,
    "cost": _FLOAT.optional,
}

_EVENT: Final[dict[str, Column]] = {
    "run_id": _TEXT,
    "seq": _INTEGER,
    "attempt": _INTEGER,
    "at": _INTEGER,
    "type": _TEXT,
    "data": _JSON,
    "source_index": _INTEGER.optional,
}

_WORKER: Final[dict[str, Column]] = {
    "id": _TEXT,
    "name": _TEXT,
    "app_version": _TEXT,
    "started_at": _INTEGER,
    "lease_until": _INTEGER,
    "slots": _INTEGER.optional.added(6),
}

#: What is read of a schedule for a ScheduleBrief.
_BRIEF: Final = {field.name: _SCHEDULE[field.name] for field in fields(ScheduleBrief)}

#: What is read of a run for a RunMark, in the order of its fields; what its attempts used up stands in no column.
_MARK: Final[dict[str, Column]] = {
    "id": _TEXT,
    "schedule_id": _TEXT,
    "cause": _word(Cause),
    "status": _word(RunStatus),
    "fire_at": _INTEGER,
    "last_fire_at": _INTEGER.optional,
    "fire_count": _INTEGER,
    "attempt": _INTEGER,
    "created_at": _INTEGER,
    "available_at": _INTEGER.optional,
    "started_at": _INTEGER.optional,
    "completed_at": _INTEGER.optional,
    "worker": _TEXT.optional,
    "reason": _word(Reason).optional,
    "total_tokens": _INTEGER.optional,
    "cost": _FLOAT.optional,
}

#: Likewise for a Failure.
_FAILURE: Final[dict[str, Column]] = {
    "id": _TEXT,
    "schedule_id": _TEXT,
    "status": _word(RunStatus),
    "fire_at": _INTEGER,
    "completed_at": _INTEGER.optional,
    "status_code": _INTEGER.optional,
    "error": _TEXT.optional,
}

_AUDIT: Final[dict[str, Column]] = {
    "id": _TEXT,
    "at": _INTEGER,
    "action": _word(Action),
    "actor": _TEXT.optional,
    "source": _TEXT.optional,
    "user_id": _TEXT.optional,
    "schedule_id": _TEXT.optional,
    "schedule_name": _TEXT.optional,
    "run_id": _TEXT.optional,
    "details": _JSON,
}

_OWNER: Final[dict[str, Column]] = {
    "user_id": _TEXT,
    "scopes": _LIST,
    "issued_at": _INTEGER.optional,
    "seen_at": _INTEGER,
    "revoked_at": _INTEGER.optional,
    "revoked_by": _TEXT.optional,
}

TABLES: Final = {
    "schedules": _SCHEDULE,
    "runs": _RUN,
    "attempts": _ATTEMPT,
    "run_events": _EVENT,
    "workers": _WORKER,
    "briefs": _BRIEF,
    "marks": _MARK,
    "failures": _FAILURE,
    "audit_log": _AUDIT,
    "owners": _OWNER,
}
#: Per table, the places of the columns that are converted, and how.
CONVERSIONS: Final = {
    table: [(place, column.convert) for place, column in enumerate(columns.values()) if column.convert is not None]
    for table, columns in TABLES.items()
}

#: The columns that the codec reads and writes, in order. `schedules` has `deleted_at` besides.
SCHEDULE_COLUMNS: Final = tuple(_SCHEDULE)
RUN_COLUMNS: Final = tuple(_RUN)
ATTEMPT_COLUMNS: Final = tuple(_ATTEMPT)
EVENT_COLUMNS: Final = tuple(_EVENT)
WORKER_COLUMNS: Final = tuple(_WORKER)


@lru_cache(maxsize=4096)
def misfit(table: str, types: tuple[type, ...]) -> str | None:
    """The first column whose value has a wrong type. Rows come in few shapes, so that looking each value over is
    not needed for every row."""
    for (name, column), found in zip(TABLES[table].items(), types, strict=False):
        if found not in column.types:
            expected = " or ".join(sorted(_TYPE_NAMES[known] for known in column.types))
            return f"{name}: expected {expected}, found {_TYPE_NAMES.get(found, found.__name__)}"
    return None
