"""Runs that fail, and receivers of what is told of them."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.conformance.helpers import firing, register, schedule

from agentclock.config import WebhookFormat
from agentclock.core.lifecycle import settle
from agentclock.core.model import Outcome, OutcomeKind
from agentclock.core.notices import NoticeKind, NoticeRow, Subscription
from agentclock.ports import NoticeFilter, PageRequest, Store
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import FakeClock
from agentclock.webhooks import verify
from agentclock.webhooks.answers import Answer
from agentclock.webhooks.messages import Message, headers_of, written

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
FAILED = Outcome(kind=OutcomeKind.FAILED, error="boom", status_code=500)
DELIVERED = Answer(status_code=204)
DOWN = Answer(error="no connection")

_numbers = count(1)


async def memory_store(clock: FakeClock, *webhooks: str) -> SqliteStore:
    """With a worker, and each of `webhooks` told of everything."""
    subscriptions = [Subscription(webhook=name, kinds=frozenset(NoticeKind)) for name in webhooks]
    store = SqliteStore(":memory:", clock=clock, subscriptions=subscriptions)
    await store.open()
    await register(store, lease_seconds=10**9)
    return store


async def fail(store: Store, clock: FakeClock, outcome: Outcome = FAILED, **fields: Any) -> str:
    """A run of a new schedule that ends now; the run's id."""
    now = clock.now()
    await store.insert_schedules([schedule(f"s{next(_numbers)}", next_fire_at=now, created_at=now, **fields)])
    (claim,) = (await store.fire_due(firing(now, available=now), limit=1, worker_id="w1", slots=1)).claims
    assert await store.settle([settle(claim, outcome, now)])
    return claim.run.id


async def told(store: Store) -> list[NoticeRow]:
    """Oldest first."""
    return list(reversed((await store.notices(NoticeFilter(), PageRequest(limit=1000))).items))


@dataclass(slots=True)
class Receiver:
    """Takes messages in place of the network, as a receiver that checks them would; `answers` come first, then
    `answer`."""

    clock: FakeClock
    answer: Answer = DELIVERED
    answers: list[Answer] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    arrived: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def post(self, webhook: str, message: Message) -> Answer:
        body = written(message, WebhookFormat.STANDARD)
        headers = headers_of(message, body, [SECRET], self.clock.now())
        said = verify(SECRET, headers, body, now=self.clock.now() / 1000)
        self.tried.append(headers["webhook-id"])
        answer = self.answers.pop(0) if self.answers else self.answer
        if answer.has_arrived:
            self.arrived.append((headers["webhook-id"], said))
        return answer

    @property
    def runs(self) -> list[str]:
        """Those that were told of, as often as they were."""
        return [said["data"]["run"]["id"] for _, said in self.arrived]
