"""The use cases of webhooks: which there are, what became of notices, trying one again, trying a webhook out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agentclock.config import WebhookEntry
from agentclock.core.actors import Actor
from agentclock.core.errors import NotFound
from agentclock.core.ids import uuid7
from agentclock.core.notices import NoticeRow, NoticeStatus
from agentclock.ports import Clock, NoticeFilter, Page, PageRequest, Store
from agentclock.webhooks.answers import Answer, Post, host_of
from agentclock.webhooks.messages import ping_message

_ONE = PageRequest(limit=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookState:
    """`host`: of its URL, None where a secret says it. `counts`: notices by what became of them."""

    name: str
    host: str | None
    entry: WebhookEntry
    counts: Mapping[NoticeStatus, int]


class WebhookDesk:
    """`ring`: there is something to send."""

    def __init__(
        self,
        store: Store,
        webhooks: Mapping[str, WebhookEntry],
        *,
        clock: Clock,
        post: Post,
        ring: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._webhooks = webhooks
        self._clock = clock
        self._post = post
        self._ring = ring

    async def webhooks(self) -> list[WebhookState]:
        """Those that this process is configured with. Raises SchemaBehind."""
        return [
            WebhookState(name=name, host=host_of(entry.url), entry=entry, counts=await self._counts(name))
            for name, entry in self._webhooks.items()
        ]

    async def notices(self, where: NoticeFilter, page: PageRequest) -> Page[NoticeRow]:
        """Newest first. Raises InvalidField for a cursor that is none, SchemaBehind."""
        return await self._store.notices(where, page)

    async def retry(self, notice_id: str, *, user_id: str | None = None, by: Actor | None = None) -> None:
        """Raises NotFound: there is no such dead notice (any more); SchemaBehind."""
        if not await self._store.retry_notice(notice_id, user_id=user_id, by=by):
            raise NotFound("Dead notice")
        self._ring()

    async def ping(self, webhook: str) -> Answer:
        """Sends a message that tells nothing, once, now. Raises NotFound."""
        if webhook not in self._webhooks:
            raise NotFound("Webhook")
        now = self._clock.now()
        return await self._post(webhook, ping_message(uuid7(now, os.urandom(10)), webhook, now))

    async def _counts(self, webhook: str) -> dict[NoticeStatus, int]:
        return {
            status: (await self._store.notices(NoticeFilter(webhook=webhook, status=status), _ONE)).total_count
            for status in NoticeStatus
        }
