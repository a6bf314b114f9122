"""Nothing leads where requests must not go: not addresses in disguise, not names, not redirects, not what a name means
a moment later. A server on this machine's own addresses waits for the request that got through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import jwt
import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs
from tests.apis import client_of
from tests.executor_help import executor_for, recorder
from tests.perimeter_help import Names, Sentinel, taking_over

from agentclock.app import Clockwork, assemble, create_app
from agentclock.auth import fetcher
from agentclock.cli.doctor import _examine_targets
from agentclock.config import Settings, WebhookEntry
from agentclock.core.errors import ConfigError
from agentclock.core.model import Outcome, OutcomeKind
from agentclock.core.pings import PingKind
from agentclock.core.scopes import ADMIN
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
        # Where the tests' own servers listen; the sentinel, which is there too, counts for itself.
        assert set(made.connected) <= {"127.0.0.1", "127.0.0.2"}


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


@pytest.mark.parametrize("url", [*DISGUISED, "http://169.254.169.254%2f:PORT"])
def test_a_base_url_in_disguise_stops_the_start(url: str) -> None:
    with pytest.raises(ConfigError, match="target 'default'"):
        TargetExecutor({"default": TargetSettings(name="default", base_url=url.replace("PORT", "8000"))})


@pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "168.63.129.16"])
def test_a_metadata_service_stops_the_start_whatever_is_listed(host: str) -> None:
    target = TargetSettings(name="default", base_url=f"http://{host}", kind="http", networks=("0.0.0.0/0", "::/0"))
    with pytest.raises(ConfigError, match="nothing allows requests to that"):
        TargetExecutor({"default": target}, networks=("169.254.169.254", "fd00:ec2::254"))


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "168.63.129.16"])
async def test_a_name_of_a_metadata_service_is_not_called_whatever_is_listed(
    address: str, names: Names, sentinel: Sentinel
) -> None:
    names.known["meta.test"] = [address]
    url = f"http://meta.test:{sentinel.port}"
    target = TargetSettings(name="default", base_url=url, kind="http", networks=("0.0.0.0/0", "::/0"))
    executor = TargetExecutor({"default": target}, networks=("169.254.169.254", "fd00:ec2::254"))
    outcome = await executor.execute(recorder("/latest/meta-data", None, method="GET").context)
    await executor.close()
    assert outcome.kind is OutcomeKind.FAILED
    assert "nothing allows requests to that" in str(outcome.error)


async def test_of_several_addresses_only_the_allowed_ones_are_tried(names: Names, sentinel: Sentinel) -> None:
    url, networks = f"http://mixed.test:{sentinel.port}", (f"127.0.0.2:{sentinel.port}",)
    target = TargetSettings(name="default", base_url=url, kind="http", networks=networks)
    for answers in (["127.0.0.1", "127.0.0.2"], ["127.0.0.2", "127.0.0.1"], ["::1", "127.0.0.2", "10.0.0.1"]):
        names.known["mixed.test"] = answers
        executor = TargetExecutor({"default": target})
        refused = await executor.execute(recorder("/x").context)
        assert (refused.kind, refused.retryable) == (OutcomeKind.REFUSED, True)  # nobody listens there, yet
        async with Sentinel(port=sentinel.port).open("127.0.0.2") as allowed:
            outcome = await executor.execute(recorder("/x").context)
            assert outcome.kind is OutcomeKind.SUCCESS, outcome
            assert allowed.connections == 1
        await executor.close()


async def test_what_a_name_means_later_is_checked_later(names: Names, sentinel: Sentinel) -> None:
    answers = iter([["127.0.0.2"], ["127.0.0.1"], ["::1"], ["169.254.169.254"]])
    names.known["rebound.test"] = lambda: next(answers)
    url, networks = f"http://rebound.test:{sentinel.port}", (f"127.0.0.2:{sentinel.port}",)
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    executor = TargetExecutor({"default": TargetSettings(name="default", base_url=url, kind="http", networks=networks)})
    async with Sentinel(closing, port=sentinel.port).open("127.0.0.2") as allowed:
        outcomes = [await executor.execute(recorder("/x").context) for _ in range(4)]
    await executor.close()
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.SUCCESS] + [OutcomeKind.FAILED] * 3
    assert allowed.connections == 1
    assert names.asked.count("rebound.test") == 4  # once a connection: there is no second answer to be fooled by


async def test_no_target_uses_a_connection_that_another_was_allowed(names: Names) -> None:
    async with Sentinel().open("127.0.0.1") as inside:
        url = f"http://loopback.test:{inside.port}"
        allowed = TargetSettings(name="allowed", base_url=url, kind="http", networks=("127.0.0.0/8",))
        executor = TargetExecutor(
            {"allowed": allowed, "other": TargetSettings(name="other", base_url=url, kind="http")}
        )
        first = await executor.execute(recorder("/x", target="allowed").context)
        other = await executor.execute(recorder("/x", target="other").context)
        again = await executor.execute(recorder("/x", target="allowed").context)
        await executor.close()
    assert [first.kind, other.kind, again.kind] == [OutcomeKind.SUCCESS, OutcomeKind.FAILED, OutcomeKind.SUCCESS]
    assert (inside.connections, len(inside.lines)) == (1, 2)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("place", ["http://127.0.0.1:PORT/x", "http://169.254.169.254/latest", "//[::1]:PORT/x"])
async def test_redirects_are_shown_and_not_followed(status: int, place: str, sentinel: Sentinel) -> None:
    place = place.replace("PORT", str(sentinel.port))
    moved = f"HTTP/1.1 {status} Moved\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode()
    async with Sentinel(moved).open("127.0.0.1") as allowed:
        for endpoint, kind in (("/x", "http"), ("/agents/a/runs", "agentos")):
            outcome = await called(f"http://127.0.0.1:{allowed.port}", endpoint, kind=kind)
            assert (outcome.kind, outcome.retryable, outcome.status_code) == (OutcomeKind.FAILED, False, status)
            assert place in str(outcome.error)
    assert allowed.connections == 2


async def test_no_proxy_of_the_environment_is_asked(sentinel: Sentinel, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{sentinel.port}")
    async with Sentinel().open("127.0.0.1") as allowed:
        assert (await called(f"http://127.0.0.1:{allowed.port}", kind="http")).kind is OutcomeKind.SUCCESS
    assert allowed.lines == ["POST /x HTTP/1.1"]


async def test_doctor_says_what_is_in_the_way(names: Names, sentinel: Sentinel) -> None:
    async with Sentinel().open("127.0.0.1") as inside:
        targets = {"default": {"base_url": f"http://loopback.test:{inside.port}"}}
        [trouble] = await _examine_targets(Settings(targets=targets))
        [fine] = await _examine_targets(Settings(targets=targets, allowed_networks=f"127.0.0.0/8:{inside.port}"))
    assert "was not called: loopback.test resolves to 127.0.0.1, which is loopback" in trouble.detail
    assert "reachable" in fine.detail


# endpoints in full


async def test_endpoints_that_name_a_host(names: Names, sentinel: Sentinel, tmp_path: Path) -> None:
    async with process(tmp_path, allowed_origins="https://hooks.example.com,http://example.com") as (clockwork, client):
        made = await client.post("/schedules", json={"name": "a", "endpoint": "/x", "cron_expr": ""})
        path = f"/schedules/{made.json()['id']}"
        for url in HOSTILE:
            endpoint = url.replace("PORT", str(sentinel.port)) + "/x"
            refused = await client.post("/schedules", json={"name": "b", "endpoint": endpoint})
            assert refused.status_code == 422, (endpoint, refused.text)
            assert (await client.patch(path, json={"endpoint": endpoint})).status_code == 422
            # As it might stand in the database since other settings held, or since somebody wrote it there.
            outcome = await clockwork.executor.execute(recorder(endpoint, {"a": 1}).context)
            assert (outcome.kind, outcome.retryable) == (OutcomeKind.FAILED, False), outcome
            assert "endpoint" in str(outcome.error)


async def test_an_origin_that_is_allowed_is_called_without_what_targets_have(names: Names, tmp_path: Path) -> None:
    async with Sentinel().open("127.0.0.1") as outside:
        names.known["hooks.test"] = ["127.0.0.1"]
        origin = f"http://hooks.test:{outside.port}"
        settings: dict[str, Any] = {"allowed_origins": [origin], "allowed_networks": [f"127.0.0.1:{outside.port}"]}
        settings["targets"] = {"default": {"base_url": origin, "headers": {"X-Key": "s3cret-x"}, "token": "s3cret-y"}}
        settings["service_token"] = "s3cret-z" * 5
        async with process(tmp_path, **settings) as (_, client):
            draft = {"name": "a", "endpoint": f"{origin}/hook?x=1", "cron_expr": "", "payload": {"b": 2}}
            made = (await client.post("/schedules", json=draft)).json()
            run = (await client.post(f"/schedules/{made['id']}/trigger?wait=20")).json()
            others = (f"https://hooks.test:{outside.port}/hook", "http://hooks.test/hook", f"http://x.{origin[7:]}/")
            for other in others:
                refused = await client.post("/schedules", json=draft | {"name": "b", "endpoint": other})
                assert refused.status_code == 422
                assert "AGENTCLOCK_ALLOWED_ORIGINS" in refused.text
    assert run["status"] == "success", run
    assert outside.lines == ["POST /hook?x=1 HTTP/1.1"]
    assert b"s3cret" not in outside.received


async def test_endpoints_in_full_are_for_admins(tmp_path: Path) -> None:
    origin, secret = "https://hooks.example.com", "s" * 40
    tokens = {"jwt_secret": secret, "jwt_issuer": "us", "jwt_audience": "clock"}
    async with process(tmp_path, allowed_origins=origin, **tokens) as (_, client):
        plain = await client.post("/schedules", json={"name": "plain", "endpoint": "/x", "cron_expr": ""})
        whole = {"name": "whole", "endpoint": f"{origin}/x", "cron_expr": ""}
        for scopes, status in (
            (["schedules:*", "schedules:write", "targets:call", "targets:*:call"], 403),
            ([ADMIN], 201),
        ):
            claims = {"sub": "ann", "scopes": scopes, "exp": 4_000_000_000, "iat": 1_700_000_000}
            claims |= {"iss": "us", "aud": "clock"}
            client.headers["Authorization"] = f"Bearer {jwt.encode(claims, secret)}"
            assert (await client.post("/schedules", json=whole)).status_code == status
        path = f"/schedules/{plain.json()['id']}"
        assert (await client.patch(path, json={"endpoint": f"{origin}/x"})).status_code == 200


async def test_an_allowed_origin_that_leads_inside(names: Names, sentinel: Sentinel, tmp_path: Path) -> None:
    origins = [f"http://{name}:{sentinel.port}" for name in PLACES]
    async with process(tmp_path, allowed_origins=origins) as (clockwork, client):
        for number, origin in enumerate(origins):
            draft = {"name": f"n{number}", "endpoint": f"{origin}/agents/a/runs", "cron_expr": ""}
            assert (await client.post("/schedules", json=draft)).status_code == 201
            outcome = await clockwork.executor.execute(recorder(f"{origin}/agents/a/runs", {"message": "m"}).context)
            assert (outcome.kind, outcome.retryable) == (OutcomeKind.FAILED, False), outcome
            assert "was not called" in str(outcome.error)


async def test_a_run_that_may_not_be_sent_fails_at_once(names: Names, sentinel: Sentinel, tmp_path: Path) -> None:
    port = sentinel.port
    targets = {"default": {"base_url": f"http://loopback.test:{port}"}}
    async with process(tmp_path, targets=targets) as (_, client):
        draft = {"name": "a", "endpoint": "/agents/a/runs", "cron_expr": "", "max_retries": 5, "timeout_seconds": 60}
        made = (await client.post("/schedules", json=draft)).json()
        run = (await client.post(f"/schedules/{made['id']}/trigger?wait=20")).json()
    assert (run["status"], run["attempt"]) == ("failed", 1)
    assert run["error"] == (
        f"target 'default' at http://loopback.test:{port} was not called: loopback.test resolves to 127.0.0.1, "
        f"which is loopback (127.0.0.0/8); if that is right, add 127.0.0.0/8:{port} to the target's `networks` "
        "or to `allowed_networks` (AGENTCLOCK_ALLOWED_NETWORKS)"
    )


# pings, webhooks, key sets


async def test_ping_urls(names: Names, sentinel: Sentinel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pings, "PAUSES_SECONDS", ())
    async with process(tmp_path) as (clockwork, client):
        for number, url in enumerate(HOSTILE):
            ping_url = url.replace("PORT", str(sentinel.port)) + "/ping/s3cret"
            draft = {"name": f"n{number}", "endpoint": "/x", "cron_expr": "", "ping_url": ping_url}
            status = (await client.post("/schedules", json=draft)).status_code
            assert status in ((422,) if url in DISGUISED else (201, 422)), ping_url
            with capture_logs() as lines:
                assert not await clockwork.telemetry.pinger.reach(Ping(url=ping_url, kind=PingKind.FAIL, text="why"))
            [failed] = [line for line in lines if line["event"] == "ping_failed"]
            assert "s3cret" not in str(lines)
            if status == 201:
                said = failed["error"]
                assert any(part in said for part in ("ALLOWED_NETWORKS", "nothing allows", "no address")), (url, said)


async def test_webhooks(names: Names, sentinel: Sentinel) -> None:
    clock = SystemClock()
    for url in DISGUISED:
        with pytest.raises(ValidationError):
            WebhookEntry(url=f"{url}/hook", secret="whsec_" + "MTIz" * 12)
    for url in ("http://169.254.169.254", *(f"http://{name}:PORT" for name in PLACES)):
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
