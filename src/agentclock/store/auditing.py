"""What goes into the audit log, and when. Shared by both stores."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agentclock.core.actors import Actor
from agentclock.core.audit import Action
from agentclock.core.backfills import Backfill
from agentclock.core.ids import uuid7
from agentclock.core.instants import iso_utc
from agentclock.core.model import Instant, Instruction, InstructionKind, Json, Run, Schedule
from agentclock.ports import AuditFilter
from agentclock.store.filters import Selection, first_run_id, one_of
from agentclock.store.rows import clean_text, encode_json, encode_schedule

#: What a change of a schedule brings with it; nobody asks for these.
_CONSEQUENCES: Final = frozenset(
    ("next_fire_at", "last_fire_at", "run_count", "timetable_since", "anchor_at", "zone_data_version")
)
_ALWAYS: Final = frozenset(("version", "updated_at"))
_SWITCH: Final = frozenset(("enabled", "disabled_reason"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """An entry of the audit log before it is written; a schedule's name and owner are added then, from its row."""

    action: Action
    schedule_id: str | None = None
    run_id: str | None = None
    user_id: str | None = None
    details: Json = None


def encode_deeds(deeds: Sequence[Deed], by: Actor, now: Instant, newest: str | None) -> list[dict[str, Any]]:
    """Column -> value, ids in the order of the deeds and after `newest`, the last one of the log."""
    return [
        {
            "id": entry_id,
            "at": now,
            "action": deed.action.value,
            "actor": clean_text(by.name),
            "source": clean_text(by.source),
            "user_id": clean_text(deed.user_id),
            "schedule_id": clean_text(deed.schedule_id),
            "run_id": deed.run_id,
            "details": encode_json(_with_reason(deed.details, by)),
        }
        for entry_id, deed in zip(_ids(len(deeds), now, newest), deeds, strict=True)
    ]


def _with_reason(details: Json, by: Actor) -> Json:
    """With why somebody did it, unless the deed itself knows."""
    if by.reason is None or not isinstance(details, dict | None):
        return details
    return {"reason": clean_text(by.reason)} | (details or {})


def _ids(count: int, now: Instant, newest: str | None) -> list[str]:
    """UUIDv7s whose first twelve bits behind the time count what is written in one millisecond (RFC 9562, 6.2)."""
    same_moment = newest is not None and newest[:13] == first_run_id(now)[:13]
    turn = min(int(newest[15:18], 16) + 1, 0xFFF) if newest is not None and same_moment else 0
    return sorted(uuid7(now, turn.to_bytes(2, "big") + os.urandom(8)) for _ in range(count))


def created(schedules: Iterable[Schedule]) -> list[Deed]:
    return [Deed(action=Action.CREATED, schedule_id=schedule.id) for schedule in schedules]


def changed(before: Schedule, after: Schedule) -> list[Deed]:
    """`before` and `after` differ."""
    old, new = encode_schedule(before), encode_schedule(after)
    fields = [name for name in old if old[name] != new[name] and name not in _ALWAYS]
    asked = [name for name in fields if name not in _CONSEQUENCES] or fields
    if before.enabled == after.enabled:
        return [Deed(action=Action.CHANGED, schedule_id=after.id, details={"fields": asked})]
    details: dict[str, Json] = {}
    if others := [name for name in asked if name not in _SWITCH]:
        details["fields"] = others
    if after.disabled_reason is not None:
        details["reason"] = after.disabled_reason
    action = Action.ENABLED if after.enabled else Action.DISABLED
    return [Deed(action=action, schedule_id=after.id, details=details or None)]


def deleted(schedule_id: str) -> list[Deed]:
    return [Deed(action=Action.DELETED, schedule_id=schedule_id)]


def disabled(schedule_id: str, reason: str | None, run_id: str | None = None) -> Deed:
    return Deed(action=Action.DISABLED, schedule_id=schedule_id, run_id=run_id, details={"reason": reason})


def triggered(run: Run) -> list[Deed]:
    details = {"fire_at": iso_utc(run.fire_at)}
    if run.trigger_note is not None and run.trigger_note.reason is not None:
        details["reason"] = run.trigger_note.reason
    return [Deed(action=Action.TRIGGERED, schedule_id=run.schedule_id, run_id=run.id, details=details)]


def cancelled(run_id: str, schedule_id: str) -> list[Deed]:
    return [Deed(action=Action.CANCELLED, schedule_id=schedule_id, run_id=run_id)]


def instructed(run: Run, instruction: Instruction) -> list[Deed]:
    """What somebody made of a run that waited for him."""
    if instruction.kind is InstructionKind.CANCEL:
        return cancelled(run.id, run.schedule_id)
    answers = instruction.answers if isinstance(instruction.answers, dict) else {}
    verdicts = {"approve": Action.APPROVED, "reject": Action.REJECTED}
    note = answers.get("note")
    return [
        Deed(
            action=verdicts.get(str(answers.get("action")), Action.ANSWERED),
            schedule_id=run.schedule_id,
            run_id=run.id,
            details=None if note is None else {"note": note},
        )
    ]


def backfilled(backfill: Backfill, runs: int) -> list[Deed]:
    details = {
        "backfill_id": backfill.id,
        "from": iso_utc(backfill.from_at),
        "until": iso_utc(backfill.until_at),
        "runs": runs,
    }
    return [Deed(action=Action.BACKFILLED, schedule_id=backfill.schedule_id, details=details)]


def backfill_cancelled(backfill: Backfill) -> list[Deed]:
    details = {"backfill_id": backfill.id}
    return [Deed(action=Action.BACKFILL_CANCELLED, schedule_id=backfill.schedule_id, details=details)]


def owner_changed(user_id: str, revoked: bool) -> list[Deed]:
    return [Deed(action=Action.OWNER_REVOKED if revoked else Action.OWNER_RESTORED, user_id=user_id)]


def audit_selection(where: AuditFilter) -> Selection:
    """Ids tell the time of their entries exactly, and there is nothing better to search by."""
    named = {
        "audit_of_user": ("user_id", clean_text(where.user_id)),
        "audit_by_actor": ("actor", clean_text(where.actor)),
        "audit_of_schedule": ("schedule_id", clean_text(where.schedule_id)),
        "audit_of_run": ("run_id", where.run_id),
        "audit_since": ("from_id", None if where.since is None else first_run_id(where.since)),
        "audit_until": ("to_id", None if where.until is None else first_run_id(where.until)),
    }
    given = {name: pair for name, pair in named.items() if pair[1] is not None}
    return Selection(conditions=(*given, *one_of("l.action", where.actions)), values=dict(given.values()))
