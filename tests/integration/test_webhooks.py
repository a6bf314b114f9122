"""Messages on their way to real receivers: what is sent, what answers mean, and what nobody gets to see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from tests.webhook_help import SECRET

from agentclock.config import WebhookEntry
from agentclock.executor.secrets import Secrets
from agentclock.testing import FakeClock
from agentclock.webhooks import verify
from agentclock.webhooks.answers import Answer
from agentclock.webhooks.messages import PING, Message, ping_message
from agentclock.webhooks.posting import Poster

MESSAGE = ping_message("0190-ping", "ops", FakeClock().now())
OTHER = "whsec_b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXI="


@dataclass(slots=True)
class Hook:
    """Answers with `answer`, and remembers what came."""

    answer: web.Response | None = None
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    async def take(self, request: web.Request) -> web.Response:
        self.requests.append((request.path_qs, dict(request.headers), await request.read()))
        return self.answer or web.Response(status=204)


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    made = Hook()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = site.name
    yield made
    await runner.cleanup()


@asynccontextmanager
async def poster(entry: dict[str, object], environment: dict[str, str] | None = None) -> AsyncIterator[Poster]:
    secrets = Secrets(environment=environment or {})
    made = Poster({"ops": WebhookEntry.model_validate(entry)}, clock=FakeClock(), resolve=secrets.filled)
    yield made
    await made.close()


async def post(entry: dict[str, object], message: Message = MESSAGE, **environment: str) -> Answer:
    async with poster(entry, environment) as made:
        return await made.post("ops", message)


def entry(hook: Hook, path: str = "/hooks/topsecretpath?key=topsecretkey", **more: object) -> dict[str, object]:
    return {"url": hook.url + path, "secret": SECRET, **more}


async def test_a_message_arrives_signed(hook: Hook) -> None:
    assert await post(entry(hook, secrets_before=[OTHER])) == Answer(status_code=204)
    ((path, headers, body),) = hook.requests
    assert path == "/hooks/topsecretpath?key=topsecretkey"
    assert (headers["Content-Type"], headers["User-Agent"]) == ("application/json", "agentclock")
    for secret in (SECRET, OTHER):
        assert verify(secret, headers, body, now=FakeClock().now() / 1000)["type"] == PING


async def test_secrets_are_filled_in_as_they_are_now(hook: Hook) -> None:
    said = await post(
        entry(hook, "/${secret:PATH}", secret="${secret:SIGNING}"),
        AGENTCLOCK_SECRET_PATH="a/path",
        AGENTCLOCK_SECRET_SIGNING=OTHER,
    )
    assert said.has_arrived
    ((path, headers, body),) = hook.requests
    assert path == "/a/path"
    assert verify(OTHER, headers, body, now=FakeClock().now() / 1000)


async def test_a_secret_that_is_missing_or_wrong_is_said(hook: Hook) -> None:
    missing = await post(entry(hook, secret="${secret:SIGNING}"))
    assert "secret 'SIGNING' is not known" in (missing.error or "")
    wrong = await post(entry(hook, secret="${secret:SIGNING}"), AGENTCLOCK_SECRET_SIGNING="not base64!")
    assert wrong.error == "a webhook's secret is whsec_ and base64"
    assert hook.requests == []


async def test_chat_takes_messages_without_signatures(hook: Hook) -> None:
    assert (await post({"url": hook.url, "format": "slack"})).has_arrived
    ((_, headers, body),) = hook.requests
    assert "webhook-signature" not in {name.lower() for name in headers}
    assert set(json.loads(body)) == {"text", "blocks"}


async def test_what_a_receiver_complains_of_is_told_without_secrets(hook: Hook) -> None:
    hook.answer = web.Response(
        status=400, text=f"topsecretpath does not know {SECRET}, topsecretkey or topsecret%70ath " + "x" * 9_000
    )
    said = await post(entry(hook))
    assert said.status_code == 400
    assert not said.has_arrived
    assert (said.error or "").startswith("answered 400: [hidden] does not know [hidden], [hidden] or [hidden] xxx")
    assert len(said.error or "") == 500


@pytest.mark.parametrize(
    ("status", "wish", "expected"),
    [
        (429, "7", 7),
        (503, "Thu, 01 Jan 2026 00:01:00 GMT", 60),
        (503, "soon", None),
        (500, "7", None),
        (302, "7", None),
    ],
)
async def test_when_to_come_again(hook: Hook, status: int, wish: str, expected: float | None) -> None:
    hook.answer = web.Response(status=status, headers={"Retry-After": wish, "Location": "/elsewhere"})
    said = await post(entry(hook))
    assert (said.status_code, said.retry_after_seconds) == (status, expected)
    assert len(hook.requests) == 1  # redirects are not followed
    assert not said.is_gone


async def test_gone(hook: Hook) -> None:
    hook.answer = web.Response(status=410)
    assert (await post(entry(hook))).is_gone


async def test_nobody_there() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    said = await post({"url": f"http://127.0.0.1:{port}/topsecretpath", "secret": SECRET})
    assert said.status_code is None
    assert (said.error or "").startswith("no connection")
    assert "topsecret" not in (said.error or "")


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/topsecret",
        "http://[::ffff:169.254.169.254]/topsecret",
        "http://localtest.invalid/topsecret",
    ],
)
async def test_where_messages_may_not_go(url: str) -> None:
    said = await post({"url": url, "secret": SECRET})
    assert said.status_code is None
    assert said.error
    assert "topsecret" not in said.error


async def test_a_name_that_leads_inside_is_refused_unless_the_webhook_may(hook: Hook) -> None:
    port = hook.url.rpartition(":")[2]
    # `written` allows an address or localhost that an operator wrote; the secret hides which it is until it is sent.
    said = await post({"url": "http://${secret:HOST}/", "secret": SECRET}, AGENTCLOCK_SECRET_HOST=f"localhost:{port}")
    assert said.has_arrived


async def test_another_url_after_a_rotation(hook: Hook) -> None:
    environment = {"AGENTCLOCK_SECRET_PATH": "first"}
    async with poster(entry(hook, "/${secret:PATH}"), environment) as made:
        assert (await made.post("ops", MESSAGE)).has_arrived
        environment["AGENTCLOCK_SECRET_PATH"] = "second"
        assert (await made.post("ops", MESSAGE)).has_arrived
    assert [path for path, _, _ in hook.requests] == ["/first", "/second"]
