"""A whole process watched from outside: its metrics, the pings that it sends, the headers and spans of its runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from structlog.testing import capture_logs
from tests.apis import client_of
from tests.telemetry_help import samples_of

from agentclock.app import Clockwork, assemble, create_app, create_status_app
from agentclock.config import Settings
from agentclock.core.pings import PingKind
from agentclock.core.tracecontext import run_span_id, trace_id
from agentclock.telemetry import pings
from agentclock.telemetry.pings import Ping

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Outside:
    """Everything that a process speaks to: a target, a dead man's switch, a collector of traces."""

    def __init__(self) -> None:
        self.calls: list[dict[str, str]] = []
        self.pings: list[tuple[str, str, str]] = []
        self.spans: list[Any] = []
        self.ping_statuses: list[int] = []
        self.url = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Outside]:
        app = web.Application()
        app.router.add_route("*", "/ping/{path:.*}", self._ping)
        app.router.add_post("/v1/traces", self._collect)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.calls.append(dict(request.headers))
        return web.json_response({}, status=404 if request.path == "/bad" else 200)

    async def _ping(self, request: web.Request) -> web.Response:
        self.pings.append((request.method, request.path_qs, await request.text()))
        status = self.ping_statuses.pop(0) if self.ping_statuses else 200
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})

    async def _collect(self, request: web.Request) -> web.Response:
        read = ExportTraceServiceRequest.FromString(await request.read())
        for resource in read.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return web.Response(content_type="application/x-protobuf")


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    async with Outside().open() as made:
        yield made


@asynccontextmanager
async def process(
    outside: Outside, folder: Path, **settings: Any
) -> AsyncIterator[tuple[Clockwork, httpx2.AsyncClient]]:
    targets = {"default": {"base_url": outside.url, "kind": "http"}}
    settings = {"allowed_networks": ("127.0.0.0/8",), **settings}
    clockwork = assemble(Settings(database=str(folder / "clock.db"), targets=targets, **settings))
    app = create_app(clockwork)
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield clockwork, client


async def triggered(client: httpx2.AsyncClient, **fields: Any) -> dict[str, Any]:
    """One run of a new schedule, to its end."""
    draft = {"name": "nightly", "endpoint": "/hook", "cron_expr": "", **fields}
    made = (await client.post("/schedules", json=draft)).json()
    answer = await client.post(f"/schedules/{made['id']}/trigger?wait=20", headers={"traceparent": CALLER})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for happens behind a socket
        await asyncio.sleep(0.005)


async def test_a_process_shows_what_it_did(outside: Outside, tmp_path: Path) -> None:
    async with process(outside, tmp_path) as (_, client):
        await triggered(client)
        await triggered(client, name="broken", endpoint="/bad")
        answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    shown = samples_of(answer.text)
    assert shown["agentclock_runs_total", (("end", "success"), ("schedule", "nightly"))] == 1
    assert shown["agentclock_runs_total", (("end", "failed"), ("schedule", "broken"))] == 1
    assert shown["agentclock_attempts_total", (("cause", "manual"),)] == 2
    assert shown["agentclock_target_response_seconds_count", (("target", "default"),)] == 2
    assert shown["agentclock_engine_status", (("status", "running"),)] == 1
    assert shown["agentclock_database_up", ()] == 1
    assert shown["agentclock_database_seconds_count", (("operation", "trigger"),)] == 2
    assert shown["agentclock_planner_idle_seconds", ()] >= 0


async def test_openmetrics_is_answered_to_those_who_ask(outside: Outside, tmp_path: Path) -> None:
    async with process(outside, tmp_path) as (_, client):
        answer = await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")


async def test_a_process_that_only_works_shows_how_it_is_and_nothing_else(outside: Outside, tmp_path: Path) -> None:
    clockwork = assemble(Settings(database=str(tmp_path / "clock.db")))
    app = create_status_app(clockwork)
    async with app.router.lifespan_context(app), client_of(app) as client:
        found = {path: (await client.get(path)).status_code for path in ("/metrics", "/health", "/info", "/schedules")}
    assert found == {"/metrics": 200, "/health": 200, "/info": 200, "/schedules": 404}


