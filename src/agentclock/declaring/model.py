"""A schedule as a file declares it, and how far a stored one is from that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WrapValidator
from pydantic_core import PydanticCustomError

from agentclock.core.instants import iso_utc
from agentclock.core.model import Instant, Json, Schedule
from agentclock.core.storable import same_json
from agentclock.drafts import ScheduleDraft

#: Schedules that one request may declare.
MOST_SCHEDULES: Final = 5_000
#: What `managed_by` of a schedule begins with that a file declares; the name of the manager follows.
MARK: Final = "apply:"

Manager = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9._-]+$",
        description="Who declares these schedules: letters, digits and . _ -. What nobody declares any more is pruned "
        "among the manager's own.",
        examples=["team-a"],
    ),
]


def _true_or_false(value: object) -> object:
    if value is None or isinstance(value, bool):
        return value
    raise PydanticCustomError("bool_type", "Input should be true or false")


class DeclaredSchedule(ScheduleDraft):
    """A schedule as it is to be. What is absent has its default, but `enabled`: absent, it stays as people set it."""

    enabled: Annotated[
        bool | None,
        BeforeValidator(_true_or_false),
        Field(description="Whether it fires. Absent or null: as people set it; a new one is enabled."),
    ] = None

    def values(self) -> dict[str, Any]:
        """Every field but `enabled` by its wire name, defaults included."""
        return {name: getattr(self, name) for name in ScheduleDraft.model_fields}


def _unread(value: object, _: object) -> object:
    """Thousands are looked at in pieces, so that others are served meanwhile."""
    if not isinstance(value, list):
        raise PydanticCustomError("list_type", "Input should be a valid list")
    if len(value) > MOST_SCHEDULES:
        message = "has {count} schedules: at most {most} can be applied at once"
        raise PydanticCustomError("too_long", message, {"count": len(value), "most": MOST_SCHEDULES})
    return value


class ApplyDraft(BaseModel):
    """The schedules that a manager declares, as they are to be. All of them are written, or none."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "manager": "team-a",
                    "schedules": [
                        {"name": "daily-summary", "endpoint": "/agents/assistant/runs", "cron_expr": "0 7 * * mon-fri"}
                    ],
                    "dry_run": True,
                }
            ]
        },
    )

    manager: Manager
    schedules: Annotated[
        list[DeclaredSchedule],
        Field(max_length=MOST_SCHEDULES, description="Each is the whole truth of its schedule; names differ."),
        WrapValidator(_unread),
    ]
    prune: Annotated[
        bool,
        Field(description="Delete what the manager declared before and does not any more. Needs schedules:delete."),
    ] = False
    adopt: Annotated[bool, Field(description="Take over schedules of these names that nobody or another manages.")] = (
        False
    )
    dry_run: Annotated[bool, Field(description="Only say what would be done.")] = False


def mark_of(manager: str) -> str:
    """What stands in `managed_by` of what the manager declares."""
    return MARK + manager


def manager_of(managed_by: str | None) -> str | None:
    """None: no file declares it."""
    return managed_by.removeprefix(MARK) if managed_by is not None and managed_by.startswith(MARK) else None


def fields_of(schedule: Schedule) -> dict[str, Json]:
    """What a file would say of it: every field, in the order of the documentation."""
    target, retry = schedule.target, schedule.retry
    return {
        "name": schedule.name,
        "enabled": schedule.enabled,
        "endpoint": target.endpoint,
        "method": target.method,
        "target": target.name,
        "description": schedule.description,
        "payload": target.payload,
        "cron_expr": schedule.cron_expr or None,
        "run_at": _iso(schedule.run_at),
        "interval_seconds": schedule.interval_seconds,
        "timezone": schedule.timezone,
        "start_at": _iso(schedule.start_at),
        "end_at": _iso(schedule.end_at),
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
        "tags": list(schedule.tags),
        "ping_url": schedule.ping_url,
    }


def _iso(at: Instant | None) -> str | None:
    return None if at is None else iso_utc(at)


#: What each field of a new schedule is unless a file says otherwise; those that must be given are left out.
DEFAULTS: Final[Mapping[str, Json]] = {
    name: list(field.default) if isinstance(field.default, tuple) else field.default
    for name, field in DeclaredSchedule.model_fields.items()
    if not field.is_required()
} | {"enabled": True}

#: A change of one of these is a change of when a schedule fires.
TIMETABLE: Final = frozenset(("cron_expr", "run_at", "interval_seconds", "timezone", "start_at", "end_at", "max_runs"))


def differences(before: Schedule | None, after: Schedule) -> dict[str, tuple[Json, Json]]:
    """From what to what each field changes, `managed_by` among them. Of a new schedule, what is not the default."""
    new = fields_of(after)
    if before is None:
        given = {name: (None, value) for name, value in new.items() if not same_json(value, DEFAULTS.get(name, ...))}
        return {name: change for name, change in given.items() if name != "name"}
    old = fields_of(before)
    changes = {name: (old[name], value) for name, value in new.items() if not same_json(old[name], value)}
    if before.managed_by != after.managed_by:
        changes["managed_by"] = (before.managed_by, after.managed_by)
    return changes
