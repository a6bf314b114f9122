from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

import pytest
from tests.executor_help import Session, answering, executor_for, raw_server, recorder, unused_port

from agentclock import __version__
from agentclock.core.errors import ConfigError
from agentclock.core.model import Outcome, OutcomeKind
from agentclock.executor.dispatch import TargetExecutor
from agentclock.executor.http import MAYBE_DONE
from agentclock.executor.targets import TargetSettings
from agentclock.testing import FakeAgentOS

SECRET = {"Authorization": "Bearer top-secret-token"}


async def outcome_from(session: Session, **options: Any) -> Outcome:
    async with raw_server(session) as url, executor_for(url, kind="http", headers=SECRET) as executor:
        return await executor.execute(recorder("/hook", {"a": 1}, **options).context)


def http_answer(status: str, *headers: str, body: str = "") -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body.encode())}", "Connection: close"]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


async def test_json_body_and_headers() -> None:
    call = recorder("/hooks/x", {"a": "ü", "b": [1]}, attempt=3)
    async with FakeAgentOS() as fake, executor_for(fake.base_url, kind="http", headers=SECRET) as executor:
        outcome = await executor.execute(call.context)
    assert outcome.kind is OutcomeKind.SUCCESS
    assert outcome.status_code == 200
    assert outcome.output == {"content": '{"received": true}', "content_type": "application/json"}
    assert outcome.input == {"a": "ü", "b": [1]}
    [seen] = fake.calls
    run = call.context.claim.run
    assert (seen.method, seen.path, json.loads(seen.body)) == ("POST", "/hooks/x", {"a": "ü", "b": [1]})
    expected = {
        "Authorization": "Bearer top-secret-token",
        "Content-Type": "application/json",
        "User-Agent": f"agentclock/{__version__}",
        "Idempotency-Key": f"{run.id}.3",
        "X-Agentclock-Schedule": "schedule-s",
        "X-Agentclock-Run": run.id,
        "X-Agentclock-Fire-At": "2026-01-01T00:00:00.000Z",
        "X-Agentclock-Attempt": "3",
    }
    assert {name: seen.headers.get(name) for name in expected} == expected


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_without_payload_there_is_no_body(method: str) -> None:
    async with FakeAgentOS() as fake, executor_for(fake.base_url) as executor:
        outcome = await executor.execute(recorder("/x", None, method=method).context)
    [seen] = fake.calls
    assert (outcome.kind, seen.method, seen.body) == (OutcomeKind.SUCCESS, method, b"")
    assert "Content-Type" not in seen.headers


async def test_get_sends_its_payload_as_query() -> None:
    async with FakeAgentOS() as fake, executor_for(fake.base_url) as executor:
        await executor.execute(recorder("/x?a=0", {"b": True, "c": "d e"}, method="GET").context)
        bad = await executor.execute(recorder("/x", ["no", "names"], method="GET").context)
    [seen] = fake.calls
    assert (seen.query, seen.body) == ({"a": "0", "b": "true", "c": "d e"}, b"")
    assert (bad.kind, bad.retryable) == (OutcomeKind.FAILED, False)


async def test_an_endpoint_that_leads_away_is_never_called() -> None:
    async with FakeAgentOS() as fake, executor_for(fake.base_url) as executor:
        for endpoint in ("//elsewhere.invalid/x", "/a/../../x", "/\\elsewhere.invalid"):
            outcome = await executor.execute(recorder(endpoint).context)
            assert (outcome.kind, outcome.retryable) == (OutcomeKind.FAILED, False)
            assert "endpoint" in str(outcome.error)
    assert fake.calls == []


async def test_an_unknown_target() -> None:
    async with executor_for("http://127.0.0.1:1") as executor:
        outcome = await executor.execute(recorder("/x", target="nowhere").context)
    assert outcome == Outcome(
        kind=OutcomeKind.FAILED, error="target 'nowhere' is not configured; known targets: default"
    )


def test_unusable_targets_are_refused_at_once() -> None:
    targets = {
        "a": TargetSettings(name="a", base_url="nonsense"),
        "b": TargetSettings(name="b", base_url="http://h", headers={"Host": "x"}),
    }
    with pytest.raises(ConfigError) as caught:
        TargetExecutor(targets)
    assert len(caught.value.problems) == 2


