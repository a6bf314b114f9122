"""Our routes among those of a host. Uses nothing but FastAPI, so that it can be tried with any release of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from agentclock.embed.routes import Annex, BesideAnnex, Frontage, put_in_front


class Draft(BaseModel):
    name: str


class Made(BaseModel):
    made: str


def our_router() -> APIRouter:
    router = APIRouter(tags=["Schedules"])

    @router.get("/schedules")
    async def list_schedules() -> list[str]:
        return ["ours"]

    @router.post("/schedules", status_code=201)
    async def create_schedule(draft: Draft) -> Made:
        return Made(made=draft.name)

    @router.get("/schedules/{schedule_id}")
    async def get_schedule(schedule_id: str) -> str:
        return f"ours {schedule_id}"

    return router


def their_router() -> APIRouter:
    router = APIRouter(tags=["Theirs"])

    @router.get("/schedules")
    async def list_schedules() -> str:
        return "theirs"

    @router.get("/other")
    async def other() -> str:
        return "theirs"

    return router


async def catch_all(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("caught", status_code=418, headers={"x-path": scope["path"]})(scope, receive, send)


class Served:
    """A host as it is served: with the layer's part in routing, but without a clockwork."""

    def __init__(self, app: ASGIApp, frontage: Frontage) -> None:
        self._app = app
        self._frontage = frontage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope if scope["type"] == "lifespan" else self._frontage.prepared(scope), receive, send)


def client_of(app: ASGIApp, frontage: Frontage, **options: Any) -> TestClient:
    return TestClient(Served(app, frontage), **options)


def fastapi_host(**options: Any) -> FastAPI:
    app = FastAPI(**options)
    app.include_router(their_router())
    app.mount("/", catch_all)
    return app


def starlette_host() -> Starlette:
    return Starlette(routes=[Route("/schedules", lambda _: PlainTextResponse("theirs")), Mount("/", catch_all)])


def bare_host() -> tuple[ASGIApp, Frontage]:
    router = our_router()
    return BesideAnnex(catch_all, Annex(router, "")), Frontage(None, [], router, "")


def in_front(app: Starlette, prefix: str = "") -> tuple[ASGIApp, Frontage]:
    return app, put_in_front(app, our_router(), prefix=prefix)


HOSTS: dict[str, Callable[[], tuple[ASGIApp, Frontage]]] = {
    "fastapi": lambda: in_front(fastapi_host()),
    "starlette": lambda: in_front(starlette_host()),
    "bare": bare_host,
}


@pytest.mark.parametrize("kind", HOSTS)
def test_ours_win_and_the_rest_stays(kind: str) -> None:
    client = client_of(*HOSTS[kind]())
    assert client.get("/schedules").json() == ["ours"]
    assert client.get("/schedules/7").json() == "ours 7"
    assert client.post("/schedules", json={"name": "n"}).json() == {"made": "n"}
    assert client.post("/schedules", json={}).status_code == 422
    assert client.get("/elsewhere").text == "caught"


@pytest.mark.parametrize("kind", HOSTS)
def test_a_trailing_slash_is_no_other_path(kind: str) -> None:
    client = client_of(*HOSTS[kind](), follow_redirects=False)
    assert client.get("/schedules/").json() == ["ours"]
    assert client.get("/schedules/7/").json() == "ours 7"
    for path in ("/elsewhere/", "/schedules/7/more/"):
        caught = client.get(path)
        assert (caught.text, caught.headers["x-path"]) == ("caught", path)


@pytest.mark.parametrize("make", [fastapi_host, starlette_host])
def test_a_prefix(make: Callable[[], Starlette]) -> None:
    client = client_of(*in_front(make(), "/clock"))
    assert client.get("/clock/schedules").json() == ["ours"]
    assert client.get("/clock/schedules/").json() == ["ours"]
    assert "theirs" in client.get("/schedules").text


def test_under_the_path_of_a_proxy() -> None:
    client = client_of(*in_front(fastapi_host()), root_path="/proxied")
    assert client.get("/proxied/schedules/7/").json() == "ours 7"


@pytest.mark.parametrize("makes_new_list", [True, False])
def test_hosts_that_build_their_routes_again(makes_new_list: bool) -> None:
    app = fastapi_host()
    frontage = put_in_front(app, our_router(), prefix="")
    client = client_of(app, frontage)
    assert client.get("/schedules").json() == ["ours"]
    if makes_new_list:
        app.router.routes = [route for route in app.router.routes if getattr(route, "path", "") == "/docs"]
    else:
        app.router.routes.clear()
    app.include_router(their_router())
    app.mount("/", catch_all)
    assert client.get("/schedules").json() == ["ours"]
    assert client.get("/other").json() == "theirs"
    assert client.get("/elsewhere").text == "caught"
    before = len(app.router.routes)
    assert client.get("/schedules").json() == ["ours"]
    assert len(app.router.routes) == before


@pytest.mark.filterwarnings("ignore:Duplicate Operation ID")
def test_the_documentation_of_a_fastapi_host_describes_ours() -> None:
    app, frontage = in_front(fastapi_host())
    described = client_of(app, frontage).get("/openapi.json").json()
    paths = described["paths"]
    assert paths["/schedules"]["get"]["tags"] == ["Schedules"]
    assert set(paths["/schedules"]) == {"get", "post"}
    assert "Draft" in described["components"]["schemas"]
    assert "/other" in paths
    assert client_of(app, frontage).get("/schedules").json() == ["ours"]


def test_the_rules_of_the_whole_host_hold_for_ours() -> None:
    def nobody() -> None:
        raise HTTPException(403, "the host says no")

    client = client_of(*in_front(fastapi_host(dependencies=[Depends(nobody)])))
    assert (client.get("/schedules").status_code, client.get("/elsewhere").status_code) == (403, 418)


def test_routes_know_no_name_of_an_annex() -> None:
    app, _ = in_front(starlette_host())
    assert isinstance(app, Starlette)
    app.add_route("/named/{x}", lambda _: PlainTextResponse(""), name="named")
    assert app.url_path_for("named", x=1) == "/named/1"


def test_what_the_host_has_beside_schedules_stays_its_own() -> None:
    def both(theirs: FastAPI, prefix: str = "") -> tuple[Any, Any]:
        router = our_router()

        @router.get("/other")
        async def other() -> str:
            return "ours"

        @router.post("/other")
        async def post_other() -> str:
            return "ours"

        put_in_front(theirs, router, prefix=prefix)
        client = TestClient(theirs)
        return client.get(f"{prefix}/other").json(), client.post(f"{prefix}/other").json()

    app = FastAPI()
    app.include_router(their_router())
    assert both(app) == ("theirs", "ours")
    assert TestClient(app).get("/schedules").json() == ["ours"]
    elsewhere = FastAPI()
    elsewhere.include_router(their_router())
    assert both(elsewhere, "/clock") == ("ours", "ours")
