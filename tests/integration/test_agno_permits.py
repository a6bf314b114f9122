"""For whom an AgentOS still runs what was scheduled: its own rules, asked at each fire, and those of agentclock."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import agno.os
import httpx2
import pytest
from agno.db.sqlite import SqliteDb
from agno.os.auth import create_dev_token
from agno.os.authz import Authorization, AuthorizationContext, UserDirectory
from agno.os.authz.scope_provider import ScopeAuthorizationProvider
from agno.os.settings import AgnoAPISettings
from agno.run.authorization import RunAuthorization, authorization_scope
from fastapi import FastAPI
from tests.agno_host import AT_ONCE, SECRET, as_user, bearer, created, greeter, living

from agentclock.agno import AgentOS, attach
from agentclock.agno.adapter import ScheduleDb
from agentclock.app import Clockwork, make_store
from agentclock.config import Settings
from agentclock.core.actors import Actor
from agentclock.core.errors import ConfigError, Forbidden, InvalidField
from agentclock.engine.clock import SystemClock
from agentclock.owners import Owners

ROOT = as_user("root", "agent_os:admin")
MAY_ALL = ("schedules:read", "schedules:write", "agents:greeter:run")
ON_TOKENS: dict[str, Any] = {"verification_keys": [SECRET], "algorithm": "HS256"}


@pytest.fixture
def db(tmp_path: Path) -> SqliteDb:
    return SqliteDb(db_file=str(tmp_path / "scheduler.db"))


def app_with(db: SqliteDb, **options: Any) -> FastAPI:
    agents = [greeter(db=db), greeter("other", db=db)]
    return AgentOS(agents=agents, db=db, telemetry=False, scheduler=True, **options).get_app()


def on_scopes(db: SqliteDb, **options: Any) -> FastAPI:
    return app_with(db, authorization=Authorization(**ON_TOKENS), user_isolation=True, **options)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FastAPI]:
    """An app on scopes, made once since that takes longest, and the folder of its databases."""
    folder = tmp_path_factory.mktemp("kept")
    return folder, on_scopes(SqliteDb(db_file=str(folder / "scheduler.db")))


@pytest.fixture
def scoped(kept: tuple[Path, FastAPI]) -> Iterator[FastAPI]:
    """That app, before a life in which it has neither schedules nor owners."""
    folder, app = kept
    yield app
    for file in folder.glob("scheduler.agentclock.db*"):
        file.unlink()


async def made_by(client: httpx2.AsyncClient, headers: dict[str, str], **draft: Any) -> dict[str, Any]:
    client.headers = httpx2.Headers(headers)
    made = await created(client, **draft)
    client.headers = httpx2.Headers()
    return made


async def run_of(client: httpx2.AsyncClient, schedule_id: str, headers: dict[str, str] = ROOT) -> dict[str, Any]:
    answer = await client.post(f"/schedules/{schedule_id}/trigger?wait=60", headers=headers)
    assert answer.status_code == 200, answer.text
    run: dict[str, Any] = answer.json()
    return run


async def assert_refused(client: httpx2.AsyncClient, schedule_id: str, *words: str, by: dict[str, str] = ROOT) -> None:
    """The schedule's run ends as failed, with these words and without having begun, and the schedule with it."""
    run = await run_of(client, schedule_id, by)
    assert (run["status"], run["run_id"]) == ("failed", None)
    for word in words:
        assert word in run["error"]
    schedule = (await client.get(f"/schedules/{schedule_id}", headers=by)).json()
    assert (schedule["enabled"], schedule["disabled_reason"]) == (False, run["error"])


# scopes in tokens


async def test_by_scopes_the_newest_token_counts(scoped: FastAPI) -> None:
    async with living(scoped) as client:
        made = await made_by(client, as_user("bob", *MAY_ALL))
        assert (await run_of(client, made["id"]))["status"] == "success"
        await client.get("/schedules", headers=as_user("bob", "schedules:read", "schedules:write", "agents:other:run"))
        await assert_refused(client, made["id"], "'bob'", "agents:greeter:run")
        enabled = await client.post(f"/schedules/{made['id']}/enable", headers=as_user("bob", *MAY_ALL))
        assert enabled.status_code == 200
        assert (await run_of(client, made["id"]))["status"] == "success"


async def test_whoever_was_revoked_has_nothing_run_whatever_agno_says(scoped: FastAPI) -> None:
    async with living(scoped) as client:
        made = await made_by(client, as_user("bob", *MAY_ALL))
        assert (await client.post("/owners/bob/revoke", headers=as_user("bob", *MAY_ALL))).status_code == 403
        revoked = await client.post("/owners/bob/revoke", headers=ROOT)
        assert (revoked.status_code, revoked.json()["revoked_by"]) == (200, "root")
        await client.post(f"/schedules/{made['id']}/enable", headers=as_user("bob", *MAY_ALL))
        await assert_refused(client, made["id"], "'bob' was revoked by root")


