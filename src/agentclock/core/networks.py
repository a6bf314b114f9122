"""IP addresses that are not public, and networks that are allowed nevertheless. Pure; nothing is looked up.

`ipaddress.is_global` is no policy: it lets multicast, 6to4, NAT64 and site-local addresses pass, and what it says
changes with Python's version. The table is ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Block: TypeAlias = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Special:
    """A block of addresses that are not public. `is_never_allowed`: whatever networks are."""

    kind: str
    block: Block
    is_never_allowed: bool = False


def _named(kind: str, *blocks: str, never: bool = False) -> tuple[Special, ...]:
    return tuple(Special(kind, ip_network(block), never) for block in blocks)


#: Where clouds hand out credentials to whoever asks: AWS, Azure, Google, Oracle, OpenStack and most others
#: (169.254.169.254), AWS for containers (169.254.170.x), Azure (168.63.129.16), Alibaba, Oracle's older one, Tencent,
#: Scaleway, and what they have in IPv6.
_METADATA: Final = _named(
    "a cloud's metadata service",
    "169.254.169.0/24", "169.254.170.0/24", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32",
    "169.254.0.23/32", "169.254.42.42/32",
    "fd00:ec2::/32", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128", "fe80::a9fe:a9fe/128", "fd00:42::42/128",
    "fd00:a9fe:a9fe::1/128",
    never=True,
)  # fmt: skip

_SPECIAL: Final = (
    *_METADATA,
    *_named("private", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
    *_named("loopback", "127.0.0.0/8", "::1/128"),
    *_named("link-local", "169.254.0.0/16", "fe80::/10"),
    *_named("site-local", "fec0::/10"),
    *_named("shared by a carrier's customers", "100.64.0.0/10"),
    *_named("unspecified", "0.0.0.0/8", "::/128"),
    *_named("multicast", "224.0.0.0/4", "ff00::/8"),
    *_named("broadcast", "255.255.255.255/32"),
    *_named("for documentation", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"),
    *_named("for benchmarks", "198.18.0.0/15", "2001:2::/48"),
    *_named("for local translation (NAT64)", "64:ff9b:1::/48"),
    *_named("reserved", "192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4", "2001::/23", "::/0"),
)
#: What is left of IPv6 beside the blocks above. What carries an IPv4 address is judged by that.
_PUBLIC: Final = tuple(map(IPv6Network, ("2000::/3", "2001::/32", "64:ff9b::/96")))

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
#: Blocks whose addresses end in an IPv4 address: compatible, translated, NAT64.
_WITH_IPV4_AT_THE_END: Final = tuple(map(IPv6Network, ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96")))
_LOCAL_NAT64: Final = IPv6Network("64:ff9b:1::/48")
_SIX_TO_FOUR: Final = IPv6Network("2002::/16")
_TEREDO: Final = IPv6Network("2001::/32")
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})


def read_address(text: str) -> Address:
    """An address as sockets name it, IPv4 if it is IPv4 in the clothes of IPv6 (::ffff:10.0.0.1).

    Raises ValueError for names, for IPv4 in other than four decimal numbers, and for addresses with a zone (%eth0).
    """
    if "%" in text:
        raise ValueError(f"{text!r} has a zone")
    address = ip_address(text)
    return IPv4Address(int(address) & 0xFFFFFFFF) if _is_in(address, _MAPPED) else address


def special_block(address: Address, port: int, allowed: Iterable[Network] = ()) -> Special | None:
    """The block for which a connection to `address` and `port` must not be made; None: it may be.

    An address that carries another one (6to4, Teredo, NAT64, ISATAP) is as good as the worst of them, unless it is
    allowed itself: then only metadata services count.
    """
    allowed = tuple(allowed)
    blocks = [(form, block) for form in (address, *_carried(address)) if (block := _block_of(form)) is not None]
    if (never := next((block for _, block in blocks if block.is_never_allowed), None)) is not None:
        return never

    def is_allowed(form: Address) -> bool:
        return any(network.holds(form, port) for network in allowed)

    if is_allowed(address):
        return None
    return next((block for form, block in blocks if not is_allowed(form)), None)


@dataclass(frozen=True, slots=True)
class Network:
    """Addresses that are not public and may be connected to; `port` None: on every port."""

    block: Block
    port: int | None = None

    def __str__(self) -> str:
        if self.port is None:
            return str(self.block)
        block = f"[{self.block}]" if self.block.version == 6 else str(self.block)
        return f"{block}:{self.port}"

    def holds(self, address: Address, port: int) -> bool:
        return _is_in(address, self.block) and self.port in (None, port)

    @classmethod
    def read(cls, text: str) -> Network:
        """ "10.0.0.0/8", "10.1.2.3", "10.1.2.3:8000", "10.0.0.0/8:8000", "fd00::/8", "[fd00::/8]:443".

        Raises ValueError, with a sentence for people.
        """
        matched = _NETWORK.fullmatch(text)
        if matched is None:
            raise ValueError(f"{text!r} is not a network such as 10.0.0.0/8, 10.1.2.3:8000 or [fd00::/8]:443")
        port = matched["port4"] or matched["port6"]
        if port is not None and not 1 <= int(port) <= 65_535:
            raise ValueError(f"{text!r} has no port from 1 to 65535")
        try:
            block = ip_network(matched["v4"] or matched["bare6"] or matched["v6"], strict=False)
        except ValueError:
            raise ValueError(f"{text!r} is not a network such as 10.0.0.0/8") from None
        written = (matched["v4"] or matched["bare6"] or matched["v6"]).partition("/")[0]
        if ip_address(written) != block.network_address:
            raise ValueError(f"{text!r} is an address within a network; the network is {block}")
        if isinstance(block, IPv6Network) and block.prefixlen >= 96 and _is_in(block.network_address, _MAPPED):
            raise ValueError(f"{text!r} is IPv4 written as IPv6; write it as IPv4")
        return cls(block, None if port is None else int(port))


_NETWORK: Final = re.compile(
    r"(?P<v4>[0-9.]+(?:/[0-9]{1,2})?)(?::(?P<port4>[0-9]{1,5}))?"
    r"|(?P<bare6>[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*(?:/[0-9]{1,3})?)"
    r"|\[(?P<v6>[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*(?:/[0-9]{1,3})?)\](?::(?P<port6>[0-9]{1,5}))?"
)


def network_fault(text: str) -> str | None:
    """Why `text` is no network that could be allowed, or None."""
    try:
        Network.read(text)
    except ValueError as error:
        return str(error)
    return None


def literal_fault(text: str) -> str | None:
    """Why an address must not be written into a URL, whoever writes it; None: it may be, or `text` is a name.

    One that stands for another address, or for none, says something else than it seems to.
    """
    try:
        written = ip_address(text)
    except ValueError:
        return None
    address = read_address(text)
    block = _block_of(address)
    if address.is_unspecified:
        return "must name an address: 0.0.0.0 and :: stand for any"
    if block is not None and block.is_never_allowed:
        return f"must not be {block.kind} ({block.block}): nothing allows requests to that"
    if written.version != address.version or any(_carried(address)):
        return "must not be an address that carries an IPv4 address: write that one"
    return None


def _block_of(address: Address) -> Special | None:
    """The smallest block that the address is special by, None: it is public."""
    found = [special for special in _SPECIAL if _is_in(address, special.block)]
    if not found:
        return None
    smallest = max(found, key=lambda special: special.block.prefixlen)
    roomiest = max((block.prefixlen for block in _PUBLIC if _is_in(address, block)), default=-1)
    return smallest if smallest.block.prefixlen > roomiest else None


def _carried(address: Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that packets to an IPv6 address may end at."""
    if isinstance(address, IPv4Address):
        return
    value = int(address)
    if any(address in block for block in _WITH_IPV4_AT_THE_END) and value > 1:
        yield IPv4Address(value & 0xFFFFFFFF)
    if address in _SIX_TO_FOUR:
        yield IPv4Address(value >> 80 & 0xFFFFFFFF)
    if address in _TEREDO:
        yield IPv4Address(value >> 64 & 0xFFFFFFFF)
        yield IPv4Address(~value & 0xFFFFFFFF)
    if value >> 32 & 0xFFFFFFFF in _ISATAP:
        yield IPv4Address(value & 0xFFFFFFFF)
    if address in _LOCAL_NAT64:
        # Where it stands depends on a prefix that nobody told us (RFC 6052, 2.2); octet 8 is left out of all.
        octets = address.packed[:8] + address.packed[9:]
        for start in (6, 7, 8, 11):
            yield IPv4Address(octets[start : start + 4])


def _is_in(address: Address, block: Block) -> bool:
    return address.version == block.version and address in block
