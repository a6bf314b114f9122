"""`agentclock export`, and what it writes put to use: curl and EventBridge trigger a server that asks for a key."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import ClientSession, ClientTimeout
from tests.exported import Sent, requests, scheduler_event
from tests.processes import Serve, Target, serving, until
from typer.testing import CliRunner, Result

from agentclock.app import make_store
from agentclock.cli.main import app
from agentclock.config import Settings
from agentclock.core.audit import Action
from agentclock.core.model import Schedule
from agentclock.engine.clock import SystemClock
from agentclock.ports import PageRequest, Store
from agentclock.ports.records import AuditFilter
from agentclock.scheduler import EngineState, Scheduler

KEY = 'key-of-the-cluster-"1'
RETRIES_OF_EVENTBRIDGE = 185
URL = "https://clock.example.com"


async def export(database: str, *arguments: str) -> Result:
    command = ["export", *arguments, "--database", database]
    environment = {"COLUMNS": "200", "NO_COLOR": "1"}
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, command, env=environment))


@dataclass
class House:
    """A server with a security key, its target, and a database that commands work on beside it."""

    serve: Serve
    target: Target
    database: str
    folder: Path
    ids: dict[str, str] = field(default_factory=dict)

    async def add(self, name: str, **fields: Any) -> str:
        answer = await self.serve.post("/schedules", {"name": name, "endpoint": "/hook", **fields})
        self.ids[name] = answer["id"]
        return str(answer["id"])

    async def export(self, *arguments: str) -> Result:
        return await export(self.database, *arguments)

    async def runs(self, name: str) -> list[dict[str, Any]]:
        answer = await self.serve.get(f"/schedules/{self.ids[name]}/runs")
        return list(answer["data"])


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    database = str(tmp_path / "clock.db")
    config = tmp_path / "agentclock.toml"
    config.write_text(f"[agentclock]\nsecurity_key = {json.dumps(KEY)}\n", encoding="utf-8")
    async with Target() as target, serving(database, target, "--config", str(config)) as serve:
        serve.session.headers["Authorization"] = f"Bearer {KEY}"
        yield House(serve, target, database, tmp_path)


def listening_curl(folder: Path) -> str:
    """A folder with a `curl` that writes its command line down and then does what the real one does."""
    curl = folder / "bin" / "curl"
    curl.parent.mkdir()
    real = next(Path(place) / "curl" for place in os.environ["PATH"].split(":") if (Path(place) / "curl").exists())
    curl.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {folder}/arguments\nexec {real} "$@"\n', encoding="utf-8")
    curl.chmod(0o755)
    return f"{curl.parent}:{os.environ['PATH']}"


async def run_pod(manifest: dict[str, Any], name: str, *, path: str, token: str = KEY) -> tuple[int, str, str]:
    """What the kubelet does with the container of a Job of that name. Answers exit code, stdout, stderr."""
    container = manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    environment = {"PATH": path}
    for variable in container["env"]:
        source = variable["valueFrom"]
        if "fieldRef" in source:
            assert source["fieldRef"]["fieldPath"] == "metadata.labels['batch.kubernetes.io/job-name']"
        environment[variable["name"]] = name if "fieldRef" in source else token
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*container["command"], env=environment, stdout=pipe, stderr=pipe)
    said, complained = await process.communicate()
    return await process.wait(), said.decode(), complained.decode()


async def test_a_job_of_the_cronjob_is_one_run_however_many_pods_it_takes(house: House) -> None:
    await house.add("nightly-report", cron_expr="30 2 * * 1-5", timezone="Europe/Berlin")
    written = await house.export("k8s", "nightly-report", "--url", house.serve.url, "--on-demand")
    assert written.exit_code == 0, written.output
    manifest = yaml.safe_load(written.stdout)
    assert manifest["spec"]["suspend"] is False
    due = int(time.time()) // 60
    path = listening_curl(house.folder)

    code, said, complained = await run_pod(manifest, f"nightly-report-{due}", path=path)
    assert code == 0, complained
    first = json.loads(said)
    # Whoever makes a Secret from a file puts a line end into it.
    again, said, _ = await run_pod(manifest, f"nightly-report-{due}", path=path, token=f"{KEY}\n")
    assert again == 0
    assert json.loads(said)["id"] == first["id"]
    await until(lambda: len(house.target.calls) == 1)
    assert [run["id"] for run in await house.runs("nightly-report")] == [first["id"]]
    assert first["fire_at"].startswith(time.strftime("%Y-%m-%dT%H:%M:00", time.gmtime(due * 60)))

    await until(lambda: _is_over(house, "nightly-report"))
    code, said, complained = await run_pod(manifest, "by-hand-12345678", path=path)
    assert code == 0, complained
    assert json.loads(said)["id"] != first["id"]
    assert len(await house.runs("nightly-report")) == 2

    impatient = yaml.safe_load(written.stdout.replace("--retry 4", "--retry 0"))
    code, said, complained = await run_pod(impatient, "nightly-report-1", path=path, token="guessed")
    assert (code, "401" in complained, "detail" in said) == (22, True, True)
    assert len(await house.runs("nightly-report")) == 2
    arguments = (house.folder / "arguments").read_text(encoding="utf-8")
    assert f"Idempotency-Key: nightly-report-{due}" in arguments
    assert KEY not in arguments


async def _is_over(house: House, name: str) -> bool:
    return all(run["status"] == "success" for run in await house.runs(name))


async def test_eventbridge_tries_185_times_and_makes_one_run(house: House) -> None:
    schedule_id = await house.add("nightly-report", cron_expr="0 3 * * mon#1", timezone="America/New_York")
    file = house.folder / "clock.yaml"
    written = await house.export(
        "eventbridge", "nightly-report", "--url", house.serve.url, "--on-demand", "-o", str(file)
    )
    assert written.exit_code == 0, written.output
    template = yaml.safe_load(file.read_text(encoding="utf-8"))
    [name] = [name for name, made in template["Resources"].items() if made["Type"] == "AWS::Scheduler::Schedule"]
    assert template["Resources"][name]["Properties"]["ScheduleExpression"] == "cron(0 3 ? * 2#1 *)"

    now = time.time()
    due, later = (time.strftime("%Y-%m-%dT%H:%M:00Z", time.gmtime(at)) for at in (now - 60, now))
    [request] = requests(template, scheduler_event(template, name, due), {"agentclock/token": KEY})
    assert request.url == f"{house.serve.url}/schedules/{schedule_id}/trigger?wait=0"
    answers = await asyncio.gather(*(send(request) for _ in range(RETRIES_OF_EVENTBRIDGE + 1)))
    assert {status for status, _, _ in answers} <= {200, 202}
    assert sum(replayed for _, replayed, _ in answers) == RETRIES_OF_EVENTBRIDGE
    assert len({run["id"] for _, _, run in answers}) == 1
    await until(lambda: _is_over(house, "nightly-report"))
    [run] = await house.runs("nightly-report")
    assert run["fire_at"].startswith(due[:-1])

    [request] = requests(template, scheduler_event(template, name, later), {"agentclock/token": KEY})
    await send(request)
    assert len(await house.runs("nightly-report")) == 2
    await until(lambda: len(house.target.calls) == 2)


async def send(request: Sent) -> tuple[int, bool, dict[str, Any]]:
    async with (
        ClientSession(timeout=ClientTimeout(total=5)) as session,
        session.request(request.method, request.url, headers=request.headers, data=request.body) as answer,
    ):
        return answer.status, answer.headers.get("Idempotent-Replayed") == "true", await answer.json()


@dataclass
class Shelf:
    """A database that no server works on."""

    database: str
    folder: Path

    @asynccontextmanager
    async def scheduler(self) -> AsyncIterator[tuple[Scheduler, Store]]:
        clock = SystemClock()
        store, _ = make_store(Settings.load(database=self.database), clock)
        await store.open()
        state = EngineState(status="stopped")
        yield Scheduler(store, clock=clock, wakeup=lambda: None, engine_state=lambda: state), store
        await store.close()

    async def add(self, name: str, **fields: Any) -> str:
        async with self.scheduler() as (scheduler, _):
            return (await scheduler.create({"name": name, "endpoint": "/hook", **fields})).id

    async def schedule(self, schedule_id: str) -> Schedule:
        async with self.scheduler() as (scheduler, _):
            return await scheduler.get(schedule_id)

    async def export(self, *arguments: str) -> Result:
        return await export(self.database, *arguments)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(str(tmp_path / "clock.db"), tmp_path)


async def test_nothing_fires_twice(shelf: Shelf) -> None:
    """A clock beside a schedule's own timetable stands still; with --on-demand that one is taken away."""
    schedule_id = await shelf.add("nightly-report", cron_expr="0 3 * * *", timezone="Europe/Rome")
    beside = await shelf.export("k8s", "nightly-report", "--url", URL)
    assert beside.exit_code == 0
    assert yaml.safe_load(beside.stdout)["spec"]["suspend"] is True
    assert "still fires by itself" in beside.stderr
    assert "--on-demand" in beside.stderr
    beside = await shelf.export("eventbridge", "nightly-report", "--url", URL)
    assert states(yaml.safe_load(beside.stdout)) == ["DISABLED"]
    assert (await shelf.schedule(schedule_id)).cron_expr == "0 3 * * *"

    taken = await shelf.export("eventbridge", "nightly-report", "--url", URL, "--on-demand", "--format", "json")
    assert states(json.loads(taken.stdout)) == ["ENABLED"]
    assert "is on demand now" in taken.stderr
    schedule = await shelf.schedule(schedule_id)
    assert (schedule.cron_expr, schedule.next_fire_at, schedule.enabled) == (None, None, True)
    async with shelf.scheduler() as (_, store):
        newest = (await store.audit(AuditFilter(schedule_id=schedule_id), PageRequest())).items[0]
    assert (newest.action, newest.actor, newest.source) == (Action.CHANGED, "cli", "cli")


