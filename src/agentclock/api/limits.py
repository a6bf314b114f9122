"""How much one client may ask for: requests in a time, failed attempts to get in, event streams at once."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentclock.api.clients import client_key
from agentclock.api.errors import error_response
from agentclock.core.errors import TooManyRequests
from agentclock.core.storable import PAYLOAD_BYTES
from agentclock.ports import Clock

#: What sums of floats may be off by.
_TINY_SECONDS: Final = 1e-6
#: Clients that are remembered; of more, those that were quiet for longest are forgotten.
_MOST_CLIENTS: Final = 50_000
#: Probes are answered whatever else is going on.
_EXEMPT: Final = frozenset({"/health", "/ready"})
#: How often refusals are told of in the log.
_TELL_SECONDS: Final = 60.0
#: When somebody may try again who has too many streams open: nobody knows when one ends.
_STREAM_RETRY_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """`body_bytes`: larger bodies are refused. `streams_per_client`: event streams of one client, None: any number.
    A payload of the allowed size may be written with escapes."""

    body_bytes: int = 4 * PAYLOAD_BYTES
    streams_per_client: int | None = None


class Rates:
    """So many requests a second of each client, and `burst` at once: token buckets, each kept as the one instant at
    which it will be full again. `per_second` 0: no limit."""

    def __init__(self, per_second: float, burst: int, *, most_clients: int = _MOST_CLIENTS) -> None:
        self._token_seconds: Final = 1 / per_second if per_second else 0.0
        self._full_seconds: Final = self._token_seconds * burst
        self._most_clients = most_clients
        self._full_at: Final[OrderedDict[str, float]] = OrderedDict()

    @property
    def remembered(self) -> int:
        """How many clients are remembered."""
        return len(self._full_at)

    def wait_seconds(self, client: str, now: float) -> float:
        """Until the client may ask again; 0: at once. `now` by a monotonic clock."""
        wait_seconds = self._full_at.get(client, now) - now + self._token_seconds - self._full_seconds
        return wait_seconds if wait_seconds > _TINY_SECONDS else 0.0

    def spend(self, client: str, now: float) -> None:
        """The client asked once."""
        if not self._token_seconds:
            return
        self._full_at[client] = max(self._full_at.get(client, now), now) + self._token_seconds
        self._full_at.move_to_end(client)
        if len(self._full_at) > self._most_clients:
            self._full_at.popitem(last=False)


class LimitedRates:
    """ASGI middleware: 429 for clients that ask too often (`requests`), or have failed to say who they are too often
    (`failures`, spent by answers with 401)."""

    def __init__(self, app: ASGIApp, *, requests: Rates, failures: Rates, clock: Clock) -> None:
        self._app = app
        self._requests = requests
        self._failures = failures
        self._clock = clock
        self._refused: Counter[str] = Counter()
        self._told_at = -math.inf

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _EXEMPT:
            await self._app(scope, receive, send)
            return
        client = client_key(scope["client"][0] if scope.get("client") else None)
        now = self._clock.monotonic()
        wait_seconds = max(rates.wait_seconds(client, now) for rates in (self._requests, self._failures))
        if wait_seconds > 0:
            self._tell(client, now)
            refusal = error_response(TooManyRequests(wait_seconds), Request(scope))
            await refusal(scope, receive, send)
            return
        self._requests.spend(client, now)

        async def send_and_see(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 401:
                self._failures.spend(client, self._clock.monotonic())
            await send(message)

        await self._app(scope, receive, send_and_see)

    def _tell(self, client: str, now: float) -> None:
        """Once a minute, however many are refused: the log shall not fill up with them."""
        self._refused[client] += 1
        if now - self._told_at < _TELL_SECONDS and len(self._refused) < _MOST_CLIENTS:
            return
        (worst, _), *_ = self._refused.most_common(1)
        log = structlog.get_logger("agentclock.api")
        log.warning("requests_refused", refused=self._refused.total(), clients=len(self._refused), most_from=worst)
        self._refused.clear()
        self._told_at = now


class Seats:
    """Open event streams of each client: at most `per_client`, None: any number."""

    def __init__(self, per_client: int | None) -> None:
        self._per_client = per_client
        self._taken: Final[Counter[str]] = Counter()

    def take(self, host: str | None) -> Callable[[], None]:
        """What gives the seat back, to be called once. Raises TooManyRequests."""
        client = client_key(host)
        if self._per_client is not None and self._taken[client] >= self._per_client:
            message = f"{self._per_client:,} event streams of yours are open, the most that one client may have"
            raise TooManyRequests(_STREAM_RETRY_SECONDS, message)
        self._taken[client] += 1

        def give_back() -> None:
            self._taken[client] -= 1
            if not self._taken[client]:
                del self._taken[client]

        return give_back
