"""The audit log: who did what to what, and from where. Written with what it tells of; never changed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agentclock.core.model import Instant, Json


class Action(StrEnum):
    """What somebody did. The values are stored and shown."""

    CREATED = "schedule.created"
    CHANGED = "schedule.changed"
    ENABLED = "schedule.enabled"
    DISABLED = "schedule.disabled"
    DELETED = "schedule.deleted"
    TRIGGERED = "schedule.triggered"
    BACKFILLED = "backfill.created"
    BACKFILL_CANCELLED = "backfill.cancelled"
    CANCELLED = "run.cancelled"
    APPROVED = "run.approved"
    REJECTED = "run.rejected"
    ANSWERED = "run.answered"
    OWNER_REVOKED = "owner.revoked"
    OWNER_RESTORED = "owner.restored"
    NOTICE_RETRIED = "notice.retried"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """`id` is a UUIDv7: entries are in the order of their ids. `user_id`: the owner of what it is about, None: nobody.

    `actor` and `source` are those of `Actor`. `details`: what the action alone does not tell, such as the names of the
    fields that were changed or the reason of a trigger; never a payload, never a secret.
    """

    id: str
    at: Instant
    action: Action
    actor: str | None = None
    source: str | None = None
    user_id: str | None = None
    schedule_id: str | None = None
    schedule_name: str | None = None
    run_id: str | None = None
    details: Json = None