async def test_a_redirect_is_not_followed() -> None:
    outcome = await outcome_from(answering(http_answer("302 Found", "Location: http://elsewhere.invalid/login")))
    assert (outcome.kind, outcome.status_code, outcome.retryable) == (OutcomeKind.FAILED, 302, False)
    assert "http://elsewhere.invalid/login" in str(outcome.error)


async def test_retry_after_is_honoured() -> None:
    outcome = await outcome_from(answering(http_answer("503 Busy", "Retry-After: 12", body="come back")))
    assert (outcome.kind, outcome.retryable, outcome.retry_after_seconds) == (OutcomeKind.FAILED, True, 12)
    assert outcome.error == "HTTP 503 Service Unavailable: come back"


async def test_client_errors_are_final() -> None:
    outcome = await outcome_from(answering(http_answer("422 X", body='{"detail": "no such field"}')))
    assert (outcome.retryable, outcome.error) == (False, f"HTTP 422 {HTTPStatus(422).phrase}: no such field")


@pytest.mark.parametrize("status", ["200 OK", "307 X", "500 X"])
async def test_headers_that_a_target_echoes_are_not_stored(status: str) -> None:
    async def echo(head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http_answer(status, "Location: /?key=top-secret-token", body=head.decode()))

    outcome = await outcome_from(echo)
    assert "top-secret-token" not in repr(outcome)
    assert "[hidden]" in repr(outcome)


async def test_a_long_error_is_cut() -> None:
    outcome = await outcome_from(answering(http_answer("500 X", body="e" * 9000)))
    assert outcome.error is not None
    assert len(outcome.error) == 2000


async def test_a_refused_connection_means_that_nothing_was_accepted() -> None:
    url = f"http://127.0.0.1:{unused_port()}"
    async with executor_for(url) as executor:
        outcome = await executor.execute(recorder("/x").context)
        assert await executor.reachable("default") == outcome.error
    assert outcome.kind is OutcomeKind.REFUSED
    assert outcome.error == f"target 'default' at {url} cannot be reached: connection refused"


async def test_a_name_that_does_not_resolve() -> None:
    async with executor_for("http://no-such-host.invalid") as executor:
        outcome = await executor.execute(recorder("/x").context)
    assert outcome.kind is OutcomeKind.REFUSED
    assert "no-such-host.invalid does not resolve" in str(outcome.error)


async def test_a_server_without_tls() -> None:
    server = raw_server(answering(b"no tls here"), until=b"\x03")
    async with server as url, executor_for(url.replace("http:", "https:")) as executor:
        outcome = await executor.execute(recorder("/x").context)
    assert outcome.kind is OutcomeKind.REFUSED
    assert "https://127.0.0.1" in str(outcome.error)


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 O"])
async def test_a_connection_that_breaks_before_the_answer(raw: bytes) -> None:
    outcome = await outcome_from(answering(raw))
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.LOST, None)
    assert "the target may have done the work" in str(outcome.error)


async def test_a_connection_that_breaks_within_the_answer() -> None:
    outcome = await outcome_from(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"))
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.LOST, 200)
    assert "broke in the middle of the answer 200" in str(outcome.error)


@pytest.mark.parametrize(("status", "retryable"), [(503, True), (404, False)])
async def test_a_target_that_begins_to_say_no_has_failed(status: int, retryable: bool) -> None:
    outcome = await outcome_from(answering(f"HTTP/1.1 {status} X\r\nContent-Length: 100\r\n\r\nhalf".encode()))
    assert (outcome.kind, outcome.retryable, outcome.status_code) == (OutcomeKind.FAILED, retryable, status)
    assert f"broke in the middle of the answer {status}" in str(outcome.error)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 banana\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_garbage(raw: bytes) -> None:
    outcome = await outcome_from(answering(raw))
    assert (outcome.kind, outcome.retryable) == (OutcomeKind.FAILED, False)
    assert "did not answer in HTTP" in str(outcome.error)


