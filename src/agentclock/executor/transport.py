"""How requests reach targets, and what comes back.

Over the network: aiohttp with one session, no redirects, no cookies, no proxy from the environment.
"""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from agentclock.executor.targets import TargetSettings

CONNECT_TIMEOUT_SECONDS: Final = 10.0

#: Below the five seconds after which uvicorn (and others) close an idle connection: a request sent on a
#: connection that is being closed is lost without telling whether it was taken.
KEEPALIVE_SECONDS: Final = 4.0


class NotConnected(Exception):
    """There was no connection: the target has accepted nothing. Never leaves this package."""


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
        """Raises NotConnected, ConnectionBroken or NotHttp; leaving the block ends the exchange.

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
    """Sends requests over the network. Made anywhere; its session belongs to the loop of the first request."""

    def __init__(self, *, connection_limit: int) -> None:
        self._connection_limit = connection_limit
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def send(self, target: TargetSettings, request: Request) -> AsyncIterator[Answer]:
        headers = CIMultiDict(request.headers)
        headers.update(target.headers)
        try:
            with _translated():
                response = await self._opened().request(
                    request.method,
                    request.url,
                    headers=headers,
                    data=request.body if request.form is None else request.form,
                    skip_auto_headers=() if request.form is not None else ("Content-Type",),
                    allow_redirects=False,
                )
        except NotConnected as error:
            raise NotConnected(f"target '{target.name}' at {target.base_url} cannot be reached: {error}") from error
        try:
            yield HttpAnswer(response)
        finally:
            # A body that was not read to its end takes its connection with it.
            response.release()

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=self._connection_limit, keepalive_timeout=KEEPALIVE_SECONDS, use_dns_cache=False
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_SECONDS),
                trust_env=False,
                # Compressed event streams arrive late, and compressed answers can grow without limit.
                headers={"Accept-Encoding": "identity"},
                middlewares=(_once,),
            )
        return self._session


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
    except aiohttp.ConnectionTimeoutError as error:
        raise NotConnected(f"no connection within {CONNECT_TIMEOUT_SECONDS:g} s") from error
    except aiohttp.ClientConnectorError as error:
        raise NotConnected(_why_not_connected(error)) from error
    except aiohttp.ClientResponseError as error:
        raise NotHttp(" ".join(str(error.message).split())) from error
    except aiohttp.ServerDisconnectedError as error:
        # Its message may be what aiohttp had parsed of a head that was cut off.
        raise ConnectionBroken("the server closed the connection") from error
    except (aiohttp.ClientError, OSError) as error:
        raise ConnectionBroken(str(error) or type(error).__name__) from error


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
