"""The API over a network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import aiohttp
from yarl import URL

from agentclock.cli.client import Call, Client, ExitCode, Trouble, Unreachable

CONNECT_SECONDS: Final = 10.0
#: A server that waits for a run's end answers after five minutes at the latest.
ANSWER_SECONDS: Final = 330.0
#: A stream says every 15 seconds that it is alive.
SILENCE_SECONDS: Final = 45.0
PROBE_SECONDS: Final = 0.5


class NetworkTransport:
    """`url`: where the API begins, perhaps with a path in front of it. The token goes nowhere else: nothing is followed
    to another address."""

    def __init__(self, session: aiohttp.ClientSession, url: URL, token: str | None) -> None:
        self._session = session
        self._root = str(url).rstrip("/")
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}

    @asynccontextmanager
    async def send(self, call: Call) -> AsyncIterator[_NetworkAnswer]:
        with _translated(self._root):
            response = await self._session.request(
                call.method,
                URL(self._root + call.path, encoded=True),
                data=call.body,
                headers={**self._headers, **call.headers},
                timeout=_STREAMING if call.is_stream else _ASKING,
                allow_redirects=False,
            )
        try:
            yield _NetworkAnswer(response, self._root)
        finally:
            response.release()


class _NetworkAnswer:
    def __init__(self, response: aiohttp.ClientResponse, where: str) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self._content = response.content
        self._where = where

    async def piece(self) -> bytes:
        with _translated(self._where, was_sent=True):
            return await self._content.readany()


_ASKING: Final = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=ANSWER_SECONDS)
_STREAMING: Final = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)


@asynccontextmanager
async def over_network(url: str, token: str | None) -> AsyncIterator[Client]:
    """Raises Trouble if the address or the token cannot be one."""
    root = _root(url)
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise Trouble("the token must be one line of printable ASCII without blanks", ExitCode.USAGE)
    async with _session() as session:
        yield Client(NetworkTransport(session, root, token), where=str(root))


async def answers(url: str) -> bool:
    """Whether an agentclock is there, asked without credentials: whoever answers may be anybody."""
    try:
        async with (
            _session() as session,
            session.get(f"{url}/health", timeout=aiohttp.ClientTimeout(total=PROBE_SECONDS)) as answer,
        ):
            return isinstance(said := await answer.json(), dict) and "tzdata_version" in said
    except (aiohttp.ClientError, OSError, ValueError):
        return False


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, skip_auto_headers=("User-Agent", "Content-Type")
    )


def _root(url: str) -> URL:
    try:
        root = URL(url if "://" in url else f"http://{url}")
    except ValueError:
        root = URL()
    if root.scheme not in ("http", "https") or not root.host or root.user or root.query_string or root.fragment:
        shown = "" if "@" in url else f", unlike {url!r}"
        raise Trouble(
            f"--url must look like https://host or http://host:port, without user or password{shown}", ExitCode.USAGE
        )
    return root


@contextmanager
def _translated(where: str, *, was_sent: bool = False) -> Iterator[None]:
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        raise Unreachable(f"{where} cannot be reached: {_why(error)}") from None
    except aiohttp.ConnectionTimeoutError:
        raise Unreachable(f"{where} cannot be reached: no connection within {CONNECT_SECONDS:g} s") from None
    except TimeoutError:
        raise Unreachable(f"{where} does not answer", was_sent=True) from None
    except (aiohttp.ClientError, OSError) as error:
        raise Unreachable(f"the connection to {where} broke: {error}", was_sent=was_sent) from None


def _why(error: aiohttp.ClientConnectorError) -> str:
    cause = error.os_error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not accepted: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name does not resolve"
    return "connection refused" if isinstance(cause, ConnectionRefusedError) else cause.strerror or str(cause)
