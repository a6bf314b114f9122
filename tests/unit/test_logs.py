"""Log lines: what every one of them says, and what none may."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import logging
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from io import StringIO
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from tests.rig import Rig, add, only
from tests.telemetry_help import run_of, settled
from yarl import URL

from agentclock.app.confidential import confidential
from agentclock.config import LogFormat, Settings
from agentclock.core.model import Outcome, RunStatus
from agentclock.core.zones import tzdata_version
from agentclock.engine.eventlog import log_event
from agentclock.executor.blotting import HIDDEN
from agentclock.executor.discretion import Discretion
from agentclock.logs import configure_logging, hush, log_start, process_name, shown_database
from agentclock.ports import RunContext, Said
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import SUCCESS, FakeClock, ScriptedExecutor

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """Logs as a process does with --log-format json, and answers all that was written."""
    written = StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    root = logging.getLogger()
    others, level, quiet = (
        root.handlers,
        root.level,
        [logging.getLogger(f"uvicorn.{name}") for name in ("access", "error")],
    )
    levels = [logger.level for logger in quiet]
    configure_logging("debug", LogFormat.JSON)
    # A handler that another test left behind writes to a stream that is gone, and complains about it.
    others = [handler for handler in others if not getattr(getattr(handler, "stream", None), "closed", False)]
    [ours], root.handlers = root.handlers, others
    root.addHandler(ours)
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    root.removeHandler(ours)
    root.setLevel(level)
    for logger, before in zip(quiet, levels, strict=True):
        logger.setLevel(before)
    structlog.reset_defaults()


def test_a_request_that_a_stop_has_cut_off_leaves_no_traceback(lines: Lines) -> None:
    server = logging.getLogger("uvicorn.error")
    server.error("Cancel 1 running task(s)")
    for error in (asyncio.CancelledError("Task cancelled"), ValueError("a real fault")):
        server.error("Exception in ASGI application", exc_info=error)
    said = [line["event"] for line in lines()]
    assert said == ["Cancel 1 running task(s)", "Exception in ASGI application"]
    assert "a real fault" in json.dumps(lines()[-1])


@pytest.fixture
async def store() -> AsyncIterator[SqliteStore]:
    made = SqliteStore(":memory:", clock=FakeClock())
    await made.open()
    yield made
    await made.close()


def test_every_line_says_when_and_which_process(lines: Lines) -> None:
    structlog.get_logger("agentclock").info("one")
    logging.getLogger("somebody.else").warning("two %s", "words")
    one, two = lines()
    assert (one["event"], two["event"]) == ("one", "two words")
    for line in (one, two):
        assert line["worker"] == process_name()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])
    assert re.fullmatch("[0-9a-f]{8}", one["instance"])
    assert one["instance"] == two["instance"]


def test_the_first_line_says_what_runs_here(lines: Lines) -> None:
    log_start("1.2.3", "postgresql://clock:hunter2@db:5432/clock?sslmode=require&sslpassword=hunter2")
    [line] = lines()
    assert (line["event"], line["version"], line["zone_data"]) == ("starting", "1.2.3", tzdata_version())
    assert line["database"] == "postgresql://clock@db:5432/clock?sslmode=require&sslpassword=***"


@pytest.mark.parametrize(
    ("database", "shown"),
    [
        ("agentclock.db", "agentclock.db"),
        (":memory:", ":memory:"),
        ("sqlite:////data/clock.db", "sqlite:////data/clock.db"),
        ("postgresql://db/clock", "postgresql://db/clock"),
        ("postgresql://clock@db/clock", "postgresql://clock@db/clock"),
        ("postgresql+asyncpg://clock:a@b:c@db/clock", "postgresql+asyncpg://clock@db/clock"),
        ("postgresql://db/clock?user=clock&password=hunter2", "postgresql://db/clock?user=clock&password=***"),
        ("postgresql://clock:hunter2@[::1/clock", "postgresql"),
    ],
)
def test_a_database_is_shown_without_its_password(database: str, shown: str) -> None:
    assert shown_database(database) == shown


async def test_every_line_about_a_run_says_which(lines: Lines, store: SqliteStore) -> None:
    """Also those of other libraries that are written while it is in a worker's hands."""

    def talk(context: RunContext) -> Outcome:
        logging.getLogger("somebody.else").warning("within")
        structlog.get_logger("agentclock.executor").warning("stream_broken")
        asyncio.get_running_loop().call_soon(logging.getLogger("somebody.else").warning, "later")
        return SUCCESS

    clock = FakeClock()
    rig = await Rig(store, clock, ScriptedExecutor(talk, says=[Said(type="RunContent", data={})])).begin()
    rig.bus.subscribe(log_event)
    await add(store, clock, name="nightly")
    await rig.tick()
    run = await only(rig)
    names = {"run_queued", "attempt_started", "within", "stream_broken", "later", "agent_event", "events_logged"}
    told = [line for line in lines() if line["event"] in names | {"run_success"}]
    assert len(told) == len(names) + 1
    for line in told:
        assert (line["schedule"], line["schedule_id"], line["run"]) == ("nightly", "s1", run.id), line
        assert line["attempt"] == (0 if line["event"] == "run_queued" else 1)
        assert line["worker"] == process_name()