async def test_garbage_chunks() -> None:
    outcome = await outcome_from(answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nwhat\r\n"))
    assert outcome.kind is OutcomeKind.FAILED
    assert "did not answer in HTTP" in str(outcome.error)


async def test_an_endless_body_is_cut() -> None:
    async def endless(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with raw_server(endless) as url, executor_for(url, response_cap_bytes=100_000) as executor:
        outcome = await executor.execute(recorder("/x").context)
    assert outcome.kind is OutcomeKind.SUCCESS
    assert outcome.output == {"content": "x" * 100_000, "content_type": "text/plain", "truncated": True}


async def test_bytes_that_are_no_text() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Type: image/png; charset=nonsense\r\nConnection: close\r\n\r\n\x89PNG\0\xff"
    outcome = await outcome_from(answering(raw))
    assert outcome.output == {"content": "\ufffdPNG\ufffd\ufffd", "content_type": "image/png"}


@pytest.mark.parametrize("charset", ["hex", "rot13", "idna", "undefined"])
async def test_a_charset_that_python_knows_but_cannot_read_text_with(charset: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset={charset}\r\nConnection: close\r\n\r\n"
    outcome = await outcome_from(answering(head.encode() + "žluť".encode()))
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.SUCCESS, 200)
    assert outcome.output == {"content": "žluť", "content_type": "text/plain"}


async def test_a_head_that_is_cut_off_is_told_in_words() -> None:
    outcome = await outcome_from(answering(b"HTTP/1.1 200 OK\r\nX-Some"))
    assert outcome.kind is OutcomeKind.LOST
    assert outcome.error == f"{MAYBE_DONE} (the server closed the connection)"


async def test_the_timeout_holds_for_plain_endpoints() -> None:
    heard = asyncio.Event()

    async def drip(_head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        await reader.read()  # the end of the connection
        heard.set()

    outcome = await outcome_from(drip, timeout_seconds=1)
    assert outcome.kind is OutcomeKind.TIMEOUT
    assert outcome.error == "no complete answer within 1 s; the target may have done the work"
    await heard.wait()


async def test_a_cancelled_run_gives_its_request_up() -> None:
    call = recorder("/x")

    async def hang(_head: bytes, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        call.context.cancelled.set()
        await reader.read()

    async with raw_server(hang) as url, executor_for(url) as executor:
        outcome = await executor.execute(call.context)
        assert outcome.kind is OutcomeKind.CANCELLED
        assert "given up" in str(outcome.error)


async def test_a_run_cancelled_before_its_start_sends_nothing() -> None:
    call = recorder("/x")
    call.context.cancelled.set()
    async with FakeAgentOS() as fake, executor_for(fake.base_url) as executor:
        outcome = await executor.execute(call.context)
    assert outcome.kind is OutcomeKind.CANCELLED
    assert fake.calls == []


async def test_when_the_worker_stops_the_request_stops() -> None:
    heard, gone = asyncio.Event(), asyncio.Event()

    async def hang(_head: bytes, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        heard.set()
        await reader.read()
        gone.set()

    async with raw_server(hang) as url, executor_for(url) as executor:
        task = asyncio.create_task(executor.execute(recorder("/x").context))
        await heard.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone.wait()


async def test_reachable() -> None:
    async with FakeAgentOS() as fake, executor_for(fake.base_url) as executor:
        assert await executor.reachable("default") is None
        assert "not configured" in str(await executor.reachable("other"))
    async with raw_server(answering(b"what?\r\n\r\n")) as url, executor_for(url) as executor:
        assert "does not answer in HTTP" in str(await executor.reachable("default"))


async def test_cookies_do_not_pass_from_run_to_run() -> None:
    heads: list[bytes] = []

    async def set_cookie(head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        writer.write(http_answer("200 OK", "Set-Cookie: user=1; Path=/"))

    async with raw_server(set_cookie) as url, executor_for(url.replace("127.0.0.1", "localhost")) as executor:
        for _ in range(2):
            assert (await executor.execute(recorder("/x").context)).kind is OutcomeKind.SUCCESS
    assert len(heads) == 2
    assert b"cookie" not in heads[1].lower()
