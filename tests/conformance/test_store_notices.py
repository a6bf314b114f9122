"""What webhooks are told is written with what it tells of, and delivered by whoever claims it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.conformance.conftest import Backend
from tests.conformance.helpers import (
    ALL,
    CANCELLED,
    DETACHED,
    LATER,
    MINUTE,
    PAUSED,
    REFUSED,
    START,
    SUCCESS,
    end,
    firing,
    history,
    register,
    schedule,
)

from agentclock.core.actors import Actor
from agentclock.core.ids import fire_run_id
from agentclock.core.lifecycle import settle
from agentclock.core.model import Cause, Claim, Instant, Outcome, OutcomeKind, Reason, RetryPolicy, RunStatus, Schedule
from agentclock.core.notices import Delivery, NoticeKind, NoticeRow, NoticeStatus, Subscription
from agentclock.core.planning import Absence, Plan
from agentclock.ports import NoticeFilter, PageRequest, Store
from agentclock.store.queries import Queries, Query
from agentclock.testing import FakeClock

_GET = Queries.get

ALL_KINDS = Subscription(webhook="ops", kinds=frozenset(NoticeKind))
FAILED = Outcome(kind=OutcomeKind.FAILED, error="boom", status_code=500)
TIMEOUT = Outcome(kind=OutcomeKind.TIMEOUT, error="too slow")
LOST = Outcome(kind=OutcomeKind.LOST, error="nobody knows")


@pytest.fixture
async def told(backend: Backend) -> Store:
    store = await backend.open(subscriptions=[ALL_KINDS])
    await register(store, lease_seconds=86_400)
    return store


async def claimed(store: Store, at: Instant = START, **fields: Any) -> Claim:
    """A run of schedule s1, which is made if it is not there."""
    if await store.get_schedule("s1") is None:
        await store.insert_schedules([schedule("s1", next_fire_at=at, **fields)])
    plan = firing(at, again_at=at + MINUTE, available=at)
    (claim,) = (await store.fire_due(plan, limit=1, worker_id="w1", slots=1)).claims
    return claim


async def written(store: Store, **where: Any) -> list[NoticeRow]:
    """Oldest first."""
    page = await store.notices(NoticeFilter(**where), ALL)
    assert page.total_count == len(page.items)
    return list(reversed(page.items))


async def kinds(store: Store) -> list[NoticeKind]:
    return [row.notice.kind for row in await written(store)]


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (FAILED, NoticeKind.FAILED),
        (TIMEOUT, NoticeKind.FAILED),
        (LOST, NoticeKind.LOST),
        (PAUSED, NoticeKind.PAUSED),
        (SUCCESS, NoticeKind.SUCCEEDED),
    ],
)
async def test_an_end_is_told(told: Store, outcome: Outcome, kind: NoticeKind) -> None:
    claim = await claimed(told, tags=("night",), user_id="ann", on_lost=None)
    settlement = await end(told, claim, outcome)
    (row,) = await written(told)
    assert (row.notice.kind, row.notice.webhook, row.notice.run_id) == (kind, "ops", claim.run.id)
    assert (row.notice.user_id, row.notice.schedule_id, row.notice.created_at) == ("ann", "s1", settlement.ended_at)
    assert row.notice.data["schedule"] == {"id": "s1", "name": "name of s1", "tags": ["night"], "user_id": "ann"}
    assert row.notice.data["run"]["status"] == settlement.status
    assert row.notice.data["run"]["error"] == outcome.error
    assert (row.status, row.tries, row.next_try_at) == (NoticeStatus.PENDING, 0, START)


@pytest.mark.parametrize("outcome", [LATER, REFUSED, DETACHED, CANCELLED])
async def test_what_goes_on_or_was_wished_for_is_no_news(told: Store, outcome: Outcome) -> None:
    claim = await claimed(told, retry=RetryPolicy(max_retries=1))
    await end(told, claim, outcome)
    assert await written(told) == []


async def test_a_success_after_a_failure_is_a_recovery(told: Store, clock: FakeClock) -> None:
    for place, outcome in enumerate([SUCCESS, FAILED, CANCELLED, SUCCESS, SUCCESS]):
        await end(told, await claimed(told, START + place * MINUTE), outcome)
        clock.advance(60)
    expected = [NoticeKind.SUCCEEDED, NoticeKind.FAILED, NoticeKind.RECOVERED, NoticeKind.SUCCEEDED]
    assert sorted(await kinds(told)) == sorted([*expected, NoticeKind.SUCCEEDED])
    (recovered,) = [row for row in await written(told) if row.notice.kind is NoticeKind.RECOVERED]
    assert recovered.notice.run_id == fire_run_id("s1", START + 3 * MINUTE)


async def test_nothing_is_told_of_what_was_not_written(told: Store) -> None:
    claim = await claimed(told)
    stale = replace(settle(claim, FAILED, START), fence=claim.run.fence - 1)
    assert await told.settle([stale]) == frozenset()
    assert await written(told) == []


async def test_a_settlement_that_is_repeated_is_told_once(told: Store) -> None:
    claim = await claimed(told)
    settlement = await end(told, claim, FAILED)
    assert await told.settle([settlement, settlement]) == frozenset()
    assert await kinds(told) == [NoticeKind.FAILED]


@pytest.mark.parametrize("outcome", [LATER, PAUSED])
async def test_a_cancel_in_the_last_moment_is_no_failure(told: Store, outcome: Outcome) -> None:
    claim = await claimed(told, retry=RetryPolicy(max_retries=1))
    await told.request_cancel(claim.run.id)
    await end(told, claim, outcome)
    assert await written(told) == []


async def test_webhooks_are_told_what_they_asked_for(backend: Backend) -> None:
    store = await backend.open(
        subscriptions=[
            Subscription(webhook="usual"),
            Subscription(webhook="night", tags=("night", "dawn")),
            Subscription(webhook="whole", kinds=frozenset({NoticeKind.SUCCEEDED}), with_output=True),
        ]
    )
    await register(store, lease_seconds=86_400)
    await end(store, await claimed(store, START, tags=("day",)), SUCCESS)
    (row,) = await written(store)
    assert row.notice.webhook == "whole"
    assert row.notice.data["run"]["output"] == SUCCESS.output


async def test_tags_choose(backend: Backend) -> None:
    store = await backend.open(
        subscriptions=[Subscription(webhook="night", tags=("night",)), Subscription(webhook="all")]
    )
    await register(store, lease_seconds=86_400)
    for name, tags in (("s1", ("night", "x")), ("s2", ("day",))):
        await store.insert_schedules([schedule(name, tags=tags)])
        (claim,) = (await store.fire_due(firing(START), limit=1, worker_id="w1", slots=1)).claims
        await end(store, claim, FAILED)
    told = {(row.notice.schedule_id, row.notice.webhook) for row in await written(store)}
    assert told == {("s1", "night"), ("s1", "all"), ("s2", "all")}


async def test_missed_fires_are_told_and_skipped_ones_are_not(told: Store, clock: FakeClock) -> None:
    await told.insert_schedules([schedule("s1"), schedule("s2")])
    clock.advance(3600)
    await told.fire_due(lambda s, _, now: absent(s, RunStatus.MISSED if s.id == "s1" else RunStatus.SKIPPED), limit=2)
    (row,) = await written(told)
    assert row.notice.kind is NoticeKind.MISSED
    assert row.notice.data["missed"] == {
        "count": 2,
        "first_fire_at": "2026-01-01T00:00:00.000Z",
        "last_fire_at": "2026-01-01T00:01:00.000Z",
        "reason": "superseded",
    }
    assert row.notice.created_at == clock.now()


def absent(one: Schedule, status: RunStatus) -> Plan:
    gap = Absence(
        run_id=fire_run_id(one.id, START),
        status=status,
        reason=Reason.SUPERSEDED,
        cause=Cause.SCHEDULE,
        fire_at=START,
        last_fire_at=START + MINUTE,
        count=2,
    )
    return Plan(schedule_id=one.id, absences=(gap,), last_fire_at=START + MINUTE)


async def test_a_schedule_that_somebody_switches_off_is_told(told: Store) -> None:
    await told.insert_schedules([schedule("s1", user_id="ann")])
    off = lambda one, now: replace(one, enabled=False, disabled_reason="holidays")  # noqa: E731
    await told.change_schedule("s1", off, by=Actor("bob", "cli"))
    await told.change_schedule("s1", lambda one, now: replace(one, description="still off"))
    (row,) = await written(told)
    assert (row.notice.kind, row.notice.user_id) == (NoticeKind.DISABLED, "ann")
    assert row.notice.data["disabled"] == {"reason": "holidays", "by": "bob"}


async def test_a_schedule_that_cannot_be_planned_is_told(told: Store, backend: Backend) -> None:
    await told.insert_schedules([schedule("s1"), schedule("s2")])
    await backend.execute("UPDATE {prefix}schedules SET overlap = 'both' WHERE id = 's2'")
    await told.fire_due(lambda one, _, now: Plan(schedule_id=one.id, fault="no such zone"), limit=2)
    first, second = sorted(await written(told), key=lambda row: row.notice.schedule_id)
    assert first.notice.data["disabled"] == {"reason": "no such zone", "by": "agentclock"}
    assert first.notice.data["schedule"]["name"] == "name of s1"
    assert second.notice.kind is NoticeKind.DISABLED
    assert "overlap" in second.notice.data["disabled"]["reason"]


async def test_a_schedule_that_its_run_puts_an_end_to_is_told_with_the_run(told: Store) -> None:
    await end(told, await claimed(told), replace(FAILED, disables="its owner was revoked"))
    failed, off = sorted(await written(told), key=lambda row: row.notice.kind)
    assert (failed.notice.kind, off.notice.kind) == (NoticeKind.FAILED, NoticeKind.DISABLED)
    assert off.notice.data["disabled"] == {"reason": "its owner was revoked", "by": "agentclock"}


async def test_nobody_to_tell_costs_nothing(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def noting(self: Queries, name: str, conditions: Sequence[str] = ()) -> Query:
        asked.append(name)
        return _GET(self, name, conditions)

    monkeypatch.setattr(Queries, "get", noting)
    store = await backend.open()
    await register(store, lease_seconds=86_400)
    await end(store, await claimed(store), FAILED)
    await store.fire_due(lambda one, _, now: absent(one, RunStatus.MISSED), limit=1)
    await store.change_schedule("s1", lambda one, now: replace(one, enabled=False))
    assert {"insert_revisions", "next_due"} <= {*asked}
    assert not [name for name in asked if "notice" in name]
    assert await written(store) == []
    assert await store.claim_notices(10, 60) == []
    assert await store.next_notice_ms() is None


async def failures(store: Store, clock: FakeClock, number: int) -> list[str]:
    """Ids of as many notices of one failed run each, oldest first."""
    for place in range(number):
        await end(store, await claimed(store, START + place * MINUTE), FAILED)
        clock.advance(60)
    return [row.notice.id for row in await written(store)]


async def test_what_is_claimed_nobody_else_gets_until_the_lease_is_over(told: Store, clock: FakeClock) -> None:
    ids = await failures(told, clock, 3)
    first = await told.claim_notices(2, lease_seconds=30)
    assert [row.notice.id for row in first] == ids[:2]
    assert [row.tries for row in first] == [1, 1]
    assert [row.notice.id for row in await told.claim_notices(2, lease_seconds=30)] == ids[2:]
    assert await told.claim_notices(2, lease_seconds=30) == []
    assert await told.next_notice_ms() == 30_000
    clock.advance(30)
    again = await told.claim_notices(5, lease_seconds=30)
    assert [(row.notice.id, row.tries) for row in again] == [(one, 2) for one in ids]


async def test_two_couriers_share_the_work(backend: Backend, clock: FakeClock) -> None:
    store = await backend.open(subscriptions=[ALL_KINDS])
    await register(store, lease_seconds=86_400)
    ids = await failures(store, clock, 20)
    batches = await asyncio.gather(*(store.claim_notices(3, 60) for _ in range(10)))
    got = [row.notice.id for batch in batches for row in batch]
    assert sorted(got) == sorted(ids)


async def test_a_delivery_is_written_by_whoever_holds_it(told: Store, clock: FakeClock) -> None:
    await failures(told, clock, 1)
    (held,) = await told.claim_notices(1, lease_seconds=30)
    clock.advance(30)
    (again,) = await told.claim_notices(1, lease_seconds=30)
    late = Delivery(notice_id=held.notice.id, tries=held.tries, status=NoticeStatus.DEAD, error="late")
    await told.settle_notices([late])
    assert (await written(told))[0].status is NoticeStatus.PENDING
    done = Delivery(notice_id=held.notice.id, tries=again.tries, status=NoticeStatus.DELIVERED, status_code=204)
    await told.settle_notices([done])
    await told.settle_notices([replace(done, status=NoticeStatus.DEAD)])
    (row,) = await written(told)
    assert (row.status, row.status_code, row.delivered_at) == (NoticeStatus.DELIVERED, 204, clock.now())
    assert row.next_try_at is None
    assert await told.next_notice_ms() is None


async def test_a_try_that_failed_comes_again_when_it_says(told: Store, clock: FakeClock) -> None:
    await failures(told, clock, 1)
    (held,) = await told.claim_notices(1, lease_seconds=30)
    again_at = clock.now() + 5_000
    failed = Delivery(
        notice_id=held.notice.id,
        tries=1,
        status=NoticeStatus.PENDING,
        next_try_at=again_at,
        error="\0no",
        status_code=503,
    )
    await told.settle_notices([failed])
    assert await told.next_notice_ms() == 5_000
    assert await told.claim_notices(1, 30) == []
    clock.advance(5)
    (row,) = await told.claim_notices(1, 30)
    assert (row.tries, row.status_code, row.error) == (2, 503, "�no")


async def test_a_dead_notice_can_be_tried_again(told: Store, clock: FakeClock) -> None:
    await claimed_dead(told, clock)
    (row,) = await written(told)
    assert await told.claim_notices(1, 30) == []
    assert not await told.retry_notice(row.notice.id, user_id="bob")
    assert not await told.retry_notice("no such notice")
    assert await told.retry_notice(row.notice.id, by=Actor("ann"))
    assert not await told.retry_notice(row.notice.id)
    (again,) = await told.claim_notices(1, 30)
    assert (again.notice.id, again.tries) == (row.notice.id, 1)


async def claimed_dead(store: Store, clock: FakeClock) -> None:
    await failures(store, clock, 1)
    (held,) = await store.claim_notices(1, 30)
    await store.settle_notices(
        [Delivery(notice_id=held.notice.id, tries=1, status=NoticeStatus.DEAD, error="gone", status_code=410)]
    )


async def test_pages_and_filters(told: Store, clock: FakeClock) -> None:
    ids = await failures(told, clock, 5)
    found: list[str] = []
    cursor = None
    while True:
        page = await told.notices(NoticeFilter(), PageRequest(limit=2, cursor=cursor))
        found += [row.notice.id for row in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == ids[::-1]
    assert len(await written(told, webhook="ops", status=NoticeStatus.PENDING, schedule_id="s1")) == 5
    for nothing in ({"webhook": "x"}, {"status": NoticeStatus.DEAD}, {"schedule_id": "x"}, {"user_id": "ann"}):
        assert await written(told, **nothing) == []


async def test_old_ones_that_are_over_are_pruned(told: Store, clock: FakeClock) -> None:
    await claimed_dead(told, clock)
    await failures(told, clock, 0)
    await end(told, await claimed(told, START + MINUTE), FAILED)
    before = clock.now() + 1
    clock.advance(600)
    await told.prune(before, 100)
    (left,) = await written(told)
    assert left.status is NoticeStatus.PENDING
    await told.prune(before, 100)
    assert len(await history(told)) == 0
    assert len(await written(told)) == 1


async def test_those_of_one_webhook_that_wait_long_are_due_at_once(told: Store, clock: FakeClock) -> None:
    await failures(told, clock, 2)
    soon, late = await told.claim_notices(2, lease_seconds=60)
    for row, seconds in ((soon, 30), (late, 3_600)):
        again_at = clock.now() + seconds * 1_000
        delivery = Delivery(notice_id=row.notice.id, tries=1, status=NoticeStatus.PENDING, next_try_at=again_at)
        await told.settle_notices([delivery])
    await told.hasten_notices("other", 60)
    assert await told.claim_notices(2, 60) == []
    await told.hasten_notices("ops", 60)
    assert [row.notice.id for row in await told.claim_notices(2, 60)] == [late.notice.id]


async def test_one_that_cannot_be_read_is_in_nobodys_way(told: Store, backend: Backend, clock: FakeClock) -> None:
    ids = await failures(told, clock, 2)
    await backend.execute("UPDATE {prefix}notices SET data = '{' WHERE id = ?", ids[0])
    assert [row.notice.id for row in await told.claim_notices(5, 30)] == ids[1:]
    page = await told.notices(NoticeFilter(status=NoticeStatus.DEAD), ALL)
    assert (page.total_count, [fault.row_id for fault in page.faults]) == (1, ids[:1])