async def test_a_switch_is_told_of_start_and_end(outside: Outside, tmp_path: Path) -> None:
    async with process(outside, tmp_path) as (_, client):
        good = await triggered(client, ping_url=f"{outside.url}/ping/good?team=a")
        bad = await triggered(client, name="broken", endpoint="/bad", ping_url=f"{outside.url}/ping/bad")
    asked = {(method, path) for method, path, _ in outside.pings}
    assert asked == {
        ("GET", f"/ping/good/start?team=a&rid={good['id']}"),
        ("GET", f"/ping/good?team=a&rid={good['id']}"),
        ("GET", f"/ping/bad/start?rid={bad['id']}"),
        ("POST", f"/ping/bad/fail?rid={bad['id']}"),
    }
    assert [text for _, path, text in outside.pings if "fail" in path] == ["failed: HTTP 404 Not Found: {}"]


@pytest.mark.parametrize(
    ("statuses", "tries", "result"), [([503, 429, 200], 3, True), ([404], 1, False), ([302], 1, False)]
)
async def test_tries_of_a_ping(
    outside: Outside,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    statuses: list[int],
    tries: int,
    result: bool,
) -> None:
    monkeypatch.setattr(pings, "PAUSES_SECONDS", (0.0, 0.0))
    outside.ping_statuses = statuses
    async with process(outside, tmp_path) as (clockwork, _):
        with capture_logs() as lines:
            ping = Ping(url=f"{outside.url}/ping/s3cret", kind=PingKind.SUCCESS)
            assert await clockwork.telemetry.pinger.reach(ping) == result
    assert len(outside.pings) == tries
    assert [line["host"] for line in lines if line["event"] == "ping_failed"] == ["127.0.0.1"] * (not result)
    assert "s3cret" not in str(lines)


async def test_a_switch_that_is_not_there_costs_a_run_nothing(
    outside: Outside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pings, "PAUSES_SECONDS", (0.0, 0.0))
    async with process(outside, tmp_path) as (clockwork, client):
        run = await triggered(client, ping_url="http://127.0.0.1:9/ping/s3cret")
        assert run["status"] == "success"
    shown = samples_of((await clockwork.telemetry.exposition(""))[0].decode())
    assert shown["agentclock_pings_total", (("result", "failed"),)] == 2


async def test_the_engine_reports_by_itself(outside: Outside, tmp_path: Path) -> None:
    options = {"engine_ping_url": f"{outside.url}/ping/engine", "engine_ping_seconds": 1, "allowed_networks": ()}
    async with process(outside, tmp_path, **options):
        await until(lambda: outside.pings)
    assert outside.pings[0] == ("GET", "/ping/engine", "")


async def test_a_run_is_one_trace_from_its_trigger_to_the_target(
    outside: Outside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", outside.url)
    async with process(outside, tmp_path) as (_, client):
        run = await triggered(client)
    spans = {span.name: span for span in outside.spans}
    assert set(spans) == {"trigger", "request default", "attempt 1", "run nightly"}
    root, trigger = spans["run nightly"], spans["trigger"]
    assert root.trace_id.hex() == trace_id(run["id"])
    assert root.span_id.hex() == run_span_id(run["id"]) == spans["attempt 1"].parent_span_id.hex()
    [call] = outside.calls
    assert call["traceparent"] == f"00-{trace_id(run['id'])}-{spans['request default'].span_id.hex()}-01"
    assert (trigger.trace_id.hex(), trigger.parent_span_id.hex()) == (CALLER[3:35], CALLER[36:52])
    assert trigger.links[0].span_id == root.span_id
    assert root.links[0].trace_id == trigger.trace_id


async def test_without_a_collector_targets_are_told_the_same(outside: Outside, tmp_path: Path) -> None:
    async with process(outside, tmp_path) as (_, client):
        run = await triggered(client)
    [call] = outside.calls
    assert call["traceparent"].startswith(f"00-{trace_id(run['id'])}-")
    assert outside.spans == []
