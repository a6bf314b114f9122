"""Who may do what: every route asks its guard before it does anything, and shows callers their own rows only."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, HTTPException, Request
from tests.apis import DRAFT, PAUSED, World, app_of, client_of, world
from tests.route_table import SESSION, TABLE

from agentclock.api import Caller, Permission
from agentclock.api.auth import SCOPES
from agentclock.core.errors import Forbidden, Unauthenticated
from agentclock.core.model import Target

PERMISSIONS = {scopes: permission for permission, scopes in SCOPES.items()}
#: Metrics are on a router of their own.
ASKED_FOR = {(row.method, row.path): PERMISSIONS[row.scopes] for row in TABLE if row.scopes and row.path != "/metrics"}
#: Whether the process lives is no secret, and everybody may try to log in.
OPEN_TO_ALL = {("GET", "/health"), ("GET", "/ready"), *((row.method, row.path) for row in SESSION)}


@dataclass(slots=True)
class FakeGuard:
    """Lets everybody in as `caller`, unless `refusal` is set. Remembers what it was asked."""

    caller: Caller = field(default_factory=Caller)
    refusal: Exception | None = None
    uncallable: frozenset[str] = frozenset()
    asked: list[Permission] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    async def admit(self, request: Request, permission: Permission) -> Caller:
        self.asked.append(permission)
        if self.refusal is not None:
            raise self.refusal
        return self.caller

    async def may_call(self, request: Request, target: Target) -> None:
        self.targets.append(target)
        if target.endpoint in self.uncallable:
            raise Forbidden(f"You may not have {target.endpoint} called")


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


@pytest.fixture
def guard() -> FakeGuard:
    return FakeGuard()


@pytest.fixture
def app(here: World, guard: FakeGuard) -> FastAPI:
    return app_of(here, guard=guard)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app) as made:
        yield made


def operations(app: FastAPI) -> Iterator[tuple[str, str]]:
    """All routes that the app tells of."""
    for path, methods in app.openapi()["paths"].items():
        for method in methods:
            yield method.upper(), path


async def paused(here: World, user_id: str | None = None) -> tuple[str, str]:
    schedule = await here.scheduler.create(DRAFT | {"name": f"of {user_id or 'nobody'}"}, user_id=user_id)
    detail = await here.scheduler.trigger(schedule.id)
    await here.execute(PAUSED)
    return schedule.id, detail.run.id


def url_of(path: str, schedule_id: str, run_id: str) -> str:
    names = {"schedule_id": schedule_id, "run_id": run_id, "backfill_id": run_id, "notice_id": run_id}
    return path.format(**names, name="of bob", user_id="bob")


BODIES: dict[str, Any] = {"POST /schedules": DRAFT, "PATCH": {"endpoint": "/hook"}, "continue": {"action": "approve"}}
BODIES["backfills"] = {"from": "2025-12-01", "until": "2025-12-31"}


def body_of(method: str, path: str) -> Any:
    return BODIES.get(f"{method} {path}") or BODIES.get(method) or BODIES.get(path.rpartition("/")[2])


async def test_every_route_has_its_permission(app: FastAPI) -> None:
    assert set(operations(app)) == ASKED_FOR.keys() | OPEN_TO_ALL


@pytest.mark.parametrize("refusal", [Unauthenticated("Authentication required"), Forbidden("Insufficient permissions")])
async def test_every_route_asks_before_it_does_anything(
    here: World, app: FastAPI, client: httpx2.AsyncClient, guard: FakeGuard, refusal: Exception
) -> None:
    schedule_id, run_id = await paused(here)
    before = (await here.scheduler.get(schedule_id), await here.runs.get(schedule_id, run_id))
    guard.refusal = refusal
    for method, path in operations(app):
        if (method, path) in OPEN_TO_ALL:
            assert (await client.request(method, path)).status_code in (200, 204, 422)
            continue
        guard.asked.clear()
        # What is wrong with a request is nobody's business who may not make it.
        for body in (body_of(method, path), {"nonsense": True} if method in ("POST", "PATCH") else None):
            response = await client.request(method, url_of(path, schedule_id, run_id), json=body)
            status = 401 if isinstance(refusal, Unauthenticated) else 403
            assert (response.status_code, response.json()) == (status, {"detail": str(refusal)}), (method, path)
            assert response.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)
        assert guard.asked == [ASKED_FOR[method, path]] * 2, (method, path)
    guard.refusal = None
    assert (await here.scheduler.get(schedule_id), await here.runs.get(schedule_id, run_id)) == before
    assert (await here.scheduler.list()).total_count == 1


async def test_what_a_guard_raises_for_the_host_passes_through(client: httpx2.AsyncClient, guard: FakeGuard) -> None:
    guard.refusal = HTTPException(418, detail={"kind": "teapot"}, headers={"X-Pot": "tea"})
    response = await client.get("/schedules")
    assert (response.status_code, response.json()) == (418, {"detail": {"kind": "teapot"}})
    assert response.headers["x-pot"] == "tea"


async def test_a_refusal_comes_before_the_body_is_read(client: httpx2.AsyncClient, guard: FakeGuard) -> None:
    guard.refusal = Unauthenticated("Authentication required")
    response = await client.post("/schedules", content=b"{" * 10_000_000)
    assert response.status_code == 401


async def test_a_confined_caller_finds_nothing_of_others(
    here: World, app: FastAPI, client: httpx2.AsyncClient, guard: FakeGuard
) -> None:
    guard.caller = Caller(user_id="ada", owner="ada", name="Ada")
    schedule_id, run_id = await paused(here, "bob")
    own_id, _ = await paused(here, "ada")
    for method, path in operations(app):
        if "{" in path and ASKED_FOR[method, path] is not Permission.ADMIN:
            response = await client.request(method, url_of(path, schedule_id, run_id), json=body_of(method, path))
            assert response.status_code == 404, (method, path, response.text)
    assert [row["id"] for row in (await client.get("/schedules")).json()["data"]] == [own_id]
    assert [row["schedule_id"] for row in (await client.get("/runs")).json()["data"]] == [own_id]
    assert (await here.scheduler.get(schedule_id)).enabled
    assert (await here.runs.get(schedule_id, run_id)).run.status == "paused"


async def test_new_schedules_belong_to_their_owner_and_deeds_to_their_doer(
    here: World, client: httpx2.AsyncClient, guard: FakeGuard
) -> None:
    guard.caller = Caller(owner="ada", name="Ada")
    made = (await client.post("/schedules", json=DRAFT)).json()
    assert made["user_id"] == "ada"
    one = f"/schedules/{made['id']}"
    run = (await client.post(f"{one}/trigger")).json()
    assert (await client.post(f"{one}/runs/{run['id']}/cancel")).json()["error"] == "cancelled by Ada"
    run = (await client.post(f"{one}/trigger")).json()
    await here.execute(PAUSED)
    await client.post(f"{one}/runs/{run['id']}/continue", json={"action": "approve"})
    instruction = (await here.claim()).run.instruction
    assert (instruction and instruction.by) == "Ada"


async def test_whoever_may_not_call_a_target_may_not_have_it_called(
    here: World, client: httpx2.AsyncClient, guard: FakeGuard
) -> None:
    guard.uncallable = frozenset({"/hook"})
    refused = await client.post("/schedules", json=DRAFT | {"endpoint": "/hook"})
    assert (refused.status_code, refused.json()) == (403, {"detail": "You may not have /hook called"})
    made = (await client.post("/schedules", json=DRAFT)).json()
    one = f"/schedules/{made['id']}"
    assert (await client.patch(one, json={"endpoint": "/hook"})).status_code == 403
    assert (await here.scheduler.get(made["id"])).target.endpoint == DRAFT["endpoint"]
    hook = await here.create(name="hook", endpoint="/hook")
    assert (await client.post(f"/schedules/{hook}/trigger")).status_code == 403
    assert (await here.scheduler.runs(hook)).total_count == 0


@pytest.mark.parametrize(
    ("patch", "is_asked"),
    [
        ({"payload": {"message": "other"}}, True),
        ({"method": "PUT"}, True),
        ({"target": "hooks"}, True),
        ({"endpoint": "/teams/crew/runs", "name": "x"}, True),
        ({"endpoint": DRAFT["endpoint"], "method": "post"}, False),
        ({"name": "other", "cron_expr": "@daily"}, False),
        ({}, False),
    ],
)
async def test_a_change_of_what_is_called_is_asked_for(
    here: World, client: httpx2.AsyncClient, guard: FakeGuard, patch: dict[str, Any], is_asked: bool
) -> None:
    one = f"/schedules/{await here.create()}"
    changed = (await client.patch(one, json=patch)).json()
    asked = [(target.name, target.method, target.endpoint, target.payload) for target in guard.targets]
    now = (changed["target"], changed["method"], changed["endpoint"], changed["payload"])
    assert asked == ([now] if is_asked else [])


async def test_what_was_allowed_is_what_is_written(
    here: World, client: httpx2.AsyncClient, guard: FakeGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody points the schedule elsewhere between the question and the change."""
    schedule_id = await here.create()
    ask = guard.may_call

    async def meanwhile(request: Request, target: Target) -> None:
        await ask(request, target)
        await here.scheduler.change(schedule_id, {"endpoint": "/hook"})

    monkeypatch.setattr(FakeGuard, "may_call", lambda _, request, target: meanwhile(request, target))
    response = await client.patch(f"/schedules/{schedule_id}", json={"payload": {"message": "other"}})
    assert response.status_code == 409
    assert (await here.scheduler.get(schedule_id)).target.payload is None


def test_routes_of_one_schedule_come_after_those_with_names() -> None:
    paths = [path for _, path in ASKED_FOR]
    named = [path for path in paths if re.fullmatch(r"/schedules/[a-z]+", path)]
    assert all(paths.index(path) < paths.index("/schedules/{schedule_id}") for path in named)
