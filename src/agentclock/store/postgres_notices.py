"""Notices in PostgreSQL: each function is one operation inside a transaction of its caller."""

from __future__ import annotations

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
    notice_selection,
    retried,
)
from agentclock.store.postgres_audit import record
from agentclock.store.postgres_pool import Row, Session
from agentclock.store.rows import clean_text


async def tell(session: Session, notices: Sequence[Notice]) -> None:
    """Part of the transaction that writes what they tell of."""
    if not notices:
        return
    rows = encode_notices(notices)
    await session.rows(
        "insert_notices",
        ids=[row["id"] for row in rows],
        webhooks=[row["webhook"] for row in rows],
        kinds=[row["kind"] for row in rows],
        created_at=[row["created_at"] for row in rows],
        schedule_ids=[row["schedule_id"] for row in rows],
        run_ids=[row["run_id"] for row in rows],
        user_ids=[row["user_id"] for row in rows],
        data=[row["data"] for row in rows],
    )


async def tell_ends(session: Session, settlements: Sequence[Settlement]) -> None:
    """Of settlements that were written as they are."""
    runs = perhaps_recovered(session.subscriptions, settlements)
    recovered: set[str] = set()
    if runs:
        ids, schedule_ids = [run_id for run_id, _ in runs], [schedule_id for _, schedule_id in runs]
        recovered = {row[0] for row in await session.rows("recovered_runs", ids=ids, schedule_ids=schedule_ids)}
    await tell(session, of_settlements(session.subscriptions, settlements, recovered))


async def claim(session: Session, limit: int, lease_seconds: float) -> list[NoticeRow]:
    taken = await session.rows("claim_notices", limit=max(0, limit), lease_seconds=float(lease_seconds))
    if not taken:
        return []
    claimed, faults = decoded(await _by_id(session, [row[0] for row in taken]), decode_notice)
    if faults:
        errors = [clean_text(str(fault)) for fault in faults]
        await session.rows("give_up_notices", ids=[fault.row_id for fault in faults], errors=errors)
        report(faults)
    return list(reversed(claimed))


async def _by_id(session: Session, ids: list[str]) -> list[Row]:
    """Newest first."""
    return await session.rows("list_notices", ("notices_claimed",), ids=ids, limit=len(ids), offset=0)


async def settle(session: Session, deliveries: Sequence[Delivery]) -> None:
    rows = [encode_delivery(delivery) for delivery in deliveries]
    await session.rows(
        "settle_notices",
        ids=[row["id"] for row in rows],
        tries=[row["tries"] for row in rows],
        statuses=[row["status"] for row in rows],
        next_tries_at=[row["next_try_at"] for row in rows],
        status_codes=[row["status_code"] for row in rows],
        errors=[row["error"] for row in rows],
    )


async def next_ms(session: Session) -> int | None:
    upcoming = await session.row("next_notice")
    return None if upcoming is None else upcoming[0] - upcoming[1]


async def hasten(session: Session, webhook: str, after_seconds: float) -> None:
    await session.rows("hasten_notices", webhook=webhook, after_seconds=float(after_seconds))


async def page(session: Session, where: NoticeFilter, page: PageRequest) -> Page[NoticeRow]:
    chosen = notice_selection(where)
    total = await session.value("count_notices", chosen.conditions, **chosen.values)
    if page.cursor is not None:
        (notice_id,) = decode_cursor(page.cursor, str)
        chosen = chosen.after("notices_after", cursor_id=clean_text(notice_id))
    rows = await session.rows(
        "list_notices", chosen.conditions, limit=page.limit + 1, offset=offset(page), **chosen.values
    )
    return page_of(rows, total_count=total, limit=page.limit, decode=decode_notice, position=lambda row: (row[0],))


async def retry(session: Session, notice_id: str, user_id: str | None, by: Actor | None) -> bool:
    found = await session.row("retry_notice", id=clean_text(notice_id) or "", user_id=clean_text(user_id))
    if found is None:
        return False
    await record(session, retried((await _by_id(session, [found[0]]))[0]), by)
    return True


async def prune(session: Session, before: Instant) -> None:
    await session.rows("prune_notices", before=before, limit=PRUNED_NOTICES)
