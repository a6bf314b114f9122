"""Notices: what webhooks are told. Each is a row of its own, written in the transaction of what it tells of, so that
none is lost however a process ends; delivering it comes later, and as often as it takes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from agentclock.core.model import Instant, Json


class NoticeKind(StrEnum):
    """What a notice tells; the value is the `type` that receivers see.

    `recovered`: the first success after a failed, timed-out or lost run of the schedule.
    """

    FAILED = "run.failed"
    LOST = "run.lost"
    PAUSED = "run.paused"
    SUCCEEDED = "run.succeeded"
    MISSED = "fires.missed"
    RECOVERED = "schedule.recovered"
    DISABLED = "schedule.disabled"


#: What a webhook is told unless it says what it wants.
USUAL_KINDS = frozenset(NoticeKind) - {NoticeKind.SUCCEEDED}


class NoticeStatus(StrEnum):
    """`dead`: given up after the last try; somebody may have it tried again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What a webhook wants to be told: notices of these `kinds`, of schedules that have one of `tags` (empty: of all).

    `with_output`: a run's output goes along.
    """

    webhook: str
    kinds: frozenset[NoticeKind] = USUAL_KINDS
    tags: Collection[str] = ()
    with_output: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One message for one webhook. `id` is the same at every try (Standard Webhooks' `webhook-id`); `data` is what is
    told, without anything secret. `user_id`: the owner of the schedule."""

    id: str
    webhook: str
    kind: NoticeKind
    created_at: Instant
    schedule_id: str
    run_id: str | None = None
    user_id: str | None = None
    data: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRow:
    """A notice and how its delivery stands. `next_try_at` None: there will be no further one by itself."""

    notice: Notice
    status: NoticeStatus = NoticeStatus.PENDING
    tries: int = 0
    next_try_at: Instant | None = None
    delivered_at: Instant | None = None
    status_code: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of the try number `tries` of a notice."""

    notice_id: str
    tries: int
    status: NoticeStatus
    next_try_at: Instant | None = None
    status_code: int | None = None
    error: str | None = None
