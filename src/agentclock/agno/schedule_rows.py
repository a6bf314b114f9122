"""Schedules and runs in the shape of agno's database rows: plain dicts, times in epoch seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from agentclock.core.errors import InvalidField
from agentclock.core.model import SECOND, Instant, Run, Schedule
from agentclock.core.storable import text_fault

Row: TypeAlias = dict[str, Any]

#: agno's columns that say who is behind a schedule; we keep them among its provenance.
PROVENANCE_COLUMNS: Final = (
    "target_type",
    "target_id",
    "created_by_run_id",
    "created_by_session_id",
    "updated_by_run_id",
    "updated_by_session_id",
)

#: What names in payloads begin with that are agno's own.
AGNOS: Final = "_agno_"

#: agno's columns that a draft or a patch of ours takes under the same name.
DRAFT_COLUMNS: Final = (
    "name",
    "description",
    "method",
    "endpoint",
    "payload",
    "cron_expr",
    "timezone",
    "timeout_seconds",
    "max_retries",
    "retry_delay_seconds",
)


def schedule_row(schedule: Schedule, holder: Run | None = None) -> Row:
    """`holder`: the schedule's run that is under way, in agno's terms the lock."""
    return {
        "id": schedule.id,
        "user_id": schedule.user_id,
        "name": schedule.name,
        "description": schedule.description,
        "method": schedule.target.method,
        "endpoint": schedule.target.endpoint,
        "payload": schedule.target.payload,
        "cron_expr": schedule.cron_expr or None,
        "timezone": schedule.timezone,
        "timeout_seconds": schedule.timeout_seconds,
        "max_retries": schedule.retry.max_retries,
        "retry_delay_seconds": schedule.retry.delay_seconds,
        "enabled": schedule.enabled,
        "next_run_at": seconds(schedule.next_fire_at),
        "locked_by": holder and holder.worker,
        "locked_at": None if holder is None else seconds(holder.started_at),
        "managed_by": schedule.managed_by,
        **provenance_columns(schedule),
        "disabled_reason": schedule.disabled_reason,
        "created_at": seconds(schedule.created_at),
        "updated_at": seconds(schedule.updated_at),
    }


def provenance_columns(schedule: Schedule) -> Row:
    """The component that was stamped on the schedule, else the one that its endpoint runs."""
    known = provenance_of(schedule)
    columns = {name: known.get(name) for name in PROVENANCE_COLUMNS}
    component = schedule.target.component
    if columns["target_id"] is None and component is not None:
        columns |= {"target_type": component[0].value, "target_id": component[1]}
    return columns


def provenance_of(schedule: Schedule) -> Mapping[str, Any]:
    return schedule.provenance if isinstance(schedule.provenance, dict) else {}


def run_row(run: Run) -> Row:
    """A run with all its attempts is one row here; agno writes one for each attempt."""
    return {
        "id": run.id,
        "schedule_id": run.schedule_id,
        "attempt": max(run.attempt, 1),
        "triggered_at": seconds(run.created_at if run.started_at is None else run.started_at),
        "completed_at": seconds(run.completed_at),
        "status": run.status.value,
        "status_code": run.status_code,
        "run_id": run.agent_run_id,
        "session_id": run.session_id,
        "error": run.error or (run.reason.text if run.reason else None),
        "input": run.input,
        "output": run.output,
        "requirements": run.requirements,
        "user_id": run.user_id,
        "created_at": seconds(run.created_at),
    }


def seconds(at: Instant | None) -> int | None:
    return None if at is None else at // SECOND


def instant(epoch_seconds: Any) -> Instant | None:
    return int(epoch_seconds) * SECOND if isinstance(epoch_seconds, int | float) else None


def own_values(values: Row) -> Row:
    """A row, or a part of one, without what agno writes into payloads for its own scheduler (the claims of a caller's
    token are among that). Raises InvalidField for an endpoint that is none of an AgentOS."""
    check_path(values.get("endpoint"))
    payload = values.get("payload")
    if not isinstance(payload, dict) or not any(name.startswith(AGNOS) for name in payload):
        return values
    return {**values, "payload": {name: value for name, value in payload.items() if not name.startswith(AGNOS)} or None}


def check_path(endpoint: Any) -> None:
    """agno knows no endpoints that are URLs: an agent must not be the first to have one. Raises InvalidField."""
    if isinstance(endpoint, str) and "://" in endpoint.partition("?")[0]:
        raise InvalidField("endpoint", "Must be a path that starts with one '/', such as /agents/{id}/runs")


def is_locked(row: Mapping[str, Any], now: Instant, grace_seconds: int = 300) -> bool:
    """Whether a row comes with somebody's fresh lock: then its fire is in his hands."""
    locked_at = instant(row.get("locked_at"))
    return bool(row.get("locked_by")) and locked_at is not None and locked_at > now - grace_seconds * SECOND


def checked_id(schedule_id: Any) -> str:
    """Raises InvalidField."""
    fault = text_fault(schedule_id) if isinstance(schedule_id, str) else "must be text"
    if fault:
        raise InvalidField("id", fault)
    return str(schedule_id)
