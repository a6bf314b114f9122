"""Pings for dead man's switches: somebody else notices when a schedule, or the whole engine, falls silent.

They never hold up a run: what cannot be sent at once waits in a queue of bounded length, and the oldest give way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final

import aiohttp
import structlog
from yarl import URL

from agentclock.core.events import AttemptStarted, Event, FiresAbsent, RunSettled
from agentclock.core.ids import fire_run_id
from agentclock.core.model import RunStatus
from agentclock.core.origins import origin_of
from agentclock.core.pings import PingKind, ping_host, ping_target
from agentclock.executor.perimeter import Rules, guarded_session, refusal_in
from agentclock.ports import Clock
from agentclock.telemetry import definitions as metric
from agentclock.telemetry.metrics import Metrics

QUEUE_LENGTH: Final = 1_000
SENDERS: Final = 8
TIMEOUT_SECONDS: Final = 10.0
#: Between the tries of one ping.
PAUSES_SECONDS: Final = (1.0, 4.0)
#: How long a stop waits for pings that are under way.
PARTING_SECONDS: Final = 5.0
#: What is told of the reason of a failure.
TEXT_LENGTH: Final = 1_000

_FAILURES: Final = frozenset({RunStatus.FAILED, RunStatus.TIMEOUT, RunStatus.LOST})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """`text` goes along with a failure; `about` is what the log says: the schedule and its run. `is_for_engine`: an
    operator wrote the URL, so that an address in it may be pinged as well."""

    url: str
    kind: PingKind
    run_id: str | None = None
    text: str = ""
    about: tuple[tuple[str, object], ...] = ()
    is_for_engine: bool = False


class Pinger:
    """A listener on the bus. Pings of one URL are sent in order, those of different ones beside each other."""

    def __init__(
        self,
        clock: Clock,
        metrics: Metrics,
        *,
        queue_length: int = QUEUE_LENGTH,
        networks: Iterable[str] = (),
    ) -> None:
        """`networks`: what may be pinged besides public addresses."""
        self._clock = clock
        self._metrics = metrics
        self._queue_length = queue_length
        self._rules = Rules.public(networks=networks)
        self._waiting: deque[Ping] = deque()
        self._busy: set[str] = set()
        self._senders: set[asyncio.Task[None]] = set()
        self._sessions: dict[Rules, aiohttp.ClientSession] = {}
        self._is_dropping = False
        self._log = structlog.get_logger("agentclock.pings")

    def hear(self, event: Event) -> None:
        match event:
            case AttemptStarted(ping_url=str(), run=run) if run.attempt == 1 and not (run.refusals or run.instruction):
                self.send(_of_run(event, PingKind.START))
            case RunSettled(ping_url=str(), status=RunStatus.SUCCESS):
                self.send(_of_run(event, PingKind.SUCCESS))
            case RunSettled(ping_url=str(), status=status) if status in _FAILURES:
                self.send(_of_run(event, PingKind.FAIL, f"{status}: {event.error or 'no reason is known'}"))
            case FiresAbsent(ping_url=str(url), status=RunStatus.MISSED):
                self.send(_of_absence(event, url))
            case _:
                """Of no concern to those who wait for a sign of life."""

    def send(self, ping: Ping) -> None:
        """Soon, and without waiting for it."""
        if len(self._waiting) >= self._queue_length:
            self._drop(self._waiting.popleft())
        self._waiting.append(ping)
        if len(self._senders) < SENDERS:
            sender = asyncio.create_task(self._send_all(), name="agentclock-pings")
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)

    async def reach(self, ping: Ping) -> bool:
        """Sends it now, with further tries where those may help. Says in log and metrics how it went."""
        for pause in (*PAUSES_SECONDS, None):
            problem, is_final = await self._try(ping)
            if problem is None:
                self._metrics.count(metric.PINGS, "sent")
                return True
            if is_final or pause is None:
                break
            await self._clock.sleep(pause)
        self._metrics.count(metric.PINGS, "failed")
        about = dict(ping.about)
        self._log.warning("ping_failed", host=ping_host(ping.url), kind=ping.kind.value, error=problem, **about)
        return False

    async def close(self) -> None:
        """Sends what can be sent in a few seconds."""
        if self._senders:
            await asyncio.wait(self._senders, timeout=PARTING_SECONDS)
        senders = tuple(self._senders)
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
        while self._waiting:
            self._drop(self._waiting.popleft())
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    async def _send_all(self) -> None:
        structlog.contextvars.clear_contextvars()  # those of the run that happened to come first
        while (ping := self._next()) is not None:
            self._busy.add(ping.url)
            try:
                await self.reach(ping)
            except asyncio.CancelledError:
                self._drop(ping)
                raise
            finally:
                self._busy.discard(ping.url)
        self._is_dropping = self._is_dropping and bool(self._waiting)

    def _next(self) -> Ping | None:
        """The first one whose URL nobody is busy with; whoever is will come for those of that URL."""
        for place, ping in enumerate(self._waiting):
            if ping.url not in self._busy:
                del self._waiting[place]
                return ping
        return None

    async def _try(self, ping: Ping) -> tuple[str | None, bool]:
        """What went wrong, and whether another try would be in vain. Never the URL: its path is a secret."""
        method, body = ("POST", ping.text.encode()) if ping.text else ("GET", None)
        try:
            target = URL(ping_target(ping.url, ping.kind, ping.run_id), encoded=True)
            async with self._session(ping).request(method, target, data=body, allow_redirects=False) as answer:
                status = answer.status
        except TimeoutError:
            return f"no answer within {TIMEOUT_SECONDS:g} s", False
        except (aiohttp.ClientError, OSError, ValueError) as error:
            refusal = refusal_in(error)
            return refusal or type(error).__name__, refusal is not None or isinstance(error, ValueError)
        if 200 <= status < 300:
            return None, False
        is_passing = status >= 500 or status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
        return f"answered {status}", not is_passing

    def _drop(self, ping: Ping) -> None:
        """Counted each time, said once until the queue has been emptied."""
        self._metrics.count(metric.PINGS, "dropped")
        if not self._is_dropping:
            self._is_dropping = True
            self._log.warning("pings_dropped", host=ping_host(ping.url), waiting=len(self._waiting), **dict(ping.about))

    def _session(self, ping: Ping) -> aiohttp.ClientSession:
        rules = replace(self._rules, written=origin_of(ping.url)) if ping.is_for_engine else self._rules
        if rules not in self._sessions:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
            self._sessions[rules] = guarded_session(rules, timeout=timeout, headers={"User-Agent": "agentclock"})
        return self._sessions[rules]


def _of_run(event: AttemptStarted | RunSettled, kind: PingKind, text: str = "") -> Ping:
    run = event.run
    about = {"schedule": event.schedule_name, "schedule_id": run.schedule_id, "run": run.id, "attempt": run.attempt}
    return Ping(url=event.ping_url or "", kind=kind, run_id=run.id, text=text[:TEXT_LENGTH], about=tuple(about.items()))


def _of_absence(event: FiresAbsent, url: str) -> Ping:
    run_id = fire_run_id(event.schedule_id, event.fire_at)
    about = {"schedule": event.schedule_name, "schedule_id": event.schedule_id, "run": run_id, "attempt": 0}
    text = f"{event.status}: {event.count} fires; {event.reason.text}"
    return Ping(url=url, kind=PingKind.FAIL, run_id=run_id, text=text, about=tuple(about.items()))
