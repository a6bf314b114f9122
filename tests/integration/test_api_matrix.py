"""Each route, in each way to set authentication up, for each kind of caller: what is answered."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx2
import jwt
import pytest
from fastapi import FastAPI
from tests.apis import PAUSED, WORKER
from tests.route_table import ADMIN, ALL_SCOPES, NEW_YEAR, PAGES, SESSION, TABLE, Row, endpoints

from agentclock.app import Clockwork, assemble, create_app
from agentclock.backfilling import BackfillDraft
from agentclock.config import Settings
from agentclock.core.actors import Actor
from agentclock.core.lifecycle import settle
from agentclock.core.model import SECOND
from agentclock.core.notices import Delivery, NoticeStatus
from agentclock.testing import FakeClock

KEY, FORMER_KEY, SERVICE = "the-key", "the-former-key", "the-service-token"
SECRET = "a secret of 256 bits or more, as HS256 wants it"
JWT: Final = {"jwt_secret": SECRET, "jwt_issuer": "https://issuer.test", "jwt_audience": "agentclock"}
#: Nothing listens there: nobody is told anything.
HOOK: Final = {"url": "http://127.0.0.1:9/hook", "secret": "whsec_" + "c2VjcmV0" * 8, "events": ["run.paused"]}
KEYS: Final = {"security_key": f"{KEY},{FORMER_KEY}"}
MODES: Final[dict[str, dict[str, str]]] = {
    "none": {},
    "key": KEYS,
    "jwt": JWT,
    "both": KEYS | JWT,
    "service token": KEYS | JWT | {"service_token": SERVICE},
    "service token alone": {"service_token": SERVICE},
}
#: Having this agent called is what the schedules here ask for.
RUN_SCOPE = "agents:greeter:run"


#: What "{name}" stands for where it is no schedule's.
_OTHER_NAMES: Final = {"webhooks": {"name": "desk"}, "targets": {"name": "default"}}
LISTS = ("/schedules", "/runs", "/audit", "/webhooks/notices")


@dataclass(slots=True)
class Scene:
    """One process that works on nothing by itself: its runs are claimed here, its notices are given up here."""

    clockwork: Clockwork
    app: FastAPI
    clock: FakeClock
    numbers: Iterator[int]

    def token(self, subject: str, *scopes: str, **claims: Any) -> str:
        now = self.clock.now() // SECOND
        usual = {"iss": JWT["jwt_issuer"], "aud": JWT["jwt_audience"], "iat": now, "exp": now + 60}
        return jwt.encode(usual | {"sub": subject, "scopes": [*scopes]} | claims, SECRET, "HS256")

    async def rows(self, owner: str | None) -> dict[str, str]:
        """What stands for the names in paths: a schedule with a run that waits for a human, a backfill, and a notice
        that could not be delivered."""
        name = f"schedule {next(self.numbers)}"
        scheduler, store = self.clockwork.scheduler, self.clockwork.store
        draft = {"name": name, "endpoint": "/agents/greeter/runs", "cron_expr": "0 0 1 1 *"}
        schedule = await scheduler.create(draft, user_id=owner)
        run = (await scheduler.trigger(schedule.id)).run
        claims = (await store.claim(WORKER.id, 10)).claims
        claim = next(claim for claim in claims if claim.run.id == run.id)
        await store.settle([settle(claim, PAUSED, self.clock.now())])
        plan = await scheduler.backfills.create(schedule.id, BackfillDraft.model_validate(NEW_YEAR), by=Actor())
        assert plan.backfill is not None
        (notice,) = await store.claim_notices(1, 60)
        await store.settle_notices([Delivery(notice_id=notice.notice.id, tries=1, status=NoticeStatus.DEAD)])
        rows = {"schedule_id": schedule.id, "name": name, "run_id": run.id, "backfill_id": plan.backfill.id}
        return rows | {"user_id": "carol", "notice_id": notice.notice.id}


@asynccontextmanager
async def scene(**settings: str) -> AsyncIterator[Scene]:
    clock = FakeClock()
    clockwork = assemble(
        Settings(
            database=":memory:",
            webhooks={"desk": HOOK},
            trigger_wait_seconds=0,
            request_burst=1_000_000,
            failure_burst=1_000_000,
            **settings,
        ),
        clock=clock,
    )
    app = create_app(clockwork)
    await clockwork.store.open()
    clockwork.hub.open()
    await clockwork.store.acquire_engine(WORKER, 600)
    try:
        yield Scene(clockwork, app, clock, itertools.count())
    finally:
        await clockwork.stop()


@dataclass(frozen=True, slots=True)
class Caller:
    """`kind`: nobody, wrong, key, service, user (with `scopes`), other (a user whom the rows do not belong to)."""

    name: str
    kind: str
    token: str | None = None
    scopes: frozenset[str] = frozenset()


def callers(scene: Scene, row: Row) -> Iterator[Caller]:
    yield Caller("no token", "nobody")
    yield Caller("a wrong key", "wrong", "the-wrong-key")
    yield Caller("a token that is over", "wrong", scene.token("ada", *ADMIN, exp=scene.clock.now() // SECOND - 60))
    yield Caller("a key", "key", KEY)
    yield Caller("a key that is being replaced", "key", FORMER_KEY)
    yield Caller("the service token", "service", SERVICE)
    yield _user(scene, "no scope")
    yield _user(scene, "all scopes but the right ones", *(ALL_SCOPES - {*row.scopes}), RUN_SCOPE)
    yield _user(scene, "an admin", *ADMIN)
    for scope in row.scopes:
        yield _user(scene, f"with {scope}", scope, RUN_SCOPE)
        if scope not in ADMIN:
            scopes = (scope, RUN_SCOPE)
            yield Caller(f"another one with {scope}", "other", scene.token("bob", *scopes), frozenset(scopes))


def _user(scene: Scene, name: str, *scopes: str) -> Caller:
    return Caller(name, "user", scene.token("ada", *scopes), frozenset(scopes))


def asks_for_tokens(mode: str) -> bool:
    return bool({"security_key", "jwt_secret"} & MODES[mode].keys())


def expected(mode: str, caller: Caller, row: Row) -> int:
    configured = MODES[mode]
    has_keys, has_tokens = "security_key" in configured, "jwt_secret" in configured
    if row.is_open or not asks_for_tokens(mode):
        return row.status
    match caller.kind:
        case "key":
            return row.status if has_keys else 401
        case "service" if "service_token" in configured:
            return row.status if row.only_reads else 403
        case "user" | "other" if has_tokens:
            return _for_user(caller, row)
    return 401


def _for_user(caller: Caller, row: Row) -> int:
    if not caller.scopes & {*row.scopes, *ADMIN}:
        return 403
    return 404 if caller.kind == "other" and row.is_of_one else row.status


def _named(value: Any, names: dict[str, str]) -> Any:
    return value.format(**names) if isinstance(value, str) else value


async def status_of(app: FastAPI, row: Row, names: dict[str, str], token: str | None) -> int:
    """The caller leaves as soon as the answer begins: some streams never end."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    names = names | _OTHER_NAMES.get(row.path.split("/")[1], {})
    url = f"http://127.0.0.1:7777{row.path.format(**names)}?{row.query}"
    body = {field: _named(value, names) for field, value in row.body.items()} if row.body else None
    request = httpx2.Request(row.method, url, json=body, headers=headers)
    content, begun = request.read(), asyncio.get_running_loop().create_future()
    inbox = iter([{"type": "http.request", "body": content, "more_body": False}])

    async def receive() -> dict[str, Any]:
        if (message := next(inbox, None)) is not None:
            return message
        await begun
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start" and not begun.done():
            begun.set_result(message["status"])

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": row.method,
        "scheme": "http",
        "path": request.url.path,
        "raw_path": request.url.raw_path,
        "query_string": row.query.encode(),
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 7777),
        "state": {},
    }
    call = asyncio.create_task(app(scope, receive, send))
    await asyncio.wait([call, begun], return_when=asyncio.FIRST_COMPLETED)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    status: int = begun.result()
    return status


