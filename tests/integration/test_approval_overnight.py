"""A run that waits for a human outlives everything: agentclock, AgentOS, and the night."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.agno_rig import build, served

from agentclock.app import Clockwork, assemble
from agentclock.config import Settings
from agentclock.core.actors import Actor
from agentclock.core.model import RunStatus
from agentclock.ports import PageRequest, RunFilter
from agentclock.runs import RunDetail
from agentclock.testing import FakeClock

HOUR = 3_600
MESSAGE = {"message": "please spend 12"}
COMPONENTS = ["agents/spender", "teams/spenders", "workflows/asking"]


@asynccontextmanager
async def day(folder: Path, clock: FakeClock) -> AsyncIterator[Clockwork]:
    """AgentOS and agentclock, both started anew on what the last day left."""
    async with served(build(folder / "agno.db").get_app()) as url:
        settings = Settings(database=str(folder / "ours.db"), targets={"default": {"base_url": url}})
        clockwork = assemble(settings, clock=clock)
        await clockwork.start()
        try:
            yield clockwork
        finally:
            await clockwork.stop()


async def paused(clockwork: Clockwork, component: str, **fields: Any) -> RunDetail:
    draft = {"name": "nightly", "endpoint": f"/{component}/runs", "payload": MESSAGE, **fields}
    schedule = await clockwork.scheduler.create(draft)
    return await settled(clockwork, (await clockwork.scheduler.trigger(schedule.id)).run.id, RunStatus.PAUSED)


async def settled(clockwork: Clockwork, run_id: str, *wanted: RunStatus) -> RunDetail:
    """The run as soon as it is in one of these states; the bus says when to look."""
    with clockwork.bus.watch(run_id) as changed:
        while True:
            run = await clockwork.store.get_run(run_id)
            assert run is not None
            if run.status in wanted or run.status.is_final:
                return RunDetail(run=run, attempts=tuple(await clockwork.store.attempts(run_id)))
            await changed.wait()
            changed.clear()


@pytest.mark.parametrize("component", COMPONENTS)
async def test_an_hour_and_two_restarts_later_the_agent_goes_on(tmp_path: Path, component: str) -> None:
    clock = FakeClock()
    async with day(tmp_path, clock) as clockwork:
        waiting = await paused(clockwork, component)
        assert waiting.run.status is RunStatus.PAUSED
    clock.advance(HOUR)
    async with day(tmp_path, clock) as clockwork:
        inbox = await clockwork.runs.list(RunFilter(statuses=(RunStatus.PAUSED,)), PageRequest())
        assert [detail.run.id for detail in inbox.items] == [waiting.run.id]
        await clockwork.runs.continue_(waiting.run.schedule_id, waiting.run.id, {"action": "approve"}, by=Actor("ann"))
        done = await settled(clockwork, waiting.run.id, RunStatus.SUCCESS)
    assert (done.run.status, done.run.error) == (RunStatus.SUCCESS, None)
    assert [(attempt.number, attempt.status) for attempt in done.attempts] == [(1, RunStatus.SUCCESS)]
    assert done.run.agent_run_id == waiting.run.agent_run_id


@pytest.mark.parametrize(
    ("action", "expected"), [("cancel", RunStatus.CANCELLED), ("fail", RunStatus.FAILED)], ids=["cancel", "fail"]
)
async def test_what_nobody_approves_ends_as_the_schedule_says(tmp_path: Path, action: str, expected: RunStatus) -> None:
    clock = FakeClock()
    async with day(tmp_path, clock) as clockwork:
        fields = {"approval_timeout_seconds": HOUR, "approval_timeout_action": action, "max_retries": 3}
        waiting = await paused(clockwork, "agents/spender", **fields)
    clock.advance(HOUR + 1)
    async with day(tmp_path, clock) as clockwork:
        done = await settled(clockwork, waiting.run.id, expected)
    assert done.run.status is expected
    assert "not approved" in (done.run.error or "")
    assert len(done.attempts) == 1
