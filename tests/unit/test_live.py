"""The hub, without HTTP: who comes and goes when, and what is looked at how often."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import pytest
from tests.apis import World, world
from tests.streams import running, settled, tick

from agentclock.core.errors import StoreUnavailable, Unavailable
from agentclock.core.events import RunChanged
from agentclock.core.model import Claim
from agentclock.live import Cut, Gone, Hub, Item, Logged, Over, State, Trouble, topic
from agentclock.live.exit import server_wants_exit
from agentclock.live.hub import PROMISE_SECONDS
from agentclock.live.viewer import Looker
from agentclock.ports import News


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


def changed(claim: Claim) -> RunChanged:
    return RunChanged(run_id=claim.run.id, schedule_id=claim.schedule.id)


async def seen_after(here: World, claim: Claim, position: int, enough: int) -> list[int]:
    """The numbers of the events that a viewer gets who comes back at `position`, until the `enough`-th."""
    numbers: list[int] = []
    async with aclosing(here.hub.follow(claim.run.id, position)) as items:
        async for item in items:
            match item:
                case Logged(events):
                    numbers += [event.seq for event in events]
                case Cut(events_missing, from_seq):
                    numbers += range(from_seq - events_missing, from_seq)
            if numbers and numbers[-1] >= enough:
                break
    return numbers


@pytest.mark.parametrize("seed", range(5))
async def test_however_one_comes_and_goes_each_event_is_seen_once(
    here: World, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A viewer who leaves at random, others who keep the run watched or not, memory and pages of a few events."""
    dice = random.Random(seed)
    monkeypatch.setattr(topic, "REMEMBERED", 7)
    monkeypatch.setattr(topic, "PAGE", 3)
    claim, _ = await running(here)
    numbers: list[int] = []
    logged = 0
    for _ in range(12):
        more = dice.randint(1, 9)
        await here.log(claim, *map(str, range(more)), keep_from_seq=max(1, logged - dice.randint(0, 6)))
        logged += more
        if dice.random() < 0.7:
            numbers += await seen_after(here, claim, len(numbers), dice.randint(len(numbers) + 1, logged))
    numbers += await seen_after(here, claim, len(numbers), logged) if len(numbers) < logged else []
    assert numbers == list(range(1, logged + 1))


