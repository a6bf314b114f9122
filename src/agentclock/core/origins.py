"""Absolute URLs, read strictly: what different readers could take for different hosts is refused. Pure."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from yarl import URL

from agentclock.core.networks import literal_fault

_URL: Final = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{1,5}))?")
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME: Final = re.compile(rf"(?=.{{1,253}}\.?\Z){_LABEL}(?:\.{_LABEL})*\.?")
#: A name that ends so is read as an IPv4 address by some (WHATWG URL): in hex, octal, or with numbers left out.
_NUMERIC: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.*")
_PORTS: Final = {"http": 80, "https": 443}
_NOT_CANONICAL: Final = "must have an IP address written as four decimal numbers (127.0.0.1), or as IPv6 in brackets"


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port in normal form: lower case, Punycode, IPv6 without brackets."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")


def origin_of(url: str) -> Origin:
    """Where a request for `url` would go. Raises ValueError, with words that go on after "https://... "."""
    if any(char.isspace() or not char.isprintable() or char == "\\" for char in url):
        raise ValueError("must not contain blanks, control characters or backslashes")
    matched = _URL.fullmatch(url)
    if matched is None:
        raise ValueError("must begin with http:// or https://")
    scheme, authority = matched["scheme"].lower(), matched["authority"]
    if "@" in authority:
        raise ValueError("must not contain a user name or a password")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise ValueError("has no host and port that can be read")
    port = int(parts["port"] or _PORTS[scheme])
    if not 1 <= port <= 65_535:
        raise ValueError("has no port from 1 to 65535")
    return Origin(scheme, _normal_host(parts["host"]), port)


def read_origin(text: str) -> Origin:
    """An origin as settings have it: nothing may stand after host and port but one "/". Raises ValueError."""
    origin = origin_of(text)
    matched = _URL.fullmatch(text)
    if matched is None or matched["rest"] not in ("", "/"):
        raise ValueError("must end after the host or the port")
    if fault := literal_fault(origin.host):
        raise ValueError(fault)
    return origin


def absolute_fault(endpoint: str) -> str | None:
    """Why `endpoint` is no absolute URL that could be called, or None."""
    if "#" in endpoint:
        return "must not have a fragment ('#')"
    try:
        origin_of(endpoint)
    except ValueError as error:
        return str(error)
    return None


def origin_fault(endpoint: str, origins: Container[str]) -> str | None:
    """Why `endpoint` must not be called, None: it may be. Paths may: they lead nowhere but to their target."""
    if not is_absolute(endpoint):
        return None
    if (fault := absolute_fault(endpoint)) is not None:
        return fault
    if (origin := str(origin_of(endpoint))) in origins:
        return None
    return (
        f"has the origin {origin}, which is not among those that may be named in full; "
        "an operator can add it to `allowed_origins` (AGENTCLOCK_ALLOWED_ORIGINS)"
    )


def is_absolute(endpoint: str) -> bool:
    """Whether an endpoint names its host itself. All others are paths on their target's base URL."""
    return not endpoint.startswith("/")


def _normal_host(written: str) -> str:
    if written.startswith("["):
        return _literal(written[1:-1], version=6)
    host = written if written.isascii() else _punycode(written)
    if _NUMERIC.fullmatch(host):
        if host != written or _literal(host, version=4) != host:
            raise ValueError(_NOT_CANONICAL)
        return host
    if not _HOST_NAME.fullmatch(host):
        raise ValueError("has no host name or address that can be read")
    return host.lower()


def _literal(text: str, *, version: int) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(_NOT_CANONICAL) from None
    if address.version != version or "%" in text:
        raise ValueError(_NOT_CANONICAL)
    return str(address)


def _punycode(host: str) -> str:
    try:
        return URL.build(scheme="http", host=host).raw_host or ""
    except ValueError:
        raise ValueError("has a host name that is not valid") from None
