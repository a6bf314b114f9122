"""Which addresses may be connected to, and how networks, origins and hosts are read. Nothing here opens a socket."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network
from itertools import chain

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclock.core.networks import Network, network_fault, read_address, special_block
from agentclock.core.origins import absolute_fault, is_absolute, origin_of, read_origin
from agentclock.executor.perimeter import AddressRefused, Rules, refusal_in
from agentclock.executor.targets import TargetSettings

#: Blocks that are not public, by the kind that an error names.
BLOCKS = {
    "private": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/8", "fd01::/16", "fd12:3456::/32"],
    "loopback": ["127.0.0.0/8", "::1/128"],
    "link-local": ["169.254.1.0/24", "169.254.128.0/17", "fe80::/64", "fe80::/11", "fea0::/11"],
    "site-local": ["fec0::/10"],
    "shared by a carrier's customers": ["100.64.0.0/11", "100.96.0.0/14"],
    "unspecified": ["0.0.0.0/8", "::/128"],
    "multicast": ["224.0.0.0/4", "ff00::/8"],
    "broadcast": ["255.255.255.255/32"],
    "for documentation": ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"],
    "for benchmarks": ["198.18.0.0/15", "2001:2::/48"],
    "reserved": [
        "192.0.0.0/25", "192.88.99.0/24", "240.0.0.0/5", "248.0.0.0/6", "100::/64", "4000::/3", "8000::/2", "c000::/3",
        "2001:10::/28", "2001:20::/28", "5f00::/16", "200::/7", "64:ff9a::/32", "e000::/4",
    ],
    "for local translation (NAT64)": ["64:ff9b:1:ffff:ffff::/80"],
    "a cloud's metadata service": [
        "169.254.169.0/24", "169.254.170.0/24", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32",
        "fd00:ec2::254/128", "fd00:ec2::23/128", "fd20:ce::254/128", "fe80::a9fe:a9fe/128", "fd00:42::42/128",
        "169.254.0.23/32", "169.254.42.42/32",
    ],
}  # fmt: skip

#: Beside those blocks, or with a public address inside.
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
    "168.63.129.15", "168.63.129.17", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0",
    "191.255.255.255", "192.0.1.0", "192.0.3.0", "192.31.196.1", "192.88.98.255", "192.88.100.0", "192.167.255.255",
    "192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0",
    "223.255.255.255", "2001:200::1", "2001:4860:4860::8888", "2606:4700::1111", "2a00:1450::1", "2620:fe::fe",
    "3ffe::1", "2001:dc8::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1", "2002:0101:0101::",
    "2001:0:808:808::f7f7:f7f7", "2a00:1450::5efe:8.8.8.8",
]  # fmt: skip


def ends(block: str) -> list[str]:
    network = ip_network(block)
    middle = network.network_address + network.num_addresses // 2
    return [str(address) for address in sorted({network.network_address, middle, network.broadcast_address})]


NOT_PUBLIC = [(kind, address) for kind, blocks in BLOCKS.items() for address in chain.from_iterable(map(ends, blocks))]
IPV4 = [(kind, address) for kind, address in NOT_PUBLIC if ":" not in address]


def kind_of(address: str, *allowed: str, port: int = 80) -> str | None:
    found = special_block(read_address(address), port, map(Network.read, allowed))
    return None if found is None else found.kind


@pytest.mark.parametrize(("kind", "address"), NOT_PUBLIC)
def test_addresses_that_are_not_public(kind: str, address: str) -> None:
    assert kind_of(address) == kind


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert kind_of(address) is None


def carriers(address: str) -> dict[str, IPv6Address]:
    """The same IPv4 address in every kind of IPv6 address that carries one."""
    value = int(IPv4Address(address))
    local, high, low = int(IPv6Address("64:ff9b:1::")), value >> 16, value & 0xFFFF
    return {
        "mapped": IPv6Address(0xFFFF << 32 | value),
        "translated": IPv6Address(0xFFFF << 48 | value),
        "nat64": IPv6Address(int(IPv6Address("64:ff9b::")) | value),
        "6to4": IPv6Address(0x2002 << 112 | value << 80 | 1),
        "teredo client": IPv6Address(0x20010000 << 96 | 0x08080808 << 64 | ~value & 0xFFFFFFFF),
        "teredo server": IPv6Address(0x20010000 << 96 | value << 64 | 0xF7F7F7F7),
        "isatap": IPv6Address(0x2A001450 << 96 | 0x5EFE << 32 | value),
        "isatap of a public address": IPv6Address(0x2A001450 << 96 | 0x02005EFE << 32 | value),
        "local nat64, /96": IPv6Address(local | value),
        "local nat64, /64": IPv6Address(local | value << 24),
        "local nat64, /56": IPv6Address(local | (value >> 24) << 64 | (value & 0xFFFFFF) << 32),
        "local nat64, /48": IPv6Address(local | high << 64 | low << 40),
    }


@pytest.mark.parametrize(("kind", "address"), IPV4)
def test_what_an_address_carries_is_judged(kind: str, address: str) -> None:
    for way, carrier in carriers(address).items():
        found = kind_of(str(carrier))
        assert found is not None, way
        if kind == "a cloud's metadata service":
            assert kind_of(str(carrier), "::/0", "0.0.0.0/0") == kind, way


@pytest.mark.parametrize("address", BLOCKS["a cloud's metadata service"])
def test_no_network_allows_a_metadata_service(address: str) -> None:
    own = address.partition("/")[0]
    assert kind_of(own, "0.0.0.0/0", "::/0", own) == "a cloud's metadata service"
    url = f"http://[{own}]/" if ":" in own else f"http://{own}/"
    assert "nothing allows" in str(Rules.for_url(url, networks=("0.0.0.0/0", "::/0")).refusal(own, own, 80))


def test_networks_allow_what_they_hold_and_the_port_they_name() -> None:
    assert kind_of("10.1.2.3", "10.1.0.0/16") is None
    assert kind_of("10.2.2.3", "10.1.0.0/16") == "private"
    assert kind_of("::ffff:10.1.2.3", "10.1.0.0/16") is None
    assert kind_of("10.1.2.3", "10.1.2.3:8000") == "private"
    assert kind_of("10.1.2.3", "10.1.2.3:8000", port=8000) is None
    assert kind_of("fd12::1", "[fd12::/16]:443", port=443) is None
    assert kind_of("fd12::1", "[fd12::/16]:443") == "private"
    assert kind_of("64:ff9b::10.1.2.3", "10.0.0.0/8") is None
    assert kind_of("64:ff9b::127.0.0.1", "10.0.0.0/8") == "loopback"
    assert kind_of("64:ff9b:1::127.0.0.1", "64:ff9b:1::/48") is None


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("[::ffff:127.0.0.1]", "carries"), ("[64:ff9b::7f00:1]", "carries"), ("[2002:7f00:1::]", "carries"),
        ("[::127.0.0.1]", "carries"), ("0.0.0.0", "stand for any"), ("[::]", "stand for any"),
        ("169.254.169.254", "nothing allows"), ("[fd00:ec2::254]", "nothing allows"),
    ],
)  # fmt: skip
def test_addresses_that_say_something_else_are_not_taken_as_written(host: str, says: str) -> None:
    target = TargetSettings(name="t", base_url=f"http://{host}:8000")
    assert says in "".join(target.problems())
    with pytest.raises(ValueError, match=says):
        read_origin(f"http://{host}:8000")
    assert Rules.for_url(f"http://{host}:8000").refusal(host, host.strip("[]"), 8000) is not None


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "10.0.0.5", "[fd00::5]", "localhost", "93.184.216.34"])
def test_addresses_that_are_taken_as_written(host: str) -> None:
    assert TargetSettings(name="t", base_url=f"http://{host}:8000").problems() == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"), ("10.1.2.3", "10.1.2.3/32"), ("10.1.2.3:8000", "10.1.2.3/32:8000"),
        ("10.0.0.0/8:65535", "10.0.0.0/8:65535"), ("fd00::/8", "fd00::/8"), ("::1", "::1/128"),
        ("[fd00::/8]:443", "[fd00::/8]:443"), ("[FD00::1]:1", "[fd00::1/128]:1"), ("0.0.0.0/0", "0.0.0.0/0"),
        ("[::1]", "::1/128"), ("::/0", "::/0"),
    ],
)  # fmt: skip
def test_networks_that_are_read(text: str, shown: str) -> None:
    assert str(Network.read(text)) == shown
    assert network_fault(text) is None
    assert Network.read(shown) == Network.read(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not a network"), ("localhost", "such as 10.0.0.0/8"), ("10.0.0.0/33", "is not a network"),
        ("10.0.0.1/8", "the network is 10.0.0.0/8"), ("fd00::1/8", "the network is fd00::/8"),
        ("10.0.0.0/8:0", "no port"), ("10.0.0.0/8:65536", "no port"), ("10.0.0.0/8:99999", "no port"),
        ("fd00::/8:443", "[fd00::/8]:443"), ("::ffff:10.0.0.0/104", "write it as IPv4"), ("10/8", "is not a network"),
        ("10.0.0.0/255.0.0.0", "is not a network"), ("١٠.0.0.0/8", "is not a network"), ("10.0.0.08", "not a network"),
        ("fe80::1%eth0", "is not a network"), (" 10.0.0.0/8", "is not a network"), ("http://10.0.0.1", "not a network"),
    ],
)  # fmt: skip
def test_networks_that_are_not(text: str, says: str) -> None:
    fault = network_fault(text)
    assert fault is not None
    assert says in fault


@pytest.mark.parametrize("text", ["localhost", "127.1", "2130706433", "0x7f.0.0.1", "127.0.0.01", "fe80::1%eth0", ""])
def test_only_what_sockets_name_is_an_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"zone|address"):
        read_address(text)
    assert "no address that can be checked" in str(Rules.public(networks=("0.0.0.0/0",)).refusal("x.test", text, 80))


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://example.com", "http://example.com"),
        ("HTTPS://Example.COM:443/x?y", "https://example.com"),
        ("http://example.com:443/", "http://example.com:443"),
        ("http://example.com:0080/", "http://example.com"),
        ("https://bücher.example/ü", "https://xn--bcher-kva.example"),
        ("http://10.0.0.1:8000?x", "http://10.0.0.1:8000"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        ("http://[0:0:0:0:0:0:0:1]/", "http://[::1]"),
        ("http://my_service:80", "http://my_service"),
        ("http://svc.ns.svc.cluster.local.:8000/", "http://svc.ns.svc.cluster.local.:8000"),
        ("https://example.com/@x:y//z", "https://example.com"),
    ],
)
def test_origins(url: str, origin: str) -> None:
    assert str(origin_of(url)) == origin
    assert origin_of(origin) == read_origin(origin) == origin_of(url)


#: URLs that different readers could take for different hosts, or that name an address in disguise.
DECEITFUL = [
    "http://2130706433/", "http://0x7f000001/", "http://017700000001/", "http://0177.0.0.1/", "http://127.1/",
    "http://127.0.1/", "http://127.0.0.1./", "http://127.0.0.1../", "http://0x7f.1/", "http://0X7F.0.0.1/",
    "http://127.0.0.01/", "http://0/", "http://1/", "http://127.0.0.1.2/", "http://foo.0x1/", "http://foo.1/",
    "http://１２７.０.０.１/", "http://①②⑦.⓪.⓪.①/", "http://127。0。0。1/", "http://127．0．0．1/", "http://١٢٧.0.0.1/",
    "http://%31%32%37.0.0.1/", "http://127.0.0.1%2e/", "http://127.0.0.1%00.example.com/", "http://a%2eb/",
    "http://user@example.com/", "http://user:pw@example.com/", "http://example.com@127.0.0.1/", "http://@127.0.0.1/",
    "http://example.com:80@127.0.0.1/", "http://example.com\\@127.0.0.1/", "http://127.0.0.1\\.example.com/",
    "http://example.com/\\..", "http:example.com", "http:/example.com", "http:///example.com", "//example.com",
    "https:example.com", "/\\example.com", "\\\\example.com", "http:\\\\example.com", "http://", "https:", "",
    "http://exa mple.com", "http://example.com/\t", "\thttp://example.com", "http://example\n.com", "http://example\r.com",
    " http://example.com", "http://example.com\x00", "http://example.com/\x7f", "http://exam\u00adple.com",
    "http://exam\u200bple.com", "http://example\u3000.com", "http://[::1", "http://::1/", "http://[::1]x/",
    "http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/", "http://[127.0.0.1]/", "http://[v1.a]/", "http://[]/",
    "http://[::ffff:127.1]/", "http://example.com:/", "http://example.com:0/", "http://example.com:65536/",
    "http://example.com:8o/", "http://example.com:80:80/", "http://example.com:+80/", "http://example.com:٨٠/",
    "http://.example.com/", "http://a..b/", "http://-a.com/", "http://a-/", "http://a!b/", "http://a,b/",
    "http://" + "a" * 64 + ".com/", "http://" + "a." * 130 + "com/", "ftp://example.com", "gopher://127.0.0.1/",
    "file:///etc/passwd", "javascript:alert(1)", "http", "https//x", "htt\tp://example.com", "ｈttp://example.com",
    "http://example.com\uff0f@127.0.0.1/", "http://ex\uff0fample.com/", "http://\u2100.example/",
]  # fmt: skip


@pytest.mark.parametrize("url", DECEITFUL)
def test_urls_that_can_be_read_in_two_ways(url: str) -> None:
    with pytest.raises(ValueError, match=r"^(must|has) "):
        origin_of(url)
    with pytest.raises(ValueError, match=r"^(must|has) "):
        Rules.for_url(url)
    assert absolute_fault(url)


def test_what_is_no_origin() -> None:
    assert str(read_origin("https://example.com/")) == "https://example.com"
    for url in ("https://example.com/x", "https://example.com//", "https://example.com?", "https://example.com#"):
        with pytest.raises(ValueError, match="must end after the host"):
            read_origin(url)
    assert absolute_fault("https://example.com/x#y")
    assert absolute_fault("https://example.com/x?y=#")
    assert not absolute_fault("https://example.com/x?y=%23")
    assert [is_absolute(text) for text in ("/x", "//x", "/\\x", "https://x", "https:x")] == [False] * 3 + [True] * 2


def test_an_address_in_an_operators_url_is_allowed_as_written() -> None:
    rules = Rules.for_url("http://10.0.0.1:8000/x")
    assert rules.refusal("10.0.0.1", "10.0.0.1", 8000) is None
    assert rules.refusal("10.0.0.1", "10.0.0.1", 8001)
    assert rules.refusal("10.0.0.2", "10.0.0.2", 8000)
    for url in ("http://localhost:81/", "http://LOCALHOST:81"):
        rules = Rules.for_url(url)
        assert [rules.refusal("localhost", found, 81) for found in ("127.0.0.1", "127.0.1.1", "::1")] == [None] * 3
        assert rules.refusal("localhost", "10.0.0.1", 81)
        assert rules.refusal("localhost", "127.0.0.1", 80)
    assert Rules.for_url("http://10.0.0.1:80").refusal("x", "::ffff:a00:1", 80) is None
    for name in ("localhost.", "localhost.localdomain", "foo.localhost", "10.0.0.1.nip.example"):
        assert Rules.for_url(f"http://{name}/").refusal(name, "127.0.0.1", 80), name


def test_a_refusal_names_the_address_its_kind_and_the_settings() -> None:
    rules = Rules.for_url("http://agents:8000", advice="the target's `networks`")
    assert rules.refusal("agents", "172.18.0.3", 8000) == (
        "agents resolves to 172.18.0.3, which is private (172.16.0.0/12); "
        "if that is right, add 172.16.0.0/12:8000 to the target's `networks`"
    )
    assert Rules.public().refusal("::1", "::1", 80) == (
        "::1 is loopback (::1/128); if that is right, "
        "add [::1/128]:80 to `allowed_networks` (AGENTCLOCK_ALLOWED_NETWORKS)"
    )
    assert Rules.public().refusal("x.test", "169.254.169.254", 80) == (
        "x.test resolves to 169.254.169.254, which is a cloud's metadata service (169.254.169.0/24); "
        "nothing allows requests to that"
    )


def test_what_a_refusal_proposes_would_allow_it() -> None:
    for kind, address in NOT_PUBLIC:
        refusal = str(Rules.public().refusal("x.test", address, 8000))
        if kind != "a cloud's metadata service":
            entry = refusal.partition("add ")[2].partition(" to ")[0]
            assert Rules.public(networks=(entry,)).refusal("x.test", address, 8000) is None, refusal


def test_other_errors_are_no_refusals() -> None:
    assert refusal_in(AddressRefused("no")) == "no"
    assert refusal_in(OSError("no")) is None
    assert refusal_in(aiohttp.ClientError("no")) is None


@given(st.ip_addresses(), st.integers(1, 65_535))
def test_every_address_is_judged_and_only_ever_let_in_by_a_network(
    address: IPv4Address | IPv6Address, port: int
) -> None:
    found = special_block(address, port)
    everything = [Network.read("0.0.0.0/0"), Network.read("::/0")]
    with_all = special_block(address, port, everything)
    assert with_all is None or (with_all.is_never_allowed and found == with_all)
    if isinstance(address, IPv4Address):
        mapped = read_address(f"::ffff:{address}")
        assert special_block(mapped, port) == found
        if found is not None:
            assert all(kind_of(str(carrier), port=port) for carrier in carriers(str(address)).values())


@given(st.text(max_size=40))
def test_whatever_is_written_is_read_or_refused_with_a_reason(text: str) -> None:
    for url in (text, f"http://{text}", f"https://example.com{text}"):
        fault = absolute_fault(url.replace("#", ""))
        if fault is None:
            origin = origin_of(url.replace("#", ""))
            assert origin_of(str(origin)) == origin
            assert str(origin).isascii()
        else:
            assert fault.startswith(("must", "has"))
