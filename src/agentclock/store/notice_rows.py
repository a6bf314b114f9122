"""Notices, to and from the database. Shared by both stores."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from agentclock.core.actors import Actor, name_of
from agentclock.core.audit import Action
from agentclock.core.errors import CorruptRow
from agentclock.core.model import SECOND, Instant, Schedule
from agentclock.core.notices import Delivery, Notice, NoticeKind, NoticeRow, NoticeStatus, Subscription
from agentclock.core.noticing import of_absences, of_disabled, of_unreadable
from agentclock.ports import NoticeFilter
from agentclock.store.auditing import Deed
from agentclock.store.filters import Selection
from agentclock.store.firing import Batch
from agentclock.store.revising import OURSELVES
from agentclock.store.rows import clean_text, encode_json

#: Notices that one transaction deletes.
PRUNED_NOTICES: Final = 5_000

#: What is kept of a receiver's complaint.
_ERROR_LENGTH: Final = 2_000


def encode_notices(notices: Iterable[Notice]) -> list[dict[str, Any]]:
    """Column -> value; the ruling time says when each is tried first."""
    return [
        {
            "id": notice.id,
            "webhook": clean_text(notice.webhook),
            "kind": notice.kind.value,
            "created_at": notice.created_at,
            "schedule_id": clean_text(notice.schedule_id),
            "run_id": notice.run_id,
            "user_id": clean_text(notice.user_id),
            "data": encode_json(notice.data),
        }
        for notice in notices
    ]


def encode_delivery(delivery: Delivery) -> dict[str, Any]:
    error = clean_text(delivery.error)
    return {
        "id": delivery.notice_id,
        "tries": delivery.tries,
        "status": delivery.status.value,
        "next_try_at": delivery.next_try_at if delivery.status is NoticeStatus.PENDING else None,
        "status_code": delivery.status_code,
        "error": None if error is None else error[:_ERROR_LENGTH],
    }


def decode_notice(row: Sequence[Any]) -> NoticeRow:
    """Raises CorruptRow."""
    notice_id, webhook, kind, created_at, schedule_id, run_id, user_id, data, *delivery = row
    status, tries, next_try_at, delivered_at, status_code, error = delivery
    try:
        return NoticeRow(
            notice=Notice(
                id=notice_id,
                webhook=webhook,
                kind=NoticeKind(kind),
                created_at=created_at,
                schedule_id=schedule_id,
                run_id=run_id,
                user_id=user_id,
                data=None if data is None else json.loads(data),
            ),
            status=NoticeStatus(status),
            tries=tries,
            next_try_at=next_try_at,
            delivered_at=delivered_at,
            status_code=status_code,
            error=error,
        )
    except (TypeError, ValueError, RecursionError) as error_found:
        raise CorruptRow("notices", str(notice_id), str(error_found)) from error_found


def notice_selection(where: NoticeFilter) -> Selection:
    named = {
        "notices_of_user": ("user_id", clean_text(where.user_id)),
        "notices_of_schedule": ("schedule_id", clean_text(where.schedule_id)),
        "notices_of_webhook": ("webhook", clean_text(where.webhook)),
    }
    given = {name: pair for name, pair in named.items() if pair[1] is not None}
    # A literal, for only that lets a planner choose a partial index.
    constants = () if where.status is None else (f"n.status = '{where.status.value}'",)
    return Selection(conditions=(*given, *constants), values=dict(given.values()))


def retried(row: Sequence[Any]) -> list[Deed]:
    notice_id, webhook, _, _, schedule_id, run_id, user_id, *_ = row
    return [
        Deed(
            action=Action.NOTICE_RETRIED,
            schedule_id=schedule_id,
            run_id=run_id,
            user_id=user_id,
            details={"notice_id": notice_id, "webhook": webhook},
        )
    ]


def milliseconds(seconds: float) -> int:
    return round(seconds * SECOND)


def notices_of_batch(subscriptions: Sequence[Subscription], batch: Batch, now: Instant) -> list[Notice]:
    """What a planning transaction has to tell."""
    if not (subscriptions and (batch.absences or batch.faults)):
        return []
    schedules = {schedule.id: schedule for schedule, _ in batch.planned}
    readable = {schedule.id for schedule, _ in batch.faulty}
    unreadable = (fault for fault in batch.faults if fault.row_id not in readable)
    return [
        *of_absences(subscriptions, ((schedules[of], absence) for of, absence in batch.absences), now),
        *of_disabled(subscriptions, batch.faulty, now, OURSELVES.name),
        *of_unreadable(subscriptions, unreadable, now, OURSELVES.name),
    ]


def notices_of_change(
    subscriptions: Sequence[Subscription], before: Schedule, after: Schedule, now: Instant, by: Actor | None
) -> list[Notice]:
    if not subscriptions or not before.enabled or after.enabled:
        return []
    return of_disabled(subscriptions, [(after, after.disabled_reason)], now, name_of(by))
