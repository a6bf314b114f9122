"""`agentclock runs tail`, as a person watches: tokens as they come, through the restart of the server."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from tests.processes import Serve, serving
from tests.talker import Talker

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIVE: dict[str, Any] = {"name": "live", "endpoint": "/agents/live/runs", "payload": {"message": "go"}}


@asynccontextmanager
async def command(*arguments: str) -> AsyncIterator[Process]:
    """One that runs beside the test, without a terminal."""
    environment = {**os.environ, "NO_COLOR": "1"}
    program = [sys.executable, "-u", "-m", "agentclock", *arguments]
    process = await asyncio.create_subprocess_exec(*program, stdout=PIPE, stderr=PIPE, env=environment)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def read_until(process: Process, text: str) -> str:
    """What it shows, up to there."""
    assert process.stdout is not None
    return (await process.stdout.readuntil(text.encode())).decode()


async def drawn(watching: Process) -> Any:
    return json.loads(await read_until(watching, "\n"))


async def rest_of(process: Process) -> tuple[str, str, int]:
    out, error = await process.communicate()
    assert process.returncode is not None
    return out.decode(), error.decode(), process.returncode


@dataclass(frozen=True, slots=True)
class Stage:
    """A server with an engine, what it calls, and its file."""

    server: Serve
    talker: Talker
    database: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    database = str(tmp_path_factory.mktemp("tail") / "clock.db")
    async with Talker() as talker, serving(database, talker) as server:
        yield Stage(server, talker, database)


async def triggered(server: Serve, draft: dict[str, Any]) -> str:
    schedule = await server.post("/schedules", draft)
    run = await server.post(f"/schedules/{schedule['id']}/trigger?wait=0")
    return str(run["id"])


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


async def test_nothing_is_missed_and_nothing_comes_twice_when_the_server_is_started_again(stage: Stage) -> None:
    """One process works, another one on the same database shows; that one dies while the agent goes on. Somebody else
    watches the timeline."""
    talker, port = stage.talker, ("--port", str(free_port()))
    run_id = await triggered(stage.server, {**LIVE, "name": "restarted"})
    shown = await Serve.start(stage.database, talker, *port)
    watch = ("timeline", "--watch", "--interval", "0.5", "--search", "restarted", "--json", "--url", shown.url)
    try:
        async with command("runs", "tail", run_id, "--url", shown.url) as tail, command(*watch) as watching:
            talker.say("one ", "two ")
            assert [lane["name"] for lane in (await drawn(watching))["lanes"]] == ["restarted"]
            seen = await read_until(tail, "two ")
            await shown.end(signal.SIGKILL)
            talker.say("three ")
            assert tail.stderr is not None
            assert b"coming back" in await tail.stderr.readline()
            assert watching.stderr is not None
            assert b"coming back" in await watching.stderr.readline()
            away_at = datetime.now(UTC).isoformat()
            shown = await Serve.start(stage.database, talker, *port)
            while (await drawn(watching))["now"] < away_at:
                pass  # from before
            seen += await read_until(tail, "three ")
            talker.say("four\n")
            talker.finish()
            rest, _, code = await rest_of(tail)
            watching.send_signal(signal.SIGINT)
            assert (await rest_of(watching))[2] == 130
    finally:
        await shown.end()
    words = (seen + rest).splitlines()
    assert words[:2] == ["▶ running  restarted", "one two three four"]
    assert words[-1].startswith("● success after ")
    assert (len(words), code) == (3, 0)


async def test_ctrl_c_ends_the_command_and_not_the_run(stage: Stage) -> None:
    run_id = await triggered(stage.server, {**LIVE, "name": "interrupted"})
    async with command("runs", "tail", run_id, "--url", stage.server.url) as tail:
        stage.talker.say("one ")
        await read_until(tail, "one ")
        tail.send_signal(signal.SIGINT)
        _, error, code = await rest_of(tail)
    assert (code, error) == (130, "")
    stage.talker.finish()
    async with command("runs", "tail", run_id, "--url", stage.server.url, "--json") as again:
        out, _, code = await rest_of(again)
    events = [json.loads(line) for line in out.splitlines()]
    said = "".join(one["data"]["data"]["content"] for one in events if one["event"] == "RunContent")
    assert (said, code) == ("one ", 0)
    assert events[-1]["event"] == "end"
    assert events[-1]["data"]["status"] == "success"


async def test_the_runs_of_a_schedule_one_after_the_other(stage: Stage) -> None:
    """Directly on the database, beside the server that works on it."""
    server = stage.server
    schedule = await server.post("/schedules", {"name": "brief", "endpoint": "/agents/brief/runs"})
    trigger = f"/schedules/{schedule['id']}/trigger"
    other = await server.post("/schedules", {"name": "other", "endpoint": "/hook"})
    arguments = ("--schedule", "brief", "--follow", "--database", stage.database)
    async with command("runs", "tail", *arguments) as tail:
        assert tail.stderr is not None
        assert b"brief has no run yet; waiting for one" in await tail.stderr.readline()
        await server.post(f"{trigger}?wait=0")
        first = await read_until(tail, "● success")
        assert "Hello" in first
        assert "→ look" in first
        await server.post(f"/schedules/{other['id']}/trigger")
        await server.post(f"{trigger}?wait=0")
        second = await read_until(tail, "● success")
        assert second.count("Hello") == 1
        assert "said" not in second
        tail.send_signal(signal.SIGINT)
        _, _, code = await rest_of(tail)
    assert code == 130


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 1), (None, 130)])
async def test_at_a_terminal_one_is_asked_first(stage: Stage, answer: bytes | None, code: int) -> None:
    """None: Ctrl-C."""
    draft = ("schedules", "create", f"asked-{code}", "--cron", "@daily", "--agent", "a", "--url", stage.server.url)
    terminal, end = pty.openpty()
    program = [sys.executable, "-m", "agentclock", *draft]
    process = await asyncio.create_subprocess_exec(*program, stdin=end, stdout=end, stderr=end)
    os.close(end)
    try:
        said = b""
        while b"[y/N]" not in said:
            said += await asyncio.to_thread(os.read, terminal, 4096)
        if answer is None:
            process.send_signal(signal.SIGINT)
        else:
            os.write(terminal, answer)
        assert await process.wait() == code
    finally:
        os.close(terminal)
    assert b"At 00:00, every day, UTC" in said
    found = await stage.server.get(f"/schedules?name=asked-{code}")
    assert found["meta"]["total_count"] == (1 if code == 0 else 0)