async def test_a_run_that_nobody_watches_is_not_looked_at(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    claim, _ = await running(here)
    async with aclosing(here.hub.follow(claim.run.id)) as items:
        assert isinstance(await anext(items), State)
    reads: list[str] = []

    async def counted(run_id: str, *_: Any) -> None:
        reads.append(run_id)

    for method in ("get_run", "events_after", "runs_by_id", "recent_runs"):
        monkeypatch.setattr(here.store, method, counted)
    here.bus.publish(changed(claim))
    here.hub.hear(News(run_ids=frozenset({claim.run.id}), everything=True))
    here.clock.advance(60)
    await settled()
    assert (reads, here.clock.sleeping, here.hub.open_streams) == ([], 0, 0)


async def test_a_database_that_is_away_at_first_is_waited_for(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    claim, _ = await running(here)
    found = asyncio.Event()
    get_run = here.store.get_run

    async def away(run_id: str) -> Any:
        if not found.is_set():
            raise StoreUnavailable("away")
        return await get_run(run_id)

    monkeypatch.setattr(here.store, "get_run", away)
    async with aclosing(here.hub.follow(claim.run.id)) as items:
        assert isinstance(await anext(items), Trouble)
        waiting = asyncio.ensure_future(anext(items))
        await tick(here, 1)
        assert not waiting.done(), "told once"
        found.set()
        await tick(here, 1)
        assert isinstance(await waiting, State)


async def test_a_fault_of_ours_is_told_and_does_not_end_the_looking(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, _ = await running(here)
    async with aclosing(here.hub.follow(claim.run.id)) as items:
        await anext(items)

        async def broken(*_: object) -> Any:
            raise RuntimeError("password=hunter2")

        with monkeypatch.context() as patch:
            patch.setattr(here.store, "events_after", broken)
            here.bus.publish(changed(claim))
            assert await anext(items) == Trouble("Internal error")
        waiting = asyncio.ensure_future(anext(items))
        await tick(here, 1)
        assert isinstance(await waiting, State)


async def test_the_end_is_shown_after_all_events(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that finds the run over waits for the events; a viewer who is stirred meanwhile must not end early."""
    claim, _ = await running(here)
    gate = asyncio.Event()
    events_after = here.store.events_after
    async with aclosing(here.hub.follow(claim.run.id)) as items:
        await anext(items)

        async def slow(*given: Any) -> Any:
            await gate.wait()
            return await events_after(*given)

        monkeypatch.setattr(here.store, "events_after", slow)
        await here.log(claim, "last words")
        await here.settle(claim)
        waiting = asyncio.ensure_future(anext(items))
        await tick(here, 15)
        assert not waiting.done() or not isinstance(waiting.result(), Over)
        gate.set()
        shown: list[Item] = [await waiting] + [item async for item in items]
    kinds = [type(item) for item in shown if isinstance(item, Logged | Over)]
    assert kinds == [Logged, Over]


async def test_a_closed_hub_ends_its_streams_and_takes_no_more(here: World) -> None:
    claim, _ = await running(here)
    async with aclosing(here.hub.follow(claim.run.id)) as items, aclosing(here.hub.changes()) as changes:
        await anext(items)
        await anext(changes)
        rests = asyncio.gather(*(anext(stream, None) for stream in (items, changes)))
        await settled()
        await here.hub.close()
        assert await rests == [None, None]
    with pytest.raises(Unavailable):
        here.hub.check_room()
    here.hub.open()
    here.hub.check_room()


async def test_many_who_come_at_once_get_no_more_streams_than_there_are(here: World) -> None:
    """Between the question for room and the begin of the stream others ask as well."""
    claim, _ = await running(here)
    hub = Hub(here.store, clock=here.clock, wants_exit=lambda: False, stream_limit=2)
    hub.check_room()
    hub.check_room()
    with pytest.raises(Unavailable):
        hub.check_room()
    async with aclosing(hub.follow(claim.run.id)) as items:
        await anext(items)
        with pytest.raises(Unavailable):
            hub.check_room()
        here.clock.advance(PROMISE_SECONDS)  # whoever asked second never came
        hub.check_room()
        with pytest.raises(Unavailable):
            hub.check_room()
    await hub.close()


async def test_closing_does_not_wait_for_a_database_that_hangs(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    claim, _ = await running(here)

    async def hanging(*_: object) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(here.store, "get_run", hanging)
    hub = Hub(here.store, clock=here.clock, wants_exit=lambda: False)
    async with aclosing(hub.follow(claim.run.id)) as items:
        waiting = asyncio.ensure_future(anext(items, None))
        await settled()
        await hub.close()
        assert await waiting is None


async def test_what_was_never_there_is_gone(here: World) -> None:
    async with aclosing(here.hub.follow("00000000-0000-7000-8000-000000000000")) as items:
        assert [type(item) async for item in items] == [Gone]


async def test_many_wishes_to_look_become_one_more_look(here: World) -> None:
    gate, looks = asyncio.Event(), []

    async def look() -> None:
        looks.append(len(looks))
        await gate.wait()

    looker = Looker(look, here.clock)
    for _ in range(5):
        looker.want()
        await settled()
    gate.set()
    await settled()
    assert looks == [0, 1]
    looker.want()
    await settled()
    assert looks == [0, 1, 2]


class Server(SimpleNamespace):
    """As uvicorn's: its method handles the signal."""

    def handle_exit(self, *_: object) -> None:
        self.should_exit = True


def test_the_wish_of_the_server_is_read_from_whoever_handles_the_signal() -> None:
    before = signal.getsignal(signal.SIGTERM)
    server = Server(should_exit=False)
    try:
        for handler in (signal.SIG_DFL, signal.SIG_IGN, lambda *_: None, Server().handle_exit, server.handle_exit):
            signal.signal(signal.SIGTERM, handler)
            assert server_wants_exit() is False
        server.handle_exit()
        assert server_wants_exit() is True
    finally:
        signal.signal(signal.SIGTERM, before)
