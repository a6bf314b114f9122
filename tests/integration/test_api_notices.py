"""Webhooks over REST: which there are, what became of notices, and trying again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from tests.apis import World, app_of, client_of, world

from agentclock.api import Caller, OpenGuard, Permission
from agentclock.core.audit import Action
from agentclock.core.model import Outcome, OutcomeKind
from agentclock.core.notices import Delivery, NoticeStatus, Subscription
from agentclock.ports import AuditFilter, NoticeFilter, PageRequest
from agentclock.webhooks.answers import Answer

FAILED = Outcome(kind=OutcomeKind.FAILED, error="boom")


class Confined(OpenGuard):
    """Everybody is Ann, and sees what is Ann's."""

    async def admit(self, request: Any, permission: Permission) -> Caller:
        return Caller(user_id="ann", owner="ann", name="ann")


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world(Subscription(webhook="ops")) as made:
        yield made


@pytest.fixture
async def client(here: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app_of(here)) as made:
        yield made


async def fail(here: World, user_id: str | None = None) -> str:
    """The id of the notice of a run that failed."""
    schedule = await here.scheduler.create(
        {"name": f"job at {here.clock.now()}", "endpoint": "/agents/assistant/runs", "cron_expr": "0 3 * * *"},
        user_id=user_id,
    )
    await here.scheduler.trigger(schedule.id)
    await here.execute(FAILED)
    here.clock.advance(1)
    (row, *_) = (await here.desk.notices(NoticeFilter(), PageRequest())).items
    return row.notice.id


async def bury(here: World, notice_id: str) -> None:
    for row in await here.store.claim_notices(100, 1):
        status = NoticeStatus.DEAD if row.notice.id == notice_id else NoticeStatus.DELIVERED
        done = Delivery(notice_id=row.notice.id, tries=row.tries, status=status, status_code=410, error="gone")
        await here.store.settle_notices([done])


async def test_webhooks_are_shown_without_what_is_secret(here: World, client: httpx2.AsyncClient) -> None:
    await fail(here)
    answer = await client.get("/webhooks")
    ops, chat = answer.json()["data"]
    assert ops == {
        "name": "ops",
        "host": "hooks.example.com",
        "format": "standard",
        "events": ["fires.missed", "run.failed", "run.lost", "run.paused", "schedule.disabled", "schedule.recovered"],
        "tags": [],
        "with_output": False,
        "notices": {"pending": 1, "delivered": 0, "dead": 0},
    }
    assert (chat["host"], chat["events"], chat["tags"]) == (None, ["run.succeeded"], ["night"])
    assert "topsecret" not in answer.text
    assert "CHAT_URL" not in answer.text


async def test_what_became_of_notices(here: World, client: httpx2.AsyncClient) -> None:
    first, second = await fail(here), await fail(here)
    page = (await client.get("/webhooks/notices?limit=1")).json()
    assert [row["id"] for row in page["data"]] == [second]
    assert page["meta"]["total_count"] == 2
    cursor = page["meta"]["next_cursor"]
    assert [row["id"] for row in (await client.get(f"/webhooks/notices?cursor={cursor}")).json()["data"]] == [first]
    await bury(here, first)
    (dead,) = (await client.get("/webhooks/notices?status=dead&webhook=ops")).json()["data"]
    run = (await client.get(f"/schedules/{dead['schedule_id']}/runs/{dead['run_id']}")).json()
    assert run["status"] == "failed"
    assert dead == {
        "id": first,
        "webhook": "ops",
        "event": "run.failed",
        "schedule_id": run["schedule_id"],
        "run_id": run["id"],
        "user_id": None,
        "created_at": "2026-01-01T00:00:00.000Z",
        "status": "dead",
        "tries": 1,
        "next_try_at": None,
        "delivered_at": None,
        "status_code": 410,
        "error": "gone",
    }
    assert (await client.get(f"/webhooks/notices?schedule_id={run['schedule_id']}")).json()["meta"]["total_count"] == 1
    assert (await client.get("/webhooks/notices?webhook=other")).json()["data"] == []
    assert (await client.get("/webhooks/notices?status=late")).status_code == 422
    assert (await client.get("/webhooks/notices?cursor=x")).status_code == 422


async def test_a_dead_notice_is_tried_again(here: World, client: httpx2.AsyncClient) -> None:
    notice_id = await fail(here)
    assert (await client.post(f"/webhooks/notices/{notice_id}/retry")).status_code == 404
    await bury(here, notice_id)
    wakes = here.wakes
    answer = await client.post(f"/webhooks/notices/{notice_id}/retry")
    assert (answer.status_code, answer.json()) == (200, {"id": notice_id, "status": "pending"})
    assert here.wakes == wakes + 1
    assert (await client.post(f"/webhooks/notices/{notice_id}/retry")).status_code == 404
    entries = (await here.store.audit(AuditFilter(actions=(Action.NOTICE_RETRIED,)), PageRequest())).items
    assert [entry.details for entry in entries] == [{"notice_id": notice_id, "webhook": "ops"}]


async def test_owners_see_and_retry_their_own(here: World) -> None:
    anns = await fail(here, "ann")
    await bury(here, anns)
    bobs = await fail(here, "bob")
    await bury(here, bobs)
    async with client_of(app_of(here, guard=Confined())) as client:
        found = (await client.get("/webhooks/notices")).json()
        assert [row["id"] for row in found["data"]] == [anns]
        assert (await client.post(f"/webhooks/notices/{bobs}/retry")).status_code == 404
        assert (await client.post(f"/webhooks/notices/{anns}/retry")).status_code == 200


async def test_a_webhook_is_tried_out(here: World, client: httpx2.AsyncClient) -> None:
    answer = await client.post("/webhooks/ops/test")
    assert answer.json() == {"delivered": True, "status_code": 204, "error": None}
    ((webhook, message),) = here.posted
    assert (webhook, message.type, message.data) == ("ops", "ping", {"webhook": "ops"})
    here.answer = Answer(error="no connection")
    assert (await client.post("/webhooks/ops/test")).json() == {
        "delivered": False,
        "status_code": None,
        "error": "no connection",
    }
    assert (await client.post("/webhooks/unknown/test")).status_code == 404