async def test_what_only_admins_may_schedule_runs_for_admins_only(scoped: FastAPI) -> None:
    async with living(scoped) as client:
        made = await made_by(client, ROOT, endpoint="/agents", method="GET", payload=None)
        assert (await run_of(client, made["id"]))["status"] == "success"
        await client.get("/schedules", headers=as_user("root", *MAY_ALL))
        admin = as_user("other-root", "agent_os:admin")
        await assert_refused(client, made["id"], "'root'", "agent_os:admin", by=admin)


async def test_of_whom_no_token_was_seen_agnos_decision_stands(scoped: FastAPI) -> None:
    """An AgentOS that had schedules before it had agentclock: agno checked them when they were made."""
    async with living(scoped) as client:
        clockwork: Clockwork = scoped.state.agentclock
        made = await clockwork.scheduler.create(AT_ONCE, user_id="bob")
        assert (await run_of(client, made.id))["status"] == "success"


async def test_a_service_account_counts_by_its_scopes(db: SqliteDb) -> None:
    app = app_with(db, settings=AgnoAPISettings(os_security_key="the key"))
    key = bearer("the key")
    async with living(app) as client:
        wish = {"name": "clock", "scopes": [{"scope": one} for one in MAY_ALL], "allow_privileged_scopes": True}
        account = (await client.post("/service-accounts", json=wish, headers=key)).json()
        made = await made_by(client, bearer(account["token"]))
        assert (await run_of(client, made["id"], key))["status"] == "success"
        await client.post("/owners/sa:clock/revoke", headers=key)
        await assert_refused(client, made["id"], "'sa:clock' was revoked", by=key)


# agno's stored roles and its user directory


def on_roles(db: SqliteDb, **options: Any) -> tuple[FastAPI, Authorization]:
    rules = Authorization(**ON_TOKENS, **options)
    rules.define_role("admin", ["agent_os:admin"])
    rules.define_role("runner", ["schedules:read", "schedules:write", "agents:greeter:run"])
    rules.define_role("reader", ["schedules:read"])
    rules.seed(admin="root")
    return app_with(db, authorization=rules, user_isolation=True), rules


async def test_by_roles_the_present_role_counts_and_no_scope_of_a_token(db: SqliteDb) -> None:
    app, rules = on_roles(db)
    bob, root = as_user("bob", "agent_os:admin"), as_user("root")
    async with living(app) as client:
        assert (await client.post("/schedules", json=AT_ONCE, headers=bob)).status_code == 403
        await rules.aassign("bob", "runner")
        made = await made_by(client, bob)
        assert (await run_of(client, made["id"], bob))["status"] == "success"
        assert (await client.get("/owners", headers=bob)).status_code == 403
        await rules.aset_role("bob", "reader")
        clockwork: Clockwork = app.state.agentclock
        run = (await clockwork.scheduler.trigger(made["id"], wait_seconds=60)).run
        assert (run.status, run.agent_run_id) == ("failed", None)
        assert "agents:greeter:run" in (run.error or "")
        assert (await clockwork.scheduler.get(made["id"])).disabled_reason == run.error
        # Admins by their role have their own rows only, as with agno's routes, but owners are for them.
        assert (await client.get(f"/schedules/{made['id']}", headers=root)).status_code == 404
        assert (await client.post("/owners/bob/revoke", headers=root)).status_code == 200


async def test_roles_in_tokens_are_remembered_with_their_owner(db: SqliteDb) -> None:
    app, _ = on_roles(db, roles_claim="groups")
    async with living(app) as client:
        clockwork: Clockwork = app.state.agentclock
        made = await made_by(client, in_group("bob", "runner"))
        assert (await clockwork.scheduler.trigger(made["id"], wait_seconds=60)).run.status == "success"
        await client.get("/schedules", headers=in_group("bob", "reader"))
        run = (await clockwork.scheduler.trigger(made["id"], wait_seconds=60)).run
        assert (run.status, run.agent_run_id) == ("failed", None)


def in_group(name: str, *groups: str) -> dict[str, str]:
    return bearer(create_dev_token(name, secret=SECRET, extra_claims={"groups": [*groups]}))


async def test_whoever_is_disabled_in_the_directory_has_nothing_run(db: SqliteDb) -> None:
    people = UserDirectory(db=db)
    people.upsert("bob")
    app = on_scopes(db, user_directory=people)
    async with living(app) as client:
        made = await made_by(client, as_user("bob", *MAY_ALL))
        assert (await run_of(client, made["id"]))["status"] == "success"
        await people.aset_disabled("bob", True)
        await assert_refused(client, made["id"], "'bob' is disabled in the user directory")


