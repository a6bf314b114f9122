"""What can be called, as an AgentOS tells of itself; and who executes runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from agno.db.sqlite import SqliteDb
from agno.os.authz import Authorization
from agno.os.settings import AgnoAPISettings
from agno.team import Team
from agno.workflow import Workflow
from aiohttp import web
from fastapi import FastAPI
from tests.agno_host import SECRET, as_user, bearer, greeter, living
from tests.apis import app_of, client_of, world
from tests.integration.test_agno_session import KEY, app_with
from tests.integration.test_api_bulk import OnlyAssistants

from agentclock.app import assemble, create_app
from agentclock.config import Settings
from agentclock.core.model import Target
from agentclock.executor import components
from agentclock.executor.discretion import Discretion
from agentclock.executor.dispatch import TargetExecutor
from agentclock.executor.secrecy import Secrecy
from agentclock.executor.secrets import Secrets
from agentclock.executor.targets import TargetSettings
from agentclock.executor.transport import Answer, Request

AGENTS = [{"id": "greeter", "name": "Greeter", "description": "Says hello."}, {"id": "a/b ü"}]


class FakeLists:
    """An AgentOS that knows lists only. `answers`: by path; what is missing is 404."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {"/agents": AGENTS, "/teams": {"data": [{"id": "crew", "name": "Crew"}]}}
        self.asked: list[tuple[str, str | None]] = []
        self.base_url = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FakeLists]:
        app = web.Application()
        app.router.add_get("/{tail:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, request.headers.get("Authorization")))
        answer = self.answers.get(request.path)
        if answer is None:
            return web.json_response({"detail": "Not Found"}, status=404)
        return answer() if callable(answer) else web.json_response(answer)


@pytest.fixture
async def fake() -> AsyncIterator[FakeLists]:
    async with FakeLists().serving() as made:
        yield made


@asynccontextmanager
async def server(fake: FakeLists, **entry: Any) -> AsyncIterator[httpx2.AsyncClient]:
    targets = {"default": {"base_url": fake.base_url, "networks": ["127.0.0.0/8"], **entry}}
    clockwork = assemble(
        Settings(database=":memory:", targets=targets | {"hooks": {"base_url": "https://hooks.test", "kind": "http"}})
    )
    await clockwork.store.open()
    try:
        async with client_of(create_app(clockwork)) as client:
            client.headers["host"] = "localhost"
            yield client
    finally:
        await clockwork.executor.close()
        await clockwork.store.close()


async def components_of(client: httpx2.AsyncClient, name: str = "default") -> tuple[list[Any], str | None]:
    answer = await client.get(f"/targets/{name}/components")
    assert answer.status_code == 200, answer.text
    said = answer.json()
    return said["data"], said["trouble"]


async def test_targets_are_those_of_the_settings(fake: FakeLists) -> None:
    async with server(fake, token="a-token-of-its-own") as client:
        answer = await client.get("/targets")
        assert answer.json()["data"] == [
            {"name": "default", "kind": "agentos", "in_process": False},
            {"name": "hooks", "kind": "http", "in_process": False},
        ]
        assert "a-token-of-its-own" not in answer.text


async def test_an_agentos_tells_what_it_has(fake: FakeLists) -> None:
    fake.answers["/workflows"] = [{"id": "report", "name": "Report", "description": "x" * 1_000}, "nonsense", {"id": 7}]
    async with server(fake, token="a-token-of-its-own") as client:
        found, trouble = await components_of(client)
        assert trouble is None
        assert [(one["type"], one["id"], one["name"], one["endpoint"]) for one in found] == [
            ("agent", "greeter", "Greeter", "/agents/greeter/runs"),
            ("agent", "a/b ü", "a/b ü", "/agents/a%2Fb%20%C3%BC/runs"),
            ("team", "crew", "Crew", "/teams/crew/runs"),
            ("workflow", "report", "Report", "/workflows/report/runs"),
        ]
        assert len(found[-1]["description"]) == components.TEXT_CHARACTERS
        assert {credentials for _, credentials in fake.asked} == {"Bearer a-token-of-its-own"}


async def test_it_is_asked_once_for_all_who_want_to_know(fake: FakeLists) -> None:
    fake.answers["/workflows"] = []
    async with server(fake) as client:
        answers = await asyncio.gather(*(components_of(client) for _ in range(5)))
        assert (len(fake.asked), answers.count(answers[0])) == (3, 5)


def raw(body: bytes, **options: Any) -> Any:
    return lambda: web.Response(body=body, content_type="application/json", **options)


TROUBLE = {
    "is no JSON": raw(b"<html>"),
    "is no list": raw(b'{"a": 1}'),
    "HTTP 500 out of order": raw(b'{"detail": "out of order"}', status=500),
    "HTTP 302": raw(b"", status=302, headers={"Location": "http://169.254.169.254/"}),
    "is longer than": raw(b"[" + b" " * components.ANSWER_BYTES + b"]"),
    "nested too deep": raw(b"[" * 100_000),
}


@pytest.mark.parametrize("words", TROUBLE)
async def test_what_goes_wrong_is_told_and_the_rest_is_shown(fake: FakeLists, words: str) -> None:
    fake.answers |= {"/agents": TROUBLE[words], "/workflows": []}
    async with server(fake) as client:
        found, trouble = await components_of(client)
        assert [one["id"] for one in found] == ["crew"]
        assert trouble is not None
        assert trouble.startswith("asked for its agents: ")
        assert words in trouble or words == "nested too deep"


async def test_what_it_says_of_our_token_is_not_repeated(fake: FakeLists) -> None:
    token = "a-token-of-its-own"
    fake.answers["/agents"] = [{"id": "x", "name": f"knows {token}", "description": token}, {"id": token}]
    fake.answers["/teams"] = raw(json.dumps({"detail": f"bad token {token}"}).encode(), status=401)
    async with server(fake, token=token) as client:
        answer = await client.get("/targets/default/components")
        assert (answer.status_code, len(answer.json()["data"])) == (200, 1)
        assert token not in answer.text


async def test_a_target_that_is_no_agentos_or_not_there(fake: FakeLists) -> None:
    async with server(fake) as client:
        assert "no AgentOS" in ((await components_of(client, "hooks"))[1] or "")
        for name in ("nonsense", "%00", "x" * 255):
            assert (await client.get(f"/targets/{name}/components")).status_code == 404
    async with server(fake, base_url="http://127.0.0.1:9") as client:
        found, trouble = await components_of(client)
        assert (found, "cannot be reached" in (trouble or "")) == ([], True)


class SilentTransport:
    @asynccontextmanager
    async def send(self, target: TargetSettings, request: Request) -> AsyncIterator[Answer]:
        await asyncio.Event().wait()
        yield cast(Answer, None)

    async def close(self) -> None: ...


async def test_silence_ends_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "ASK_SECONDS", 0.01)
    secrecy = Secrecy(Secrets(), Discretion(), Target(endpoint="/"))
    found = await components.components_of(TargetSettings(name="default"), SilentTransport(), secrecy)
    assert (found.found, (found.trouble or "").count("said nothing")) == ((), 3)


