"""`from agentclock.agno import AgentOS`: the import is all that changes."""

from __future__ import annotations

import asyncio
import inspect
import re
import sqlite3
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import agno.os
import asyncpg
import pytest
from agno.company.config import CompanyConfig
from agno.db.base import SessionType
from agno.db.in_memory import InMemoryDb
from agno.db.postgres import AsyncPostgresDb, PostgresDb
from agno.db.sqlite import AsyncSqliteDb, SqliteDb
from agno.models.openai import OpenAIChat
from agno.os.interfaces.base import BaseInterface
from agno.os.utils import flatten_routes
from agno.scheduler import ScheduleManager
from fastapi import APIRouter, FastAPI
from structlog.testing import capture_logs
from tests.agno_host import created, greeter, living, triggered
from tests.openai_stub import OpenAIStub
from tests.processes import until

from agentclock.agno import AgentOS
from agentclock.config import Settings
from agentclock.core.errors import ConfigError


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def quick_start(db: Any = None, **options: Any) -> AgentOS:
    return AgentOS(agents=[greeter()], db=db, **{"enable_scheduler": True, "telemetry": False} | options)


async def fires_by_itself(agent_os: AgentOS) -> dict[str, Any]:
    """The first run of a schedule, which nobody but the clock started."""
    async with living(agent_os.get_app()) as client:
        made = await created(client, interval_seconds=1)
        runs: list[dict[str, Any]] = []

        async def is_over() -> bool:
            runs[:] = (await client.get(f"/schedules/{made['id']}/runs")).json()["data"][-1:]
            return bool(runs and runs[0]["status"] not in ("pending", "running"))

        await until(is_over)
    return runs[0]


# the databases


@pytest.mark.parametrize("kind", [SqliteDb, AsyncSqliteDb])
async def test_quick_start_on_sqlite_keeps_a_file_of_its_own(kind: Any, tmp_path: Path) -> None:
    db = kind(db_file="scheduler.db")
    run = await fires_by_itself(quick_start(db, scheduler_poll_interval=30))
    assert (run["status"], run["cause"]) == ("success", "schedule")
    assert "good morning" in run["output"]["content"]
    session = db.get_session(run["session_id"], SessionType.AGENT)
    assert (await session if inspect.isawaitable(session) else session) is not None
    ours = sqlite3.connect(tmp_path / "scheduler.agentclock.db")
    assert ours.execute("SELECT count(*) > 0 FROM agentclock_runs").fetchone() == (1,)


@pytest.mark.postgres
@pytest.mark.parametrize(("kind", "driver"), [(PostgresDb, "psycopg"), (AsyncPostgresDb, "asyncpg")])
async def test_quick_start_on_postgresql_keeps_a_schema_of_its_own(
    kind: Any, driver: str, empty_postgres_dsn: str
) -> None:
    db = kind(db_url=empty_postgres_dsn.replace("postgresql://", f"postgresql+{driver}://"))
    run = await fires_by_itself(quick_start(db))
    assert run["status"] == "success"
    connection = await asyncpg.connect(empty_postgres_dsn)
    try:
        assert await connection.fetchval("SELECT count(*) FROM agentclock.runs") >= 1
        assert await connection.fetchval("SELECT count(*) FROM ai.agno_sessions") >= 1
    finally:
        await connection.close()


async def test_without_a_database_schedules_are_in_the_working_directory(tmp_path: Path) -> None:
    async with living(quick_start().get_app()) as client:
        await created(client)
    assert (tmp_path / "agentclock.db").exists()


