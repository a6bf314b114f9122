"""/health, /ready, /info, the OpenAPI document, and living inside somebody else's app."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI, Response
from fastapi.exceptions import RequestValidationError
from tests.apis import DRAFT, WORKER, World, app_of, client_of, world

from agentclock import __version__
from agentclock.api import build_router
from agentclock.core.errors import NotFound, StoreUnavailable
from agentclock.core.zones import tzdata_version
from agentclock.scheduler import EngineState

DENIED = {"401", "403", "414", "429"}
ROUTES = {
    ("get", "/schedules"): {"200", "422", "503"} | DENIED,
    ("post", "/schedules"): {"201", "409", "413", "422", "503"} | DENIED,
    ("get", "/schedules/preview"): {"200", "422", "503"} | DENIED,
    ("get", "/schedules/events"): {"200", "422", "503"} | DENIED,
    ("post", "/schedules/apply"): {"200", "409", "413", "422", "503"} | DENIED,
    **{
        ("get", f"/schedules/{name}"): {"200", "422", "503"} | DENIED
        for name in ("summary", "attention", "timeline", "statistics", "accounts")
    },
    ("get", "/schedules/{schedule_id}/statistics"): {"200", "404", "422", "503"} | DENIED,
    ("get", "/runs/failures"): {"200", "422", "503"} | DENIED,
    ("get", "/schedules/{schedule_id}"): {"200", "404", "422", "503"} | DENIED,
    ("patch", "/schedules/{schedule_id}"): {"200", "404", "409", "413", "422", "503"} | DENIED,
    ("delete", "/schedules/{schedule_id}"): {"204", "404", "422", "503"} | DENIED,
    ("post", "/schedules/{schedule_id}/enable"): {"200", "404", "422", "503"} | DENIED,
    ("post", "/schedules/{schedule_id}/disable"): {"200", "404", "422", "503"} | DENIED,
    ("post", "/schedules/{schedule_id}/trigger"): {"200", "202", "404", "409", "413", "422", "503"} | DENIED,
    ("get", "/schedules/{schedule_id}/backfills"): {"200", "404", "409", "422", "503"} | DENIED,
    ("post", "/schedules/{schedule_id}/backfills"): {"200", "201", "404", "409", "413", "422", "503"} | DENIED,
    ("post", "/schedules/{schedule_id}/backfills/{backfill_id}/cancel"): {"200", "404", "409", "422", "503"} | DENIED,
    ("get", "/schedules/{schedule_id}/accounting"): {"200", "404", "422", "503"} | DENIED,
    ("get", "/schedules/{schedule_id}/revisions"): {"200", "404", "409", "422", "503"} | DENIED,
    ("get", "/schedules/{schedule_id}/usage"): {"200", "404", "422", "503"} | DENIED,
    ("get", "/schedules/{schedule_id}/runs"): {"200", "404", "422", "503"} | DENIED,
    ("get", "/schedules/{schedule_id}/runs/{run_id}"): {"200", "404", "422", "503"} | DENIED,
    ("get", "/schedules/{schedule_id}/runs/{run_id}/events"): {"200", "204", "404", "422", "503"} | DENIED,
    ("post", "/schedules/{schedule_id}/runs/{run_id}/cancel"): {"200", "202", "404", "422", "503"} | DENIED,
    ("post", "/schedules/{schedule_id}/runs/{run_id}/continue"): {"200", "202", "404", "409", "413", "422", "503"}
    | DENIED,
    ("get", "/runs"): {"200", "422", "503"} | DENIED,
    ("get", "/runs/{run_id}"): {"200", "404", "422", "503"} | DENIED,
    ("post", "/schedules/by-name/{name}/trigger"): {"200", "202", "404", "409", "413", "422", "503"} | DENIED,
    ("post", "/schedules/{schedule_id}/runs/{run_id}/retry"): {"200", "202", "404", "409", "413", "422", "503"}
    | DENIED,
    ("get", "/schedules/{schedule_id}/why"): {"200", "404", "422", "503"} | DENIED,
    ("get", "/targets"): {"200", "422", "503"} | DENIED,
    ("get", "/targets/{name}/components"): {"200", "404", "422", "503"} | DENIED,
    ("get", "/workers"): {"200", "422", "503"} | DENIED,
    ("post", "/schedules/bulk/enable"): {"200", "413", "422", "503"} | DENIED,
    ("post", "/schedules/bulk/disable"): {"200", "413", "422", "503"} | DENIED,
    ("post", "/schedules/bulk/trigger"): {"200", "413", "422", "503"} | DENIED,
    ("post", "/schedules/bulk/delete"): {"200", "413", "422", "503"} | DENIED,
    ("post", "/runs/bulk/cancel"): {"200", "413", "422", "503"} | DENIED,
    ("post", "/runs/bulk/retry"): {"200", "413", "422", "503"} | DENIED,
    ("get", "/session"): {"200", "422", "503"} | DENIED,
    ("post", "/session"): {"200", "413", "422", "503"} | DENIED,
    ("delete", "/session"): {"204", "422", "503"} | DENIED,
    ("get", "/audit"): {"200", "409", "422", "503"} | DENIED,
    ("get", "/owners"): {"200", "409", "422", "503"} | DENIED,
    ("post", "/owners/{user_id}/revoke"): {"200", "409", "422", "503"} | DENIED,
    ("post", "/owners/{user_id}/restore"): {"200", "409", "422", "503"} | DENIED,
    ("get", "/webhooks"): {"200", "409", "422", "503"} | DENIED,
    ("post", "/webhooks/{name}/test"): {"200", "404", "422", "503"} | DENIED,
    ("get", "/webhooks/notices"): {"200", "409", "422", "503"} | DENIED,
    ("post", "/webhooks/notices/{notice_id}/retry"): {"200", "404", "409", "422", "503"} | DENIED,
    ("get", "/health"): {"200"},
    ("get", "/ready"): {"200", "503"},
    ("get", "/info"): {"200", "503"} | DENIED,
}


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


@pytest.fixture
async def client(here: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app_of(here)) as made:
        yield made


def lose_database(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise StoreUnavailable("password=hunter2")

    for method in ("health", "now", "workers"):
        monkeypatch.setattr(here.store, method, away)


async def test_health_asks_nobody(here: World, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_database(here, monkeypatch)
    response = await client.get("/health")
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "version": __version__, "tzdata_version": tzdata_version()}


async def test_ready_when_database_and_engine_are(client: httpx2.AsyncClient) -> None:
    response = await client.get("/ready")
    assert response.status_code == 200
    assert response.json() == {
        "status": "ready",
        "database": {"ok": True, "status": "ok", "detail": None},
        "engine": {"ok": True, "status": "running", "detail": "runs in this process"},
        "listener": {"ok": True, "status": "ok", "detail": None},
    }


async def test_not_ready_without_a_database(
    here: World, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_database(here, monkeypatch)
    here.engine = EngineState(status="starting")
    response = await client.get("/ready")
    assert response.status_code == 503
    assert (response.json()["status"], response.json()["database"]["ok"]) == ("not ready", False)
    assert "hunter2" not in response.text


async def test_not_ready_without_an_engine(here: World, client: httpx2.AsyncClient) -> None:
    here.engine = EngineState(status="stopped")
    response = await client.get("/ready")
    assert response.status_code == 503
    assert response.json()["engine"] == {"ok": False, "status": "stopped", "detail": "no engine executes runs"}
    here.engine = EngineState(status="running", trouble="planner: the disk is full")
    response = await client.get("/ready")
    assert response.status_code == 503
    assert response.json()["engine"]["detail"] == "planner: the disk is full"


async def test_a_process_that_stands_by_names_the_owner(here: World, client: httpx2.AsyncClient) -> None:
    here.engine = EngineState(status="standby", owner="clock-7:4711")
    response = await client.get("/ready")
    assert response.status_code == 200
    assert response.json()["engine"] == {"ok": True, "status": "standby", "detail": "runs in clock-7:4711"}


async def test_a_process_without_engine_finds_the_worker_in_the_database(
    here: World, client: httpx2.AsyncClient
) -> None:
    here.engine = EngineState(status="stopped")
    await here.store.acquire_engine(WORKER, 10)
    assert (await client.get("/ready")).json()["engine"]["detail"] == f"runs in {WORKER.name}"
    here.clock.advance(11)
    assert (await client.get("/ready")).status_code == 503


async def test_a_deaf_listener_is_told_but_ready(here: World, client: httpx2.AsyncClient) -> None:
    here.listener = "LISTEN is not possible through this pooler"
    response = await client.get("/ready")
    assert response.status_code == 200
    assert response.json()["listener"] == {"ok": False, "status": "polling", "detail": here.listener}


async def test_info_tells_versions_and_targets(client: httpx2.AsyncClient) -> None:
    info = (await client.get("/info")).json()
    assert (info["name"], info["version"], info["tzdata_version"]) == ("agentclock", __version__, tzdata_version())
    assert info["targets"] == ["default", "hooks"]
    assert info["database"].keys() == {
        "backend", "version", "schema_version", "latency_ms", "clock_difference_ms", "warnings",
    }  # fmt: skip
    assert info["database"]["backend"] == "sqlite"


async def test_openapi_documents_every_route_and_its_errors(client: httpx2.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    found = {
        (method, path): set(operation["responses"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert found == ROUTES
    assert (await client.get("/docs")).status_code == 200
    schemas = document["components"]["schemas"]
    draft = schemas["ScheduleDraft"]
    assert set(draft["required"]) == {"name", "endpoint"}
    assert draft["examples"][0]["cron_expr"]
    assert (draft["properties"]["timeout_seconds"]["maximum"], draft["properties"]["name"]["maxLength"]) == (
        86_400,
        255,
    )
    assert "required" not in schemas["SchedulePatch"]
    for operations in document["paths"].values():
        for operation in operations.values():
            assert operation["description"]
            fault = operation["responses"].get("422")
            assert fault is None or "Invalid" in str(fault["content"])


async def test_the_example_of_the_documentation_works(client: httpx2.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    example = document["components"]["schemas"]["ScheduleDraft"]["examples"][0]
    made = await client.post("/schedules", json=example)
    assert made.status_code == 201
    patch = document["components"]["schemas"]["SchedulePatch"]["examples"][0]
    assert (await client.patch(made.headers["location"], json=patch)).status_code == 200


async def test_the_routes_live_in_any_app(here: World) -> None:
    """Errors keep their shape under a prefix, in an app with handlers of its own."""

    async def teapot(*_: object) -> Response:
        return Response(status_code=418)

    host = FastAPI(exception_handlers={RequestValidationError: teapot, NotFound: teapot})
    host.include_router(build_router(here.scheduler, here.runs, here.hub, trigger_wait_seconds=0), prefix="/v1")
    outer = FastAPI()
    outer.mount("/os", host)
    async with client_of(outer) as client:
        made = await client.post("/os/v1/schedules", json=DRAFT)
        assert made.headers["location"] == f"/os/v1/schedules/{made.json()['id']}"
        assert (await client.get(made.headers["location"])).json() == made.json()
        run = await client.post(f"{made.headers['location']}/trigger")
        assert (await client.get(run.headers["location"])).json() == run.json()
        missing = await client.get("/os/v1/schedules/nonsense")
        assert (missing.status_code, missing.json()) == (404, {"detail": "Schedule not found"})
        wrong = await client.post("/os/v1/schedules", json={})
        assert (wrong.status_code, len(wrong.json()["detail"])) == (422, 2)