async def test_an_answer_is_kept_for_a_while_and_trouble_for_less(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = TargetExecutor({"default": Settings().targets["default"]})
    asked: list[str] = []
    trouble: list[str | None] = ["away", None, None]

    async def ask(name: str) -> components.Components:
        asked.append(name)
        return components.Components(trouble=trouble[len(asked) - 1])

    loop, now = asyncio.get_running_loop(), 1_000.0
    monkeypatch.setattr(loop, "time", lambda: now)
    memory = executor._components
    for seconds, count in ((0, 1), (4, 1), (2, 2), (29, 2), (2, 3)):
        now += seconds
        await memory.of("default", ask)
        assert len(asked) == count
    await executor.close()


# inside an AgentOS


def full_app(db: SqliteDb, **options: Any) -> FastAPI:
    team = Team(id="crew", name="Crew", members=[greeter("member")])
    workflow = Workflow(id="report", name="Report", steps=[greeter("step")])
    return app_with(db, teams=[team], workflows=[workflow], **options)


@pytest.mark.parametrize("kind", ["open", "key", "tokens"])
async def test_the_agentos_around_us_is_asked_in_process(tmp_path: Path, kind: str) -> None:
    options: dict[str, dict[str, Any]] = {
        "open": {},
        "key": {"settings": AgnoAPISettings(os_security_key=KEY)},
        "tokens": {
            "authorization": Authorization(verification_keys=[SECRET], algorithm="HS256"),
            "user_isolation": True,
        },
    }
    headers = {"open": {}, "key": bearer(KEY), "tokens": as_user("root", "agent_os:admin")}[kind]
    app = full_app(SqliteDb(db_file=str(tmp_path / "s.db")), **options[kind])
    async with living(app) as client:
        client.headers.update(headers)
        assert (await client.get("/targets")).json()["data"] == [
            {"name": "default", "kind": "agentos", "in_process": True}
        ]
        found, trouble = await components_of(client)
        assert ([one["endpoint"] for one in found], trouble) == (
            ["/agents/greeter/runs", "/teams/crew/runs", "/workflows/report/runs"],
            None,
        )
        if kind == "tokens":
            client.headers.update(as_user("bob", "schedules:read", "teams:crew:run"))
            found, _ = await components_of(client)
            assert [one["id"] for one in found] == ["crew"]


# workers


async def test_workers_and_what_they_have_in_hand() -> None:
    async with world() as here, client_of(app_of(here)) as client:
        empty = (await client.get("/workers")).json()
        assert (empty["data"], empty["engine"]["ok"], empty["database"]["ok"]) == ([], True, True)
        schedule_id, waiting_id = await here.create(name="busy"), await here.create(name="waiting")
        run = (await here.scheduler.trigger(schedule_id)).run
        await here.claim()
        await here.scheduler.trigger(waiting_id)
        said = (await client.get("/workers")).json()
        [worker] = said["data"]
        assert (worker["name"], worker["alive"], worker["running"], worker["slots"]) == ("worker-1", True, 1, None)
        [held] = worker["runs"]
        assert (held["run_id"], held["schedule_name"], held["attempt"]) == (run.id, "busy", 1)
        assert held["started_at"] is not None
        assert (said["backlog"]["running"], said["backlog"]["pending"]) == (1, 1)
        here.clock.advance(3_600)
        [worker] = (await client.get("/workers")).json()["data"]
        assert worker["alive"] is False


async def test_what_workers_do_for_others_is_not_told() -> None:
    async with world() as here, client_of(app_of(here, guard=OnlyAssistants())) as client:
        for owner in ("ada", "eve"):
            schedule = await here.scheduler.create({"name": owner, "endpoint": "/agents/assistant/runs"}, user_id=owner)
            await here.scheduler.trigger(schedule.id)
            await here.claim()
        [worker] = (await client.get("/workers")).json()["data"]
        assert (worker["running"], [held["schedule_name"] for held in worker["runs"]]) == (2, ["ada"])


async def test_without_a_database_there_is_a_plain_answer() -> None:
    async with world() as here, client_of(app_of(here)) as client:
        await here.store.close()
        assert (await client.get("/workers")).status_code == 503
