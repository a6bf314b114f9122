"""Answers to paused runs inside an AgentOS reach the run in its owner's name, whatever the authentication."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from agno.os.authz import Authorization
from agno.os.settings import AgnoAPISettings
from fastapi import FastAPI
from tests import agno_rig
from tests.agno_host import SECRET, as_user, living

from agentclock.agno import attach
from agentclock.app import Clockwork
from agentclock.core.actors import Actor

AUTHENTICATION: dict[str, dict[str, Any]] = {
    "none": {},
    "security key": {"settings": AgnoAPISettings(os_security_key="the key")},
    "tokens": {"authorization": Authorization(verification_keys=[SECRET], algorithm="HS256"), "user_isolation": True},
}


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FastAPI]:
    """One app for each kind of authentication, which may live more than once: to make it takes longest."""
    return {kind: app_of(tmp_path_factory.mktemp("agno"), kind) for kind in AUTHENTICATION}


def app_of(folder: Path, kind: str) -> FastAPI:
    agent_os = agno_rig.build(folder / "agno.db", **AUTHENTICATION[kind])
    attach(agent_os)
    return agent_os.get_app()


@pytest.mark.parametrize("owner", ["bob", None])
@pytest.mark.parametrize("kind", AUTHENTICATION)
async def test_agents_teams_and_workflows_go_on(apps: dict[str, FastAPI], kind: str, owner: str | None) -> None:
    app = apps[kind]
    async with living(app):
        clockwork: Clockwork = app.state.agentclock
        for component in ("agents/spender", "teams/spenders", "workflows/asking"):
            draft = {"name": component.replace("/", "."), "endpoint": f"/{component}/runs"}
            payload = {"message": "please spend 12"}
            schedule = await clockwork.scheduler.create({**draft, "payload": payload}, user_id=owner)
            waiting = await clockwork.scheduler.trigger(schedule.id, wait_seconds=60)
            assert waiting.run.status == "paused", (component, waiting.run.error)
            done = await clockwork.runs.continue_(
                schedule.id, waiting.run.id, {"action": "approve"}, by=Actor("ann"), wait_seconds=60
            )
            assert (done.run.status, done.run.error) == ("success", None), component


async def test_a_user_cannot_continue_what_is_anothers_with_a_header(apps: dict[str, FastAPI]) -> None:
    app = apps["tokens"]
    async with living(app) as client:
        clockwork: Clockwork = app.state.agentclock
        draft = {"name": "bobs", "endpoint": "/agents/spender/runs", "payload": {"message": "please spend 12"}}
        schedule = await clockwork.scheduler.create(draft, user_id="bob")
        run = (await clockwork.scheduler.trigger(schedule.id, wait_seconds=60)).run
        url = f"/agents/spender/runs/{run.agent_run_id}/continue"
        form = {"tools": "[]", "session_id": run.session_id or ""}
        headers = {**as_user("eve", "agents:run"), "X-Schedule-Owner": "bob"}
        assert (await client.post(url, data=form, headers=headers)).status_code in (403, 404)
