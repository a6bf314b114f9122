"""Which client a request comes from: its address, also where proxies stand in between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

#: Proxies in a row that are looked at.
_MOST_HOPS: Final = 32


def client_key(host: str | None) -> str:
    """What counts as one client: an IPv4 address, or the /64 network of an IPv6 address (one household has as many
    addresses as it likes). What is no address (a socket's path, none) counts as it stands."""
    if host is None or ":" not in host:
        return host or ""
    address = _address(host)
    return str(IPv6Network((address, 64), strict=False)) if isinstance(address, IPv6Address) else str(address or host)


class Proxies:
    """Those whose X-Forwarded-For and X-Forwarded-Proto are believed. What any other client says of itself counts for
    nothing."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        """`trusted`: addresses and networks. Raises ValueError."""
        self._networks: Final = tuple(ip_network(one, strict=False) for one in trusted)

    def trusts(self, host: str | None) -> bool:
        address = _address(host) if self._networks and host else None
        return address is not None and any(address in network for network in self._networks)

    def client_of(self, scope: Scope) -> str | None:
        """The address that the request came from: the last one on its way that is no trusted proxy."""
        host: str | None = scope["client"][0] if scope.get("client") else None
        if not self.trusts(host):
            return host
        for said in _forwarded_for(scope):
            if said is None:
                break
            host = str(said)
            if not self.trusts(host):
                break
        return host

    def scheme_of(self, scope: Scope) -> str:
        """By which the client came to the first trusted proxy, as far as the proxy next to us says."""
        scheme: str = scope.get("scheme", "http")
        if not self.trusts(scope["client"][0] if scope.get("client") else None):
            return scheme
        said = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-proto"]
        nearest = ",".join(said).rpartition(",")[2].strip().lower()
        return nearest if nearest in ("http", "https") else scheme


class RealClients:
    """ASGI middleware: whoever asks a request for its client hears of the client, not of the proxy before us; likewise
    for the scheme."""

    def __init__(self, app: ASGIApp, proxies: Proxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (host := self._proxies.client_of(scope)) is not None:
            peer = scope["client"]
            scheme = self._proxies.scheme_of(scope)
            scope = {**scope, "client": peer if peer[0] == host else (host, 0), "scheme": scheme}
        await self._app(scope, receive, send)


def _forwarded_for(scope: Scope) -> Iterator[IPv4Address | IPv6Address | None]:
    """The addresses of X-Forwarded-For, the nearest first; None for what is no address."""
    lines = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    for text in reversed(",".join(lines).rsplit(",", _MOST_HOPS)[-_MOST_HOPS:]):
        yield _address(_without_port(text.strip()))


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """IPv4 inside of IPv6 is IPv4; a zone (%eth0) is left out."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
