"""Owners in SQLite: each function is one operation inside a transaction of its caller."""

from __future__ import annotations

from collections.abc import Sequence

from agentclock.core.actors import Actor
from agentclock.core.model import Instant
from agentclock.core.owners import Owner
from agentclock.ports import Page, PageRequest
from agentclock.store import auditing
from agentclock.store.filters import decode_cursor, offset, page_of
from agentclock.store.rows import clean_text, decode_owner, encode_json
from agentclock.store.sqlite_audit import record
from agentclock.store.sqlite_file import Session


def see(session: Session, user_id: str, scopes: Sequence[str], issued_at: Instant | None) -> None:
    session.run(
        "see_owner", user_id=clean_text(user_id), scopes=encode_json(list(scopes)), issued_at=issued_at, now=session.now
    )


def get(session: Session, user_id: str) -> Owner | None:
    row = session.row("get_owner", user_id=clean_text(user_id))
    return None if row is None else decode_owner(row)


def list_all(session: Session, page: PageRequest) -> Page[Owner]:
    conditions, values = [], {}
    if page.cursor is not None:
        (values["cursor_id"],) = decode_cursor(page.cursor, str)
        conditions = ["owners_after"]
    total = session.value("count_owners")
    rows = session.rows("list_owners", conditions, limit=page.limit + 1, offset=offset(page), **values)
    return page_of(rows, total_count=total, limit=page.limit, decode=decode_owner, position=lambda row: (row[0],))


def revoke(session: Session, user_id: str, revoked: bool, by: Actor) -> Owner:
    now = session.now
    values = {"user_id": clean_text(user_id), "by": clean_text(by.name), "now": now}
    changed = session.run("revoke_owner" if revoked else "restore_owner", **values)
    if changed:
        record(session, auditing.owner_changed(user_id, revoked), by)
    owner = get(session, user_id)
    return Owner(user_id=user_id, seen_at=now) if owner is None else owner