async def test_the_stream_of_a_model_of_openai_reaches_the_run() -> None:
    async with OpenAIStub("All", " orders", " shipped.") as openai:
        model = OpenAIChat(id="gpt-5-mini", base_url=openai.url, api_key="none")
        agent_os = quick_start(SqliteDb(db_file="scheduler.db"))
        agent_os.agents[:] = [greeter(model=model, db=agent_os.db)]
        async with living(agent_os.get_app()) as client:
            run = await triggered(client, (await created(client))["id"])
        asked = openai.asked
    assert run["output"]["content"] == "All orders shipped."
    assert run["usage"]["total_tokens"] == 10
    assert asked[0]["messages"][-1] == {"role": "user", "content": "good morning"}


# the switch


@pytest.mark.parametrize(
    "options",
    [
        {"enable_scheduler": True},
        {"scheduler": True, "enable_scheduler": None},
        {"scheduler": {"concurrency": 3}, "enable_scheduler": None},
        {"scheduler": {"concurrency": 3}},
        {"scheduler": Settings(concurrency=3), "enable_scheduler": None},
    ],
)
def test_every_spelling_of_on(options: dict[str, Any]) -> None:
    app = quick_start(SqliteDb(db_file="scheduler.db"), **options).get_app()
    expected = 100 if options.get("scheduler", True) is True else 3
    assert app.state.agentclock.settings.concurrency == expected


def test_off_is_agno_untouched(plain: tuple[Any, Plain], tmp_path: Path) -> None:
    db, agnos = plain
    app = AgentOS(agents=[greeter()], db=db, telemetry=False).get_app()
    assert Plain.of(app) == agnos
    assert "Layer" not in [getattr(middleware.cls, "__name__", "") for middleware in app.user_middleware]
    assert not list(tmp_path.glob("*agentclock*"))


@pytest.mark.parametrize(
    "options", [{"enable_scheduler": False}, {"scheduler": False}, {"scheduler": {}, "enable_scheduler": False}]
)
def test_every_spelling_of_off(options: dict[str, Any]) -> None:
    app = AgentOS(agents=[greeter()], telemetry=False, **options).get_app()
    assert not hasattr(app.state, "agentclock")


def test_on_and_off_at_once_is_an_error() -> None:
    with pytest.raises(ConfigError, match="contradict"):
        quick_start(scheduler=False)


def test_a_database_that_cannot_hold_schedules_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match="InMemoryDb cannot hold schedules"):
        quick_start(InMemoryDb())
    assert quick_start(InMemoryDb(), scheduler={"database": "own.db"}).get_app().state.agentclock


def test_company_routines_need_agnos_scheduler() -> None:
    with pytest.raises(ConfigError, match="company"):
        quick_start(SqliteDb(db_file="scheduler.db"), company=CompanyConfig())


# the app


def endpoints(app: FastAPI) -> dict[tuple[str, str], str]:
    """The module of the endpoint behind each method and path, the first one that matches."""
    found: dict[tuple[str, str], str] = {}
    for route in flatten_routes(app.routes):
        for method in getattr(route, "methods", None) or ():
            found.setdefault((method, route.path), route.endpoint.__module__)
    return found


CONTRACT = {
    ("GET", "/schedules"),
    ("POST", "/schedules"),
    ("GET", "/schedules/{schedule_id}"),
    ("PATCH", "/schedules/{schedule_id}"),
    ("DELETE", "/schedules/{schedule_id}"),
    ("POST", "/schedules/{schedule_id}/enable"),
    ("POST", "/schedules/{schedule_id}/disable"),
    ("POST", "/schedules/{schedule_id}/trigger"),
    ("GET", "/schedules/{schedule_id}/runs"),
    ("GET", "/schedules/{schedule_id}/runs/{run_id}"),
}

