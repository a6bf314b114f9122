"""Owners in PostgreSQL: each function is one operation inside a transaction of its caller."""

from __future__ import annotations

from collections.abc import Sequence

from agentclock.core.actors import Actor
from agentclock.core.model import Instant
from agentclock.core.owners import Owner
from agentclock.ports import Page, PageRequest
from agentclock.store import auditing
from agentclock.store.filters import decode_cursor, offset, page_of
from agentclock.store.postgres_audit import record
from agentclock.store.postgres_pool import Session
from agentclock.store.rows import clean_text, decode_owner, encode_json


async def see(session: Session, user_id: str, scopes: Sequence[str], issued_at: Instant | None) -> None:
    await session.rows("see_owner", user_id=clean_text(user_id), scopes=encode_json(list(scopes)), issued_at=issued_at)


async def get(session: Session, user_id: str) -> Owner | None:
    row = await session.row("get_owner", user_id=clean_text(user_id))
    return None if row is None else decode_owner(row)


async def list_all(session: Session, page: PageRequest) -> Page[Owner]:
    conditions, values = [], {}
    if page.cursor is not None:
        (values["cursor_id"],) = decode_cursor(page.cursor, str)
        conditions = ["owners_after"]
    total = await session.value("count_owners")
    rows = await session.rows("list_owners", conditions, limit=page.limit + 1, offset=offset(page), **values)
    return page_of(rows, total_count=total, limit=page.limit, decode=decode_owner, position=lambda row: (row[0],))


async def revoke(session: Session, user_id: str, revoked: bool, by: Actor) -> Owner:
    now = await session.value("ruling_time")
    values = {"user_id": clean_text(user_id), "by": clean_text(by.name), "now": now}
    changed = await session.rows("revoke_owner" if revoked else "restore_owner", **values)
    if changed:
        await record(session, auditing.owner_changed(user_id, revoked), by)
    owner = await get(session, user_id)
    return Owner(user_id=user_id, seen_at=now) if owner is None else owner
