from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request as HostRequest
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from agentclock.executor.asgi import HELD_BYTES, AsgiTransport
from agentclock.executor.targets import IN_PROCESS_URL, TargetSettings
from agentclock.executor.transport import Answer, ConnectionBroken, NotConnected, Request

HERE = TargetSettings(name="default", in_process=True)

App = Callable[[Scope, Receive, Send], Awaitable[None]]


@asynccontextmanager
async def calling(
    app: App, endpoint: str = "/", *, target: TargetSettings = HERE, parting_seconds: float = 5.0, **options: Any
) -> AsyncIterator[Answer]:
    transport = AsgiTransport(app, parting_seconds=parting_seconds)
    transport.open({"shared": "yes"})
    request = Request(**{"method": "GET", "url": target.url_for(endpoint), **options})
    async with transport.send(target, request) as answer:
        yield answer


async def seen_by_app(endpoint: str = "/", **options: Any) -> tuple[Scope, bytes]:
    """What the app is told of a request."""
    seen: list[tuple[Scope, bytes]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope, (await receive())["body"]))
        await PlainTextResponse("ok")(scope, receive, send)

    async with calling(app, endpoint, **options) as answer:
        assert await answer.text(10) == ("ok", False)
    [told] = seen
    return told


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(content: bytes = b"", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


async def test_the_scope_is_that_of_a_server() -> None:
    scope, content = await seen_by_app("/a%20b/%C3%BC/x%2Fy?q=1&q=%C3%A4")
    assert content == b""
    assert scope["type"] == "http"
    assert (scope["asgi"]["version"], scope["http_version"], scope["method"]) == ("3.0", "1.1", "GET")
    assert (scope["path"], scope["raw_path"]) == ("/a b/ü/x/y", b"/a%20b/%C3%BC/x%2Fy")
    assert (scope["query_string"], scope["root_path"]) == (b"q=1&q=%C3%A4", "")
    assert (scope["scheme"], scope["server"], scope["client"]) == (
        "http",
        ("127.0.0.1", 80),
        ("127.0.0.1", 0),
    )
    headers = dict(scope["headers"])
    assert headers[b"host"] == b"127.0.0.1"
    assert b"content-length" not in headers


async def test_the_base_url_of_the_target_is_what_the_app_sees() -> None:
    target = TargetSettings(name="default", base_url="https://clock.example:8443/api", in_process=True)
    scope, _ = await seen_by_app("/x", target=target)
    assert (scope["scheme"], scope["server"], scope["path"]) == ("https", ("clock.example", 8443), "/api/x")
    assert dict(scope["headers"])[b"host"] == b"clock.example:8443"


async def test_every_request_gets_a_copy_of_the_hosts_state() -> None:
    first, _ = await seen_by_app()
    first["state"]["shared"] = "changed"
    second, _ = await seen_by_app()
    assert second["state"] == {"shared": "yes"}


async def test_the_headers_of_the_target_win_in_whatever_case() -> None:
    target = TargetSettings(name="default", in_process=True, headers={"user-AGENT": "mine", "X-Ü": "é"})
    scope, _ = await seen_by_app(target=target, headers={"User-Agent": "agentclock", "X-Agentclock-Run": "r"})
    headers = [(name, value) for name, value in scope["headers"] if name in (b"user-agent", b"x-agentclock-run")]
    assert headers == [(b"user-agent", b"mine"), (b"x-agentclock-run", b"r")]


async def test_a_body_has_its_length() -> None:
    scope, content = await seen_by_app(method="POST", body=b"12345", headers={"Content-Type": "application/json"})
    headers = dict(scope["headers"])
    assert (content, headers[b"content-length"], headers[b"content-type"]) == (b"12345", b"5", b"application/json")
    scope, content = await seen_by_app(method="POST")
    assert (content, dict(scope["headers"])[b"content-length"]) == (b"", b"0")


async def test_forms_are_encoded_as_the_http_client_does() -> None:
    form = {"message": "ä & b=c", "stream": "true", "empty": ""}
    scope, content = await seen_by_app(method="POST", form=form)
    same = aiohttp.FormData(form)()
    assert content == same._value
    assert dict(scope["headers"])[b"content-type"].decode() == same.content_type


async def test_pieces_arrive_as_they_are_sent() -> None:
    may_go_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(202, (b"Content-Type", b"text/plain; charset=latin-1")))
        await send(body(b"one", more=True))
        await may_go_on.wait()
        await send(body("zwö".encode("latin-1"), more=True))
        await send(body())

    async with calling(app) as answer:
        assert (answer.status, answer.reason, answer.media_type) == (202, "Accepted", "text/plain")
        assert answer.headers["content-type"] == "text/plain; charset=latin-1"
        assert await answer.piece() == b"one"
        may_go_on.set()
        assert await answer.text(100) == ("zwö", False)
        assert await answer.piece() == b""


