"""Webhooks: who is told of failures, misses and the like, and what became of telling them."""

from __future__ import annotations

import time
from typing import Annotated, TypeAlias

from fastapi import Path, Query
from pydantic import BaseModel, Field

from agentclock.api.auth import TheCaller
from agentclock.api.parameters import Cursor, Limit, PageNumber
from agentclock.api.schemas import Meta, meta_out
from agentclock.api.values import iso_or_null, ms_since
from agentclock.config import WebhookFormat
from agentclock.core.instants import iso_utc
from agentclock.core.notices import NoticeKind, NoticeRow, NoticeStatus
from agentclock.ports import NoticeFilter, PageRequest
from agentclock.webhooks.desk import WebhookDesk, WebhookState

NoticeId: TypeAlias = Annotated[str, Path(max_length=64, description="Id of the notice: its `webhook-id`.")]
WebhookName: TypeAlias = Annotated[str, Path(max_length=64, description="Name of the webhook in the settings.")]


class Webhook(BaseModel):
    """A receiver as it is configured. Neither its URL nor its secrets are shown."""

    name: str
    host: str | None = Field(description="null: a secret says where it is.")
    format: WebhookFormat
    events: list[NoticeKind] = Field(description="What it is told.")
    tags: list[str] = Field(description="Only of schedules that have one of these; empty: of all.")
    with_output: bool = Field(description="Whether it gets the output of runs.")
    notices: dict[NoticeStatus, int] = Field(description="How many notices for it there are, by status.")


class WebhookList(BaseModel):
    data: list[Webhook]


class Notice(BaseModel):
    """Something that a webhook was told, or will be. Times are RFC 3339."""

    id: str = Field(description="The header `webhook-id` of its message, the same at every try.")
    webhook: str
    event: NoticeKind
    schedule_id: str
    run_id: str | None
    user_id: str | None = Field(description="The owner of the schedule.")
    created_at: str
    status: NoticeStatus = Field(description="dead: given up; somebody may have it tried again.")
    tries: int
    next_try_at: str | None
    delivered_at: str | None
    status_code: int | None = Field(description="What the receiver answered last.")
    error: str | None = Field(description="Why the last try failed.")


class NoticeList(BaseModel):
    data: list[Notice]
    meta: Meta


class NoticeRetried(BaseModel):
    id: str
    status: NoticeStatus


class WebhookTested(BaseModel):
    delivered: bool
    status_code: int | None = Field(description="What the receiver answered; null: nothing.")
    error: str | None


class NoticeRoutes:
    def __init__(self, desk: WebhookDesk) -> None:
        self._desk = desk

    async def list_webhooks(self) -> WebhookList:
        """The webhooks of this process's settings, and how many notices for each were delivered, wait or are dead."""
        return WebhookList(data=[_webhook_out(state) for state in await self._desk.webhooks()])

    async def list_notices(
        self,
        caller: TheCaller,
        status: Annotated[NoticeStatus | None, Query(description="Only those that stand so.")] = None,
        webhook: Annotated[str | None, Query(max_length=64, description="Only of this webhook.")] = None,
        schedule_id: Annotated[str | None, Query(max_length=64, description="Only about this schedule.")] = None,
        limit: Limit = 100,
        page: PageNumber = 1,
        cursor: Cursor = None,
    ) -> NoticeList:
        """What webhooks were told or will be, newest first. Callers who see their own schedules only see what is about
        those."""
        began = time.perf_counter()
        where = NoticeFilter(user_id=caller.user_id, webhook=webhook, status=status, schedule_id=schedule_id)
        found = await self._desk.notices(where, PageRequest(limit=limit, page=page, cursor=cursor))
        meta = meta_out(found, page=page, limit=limit, search_time_ms=ms_since(began))
        return NoticeList(data=[_notice_out(row) for row in found.items], meta=meta)

    async def retry_notice(self, notice_id: NoticeId, caller: TheCaller) -> NoticeRetried:
        """Have a dead notice tried again, at once and as often as a new one."""
        await self._desk.retry(notice_id, user_id=caller.user_id, by=caller.actor)
        return NoticeRetried(id=notice_id, status=NoticeStatus.PENDING)

    async def test_webhook(self, name: WebhookName) -> WebhookTested:
        """Send a message of type `ping` now, once, and tell what the receiver answered."""
        answer = await self._desk.ping(name)
        return WebhookTested(delivered=answer.has_arrived, status_code=answer.status_code, error=answer.error)


def _webhook_out(state: WebhookState) -> Webhook:
    entry = state.entry
    return Webhook(
        name=state.name,
        host=state.host,
        format=entry.format,
        events=sorted(entry.events),
        tags=list(entry.tags),
        with_output=entry.with_output,
        notices=dict(state.counts),
    )


def _notice_out(row: NoticeRow) -> Notice:
    notice = row.notice
    return Notice(
        id=notice.id,
        webhook=notice.webhook,
        event=notice.kind,
        schedule_id=notice.schedule_id,
        run_id=notice.run_id,
        user_id=notice.user_id,
        created_at=iso_utc(notice.created_at),
        status=row.status,
        tries=row.tries,
        next_try_at=iso_or_null(row.next_try_at),
        delivered_at=iso_or_null(row.delivered_at),
        status_code=row.status_code,
        error=row.error,
    )
