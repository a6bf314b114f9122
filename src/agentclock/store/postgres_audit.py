"""The audit log in PostgreSQL: each function is one operation inside a transaction of its caller."""

from __future__ import annotations

from collections.abc import Sequence

from agentclock.core.actors import Actor
from agentclock.core.audit import AuditEntry
from agentclock.ports import AuditFilter, Page, PageRequest
from agentclock.store.auditing import Deed, audit_selection, encode_deeds
from agentclock.store.filters import decode_cursor, offset, page_of
from agentclock.store.postgres_pool import Session, run_uuid
from agentclock.store.rows import decode_audit


async def record(session: Session, deeds: Sequence[Deed], by: Actor | None) -> None:
    """Nothing where nobody is said to have done it, or where the schema has no room for it."""
    newest = await session.row("newest_audit") if by is not None and deeds else None
    if by is None or newest is None:
        return
    rows = encode_deeds(deeds, by, newest[1], newest[0])
    await session.rows(
        "insert_audit",
        ids=[row["id"] for row in rows],
        at=[row["at"] for row in rows],
        actions=[row["action"] for row in rows],
        actors=[row["actor"] for row in rows],
        sources=[row["source"] for row in rows],
        user_ids=[row["user_id"] for row in rows],
        schedule_ids=[row["schedule_id"] for row in rows],
        run_ids=[row["run_id"] for row in rows],
        details=[row["details"] for row in rows],
    )


async def entries(session: Session, where: AuditFilter, page: PageRequest) -> Page[AuditEntry]:
    chosen = audit_selection(where)
    values = chosen.values | ({} if where.run_id is None else {"run_id": run_uuid(where.run_id)})
    total = await session.value("count_audit", chosen.conditions, **values)
    if page.cursor is not None:
        (entry_id,) = decode_cursor(page.cursor, str)
        chosen, values["cursor_id"] = chosen.after("audit_after"), run_uuid(entry_id)
    rows = await session.rows("list_audit", chosen.conditions, limit=page.limit + 1, offset=offset(page), **values)
    return page_of(rows, total_count=total, limit=page.limit, decode=decode_audit, position=lambda row: (row[0],))
