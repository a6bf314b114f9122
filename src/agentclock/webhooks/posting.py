"""One try of one message: what is sent where, and what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from agentclock.config import WebhookEntry
from agentclock.executor.blotting import Blotter
from agentclock.executor.outcomes import retry_after_seconds
from agentclock.executor.perimeter import ALLOWED_NETWORKS, Rules, guarded_session, refusal_in
from agentclock.executor.secrets import SecretUnknown
from agentclock.ports import Clock
from agentclock.webhooks.answers import Answer
from agentclock.webhooks.messages import Message, headers_of, written

TIMEOUT_SECONDS: Final = 15.0
#: What is read of an answer, and what of it is told.
_ANSWER_BYTES: Final = 4_096
_ERROR_LENGTH: Final = 500
#: Shorter parts of a URL are no secrets.
_SHORTEST_PART: Final = 6
_WAITS: Final = frozenset({429, 503})


#: A session for one webhook's requests, from its (filled-in) URL and its settings.
OpenSession: TypeAlias = Callable[[str, WebhookEntry], aiohttp.ClientSession]
#: Puts secrets in place of the references to them. Raises SecretUnknown.
Resolve: TypeAlias = Callable[[str], Awaitable[str]]


class Poster:
    """Sends to the configured webhooks. `networks`: those that every webhook may lead into. What it answers contains
    neither URLs nor secrets."""

    def __init__(
        self,
        webhooks: Mapping[str, WebhookEntry],
        *,
        clock: Clock,
        resolve: Resolve | None = None,
        networks: tuple[str, ...] = (),
        open_session: OpenSession | None = None,
    ) -> None:
        self._webhooks = webhooks
        self._clock = clock
        self._resolve = resolve or _as_it_is
        self._networks = networks
        self._open_session = open_session or self._guarded
        self._sessions: dict[str, tuple[str, aiohttp.ClientSession]] = {}

    async def post(self, webhook: str, message: Message) -> Answer:
        """One try, at most TIMEOUT_SECONDS long. Raises nothing for what a receiver or a wrong setting does."""
        entry = self._webhooks[webhook]
        try:
            url, *secrets = [await self._resolve(text) for text in _secret_parts(entry)]
        except SecretUnknown as error:
            return Answer(error=str(error))
        blotter = Blotter((*_parts(url), *secrets))
        body = written(message, entry.format)
        try:
            headers = headers_of(message, body, secrets, self._clock.now())
            session = await self._session(webhook, url, entry)
            async with session.post(
                URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
            ) as answer:
                return await self._read(answer, blotter)
        except TimeoutError:
            return Answer(error=f"no answer within {TIMEOUT_SECONDS:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(error=_told(refusal_in(error) or _what(error), blotter))

    async def close(self) -> None:
        sessions, self._sessions = self._sessions, {}
        for _, session in sessions.values():
            await session.close()

    async def _read(self, answer: aiohttp.ClientResponse, blotter: Blotter) -> Answer:
        if 200 <= answer.status < 300:
            return Answer(status_code=answer.status)
        content = (await answer.content.read(_ANSWER_BYTES)).decode("utf-8", "replace").strip()
        content = blotter.text(content, is_cut=not answer.content.at_eof())
        wish = None
        if answer.status in _WAITS:
            now = datetime.fromtimestamp(self._clock.now() / 1000, UTC)
            wish = retry_after_seconds(answer.headers.get("Retry-After"), now)
        error = f"answered {answer.status}" + (f": {content}" if content else "")
        return Answer(status_code=answer.status, error=_told(error, blotter), retry_after_seconds=wish)

    async def _session(self, webhook: str, url: str, entry: WebhookEntry) -> aiohttp.ClientSession:
        """One for each webhook; another one when its URL has changed (it may contain a secret)."""
        known = self._sessions.get(webhook)
        if known is not None and known[0] == url:
            return known[1]
        session = self._open_session(url, entry)
        self._sessions[webhook] = (url, session)
        if known is not None:
            await known[1].close()
        return session

    def _guarded(self, url: str, entry: WebhookEntry) -> aiohttp.ClientSession:
        advice = f"the webhook's `networks` or to {ALLOWED_NETWORKS}"
        rules = Rules.for_url(url, networks=(*self._networks, *entry.networks), advice=advice)
        return guarded_session(rules, timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS))


async def _as_it_is(text: str) -> str:
    return text


def _secret_parts(entry: WebhookEntry) -> list[str]:
    """The URL, then the secrets to sign with."""
    return [entry.url, *([] if entry.secret is None else [entry.secret]), *entry.secrets_before]


def _parts(url: str) -> Iterator[str]:
    """What a URL has that gives its holder a right: all behind the host, and what stands before it."""
    yield url
    parts = urlsplit(url)
    userinfo, _, _ = parts.netloc.rpartition("@")
    for piece in (parts.path, parts.query, userinfo, *parts.path.split("/"), *parts.query.split("&")):
        if len(piece) >= _SHORTEST_PART:
            yield piece
            if "=" in piece:
                yield piece.partition("=")[2]


def _what(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection: {error.os_error.strerror or type(error.os_error).__name__}"
    if isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientError):
        return str(error)
    return type(error).__name__


def _told(text: str, blotter: Blotter) -> str:
    shown = blotter.text(text)
    return shown if len(shown) <= _ERROR_LENGTH else f"{shown[: _ERROR_LENGTH - 1]}…"
