"""Who may use our routes in an AgentOS: as with agno's own, and on the routes that agno does not know as well."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import agno.os
import httpx2
import pytest
from agno.db.base import SessionType
from agno.db.sqlite import SqliteDb
from agno.os.authz import Authorization
from agno.os.settings import AgnoAPISettings
from agno.os.utils import flatten_routes
from fastapi import FastAPI
from tests.agno_host import AT_ONCE, SECRET, as_user, bearer, client_of, created, greeter, living, triggered

from agentclock.agno import AgentOS, attach

INTERNAL = bearer("the internal token")
NEW_YEAR = {"from": "2025-12-31", "until": "2026-01-02"}
ADMIN = "agent_os:admin"
ONE, RUN = "/schedules/{schedule_id}", "/schedules/{schedule_id}/runs/{run_id}"

NOBODYS = {"runs": [{"schedule_id": "nobodys", "run_id": "nobodys"}]}
#: What each of our routes asks for, and a body for those that take one. DELETE comes last: it takes the row away.
TABLE: dict[tuple[str, str], tuple[set[str], Any]] = {
    ("GET", "/schedules"): ({"schedules:read"}, None),
    ("POST", "/schedules"): ({"schedules:write"}, AT_ONCE | {"name": "another"}),
    ("GET", "/schedules/preview"): ({"schedules:read"}, None),
    ("GET", "/schedules/events"): ({"schedules:read"}, None),
    ("GET", "/schedules/summary"): ({"schedules:read"}, None),
    ("GET", "/schedules/attention"): ({"schedules:read"}, None),
    ("GET", "/schedules/timeline"): ({"schedules:read"}, None),
    ("GET", "/schedules/statistics"): ({"schedules:read"}, None),
    ("GET", "/schedules/accounts"): ({"schedules:read"}, None),
    ("GET", f"{ONE}/statistics"): ({"schedules:read"}, None),
    ("GET", "/runs/failures"): ({"schedules:read"}, None),
    ("POST", "/schedules/apply"): ({"schedules:write"}, {"manager": "somebody", "schedules": []}),
    ("GET", ONE): ({"schedules:read"}, None),
    ("PATCH", ONE): ({"schedules:write"}, {"description": "changed"}),
    ("POST", f"{ONE}/enable"): ({"schedules:write"}, None),
    ("POST", f"{ONE}/disable"): ({"schedules:write"}, None),
    ("POST", f"{ONE}/trigger"): ({"schedules:write"}, None),
    ("POST", "/schedules/by-name/{name}/trigger"): ({"schedules:write"}, None),
    ("GET", f"{ONE}/backfills"): ({"schedules:read"}, None),
    ("POST", f"{ONE}/backfills"): ({"schedules:write"}, NEW_YEAR),
    ("POST", f"{ONE}/backfills/{{backfill_id}}/cancel"): ({"runs:cancel", "schedules:write"}, None),
    ("GET", f"{ONE}/accounting"): ({"schedules:read"}, None),
    ("GET", f"{ONE}/revisions"): ({"schedules:read"}, None),
    ("GET", f"{ONE}/usage"): ({"schedules:read"}, None),
    ("GET", f"{ONE}/why"): ({"schedules:read"}, None),
    ("GET", f"{ONE}/runs"): ({"schedules:read"}, None),
    ("GET", RUN): ({"schedules:read"}, None),
    ("GET", f"{RUN}/events"): ({"schedules:read"}, None),
    ("POST", f"{RUN}/cancel"): ({"runs:cancel", "schedules:write"}, None),
    ("POST", f"{RUN}/continue"): ({"runs:approve", "schedules:write"}, {"action": "approve"}),
    ("POST", f"{RUN}/retry"): ({"schedules:write"}, None),
    ("GET", "/targets"): ({"schedules:read"}, None),
    ("GET", "/targets/{name}/components"): ({"schedules:read"}, None),
    ("GET", "/workers"): ({"schedules:read"}, None),
    ("POST", "/schedules/bulk/enable"): ({"schedules:write"}, {"ids": ["nobodys"]}),
    ("POST", "/schedules/bulk/disable"): ({"schedules:write"}, {"ids": ["nobodys"]}),
    ("POST", "/schedules/bulk/trigger"): ({"schedules:write"}, {"ids": ["nobodys"]}),
    ("POST", "/schedules/bulk/delete"): ({"schedules:delete"}, {"ids": ["nobodys"]}),
    ("POST", "/runs/bulk/cancel"): ({"runs:cancel", "schedules:write"}, NOBODYS),
    ("POST", "/runs/bulk/retry"): ({"schedules:write"}, NOBODYS),
    ("GET", "/runs"): ({"schedules:read"}, None),
    ("GET", "/runs/{run_id}"): ({"schedules:read"}, None),
    ("GET", "/audit"): ({"schedules:read"}, None),
    ("GET", "/owners"): ({ADMIN}, None),
    ("POST", "/owners/{user_id}/revoke"): ({ADMIN}, None),
    ("POST", "/owners/{user_id}/restore"): ({ADMIN}, None),
    ("GET", "/webhooks"): ({ADMIN}, None),
    ("POST", "/webhooks/{name}/test"): ({ADMIN}, None),
    ("GET", "/webhooks/notices"): ({"schedules:read"}, None),
    ("POST", "/webhooks/notices/{notice_id}/retry"): ({"schedules:write"}, None),
    ("DELETE", ONE): ({"schedules:delete"}, None),
}
ALL_SCOPES = {scope for scopes, _ in TABLE.values() for scope in scopes} - {ADMIN}
DENIED = (401, 403)
#: What these are about is nowhere here: whoever is let in is told so.
ABSENT = {
    ("GET", "/targets/{name}/components"),
    ("POST", "/webhooks/{name}/test"),
    ("POST", "/webhooks/notices/{notice_id}/retry"),
}


@pytest.fixture
def db(tmp_path: Path) -> SqliteDb:
    return SqliteDb(db_file=str(tmp_path / "scheduler.db"))


def app_with(db: SqliteDb, kind: type[agno.os.AgentOS] = AgentOS, **options: Any) -> FastAPI:
    switch = {"scheduler": True} if kind is AgentOS else {}
    token = {"internal_service_token": "the internal token"}
    return kind(agents=[greeter()], db=db, telemetry=False, **token, **switch, **options).get_app()


def jwt_app(db: SqliteDb, kind: type[agno.os.AgentOS] = AgentOS) -> FastAPI:
    authorization = Authorization(verification_keys=[SECRET], algorithm="HS256")
    return app_with(db, kind, authorization=authorization, user_isolation=True)


async def prepared(client: httpx2.AsyncClient, headers: dict[str, str], name: str) -> dict[str, str]:
    """What stands for the names in the paths: a schedule of the caller with a run that is over, and a backfill."""
    client.headers = httpx2.Headers(headers)
    made = await created(client, name=name, cron_expr="0 0 1 1 *")
    run = await triggered(client, made["id"])
    answer = await client.post(f"/schedules/{made['id']}/backfills", json=NEW_YEAR)
    client.headers = httpx2.Headers()
    ids = {"schedule_id": made["id"], "run_id": run["id"], "backfill_id": answer.json()["backfill"]["id"]}
    return ids | {"name": name, "user_id": "somebody", "notice_id": "01a208a4-0000-8000-8000-000000000000"}


async def status_of(
    app: FastAPI, route: tuple[str, str], names: dict[str, str], headers: dict[str, str] | None = None
) -> int:
    """The status of the answer; the caller leaves as soon as it is there, since some streams never end."""
    method, path = route
    body = TABLE[route][1]
    request = httpx2.Request(method, "http://os.test" + path.format(**names), json=body, headers=headers)
    content, sent, begun = request.read(), asyncio.Event(), asyncio.get_running_loop().create_future()

    async def receive() -> dict[str, Any]:
        if not sent.is_set():
            sent.set()
            return {"type": "http.request", "body": content, "more_body": False}
        await begun
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start" and not begun.done():
            begun.set_result(message["status"])

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": request.url.path,
        "raw_path": request.url.raw_path,
        "query_string": b"cron_expr=@daily" if path.endswith("preview") else b"",
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 1),
        "server": ("os.test", 80),
        "state": {},
    }
    call = asyncio.create_task(app(scope, receive, send))
    await asyncio.wait([call, begun], return_when=asyncio.FIRST_COMPLETED)
    status: int = begun.result()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    return status


def is_let_in(route: tuple[str, str], status: int) -> bool:
    return status == 404 if route in ABSENT else status not in (*DENIED, 404) and status < 500


def test_the_table_has_all_of_our_routes(db: SqliteDb) -> None:
    routes = flatten_routes(app_with(db).routes)
    ours = {
        (method, route.path)
        for route in routes
        if getattr(getattr(route, "endpoint", None), "__module__", "").startswith("agentclock.")
        for method in route.methods
    }
    assert ours == TABLE.keys() | {(method, "/session") for method in ("GET", "POST", "DELETE")}


async def test_with_scopes_each_route_asks_for_its_own(db: SqliteDb) -> None:
    app = jwt_app(db)
    async with living(app) as client:
        bob = await prepared(client, as_user("bob", "schedules:write", "agents:run"), "of bob")
        for route, (scopes, _) in TABLE.items():
            assert await status_of(app, route, bob) == 401, route
            assert await status_of(app, route, bob, bearer("wrong")) == 401, route
            assert await status_of(app, route, bob, as_user("bob")) == 403, route
            assert await status_of(app, route, bob, as_user("bob", *ALL_SCOPES - scopes, "agents:run")) == 403, route
            internal = await status_of(app, route, bob, INTERNAL)
            assert is_let_in(route, internal) if scopes == {"schedules:read"} else internal == 403, (route, internal)


async def test_with_the_scope_each_route_lets_in(db: SqliteDb) -> None:
    app = jwt_app(db)
    async with living(app) as client:
        for number in (0, 1):
            name = f"user-{number}"
            row = await prepared(client, as_user(name, "schedules:write", "agents:run"), f"row {number}")
            for route, (scopes, _) in TABLE.items():
                # Where one of two scopes is enough, each user has another one.
                scope = sorted(scopes)[number % len(scopes)]
                status = await status_of(app, route, row, as_user(name, scope, "agents:greeter:run"))
                assert is_let_in(route, status), (route, scope, status)


async def test_rows_of_others_do_not_exist_but_for_admins(db: SqliteDb) -> None:
    app = jwt_app(db)
    eve, admin = as_user("eve", *ALL_SCOPES, "agents:run"), as_user("root", "agent_os:admin")
    async with living(app) as client:
        bob = await prepared(client, as_user("bob", "schedules:write", "agents:run"), "of bob")
        for route in TABLE:
            if "{" in route[1]:
                expected = 403 if TABLE[route][0] == {ADMIN} else 404
                assert await status_of(app, route, bob, eve) == expected, route
        for path in ("/schedules", "/runs"):
            assert (await client.get(path, headers=eve)).json()["data"] == []
            assert {row["user_id"] for row in (await client.get(path, headers=admin)).json()["data"]} == {"bob"}
        for route in TABLE:
            status = await status_of(app, route, bob, admin)
            assert is_let_in(route, status), (route, status)


async def test_the_contracts_routes_let_in_whom_agno_lets_in(db: SqliteDb, tmp_path: Path) -> None:
    ours = jwt_app(db)
    theirs = jwt_app(SqliteDb(db_file=str(tmp_path / "theirs.db")), agno.os.AgentOS)
    known = {(method, route.path) for route in flatten_routes(theirs.routes) for method in _methods(route)}
    credentials: dict[str, dict[str, str] | None] = {
        "none": None,
        "wrong": bearer("wrong"),
        "unknown account": bearer("agno_pat_nobody"),
        "internal": INTERNAL,
        "write without run": as_user("bob", "schedules:write"),
        "write and another run": as_user("bob", "schedules:write", "agents:other:run"),
        "write and run": as_user("bob", "schedules:write", "agents:greeter:run"),
        **{scope: as_user("bob", scope) for scope in (*ALL_SCOPES, "agents:run", "agent_os:admin")},
    }
    nobodys = {"schedule_id": "nobodys", "run_id": "nobodys"}
    async with living(ours), living(theirs):
        for route in TABLE.keys() & known:
            for name, headers in credentials.items():
                here = await status_of(ours, route, nobodys, headers)
                there = await status_of(theirs, route, nobodys, headers)
                assert here == there or (here not in DENIED and there not in DENIED), (route, name, here, there)


def _methods(route: Any) -> set[str]:
    return getattr(route, "methods", None) or set()


async def test_only_targets_that_the_caller_may_run_can_be_scheduled(db: SqliteDb) -> None:
    app = app_with_hooks(db)
    bob, admin = as_user("bob", "schedules:write", "agents:greeter:run"), as_user("root", "agent_os:admin")
    allowed = {"endpoint": "/agents/greeter/runs"}
    others = [
        {"endpoint": "/agents/other/runs"},
        {"endpoint": "/teams/greeter/runs"},
        {"endpoint": "/schedules", "method": "GET"},
        {"endpoint": "/agents/greeter/runs", "target": "hooks"},
    ]
    async with living(app) as client:
        made = (await client.post("/schedules", json=AT_ONCE | allowed, headers=bob)).json()
        for number, other in enumerate(others):
            draft = AT_ONCE | other | {"name": f"other {number}"}
            assert (await client.post("/schedules", json=draft, headers=bob)).status_code == 403, other
            patched = await client.patch(f"/schedules/{made['id']}", json=other, headers=bob)
            assert patched.status_code == 403, other
            assert (await client.post("/schedules", json=draft, headers=admin)).status_code == 201, other
        # What an admin made may not be run by those who could not have made it.
        lost = as_user("bob", "schedules:write")
        assert (await client.post(f"/schedules/{made['id']}/trigger", headers=lost)).status_code == 403
        assert (await client.post(f"/schedules/{made['id']}/enable", headers=lost)).status_code == 403


def app_with_hooks(db: SqliteDb) -> FastAPI:
    return AgentOS(
        agents=[greeter()],
        db=db,
        telemetry=False,
        authorization=Authorization(verification_keys=[SECRET], algorithm="HS256"),
        scheduler={"targets": {"hooks": {"base_url": "http://hooks.test", "kind": "agentos"}}},
    ).get_app()


async def test_a_run_is_its_owners_even_when_an_admin_asks_for_it(db: SqliteDb) -> None:
    app = jwt_app(db)
    bob, eve = as_user("bob", *ALL_SCOPES, "agents:run", "sessions:read"), as_user("eve", "sessions:read")
    payload = {"message": "mine?"}
    async with living(app) as client:
        made = (await client.post("/schedules", json=AT_ONCE | {"payload": payload}, headers=bob)).json()
        assert made["user_id"] == "bob"
        run = (await client.post(f"/schedules/{made['id']}/trigger", headers=as_user("root", "agent_os:admin"))).json()
        assert (run["status"], run["user_id"]) == ("success", "bob")
        session = f"/sessions/{run['session_id']}?type=agent"
        assert (await client.get(session, headers=bob)).status_code == 200
        assert (await client.get(session, headers=eve)).status_code == 404
    stored: Any = db.get_session(run["session_id"], SessionType.AGENT)
    assert stored.user_id == "bob"


@pytest.mark.parametrize("source", ["settings", "environment"])
async def test_with_a_security_key_every_route_wants_it(
    source: str, db: SqliteDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {}
    if source == "settings":
        options["settings"] = AgnoAPISettings(os_security_key="the key")
    else:
        monkeypatch.setenv("OS_SECURITY_KEY", "the key")
    app = app_with(db, **options)
    async with living(app) as client:
        row = await prepared(client, bearer("the key"), "keyed")
        for route, (scopes, _) in TABLE.items():
            assert await status_of(app, route, row) == 401, route
            assert await status_of(app, route, row, bearer("wrong")) == 401, route
            internal = await status_of(app, route, row, INTERNAL)
            assert is_let_in(route, internal) if scopes == {"schedules:read"} else internal == 403, (route, internal)
        for route in TABLE:
            status = await status_of(app, route, row, bearer("the key"))
            assert is_let_in(route, status), (route, status)
        assert (await client.get("/health")).status_code == 200


async def test_without_authentication_everybody_may_do_everything(db: SqliteDb) -> None:
    app = app_with(db)
    async with living(app) as client:
        row = await prepared(client, {}, "open")
        for route in TABLE:
            status = await status_of(app, route, row)
            assert is_let_in(route, status), (route, status)


async def test_service_accounts_have_their_own_rows_and_no_more_than_their_scopes(db: SqliteDb) -> None:
    app = app_with(db, settings=AgnoAPISettings(os_security_key="the key"))
    async with living(app) as client:
        accounts = {}
        for name, scopes in {
            "reader": ["schedules:read"],
            "writer": ["schedules:read", "schedules:write", "agents:run"],
        }.items():
            wish = {"name": name, "scopes": [{"scope": one} for one in scopes], "allow_privileged_scopes": True}
            answer = await client.post("/service-accounts", json=wish, headers=bearer("the key"))
            assert answer.status_code == 201, answer.text
            accounts[name] = bearer(answer.json()["token"])
        row = await prepared(client, accounts["writer"], "of an account")
        listed = (await client.get("/schedules", headers=accounts["writer"])).json()["data"]
        assert [one["user_id"] for one in listed] == ["sa:writer"]
        assert (await client.get("/schedules", headers=accounts["reader"])).json()["data"] == []
        assert await status_of(app, ("GET", ONE), row, accounts["reader"]) == 404
        assert await status_of(app, ("POST", f"{RUN}/cancel"), row, accounts["reader"]) == 403
        assert await status_of(app, ("DELETE", ONE), row, accounts["writer"]) == 403


async def test_an_app_of_agno_that_is_attached_to_is_guarded_the_same(db: SqliteDb) -> None:
    app = attach(jwt_app(db, agno.os.AgentOS), db)
    async with living(app) as client:
        bob = await prepared(client, as_user("bob", "schedules:write", "agents:run"), "of bob")
        for route in TABLE:
            assert await status_of(app, route, bob) == 401, route
            assert await status_of(app, route, bob, as_user("bob")) == 403, route
    async with client_of(app) as stranger:
        assert (await stranger.get("/health")).status_code == 200
