"""A server that asks nobody for a token listens to no pages of other sites."""

from __future__ import annotations

from typing import Any

import pytest

from agentclock.api import OwnPagesOnly


async def answer(
    method: str,
    *headers: tuple[str, str],
    names: tuple[str, ...] | None = (),
    server: tuple[str, int] | None = ("127.0.0.1", 7777),
) -> int:
    sent: list[Any] = []

    async def app(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    scope = {"type": "http", "method": method, "path": "/schedules", "headers": raw, "query_string": b""}
    scope["server"] = server
    await OwnPagesOnly(app, names=names)(scope, receive, send)
    status: int = sent[0]["status"]
    return status


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:7777",
        "127.0.0.1",
        "127.9.9.9:1",
        "localhost:7777",
        "LOCALHOST",
        "localhost.",
        "a.localhost:80",
        "[::1]:7777",
    ],
)
async def test_own_names_are_answered(host: str) -> None:
    assert await answer("GET", ("host", host)) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.test", "evil.test:7777", "localhost.evil.test", "127.0.0.1.evil.test", "evil-localhost", "", "192.168.1.7",
     "2130706433", "0x7f.1", "127.1", "0.0.0.0:7777", "a@127.0.0.1", "127.0.0.1:7777:1", "[::1", "localhost/", "::1",
     "127.0.0.1 ", "[fe80::1]:7777"],
)  # fmt: skip
async def test_other_names_are_not(host: str) -> None:
    for method in ("GET", "POST", "HEAD", "OPTIONS"):
        assert await answer(method, ("host", host)) == 403


async def test_a_request_has_one_host() -> None:
    assert await answer("GET") == 403
    assert await answer("GET", ("host", "localhost"), ("host", "evil.test")) == 403


async def test_calls_within_the_process_come_by_any_name() -> None:
    for server in (("127.0.0.1", 1), ("::1", 1), ("fe80::1%eth0", 1), None):
        assert await answer("GET", ("host", "evil.test"), server=server) == 403
    assert await answer("GET", ("host", "app.test"), server=("app.test", 80)) == 200
    assert await answer("POST", ("host", "app.test"), ("origin", "http://evil.test"), server=("app.test", 80)) == 403


async def test_names_that_are_ours() -> None:
    for host in ("clock.test", "CLOCK.TEST:443", "clock.test."):
        assert await answer("GET", ("host", host), names=("Clock.test", "clock.lan")) == 200
    assert await answer("GET", ("host", "other.test"), names=("clock.test",)) == 403
    assert await answer("GET", ("host", "whatever.test"), names=None) == 200


OWN = ("host", "localhost:7777")


@pytest.mark.parametrize(
    ("headers", "may_write"),
    [
        ([], True),
        ([("origin", "http://localhost:7777")], True),
        ([("origin", "HTTP://LOCALHOST:7777"), ("sec-fetch-site", "same-origin")], True),
        ([("sec-fetch-site", "none")], True),
        ([("origin", "http://evil.test")], False),
        ([("origin", "http://localhost:3000")], False),
        ([("origin", "http://localhost")], False),
        ([("origin", "null")], False),
        ([("origin", "")], False),
        ([("origin", "http://localhost:7777"), ("origin", "http://evil.test")], False),
        ([("sec-fetch-site", "cross-site")], False),
        ([("origin", "http://localhost:7777"), ("sec-fetch-site", "cross-site")], False),
    ],
)
@pytest.mark.parametrize("names", [(), None])
async def test_pages_of_other_sites_change_nothing(
    headers: list[tuple[str, str]], may_write: bool, names: tuple[str, ...] | None
) -> None:
    for method in ("POST", "PATCH", "PUT", "DELETE", "BREW"):
        assert await answer(method, OWN, *headers, names=names) == (200 if may_write else 403)
    assert await answer("GET", OWN, *headers, names=names) == 200
