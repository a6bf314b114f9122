"""A clockwork inside FastAPI, Starlette and bare ASGI apps, with a real database and engine, without any port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_socket
from fastapi import FastAPI, Request
from starlette.applications import Starlette
from starlette.requests import Request as HostRequest
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.apis import DRAFT
from tests.embed_help import Server, serving

from agentclock.api.auth import Caller, OpenGuard, Permission
from agentclock.app import assemble
from agentclock.config import Settings, TargetEntry
from agentclock.core.errors import ConfigError, Forbidden
from agentclock.core.events import RunSettled
from agentclock.embed import RunOrigin, attach, current_origin, embed


@pytest.fixture(autouse=True)
def no_network() -> None:
    """pytest-socket takes this back after each test."""
    pytest_socket.disable_socket(allow_unix_socket=True)


class Host:
    """A FastAPI app that writes down who calls it."""

    def __init__(self) -> None:
        self.app = FastAPI()
        self.origins: list[RunOrigin | None] = []
        self.left: list[RunOrigin | None] = []
        self.called = asyncio.Event()
        self.left_behind = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.app.add_api_route("/report", self.report, methods=["POST"])
        self.app.add_api_route("/background", self.background, methods=["POST"])

    async def report(self, request: Request) -> StreamingResponse:
        self.origins.append(current_origin())
        topic = (await request.json())["topic"]

        async def lines() -> AsyncIterator[str]:
            yield f"about {topic}\n"
            self.called.set()
            await self.may_end.wait()
            yield "done\n"

        return StreamingResponse(lines(), media_type="text/plain")

    async def background(self) -> dict[str, bool]:
        async def work() -> None:
            await self.may_end.wait()
            self.left.append(current_origin())
            self.left_behind.set()

        self.task = asyncio.create_task(work())
        return {"taken": True}


def client_of(app: ASGIApp) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://host.test", timeout=60)


async def create(client: httpx2.AsyncClient, **fields: Any) -> str:
    draft = {"name": "reports", "endpoint": "/report", "payload": {"topic": "clocks"}} | fields
    answer = await client.post("/schedules", json=draft)
    assert answer.status_code == 201, answer.text
    created: str = answer.json()["id"]
    return created


async def trigger(client: httpx2.AsyncClient, schedule_id: str, wait: int = 60) -> httpx2.Response:
    """Repeated, as a 503 asks for, while the engine is still getting going."""
    while (answer := await client.post(f"/schedules/{schedule_id}/trigger?wait={wait}")).status_code == 503:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    return answer


async def triggered(client: httpx2.AsyncClient, schedule_id: str) -> dict[str, Any]:
    run: dict[str, Any] = (await trigger(client, schedule_id)).json()
    return run


async def test_a_schedule_fires_in_process(tmp_path: Path) -> None:
    host = Host()
    clockwork = attach(host.app, str(tmp_path / "clock.db"))
    settled = asyncio.Event()
    clockwork.bus.subscribe(lambda event: settled.set() if isinstance(event, RunSettled) else None)
    async with serving(host.app), client_of(host.app) as client:
        schedule_id = await create(client, interval_seconds=1, max_runs=1)
        await settled.wait()
        page = (await client.get(f"/schedules/{schedule_id}/runs")).json()
    [run] = page["data"]
    assert (run["cause"], run["status"], run["output"]["content"]) == ("schedule", "success", "about clocks\ndone\n")
    assert host.origins == [RunOrigin(schedule_id=schedule_id, run_id=run["id"])]


async def test_work_that_a_request_leaves_behind_knows_its_run(tmp_path: Path) -> None:
    host = Host()
    host.may_end.clear()
    attach(host.app, str(tmp_path / "clock.db"))
    async with serving(host.app), client_of(host.app) as client:
        schedule_id = await create(client, endpoint="/background")
        run = await triggered(client, schedule_id)
        assert (run["status"], run["output"]["content"]) == ("success", '{"taken":true}')
        host.may_end.set()
        await host.left_behind.wait()
    assert host.left == [RunOrigin(schedule_id=schedule_id, run_id=run["id"])]


async def test_a_shutdown_waits_for_runs_of_the_host(tmp_path: Path) -> None:
    host = Host()
    host.may_end.clear()
    attach(host.app, str(tmp_path / "clock.db"))
    server = Server(host.app)
    await server.startup()
    async with client_of(host.app) as client:
        schedule_id = await create(client)
        answer = await trigger(client, schedule_id, wait=0)
        await host.called.wait()
        shutdown = asyncio.create_task(server.shutdown())
        for _ in range(50):
            await asyncio.sleep(0)
        assert not shutdown.done()
        host.may_end.set()
        assert (await shutdown)["type"] == "lifespan.shutdown.complete"
        # The same file, read by its next owner.
        async with serving(host.app):
            run = (await client.get(answer.headers["Location"])).json()
    assert (run["status"], run["output"]["content"]) == ("success", "about clocks\ndone\n")


async def test_several_apps_in_one_process(tmp_path: Path) -> None:
    hosts = [Host(), Host()]
    for number, host in enumerate(hosts):
        attach(host.app, str(tmp_path / f"{number}.db"))
    async with (
        serving(hosts[0].app),
        serving(hosts[1].app),
        client_of(hosts[0].app) as first,
        client_of(hosts[1].app) as second,
    ):
        ids = [await create(first, payload={"topic": "a"}), await create(second, payload={"topic": "b"})]
        runs = [await triggered(first, ids[0]), await triggered(second, ids[1])]
        assert (await first.get(f"/schedules/{ids[1]}")).status_code == 404
    assert [run["output"]["content"] for run in runs] == ["about a\ndone\n", "about b\ndone\n"]
    assert [len(host.origins) for host in hosts] == [1, 1]


async def test_many_streams_at_once(tmp_path: Path) -> None:
    host = Host()
    host.may_end.clear()
    attach(host.app, str(tmp_path / "clock.db"), concurrency=200)
    async with serving(host.app), client_of(host.app) as client:
        schedule_id = await create(client, overlap="allow", max_retries=0)
        answering = asyncio.gather(*(triggered(client, schedule_id) for _ in range(200)))
        while len(host.origins) < 200:
            host.called.clear()
            await host.called.wait()
        host.may_end.set()
        runs = await answering
    assert {run["output"]["content"] for run in runs} == {"about clocks\ndone\n"}
    assert len({origin.run_id for origin in host.origins if origin}) == 200


async def test_the_host_describes_our_routes(tmp_path: Path) -> None:
    host = Host()
    attach(host.app, str(tmp_path / "clock.db"), prefix="/clock")
    async with serving(host.app), client_of(host.app) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    assert {"/report", "/clock/schedules", "/clock/schedules/{schedule_id}/trigger", "/clock/runs"} <= set(paths)


async def test_a_starlette_host_has_the_same_errors(tmp_path: Path) -> None:
    async def greet(request: HostRequest) -> Response:
        return PlainTextResponse(f"hello {(await request.json())['name']}")

    app = Starlette(routes=[Route("/greet", greet, methods=["POST"])])
    attach(app, str(tmp_path / "clock.db"))
    async with serving(app), client_of(app) as client:
        wrong = await client.post("/schedules", json=DRAFT | {"cron_expr": "99 * * * *"})
        assert (wrong.status_code, wrong.json()["detail"][0]["loc"]) == (422, ["body", "cron_expr"])
        assert (await client.get("/schedules/nowhere")).json() == {"detail": "Schedule not found"}
        assert (await client.get("/greet")).status_code == 405
        run = await triggered(client, await create(client, endpoint="/greet", payload={"name": "you"}))
    assert run["output"]["content"] == "hello you"


async def test_any_asgi_app_can_be_a_host(tmp_path: Path) -> None:
    origins: list[RunOrigin | None] = []

    async def bare(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        origins.append(current_origin())
        await PlainTextResponse(f"bare {scope['path']}")(scope, receive, send)

    targets = {"default": TargetEntry(in_process=True)}
    clockwork = assemble(Settings.load(database=str(tmp_path / "clock.db"), targets=targets), app=bare)
    app = embed(bare, clockwork)
    async with serving(app), client_of(app) as client:
        assert (await client.get("/other")).text == "bare /other"
        schedule_id = await create(client, endpoint="/hook")
        run = await triggered(client, schedule_id)
    assert run["output"]["content"] == "bare /hook"
    assert origins == [None, RunOrigin(schedule_id=schedule_id, run_id=run["id"])]
    with pytest.raises(ConfigError, match="attached to this app already"):
        embed(app, clockwork)


async def test_a_guard_decides(tmp_path: Path) -> None:
    class ReadOnly(OpenGuard):
        async def admit(self, request: Request, permission: Permission) -> Caller:
            if permission is not Permission.READ:
                raise Forbidden("only reading is allowed")
            return Caller()

    host = Host()
    attach(host.app, str(tmp_path / "clock.db"), guard=ReadOnly())
    async with serving(host.app), client_of(host.app) as client:
        assert (await client.get("/schedules")).status_code == 200
        assert (await client.post("/schedules", json=DRAFT)).status_code == 403


async def test_the_hosts_middleware_sees_our_calls_with_their_token(tmp_path: Path) -> None:
    seen: list[tuple[str, str | None]] = []
    host = Host()
    attach(host.app, str(tmp_path / "clock.db"), token=lambda: "internal")

    @host.app.middleware("http")
    async def gate(request: Request, call_next: Any) -> Response:
        seen.append((request.url.path, request.headers.get("authorization")))
        answer: Response = await call_next(request)
        return answer

    async with serving(host.app), client_of(host.app) as client:
        run = await triggered(client, await create(client))
    assert ("/report", "Bearer internal") in seen
    assert "internal" not in str(run)


async def test_a_database_that_is_away_does_not_stop_the_host(tmp_path: Path) -> None:
    host = Host()
    attach(host.app, str(tmp_path / "no-such-folder" / "clock.db"))
    async with serving(host.app), client_of(host.app) as client:
        assert (await client.get("/schedules")).status_code == 503
        assert (await client.post("/background")).json() == {"taken": True}


def test_clients_that_start_the_app_again_and_again(tmp_path: Path) -> None:
    """Test suites do: one app, an event loop for each test."""
    app = FastAPI()
    app.add_api_route("/hook", lambda: "done", methods=["POST"])
    attach(app, str(tmp_path / "clock.db"))
    for number in range(3):
        with TestClient(app) as client:
            draft = {"name": f"s{number}", "endpoint": "/hook"}
            schedule_id = client.post("/schedules", json=draft).json()["id"]
            while (answer := client.post(f"/schedules/{schedule_id}/trigger?wait=60")).status_code == 503:
                """The engine is still getting going."""
            run = answer.json()
            assert (run["status"], run["output"]["content"]) == ("success", '"done"')
            assert client.get("/schedules").json()["meta"]["total_count"] == number + 1


async def test_further_targets_and_settings(tmp_path: Path) -> None:
    clockwork = attach(
        FastAPI(),
        str(tmp_path / "clock.db"),
        targets={"hooks": "https://hooks.example.com", "agents": {"in_process": True, "kind": "agentos"}},
        concurrency=7,
    )
    assert clockwork.settings.concurrency == 7
    kinds = {name: (str(entry.kind), entry.in_process) for name, entry in clockwork.settings.targets.items()}
    assert kinds == {"default": ("http", True), "hooks": ("agentos", False), "agents": ("agentos", True)}


def test_an_app_is_attached_to_once_and_before_it_serves(tmp_path: Path) -> None:
    app = FastAPI()
    attach(app, str(tmp_path / "clock.db"))
    with pytest.raises(ConfigError, match="attached to this app already"):
        attach(app, str(tmp_path / "other.db"))
    served = FastAPI()
    with TestClient(served):
        """It has begun to serve."""
    with pytest.raises(ConfigError, match="before the app serves its first request"):
        attach(served, str(tmp_path / "clock.db"))
    with pytest.raises(TypeError, match="embed takes any ASGI app"):
        attach(PlainTextResponse("hello"), str(tmp_path / "clock.db"))  # type: ignore[arg-type]
