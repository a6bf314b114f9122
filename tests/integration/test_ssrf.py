"""Nothing leads where requests must not go: not addresses in disguise, not names, not redirects, not what a name means
a moment later. A server on this machine's own addresses waits for the request that got through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import pytest
from structlog.testing import capture_logs
from tests.apis import client_of
from tests.executor_help import executor_for, recorder
from tests.perimeter_help import Names, Sentinel, taking_over

from agentclock.app import Clockwork, assemble, create_app
from agentclock.auth import fetcher
from agentclock.config import Settings, WebhookEntry
from agentclock.core.errors import ConfigError
from agentclock.core.model import Outcome, OutcomeKind
from agentclock.core.pings import PingKind
from agentclock.engine.clock import SystemClock
from agentclock.executor.dispatch import TargetExecutor
from agentclock.executor.perimeter import Rules, guarded_session, refusal_in
from agentclock.executor.targets import TargetSettings
from agentclock.telemetry import pings
from agentclock.telemetry.pings import Ping
from agentclock.webhooks.messages import ping_message
from agentclock.webhooks.posting import Poster

_TIMEOUT = aiohttp.ClientTimeout(total=10)

#: What names of strangers resolve to, and what the refusal calls it.
PLACES = {
    "loopback.test": (["127.0.0.1"], "loopback"),
    "loopback6.test": (["::1"], "loopback"),
    "both.test": (["::1", "127.0.0.1"], "loopback"),
    "other-loopback.test": (["127.8.8.8"], "loopback"),
    "mapped.test": (["::ffff:127.0.0.1"], "loopback"),
    "translated.test": (["::ffff:0:127.0.0.1"], "reserved"),
    "compatible.test": (["::127.0.0.1"], "reserved"),
    "nat64.test": (["64:ff9b::7f00:1"], "loopback"),
    "local-nat64.test": (["64:ff9b:1::7f00:1"], "translation"),
    "six-to-four.test": (["2002:7f00:1::1"], "loopback"),
    "teredo.test": (["2001:0:808:808::80ff:fffe"], "loopback"),
    "isatap.test": (["2a00:1450::5efe:7f00:1"], "loopback"),
    "unspecified.test": (["0.0.0.0"], "unspecified"),
    "unspecified6.test": (["::"], "unspecified"),
    "this-network.test": (["0.1.2.3"], "unspecified"),
    "metadata.test": (["169.254.169.254"], "metadata"),
    "metadata-mapped.test": (["::ffff:a9fe:a9fe"], "metadata"),
    "metadata-nat64.test": (["64:ff9b::a9fe:a9fe"], "metadata"),
    "metadata-six-to-four.test": (["2002:a9fe:a9fe::"], "metadata"),
    "metadata6.test": (["fd00:ec2::254"], "metadata"),
    "containers.test": (["169.254.170.2"], "metadata"),
    "wireserver.test": (["168.63.129.16"], "metadata"),
    "alibaba.test": (["100.100.100.200"], "metadata"),
    "oracle.test": (["192.0.0.192"], "metadata"),
    "private-a.test": (["10.0.0.1"], "private"),
    "private-b.test": (["172.31.255.255"], "private"),
    "private-c.test": (["192.168.1.1"], "private"),
    "unique-local.test": (["fd12:3456::1"], "private"),
    "link-local.test": (["169.254.7.7"], "link-local"),
    "link-local6.test": (["fe80::1"], "link-local"),
    "scoped.test": (["fe80::1%1"], "no address"),
    "site-local.test": (["fec0::1"], "site-local"),
    "carrier.test": (["100.64.0.1"], "carrier"),
    "multicast.test": (["224.0.0.1", "ff02::1"], "multicast"),
    "broadcast.test": (["255.255.255.255"], "broadcast"),
    "documentation.test": (["192.0.2.1", "2001:db8::1"], "documentation"),
    "benchmark.test": (["198.18.0.1"], "benchmarks"),
    "reserved.test": (["240.0.0.1"], "reserved"),
    "relay.test": (["192.88.99.1"], "reserved"),
    "localhost.": (["127.0.0.1"], "loopback"),
    "foo.localhost": (["127.0.0.1"], "loopback"),
    "0x7f.test": (["127.0.0.1"], "loopback"),
}

#: Hosts that are addresses in disguise. PORT is the sentinel's.
DISGUISED = [
    "http://2130706433:PORT", "http://0x7f000001:PORT", "http://017700000001:PORT", "http://0177.0.0.1:PORT",
    "http://0x7f.0.0.1:PORT", "http://127.1:PORT", "http://127.0.1:PORT", "http://0:PORT", "http://127.0.0.1.:PORT",
    "http://127.0.0.01:PORT", "http://１２７.０.０.１:PORT", "http://127。0。0。1:PORT", "http://①②⑦.⓪.⓪.①:PORT",
    "http://%31%32%37.0.0.1:PORT", "http://127.0.0.1%2e:PORT", "http://[::1%25lo]:PORT", "http://[::1%lo]:PORT",
    "http://[::ffff:127.1]:PORT", "http://user@127.0.0.1:PORT", "http://example.com@127.0.0.1:PORT",
    "http://example.com:80@127.0.0.1:PORT", "http://example.com\\@127.0.0.1:PORT", "http://127.0.0.1:PORT\\@example.com",
    "http:127.0.0.1:PORT", "http:/127.0.0.1:PORT", "http:///127.0.0.1:PORT", "http:\\\\127.0.0.1:PORT",
    "//127.0.0.1:PORT", "/\\127.0.0.1:PORT", "///127.0.0.1:PORT", "\\\\127.0.0.1:PORT", "https:127.0.0.1:PORT",
    "http://127.0.0.1:PORT\t", "http://127.0.0.1\n:PORT", "\nhttp://127.0.0.1:PORT", "ht\ntp://127.0.0.1:PORT",
    "http://127.0.0.1:PORT\r\nHost: x", "http://127.0.0.1:PORT ", "gopher://127.0.0.1:PORT", "file:///etc/passwd",
    "http://127.0.0.1:PORT#", "http://3232235777:PORT", "http://0xa9fea9fe:PORT", "http://2852039166:PORT",
    "http://loca\u00adlhost:PORT", "http://127.0.0.1:PORT:80", "http://127.0.0.1:٨٠", "http://[0:0:0:0:0:ffff:127.1]:PORT",
]  # fmt: skip

#: Addresses as they are written, of which users may write none.
LITERAL = [
    "http://127.0.0.1:PORT", "http://[::1]:PORT", "http://[::ffff:127.0.0.1]:PORT", "http://[::ffff:7f00:1]:PORT",
    "http://[::127.0.0.1]:PORT", "http://[64:ff9b::7f00:1]:PORT", "http://127.8.8.8:PORT", "http://0.0.0.0:PORT",
    "http://[::]:PORT", "http://localhost:PORT", "http://LOCALHOST:PORT", "http://169.254.169.254",
    "http://[fd00:ec2::254]", "http://10.0.0.1", "http://192.168.0.1:PORT",
]  # fmt: skip


KEY = "k" * 40
#: Whatever a user might write.
HOSTILE = [*DISGUISED, *LITERAL, *(f"http://{name}:PORT" for name in PLACES)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    for made in taking_over(monkeypatch):
        made.known |= {name: addresses for name, (addresses, _) in PLACES.items()}
        made.known |= {"localhost": ["127.0.0.1", "::1"], "xn--localhost-x2a.test": ["127.0.0.1"]}
        yield made


@pytest.fixture
async def sentinel() -> AsyncIterator[Sentinel]:
    async with Sentinel().open("127.0.0.1", "::1") as made:
        yield made
        assert (made.connections, made.lines) == (0, [])


@asynccontextmanager
async def process(folder: Path, **settings: Any) -> AsyncIterator[tuple[Clockwork, httpx2.AsyncClient]]:
    clockwork = assemble(Settings(database=str(folder / "clock.db"), security_key=KEY, **settings))
    app = create_app(clockwork)
    async with app.router.lifespan_context(app), client_of(app) as client:
        client.headers["Authorization"] = f"Bearer {KEY}"
        yield clockwork, client


async def called(base_url: str, endpoint: str = "/x", **options: Any) -> Outcome:
    async with executor_for(base_url, **options) as executor:
        return await executor.execute(recorder(endpoint, {"a": 1}).context)


# targets


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, (_, kind) in PLACES.items()])
async def test_a_target_by_a_name_that_leads_inside(name: str, kind: str, names: Names, sentinel: Sentinel) -> None:
    for target_kind, endpoint in (("http", "/x"), ("agentos", "/agents/a/runs")):
        outcome = await called(f"http://{name}:{sentinel.port}", endpoint, kind=target_kind)
        assert (outcome.kind, outcome.retryable) == (OutcomeKind.FAILED, False), outcome
        error = str(outcome.error)
        assert error.startswith(f"target 'default' at http://{name}:{sentinel.port} was not called: {name} resolves to")
        assert kind in error
        assert ("AGENTCLOCK_ALLOWED_NETWORKS" in error) == (kind not in ("metadata", "no address"))


async def test_webhooks(names: Names, sentinel: Sentinel) -> None:
    clock = SystemClock()
    for url in (*DISGUISED, "http://169.254.169.254", *(f"http://{name}:PORT" for name in PLACES)):
        entry = WebhookEntry(url=url.replace("PORT", str(sentinel.port)) + "/hook", secret="whsec_" + "MTIz" * 12)
        poster = Poster({"ops": entry}, clock=clock)
        answer = await poster.post("ops", ping_message("m1", "ops", clock.now()))
        await poster.close()
        assert (answer.has_arrived, answer.status_code) == (False, None), url


async def test_key_sets(names: Names, sentinel: Sentinel) -> None:
    for name in PLACES:
        url = f"https://{name}:{sentinel.port}/jwks.json"

        def session(url: str = url) -> aiohttp.ClientSession:
            return guarded_session(Rules.for_url(url), timeout=_TIMEOUT)

        with pytest.raises(aiohttp.ClientConnectorError) as caught:
            await fetcher(session)(url)
        assert name in str(refusal_in(caught.value))
