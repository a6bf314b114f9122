"""Pings of dead man's switches: where they go, when, in which order, and what happens when nobody takes them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs
from tests.telemetry_help import PING_URL, RUN_ID, StubEngine, Watched, missed, run_of, settled, started

from agentclock.config import Settings
from agentclock.core.errors import ConfigError, InvalidField
from agentclock.core.ids import fire_run_id
from agentclock.core.model import Instruction, InstructionKind, RunStatus
from agentclock.core.pings import PingKind, ping_host, ping_target, ping_url_fault
from agentclock.drafts import ScheduleDraft, SchedulePatch, read_draft
from agentclock.telemetry import pings
from agentclock.telemetry.metrics import Metrics
from agentclock.telemetry.pings import Ping, Pinger
from agentclock.telemetry.timed import Stopwatch, timed
from agentclock.telemetry.vigil import MARGIN_SECONDS, Vigil
from agentclock.testing import FakeClock


@dataclass(slots=True)
class Switch:
    """Takes pings in place of the network. `answers`: what the next tries come to, (problem, in vain).
    Those to `held` wait for the gate if there is one."""

    taken: list[Ping] = field(default_factory=list)
    answers: list[tuple[str | None, bool]] = field(default_factory=list)
    gate: asyncio.Event | None = None
    held: str = "https://"

    async def take(self, ping: Ping) -> tuple[str | None, bool]:
        if self.gate is not None and ping.url.startswith(self.held):
            await self.gate.wait()
        self.taken.append(ping)
        return self.answers.pop(0) if self.answers else (None, False)

    @property
    def kinds(self) -> list[str]:
        return [ping.kind.value for ping in self.taken]


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> Switch:
    made = Switch()
    monkeypatch.setattr(Pinger, "_try", lambda _, ping: made.take(ping))
    return made


def pinger_of(clock: FakeClock | None = None, *, queue_length: int = 1_000) -> tuple[Pinger, Metrics]:
    clock = clock or FakeClock()
    metrics = Metrics(monotonic=clock.monotonic)
    return Pinger(clock, metrics, queue_length=queue_length), metrics


def counted(metrics: Metrics, result: str) -> float | None:
    return metrics.registry.get_sample_value("agentclock_pings_total", {"result": result})


# where


@pytest.mark.parametrize(
    ("url", "kind", "target"),
    [
        ("https://hc.test/ping/abc", PingKind.SUCCESS, "https://hc.test/ping/abc?rid=r"),
        ("https://hc.test/ping/abc", PingKind.START, "https://hc.test/ping/abc/start?rid=r"),
        ("https://hc.test/ping/abc/", PingKind.FAIL, "https://hc.test/ping/abc/fail?rid=r"),
        ("https://hc.test/ping/abc?x=1&y=%20", PingKind.FAIL, "https://hc.test/ping/abc/fail?x=1&y=%20&rid=r"),
        ("http://hc.test:8000/a%2Fb?x", PingKind.START, "http://hc.test:8000/a%2Fb/start?x&rid=r"),
        ("http://hc.test", PingKind.START, "http://hc.test/start?rid=r"),
    ],
)
def test_the_path_grows_and_the_query_stays(url: str, kind: PingKind, target: str) -> None:
    assert ping_target(url, kind, "r") == target


def test_without_a_run_there_is_no_rid() -> None:
    assert ping_target(PING_URL, PingKind.SUCCESS) == PING_URL


@pytest.mark.parametrize(
    "url",
    [
        "", "hc.test/ping", "/ping", "ftp://hc.test/", "https://", "https:///ping", "https://user:pw@hc.test/",
        "https://user@hc.test/", "https://hc.test/a b", "https://hc.test/\n", "https://hc.test/#x", "https://[::1/",
        "https://hc.test:port/", "https://hc.test/" + "a" * 1_024, "file:///etc/passwd",
    ],
)  # fmt: skip
def test_urls_that_nothing_can_be_sent_to(url: str) -> None:
    assert ping_url_fault(url)
    for draft in ({"name": "a", "endpoint": "/x", "ping_url": url}, {"ping_url": url}):
        with pytest.raises(InvalidField) as caught:
            read_draft(ScheduleDraft if "name" in draft else SchedulePatch, draft)
        assert caught.value.field == "ping_url"
        assert "pw" not in str(caught.value)
    with pytest.raises(ConfigError, match="engine_ping_url"):
        Settings.load(engine_ping_url=url)


def test_urls_that_are_fine() -> None:
    for url in (PING_URL, "http://[::1]:8000/x", "https://hc.test", "https://hc.test/" + "a" * 1_000):
        assert ping_url_fault(url) is None
        assert read_draft(SchedulePatch, {"ping_url": url}).ping_url == url
    assert read_draft(SchedulePatch, {"ping_url": None}).values() == {"ping_url": None}
    assert Settings.load(engine_ping_url=PING_URL).engine_ping_url == PING_URL
    assert "s3cret" not in repr(Settings.load(engine_ping_url=PING_URL))


def test_of_a_url_only_the_host_may_be_shown() -> None:
    assert ping_host(PING_URL) == "hc.test"
    assert ping_host("https://[::1/") == "?"


# when


async def test_a_run_that_goes_well(switch: Switch) -> None:
    pinger, metrics = pinger_of()
    pinger.hear(started(ping=PING_URL))
    pinger.hear(settled(ping_url=PING_URL))
    await pinger.close()
    assert switch.kinds == ["start", "success"]
    assert {ping.run_id for ping in switch.taken} == {RUN_ID}
    assert counted(metrics, "sent") == 2


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.TIMEOUT, RunStatus.LOST])
async def test_a_run_that_does_not(switch: Switch, status: RunStatus) -> None:
    pinger, _ = pinger_of()
    pinger.hear(settled(status, ping_url=PING_URL, error="HTTP 500 " + "x" * 5_000))
    await pinger.close()
    [ping] = switch.taken
    assert (ping.kind, ping.text[: len(status) + 10]) == (PingKind.FAIL, f"{status}: HTTP 500")
    assert len(ping.text) == pings.TEXT_LENGTH


async def test_missed_fires_are_a_failure(switch: Switch) -> None:
    pinger, _ = pinger_of()
    pinger.hear(missed(ping_url=PING_URL))
    await pinger.close()
    [ping] = switch.taken
    assert (ping.kind, ping.run_id) == (PingKind.FAIL, fire_run_id("s1", 0))
    assert ping.text.startswith("missed: 7 fires; misfire")


async def test_what_nobody_is_told(switch: Switch) -> None:
    pinger, _ = pinger_of()
    pending = {"status": RunStatus.PENDING, "available_at": 99_000, "ping_url": PING_URL}
    for event in (
        started(),
        settled(),
        missed(),
        missed(status=RunStatus.SKIPPED, ping_url=PING_URL),
        settled(**pending),
        settled(RunStatus.PAUSED, ping_url=PING_URL),
        settled(RunStatus.CANCELLED, ping_url=PING_URL),
        started(run_of(attempt=2), ping=PING_URL),
        started(run_of(refusals=3), ping=PING_URL),
        started(run_of(instruction=Instruction(kind=InstructionKind.ATTACH)), ping=PING_URL),
    ):
        pinger.hear(event)
    await pinger.close()
    assert switch.taken == []


# how


async def test_pings_of_one_url_are_sent_in_order_and_others_do_not_wait_for_them(switch: Switch) -> None:
    pinger, _ = pinger_of()
    switch.gate, switch.held = asyncio.Event(), "https://a.test"
    for number in range(3):
        pinger.send(Ping(url="https://a.test/", kind=PingKind.START, run_id=f"a{number}"))
    pinger.send(Ping(url="https://b.test/", kind=PingKind.START, run_id="b0"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert [ping.run_id for ping in switch.taken] == ["b0"]
    switch.gate.set()
    await pinger.close()
    assert [ping.run_id for ping in switch.taken] == ["b0", "a0", "a1", "a2"]


async def test_further_tries_where_they_may_help(switch: Switch) -> None:
    clock = FakeClock()
    pinger, metrics = pinger_of(clock)
    switch.answers = [("answered 503", False), ("no answer", False)]
    reaching = asyncio.create_task(pinger.reach(Ping(url=PING_URL, kind=PingKind.SUCCESS)))
    for pause in pings.PAUSES_SECONDS:
        await clock.until_sleeping()
        clock.advance(seconds=pause)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert await reaching
    assert (len(switch.taken), counted(metrics, "sent"), counted(metrics, "failed")) == (3, 1, 0)


async def test_a_failure_is_logged_without_the_secret(switch: Switch) -> None:
    pinger, metrics = pinger_of()
    switch.answers = [("answered 404", True)]
    with capture_logs() as lines:
        pinger.hear(settled(ping_url=PING_URL))
        await pinger.close()
    [line] = lines
    assert (line["event"], line["log_level"], line["host"]) == ("ping_failed", "warning", "hc.test")
    assert (line["error"], line["schedule"], line["run"]) == ("answered 404", "nightly", RUN_ID)
    assert "s3cret" not in str(lines)
    assert (len(switch.taken), counted(metrics, "failed")) == (1, 1)


async def test_the_oldest_give_way_when_too_many_wait(switch: Switch) -> None:
    pinger, metrics = pinger_of(queue_length=3)
    switch.gate = asyncio.Event()
    with capture_logs() as lines:
        for number in range(6):
            pinger.send(Ping(url=PING_URL, kind=PingKind.START, run_id=str(number)))
        switch.gate.set()
        await pinger.close()
    assert [ping.run_id for ping in switch.taken] == ["3", "4", "5"]
    assert counted(metrics, "dropped") == 3
    assert [line["event"] for line in lines] == ["pings_dropped"]


async def test_a_stop_waits_a_moment_and_no_longer(switch: Switch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pings, "PARTING_SECONDS", 0.01)
    pinger, metrics = pinger_of()
    switch.gate = asyncio.Event()
    for number in range(2):
        pinger.send(Ping(url=PING_URL, kind=PingKind.START, run_id=str(number)))
    await pinger.close()
    assert switch.taken == []
    assert counted(metrics, "dropped") == 2


# for the engine


def vigil_of(watched: Watched, engine: StubEngine) -> tuple[Vigil, Stopwatch]:
    stopwatch = Stopwatch(watched.telemetry.metrics, watched.clock.monotonic)
    vigil = Vigil(
        url=PING_URL,
        every_seconds=60,
        poll_seconds=30,
        engine=engine,
        stopwatch=stopwatch,
        store=timed(watched.bare_store, stopwatch),  # type: ignore[arg-type]
        clock=watched.clock,
        pinger=watched.telemetry.pinger,
    )
    return vigil, stopwatch


async def test_the_engine_is_pinged_for_only_while_it_plans(switch: Switch) -> None:
    watched, engine = Watched(), StubEngine()
    vigil, stopwatch = vigil_of(watched, engine)
    ping = Ping(url=PING_URL, kind=PingKind.SUCCESS)

    async def said() -> list[str]:
        with capture_logs() as lines:
            await vigil.look(ping)
        return [str(line["detail"]) for line in lines]

    assert await said() == ["the planner did not step lately"]
    stopwatch.stopped("fire_due", 0.01, failed=False)
    assert await said() == []
    watched.clock.advance(seconds=30 + MARGIN_SECONDS + 1)
    stopwatch.stopped("fire_due", 0.01, failed=True)
    assert await said() == ["the planner did not step lately"]
    stopwatch.stopped("fire_due", 0.01, failed=False)
    watched.bare_store.away = True
    assert await said() == ["the database does not answer"]
    watched.bare_store.away = False
    engine.status = "starting"
    assert await said() == ["the engine is starting"]
    engine.status = "standby"
    assert await said() == []
    assert switch.kinds == ["success"]


async def test_the_vigil_goes_on(switch: Switch) -> None:
    watched = Watched()
    vigil, stopwatch = vigil_of(watched, watched.engine)
    keeping = asyncio.create_task(vigil.keep())
    for _ in range(3):
        await watched.clock.until_sleeping()
        stopwatch.stopped("fire_due", 0.01, failed=False)
        watched.clock.advance(seconds=60)
        for _ in range(5):
            await asyncio.sleep(0)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert switch.kinds == ["success"] * 3
