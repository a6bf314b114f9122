"""Logging in with a browser: whose cookie counts, in which requests, and for how long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx2
import jwt
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs
from tests.apis import DRAFT
from tests.asgi_life import client_of
from tests.streams import stream

from agentclock import __version__
from agentclock.api.auth import Permission
from agentclock.app import assemble, create_app
from agentclock.config import Settings
from agentclock.core.model import SECOND
from agentclock.testing import FakeClock

KEY, SECRET = 'the;odd"key"\\of_100%', "a secret of 256 bits or more, as HS256 wants it"
JWT: Final = {"jwt_secret": SECRET, "jwt_issuer": "https://issuer.test", "jwt_audience": "agentclock"}
EVERYTHING: Final = [one.value for one in Permission]
OWN: Final = {"Sec-Fetch-Site": "same-origin"}
NAME: Final = "agentclock_session"

pytestmark = pytest.mark.timeout(60)


@asynccontextmanager
async def serving(clock: FakeClock | None = None, **settings: Any) -> AsyncIterator[FastAPI]:
    """A stand-alone server whose engine rests."""
    clockwork = assemble(Settings(database=":memory:", **settings), clock=clock or FakeClock())
    await clockwork.store.open()
    clockwork.hub.open()
    try:
        yield create_app(clockwork)
    finally:
        await clockwork.hub.close()
        await clockwork.store.close()


@asynccontextmanager
async def server(clock: FakeClock | None = None, **settings: Any) -> AsyncIterator[httpx2.AsyncClient]:
    async with serving(clock, **settings) as app, client_of(app) as client:
        yield client


def token(clock: FakeClock, *scopes: str, seconds: int = 600, **claims: Any) -> str:
    now = clock.now() // SECOND
    said = {"iss": JWT["jwt_issuer"], "aud": "agentclock", "sub": "ada", "iat": now, "exp": now + seconds}
    return jwt.encode(said | {"scopes": list(scopes)} | claims, SECRET, "HS256")


async def logged_in(client: httpx2.AsyncClient, with_token: str = KEY, **headers: str) -> str:
    """The cookie that a login gets, as browsers send it; `client` keeps none."""
    answer = await client.post("/session", json={"token": with_token}, headers=OWN | headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["cookie"]
    client.cookies.clear()
    return answer.headers["set-cookie"].partition(";")[0]


def attributes(answer: httpx2.Response) -> dict[str, str]:
    """Of the cookie that the answer sets, without its value."""
    _, *parts = answer.headers["set-cookie"].split("; ")
    return {name: value for name, _, value in (part.partition("=") for part in parts)}


async def test_who_is_asked_for_nothing_may_do_everything() -> None:
    async with server() as client:
        said = (await client.get("/session")).json()
        assert said == {
            "mode": "open",
            "authenticated": True,
            "name": None,
            "user_id": None,
            "may": EVERYTHING,
            "expires_at": None,
            "version": __version__,
            "cookie": False,
        }
        answer = await client.post("/session", json={"token": "whatever"}, headers={"Host": "localhost"})
        assert (answer.json(), "set-cookie" in answer.headers) == (said, False)


async def test_a_key_opens_a_session() -> None:
    async with server(security_key=KEY) as client:
        stranger = await client.get("/session")
        assert stranger.json() | {"version": ""} == {
            "mode": "key",
            "authenticated": False,
            "name": None,
            "user_id": None,
            "may": [],
            "expires_at": None,
            "version": "",
            "cookie": False,
        }
        assert (await client.get("/schedules")).status_code == 401
        answer = await client.post("/session", json={"token": f" {KEY}\n"}, headers=OWN)
        said = answer.json()
        assert (said["name"], said["may"], said["cookie"]) == ("security key", EVERYTHING, True)
        assert attributes(answer) == {"Path": "/", "Max-Age": "43200", "HttpOnly": "", "SameSite": "Strict"}
        assert answer.headers["cache-control"] == "no-store"
        assert (await client.get("/session", headers=OWN)).json() == said
        assert (await client.post("/schedules", json=DRAFT, headers=OWN)).status_code == 201
        assert (await client.get("/schedules")).json()["meta"]["total_count"] == 1
        goodbye = await client.delete("/session", headers=OWN)
        assert (goodbye.status_code, attributes(goodbye)["Max-Age"]) == (204, "0")
        assert not client.cookies
        assert (await client.get("/schedules")).status_code == 401


async def test_a_session_is_never_longer_than_its_token() -> None:
    clock = FakeClock()
    async with server(clock, **JWT) as client:
        assert (await client.get("/session")).json()["mode"] == "token"
        for seconds, lasting in ((600, "600"), (86_400, "43200")):
            mine = token(clock, "schedules:read", "runs:cancel", seconds=seconds)
            answer = await client.post("/session", json={"token": mine}, headers=OWN)
            assert attributes(answer)["Max-Age"] == lasting
            said = answer.json()
            assert (said["name"], said["user_id"], said["may"]) == ("ada", "ada", ["schedules:read", "runs:cancel"])
            assert said["expires_at"].endswith("Z")
        cookie = {"Cookie": await logged_in(client, token(clock, "schedules:read"))} | OWN
        assert (await client.get("/schedules", headers=cookie)).status_code == 200
        assert (await client.post("/schedules", json=DRAFT, headers=cookie)).status_code == 403
        clock.advance(700)
        late = await client.get("/schedules", headers=cookie)
        assert (late.status_code, attributes(late)["Max-Age"]) == (401, "0")


async def test_what_a_token_allows_is_told_by_its_scopes() -> None:
    clock = FakeClock()
    async with server(clock, security_key=KEY, service_token="the-service-token", **JWT) as client:
        for bearer, expected in (
            (token(clock, "schedules:write"), ["schedules:write", "runs:cancel", "runs:approve"]),
            (token(clock, "agent_os:admin"), EVERYTHING),
            (token(clock), []),
            ("the-service-token", ["schedules:read"]),
            (KEY, EVERYTHING),
        ):
            said = (await client.get("/session", headers={"Authorization": f"Bearer {bearer}"})).json()
            assert (said["mode"], said["may"], said["cookie"]) == ("key_or_token", expected, False)


async def test_a_refused_login_sets_nothing_and_is_told_of_and_counted() -> None:
    async with server(security_key=KEY, failure_burst=3, failures_per_second=0.001) as client:
        with capture_logs() as lines:
            for wrong in ("wrong", KEY[:-1]):
                answer = await client.post("/session", json={"token": wrong}, headers=OWN)
                assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)
                assert wrong not in answer.text
        assert [line["reason"] for line in lines if line["event"] == "token_refused"] == ["unknown", "unknown"]
        assert not any("wrong" in str(line) for line in lines)
        guess = await client.get("/session", headers={"Cookie": f"{NAME}=guess"})
        assert guess.status_code == 401
        refused = await client.post("/session", json={"token": KEY}, headers=OWN)
        assert (refused.status_code, "retry-after" in refused.headers) == (429, True)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[1]", b'{"token": 1}', b'{"token": ""}', b'{"token": "a b"}', b'{"token": "\\u00fc"}', b"{"]
)
async def test_a_login_without_a_token_is_a_fault(body: bytes) -> None:
    async with server(security_key=KEY) as client:
        answer = await client.post("/session", content=body, headers=OWN | {"Content-Type": "application/json"})
        assert answer.status_code == 422
        assert answer.json()["detail"]


async def test_a_body_that_is_no_login_is_not_read_to_its_end() -> None:
    async with server(security_key=KEY) as client:
        answer = await client.post("/session", json={"token": "x" * 70_000}, headers=OWN)
        assert answer.status_code == 413


async def test_a_token_that_fits_into_no_cookie_is_refused_with_a_reason() -> None:
    clock = FakeClock()
    async with server(clock, **JWT) as client:
        answer = await client.post("/session", json={"token": token(clock, *["x" * 250] * 1, pad="y" * 4000)})
        assert answer.status_code == 422
        [fault] = answer.json()["detail"]
        assert (fault["loc"], "Authorization header" in fault["msg"]) == (["body", "token"], True)


PAGES: Final = {
    # what the browser says -> whether the cookie counts when reading, when writing, and whether one may log in
    "nothing": ({}, True, False, True),
    "our page": (OWN, True, True, True),
    "the address bar": ({"Sec-Fetch-Site": "none"}, True, True, True),
    "another site": ({"Sec-Fetch-Site": "cross-site"}, False, False, False),
    "a neighbour": ({"Sec-Fetch-Site": "same-site"}, False, False, False),
    "our origin": ({"Origin": "http://os.test"}, True, True, True),
    "our origin behind a proxy": ({"Origin": "https://os.test"}, True, True, True),
    "another origin": ({"Origin": "http://evil.test"}, False, False, False),
    "another port": ({"Origin": "http://os.test:8080"}, False, False, False),
    "no origin": ({"Origin": "null"}, False, False, False),
    "an origin that begins as ours": ({"Origin": "http://os.test.evil.test"}, False, False, False),
    "an origin with a user": ({"Origin": "http://os.test@evil.test"}, False, False, False),
    "another site that claims our origin": (
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://os.test"},
        False,
        False,
        False,
    ),
}


@pytest.mark.parametrize("page", PAGES)
async def test_only_requests_of_our_own_pages_are_the_sessions(page: str) -> None:
    headers, reads, writes, logs_in = PAGES[page]
    async with server(security_key=KEY) as client:
        cookie = {"Cookie": await logged_in(client)} | headers
        assert (await client.get("/schedules", headers=cookie)).status_code == (200 if reads else 401)
        assert (await client.post("/schedules", json=DRAFT, headers=cookie)).status_code == (201 if writes else 401)
        assert (await client.get("/session", headers=cookie)).json()["authenticated"] is reads
        login = await client.post("/session", json={"token": KEY}, headers=headers)
        assert (login.status_code, "set-cookie" in login.headers) == ((200, True) if logs_in else (403, False))
        logout = await client.delete("/session", headers=headers)
        assert logout.status_code == (204 if logs_in else 403)


async def test_a_form_of_another_page_cannot_log_anybody_in() -> None:
    async with server(security_key=KEY) as client:
        for kind in ("text/plain", "application/x-www-form-urlencoded"):
            body = '{"token": "' + KEY.replace("\\", "\\\\").replace('"', '\\"') + '"}'
            answer = await client.post("/session", content=body, headers={"Content-Type": kind})
            assert (answer.status_code, "set-cookie" in answer.headers) == (422, False)


async def test_headers_that_come_twice_are_nobodys() -> None:
    async with server(security_key=KEY) as client:
        cookie = await logged_in(client)
        twice = [("Cookie", cookie), ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")]
        assert (await client.get("/schedules", headers=twice)).status_code == 401
        planted = {"Cookie": f"{cookie}; {NAME}=planted"} | OWN
        assert (await client.get("/schedules", headers=planted)).status_code == 401
        apart = [("Cookie", "theme=dark"), ("Cookie", cookie), *OWN.items()]
        assert (await client.get("/schedules", headers=apart)).status_code == 200
        for similar in (f"x{cookie}", cookie.replace("=", "2=", 1), f'{NAME}="', f"{NAME}=%00%0d%0aX-Evil:%201"):
            assert (await client.get("/schedules", headers={"Cookie": similar} | OWN)).status_code == 401


async def test_a_header_counts_more_than_the_cookie() -> None:
    clock = FakeClock()
    async with server(clock, security_key=KEY, **JWT) as client:
        cookie = {"Cookie": await logged_in(client)} | OWN
        reader = {"Authorization": f"Bearer {token(clock, 'schedules:read')}"}
        assert (await client.post("/schedules", json=DRAFT, headers=cookie | reader)).status_code == 403
        said = (await client.get("/session", headers=cookie | reader)).json()
        assert (said["name"], said["cookie"]) == ("ada", False)
        wrong = await client.get("/schedules", headers=cookie | {"Authorization": "Bearer wrong"})
        assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
        # Whoever logs in anew is who the new token says.
        answer = await client.post("/session", json={"token": token(clock)}, headers=cookie)
        assert answer.json()["name"] == "ada"
        answer = await client.post("/session", json={"token": "wrong"}, headers=cookie | reader)
        assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)


async def test_a_key_that_was_replaced_ends_its_sessions() -> None:
    async with server(security_key=KEY) as client:
        cookie = {"Cookie": await logged_in(client)} | OWN
    async with server(security_key="another-key") as client:
        for path in ("/schedules", "/session", "/schedules/events"):
            answer = await client.get(path, headers=cookie)
            assert (answer.status_code, attributes(answer)["Max-Age"]) == (401, "0"), path
        goodbye = await client.delete("/session", headers=cookie)
        assert goodbye.status_code == 204


@pytest.mark.parametrize(
    ("settings", "headers", "safe"),
    [
        ({}, {}, False),
        ({}, {"X-Forwarded-Proto": "https"}, False),
        ({"trusted_proxies": ("127.0.0.1",)}, {"X-Forwarded-Proto": "https"}, True),
        ({"trusted_proxies": ("127.0.0.1",)}, {"X-Forwarded-Proto": "https, http"}, False),
        ({"trusted_proxies": ("127.0.0.1",)}, {"X-Forwarded-Proto": "gopher"}, False),
        ({"public_url": "https://clock.test"}, {}, True),
        ({"public_url": "http://clock.test"}, {}, False),
    ],
)
async def test_behind_tls_the_cookie_travels_over_tls_only(
    settings: dict[str, Any], headers: dict[str, str], safe: bool
) -> None:
    async with server(security_key=KEY, **settings) as client:
        answer = await client.post("/session", json={"token": KEY}, headers=headers)
        assert ("Secure" in attributes(answer)) is safe
        goodbye = await client.delete("/session", headers=headers)
        assert ("Secure" in attributes(goodbye)) is safe


async def test_the_public_address_is_ours_whatever_a_proxy_makes_of_the_host() -> None:
    async with server(security_key=KEY, public_url="https://clock.test") as client:
        cookie = {"Cookie": await logged_in(client)}
        for origin, status in (("https://clock.test", 201), ("http://clock.test", 401), ("https://x.test", 401)):
            draft = DRAFT | {"name": f"status {status} {origin.rpartition('/')[2]}"}
            answer = await client.post("/schedules", json=draft, headers=cookie | {"Origin": origin})
            assert answer.status_code == status


async def test_event_streams_know_the_session() -> None:
    async with serving(security_key=KEY) as app, client_of(app) as client:
        cookie = await logged_in(client)
        for site, status in (("same-origin", 200), ("cross-site", 401)):
            headers = {"cookie": cookie, "sec-fetch-site": site}
            async with stream(app, "/schedules/events", headers) as watched:
                assert watched.status == status
