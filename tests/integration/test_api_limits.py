"""Limits as callers meet them, and that the settings reach the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, Request
from tests.apis import DRAFT, World, client_of, world
from tests.streams import stream

from agentclock.api import Caller, OpenGuard, Permission, RequestLimits, add_routes
from agentclock.app import assemble, create_app, create_status_app
from agentclock.config import Settings
from agentclock.core.errors import ConfigError, LimitReached, Unavailable
from agentclock.scheduler import Scheduler


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


class Known(OpenGuard):
    async def admit(self, request: Request, permission: Permission) -> Caller:
        return Caller(user_id="ada", owner="ada", name="ada")


def app_of(here: World, *, streams: int | None = None, scheduler: Scheduler | None = None) -> FastAPI:
    app = FastAPI()
    limits = RequestLimits(streams_per_client=streams)
    add_routes(app, scheduler or here.scheduler, here.runs, here.hub, guard=Known(), limits=limits)
    return app


async def test_a_client_has_so_many_streams_and_no_more(here: World) -> None:
    app = app_of(here, streams=2)
    async with client_of(app) as client, stream(app, "/schedules/events") as first:
        await first.take(1)
        async with stream(app, "/schedules/events") as second:
            await second.take(1)
            async with stream(app, "/schedules/events") as third:
                await third.begun.wait()
                assert third.status == 429
                assert third.headers["retry-after"] == "30"
                assert b"2 event streams of yours are open" in third.body
        await second.dropped()
        async with stream(app, "/schedules/events") as another:
            await another.take(1)
            assert another.status == 200
        assert (await client.get("/schedules")).status_code == 200


async def test_a_stream_that_never_began_takes_no_seat(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise Unavailable("no room")

    app = app_of(here, streams=1)
    monkeypatch.setattr(here.hub, "check_room", full)
    async with client_of(app) as client:
        assert [(await client.get("/schedules/events")).status_code for _ in range(3)] == [503, 503, 503]


async def test_an_owner_has_so_many_schedules_and_no_more(here: World) -> None:
    scheduler = Scheduler(
        here.store, clock=here.clock, wakeup=lambda: None, engine_state=lambda: here.engine, schedules_per_owner=2
    )
    async with client_of(app_of(here, scheduler=scheduler)) as client:
        answers = [await client.post("/schedules", json=DRAFT | {"name": name}) for name in ("a", "b", "c")]
        assert [answer.status_code for answer in answers] == [201, 201, 409]
        assert "schedules_per_owner" in answers[2].json()["detail"]
        await client.delete(answers[0].headers["location"])
        assert (await client.post("/schedules", json=DRAFT | {"name": "c"})).status_code == 201
    with pytest.raises(LimitReached):
        await scheduler.create(DRAFT | {"name": "d"}, user_id="ada")
    await scheduler.create(DRAFT | {"name": "d"}, user_id="grace")


async def test_lists_in_queries_are_bounded(here: World) -> None:
    async with client_of(app_of(here)) as client:
        for path in ("/runs?status=failed", "/runs?cause=manual", "/audit?action=schedule.created"):
            name = path.partition("?")[2]
            assert (await client.get(path + f"&{name}" * 31)).status_code == 200
            assert (await client.get(path + f"&{name}" * 32)).status_code == 422


# the stand-alone server


@asynccontextmanager
async def served(**settings: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """Without its lifespan: what is asked here needs no database."""
    app = create_app(assemble(Settings.load(database=":memory:", **settings)))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:7777") as client:
        yield client


async def test_rates_are_set() -> None:
    async with served(requests_per_second=0.001, request_burst=2, trusted_proxies="127.0.0.1") as client:
        assert [(await client.get("/nowhere")).status_code for _ in range(3)] == [404, 404, 429]
        other = {"x-forwarded-for": "192.0.2.1"}
        assert (await client.get("/nowhere", headers=other)).status_code == 404
        assert (await client.get("/health")).status_code == 200


async def test_rates_of_failures_are_set() -> None:
    async with served(failures_per_second=0.001, failure_burst=2, security_key="0123456789abcdef") as client:
        wrong = {"authorization": "Bearer wrong"}
        refused = [(await client.get("/schedules", headers=wrong)).status_code for _ in range(3)]
        assert refused == [401, 401, 429]
        right = {"authorization": "Bearer 0123456789abcdef"}
        assert (await client.get("/schedules", headers=right)).status_code == 429


async def test_the_size_of_bodies_is_set() -> None:
    async with served(body_limit_bytes=1_024) as client:
        answer = await client.post("/schedules", json={"name": "x" * 2_000})
        assert answer.status_code == 413
        assert answer.json() == {"detail": "The body is larger than 1,024 bytes (body_limit_bytes)"}
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_browsers_are_kept_from_plain_http_if_there_is_https() -> None:
    async with served() as client:
        assert "strict-transport-security" not in (await client.get("/health")).headers
    async with served(public_url="https://clock.example") as client:
        assert "strict-transport-security" in (await client.get("/health")).headers
        assert "cdn.jsdelivr.net" in (await client.get("/docs")).headers["content-security-policy"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/schedules", "GET, POST"), ("/schedules/x", "GET, PATCH, DELETE"), ("/schedules/x/trigger", "POST")],
)
async def test_what_a_path_allows_is_told(path: str, allowed: str) -> None:
    async with served() as client:
        answer = await client.put(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        assert answer.json() == {"detail": "Method Not Allowed"}


async def test_errors_outside_of_our_routes_have_our_shape() -> None:
    app = create_app(assemble(Settings.load(database=":memory:")))

    async def fail() -> None:
        raise RuntimeError("hunter2")

    app.add_api_route("/fail", fail)
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:7777") as client:
        answer = await client.get("/fail")
    assert (answer.status_code, answer.json()) == (500, {"detail": "Internal server error"})


async def test_a_worker_that_is_asked_for_its_state_has_limits_too() -> None:
    settings = Settings.load(database=":memory:", requests_per_second=0.001, request_burst=1)
    app = create_status_app(assemble(settings))
    async with client_of(app) as client:
        assert (await client.get("/nowhere", headers={"host": "127.0.0.1"})).status_code == 404
        refused = await client.get("/nowhere", headers={"host": "127.0.0.1"})
        assert (refused.status_code, refused.headers["x-frame-options"]) == (429, "DENY")


@pytest.mark.parametrize("proxy", ["10.0.0.0/33", "proxy.example", "10.0.0.1:80"])
def test_proxies_are_addresses(proxy: str) -> None:
    with pytest.raises(ConfigError, match="trusted_proxies"):
        Settings.load(trusted_proxies=f"127.0.0.1,{proxy}")
