"""Brings notices to their webhooks, again and again until they have arrived or are given up. As soon as a webhook
takes one that it did not take before, all that wait for it are tried.

What is to be sent stands in the database; nothing here is lost with the process. A process that dies between a send and
the note of it leaves a notice that the next one sends again, with the same `webhook-id`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

import structlog

from agentclock.core.errors import AgentclockError
from agentclock.core.events import Event, FiresAbsent, RunSettled, ScheduleChanged, ScheduleFaulty
from agentclock.core.model import SECOND, RunStatus
from agentclock.core.notices import Delivery, NoticeRow, NoticeStatus
from agentclock.ports import Clock, Store
from agentclock.webhooks.answers import Answer, Post
from agentclock.webhooks.messages import message_of

#: Between the tries of one notice: as the Standard Webhooks specification has it, three days in all.
RETRY_SECONDS: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
#: So much longer, at most, is each of these pauses: what failed together need not come back together.
_SPREAD: Final = 0.1
_LONGEST_WAIT_SECONDS: Final = 86_400.0

#: Notices of one step, requests at a time, and those of one webhook.
BATCH: Final = 32
SENDERS: Final = 16
SENDERS_OF_ONE: Final = 8
#: Longer than a step takes, whatever the receivers do.
LEASE_SECONDS: Final = 120.0

#: Another process may know a webhook that this one does not: while settings are being rolled out, say.
UNKNOWN_SECONDS: Final = 900.0

#: The longest sleep; shorter if a notice is to be tried again before that.
LOOK_SECONDS: Final = 30.0
#: News within this time is looked at together.
_GATHER_SECONDS: Final = 0.1
#: How long a stop waits for messages that are under way.
PARTING_SECONDS: Final = 5.0


class Courier:
    """`webhooks`: the names of those that are configured. `count` is told webhook and result of each try."""

    def __init__(
        self,
        store: Store,
        webhooks: Collection[str],
        *,
        clock: Clock,
        post: Post,
        public_url: str | None = None,
        count: Callable[[str, str], None] = lambda webhook, result: None,
    ) -> None:
        self._store = store
        self._webhooks = frozenset(webhooks)
        self._clock = clock
        self._post = post
        self._public_url = public_url
        self._count = count
        self._bell: asyncio.Event | None = None
        self._is_failing = False
        # Webhooks that a try failed at, of which it is not known yet that they are there again.
        self._troubled: set[str] = set()
        self._log = structlog.get_logger("agentclock.webhooks")

    def ring(self) -> None:
        """There may be something to send."""
        if self._bell is not None:
            self._bell.set()

    def hear(self, event: Event) -> None:
        """Rings for what webhooks may have to be told of."""
        match event:
            case RunSettled(status=status) if status.is_final or status is RunStatus.PAUSED:
                self.ring()
            case FiresAbsent() | ScheduleChanged() | ScheduleFaulty():
                self.ring()
            case _:
                """No notice comes of it."""

    async def run(self) -> None:
        """Until cancelled; what is under way then is brought to its end if that takes a few seconds."""
        if not self._webhooks:
            return
        bell = self._bell = asyncio.Event()
        while True:
            bell.clear()
            step = asyncio.create_task(self._tried_step())
            try:
                pause = await asyncio.shield(step)
            except asyncio.CancelledError:
                await asyncio.wait({step}, timeout=PARTING_SECONDS)
                step.cancel()
                await asyncio.gather(step, return_exceptions=True)
                raise
            if pause > 0:
                await self._sleep(bell, pause)

    async def step(self) -> bool:
        """Sends what is due, notes what came of it, and answers whether there may be more. Raises StoreUnavailable,
        SchemaBehind."""
        rows = await self._store.claim_notices(BATCH, LEASE_SECONDS)
        known = [row for row in rows if row.notice.webhook in self._webhooks]
        await self._put_off([row for row in rows if row.notice.webhook not in self._webhooks])
        gate = asyncio.Semaphore(SENDERS)
        senders = [
            self._send_all(lane, gate) for lane in _lanes(known) for _ in range(min(SENDERS_OF_ONE, len(lane.waiting)))
        ]
        for failure in await asyncio.gather(*senders, return_exceptions=True):
            if failure is not None:
                raise failure
        return len(rows) == BATCH

    async def _tried_step(self) -> float:
        """The seconds until the next step."""
        try:
            more = await self.step()
            next_ms = None if more else await self._store.next_notice_ms()
        except AgentclockError as error:
            if not self._is_failing:
                self._log.warning("notices_held_up", error=str(error))
            self._is_failing = True
            return LOOK_SECONDS
        except Exception:
            self._log.exception("loop_failed", loop="courier")
            return LOOK_SECONDS
        self._is_failing = False
        if more:
            return 0.0
        # What is due by now is in somebody else's hands.
        return LOOK_SECONDS if next_ms is None else min(max(next_ms / SECOND, _GATHER_SECONDS), LOOK_SECONDS)

    async def _sleep(self, bell: asyncio.Event, seconds: float) -> None:
        """Until the clock has gone on by so much, or the bell rings."""
        waits = [asyncio.create_task(self._clock.sleep(seconds)), asyncio.create_task(bell.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        if bell.is_set():
            await asyncio.sleep(_GATHER_SECONDS)

    async def _send_all(self, lane: _Lane, gate: asyncio.Semaphore) -> None:
        while lane.waiting:
            row = lane.waiting.pop(0)
            if lane.silence is not None:
                answer = Answer(error=f"not tried, for another message just failed: {lane.silence}")
            else:
                async with gate:
                    answer = await self._post(row.notice.webhook, message_of(row.notice, self._public_url))
                if answer.status_code is None:
                    lane.silence = answer.error
            await self._settle(row, answer)

    async def _settle(self, row: NoticeRow, answer: Answer) -> None:
        delivery = await self._delivery(row, answer)
        await self._store.settle_notices([delivery])
        webhook, tries = row.notice.webhook, row.tries
        about = {"webhook": webhook, "notice": row.notice.id, "kind": row.notice.kind.value, "try": tries}
        match delivery.status:
            case NoticeStatus.DELIVERED:
                self._count(webhook, "delivered")
                self._log.info("notice_delivered", **about)
                if row.tries > 1 or webhook in self._troubled:
                    self._troubled.discard(webhook)
                    await self._store.hasten_notices(webhook, LEASE_SECONDS)
            case NoticeStatus.PENDING:
                self._count(webhook, "failed")
                # Said once for all that it does not take; the rest is in the database.
                say = self._log.debug if webhook in self._troubled else self._log.warning
                self._troubled.add(webhook)
                say("notice_failed", error=answer.error, **about)
            case NoticeStatus.DEAD:
                self._count(webhook, "dead")
                self._log.error("notice_dead", error=answer.error, **about)

    async def _delivery(self, row: NoticeRow, answer: Answer) -> Delivery:
        status, next_try_at = NoticeStatus.DELIVERED, None
        if not answer.has_arrived:
            pause = None if answer.is_gone else pause_seconds(row.notice.id, row.tries, answer.retry_after_seconds)
            status = NoticeStatus.DEAD if pause is None else NoticeStatus.PENDING
            next_try_at = None if pause is None else await self._store.now() + round(pause * SECOND)
        return Delivery(
            notice_id=row.notice.id,
            tries=row.tries,
            status=status,
            next_try_at=next_try_at,
            status_code=answer.status_code,
            error=answer.error,
        )

    async def _put_off(self, rows: Iterable[NoticeRow]) -> None:
        """Notices of webhooks that nobody told us of: dead, unless they are so new that another process may be about to
        learn of the webhook, or to send them."""
        for row in rows:
            patience_ends_at = row.notice.created_at + round(UNKNOWN_SECONDS * SECOND)
            is_over = await self._store.now() >= patience_ends_at
            delivery = Delivery(
                notice_id=row.notice.id,
                tries=row.tries,
                status=NoticeStatus.DEAD if is_over else NoticeStatus.PENDING,
                next_try_at=None if is_over else patience_ends_at,
                error="no webhook of this name is configured (any more)",
            )
            await self._store.settle_notices([delivery])
            if is_over:
                self._log.error("notice_dead", webhook=row.notice.webhook, notice=row.notice.id, error=delivery.error)


@dataclass(slots=True)
class _Lane:
    """What is to be sent to one webhook in one step. `silence`: why it did not answer at all. Then the rest is not
    tried: it would only wait as long for nothing, and keep those of other webhooks waiting."""

    waiting: list[NoticeRow]
    silence: str | None = None


def _lanes(rows: Iterable[NoticeRow]) -> list[_Lane]:
    lanes: dict[str, _Lane] = {}
    for row in rows:
        lanes.setdefault(row.notice.webhook, _Lane([])).waiting.append(row)
    return list(lanes.values())


def pause_seconds(notice_id: str, tries: int, wish_seconds: float | None = None) -> float | None:
    """How long after try number `tries` (from 1) the next one is made, None: there is none. `wish_seconds`: what the
    receiver asked for (Retry-After)."""
    if tries > len(RETRY_SECONDS):
        return None
    digest = hashlib.blake2b(f"{notice_id}|{tries}".encode(), digest_size=4).digest()
    pause = RETRY_SECONDS[tries - 1] * (1 + _SPREAD * int.from_bytes(digest) / 2**32)
    return max(pause, min(wish_seconds or 0.0, _LONGEST_WAIT_SECONDS))
