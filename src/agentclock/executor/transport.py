"""How requests reach targets, and what comes back.

Over the network: aiohttp, a session for each target, no redirects, no cookies, no proxy from the environment.
"""

from __future__ import annotations

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from agentclock.core.model import Outcome, OutcomeKind
from agentclock.executor.perimeter import guarded_session, refusal_in
from agentclock.executor.targets import TargetSettings
from agentclock.executor.tls import Tls

CONNECT_TIMEOUT_SECONDS: Final = 10.0

#: Below the five seconds after which uvicorn (and others) close an idle connection: a request sent on a
#: connection that is being closed is lost without telling whether it was taken.
KEEPALIVE_SECONDS: Final = 4.0


class NotConnected(Exception):
    """There was no connection: the target has accepted nothing. Never leaves this package."""

    def outcome(self) -> Outcome:
        return Outcome(kind=OutcomeKind.REFUSED, retryable=True, error=str(self))


class NotAllowed(NotConnected):
    """There must not be a connection: what the target's name leads to is off limits."""

    def outcome(self) -> Outcome:
        """Final: what is forbidden now will be forbidden next time."""
        return Outcome(kind=OutcomeKind.FAILED, error=str(self))


class ConnectionBroken(Exception):
    """The connection broke after the request was (perhaps) sent. Never leaves this package."""


class NotHttp(Exception):
    """What came back is no HTTP. Never leaves this package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`url` comes from `TargetSettings.url_for`; `body` and `form` exclude each other."""

    method: str
    url: URL
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    form: Mapping[str, str] | None = None


class Answer(ABC):
    """An answer whose status is known and whose body is still to come.

    Reading raises ConnectionBroken or NotHttp. `headers` may be asked for names in any case.
    """

    def __init__(self, status: int, reason: str, headers: CIMultiDictProxy[str]) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers

    @property
    def media_type(self) -> str:
        """Without parameters, in lower case; empty when the answer names none."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @abstractmethod
    async def piece(self) -> bytes:
        """What has arrived of the body, at least one byte; empty at its end."""

    async def text(self, limit: int) -> tuple[str, bool]:
        """The first `limit` bytes of the body as text, and whether there was more. The rest is never fetched."""
        body = bytearray()
        while len(body) <= limit and (piece := await self.piece()):
            body += piece
        return self._decoded(bytes(body[:limit])), len(body) > limit

    def _decoded(self, body: bytes) -> str:
        try:
            return body.decode(self._charset(), "replace")
        except (LookupError, ValueError):
            # A charset that Python does not know or that is no text encoding (hex, rot13, idna).
            return body.decode("utf-8", "replace")

    def _charset(self) -> str:
        for parameter in self.headers.get("Content-Type", "").split(";")[1:]:
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "charset":
                return value.strip(' "') or "utf-8"
        return "utf-8"


class Transport(Protocol):
    """Carries requests to targets. Real: HttpTransport, AsgiTransport (and a chooser of both)."""

    def send(self, target: TargetSettings, request: Request) -> AbstractAsyncContextManager[Answer]:
        """Raises NotConnected (NotAllowed), ConnectionBroken or NotHttp; leaving the block ends the exchange.

        The target's own headers are added to those of the request, and win.
        """

    async def close(self) -> None: ...


class HttpAnswer(Answer):
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        super().__init__(response.status, response.reason or "", response.headers)
        self._content = response.content

    async def piece(self) -> bytes:
        with _translated():
            return await self._content.readany()


class HttpTransport:
    """Sends requests over the network. Made anywhere; its sessions belong to the loop of the first request.

    Each target has a session, since what one may connect to another may not. `connection_limit` is for all together.
    """

    def __init__(self, *, connection_limit: int) -> None:
        self._room = asyncio.Semaphore(connection_limit)
        self._sessions: dict[tuple[object, ...], aiohttp.ClientSession] = {}
        self._contexts: dict[Tls, ssl.SSLContext | bool] = {Tls(): True}

    def prepare(self, target: TargetSettings) -> None:
        """Reads the files that the target's TLS needs, which takes a moment. Raises ValueError."""
        if target.tls not in self._contexts:
            self._contexts[target.tls] = target.tls.context()

    @asynccontextmanager
    async def send(self, target: TargetSettings, request: Request) -> AsyncIterator[Answer]:
        headers = CIMultiDict(request.headers)
        headers.update(target.headers)
        async with self._room:
            try:
                with _translated():
                    response = await self._session(target).request(
                        request.method,
                        request.url,
                        headers=headers,
                        data=request.body if request.form is None else request.form,
                        skip_auto_headers=() if request.form is not None else ("Content-Type",),
                        allow_redirects=False,
                    )
            except NotAllowed as error:
                raise NotAllowed(f"target '{target.name}' at {target.base_url} was not called: {error}") from error
            except NotConnected as error:
                raise NotConnected(f"target '{target.name}' at {target.base_url} cannot be reached: {error}") from error
            try:
                yield HttpAnswer(response)
            finally:
                # A body that was not read to its end takes its connection with it.
                response.release()

    async def close(self) -> None:
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    def _session(self, target: TargetSettings) -> aiohttp.ClientSession:
        way = target.base_url, target.networks, target.tls, target.is_origin
        if way not in self._sessions:
            self.prepare(target)
            self._sessions[way] = guarded_session(
                target.rules,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_SECONDS),
                limit=0,  # there is `_room`
                keepalive_seconds=KEEPALIVE_SECONDS,
                ssl=self._contexts[target.tls],
                # Compressed event streams arrive late, and compressed answers can grow without limit.
                headers={"Accept-Encoding": "identity"},
                middlewares=(_once,),
            )
        return self._sessions[way]


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """aiohttp sends a GET, PUT or DELETE again when its connection breaks; whether to is for the schedule to say.

    What is raised here is no error of aiohttp's any more, so that it does not.
    """
    with _translated():
        return await handler(request)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:
        raise _meaning(error) from error


def _meaning(error: aiohttp.ClientError | OSError) -> NotConnected | ConnectionBroken | NotHttp:
    if (why := refusal_in(error)) is not None:
        return NotAllowed(why)
    match error:
        case aiohttp.ConnectionTimeoutError():
            return NotConnected(f"no connection within {CONNECT_TIMEOUT_SECONDS:g} s")
        case aiohttp.ClientConnectorError():
            return NotConnected(_why_not_connected(error))
        case aiohttp.ClientResponseError():
            return NotHttp(" ".join(str(error.message).split()))
        case aiohttp.ServerDisconnectedError():
            # Its message may be what aiohttp had parsed of a head that was cut off.
            return ConnectionBroken("the server closed the connection")
        case _:
            return ConnectionBroken(str(error) or type(error).__name__)


def _why_not_connected(error: aiohttp.ClientConnectorError) -> str:
    cause = error.os_error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not accepted: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {error.host} does not resolve ({cause.strerror or cause})"
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed: {cause.reason or cause}"
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused"
    return cause.strerror or str(cause)
