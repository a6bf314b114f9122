"""Where keys for tokens come from, and how they are replaced while tokens are being checked."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import jwt
import pytest
from structlog.testing import capture_logs
from tests.unit.test_auth_keys import jwk, key_set, pem, rsa_key

from agentclock.auth.claims import Expected
from agentclock.auth.refusals import LINES_OF_SOURCE, Refusal, RefusalLog, TokenRefused
from agentclock.auth.sources import (
    FRESH_SECONDS,
    RETRY_SECONDS,
    STALE_SECONDS,
    FixedKeys,
    KeyFile,
    PublishedKeys,
)
from agentclock.auth.tokens import TokenReader
from agentclock.auth.verification import read_pem, shared_secret
from agentclock.core.errors import Unavailable
from agentclock.core.model import SECOND
from agentclock.testing import FakeClock

URL = "https://issuer.test/keys"


class Publisher:
    """`sets` are answered one after the other, the last one for good; an exception is raised."""

    def __init__(self, *sets: bytes | Exception) -> None:
        self.sets = list(sets)
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self, url: str) -> bytes:
        assert url == URL
        self.asked += 1
        await self.gate.wait()
        answer = self.sets[0] if len(self.sets) == 1 else self.sets.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def published(*kids: str) -> bytes:
    return key_set(*(jwk(rsa_key(), kid=kid) for kid in kids))


def names(keys: Any) -> set[str]:
    return {name for key in keys for name in key.names}


async def test_a_key_set_is_fetched_once_and_again_when_it_is_old() -> None:
    clock, publisher = FakeClock(), Publisher(published("a"), published("b"))
    source = PublishedKeys(URL, publisher.fetch, clock)
    for _ in range(3):
        assert names(await source.keys()) == {"a"}
    clock.advance(FRESH_SECONDS)
    # Nobody waits for the new one.
    publisher.gate.clear()
    assert names(await source.keys()) == {"a"}
    publisher.gate.set()
    await _settled()
    assert (names(await source.keys()), publisher.asked) == ({"b"}, 2)


async def test_a_key_that_is_not_there_is_looked_for_once_a_minute() -> None:
    clock, publisher = FakeClock(), Publisher(published("a"), published("a", "b"))
    source = PublishedKeys(URL, publisher.fetch, clock)
    await source.keys()
    for _ in range(20):
        assert names(await source.keys(lacking=True)) == {"a"}
    clock.advance(RETRY_SECONDS)
    assert names(await source.keys(lacking=True)) == {"a", "b"}
    for _ in range(20):
        await source.keys(lacking=True)
    assert publisher.asked == 2


async def test_many_who_wait_wait_for_one_fetch() -> None:
    publisher = Publisher(published("a"))
    publisher.gate.clear()
    source = PublishedKeys(URL, publisher.fetch, FakeClock())
    waiting = [asyncio.create_task(source.keys(lacking=bool(number % 2))) for number in range(50)]
    await _settled()
    waiting[0].cancel()
    publisher.gate.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert all(names(keys) == {"a"} for keys in found[1:])
    assert publisher.asked == 1


async def test_keys_outlive_their_publisher_for_a_day() -> None:
    clock, publisher = FakeClock(), Publisher(published("a"), ValueError("it answers with status 500"))
    source = PublishedKeys(URL, publisher.fetch, clock)
    await source.keys()
    with capture_logs() as logged:
        for _ in range(10):
            clock.advance((STALE_SECONDS - 1) / 10)
            assert names(await source.keys()) == {"a"}
            await _settled()
    assert {line["event"] for line in logged} == {"keys_unavailable"}
    assert logged[0]["error"] == "ValueError: it answers with status 500"
    clock.advance(1)
    with pytest.raises(Unavailable):
        await source.keys()


@pytest.mark.parametrize(
    "trouble", [TimeoutError(), OSError("no route"), b"<html>", key_set({"kty": "oct", "k": "YQ"})]
)
async def test_without_keys_it_is_tried_again_soon_but_not_with_each_request(trouble: Any) -> None:
    clock, publisher = FakeClock(), Publisher(trouble, published("a"))
    source = PublishedKeys(URL, publisher.fetch, clock)
    for _ in range(5):
        with pytest.raises(Unavailable):
            await source.keys()
    assert publisher.asked == 1
    clock.advance(5)
    assert names(await source.keys()) == {"a"}


async def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "keys.pem"
    path.write_text(f"kid: a\n{pem(rsa_key())}")
    source = KeyFile(path, lambda content: read_pem(content.decode()))
    assert "a" in names(await source.keys())
    path.write_text(f"kid: b\n{pem(rsa_key())}")
    os.utime(path, ns=(1, 1))
    assert "a" not in names(await source.keys())
    with capture_logs() as logged:
        path.write_text("nonsense")
        for _ in range(3):
            assert "b" in names(await source.keys())
        path.unlink()
        for _ in range(3):
            assert "b" in names(await source.keys())
    assert [line["event"] for line in logged] == ["keys_unavailable"] * 2


async def test_a_token_finds_its_key_in_the_set() -> None:
    """A key that is new since the set was fetched is found without a failure."""
    clock, publisher = FakeClock(), Publisher(published("a"), published("a", "b"), published("b"))
    source = PublishedKeys(URL, publisher.fetch, clock)
    expected = Expected(issuer="i", audience="c")
    reader = TokenReader([source], expected, clock)

    def token(kid: str) -> bytes:
        claims = {"iss": "i", "aud": "c", "sub": "ada", "exp": clock.now() // SECOND + 9, "scope": "a:b a:c a:b"}
        return jwt.encode(claims, rsa_key(), "RS256", headers={"kid": kid}).encode()

    assert (await reader.read(token("a"))).scopes == ("a:b", "a:c")
    clock.advance(RETRY_SECONDS)
    assert (await reader.read(token("b"))).subject == "ada"
    clock.advance(FRESH_SECONDS)
    await source.keys()
    await _settled()
    with pytest.raises(TokenRefused) as caught:
        await reader.read(token("a"))
    assert caught.value.refusal is Refusal.UNKNOWN_KEY


async def test_a_source_without_keys_is_no_matter_to_tokens_of_another() -> None:
    clock, away = FakeClock(), Publisher(OSError("no route"))
    local = FixedKeys((shared_secret("a secret of 256 bits or more, as HS256 wants it"),))
    reader = TokenReader([PublishedKeys(URL, away.fetch, clock), local], Expected(issuer="i", audience="c"), clock)
    claims = {"iss": "i", "aud": "c", "sub": "ada", "exp": clock.now() // SECOND + 9}
    token = jwt.encode(claims, "a secret of 256 bits or more, as HS256 wants it", "HS256")
    assert (await reader.read(token.encode())).subject == "ada"
    with pytest.raises(Unavailable):
        await reader.read(jwt.encode(claims, rsa_key(), "RS256", headers={"kid": "a"}).encode())


# what the log says of refused tokens


def test_lines_of_refusals_end_and_begin_again() -> None:
    clock = FakeClock()
    log = RefusalLog(clock)
    error = TokenRefused(Refusal.EXPIRED)
    with capture_logs() as logged:
        for _ in range(LINES_OF_SOURCE + 50):
            log.note(error, source="192.0.2.1", client="192.0.2.1")
        log.note(error, source="192.0.2.2", client="192.0.2.2")
        clock.advance(60)
        log.note(error, source="192.0.2.1", client="192.0.2.1")
    assert len(logged) == LINES_OF_SOURCE + 2
    assert [line["source"] for line in logged[-3:]] == ["192.0.2.1", "192.0.2.2", "192.0.2.1"]


def test_many_sources_fill_neither_log_nor_memory() -> None:
    log = RefusalLog(FakeClock())
    with capture_logs() as logged:
        for number in range(5_000):
            log.note(TokenRefused(Refusal.UNKNOWN), source=None, client=str(number))
    assert len(logged) == 1_000
    assert len(log) <= 1_024


async def _settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)
