"""All of one process's webhooks, put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agentclock.config import Settings, WebhookEntry
from agentclock.core.notices import Subscription
from agentclock.executor.secrets import Secrets
from agentclock.ports import Clock, Store
from agentclock.webhooks.courier import Courier
from agentclock.webhooks.desk import WebhookDesk
from agentclock.webhooks.posting import Poster


def subscriptions_of(webhooks: Mapping[str, WebhookEntry]) -> tuple[Subscription, ...]:
    """What stores are to write notices for."""
    return tuple(
        Subscription(webhook=name, kinds=entry.events, tags=entry.tags, with_output=entry.with_output)
        for name, entry in webhooks.items()
    )


class Webhooks:
    """`courier.run` delivers until it is cancelled; `courier.hear` belongs on the bus. `count` is told webhook and
    result of each try."""

    def __init__(
        self, settings: Settings, store: Store, clock: Clock, *, secrets: Secrets, count: Callable[[str, str], None]
    ) -> None:
        webhooks = settings.webhooks
        self._poster = Poster(webhooks, clock=clock, resolve=secrets.filled, networks=settings.allowed_networks)
        self.courier = Courier(
            store,
            webhooks,
            clock=clock,
            post=self._poster.post,
            public_url=settings.public_url,
            count=count,
        )
        self.desk = WebhookDesk(store, webhooks, clock=clock, post=self._poster.post, ring=self.courier.ring)

    async def close(self) -> None:
        await self._poster.close()
