"""Tokens of an identity provider: its key set over HTTP, its rotation, its outages; and owners that cannot be noted."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from structlog.testing import capture_logs
from typer.testing import CliRunner

from agentclock.app import Clockwork, assemble, create_app
from agentclock.auth.sources import RETRY_SECONDS
from agentclock.cli.main import app as command_line
from agentclock.config import Settings
from agentclock.core.errors import StoreUnavailable
from agentclock.core.model import SECOND
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import FakeClock

CLAIMS = {"jwt_issuer": "https://issuer.test", "jwt_audience": "agentclock"}


@dataclass(slots=True)
class Provider:
    """Publishes the public halves of its keys by their names, and signs with whichever it is asked to."""

    keys: dict[str, rsa.RSAPrivateKey] = field(default_factory=dict)
    clock: FakeClock = field(default_factory=FakeClock)
    answer: web.Response | None = None
    asked: int = 0
    url: str = ""

    def add(self, kid: str) -> None:
        self.keys[kid] = rsa.generate_private_key(65_537, 2_048)

    def token(self, kid: str, *scopes: str) -> dict[str, str]:
        now = self.clock.now() // SECOND
        claims = {"iss": CLAIMS["jwt_issuer"], "aud": "agentclock", "sub": "ada", "iat": now, "exp": now + 600}
        token = jwt.encode(claims | {"scope": " ".join(scopes)}, self.keys[kid], "RS256", headers={"kid": kid})
        return {"Authorization": f"Bearer {token}"}

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/keys", self._publish)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
        try:
            yield
        finally:
            await runner.cleanup()

    async def _publish(self, _: web.Request) -> web.Response:
        self.asked += 1
        if self.answer is not None:
            return self.answer
        rows = [
            {**jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid}
            for kid, key in self.keys.items()
        ]
        return web.Response(text=json.dumps({"keys": rows}))


@asynccontextmanager
async def server(provider: Provider, url: str | None = None) -> AsyncIterator[tuple[Clockwork, httpx2.AsyncClient]]:
    settings = Settings(database=":memory:", jwt_jwks=url or provider.url, **CLAIMS)
    clockwork = assemble(settings, clock=provider.clock)
    await clockwork.store.open()
    transport = httpx2.ASGITransport(app=create_app(clockwork))
    async with httpx2.AsyncClient(transport=transport, base_url="http://clock.test") as client:
        yield clockwork, client
    await clockwork.stop()


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    made = Provider()
    made.add("first")
    async with made.serving():
        yield made


async def test_a_providers_tokens_open_and_its_next_key_does_too(provider: Provider) -> None:
    read = "schedules:read"
    async with server(provider) as (_, client):
        for _ in range(3):
            assert (await client.get("/schedules", headers=provider.token("first", read))).status_code == 200
        provider.add("second")
        # Within a minute nobody makes us ask again.
        assert (await client.get("/schedules", headers=provider.token("second", read))).status_code == 401
        assert provider.asked == 1
        provider.clock.advance(RETRY_SECONDS)
        for kid in ("second", "first", "second"):
            assert (await client.get("/schedules", headers=provider.token(kid, read))).status_code == 200
        assert provider.asked == 2


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=302, headers={"Location": "http://127.0.0.1/keys"}),
        web.Response(status=500),
        web.Response(text="x" * 300_000),
        web.Response(text="<html>"),
    ],
)
async def test_without_keys_nobody_is_let_in_and_nobody_is_refused(provider: Provider, answer: web.Response) -> None:
    provider.answer = answer
    async with server(provider) as (_, client):
        with capture_logs() as logged:
            found = await client.get("/schedules", headers=provider.token("first", "schedules:read"))
    assert (found.status_code, found.headers["retry-after"]) == (503, "5")
    assert "keys_unavailable" in [line["event"] for line in logged]


async def test_a_provider_that_is_not_there(provider: Provider) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/keys"
    async with server(provider, url) as (_, client):
        headers = provider.token("first", "schedules:read")
        assert (await client.get("/schedules", headers=headers)).status_code == 503
        assert (await client.get("/health")).status_code == 200
        # Nobody needs keys to see that this is no token.
        assert (await client.get("/schedules", headers={"Authorization": "Bearer x"})).status_code == 401


async def test_what_a_token_grants_is_noted_and_reading_does_not_wait_for_it(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = {"name": "nightly", "endpoint": "/agents/greeter/runs"}
    headers = provider.token("first", "schedules:read", "schedules:write", "agents:run")
    async with server(provider) as (clockwork, client):
        see_owner, is_away = SqliteStore.see_owner, asyncio.Event()

        async def perhaps(*given: Any) -> None:
            if is_away.is_set():
                raise StoreUnavailable("away")
            await see_owner(*given)

        monkeypatch.setattr(SqliteStore, "see_owner", perhaps)
        is_away.set()
        assert (await client.get("/schedules", headers=headers)).status_code == 200
        assert (await client.post("/schedules", headers=headers, json=draft)).status_code == 503
        is_away.clear()
        assert (await client.post("/schedules", headers=headers, json=draft)).status_code == 201
        owner = await clockwork.store.owner("ada")
    assert owner is not None
    assert owner.scopes == ("agents:run", "schedules:read", "schedules:write")
    assert owner.issued_at == provider.clock.now() // SECOND * SECOND


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_server_for_everybody_does_not_start(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AGENTCLOCK_SECURITY_KEY", "OS_SECURITY_KEY", "AGENTCLOCK_ALLOW_ANYONE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AGENTCLOCK_HOST", "0.0.0.0")
    monkeypatch.setenv("AGENTCLOCK_WORKER_PORT", "0")
    shown = CliRunner().invoke(command_line, [command, "-d", ":memory:"])
    assert shown.exit_code == 2
    assert "everybody who can connect could do everything" in shown.output


def test_settings_that_cannot_work_are_told_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTCLOCK_JWT_SECRET", "short")
    shown = CliRunner().invoke(command_line, ["serve", "-d", ":memory:", "--port", "0"])
    assert shown.exit_code == 2
    for words in ("jwt_issuer", "jwt_audience", "jwt_secret: it has 5 bytes"):
        assert words in shown.output
    assert "short" not in shown.output.replace("too short", "")