async def test_an_app_that_is_quicker_than_its_reader_waits() -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(start())
        for _ in range(50):
            await send(body(b"x" * (HELD_BYTES // 4), more=True))
            sent += 1
        await send(body())

    async with calling(app) as answer:
        for _ in range(200):
            await asyncio.sleep(0)
        assert sent == 4
        received = 0
        while piece := await answer.piece():
            assert len(piece) <= HELD_BYTES + HELD_BYTES // 4
            received += len(piece)
    assert (sent, received) == (50, 50 * (HELD_BYTES // 4))


async def test_a_reader_that_leaves_disconnects() -> None:
    heard: list[str] = []
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(start())
        await send(body(b"x" * HELD_BYTES * 2, more=True))  # held until the reader has gone
        heard.append((await receive())["type"])
        await send(body(b"into the void", more=True))
        ended.set()

    async with calling(app) as answer:
        assert answer.status == 200
    await ended.wait()
    assert heard == ["http.disconnect"]


async def test_an_app_that_does_not_stop_is_stopped() -> None:
    stopped = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        try:
            while True:
                await send(body(b"tick", more=True))
        finally:
            stopped.set()

    async with calling(app, parting_seconds=0.01) as answer:
        assert (await answer.piece()).startswith(b"tick")
    await stopped.wait()


async def test_a_call_that_is_given_up_before_the_answer_is_stopped() -> None:
    running, stopped = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def call() -> None:
        async with calling(app, parting_seconds=0.01):
            raise AssertionError("there was no answer")

    task = asyncio.create_task(call())
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await stopped.wait()


async def test_work_that_an_app_leaves_behind_goes_on() -> None:
    may_end, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await may_end.wait()
        done.set()

    async def endpoint(_: HostRequest) -> Response:
        return PlainTextResponse("taken", background=BackgroundTask(work))

    async with calling(Starlette(routes=[Route("/", endpoint)]), parting_seconds=0) as answer:
        assert await answer.text(100) == ("taken", False)
    for _ in range(50):  # whoever would be stopped is stopped by now
        await asyncio.sleep(0)
    may_end.set()
    await done.wait()


async def test_a_stream_of_a_real_framework_ends_with_its_reader() -> None:
    closed = asyncio.Event()

    async def events() -> AsyncIterator[str]:
        try:
            yield "data: 1\n\n"
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def endpoint(_: HostRequest) -> Response:
        return StreamingResponse(events(), media_type="text/event-stream")

    async with calling(Starlette(routes=[Route("/", endpoint)]), parting_seconds=60) as answer:
        assert answer.media_type == "text/event-stream"
        assert await answer.piece() == b"data: 1\n\n"
    await closed.wait()


async def test_head_has_no_body() -> None:
    async with calling(PlainTextResponse("long"), method="HEAD") as answer:
        assert (answer.headers["content-length"], await answer.piece()) == ("4", b"")


async def raising(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("secret")


async def answering_partly(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start())
    await send(body(b"half", more=True))
    raise ValueError("secret")


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """Returns without a word."""


async def test_an_app_that_fails_before_its_answer() -> None:
    with (
        capture_logs() as logs,
        pytest.raises(ConnectionBroken, match=r"^the app raised ValueError before it answered$"),
    ):
        async with calling(raising, "/path"):
            raise AssertionError("there was no answer")
    [line] = [line for line in logs if line["event"] == "app_raised"]
    assert (line["log_level"], line["target"], line["path"]) == ("error", "default", "/path")
    assert "ValueError: secret" in line["exception"]


async def test_an_app_that_fails_within_its_answer() -> None:
    async with calling(answering_partly) as answer:
        assert await answer.piece() == b"half"
        with pytest.raises(ConnectionBroken, match="the app raised ValueError before the end of its answer"):
            await answer.piece()


async def test_an_app_that_does_not_answer() -> None:
    with pytest.raises(ConnectionBroken, match="the app returned before it answered"):
        async with calling(silent):
            raise AssertionError("there was no answer")


async def test_a_framework_answers_for_its_failing_endpoint() -> None:
    async def endpoint(_: HostRequest) -> Response:
        raise ValueError("secret")

    with capture_logs() as logs:
        async with calling(Starlette(routes=[Route("/", endpoint)])) as answer:
            assert (answer.status, await answer.text(100)) == (500, ("Internal Server Error", False))
            await asyncio.sleep(0)
    assert [line["event"] for line in logs] == ["app_raised"]


@pytest.mark.parametrize("messages", [[body()], [start(), start()], [start(), body(), body()]])
async def test_an_app_that_breaks_the_protocol_is_told(messages: list[Message]) -> None:
    told = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with pytest.raises(RuntimeError, match="ASGI message"):  # noqa: PT012 - any of them may be the wrong one
            for message in messages:
                await send(message)
        told.set()

    transport = AsgiTransport(app)
    transport.open()
    with pytest.raises(ConnectionBroken):  # noqa: PT012
        async with transport.send(HERE, Request(method="GET", url=HERE.url_for("/"))) as answer:
            await told.wait()
            if await answer.text(10) == ("", False):
                raise ConnectionBroken("the answer was complete before")
    assert told.is_set()


async def test_nothing_is_sent_before_the_app_is_ready_nor_after_the_end() -> None:
    transport = AsgiTransport(PlainTextResponse("ok"))
    request = Request(method="GET", url=HERE.url_for("/"))
    with pytest.raises(NotConnected, match="has not completed its start-up"):
        async with transport.send(HERE, request):
            raise AssertionError("it was sent")
    transport.open()
    async with transport.send(HERE, request) as answer:
        assert await answer.text(5) == ("ok", False)
    await transport.close()
    with pytest.raises(NotConnected):
        async with transport.send(HERE, request):
            raise AssertionError("it was sent")


async def test_the_app_does_not_see_the_context_of_its_caller() -> None:
    mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="none")
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(mark.get())
        mark.set("the app's")
        await PlainTextResponse("ok")(scope, receive, send)

    transport = AsgiTransport(app)
    transport.open()
    mark.set("the caller's")
    for _ in range(2):
        async with transport.send(HERE, Request(method="GET", url=HERE.url_for("/"))) as answer:
            await answer.piece()
    assert (seen, mark.get()) == (["none", "none"], "the caller's")


def test_a_target_in_this_process_needs_no_base_url() -> None:
    assert HERE.base_url == IN_PROCESS_URL
    assert HERE.problems() == []