class Silent(UserDirectory):
    async def ais_disabled(self, id: str | None) -> bool:
        if id == "bob" and self.is_silent:
            raise TimeoutError("nobody answers")
        return await super().ais_disabled(id)

    is_silent = False


async def test_a_directory_that_does_not_answer_is_waited_for_if_it_must_answer(db: SqliteDb) -> None:
    people = Silent(db=db, fail_closed=True)
    people.upsert("bob")
    app = on_scopes(db, user_directory=people)
    async with living(app) as client:
        made = await made_by(client, as_user("bob", *MAY_ALL))
        people.is_silent = True
        waiting = await client.post(f"/schedules/{made['id']}/trigger?wait=0.3", headers=ROOT)
        assert waiting.status_code == 202
        assert waiting.json()["run_id"] is None
        people.is_silent = False
        done = await client.post(f"/schedules/{made['id']}/runs/{waiting.json()['id']}/cancel?wait=60", headers=ROOT)
        assert done.json()["attempt"] <= 1
        assert (await client.get(f"/schedules/{made['id']}", headers=ROOT)).json()["enabled"]


# acting for somebody else


async def test_the_session_of_somebody_else_is_not_run_in(scoped: FastAPI) -> None:
    async with living(scoped) as client:
        eves = await made_by(client, as_user("eve", *MAY_ALL), name="eves")
        session = (await run_of(client, eves["id"]))["session_id"]
        bobs = await made_by(
            client, as_user("bob", *MAY_ALL), name="bobs", payload={"message": "hi", "session_id": session}
        )
        run = await run_of(client, bobs["id"])
        assert (run["status"], run["status_code"]) == ("failed", 404)


@pytest.mark.parametrize(
    "payload", [{"user_id": "eve"}, {"message": "x", "user_id": "root"}, {"user_id": "__scheduler__"}]
)
async def test_a_payload_speaks_for_nobody_but_the_owner(scoped: FastAPI, payload: dict[str, Any]) -> None:
    bob = as_user("bob", *MAY_ALL)
    async with living(scoped) as client:
        made = await made_by(client, bob)
        one = f"/schedules/{made['id']}"
        refused = [
            await client.post("/schedules", json=AT_ONCE | {"name": "another", "payload": payload}, headers=bob),
            await client.patch(one, json={"payload": payload}, headers=ROOT),
            await client.post(f"{one}/trigger", json={"payload": payload}, headers=bob),
        ]
        assert [answer.status_code for answer in refused] == [403, 403, 403]


async def test_nobody_with_a_name_makes_a_schedule_without_an_owner_speak_for_others(db: SqliteDb) -> None:
    app, bob = app_with(db, authorization=Authorization(**ON_TOKENS)), as_user("bob", *MAY_ALL)
    async with living(app) as client:
        clockwork: Clockwork = app.state.agentclock
        made = await clockwork.scheduler.create(AT_ONCE | {"payload": {"message": "x", "user_id": "eve"}})
        one = f"/schedules/{made.id}"
        for name, status in (("eve", 403), ("bob", 200)):
            payload = {"message": "y", "user_id": name}
            triggered = await client.post(f"{one}/trigger", json={"payload": payload}, headers=bob)
            changed = await client.patch(one, json={"payload": payload}, headers=bob)
            assert [triggered.status_code, changed.status_code] == [status, status]


def acting_for(name: str, *scopes: str) -> Any:
    context = AuthorizationContext(principal_id=name, scopes=[*scopes], claims={"sub": name, "email": "secret@os.test"})
    return authorization_scope(lambda: RunAuthorization(ScopeAuthorizationProvider(), context, enforce_tools=False))


async def test_an_agent_schedules_nothing_that_whoever_runs_it_may_not_run(db: SqliteDb) -> None:
    on_scopes(db)
    row = {"user_id": "bob", "cron_expr": "0 7 * * *", "method": "POST", "payload": {"message": "x"}}
    mine: dict[str, Any] = row | {"name": "mine", "endpoint": "/agents/greeter/runs"}
    with acting_for("bob", "agents:greeter:run"):
        made = db.create_schedule(mine | {"payload": {"message": "x", "_agno_authorization": {"context": {"a": 1}}}})
        assert made is not None
        assert made["payload"] == {"message": "x"}
        for other in ("/agents/other/runs", "/agents/greeter/runs?x=1", "/schedules"):
            with pytest.raises(Forbidden, match="bob"):
                db.create_schedule(row | {"name": "other", "endpoint": other})
            with pytest.raises(Forbidden, match="bob"):
                db.update_schedule(made["id"], endpoint=other)
        with pytest.raises(Forbidden, match="claims to be user"):
            db.create_schedule(mine | {"name": "other", "payload": {"user_id": "eve"}})
        with pytest.raises(InvalidField, match="endpoint"):
            db.create_schedule(mine | {"name": "other", "endpoint": "https://hooks.test/x"})
    with acting_for("bob", "agents:other:run"), pytest.raises(Forbidden, match="bob"):
        db.update_schedule(made["id"], enabled=True)


