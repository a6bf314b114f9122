"""Writing event logs: batches, rates, a database that is away, runs that are not ours any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from tests.rig import NoWakeup

from agentclock.core.errors import StoreUnavailable
from agentclock.core.events import EngineTrouble, Event, EventsLogged
from agentclock.core.model import Cause, Claim, Instruction, InstructionKind, Run, RunStatus, Schedule, Target
from agentclock.engine.bus import Bus
from agentclock.engine.recorder import TRANSACTION_EVENTS, WRITE_EVERY_SECONDS, Recorder
from agentclock.ports import EventBatch, EventCursor, LoggedEvent, Said, Store
from agentclock.testing import FakeClock


class Shelf:
    """The part of a store that a recorder uses, with everything that can go wrong."""

    def __init__(self) -> None:
        self.events: dict[str, list[LoggedEvent]] = {}
        self.transactions: list[list[str]] = []
        self.cursors: dict[str, EventCursor] = {}
        self.foreign: set[str] = set()
        self.poison: set[str] = set()
        self.away = self.reply_lost = False

    async def event_cursor(self, run_id: str) -> EventCursor:
        self._answer()
        return self.cursors.get(run_id, EventCursor())

    async def append_events(self, batches: Sequence[EventBatch]) -> frozenset[str]:
        self._answer()
        for batch in batches:
            if any(event.type in self.poison for event in batch.events):
                raise ValueError(f"cannot write {batch.run_id}")
        ours = [batch for batch in batches if batch.run_id not in self.foreign]
        for batch in ours:
            known = {event.seq for event in self.events.get(batch.run_id, [])}
            new = [event for event in batch.events if event.seq not in known]
            self.events.setdefault(batch.run_id, []).extend(new)
        self.transactions.append([batch.run_id for batch in batches])
        if self.reply_lost:
            self.reply_lost = False
            raise StoreUnavailable("the connection broke")
        return frozenset(batch.run_id for batch in ours)

    def types(self, run_id: str) -> list[str]:
        return [event.type for event in self.events.get(run_id, [])]

    def _answer(self) -> None:
        if self.away:
            raise StoreUnavailable("the database is away")


class Desk:
    """A recorder with what it works with."""

    def __init__(self, **limits: int) -> None:
        self.shelf, self.clock, self.wakeup = Shelf(), FakeClock(), NoWakeup()
        self.heard: list[Event] = []
        self.disowned: list[str] = []
        bus = Bus()
        bus.subscribe(self.heard.append)
        self.recorder = Recorder(cast(Store, self.shelf), self.clock, bus, self.wakeup, **limits)

    async def open(self, run_id: str = "r", **changes: Any) -> Claim:
        run = Run(id=run_id, schedule_id="s", cause=Cause.SCHEDULE, fire_at=0, status=RunStatus.RUNNING)
        held = replace(run, **{"attempt": 1, "fence": 1, "worker": "here:1", **changes})
        claim = Claim(run=held, schedule=Schedule(id="s", name="s", target=Target(endpoint="/agents/a/runs")))
        await self.recorder.open(claim, lambda: self.disowned.append(run_id))
        return claim

    def say(self, claim: Claim, *types: str) -> None:
        for kind in types:
            self.recorder.record(claim, Said(type=kind, data={}))

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():  # noqa: ASYNC110 - the writer is a task of its own
            await asyncio.sleep(0)

    def troubles(self) -> int:
        return sum(isinstance(event, EngineTrouble) for event in self.heard)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    yield desk
    await desk.recorder.close()


async def test_the_first_event_is_written_at_once_and_announced_afterwards(desk: Desk) -> None:
    claim = await desk.open()
    desk.say(claim, "RunStarted")
    assert not desk.shelf.events
    await desk.until(lambda: desk.heard)
    attempt, started = desk.shelf.events["r"]
    assert (attempt.seq, attempt.type) == (1, "attempt")
    assert attempt.data == {"number": 1, "cause": "schedule", "worker": "here:1"}
    assert (started.seq, started.type, started.at, started.attempt) == (2, "RunStarted", desk.clock.now(), 1)
    assert desk.heard == [EventsLogged(run_id="r", schedule_id="s", seq=2)]
    assert desk.wakeup.told == ["r"]


async def test_a_run_is_written_at_most_four_times_a_second(desk: Desk) -> None:
    claim = await desk.open()
    desk.say(claim, "A")
    await desk.until(lambda: desk.heard)
    desk.say(claim, "B")
    desk.clock.advance(WRITE_EVERY_SECONDS - 0.001)
    await desk.recorder.step()
    desk.say(claim, "C")
    await desk.recorder.step()
    assert desk.shelf.types("r") == ["attempt", "A"]
    desk.clock.advance(ms=1)
    await desk.recorder.step()
    assert desk.shelf.types("r") == ["attempt", "A", "B", "C"]
    assert len(desk.shelf.transactions) == 2
    desk.clock.advance(1)
    desk.say(claim, "D")  # after some quiet
    await desk.recorder.step()
    assert desk.shelf.types("r")[-1] == "D"


async def test_one_transaction_writes_all_runs_that_are_due(desk: Desk) -> None:
    claims = [await desk.open(f"r{number}") for number in range(50)]
    for claim in claims:
        desk.say(claim, "A")
    await desk.recorder.step()
    assert [len(runs) for runs in desk.shelf.transactions] == [50]
    assert len(desk.heard) == 50


async def test_a_transaction_has_an_end_and_everybody_a_turn(desk: Desk) -> None:
    claims = [await desk.open(f"r{number}") for number in range(3)]
    for claim in claims:
        desk.say(claim, *["A"] * (TRANSACTION_EVENTS // 2))
    for claim in claims:
        await desk.recorder.flush(claim)
    assert sorted(run_id for runs in desk.shelf.transactions for run_id in runs) == ["r0", "r1", "r2"]
    assert max(map(len, desk.shelf.transactions)) == 2


async def test_flush_waits_for_everything_and_for_no_rate(desk: Desk) -> None:
    claim = await desk.open()
    desk.say(claim, "A")
    await desk.until(lambda: desk.heard)
    desk.say(claim, "B")
    await desk.recorder.flush(claim)
    assert desk.shelf.types("r") == ["attempt", "A", "B"]
    await desk.recorder.flush(claim)
    assert len(desk.shelf.transactions) == 2


async def test_an_attempt_that_says_nothing_leaves_its_mark_only_when_flushed(desk: Desk) -> None:
    refused, silent = await desk.open("refused"), await desk.open("silent")
    desk.recorder.forget(refused)
    await desk.recorder.flush(silent)
    assert (desk.shelf.types("refused"), desk.shelf.types("silent")) == ([], ["attempt"])


async def test_numbers_go_on_and_an_attempt_that_goes_on_is_not_begun_again(desk: Desk) -> None:
    desk.shelf.cursors["r"] = EventCursor(seq=7, attempt=1, source_index=3)
    attach = Instruction(kind=InstructionKind.ATTACH)
    claim = await desk.open(fence=2, instruction=attach)
    desk.say(claim, "B")
    await desk.recorder.flush(claim)
    assert [(event.seq, event.type) for event in desk.shelf.events["r"]] == [(8, "B")]


async def test_an_attempt_whose_beginning_died_with_its_worker_begins_with_its_next_one(desk: Desk) -> None:
    desk.shelf.cursors["r"] = EventCursor(seq=7, attempt=1, source_index=3)
    claim = await desk.open(fence=3, attempt=2, instruction=Instruction(kind=InstructionKind.ATTACH))
    desk.say(claim, "B")
    await desk.recorder.flush(claim)
    assert [(event.seq, event.type) for event in desk.shelf.events["r"]] == [(8, "attempt"), (9, "B")]


async def test_a_database_that_is_away_costs_nothing_but_time(desk: Desk) -> None:
    claim = await desk.open()
    desk.shelf.away = True
    desk.say(claim, "A")
    flush = asyncio.create_task(desk.recorder.flush(claim))
    for _ in range(3):
        await desk.until(lambda: desk.clock.next_wake_seconds)
        desk.say(claim, "B")
        desk.clock.advance(10)
    assert desk.troubles() == 1
    desk.shelf.away = False
    desk.clock.advance(10)
    await flush
    assert desk.shelf.types("r") == ["attempt", "A", "B", "B", "B"]
    assert [event.seq for event in desk.shelf.events["r"]] == [1, 2, 3, 4, 5]
    desk.shelf.away = True
    desk.clock.advance(1)
    desk.say(claim, "C")
    await desk.clock.until_sleeping()
    assert desk.troubles() == 2


async def test_a_lost_reply_doubles_nothing(desk: Desk) -> None:
    claim = await desk.open()
    desk.shelf.reply_lost = True
    desk.say(claim, "A")
    await desk.clock.until_sleeping()
    desk.say(claim, "B")
    desk.clock.advance(1)
    await desk.recorder.flush(claim)
    assert [(event.seq, event.type) for event in desk.shelf.events["r"]] == [(1, "attempt"), (2, "A"), (3, "B")]


async def test_memory_is_bounded_while_the_database_is_away() -> None:
    desk = Desk(bytes_limit=65_536)
    claim = await desk.open()
    desk.shelf.away = True
    desk.say(claim, "A")
    await desk.clock.until_sleeping()
    desk.say(claim, *["B"] * 5_000)
    desk.shelf.away = False
    desk.clock.advance(1)
    await desk.recorder.flush(claim)
    events = desk.shelf.events["r"]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    [cut] = [event for event in events if event.type == "cut"]
    assert cut.data["events"] + desk.shelf.types("r").count("B") == 5_000
    await desk.recorder.close()


async def test_a_run_of_another_worker_is_let_go_of_once(desk: Desk) -> None:
    lost, ours = await desk.open("lost"), await desk.open("ours")
    desk.shelf.foreign.add("lost")
    for claim in (lost, ours):
        desk.say(claim, "A")
    await asyncio.gather(desk.recorder.flush(lost), desk.recorder.flush(ours))
    desk.say(lost, "B")
    await desk.recorder.flush(lost)
    assert desk.disowned == ["lost"]
    assert desk.shelf.types("ours") == ["attempt", "A"]
    assert [len(runs) for runs in desk.shelf.transactions] == [2]


async def test_rows_that_no_database_takes_harm_no_other_run(desk: Desk) -> None:
    bad, good = await desk.open("bad"), await desk.open("good")
    desk.shelf.poison.add("Poison")
    desk.say(bad, "Poison")
    desk.say(good, "A")
    await asyncio.gather(desk.recorder.flush(bad), desk.recorder.flush(good))
    assert desk.shelf.types("good") == ["attempt", "A"]
    assert [(event.seq, event.type, event.data) for event in desk.shelf.events["bad"]] == [(1, "cut", {"events": 2})]
    desk.shelf.poison.add("cut")
    desk.say(bad, "Poison")
    await desk.recorder.flush(bad)  # its log ends here
    assert desk.shelf.types("bad") == ["cut"]


async def test_closing_keeps_nobody_waiting(desk: Desk) -> None:
    claim = await desk.open()
    desk.shelf.away = True
    desk.say(claim, "A")
    flush = asyncio.create_task(desk.recorder.flush(claim))
    await desk.clock.until_sleeping()
    await desk.recorder.close()
    await flush
    desk.say(claim, "B")
    await desk.recorder.flush(claim)
    assert not desk.shelf.events


async def test_opening_waits_for_the_database(desk: Desk) -> None:
    desk.shelf.away = True
    opening = asyncio.create_task(desk.open(fence=2))
    await desk.clock.until_sleeping()
    assert desk.troubles() == 1
    desk.shelf.away = False
    desk.shelf.cursors["r"] = EventCursor(seq=3)
    desk.clock.advance(1)
    claim = await opening
    await desk.recorder.flush(claim)
    assert [event.seq for event in desk.shelf.events["r"]] == [4]


async def test_two_claims_of_one_run_do_not_get_into_each_others_way(desk: Desk) -> None:
    """The next attempt may begin here before the last one's task is quite over."""
    first = await desk.open()
    second = await desk.open(fence=2, attempt=2)
    desk.recorder.forget(first)
    desk.say(second, "A")
    await desk.recorder.flush(second)
    assert desk.shelf.types("r") == ["attempt", "A"]
