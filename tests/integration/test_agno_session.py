"""Browsers that log in to an AgentOS: its own middleware decides about the token, our cookie brings it along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import agno.os
import httpx2
import pytest
from agno.db.sqlite import SqliteDb
from agno.os.auth import create_dev_token
from agno.os.authz import Authorization
from agno.os.middleware import JWTMiddleware
from agno.os.settings import AgnoAPISettings
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from tests.agno_host import AT_ONCE, SECRET, client_of, greeter, living
from tests.integration.test_api_session import EVERYTHING, NAME, OWN, attributes, logged_in
from tests.streams import stream

from agentclock.agno import AgentOS, attach
from agentclock.api.auth import Caller, Permission
from agentclock.core.errors import Forbidden, Unauthenticated
from agentclock.embed import attach as attach_to_any

KEY = "the-key-of-this-AgentOS"
STRANGER = {"mode": "host", "authenticated": False, "name": None, "user_id": None, "may": [], "cookie": False}

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def db(tmp_path: Path) -> SqliteDb:
    return SqliteDb(db_file=str(tmp_path / "scheduler.db"))


def app_with(db: SqliteDb, **options: Any) -> FastAPI:
    token = {"internal_service_token": "the internal token"}
    return AgentOS(agents=[greeter()], db=db, telemetry=False, scheduler=True, **token, **options).get_app()


def key_app(db: SqliteDb) -> FastAPI:
    return app_with(db, settings=AgnoAPISettings(os_security_key=KEY))


def jwt_app(db: SqliteDb) -> FastAPI:
    authorization = Authorization(verification_keys=[SECRET], algorithm="HS256")
    return app_with(db, authorization=authorization, user_isolation=True)


def token_of(name: str, *scopes: str) -> str:
    return create_dev_token(name, secret=SECRET, scopes=list(scopes))


def picked(answer: httpx2.Response) -> dict[str, Any]:
    said: dict[str, Any] = answer.json()
    return {name: said[name] for name in STRANGER}


async def test_with_a_key(db: SqliteDb) -> None:
    app = key_app(db)
    async with living(app) as client:
        assert picked(await client.get("/session")) == STRANGER
        wrong = await client.post("/session", json={"token": "wrong"}, headers=OWN)
        assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
        cookie = {"Cookie": await logged_in(client, KEY)} | OWN
        said = await client.get("/session", headers=cookie)
        assert picked(said) == {
            "mode": "host",
            "authenticated": True,
            "name": "security key",
            "user_id": None,
            "may": EVERYTHING,
            "cookie": True,
        }
        assert (await client.post("/schedules", json=AT_ONCE, headers=cookie)).status_code == 201
        async with stream(app, "/schedules/events", cookie) as watched:
            assert watched.status == 200
        goodbye = await client.delete("/session", headers=OWN)
        assert (goodbye.status_code, attributes(goodbye)["Max-Age"]) == (204, "0")


async def test_with_tokens_and_their_scopes(db: SqliteDb) -> None:
    async with living(jwt_app(db)) as client:
        assert picked(await client.get("/session")) == STRANGER
        answer = await client.post("/session", json={"token": token_of("bob", "schedules:read")}, headers=OWN)
        assert int(attributes(answer)["Max-Age"]) <= 12 * 3_600
        assert picked(answer) == {
            "mode": "host",
            "authenticated": True,
            "name": "bob",
            "user_id": "bob",
            "may": ["schedules:read"],
            "cookie": True,
        }
        assert answer.json()["expires_at"] is not None
        client.cookies.clear()
        reads = {"Cookie": await logged_in(client, token_of("bob", "schedules:read"))} | OWN
        writes = {"Cookie": await logged_in(client, token_of("bob", "schedules:write", "agents:run"))} | OWN
        rules = {"Cookie": await logged_in(client, token_of("root", "agent_os:admin"))} | OWN
        assert (await client.get("/schedules", headers=reads)).status_code == 200
        assert (await client.post("/schedules", json=AT_ONCE, headers=reads)).status_code == 403
        made = await client.post("/schedules", json=AT_ONCE, headers=writes)
        assert (made.status_code, made.json()["user_id"]) == (201, "bob")
        assert (await client.get("/session", headers=rules)).json()["may"] == EVERYTHING
        assert (await client.get("/owners", headers=rules)).status_code == 200


async def test_the_page_to_log_in_at_is_there_for_strangers(db: SqliteDb) -> None:
    async with living(jwt_app(db)) as client:
        page = await client.get("/scheduler")
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert (await client.get("/scheduler/assets/1/none.js")).status_code == 404
        assert (await client.post("/scheduler")).status_code == 401


async def test_the_cookie_opens_no_route_of_agnos(db: SqliteDb) -> None:
    async with living(key_app(db)) as client:
        cookie = {"Cookie": await logged_in(client, KEY)} | OWN
        assert (await client.get("/schedules", headers=cookie)).status_code == 200
        for path in ("/agents", "/sessions", "/config", "/agents/greeter"):
            assert (await client.get(path, headers=cookie)).status_code == 401, path
        run = await client.post("/agents/greeter/runs", data={"message": "hi"}, headers=cookie)
        assert run.status_code == 401


async def test_pages_of_other_sites_have_no_part_in_it(db: SqliteDb) -> None:
    async with living(key_app(db)) as client:
        cookie = {"Cookie": await logged_in(client, KEY)}
        for page in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://os.agno.com"}, {"Origin": "null"}):
            assert (await client.get("/schedules", headers=cookie | page)).status_code == 401
            assert (await client.post("/schedules", json=AT_ONCE, headers=cookie | page)).status_code == 401
            login = await client.post("/session", json={"token": KEY}, headers=page)
            assert (login.status_code, "set-cookie" in login.headers) == (403, False)
        assert (await client.post("/schedules", json=AT_ONCE, headers=cookie)).status_code == 401


async def test_a_cookie_that_agno_refuses_is_taken_back(db: SqliteDb) -> None:
    async with living(jwt_app(db)) as client:
        for value in ("of-another-key", token_of("bob", "schedules:read") + "x"):
            for path in ("/schedules", "/session"):
                answer = await client.get(path, headers={"Cookie": f"{NAME}={value}"} | OWN)
                assert (answer.status_code, attributes(answer)["Max-Age"]) == (401, "0")


async def test_middleware_that_comes_later_sees_the_token_as_well(db: SqliteDb) -> None:
    app = agno.os.AgentOS(agents=[greeter()], db=db, telemetry=False).get_app()
    attach(app, db)
    app.add_middleware(JWTMiddleware, verification_keys=[SECRET], algorithm="HS256", authorization=True)
    async with living(app) as client:
        assert (await client.get("/schedules")).status_code == 401
        cookie = {"Cookie": await logged_in(client, token_of("bob", "schedules:read"))} | OWN
        assert (await client.get("/schedules", headers=cookie)).status_code == 200


async def test_an_open_agentos_has_no_login(db: SqliteDb) -> None:
    async with living(app_with(db)) as client:
        said = await client.get("/session")
        assert (said.json()["mode"], said.json()["authenticated"], said.json()["may"]) == ("open", True, EVERYTHING)


class TeamGuard:
    """A guard of somebody who knows nothing of sessions."""

    async def admit(self, request: Any, permission: Permission) -> Caller:
        given = request.headers.get("authorization")
        if given != "Bearer sesame":
            raise Unauthenticated("who are you?")
        if permission is Permission.ADMIN:
            raise Forbidden("nobody is")
        return Caller(name="ada", owner="team")

    async def may_call(self, request: Any, target: Any) -> None: ...


@pytest.mark.parametrize("prefix", ["", "/clock"])
async def test_any_app_with_any_guard(tmp_path: Path, prefix: str) -> None:
    async def hello(_: Any) -> PlainTextResponse:
        return PlainTextResponse("hello")

    host = Starlette(routes=[Route("/runs", hello, methods=["POST"])])
    attach_to_any(host, str(tmp_path / "clock.db"), guard=TeamGuard(), prefix=prefix)
    outer = Starlette(routes=[Mount("/team", host)])
    async with client_of(outer) as client:
        home = f"/team{prefix}"
        assert picked(await client.get(f"{home}/session")) == STRANGER
        assert (await client.post(f"{home}/session", json={"token": "wrong"})).status_code == 401
        answer = await client.post(f"{home}/session/", json={"token": "sesame"}, headers=OWN)
        assert attributes(answer)["Path"] == home
        said = picked(answer)
        assert (said["name"], said["user_id"], said["may"]) == ("ada", "team", EVERYTHING[:-1])
        assert (await client.get(f"{home}/schedules", headers=OWN)).status_code == 200
        assert (await client.delete(f"{home}/session", headers=OWN)).status_code == 204
        assert (await client.get(f"{home}/schedules", headers=OWN)).status_code == 401
