"""Where connections may lead, checked at the very moment they are made. All requests that agentclock sends on
somebody's behalf go through here: to targets, ping URLs, webhooks, key sets.

    rules = Rules.for_url(url, networks=settings.allowed_networks)      # an operator wrote the URL
    rules = Rules.public(networks=settings.allowed_networks)            # a user did
    async with guarded_session(rules, timeout=aiohttp.ClientTimeout(total=10)) as session:
        try:
            async with session.get(url, allow_redirects=False) as answer: ...
        except aiohttp.ClientError as error:
            why = refusal_in(error)     # a sentence for people: nothing was sent, and trying again is in vain; or None

One session for each set of rules, and none for two: idle connections are found again by host and port alone, so that
in a shared session one set's connections would serve requests under another's.
"""

from __future__ import annotations

import socket
import ssl as tls
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import AddrInfoType

from agentclock.core.networks import Network, literal_fault, read_address, special_block
from agentclock.core.origins import Origin, origin_of

ALLOWED_NETWORKS: Final = "`allowed_networks` (AGENTCLOCK_ALLOWED_NETWORKS)"


class AddressRefused(OSError):
    """A connection that the rules forbid: nothing was sent. The text is for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What may be connected to: public addresses, those in `networks`, and `written`: the address (or localhost) that
    an operator wrote into the URL, with the URL's port. Never a cloud's metadata service.

    `advice`: which settings could allow more, as errors name them.
    """

    networks: tuple[Network, ...] = ()
    written: Origin | None = None
    advice: str = ALLOWED_NETWORKS

    @classmethod
    def public(cls, *, networks: Iterable[str] = (), advice: str = ALLOWED_NETWORKS) -> Rules:
        """For URLs that users write. Raises ValueError for what is no network (settings have none)."""
        return cls(networks=tuple(map(Network.read, networks)), advice=advice)

    @classmethod
    def for_url(cls, url: str, *, networks: Iterable[str] = (), advice: str = ALLOWED_NETWORKS) -> Rules:
        """For a URL that an operator wrote. Raises ValueError, for a URL too that nobody can read for certain."""
        return cls(networks=tuple(map(Network.read, networks)), written=origin_of(url), advice=advice)

    def refusal(self, host: str, address: str, port: int) -> str | None:
        """Why `address` must not be connected to, None: it may be. `host`: by which name or literal it was found."""
        is_literal = host == address
        found = host if is_literal else f"{host} resolves to {address}, which"
        try:
            block = special_block(read_address(address), port, self._allowed(port))
        except ValueError:
            return f"{found} is no address that can be checked"
        if block is None:
            return None
        if block.is_never_allowed:
            return f"{found} is {block.kind} ({block.block}); nothing allows requests to that"
        entry = Network(block.block, port)
        return f"{found} is {block.kind} ({block.block}); if that is right, add {entry} to {self.advice}"

    def _allowed(self, port: int) -> tuple[Network, ...]:
        if self.written is None or self.written.port != port:
            return self.networks
        return (*self.networks, *_as_written(self.written, port))


def _as_written(origin: Origin, port: int) -> tuple[Network, ...]:
    if origin.host == "localhost":
        return (Network.read(f"127.0.0.0/8:{port}"), Network.read(f"[::1]:{port}"))
    if literal_fault(origin.host):
        return ()
    try:
        address = read_address(origin.host)
    except ValueError:
        return ()
    return (Network(ip_network(address), port),)


def refusal_in(error: BaseException) -> str | None:
    """What the rules say, if `error` comes of them; None if it has another cause."""
    if isinstance(error, aiohttp.InvalidUrlClientError):
        return "the URL has no host, or an address that is not written as four decimal numbers"  # it may be a secret
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return str(cause) if isinstance(cause, AddressRefused) else None


def guarded_connector(
    rules: Rules, *, limit: int = 100, keepalive_seconds: float = 15.0, ssl: tls.SSLContext | bool = True
) -> aiohttp.TCPConnector:
    """Connects to nothing but what `rules` allow, whatever a name resolves to and whoever asks. Needs a running loop.

    `limit`: connections in use at a time, 0: any number. `ssl`: as aiohttp has it.
    """

    def open_socket(info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, (address, port, *_) = info
        # Sees every address that is connected to, so that there is no time between check and connect.
        if (why := rules.refusal(str(address), str(address), int(port))) is not None:
            raise AddressRefused(why)
        return socket.socket(family=family, type=kind, proto=protocol)

    return aiohttp.TCPConnector(
        limit=limit,
        keepalive_timeout=keepalive_seconds,
        use_dns_cache=False,
        ssl=ssl,
        resolver=_Sieve(rules),
        socket_factory=open_socket,
    )


def guarded_session(
    rules: Rules,
    *,
    timeout: aiohttp.ClientTimeout,
    limit: int = 100,
    keepalive_seconds: float = 15.0,
    ssl: tls.SSLContext | bool = True,
    headers: Mapping[str, str] | None = None,
    middlewares: tuple[aiohttp.ClientMiddlewareType, ...] = (),
) -> aiohttp.ClientSession:
    """No cookies, no proxy from the environment. Whoever sends says `allow_redirects=False`. Needs a running loop."""
    return aiohttp.ClientSession(
        connector=guarded_connector(rules, limit=limit, keepalive_seconds=keepalive_seconds, ssl=ssl),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=timeout,
        trust_env=False,
        headers=headers,
        middlewares=middlewares,
    )


class _Sieve(AbstractResolver):
    """Leaves only the addresses that may be connected to, and says of which name the others were: the connector would
    know neither the name nor, of several addresses, which one to tell of."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        refusals = [self._rules.refusal(host, result["host"], port) for result in found]
        kept = [result for result, refusal in zip(found, refusals, strict=True) if refusal is None]
        if not kept:
            raise AddressRefused(next(filter(None, refusals), f"{host} resolves to no address"))
        return kept

    async def close(self) -> None:
        await self._resolver.close()
