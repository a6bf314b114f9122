"""Who a client is, how often it may ask, how many streams it may have, and what every answer carries."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from structlog.testing import capture_logs
from tests.apis import client_of

from agentclock.api.clients import Proxies, RealClients, client_key
from agentclock.api.headers import SafeHeaders
from agentclock.api.limits import LimitedRates, Rates, Seats
from agentclock.core.errors import TooManyRequests
from agentclock.testing import FakeClock


def came_from(peer: str | None, *forwarded: str) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    return {"type": "http", "client": (peer, 4711) if peer else None, "headers": headers}


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("/run/agentclock.sock", "/run/agentclock.sock"),
        ("no:address", "no:address"),
        (None, ""),
    ],
)
def test_what_counts_as_one_client(host: str | None, key: str) -> None:
    assert client_key(host) == key


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.7", ["198.51.100.1"], "192.0.2.7"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1:8080"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::7]:443"], "2001:db8::7"),
        ("10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("10.0.0.1", ["unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [", ".join(["198.51.100.1"] + ["10.0.0.2"] * 5_000)], "10.0.0.2"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        (None, ["198.51.100.1"], None),
    ],
)
def test_only_trusted_proxies_say_who_a_client_is(peer: str | None, forwarded: list[str], client: str | None) -> None:
    assert Proxies(["10.0.0.0/8"]).client_of(came_from(peer, *forwarded)) == client


def test_nobody_is_trusted_unless_named() -> None:
    assert Proxies().client_of(came_from("127.0.0.1", "198.51.100.1")) == "127.0.0.1"


def test_a_burst_then_a_steady_rate() -> None:
    rates = Rates(2, 3)
    asked = 0
    while not rates.wait_seconds("a", 100.0):
        rates.spend("a", 100.0)
        asked += 1
    assert asked == 3
    assert rates.wait_seconds("a", 100.0) == pytest.approx(0.5)
    assert rates.wait_seconds("b", 100.0) == 0
    assert rates.wait_seconds("a", 100.5) == 0
    rates.spend("a", 100.5)
    assert rates.wait_seconds("a", 100.6) == pytest.approx(0.4)
    # After a long time there is the burst again, and no more than that.
    for _ in range(3):
        assert rates.wait_seconds("a", 9_000.0) == 0
        rates.spend("a", 9_000.0)
    assert rates.wait_seconds("a", 9_000.0) > 0


def test_a_rate_of_zero_limits_nothing() -> None:
    rates = Rates(0, 1)
    for _ in range(10):
        rates.spend("a", 1.0)
    assert rates.wait_seconds("a", 1.0) == 0
    assert rates.remembered == 0


def test_of_too_many_clients_the_quietest_are_forgotten() -> None:
    rates = Rates(1, 1, most_clients=3)
    for client in ("a", "b", "c", "a", "d"):
        rates.spend(client, 10.0)
    assert rates.remembered == 3
    assert rates.wait_seconds("b", 10.0) == 0
    assert all(rates.wait_seconds(client, 10.0) for client in ("a", "c", "d"))


def test_streams_of_one_client_are_counted() -> None:
    seats = Seats(2)
    leave = seats.take("192.0.2.7")
    seats.take("192.0.2.7")
    seats.take("192.0.2.8")
    with pytest.raises(TooManyRequests, match="2 event streams"):
        seats.take("192.0.2.7")
    leave()
    seats.take("192.0.2.7")
    endless = Seats(None)
    assert all(endless.take("192.0.2.7") for _ in range(100))


async def _login(request: Request) -> Response:
    is_known = request.headers.get("authorization") == "Bearer right"
    return JSONResponse({"detail": "who?"}, 200 if is_known else 401)


async def _who(request: Request) -> Response:
    assert request.client is not None
    return PlainTextResponse(request.client.host, headers={"cache-control": "max-age=60"})


def limited(clock: FakeClock, *, requests: Rates | None = None, failures: Rates | None = None) -> httpx2.AsyncClient:
    app = Starlette(routes=[Route(path, _login) for path in ("/login", "/health", "/ready")] + [Route("/who", _who)])
    app.add_middleware(LimitedRates, requests=requests or Rates(0, 1), failures=failures or Rates(0, 1), clock=clock)
    app.add_middleware(RealClients, proxies=Proxies(["127.0.0.1"]))
    app.add_middleware(SafeHeaders)
    return client_of(app)  # type: ignore[arg-type]


async def test_who_asks_too_often_is_told_when_to_come_back() -> None:
    clock = FakeClock()
    async with limited(clock, requests=Rates(0.1, 2)) as client:
        assert [(await client.get("/who")).status_code for _ in range(3)] == [200, 200, 429]
        refusal = await client.get("/who")
        assert refusal.json() == {"detail": "Too many requests: slow down"}
        assert refusal.headers["retry-after"] == "10"
        assert refusal.headers["x-content-type-options"] == "nosniff"
        elsewhere = {"x-forwarded-for": "198.51.100.1"}
        assert (await client.get("/who", headers=elsewhere)).text == "198.51.100.1"
        assert (await client.get("/ready", headers={"authorization": "Bearer right"})).status_code == 200
        clock.advance(10)
        assert (await client.get("/who")).status_code == 200


async def test_who_guesses_tokens_is_not_even_asked_any_more() -> None:
    clock = FakeClock()
    async with limited(clock, failures=Rates(1, 3)) as client:
        right = {"authorization": "Bearer right"}
        assert [(await client.get("/login", headers=right)).status_code for _ in range(9)] == [200] * 9
        assert [(await client.get("/login")).status_code for _ in range(4)] == [401, 401, 401, 429]
        assert (await client.get("/login", headers=right)).status_code == 429
        assert (await client.get("/login", headers={"x-forwarded-for": "198.51.100.1"})).status_code == 401
        clock.advance(1)
        assert (await client.get("/login", headers=right)).status_code == 200


async def test_refusals_are_logged_once_a_minute() -> None:
    clock = FakeClock()
    with capture_logs() as lines:
        async with limited(clock, requests=Rates(0.001, 1)) as client:
            for _ in range(5):
                await client.get("/who")
            clock.advance(61)
            await client.get("/who")
    told = [(line["event"], line["refused"], line["most_from"]) for line in lines]
    assert told == [("requests_refused", 1, "127.0.0.1"), ("requests_refused", 4, "127.0.0.1")]


async def test_every_answer_has_safe_headers_unless_its_route_says_otherwise() -> None:
    async with limited(FakeClock()) as client:
        missing = await client.get("/nowhere")
        assert missing.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert missing.headers["cache-control"] == "no-store"
        assert "strict-transport-security" not in missing.headers
        assert (await client.get("/who")).headers["cache-control"] == "max-age=60"


async def test_browsers_are_sent_to_https_where_that_is_how_we_are_reached() -> None:
    app = Starlette(routes=[Route("/docs", _login)])
    app.add_middleware(SafeHeaders, is_https=True)
    async with client_of(app) as client:  # type: ignore[arg-type]
        page = await client.get("/docs")
    assert page.headers["strict-transport-security"].startswith("max-age=")
    assert "connect-src 'self'" in page.headers["content-security-policy"]
