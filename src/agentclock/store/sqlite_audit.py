"""The audit log in SQLite: each function is one operation inside a transaction of its caller."""

from __future__ import annotations

import json
from collections.abc import Sequence

from agentclock.core.actors import Actor
from agentclock.core.audit import AuditEntry
from agentclock.ports import AuditFilter, Page, PageRequest
from agentclock.store.auditing import Deed, audit_selection, encode_deeds
from agentclock.store.filters import decode_cursor, offset, page_of
from agentclock.store.rows import decode_audit
from agentclock.store.sqlite_file import Session


def record(session: Session, deeds: Sequence[Deed], by: Actor | None) -> None:
    """Nothing where nobody is said to have done it, or where the schema has no room for it."""
    newest = session.row("newest_audit") if by is not None and deeds else None
    if by is not None and newest is not None:
        session.run("insert_audit", rows=json.dumps(encode_deeds(deeds, by, session.now, newest[0])))


def entries(session: Session, where: AuditFilter, page: PageRequest) -> Page[AuditEntry]:
    chosen = audit_selection(where)
    total = session.value("count_audit", chosen.conditions, **chosen.values)
    if page.cursor is not None:
        (entry_id,) = decode_cursor(page.cursor, str)
        chosen = chosen.after("audit_after", cursor_id=entry_id)
    rows = session.rows("list_audit", chosen.conditions, limit=page.limit + 1, offset=offset(page), **chosen.values)
    return page_of(rows, total_count=total, limit=page.limit, decode=decode_audit, position=lambda row: (row[0],))
