"""When the clockwork lives, as told by the messages between a server and the host."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.testing import capture_logs
from tests.embed_help import Server, get

from agentclock.embed.layer import Layer
from agentclock.embed.life import Life
from agentclock.embed.origin import RunOrigin, current_origin
from agentclock.executor.asgi import AsgiTransport
from agentclock.executor.targets import TargetSettings
from agentclock.executor.transport import Request as Call

mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="none")


@dataclass(slots=True)
class Diary:
    """A clockwork that only writes down what happens to it, among what happens to others."""

    entries: list[str] = field(default_factory=list)
    error: Exception | None = None
    started: asyncio.Event = field(default_factory=asyncio.Event)
    may_start: asyncio.Event | None = None
    stop_error: Exception | None = None
    may_stop: asyncio.Event | None = None
    context_mark: str | None = None

    async def start(self) -> None:
        self.context_mark = mark.get()
        self.entries.append("clockwork starts")
        self.started.set()
        if self.may_start is not None:
            await self.may_start.wait()
        if self.error is not None:
            raise self.error

    async def stop(self) -> None:
        self.entries.append("clockwork stops")
        if self.may_stop is not None:
            await self.may_stop.wait()
        if self.stop_error is not None:
            raise self.stop_error
        self.entries.append("clockwork has stopped")


def host(diary: Diary, *, error: Exception | None = None, state: Mapping[str, Any] | None = None) -> Starlette:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[Mapping[str, Any]]:
        mark.set("the host's lifespan")
        diary.entries.append("host starts")
        if error is not None:
            raise error
        yield state or {}
        diary.entries.append("host stops")

    return Starlette(lifespan=lifespan, routes=[Route("/", lambda _: PlainTextResponse("home"))])


def wrapped(app: Starlette, diary: Diary, way: AsgiTransport | None = None) -> Starlette:
    app.add_middleware(Layer, life=Life(diary, way))
    return app


async def test_it_starts_after_the_host_and_stops_before_it() -> None:
    diary = Diary()
    server = Server(wrapped(host(diary), diary))
    assert (await server.startup())["type"] == "lifespan.startup.complete"
    assert diary.entries == ["host starts", "clockwork starts"]
    assert (await server.shutdown())["type"] == "lifespan.shutdown.complete"
    assert diary.entries[2:] == ["clockwork stops", "clockwork has stopped", "host stops"]


async def test_the_host_is_told_only_once_the_clockwork_has_started() -> None:
    diary = Diary(may_start=asyncio.Event())
    server = Server(wrapped(host(diary), diary))
    startup = asyncio.create_task(server.startup())
    await diary.started.wait()
    assert not startup.done()
    assert diary.may_start is not None
    diary.may_start.set()
    assert (await startup)["type"] == "lifespan.startup.complete"


async def test_the_host_lives_until_the_clockwork_has_stopped() -> None:
    diary = Diary(may_stop=asyncio.Event())
    server = Server(wrapped(host(diary), diary))
    await server.startup()
    shutdown = asyncio.create_task(server.shutdown())
    for _ in range(20):
        await asyncio.sleep(0)
    assert diary.entries[-1] == "clockwork stops"
    assert diary.may_stop is not None
    diary.may_stop.set()
    await shutdown
    assert diary.entries[-1] == "host stops"


async def test_a_host_that_fails_to_start_has_no_clockwork() -> None:
    diary = Diary()
    server = Server(wrapped(host(diary, error=OSError("no disk")), diary))
    told = await server.startup()
    assert (told["type"], "no disk" in told["message"]) == ("lifespan.startup.failed", True)
    assert diary.entries == ["host starts"]


async def test_a_clockwork_that_fails_to_start_fails_the_start_up() -> None:
    diary = Diary(error=ValueError("a fault of ours"))
    server = Server(wrapped(host(diary), diary))
    told = await server.startup()
    assert (told["type"], "a fault of ours" in told["message"]) == ("lifespan.startup.failed", True)
    assert diary.entries == ["host starts", "clockwork starts", "clockwork stops", "clockwork has stopped"]


async def test_a_clockwork_that_fails_to_stop_lets_the_host_stop() -> None:
    diary = Diary(stop_error=ValueError("a fault of ours"))
    server = Server(wrapped(host(diary), diary))
    await server.startup()
    with capture_logs() as logs:
        assert (await server.shutdown())["type"] == "lifespan.shutdown.complete"
    assert [line["event"] for line in logs] == ["stop_failed"]
    assert diary.entries[-1] == "host stops"


async def test_it_can_be_started_again() -> None:
    diary = Diary()
    app = wrapped(host(diary), diary)
    for _ in range(2):
        server = Server(app)
        await server.startup()
        await server.shutdown()
    assert diary.entries == 2 * [
        "host starts",
        "clockwork starts",
        "clockwork stops",
        "clockwork has stopped",
        "host stops",
    ]


async def test_an_app_that_is_served_twice_at_once_has_one_clockwork() -> None:
    diary = Diary()
    app = wrapped(host(diary), diary)
    first, second = Server(app), Server(app)
    await first.startup()
    assert (await second.startup())["type"] == "lifespan.startup.complete"
    await second.shutdown()
    await first.shutdown()
    assert [entry for entry in diary.entries if "clockwork" in entry] == [
        "clockwork starts",
        "clockwork stops",
        "clockwork has stopped",
    ]


async def test_what_surrounds_the_host_does_not_surround_the_clockwork() -> None:
    diary = Diary()
    await Server(wrapped(host(diary), diary)).startup()
    assert diary.context_mark == "none"


@pytest.mark.parametrize("raises", [True, False])
async def test_a_host_that_knows_no_lifespan(raises: bool) -> None:
    diary = Diary()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" and raises:
            raise NotImplementedError(scope["type"])
        diary.entries.append(f"host is called with {scope['type']}")

    server = Server(Layer(app, life=Life(diary, None)))
    assert (await server.startup())["type"] == "lifespan.startup.complete"
    assert diary.entries[-1] == "clockwork starts"
    assert (await server.shutdown())["type"] == "lifespan.shutdown.complete"
    assert diary.entries[-1] == "clockwork has stopped"


async def test_the_host_is_called_in_process_with_the_state_of_its_lifespan() -> None:
    diary, seen = Diary(), []
    app = host(diary, state={"pool": "shared"})

    async def endpoint(request: Request) -> Response:
        seen.append(request.state.pool)
        return PlainTextResponse("")

    app.add_route("/pool", endpoint)
    way = AsgiTransport(app)
    server = Server(wrapped(app, diary, way))
    await server.startup()
    target = TargetSettings(name="default", in_process=True)
    async with way.send(target, Call(method="GET", url=target.url_for("/pool"))) as answer:
        assert answer.status == 200
    assert seen == ["shared"]


async def test_without_lifespan_messages_the_first_request_starts_it() -> None:
    diary = Diary(may_start=asyncio.Event())
    app = wrapped(host(diary), diary)
    with capture_logs() as logs:
        first, second = asyncio.create_task(get(app)), asyncio.create_task(get(app))
        await diary.started.wait()
        assert not first.done()
        assert diary.may_start is not None
        diary.may_start.set()
        assert [await first, await second, await get(app)] == [200, 200, 200]
    assert diary.entries == ["clockwork starts"]
    [warning] = [line for line in logs if line["log_level"] == "warning"]
    assert (warning["event"], "no lifespan messages" in warning["detail"]) == ("started_late", True)


async def test_a_late_start_that_fails_is_not_the_requests_fault() -> None:
    diary = Diary(error=ValueError("a fault of ours"))
    app = wrapped(host(diary), diary)
    with capture_logs() as logs:
        assert [await get(app), await get(app)] == [200, 200]
    assert [line["event"] for line in logs] == ["started_late", "start_failed"]


async def test_a_client_that_goes_away_does_not_stop_a_late_start() -> None:
    diary = Diary(may_start=asyncio.Event())
    app = wrapped(host(diary), diary)
    request = asyncio.create_task(get(app))
    await diary.started.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert diary.may_start is not None
    diary.may_start.set()
    assert await get(app) == 200
    assert diary.entries == ["clockwork starts"]


async def test_the_request_that_starts_it_does_not_surround_it() -> None:
    diary = Diary()
    app = wrapped(host(diary), diary)
    mark.set("a request")
    await get(app)
    assert diary.context_mark == "none"


async def test_a_request_during_the_hosts_start_up_starts_nothing() -> None:
    diary = Diary()
    app = host(diary)
    asked: list[int] = []
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(starlette: Starlette) -> AsyncIterator[Any]:
        asked.append(await get(starlette))
        async with inner(starlette) as state:
            yield state

    app.router.lifespan_context = lifespan
    await Server(wrapped(app, diary)).startup()
    assert (asked, diary.entries) == ([200], ["host starts", "clockwork starts"])


def test_clients_with_a_new_loop_for_each_request() -> None:
    diary = Diary()
    client = TestClient(wrapped(host(diary), diary))
    assert [client.get("/").status_code for _ in range(2)] == [200, 200]
    assert diary.entries == ["clockwork starts", "clockwork starts"]
    with client:
        assert client.get("/").status_code == 200
    assert diary.entries[2:] == [
        "host starts",
        "clockwork starts",
        "clockwork stops",
        "clockwork has stopped",
        "host stops",
    ]


def test_a_test_client_that_is_entered() -> None:
    diary = Diary()
    app = wrapped(host(diary), diary)
    for _ in range(2):
        with TestClient(app) as client:
            assert client.get("/").status_code == 200
    assert diary.entries.count("clockwork starts") == diary.entries.count("clockwork has stopped") == 2


async def origins(app_of: Callable[[Callable[[], None]], Awaitable[ASGIApp]], **headers: str) -> list[RunOrigin | None]:
    seen: list[RunOrigin | None] = []
    await get(await app_of(lambda: seen.append(current_origin())), **headers)
    return seen


async def test_the_origin_of_a_request_is_known_to_it_and_to_what_it_leaves_behind() -> None:
    left: list[asyncio.Task[None]] = []

    async def app_of(look: Callable[[], None]) -> ASGIApp:
        async def later() -> None:
            await asyncio.sleep(0)
            look()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            look()
            left.append(asyncio.create_task(later()))
            await PlainTextResponse("")(scope, receive, send)

        return Layer(app, life=Life(Diary(), None))

    seen = await origins(app_of, x_agentclock_schedule="s", x_agentclock_run="r")
    assert current_origin() is None
    await asyncio.gather(*left)
    assert seen == 2 * [RunOrigin(schedule_id="s", run_id="r")]
    assert await origins(app_of, x_agentclock_schedule="s") == [None]
    assert await origins(app_of) == [None]
