"""Notices reach their webhooks: in which order, how often they are tried, and when they are given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs
from tests.webhook_help import DOWN, Receiver, fail, memory_store, told

from agentclock.core.errors import StoreUnavailable
from agentclock.core.events import ScheduleChanged
from agentclock.core.model import SECOND
from agentclock.core.notices import Delivery, NoticeRow, NoticeStatus
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import FakeClock
from agentclock.webhooks.answers import Answer
from agentclock.webhooks.courier import (
    BATCH,
    LEASE_SECONDS,
    LOOK_SECONDS,
    RETRY_SECONDS,
    UNKNOWN_SECONDS,
    Courier,
    pause_seconds,
)
from agentclock.webhooks.messages import Message

HOUR = 3600
GONE = Answer(status_code=410, error="answered 410")
BUSY = Answer(status_code=503, error="answered 503", retry_after_seconds=90)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(clock: FakeClock) -> AsyncIterator[SqliteStore]:
    made = await memory_store(clock, "ops")
    yield made
    await made.close()


@pytest.fixture
def receiver(clock: FakeClock) -> Receiver:
    return Receiver(clock)


@pytest.fixture
def counted() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def courier(store: SqliteStore, clock: FakeClock, receiver: Receiver, counted: list[tuple[str, str]]) -> Courier:
    def count(webhook: str, result: str) -> None:
        counted.append((webhook, result))

    return Courier(store, ["ops"], clock=clock, post=receiver.post, public_url="https://clock.example/", count=count)


async def one(store: SqliteStore) -> NoticeRow:
    (row,) = await told(store)
    return row


async def test_a_notice_arrives_once(
    store: SqliteStore, clock: FakeClock, courier: Courier, receiver: Receiver, counted: list[tuple[str, str]]
) -> None:
    run_id = await fail(store, clock)
    with capture_logs() as logs:
        assert not await courier.step()
        assert not await courier.step()
    ((message_id, said),) = receiver.arrived
    row = await one(store)
    assert message_id == row.notice.id
    assert (said["type"], said["timestamp"]) == ("run.failed", "2026-01-01T00:00:00.000Z")
    schedule_url = f"https://clock.example/schedules/{row.notice.schedule_id}"
    assert said["data"]["schedule"]["url"] == schedule_url
    assert said["data"]["run"]["url"] == f"{schedule_url}/runs/{run_id}"
    assert (row.status, row.tries, row.status_code, row.delivered_at) == (NoticeStatus.DELIVERED, 1, 204, clock.now())
    assert counted == [("ops", "delivered")]
    assert [line["event"] for line in logs] == ["notice_delivered"]


async def test_a_long_queue_takes_several_steps(
    store: SqliteStore, clock: FakeClock, courier: Courier, receiver: Receiver
) -> None:
    runs = [await fail(store, clock) for _ in range(BATCH + 1)]
    assert await courier.step()
    assert not await courier.step()
    assert sorted(receiver.runs) == sorted(runs)


async def test_it_is_tried_for_three_days_and_then_given_up(
    store: SqliteStore, clock: FakeClock, courier: Courier, receiver: Receiver, counted: list[tuple[str, str]]
) -> None:
    receiver.answer = DOWN
    await fail(store, clock)
    began, pauses = clock.now(), []
    with capture_logs() as logs:
        while (row := await one(store)).status is NoticeStatus.PENDING:
            assert row.next_try_at is not None
            pauses.append((row.next_try_at - clock.now()) / SECOND)
            clock.set(row.next_try_at)
            await courier.step()
    for pause, least in zip(pauses[1:], RETRY_SECONDS, strict=True):
        assert least <= pause <= least * 1.1
    assert (row.status, row.tries, row.next_try_at) == (NoticeStatus.DEAD, 10, None)
    assert row.error == "no connection"
    assert 3 * 24 * HOUR < (clock.now() - began) / SECOND < 4 * 24 * HOUR
    assert counted == [("ops", "failed")] * 9 + [("ops", "dead")]
    said = [line["event"] for line in logs if line["log_level"] != "debug"]
    assert said == ["notice_failed", "notice_dead"]
    assert len(set(receiver.tried)) == 1


def test_what_failed_together_does_not_come_back_together() -> None:
    assert len({pause_seconds(f"notice {number}", 2) for number in range(50)}) == 50
    assert pause_seconds("n", 3) == pause_seconds("n", 3)


async def test_a_receiver_says_when_to_come_again(
    store: SqliteStore, clock: FakeClock, courier: Courier, receiver: Receiver
) -> None:
    receiver.answers = [BUSY]
    await fail(store, clock)
    await courier.step()
    row = await one(store)
    assert (row.next_try_at, row.status_code) == (clock.now() + 90_000, 503)
    clock.advance(89.999)
    await courier.step()
    assert receiver.arrived == []
    clock.advance(0.001)
    await courier.step()
    assert len(receiver.arrived) == 1


async def test_a_wish_is_heeded_within_reason() -> None:
    assert pause_seconds("n", 1, 10**9) == 86_400
    assert (pause_seconds("n", 4, 1) or 0) >= 7_200


async def test_gone_is_gone(store: SqliteStore, clock: FakeClock, courier: Courier, receiver: Receiver) -> None:
    receiver.answer = GONE
    await fail(store, clock)
    await courier.step()
    row = await one(store)
    assert (row.status, row.tries, row.status_code) == (NoticeStatus.DEAD, 1, 410)


async def test_a_dead_notice_is_tried_from_the_start(
    store: SqliteStore, clock: FakeClock, courier: Courier, receiver: Receiver
) -> None:
    receiver.answers = [GONE]
    await fail(store, clock)
    await courier.step()
    assert await store.retry_notice((await one(store)).notice.id)
    await courier.step()
    row = await one(store)
    assert (row.status, row.tries) == (NoticeStatus.DELIVERED, 1)


async def test_once_one_arrives_the_others_are_tried_at_once(
    store: SqliteStore, clock: FakeClock, courier: Courier, receiver: Receiver
) -> None:
    receiver.answer = DOWN
    old = await fail(store, clock)
    for _ in range(4):
        await courier.step()
        clock.set((await one(store)).next_try_at or 0)
    await courier.step()  # the next try is hours away
    receiver.answer = Answer(status_code=200)
    new = await fail(store, clock)
    await courier.step()
    await courier.step()
    assert receiver.runs == [new, old]


async def test_a_silent_webhook_does_not_keep_the_others_waiting(clock: FakeClock) -> None:
    store = await memory_store(clock, "silent", "ops")
    runs = [await fail(store, clock) for _ in range(15)]
    receiver, all_told = Receiver(clock), asyncio.Event()
    waits = 0

    async def post(webhook: str, message: Message) -> Answer:
        nonlocal waits
        if webhook == "ops":
            answer = await receiver.post(webhook, message)
            if len(receiver.arrived) == len(runs):
                all_told.set()
            return answer
        waits += 1
        await clock.sleep(15)
        return DOWN

    step = asyncio.create_task(Courier(store, ["silent", "ops"], clock=clock, post=post).step())
    await clock.until_sleeping(8)
    await all_told.wait()
    assert sorted(receiver.runs) == sorted(runs)
    clock.advance(15)
    await step
    assert waits == 8  # those that were under way; the rest has not been waited for
    silent = [row for row in await told(store) if row.notice.webhook == "silent"]
    assert {row.status for row in silent} == {NoticeStatus.PENDING}
    assert {row.tries for row in silent} == {1}
    await store.close()


async def test_nobody_to_bring_it_to(store: SqliteStore, clock: FakeClock, receiver: Receiver) -> None:
    courier = Courier(store, ["another"], clock=clock, post=receiver.post)
    await fail(store, clock)
    await courier.step()
    row = await one(store)
    # Another process may know the webhook already.
    assert (row.status, row.next_try_at) == (NoticeStatus.PENDING, clock.now() + UNKNOWN_SECONDS * SECOND)
    clock.advance(UNKNOWN_SECONDS)
    await courier.step()
    row = await one(store)
    assert (row.status, row.error) == (NoticeStatus.DEAD, "no webhook of this name is configured (any more)")
    assert receiver.tried == []


async def test_a_process_that_dies_between_a_send_and_the_note_of_it(
    store: SqliteStore, clock: FakeClock, receiver: Receiver
) -> None:
    class Dying:
        """A store that the process never reaches again."""

        async def settle_notices(self, deliveries: list[Delivery]) -> None:
            raise StoreUnavailable("killed")

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

    run_id = await fail(store, clock)
    with pytest.raises(StoreUnavailable):
        await Courier(Dying(), ["ops"], clock=clock, post=receiver.post).step()  # type: ignore[arg-type]
    courier = Courier(store, ["ops"], clock=clock, post=receiver.post)
    await courier.step()
    assert len(receiver.arrived) == 1
    clock.advance(LEASE_SECONDS)
    await courier.step()
    await courier.step()
    assert receiver.runs == [run_id, run_id]
    assert len({message_id for message_id, _ in receiver.arrived}) == 1
    assert (await one(store)).status is NoticeStatus.DELIVERED


async def test_an_hour_without_a_receiver(
    store: SqliteStore, clock: FakeClock, courier: Courier, receiver: Receiver
) -> None:
    """Three dozen runs fail while nobody listens. Then each is told of once."""
    receiver.answer = DOWN
    runs = []
    for minute in range(60):
        if minute % 5 < 3:
            runs.append(await fail(store, clock))
        await courier.step()
        clock.advance(60)
    assert len(runs) == 36
    assert receiver.arrived == []
    receiver.answer = Answer(status_code=200)
    while (wait_ms := await store.next_notice_ms()) is not None:
        clock.advance(ms=max(wait_ms, 0))
        await courier.step()
    assert sorted(receiver.runs) == sorted(runs)
    assert {row.status for row in await told(store)} == {NoticeStatus.DELIVERED}
    assert (clock.now() - 1_767_225_600_000) / SECOND < HOUR + 10 * 60


async def test_the_loop_delivers_what_it_hears_of(store: SqliteStore, clock: FakeClock) -> None:
    sending = asyncio.Event()

    async def post(webhook: str, message: Message) -> Answer:
        sending.set()
        return Answer(status_code=200)

    courier = Courier(store, ["ops"], clock=clock, post=post)
    running = asyncio.create_task(courier.run())
    await clock.until_sleeping()  # there was nothing to do
    await fail(store, clock)
    courier.hear(ScheduleChanged(schedule_id="s1"))
    await sending.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (await one(store)).status is NoticeStatus.DELIVERED


async def test_the_loop_looks_without_being_told(store: SqliteStore, clock: FakeClock) -> None:
    sending = asyncio.Event()

    async def post(webhook: str, message: Message) -> Answer:
        sending.set()
        return Answer(status_code=200)

    running = asyncio.create_task(Courier(store, ["ops"], clock=clock, post=post).run())
    await clock.until_sleeping()
    await fail(store, clock)
    clock.advance(LOOK_SECONDS)
    await sending.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_stop_waits_for_what_is_under_way(store: SqliteStore, clock: FakeClock) -> None:
    sending, may_answer = asyncio.Event(), asyncio.Event()

    async def post(webhook: str, message: Message) -> Answer:
        sending.set()
        await may_answer.wait()
        return Answer(status_code=200)

    await fail(store, clock)
    running = asyncio.create_task(Courier(store, ["ops"], clock=clock, post=post).run())
    await sending.wait()
    running.cancel()
    await asyncio.sleep(0)
    may_answer.set()
    await asyncio.gather(running, return_exceptions=True)
    assert (await one(store)).status is NoticeStatus.DELIVERED


async def test_a_database_that_is_away_is_said_once(clock: FakeClock, receiver: Receiver) -> None:
    store = await memory_store(clock, "ops")
    await store.close()
    courier = Courier(store, ["ops"], clock=clock, post=receiver.post)
    with capture_logs() as logs:
        assert await courier._tried_step() > 0
        assert await courier._tried_step() > 0
    assert [line["event"] for line in logs] == ["notices_held_up"]


async def test_without_webhooks_there_is_no_loop(store: SqliteStore, clock: FakeClock, receiver: Receiver) -> None:
    await Courier(store, [], clock=clock, post=receiver.post).run()