async def test_the_table_has_every_route_and_no_other() -> None:
    async with scene() as here:
        routes = list(endpoints(here.app.routes))
    assert sorted(routes) == sorted((row.method, row.path) for row in (*TABLE, *SESSION, *PAGES))


@pytest.mark.parametrize("mode", MODES)
async def test_every_route_answers_every_caller_as_it_should(mode: str) -> None:
    wrong = {}
    async with scene(**MODES[mode]) as here:
        rows = await here.rows("ada")
        for row in TABLE:
            # Where nobody is asked, a few are enough.
            for caller in itertools.islice(callers(here, row), None if asks_for_tokens(mode) else 4):
                status = await status_of(here.app, row, rows, caller.token)
                if status != expected(mode, caller, row):
                    wrong[f"{row}, {caller.name}"] = (status, expected(mode, caller, row))
                if status < 400 and not row.only_reads:
                    rows = await here.rows("ada")
    assert not wrong, "\n".join(f"{cell}: {statuses}" for cell, statuses in wrong.items())


async def test_refused_requests_have_changed_nothing() -> None:
    async with scene(**MODES["service token"]) as here:
        rows = await here.rows("ada")
        before = await _state(here, rows)
        for row in TABLE:
            for caller in callers(here, row):
                if expected("service token", caller, row) in (401, 403, 404):
                    await status_of(here.app, row, rows, caller.token)
        assert await _state(here, rows) == before


async def _state(here: Scene, rows: dict[str, str]) -> tuple[Any, ...]:
    scheduler, runs = here.clockwork.scheduler, here.clockwork.runs
    schedule = await scheduler.get(rows["schedule_id"])
    revoked = [owner.user_id for owner in (await scheduler.owners.list()).items if owner.revoked_at]
    return (schedule, await runs.get(schedule.id, rows["run_id"]), (await scheduler.list()).total_count, revoked)


@pytest.mark.parametrize("row", [row for row in TABLE if row.path in LISTS and row.only_reads], ids=str)
async def test_lists_show_callers_their_own_rows_only(row: Row) -> None:
    async with scene(**MODES["both"]) as here:
        of_ada, of_bob = await here.rows("ada"), await here.rows("bob")
        transport = httpx2.ASGITransport(app=here.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            shown = {}
            for name, token in {
                "ada": here.token("ada", *row.scopes),
                "admin": here.token("root", *ADMIN),
                "key": KEY,
            }.items():
                answer = await client.get(row.path, headers={"Authorization": f"Bearer {token}"})
                shown[name] = {
                    one["schedule_id"] if "schedule_id" in one else one["id"] for one in answer.json()["data"]
                }
    both = {of_ada["schedule_id"], of_bob["schedule_id"]}
    assert shown == {"ada": {of_ada["schedule_id"]}, "admin": both, "key": both}