async def test_what_an_agents_user_may_is_remembered_for_each_fire(db: SqliteDb) -> None:
    app = on_scopes(db)
    async with living(app) as client:
        with acting_for("bob", "agents:greeter:run"):
            made = db.create_schedule(AT_ONCE | {"user_id": "bob", "cron_expr": "0 7 * * *", "method": "POST"})
        assert made is not None
        listed = (await client.get("/owners", headers=ROOT)).json()["data"]
        assert {row["user_id"]: row["scopes"] for row in listed}["bob"] == ["agents:greeter:run"]
        assert (await run_of(client, made["id"]))["status"] == "success"


async def test_no_poller_is_given_what_a_revoked_owner_scheduled(tmp_path: Path) -> None:
    database = str(tmp_path / "clock.db")
    db, clock = ScheduleDb(database), SystemClock()
    store, _ = make_store(Settings(database=database), clock)
    await store.open()
    try:
        await Owners(store, clock).revoke("bob", by=Actor("root"))
        row = {"endpoint": "/agents/greeter/runs", "method": "POST", "cron_expr": "@yearly", "next_run_at": 1_000}
        bobs = db.create_schedule(row | {"name": "bobs", "user_id": "bob"})
        eves = db.create_schedule(row | {"name": "eves", "user_id": "eve"})
        assert bobs is not None
        assert eves is not None
        claimed = [db.claim_due_schedule(f"poller-{number}") for number in range(2)]
        assert [None if one is None else one["id"] for one in claimed] == [eves["id"], None]
        stopped = db.get_schedule(bobs["id"])
        assert stopped is not None
        assert not stopped["enabled"]
        assert "'bob' was revoked" in stopped["disabled_reason"]
        rows, _ = db.get_schedule_runs(bobs["id"])
        assert [one["status"] for one in rows] == ["failed"]
    finally:
        await asyncio.to_thread(db.close)
        await store.close()


# the token by which an AgentOS calls itself

POSTGRES = {"database": "postgresql://nobody@127.0.0.1:1/none"}
ASKING: dict[str, dict[str, Any]] = {
    "tokens": {"authorization": Authorization(**ON_TOKENS)},
    "security key": {"settings": AgnoAPISettings(os_security_key="the key")},
}


async def test_what_a_schedule_calls_can_write_nothing_here(scoped: FastAPI) -> None:
    drafts = {
        "/schedules": AT_ONCE | {"name": "made by a schedule"},
        "/schedules/by-name/anything/trigger": {},
        "/owners/eve/revoke": {},
    }
    async with living(scoped) as client:
        for number, (endpoint, payload) in enumerate(drafts.items()):
            made = await made_by(client, ROOT, name=f"writer {number}", endpoint=endpoint, payload=payload)
            run = await run_of(client, made["id"])
            assert (run["status"], run["status_code"]) == ("failed", 403), endpoint
            assert "for the owner 'root'" in run["error"]
        assert len((await client.get("/schedules", headers=ROOT)).json()["data"]) == len(drafts)


def asking_app(db: SqliteDb, kind: str, scheduler: Any, **options: Any) -> FastAPI:
    options |= ASKING[kind]
    return AgentOS(agents=[greeter()], db=db, telemetry=False, scheduler=scheduler, **options).get_app()


@pytest.mark.parametrize("kind", ASKING)
def test_where_several_processes_may_serve_the_token_must_be_given(db: SqliteDb, kind: str) -> None:
    with pytest.raises(ConfigError, match="service_token"):
        asking_app(db, kind, POSTGRES)
    assert asking_app(db, kind, POSTGRES, internal_service_token="given").state.internal_service_token == "given"


def test_an_app_that_is_attached_to_needs_the_token_too_and_the_setting_will_do(db: SqliteDb) -> None:
    app = agno.os.AgentOS(agents=[greeter()], db=db, telemetry=False, **ASKING["tokens"]).get_app()
    with pytest.raises(ConfigError, match="service_token"):
        attach(app, db, **POSTGRES)
    attach(app, db, service_token="given, former", **POSTGRES)
    assert app.state.internal_service_token == "given"


def test_one_process_alone_makes_a_token_up(db: SqliteDb) -> None:
    assert len(asking_app(db, "tokens", True).state.internal_service_token) >= 32


def test_where_nobody_is_asked_for_anything_no_token_must_be_given(db: SqliteDb) -> None:
    app = AgentOS(agents=[greeter()], db=db, telemetry=False, scheduler=POSTGRES).get_app()
    assert len(app.state.internal_service_token) >= 32