async def test_what_one_run_began_is_not_signed_with_it_for_others(lines: Lines, store: SqliteStore) -> None:
    """The tasks that write for all runs are started by one of them."""
    clock = FakeClock()
    rig = await Rig(store, clock, ScriptedExecutor(says=[Said(type="RunContent", data={})])).begin()
    rig.bus.subscribe(lambda event: structlog.get_logger("probe").info(type(event).__name__))
    await add(store, clock)
    await rig.tick()
    probes = {line["event"]: line for line in lines() if "event" in line}
    assert "run" in probes["AttemptStarted"]
    assert "run" not in probes["RunSettled"]
    assert "run" not in probes["EventsLogged"]


async def test_a_fault_of_ours_is_reported_with_its_run(lines: Lines, store: SqliteStore) -> None:
    def fail(context: RunContext) -> Outcome:
        raise ValueError("a fault of ours")

    clock = FakeClock()
    rig = await Rig(store, clock, ScriptedExecutor(fail)).begin()
    await add(store, clock, name="nightly")
    await rig.tick()
    [line] = [line for line in lines() if line["event"] == "executor_failed"]
    assert (line["schedule"], line["attempt"]) == ("nightly", 1)
    assert "a fault of ours" in json.dumps(line["exception"])


def test_a_target_that_stays_away_is_a_warning_once() -> None:
    with capture_logs() as told:
        for refusals in (0, 1, 2):
            again = {"available_at": 20_000, "attempt_spent": False, "error": "refused"}
            log_event(settled(RunStatus.PENDING, run_of(refusals=refusals), **again))
    assert [line["log_level"] for line in told] == ["warning", "debug", "debug"]
    assert {line["event"] for line in told} == {"connection_refused"}


def test_traces_tell_no_local_variables(lines: Lines) -> None:
    def fail(secret: str) -> None:
        raise ValueError(len(secret))

    try:
        fail("hunter2")
    except ValueError:
        structlog.get_logger("agentclock").exception("loop_failed")
    [line] = lines()
    assert [frame["name"] for frame in line["exception"][0]["frames"]][-1] == "fail"
    assert "hunter2" not in json.dumps(line).replace('fail("hunter2")', "")


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_known_secrets_are_in_no_line(lines: Lines, log_format: LogFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    written = StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    before = logging.getLogger().handlers[:]
    configure_logging("debug", log_format)
    ours = logging.getLogger().handlers[0]
    discretion = Discretion(known=["hunter2-hunter2"])
    hush(discretion)
    log = structlog.get_logger("agentclock")
    log.info("of hunter2-hunter2", url=URL("http://h/?key=hunter2-hunter2"), nested={"a": ["hunter2-hunter2", 7]})
    try:
        int("hunter2-hunter2")
    except ValueError as error:
        log.exception("loop_failed", error=error)
        logging.getLogger("somebody.else").exception("in hunter2-hunter2's request %s", "hunter2%2Dhunter2")
    ours.flush()
    logging.getLogger().handlers = before
    text = written.getvalue()
    assert "hunter2" not in text
    assert text.count(HIDDEN) >= 6
    assert "loop_failed" in text


def test_what_nobody_needs_hidden_any_more_is_forgotten(lines: Lines) -> None:
    hush(Discretion(known=["hunter2-hunter2"]))
    gc.collect()
    structlog.get_logger("agentclock").info("hunter2-hunter2")
    assert lines()[-1]["event"] == "hunter2-hunter2"


def test_what_is_confidential_in_settings() -> None:
    whsec = base64.b64encode(b"signing key of ours").decode()
    settings = Settings(
        database="postgresql://u:pass%20word@db/x?sslpassword=option-word",
        listen_url="postgresql://u:listen-word@db/x",
        security_key="first-key, second-key",
        jwt_secret="jwt-word-jwt-word",
        service_token="service-word",
        engine_ping_url="https://ping.example/0123456789abcdef",
        targets={
            "a": {"base_url": "https://a.example", "token": "target-token", "headers": {"X": "header-word"}},
            "b": {"base_url": "https://b.example", "basic_auth": "somebody:basic-word"},
            "c": {"base_url": "https://c.example", "token": "${secret:NAMED}"},
        },
        webhooks={"w": {"url": "https://w.example/hooks/T0123456789ABCDEF", "secret": f"whsec_{whsec}"}},
    )
    words = set(confidential(settings))
    assert words >= {"pass word", "option-word", "listen-word", "first-key", "second-key", "jwt-word-jwt-word"}
    assert words >= {"service-word", "0123456789abcdef", "target-token", "header-word", "basic-word"}
    assert words >= {"T0123456789ABCDEF", whsec}
    assert not any("secret:" in word or word == "hooks" for word in words)
    assert not [word for word in words if len(word) > 3 and word in repr(settings)]