async def test_a_schedule_on_demand_takes_the_timetable_of_the_command_line(shelf: Shelf) -> None:
    await shelf.add("nightly-report", cron_expr="0 3 * * *", timezone="Europe/Rome")
    assert (await shelf.export("k8s", "nightly-report", "--url", URL, "--on-demand")).exit_code == 0
    gone = await shelf.export("k8s", "nightly-report", "--url", URL)
    assert gone.exit_code == 1
    assert gone.stdout == ""
    assert "--cron '0 3 * * *' --timezone Europe/Rome" in gone.stderr
    given = await shelf.export("k8s", "nightly-report", "--url", URL, "--cron", "0 4 * * *", "-z", "Europe/Rome")
    spec = yaml.safe_load(given.stdout)["spec"]
    assert (spec["schedule"], spec["timeZone"], spec["suspend"]) == ("0 4 * * *", "Europe/Rome", False)
    by_rule = await shelf.export("eventbridge", "nightly-report", "--url", URL, "--rule", "--cron", "0 4 * * *")
    assert by_rule.exit_code == 1
    assert "a rule knows no Europe/Rome" in by_rule.stderr


def states(template: dict[str, Any]) -> list[str]:
    made = template["Resources"].values()
    return [entry["Properties"]["State"] for entry in made if entry["Type"] == "AWS::Scheduler::Schedule"]


