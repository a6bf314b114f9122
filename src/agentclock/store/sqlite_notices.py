"""Notices in SQLite: each function is one operation inside a transaction of its caller."""

from __future__ import annotations

import json
from collections.abc import Sequence

from agentclock.core.actors import Actor
from agentclock.core.lifecycle import Settlement
from agentclock.core.model import Instant
from agentclock.core.notices import Delivery, Notice, NoticeRow
from agentclock.core.noticing import of_settlements, perhaps_recovered
from agentclock.ports import NoticeFilter, Page, PageRequest
from agentclock.store.claiming import report
from agentclock.store.filters import decode_cursor, decoded, offset, page_of
from agentclock.store.notice_rows import (
    PRUNED_NOTICES,
    decode_notice,
    encode_delivery,
    encode_notices,
    milliseconds,
    notice_selection,
    retried,
)
from agentclock.store.rows import clean_text
from agentclock.store.sqlite_audit import record
from agentclock.store.sqlite_file import Session, id_list


def tell(session: Session, notices: Sequence[Notice]) -> None:
    """Part of the transaction that writes what they tell of."""
    if notices:
        session.run_many("insert_notices", (row | {"now": session.now} for row in encode_notices(notices)))


def tell_ends(session: Session, settlements: Sequence[Settlement]) -> None:
    """Of settlements that were written as they are."""
    runs = perhaps_recovered(session.subscriptions, settlements)
    recovered = {row[0] for row in session.rows("recovered_runs", runs=json.dumps(runs))} if runs else set()
    tell(session, of_settlements(session.subscriptions, settlements, recovered))


def claim(session: Session, limit: int, lease_seconds: float) -> list[NoticeRow]:
    ids = [row[0] for row in session.rows("due_notices", now=session.now, limit=max(0, limit))]
    if not ids:
        return []
    session.run("lease_notices", ids=id_list(ids), lease_until=session.now + milliseconds(lease_seconds))
    chosen = ("notices_claimed",)
    rows = session.rows("list_notices", chosen, ids=id_list(ids), limit=len(ids), offset=0)
    claimed, faults = decoded(rows, decode_notice)
    session.run_many("give_up_notices", ({"id": fault.row_id, "error": clean_text(str(fault))} for fault in faults))
    report(faults)
    return list(reversed(claimed))


def settle(session: Session, deliveries: Sequence[Delivery]) -> None:
    rows = (encode_delivery(delivery) | {"now": session.now} for delivery in deliveries)
    session.run_many("settle_notices", rows)


def next_ms(session: Session) -> int | None:
    next_at: Instant | None = session.value("next_notice")
    return None if next_at is None else next_at - session.now


def hasten(session: Session, webhook: str, after_seconds: float) -> None:
    session.run("hasten_notices", webhook=webhook, now=session.now, after=session.now + milliseconds(after_seconds))


def page(session: Session, where: NoticeFilter, page: PageRequest) -> Page[NoticeRow]:
    chosen = notice_selection(where)
    total = session.value("count_notices", chosen.conditions, **chosen.values)
    if page.cursor is not None:
        (notice_id,) = decode_cursor(page.cursor, str)
        chosen = chosen.after("notices_after", cursor_id=clean_text(notice_id))
    rows = session.rows("list_notices", chosen.conditions, limit=page.limit + 1, offset=offset(page), **chosen.values)
    return page_of(rows, total_count=total, limit=page.limit, decode=decode_notice, position=lambda row: (row[0],))


def retry(session: Session, notice_id: str, user_id: str | None, by: Actor | None) -> bool:
    notice_id = clean_text(notice_id) or ""
    if not session.run("retry_notice", id=notice_id, user_id=clean_text(user_id), now=session.now):
        return False
    rows = session.rows("list_notices", ("notices_claimed",), ids=id_list([notice_id]), limit=1, offset=0)
    record(session, retried(rows[0]), by)
    return True


def prune(session: Session, before: Instant) -> None:
    session.run("prune_notices", before=before, limit=PRUNED_NOTICES)
