"""The use case of the audit log: who did what, and from where."""

from __future__ import annotations

from agentclock.core.audit import AuditEntry
from agentclock.ports import AuditFilter, Page, PageRequest, Store
from agentclock.runs import check_page, check_texts


class AuditLog:
    """Entries are written by the store, in the transaction of what they tell of. Here they are only read."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def entries(self, where: AuditFilter | None = None, page: PageRequest | None = None) -> Page[AuditEntry]:
        """Newest first. Raises InvalidField, SchemaBehind."""
        where, page = where or AuditFilter(), page or PageRequest()
        check_texts(actor=where.actor, schedule_id=where.schedule_id, run_id=where.run_id)
        check_page(page)
        return await self._store.audit(where, page)
