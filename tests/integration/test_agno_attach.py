"""`attach`: agentclock for an AgentOS, an app of one, or an app without agno."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import agno.os
import pytest
from agno.db.sqlite import SqliteDb
from agno.os.utils import flatten_routes
from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware
from structlog.testing import capture_logs
from tests.agno_host import created, greeter, living, triggered
from tests.processes import until

from agentclock.agno import attach
from agentclock.core.errors import ConfigError


@pytest.fixture
def db(tmp_path: Path) -> SqliteDb:
    return SqliteDb(db_file=str(tmp_path / "scheduler.db"))


def agnos(db: SqliteDb, **options: Any) -> agno.os.AgentOS:
    return agno.os.AgentOS(agents=[greeter()], db=db, telemetry=False, **options)


def agnos_schedule_routes(app: FastAPI) -> list[str]:
    return [
        route.path
        for route in flatten_routes(app.routes)
        if getattr(route, "path", "").startswith("/schedules") and route.endpoint.__module__.startswith("agno.")
    ]


async def test_an_agent_os_gets_agentclock_in_place_of_its_own_scheduler(db: SqliteDb, tmp_path: Path) -> None:
    agent_os = agnos(db, scheduler=True)
    assert attach(agent_os, concurrency=3) is agent_os
    app = agent_os.get_app()
    assert agnos_schedule_routes(app) == []
    async with living(app) as client:
        assert (await triggered(client, (await created(client))["id"]))["status"] == "success"
        assert not hasattr(app.state, "scheduler_poller")
    settings = app.state.agentclock.settings
    assert (settings.concurrency, settings.database) == (3, str(tmp_path / "scheduler.agentclock.db"))


async def test_an_app_that_is_made_already(db: SqliteDb, tmp_path: Path) -> None:
    app = agnos(db).get_app()
    assert attach(app, db) is app
    assert agnos_schedule_routes(app) == []
    async with living(app) as client:
        assert (await triggered(client, (await created(client))["id"]))["status"] == "success"
    assert app.state.agentclock.settings.database == str(tmp_path / "scheduler.agentclock.db")


async def test_attaching_twice_is_attaching_once(db: SqliteDb) -> None:
    app = agnos(db).get_app()
    clockwork = attach(attach(app, db), db).state.agentclock
    async with living(app) as client:
        assert len((await client.get("/schedules")).json()["data"]) == 0
        assert app.state.agentclock is clockwork


def test_attaching_twice_with_other_settings_is_an_error(db: SqliteDb) -> None:
    agent_os = attach(agnos(db), concurrency=3)
    assert attach(agent_os, concurrency=3).get_app().state.agentclock.settings.concurrency == 3
    with pytest.raises(ConfigError, match="attached already, with other settings: database, concurrency differ"):
        attach(agent_os, database="other.db")
    app = attach(agnos(db).get_app(), db)
    with pytest.raises(ConfigError, match="other settings: database differ"):
        attach(app, database="other.db")


async def test_a_scheduler_of_agnos_that_runs_beside_ours_is_told(db: SqliteDb) -> None:
    app = attach(agnos(db, scheduler=True).get_app(), db)
    with capture_logs() as logs:
        async with living(app):
            await until(lambda: any(entry["event"] == "two_schedulers" for entry in logs))


def test_an_app_that_was_made_before_is_told(db: SqliteDb) -> None:
    early, base = agnos(db), agnos(db, base_app=FastAPI())
    early.get_app()
    base.get_app()
    with capture_logs() as logs:
        attach(base)
        attach(agnos(db))
        assert logs == []
        attach(early)
    assert [entry["event"] for entry in logs] == ["app_made_before"]


async def test_hosts_that_check_who_they_are_called(db: SqliteDb) -> None:
    app = agnos(db).get_app()
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "os.test"])
    async with living(attach(app, db)) as client:
        assert (await triggered(client, (await created(client))["id"]))["status"] == "success"


def test_what_is_no_app_is_refused() -> None:
    with pytest.raises(TypeError, match="AgentOS, a FastAPI app or a Starlette app, not str"):
        attach("app")  # type: ignore[type-var]


def test_wrong_settings_are_told_at_once(db: SqliteDb) -> None:
    with pytest.raises(ConfigError, match="no such setting"):
        attach(agnos(db), pace=3)


_WITHOUT_AGNO = """
import asyncio, sys
for name in ("agno", "sqlalchemy", "openai"):
    sys.modules[name] = None
from fastapi import FastAPI
from agentclock.agno import attach
from tests.asgi_life import living

app = FastAPI()

@app.get("/orders")
async def orders():
    return ["one"]

attach(app, "data.db")

async def main():
    async with living(app) as client:
        draft = {"name": "orders", "method": "GET", "endpoint": "/orders"}
        made = (await client.post("/schedules", json=draft)).json()
        run = {}
        while run.get("status") != "success":
            run = (await client.post(f"/schedules/{made['id']}/trigger?wait=20")).json()
        print(run["output"]["content"])

asyncio.run(main())
"""


def test_an_app_without_agno_needs_no_agno(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _WITHOUT_AGNO]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.strip() == '["one"]', done.stderr
    assert (tmp_path / "data.agentclock.db").exists()