async def test_what_cannot_be_kept_is_named_and_the_rest_is_written(shelf: Shelf) -> None:
    await shelf.add("plain", cron_expr="0 3 * * *", tags=["night"])
    await shelf.add("both-days", cron_expr="0 0 */2 * mon", tags=["night"])
    await shelf.add("often", interval_seconds=90, tags=["night"])
    await shelf.add("by-hand", tags=["night"])
    folder = shelf.folder / "cron"
    written = await shelf.export("k8s", "--tag", "night", "--url", URL, "-o", f"{folder}/")
    assert written.exit_code == 1
    assert [file.name for file in folder.iterdir()] == ["plain.yaml"]
    assert "both-days: not exported: day-of-month: */2 and mon must both match here" in written.stderr
    assert "often: not exported: interval_seconds:" in written.stderr
    assert "by-hand" not in written.stderr


async def test_a_disabled_schedule_gets_a_clock_that_stands_still(shelf: Shelf) -> None:
    schedule_id = await shelf.add("paused", cron_expr="0 3 * * *")
    async with shelf.scheduler() as (scheduler, _):
        await scheduler.disable(schedule_id)
    written = await shelf.export("k8s", "paused", "--url", URL, "--on-demand")
    assert yaml.safe_load(written.stdout)["spec"]["suspend"] is True
    assert "is disabled, and triggers are refused (409)" in written.stderr


async def test_wrong_commands_are_refused_before_anything_changes(shelf: Shelf) -> None:
    schedule_id = await shelf.add("plain", cron_expr="0 3 * * *")
    for arguments, said in (
        (["k8s"], "say which"),
        (["k8s", "plain", "--all"], "say which"),
        (["k8s", "plian"], "did you mean plain"),
        (["k8s", "plain", "--on-demand", "--cron", "61 * * * *"], "61 is not in 0-59"),
        (["k8s", "plain", "--on-demand", "-o", f"{shelf.folder}/none/x.yaml"], "none/x.yaml"),
        (["k8s", "plain", "--url", "clock.example.com"], "is not a URL"),
        (["eventbridge", "--tag", "none"], "none that has a timetable"),
    ):
        answer = await shelf.export(*arguments)
        assert answer.exit_code == 2, answer.output
        assert said in answer.stderr
    assert (await shelf.schedule(schedule_id)).cron_expr == "0 3 * * *"
    assert (await export(f"{shelf.folder}/none.db", "k8s", "--all")).exit_code == 2
