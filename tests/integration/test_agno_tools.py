"""An agent that schedules itself, with agno's own tools, in the process that runs agentclock; nothing but the import
of AgentOS tells it from a host of agno's."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from agno.agent import Agent
from agno.db.base import ComponentType
from agno.db.sqlite import AsyncSqliteDb, SqliteDb
from agno.models.message import Message
from agno.models.response import ModelResponse
from agno.scheduler.manager import ScheduleManager
from agno.tools.scheduler import SchedulerTools
from tests.agno_host import living
from tests.processes import until

from agentclock.agno.adapter import METHODS, bind
from agentclock.agno.guard_rails import GuardRails
from agentclock.agno.offline import OfflineModel
from agentclock.agno.os import AgentOS
from agentclock.app import Clockwork, assemble
from agentclock.config import Settings
from agentclock.core.errors import StoreUnavailable

ENDPOINT = "/agents/clockmaker/runs"
INSIDE = json.dumps({"message": "inside"})

#: The tool to call and its arguments, given what the tools said so far in this turn.
Step: TypeAlias = Callable[[list[dict[str, Any]]], tuple[str, dict[str, Any]]]


def step(tool: str, **arguments: Any) -> Step:
    return lambda _: (tool, arguments)


def on_first(tool: str) -> Step:
    """A call about the schedule that the first answer tells of."""
    return lambda told: (tool, {"schedule_id": told[0].get("id") or told[0]["schedules"][0]["id"]})


@dataclass
class ScriptedModel(OfflineModel):
    """Calls tools by a script, chosen by what it is told, and answers with what they said."""

    scripts: dict[str, list[Step]] = field(default_factory=dict)

    def _deltas(self, messages: list[Message], *_args: Any, **_kwargs: Any) -> Iterator[tuple[float, ModelResponse]]:
        asked = max(n for n, message in enumerate(messages) if message.role == "user")
        told = [json.loads(message.get_content_string()) for message in messages[asked:] if message.role == "tool"]
        script = self.scripts[messages[asked].get_content_string()]
        if len(told) == len(script):
            yield 0.0, ModelResponse(role="assistant", content=json.dumps(told))
            return
        name, arguments = script[len(told)](told)
        function = {"name": name, "arguments": json.dumps(arguments)}
        call = {"id": f"call_{len(told)}", "type": "function", "function": function}
        yield 0.0, ModelResponse(role="assistant", tool_calls=[call])


SCRIPTS: dict[str, list[Step]] = {
    "plan": [
        step("create_schedule", name="mine", cron="0 9 * * *", payload=INSIDE),
        on_first("trigger_schedule"),
        step("list_schedules"),
    ],
    "inside": [
        step("list_schedules"),
        step("create_schedule", name="nested", cron="0 10 * * *", payload=INSIDE),
        on_first("disable_schedule"),
    ],
    "too often": [step("create_schedule", name="often", cron="* * * * *", payload=INSIDE)],
    "clean up": [step("list_schedules"), on_first("get_schedule_runs"), on_first("delete_schedule")],
}


def clockmaker(db: Any) -> Agent:
    return Agent(
        id="clockmaker",
        model=ScriptedModel(delay_seconds=0.0, scripts=SCRIPTS),
        tools=[SchedulerTools(db=db, default_endpoint=ENDPOINT)],
        telemetry=False,
    )


# agno copies the toolkit for each request, its asynchronous database with a lock and an event loop included.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <function BaseEventLoop.__del__")
@pytest.mark.parametrize("kind", [SqliteDb, AsyncSqliteDb])
async def test_an_agent_makes_starts_stops_and_deletes_its_own_schedule(kind: Any, tmp_path: Path) -> None:
    db = kind(db_file=str(tmp_path / "agno.db"))
    app = AgentOS(db=db, agents=[clockmaker(db)], scheduler=True, telemetry=False).get_app()

    async with living(app) as client:

        async def tell(message: str) -> list[dict[str, Any]]:
            answer = await client.post(ENDPOINT, data={"message": message, "stream": "false", "user_id": "ann"})
            said: list[dict[str, Any]] = json.loads(answer.json()["content"])
            return said

        made, started, listed = await tell("plan")
        assert (made["status"], started["status"], listed["count"]) == ("created", "triggered", 1)
        runs = f"/schedules/{made['id']}/runs"

        async def the_run() -> dict[str, Any]:
            found: dict[str, Any] = (await client.get(runs)).json()["data"][0]
            return found

        async def is_over() -> bool:
            return (await the_run())["completed_at"] is not None

        await until(is_over)
        run = await the_run()
        assert (run["cause"], run["status"]) == ("manual", "success")
        saw, nested, disabled = json.loads(run["output"]["content"])
        assert saw["schedules"][0]["id"] == made["id"]
        assert "allow_nested" in nested["error"]
        assert disabled["enabled"] is False

        schedule = (await client.get(f"/schedules/{made['id']}")).json()
        assert (schedule["user_id"], schedule["enabled"]) == ("ann", False)
        changed = {"via": "tools", "schedule_id": made["id"], "run_id": run["id"]}
        assert schedule["provenance"] == {"via": "tools", "changed": changed}

        assert "60 s apart" in (await tell("too often"))[0]["error"]
        _, history, deleted = await tell("clean up")
        assert [past["status"] for past in history["runs"]] == ["success"]
        assert deleted["status"] == "deleted"
        assert (await client.get("/schedules")).json()["data"] == []


async def test_a_synchronous_agent_in_a_thread_and_on_the_loops_own(tmp_path: Path) -> None:
    db = SqliteDb(db_file=str(tmp_path / "agno.db"))
    agent = clockmaker(db)
    app = AgentOS(db=db, agents=[agent], scheduler=True, guard_rails=GuardRails(), telemetry=False).get_app()
    async with living(app) as client:
        here = agent.run("plan", user_id="ann")
        there = await asyncio.to_thread(agent.run, "clean up", user_id="ann")
        assert json.loads(str(here.content))[0]["status"] == "created"
        assert json.loads(str(there.content))[2]["status"] == "deleted"
        assert (await client.get("/schedules")).json()["data"] == []


# the binding


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def clockwork(request: pytest.FixtureRequest, tmp_path: Path) -> Clockwork:
    sqlite = request.param == "sqlite"
    database = str(tmp_path / "clock.db") if sqlite else request.getfixturevalue("empty_postgres_dsn")
    return assemble(Settings(database=database))


async def test_a_binding_works_before_during_and_after_the_life_of_the_clockwork(
    clockwork: Clockwork, tmp_path: Path
) -> None:
    db = SqliteDb(db_file=str(tmp_path / "agno.db"))
    manager = ScheduleManager(db)
    binding = bind(db, clockwork)
    manager.create("before", "0 9 * * *", "/x")
    await clockwork.start()
    try:
        manager.create("on the loop", "0 9 * * *", "/x")
        await manager.acreate("during", "0 9 * * *", "/x")
        page = await clockwork.scheduler.list()
        assert {schedule.name for schedule in page.items} == {"before", "on the loop", "during"}
    finally:
        await clockwork.stop()
    assert len(manager.list()) == 3
    await asyncio.to_thread(binding.unbind)
    assert manager.list() == [], "agno's own tables again"
    assert not set(METHODS) & vars(db).keys()
    manager.close()


async def test_changes_wake_the_engine_at_once(clockwork: Clockwork, tmp_path: Path) -> None:
    """Its loops sleep for the poll interval otherwise, longer than this test may take."""
    db = SqliteDb(db_file=str(tmp_path / "agno.db"))
    binding = bind(db, clockwork)
    await clockwork.start()
    try:
        await until(lambda: clockwork.engine.status == "running")
        kit = SchedulerTools(db=db, default_endpoint="/nowhere")
        made = json.loads(await kit.acreate_schedule("mine", "0 9 * * *"))
        kit.trigger_schedule(made["id"])

        async def is_taken() -> bool:
            runs = (await clockwork.scheduler.runs(made["id"])).items
            return bool(runs) and runs[0].run.started_at is not None

        await until(is_taken)
    finally:
        await clockwork.stop()
    await asyncio.to_thread(binding.unbind)


async def test_many_threads_and_the_loop_at_once(clockwork: Clockwork, tmp_path: Path) -> None:
    db = SqliteDb(db_file=str(tmp_path / "agno.db"))
    binding = bind(db, clockwork, rails=GuardRails(max_schedules=10))
    kit = SchedulerTools(db=db, default_endpoint="/x")
    answers: list[str] = []
    await clockwork.start()
    try:
        threads = [
            threading.Thread(target=lambda n=n: answers.append(kit.create_schedule(f"s{n}", "0 9 * * *")))
            for n in range(20)
        ]
        for thread in threads:
            thread.start()
        mine = [kit.create_schedule("on the loop", "0 9 * * *"), await kit.acreate_schedule("async", "0 9 * * *")]
        for thread in threads:
            await asyncio.to_thread(thread.join)
        page = await clockwork.scheduler.list()
        assert len(page.items) == sum("error" not in json.loads(answer) for answer in (*answers, *mine)) == 10
    finally:
        await clockwork.stop()
    await asyncio.to_thread(binding.unbind)


async def test_schedules_in_memory_begin_with_the_clockwork(tmp_path: Path) -> None:
    db = SqliteDb(db_file=str(tmp_path / "agno.db"))
    clockwork = assemble(Settings(database=":memory:"))
    binding = bind(db, clockwork)
    with pytest.raises(StoreUnavailable, match="has not been started"):
        ScheduleManager(db).create("lost", "0 9 * * *", "/x")
    await clockwork.start()
    try:
        ScheduleManager(db).create("kept", "0 9 * * *", "/x")
        assert (await clockwork.scheduler.list()).total_count == 1
    finally:
        await clockwork.stop()
    await asyncio.to_thread(binding.unbind)


async def test_what_is_due_before_the_clockwork_starts_waits_for_it(tmp_path: Path) -> None:
    """A poller that is not ours could not hold it: the file is open for one call at a time."""
    db = SqliteDb(db_file=str(tmp_path / "agno.db"))
    clockwork = assemble(Settings(database=str(tmp_path / "clock.db")))
    binding = bind(db, clockwork)
    manager = ScheduleManager(db)
    made = manager.create("early", "0 9 * * *", "/nowhere")
    manager.update(made.id, next_run_at=1_700_000_000)
    assert db.claim_due_schedule("poller") is None
    await clockwork.start()
    try:

        async def is_taken() -> bool:
            return len((await clockwork.scheduler.runs(made.id)).items) == 1

        await until(is_taken)
    finally:
        await clockwork.stop()
    await asyncio.to_thread(binding.unbind)


async def test_what_a_script_schedules_before_it_asks_for_the_app(tmp_path: Path) -> None:
    """With a manager and tools that are older than the AgentOS."""
    db = SqliteDb(db_file=str(tmp_path / "agno.db"))
    manager, kit = ScheduleManager(db), SchedulerTools(db=db, default_endpoint="/nowhere")
    agent_os = AgentOS(db=db, agents=[clockmaker(db)], scheduler=True, telemetry=False)
    manager.create("by hand", "0 9 * * *", ENDPOINT)
    assert json.loads(kit.create_schedule("by tool", "0 9 * * *"))["status"] == "created"
    async with living(agent_os.get_app()) as client:
        manager.create("while it lives", "0 9 * * *", ENDPOINT)
        names = {row["name"] for row in (await client.get("/schedules")).json()["data"]}
    assert names == {"by hand", "by tool", "while it lives"}
    assert len(manager.list()) == 3
    manager.close()


async def test_the_tools_of_a_database_follow_whichever_agent_os_lives(tmp_path: Path) -> None:
    """Two share a database object; the archiving of a component is told of once."""
    db = SqliteDb(db_file=str(tmp_path / "agno.db"))
    first, second = (AgentOS(db=db, agents=[clockmaker(db)], scheduler=True, telemetry=False) for _ in range(2))
    app = first.get_app()
    async with living(app) as client:
        second.get_app()
        made = ScheduleManager(db).create("mine", "0 9 * * *", ENDPOINT)
        assert (await client.get(f"/schedules/{made.id}")).json()["name"] == "mine"
        db.upsert_component("clockmaker", component_type=ComponentType.AGENT, name="clockmaker")
        cascade: dict[str, int] = {}
        assert db.delete_component("clockmaker", cascade_stats=cascade)
        assert cascade["schedules_disabled"] == 1


def test_archiving_a_component_stops_its_schedules_here(tmp_path: Path) -> None:
    db = SqliteDb(db_file=str(tmp_path / "agno.db"))
    binding = bind(db, assemble(Settings(database=str(tmp_path / "clock.db"))))
    db.upsert_component("a1", component_type=ComponentType.AGENT, name="a1")
    manager = ScheduleManager(db)
    aimed = manager.create("aimed", "0 9 * * *", "/agents/a1/runs")
    spared = manager.create("spared", "0 9 * * *", "/agents/a2/runs")
    cascade: dict[str, int] = {}
    assert db.delete_component("a1", cascade_stats=cascade)
    assert cascade["schedules_disabled"] == 1
    stopped, going = manager.get(aimed.id), manager.get(spared.id)
    assert stopped is not None
    assert going is not None
    assert (stopped.enabled, stopped.disabled_reason) == (False, "target_archived:agent:a1")
    assert going.enabled
    refused = json.loads(SchedulerTools(db=db).enable_schedule(aimed.id))
    assert refused["error_type"] == "target_archived"
    binding.unbind()
    assert "delete_component" not in vars(db)
