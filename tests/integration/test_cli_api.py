"""The commands over the API, against a server and directly on either kind of database."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog
from tests.processes import Serve, serving, until
from tests.talker import Talker
from typer.testing import CliRunner, Result

from agentclock.cli.main import app
from agentclock.engine.clock import SystemClock
from agentclock.store.sqlite import SqliteStore

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "a-long-random-key-of-the-tests"


@dataclass(frozen=True, slots=True)
class Stage:
    """A server with an engine, what it calls, and its file."""

    server: Serve
    talker: Talker
    database: str

    async def run(self, *arguments: str, code: int = 0, stdin: str | None = None) -> str:
        """What a command shows that speaks to the server, and must end with `code`."""
        found = await asyncio.to_thread(invoke, "--url", self.server.url, *arguments, stdin=stdin)
        assert found.exit_code == code, found.output
        return str(found.output)

    async def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(await self.run(*arguments, "--json", code=code))


def invoke(*arguments: str, stdin: str | None = None) -> Result:
    """The options of the connection go behind the command."""
    connection = [word for word in arguments[:2] if arguments[0].startswith("--")]
    command = [*arguments[len(connection) :], *connection]
    structlog.reset_defaults()  # as in a process of its own, whatever other tests have set up
    return CliRunner().invoke(app, command, input=stdin, env={"NO_COLOR": "1", "COLUMNS": "200"})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    database = str(tmp_path_factory.mktemp("cli") / "clock.db")
    async with Talker() as talker, serving(database, talker) as server:
        yield Stage(server, talker, database)


def last_line(text: str) -> str:
    return text.splitlines()[-1]


async def test_a_schedule_from_its_making_to_its_end(stage: Stage) -> None:
    timing = ("--cron", "30 2 * * *", "--zone", "Europe/Rome")
    made = await stage.run("schedules", "create", "life", *timing, "--agent", "brief", "--message", "hi", "--tag", "t1")
    assert "At 02:30, every day, Europe/Rome" in made
    assert "! 02:30 does not exist on" in made
    assert made.count("T02:30:00+0") >= 4
    assert last_line(made).startswith("life is made: ")

    [row] = (await stage.json("schedules", "list", "--tag", "t1"))["data"]
    assert (row["name"], row["endpoint"], row["payload"]) == ("life", "/agents/brief/runs", {"message": "hi"})
    head, line = (await stage.run("schedules", "list", "--tag", "t1")).splitlines()
    cells = dict(zip(head.split("\t"), line.split("\t"), strict=True))
    assert (cells["id"], cells["name"], cells["enabled"], cells["cron_expr"]) == (row["id"], "life", "true", timing[1])

    assert "life is changed: cron_expr" in await stage.run("schedules", "edit", "life", "--cron", "0 4 * * *")
    shown = await stage.run("schedules", "show", row["id"])
    assert "At 04:00, every day, Europe/Rome" in shown
    assert "T04:00:00+0" in shown
    assert "life is disabled" in await stage.run("schedules", "disable", "life")
    assert "disabled" in await stage.run("schedules", "show", "life")
    assert "life is enabled; fires in " in await stage.run("schedules", "enable", "life")
    assert "say --yes" in await stage.run("schedules", "delete", "life", code=2)
    assert "life is deleted" in await stage.run("schedules", "delete", "life", "--yes")
    assert "'life' is neither the name nor the id" in await stage.run("schedules", "show", "life", code=3)


async def test_a_preview_makes_nothing(stage: Stage) -> None:
    shown = await stage.run("schedules", "create", "never", "--cron", "@daily", "--agent", "a", "--dry-run")
    assert "At 00:00, every day, UTC" in shown
    assert (await stage.json("schedules", "list", "--name", "never"))["data"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--cron", "99 * * * *", "--agent", "a"), "cron_expr: minute: 99 is not in 0-59"),
        (("--cron", "@daily", "--zone", "Europe/Rme", "--agent", "a"), "timezone: unknown time zone 'Europe/Rme'"),
        (("--cron", "@daily"), "say what is called: --agent, --team, --workflow or --endpoint"),
        (("--agent", "a", "--set", "nonsense=1"), "nonsense: unknown field 'nonsense'"),
        (("--agent", "a", "--timeout", "0"), "timeout_seconds: "),
    ],
)
async def test_what_is_wrong_is_named_by_its_field(stage: Stage, arguments: tuple[str, ...], message: str) -> None:
    assert message in await stage.run("schedules", "create", "wrong", *arguments, code=2)


async def test_exit_codes_tell_how_a_run_ended(stage: Stage) -> None:
    await stage.run("schedules", "create", "hook", "--endpoint", "/hook", "--payload", '{"a": 1}')
    good = await stage.run("schedules", "trigger", "hook", "--payload", '{"b": 2}', "--reason", "try", "--wait")
    assert last_line(good).startswith("● success")
    assert {"a": 1, "b": 2} in stage.talker.heard
    # What the target said is shown, and does nothing.
    assert "\\u001b[31mred" in good
    assert "\x1b" not in good
    stage.talker.status = 404
    bad = await stage.run("schedules", "trigger", "hook", "--tail", code=1)
    assert "✗ failed" in last_line(bad)
    stage.talker.status = 200
    started = await stage.json("schedules", "trigger", "hook")
    assert started["status"] in ("pending", "running")
    await stage.run("runs", "tail", started["id"])
    assert (await stage.json("runs", "show", started["id"]))["status"] == "success"
    again = await stage.run("runs", "cancel", started["id"])
    assert "was over already: success" in again
    assert "not paused" in await stage.run("runs", "approve", started["id"], code=1)
    assert "there is no run" in await stage.run("runs", "show", "nothing", code=3)


async def test_failures_are_listed_and_run_again(stage: Stage) -> None:
    await stage.run("schedules", "create", "flaky", "--endpoint", "/flaky", "--payload", '{"day": "monday"}')
    stage.talker.status = 418
    await stage.run("schedules", "trigger", "flaky", "--wait", code=1)
    stage.talker.status = 200
    [run] = (await stage.json("runs", "list", "--schedule", "flaky", "--failed", "--since", "-1h"))["data"]
    groups = (await stage.json("runs", "failures", "--schedule", "flaky"))["data"]
    assert [(group["status_code"], group["run_ids"]) for group in groups] == [(418, [run["id"]])]
    assert "418" in await stage.run("runs", "failures")
    assert "flaky" in await stage.run("attention")
    edited = ("--payload", '{"day": "tuesday"}', "--wait")
    assert "success" in last_line(await stage.run("runs", "retry", run["id"], *edited))
    assert {"day": "tuesday"} in stage.talker.heard
    [newest, _] = (await stage.json("runs", "list", "--schedule", "flaky"))["data"]
    assert newest["retry_of"] == run["id"]

    many = ("runs", "retry", "--failed", "--schedule", "flaky", "--since", "24h")
    assert "say --yes" in await stage.run(*many, code=2)
    assert f"flaky {run['id']}: runs again" in await stage.run(*many, "--yes")
    assert "needs --since" in await stage.run("runs", "retry", "--failed", code=2)
    assert "say which" in await stage.run("runs", "retry", code=2)


async def test_a_run_that_waits_is_answered(stage: Stage) -> None:
    await stage.run("schedules", "create", "asking", "--agent", "asking")
    waiting = await stage.run("schedules", "trigger", "asking", "--wait", code=1)
    assert '  confirmation of refund {"euros": 37}' in waiting
    [run] = (await stage.json("runs", "list", "--status", "paused"))["data"]
    assert "asking" in await stage.run("runs", "list", "--status", "paused")
    assert f"agentclock runs approve {run['id']}" in waiting
    over = await stage.run("runs", "approve", run["id"], "--note", "fine", "--wait")
    assert last_line(over).startswith("● success")


async def test_what_agents_say_does_not_steer_a_terminal(stage: Stage) -> None:
    await stage.run("schedules", "create", "brief", "--agent", "brief")
    told = await stage.run("schedules", "trigger", "brief", "--tail")
    assert "Hello\N{REPLACEMENT CHARACTER}[2J" in told
    assert '→ look(at="\\u001b]0;title\\u0007")' in told
    assert "← look: twelve" in told
    assert not set(told) & {"\x1b", "\x07"}


async def test_several_at_once(stage: Stage) -> None:
    for name in ("many-1", "many-2"):
        await stage.run("schedules", "create", name, "--cron", "@daily", "--agent", "a")
    both = await stage.run("schedules", "disable", "many-1", "many-2", "--reason", "they move")
    assert sorted(both.splitlines()) == ["many-1: disabled", "many-2: disabled"]
    rows = (await stage.json("schedules", "list", "--search", "many-", "--disabled"))["data"]
    assert len(rows) == 2
    assert await stage.run("schedules", "delete", "many-1", "many-2", "--yes")
    assert "neither" in await stage.run("schedules", "enable", "many-1", "many-2", code=3)


async def test_how_schedules_do(stage: Stage) -> None:
    await stage.run("schedules", "create", "often", "--every", "1", "--endpoint", "/often", "--target", "default")

    async def has_run() -> bool:
        query = ("runs", "list", "--schedule", "often", "--status", "success")
        return len((await stage.json(*query))["data"]) >= 2

    await until(has_run)
    await stage.run("schedules", "disable", "often")
    head, *rows = (await stage.run("stats")).splitlines()
    cells = next(dict(zip(head.split("\t"), row.split("\t"), strict=True)) for row in rows if "\toften\t" in row)
    assert int(cells["runs"]) >= 2
    assert cells["lateness_ms.p99"].isdecimal()
    one = await stage.json("stats", "--schedule", "often")
    assert one["schedule_name"] == "often"
    accounts = await stage.run("stats", "--accounts")
    assert "every fire is accounted for" in accounts
    [account] = (await stage.json("stats", "--accounts", "--schedule", "often"))["data"]
    assert account["due"] == account["runs"] + account["skipped"] + account["missed"] > 0

    drawn = await stage.run("timeline", "--from", "-2min", "--to", "+2min")
    [lane] = [line for line in drawn.splitlines() if line.startswith("often ")]
    assert "●" in lane
    assert "● success" in drawn
    assert (await stage.json("timeline", "--lanes", "1"))["lanes_total"] >= 1
    why = await stage.json("schedules", "why", "often")
    assert why["answer"]
    assert why["answer"] in await stage.run("schedules", "why", "often")


async def test_who_works(stage: Stage) -> None:
    found = await stage.json("workers")
    assert [worker["alive"] for worker in found["data"]] == [True]
    assert found["data"][0]["name"] in await stage.run("workers")


async def completed(*words: str) -> list[str]:
    """What a shell offers for the last word."""
    environment = {"_AGENTCLOCK_COMPLETE": "complete_bash", "COMP_CWORD": str(len(words))}
    environment["COMP_WORDS"] = " ".join(("agentclock", *words))
    program = (sys.executable, "-c", "from agentclock.cli.main import app; app(prog_name='agentclock')")
    process = await asyncio.create_subprocess_exec(
        *program, env={**os.environ, **environment}, stdout=PIPE, stderr=PIPE
    )
    out, error = await process.communicate()
    assert error == b""
    return out.decode().split()


async def test_shells_are_offered_names_of_schedules(stage: Stage) -> None:
    await stage.run("schedules", "create", "offered", "--agent", "a")
    assert await completed("schedules", "sh") == ["show"]
    assert await completed("schedules", "show", "--url", stage.server.url, "offe") == ["offered"]
    assert await completed("runs", "list", "--url", stage.server.url, "--schedule", "off") == ["offered"]
    # Where nobody is to be asked, nothing is said.
    assert await completed("schedules", "show", "--url", "http://127.0.0.1:1", "offe") == []
    assert await completed("schedules", "show", "--database", "/nowhere/clock.db", "offe") == []


async def test_tokens_open_the_door_and_are_never_shown(
    tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clock.toml").write_text(f'[agentclock]\nsecurity_key = "{KEY}"\n')
    (tmp_path / "token").write_text(f"{KEY}\n")
    options = ("--config", str(tmp_path / "clock.toml"))

    async def tried(*options: str) -> Result:
        result = await asyncio.to_thread(invoke, "schedules", "list", "--url", server.url, *options)
        assert KEY not in result.output
        assert "wrong-token" not in result.output
        return result

    async with serving(str(tmp_path / "locked.db"), stage.talker, *options) as server:
        assert (await tried()).exit_code == 4
        assert (await tried("--token", "wrong-token")).exit_code == 4
        assert (await tried("--token", KEY)).exit_code == 0
        assert (await tried("--token-file", str(tmp_path / "token"))).exit_code == 0
        monkeypatch.setenv("AGENTCLOCK_TOKEN_FILE", str(tmp_path / "token"))
        assert (await tried()).exit_code == 0
        monkeypatch.setenv("AGENTCLOCK_TOKEN", KEY)
        assert (await tried()).exit_code == 0
    away = await tried()
    assert (away.exit_code, "cannot be reached: connection refused" in away.output) == (5, True)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """With our schema, and nobody who works on it."""
    if request.param == "postgres":
        dsn: str = request.getfixturevalue("postgres_dsn")
        return dsn
    path = str(tmp_path / "clock.db")

    async def make() -> None:
        store = SqliteStore(path, clock=SystemClock())
        await store.open()
        await store.close()

    asyncio.run(make())
    return path


def on(database: str) -> Callable[..., str]:
    def run(*arguments: str, code: int = 0) -> str:
        found = invoke("--database", database, *arguments)
        assert found.exit_code == code, found.output
        return str(found.output)

    return run


@pytest.mark.postgres
async def test_the_same_without_a_server(database: str) -> None:
    await asyncio.to_thread(_work_on, database)


def _work_on(database: str) -> None:
    run = on(database)
    assert "At 03:00, every day, UTC" in run("schedules", "create", "night", "--cron", "0 3 * * *", "--agent", "a")
    assert "night\ttrue" in run("schedules", "list")
    assert "no engine executes runs" in run("schedules", "trigger", "night", code=5)
    assert "is changed: description" in run("schedules", "edit", "night", "--description", "by hand")
    assert json.loads(run("schedules", "show", "night", "--json"))["description"] == "by hand"
    assert "night is disabled" in run("schedules", "disable", "night")
    assert "Schedule is disabled" in run("schedules", "trigger", "night", code=1)
    assert "No engine is alive" in run("workers", code=1)
    assert "night" in run("timeline")
    assert "every fire is accounted for" in run("stats", "--accounts")
    assert "night is deleted" in run("schedules", "delete", "night", "--yes")
    assert run("runs", "list").count("\n") == 1
    run("schedules", "show", "night", code=3)


async def test_on_the_database_of_a_server_that_works(stage: Stage) -> None:
    """Its engine hears of what is made here, and its runs are seen here."""
    run = on(stage.database)
    await asyncio.to_thread(run, "schedules", "create", "beside", "--agent", "brief")
    told = await asyncio.to_thread(run, "schedules", "trigger", "beside", "--tail")
    assert "Hello" in told
    assert "● success" in told
    found = json.loads(await asyncio.to_thread(run, "runs", "list", "--schedule", "beside", "--json"))
    assert found["data"][0]["triggered_by"] == "cli"