#: Where routes of ours begin.
OURS = re.compile(r"/(schedules|runs|audit|owners|webhooks|workers|targets|session)(/|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """What agno's own app has: the module behind each method and path, its documentation, and the complaints of
    FastAPI about that."""

    endpoints: dict[tuple[str, str], str]
    paths: dict[str, Any]
    complaints: set[str]

    @classmethod
    def of(cls, app: FastAPI) -> Self:
        paths, complaints = documented(app)
        return cls(endpoints=endpoints(app), paths=paths, complaints=complaints)


@pytest.fixture(scope="module", params=[True, False], ids=["with a database", "without"])
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Plain]:
    """A database (or none), and agno's own app on it."""
    db = SqliteDb(db_file=str(tmp_path_factory.mktemp("plain") / "scheduler.db")) if request.param else None
    return db, Plain.of(agno.os.AgentOS(agents=[greeter()], db=db, telemetry=False).get_app())


def check_routes(app: FastAPI, plain: Plain) -> None:
    """All that is under /schedules is ours, all else is as it is in agno's own app."""
    ours = {key: module for key, module in endpoints(app).items() if module.startswith("agentclock.")}
    below = {key for key in endpoints(app) if key[1].startswith("/schedules")}
    assert CONTRACT <= below <= ours.keys()
    others = {key for key in plain.endpoints if not key[1].startswith("/schedules")}
    assert {key for key in endpoints(app) if key not in ours} == others
    paths, complaints = documented(app)
    assert complaints <= plain.complaints
    assert {(method.upper(), path) for path, methods in paths.items() for method in methods} >= CONTRACT
    assert "/schedules/{schedule_id}/runs/{run_id}/cancel" in paths
    assert "next_fire_at" in str(app.openapi()["components"]["schemas"]["ScheduleDetail"])
    assert {path: item for path, item in paths.items() if not OURS.match(path)} == {
        path: item for path, item in plain.paths.items() if not path.startswith("/schedules")
    }


def documented(app: FastAPI) -> tuple[dict[str, Any], set[str]]:
    """The documentation, made anew, and the warnings on the way."""
    app.openapi_schema = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        paths: dict[str, Any] = app.openapi()["paths"]
    return paths, {str(warning.message) for warning in caught}


async def test_the_routes_are_ours_and_documented_once(plain: tuple[Any, Plain]) -> None:
    db, agnos = plain
    app = quick_start(db, scheduler={"database": "own.db"}).get_app()
    async with living(app) as client:
        assert (await client.put("/schedules", json={})).status_code == 405
        assert (await client.get("/schedules/")).json()["data"] == []
        check_routes(app, agnos)


async def test_every_app_that_an_agent_os_makes_has_schedules() -> None:
    agent_os = quick_start(SqliteDb(db_file="scheduler.db"))
    first, second = agent_os.get_app(), agent_os.get_app()
    async with living(first) as client:
        made = await created(client)
        assert (await triggered(client, made["id"]))["status"] == "success"
    async with living(second) as client:
        assert (await triggered(client, made["id"]))["status"] == "success"
        assert len((await client.get(f"/schedules/{made['id']}/runs")).json()["data"]) == 2


@pytest.mark.parametrize("on_route_conflict", ["preserve_agentos", "preserve_base_app", "error"])
async def test_a_base_app_keeps_its_life_and_its_routes(on_route_conflict: Any) -> None:
    life: list[str] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        life.append("host starts")
        yield
        life.append(f"host stops, engine is {app.state.agentclock.engine.status}")

    base = FastAPI(lifespan=lifespan)

    @base.get("/orders")
    async def orders() -> list[str]:
        return ["one"]

    agent_os = quick_start(SqliteDb(db_file="scheduler.db"), base_app=base, on_route_conflict=on_route_conflict)
    app = agent_os.get_app()
    assert app is base
    assert agent_os.get_app() is base
    async with living(app) as client:
        assert (await client.get("/orders")).json() == ["one"]
        assert (await triggered(client, (await created(client))["id"]))["status"] == "success"
        plain = await created(client, name="plain", endpoint="/orders", method="GET")
        assert (await triggered(client, plain["id"]))["status"] == "success"
    assert life == ["host starts", "host stops, engine is stopped"]


def test_routes_of_the_base_app_at_our_paths_are_covered_or_an_error() -> None:
    def base() -> FastAPI:
        app = FastAPI()
        app.add_api_route("/schedules/{schedule_id}/notes", lambda schedule_id: "mine")
        return app

    db = SqliteDb(db_file="scheduler.db")
    with capture_logs() as logs:
        app = quick_start(db, base_app=base(), on_route_conflict="preserve_base_app").get_app()
    assert ("GET", "/schedules/{schedule_id}/notes") in endpoints(app)
    [covered] = [entry for entry in logs if entry["event"] == "routes_covered"]
    assert covered["paths"] == ["/schedules/{schedule_id}/notes"]
    with pytest.raises(ConfigError, match=r"/schedules/\{schedule_id\}/notes"):
        quick_start(db, base_app=base(), on_route_conflict="error").get_app()


async def test_resync_keeps_our_routes_and_brings_new_agents() -> None:
    db = SqliteDb(db_file="scheduler.db")

    @asynccontextmanager
    async def lifespan(app: FastAPI, agent_os: AgentOS) -> AsyncIterator[None]:
        agent_os.agents.append(greeter("latecomer"))
        agent_os.resync(app)
        yield

    agent_os = quick_start(db, lifespan=lifespan)
    app = agent_os.get_app()
    async with living(app) as client:
        made = await created(client, endpoint="/agents/latecomer/runs")
        assert (await triggered(client, made["id"]))["status"] == "success"
    below = {module for (_, path), module in endpoints(app).items() if path.startswith("/schedules")}
    assert {module.partition(".")[0] for module in below} == {"agentclock"}


async def test_interfaces_still_work() -> None:
    class Doorbell(BaseInterface):
        type = "doorbell"

        def __init__(self) -> None:
            self.prefix, self.tags = "/doorbell", ["Doorbell"]

        def get_router(self, use_async: bool = True, **_: Any) -> APIRouter:
            router = APIRouter(prefix=self.prefix)
            router.add_api_route("/ring", lambda: "ding")
            return router

    async with living(quick_start(SqliteDb(db_file="scheduler.db"), interfaces=[Doorbell()]).get_app()) as client:
        assert (await client.get("/doorbell/ring")).json() == "ding"
        assert (await triggered(client, (await created(client))["id"]))["status"] == "success"


async def test_agnos_schedule_tools_write_to_agentclock() -> None:
    db = SqliteDb(db_file="scheduler.db")
    async with living(quick_start(db).get_app()) as client:
        made = await ScheduleManager(db).acreate(name="by tool", cron="0 9 * * *", endpoint="/agents/greeter/runs")
        listed = (await client.get("/schedules")).json()["data"]
    assert [row["id"] for row in listed] == [made.id]


async def locked(connection: asyncpg.Connection[Any]) -> asyncpg.transaction.Transaction:
    """A transaction that has our tables to itself. The engine is at work in them, and either may have to give way."""
    while True:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute("LOCK TABLE agentclock.schedules, agentclock.runs IN ACCESS EXCLUSIVE MODE")
        except asyncpg.DeadlockDetectedError:
            await transaction.rollback()
        else:
            return transaction


async def test_health_answers_while_our_tables_are_locked(empty_postgres_dsn: str) -> None:
    db = PostgresDb(db_url=empty_postgres_dsn.replace("postgresql://", "postgresql+psycopg://"))
    async with living(quick_start(db).get_app()) as client:
        await created(client)
        connection = await asyncpg.connect(empty_postgres_dsn)
        try:
            transaction = await locked(connection)
            listing = asyncio.create_task(client.get("/schedules"))
            due = asyncio.create_task(client.get("/runs"))
            for _ in range(20):
                assert (await client.get("/health")).status_code == 200
                assert (await client.get("/agents")).status_code == 200
            assert not listing.done()
            assert not due.done()
            await transaction.rollback()
            assert (await listing).status_code == 200
            assert (await due).status_code == 200
        finally:
            await connection.close()
