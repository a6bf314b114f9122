"""Connections to PostgreSQL while it is away: how often it is knocked at, and what callers get meanwhile."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import asyncpg
import pytest

from agentclock.core.errors import StoreUnavailable
from agentclock.store import postgres_gate
from agentclock.store.postgres_connections import IDLE_SECONDS, Connections
from agentclock.store.postgres_gate import PAUSE_SECONDS, REFUSED_SECONDS, SPACING_SECONDS, Gate

REFUSED = "PostgreSQL at db: connection refused"


class Line:
    """A connection that is open until somebody ends it."""

    def __init__(self) -> None:
        self.ended = False

    def is_closed(self) -> bool:
        return self.ended

    def terminate(self) -> None:
        self.ended = True


class Server:
    """`error` is what a connection attempt ends with, None lets it in; `answer` may be held up."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.error: Exception | None = None
        self.answers = asyncio.Event()
        self.answers.set()
        self.knocks: list[float] = []
        self.gate = Gate(monotonic=lambda: self.time, sleep=self._sleep)

    async def connect(self) -> Line:
        self.knocks.append(self.time)
        await self.answers.wait()
        if self.error is not None:
            raise self.error
        return Line()

    def connections(self, size: int = 4) -> Connections[Line]:
        return Connections(self.connect, self.gate, size, monotonic=lambda: self.time)

    async def refuse(self) -> None:
        self.error = StoreUnavailable(REFUSED)
        with pytest.raises(StoreUnavailable):
            await self.gate.through(self.connect)

    async def _sleep(self, seconds: float) -> None:
        self.time += seconds
        await asyncio.sleep(0)


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture(autouse=True)
def _no_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_gate, "SPREAD", 0.0)


def most_within(seconds: float, times: list[float]) -> int:
    return max(sum(start <= time < start + seconds for time in times) for start in times)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_server_that_is_away_is_knocked_at_ever_more_rarely(server: Server) -> None:
    server.error = StoreUnavailable(REFUSED)
    for _ in range(60_000):  # a minute of a thousand callers a second
        with pytest.raises(StoreUnavailable, match=REFUSED):
            await server.gate.through(server.connect)
        server.time += 0.001
    pauses = [late - early for early, late in pairwise(server.knocks)]
    shortest, longest = PAUSE_SECONDS
    assert pauses[0] == pytest.approx(shortest, abs=0.002)
    assert pauses[1:] == pytest.approx([longest] * len(pauses[1:]), abs=0.002)
    assert most_within(1.0, server.knocks) == 1


async def test_who_comes_while_another_knocks_is_told_at_once(server: Server) -> None:
    await server.refuse()
    server.time += 10
    server.answers.clear()
    knocking = asyncio.create_task(server.gate.through(server.connect))
    await settle()
    with pytest.raises(StoreUnavailable, match=REFUSED):
        await server.gate.through(server.connect)
    server.error = None
    server.answers.set()
    assert not (await knocking).is_closed()
    assert server.gate.error is None
    assert len(server.knocks) == 2


async def test_the_first_who_fails_speaks_for_those_behind_him(server: Server) -> None:
    server.error = StoreUnavailable(REFUSED)
    answers = await asyncio.gather(*(server.gate.through(server.connect) for _ in range(8)), return_exceptions=True)
    assert [str(answer) for answer in answers] == [REFUSED] * 8
    assert len({id(answer) for answer in answers}) == 8  # a raised exception collects where it has been
    assert len(server.knocks) == 1


async def test_a_server_that_is_back_is_not_rushed_at(server: Server) -> None:
    await server.refuse()
    server.error, server.time = None, server.time + 100
    await asyncio.gather(*(server.gate.through(server.connect) for _ in range(8)))
    back = server.knocks[1:]
    assert len(back) == 8
    assert most_within(1.0, back) == 2
    assert min(late - early for early, late in pairwise(back)) >= SPACING_SECONDS - 1e-6


async def test_a_server_that_is_well_is_not_kept_waiting(server: Server) -> None:
    await asyncio.gather(*(server.gate.through(server.connect) for _ in range(8)))
    assert set(server.knocks) == {1000.0}


@pytest.mark.parametrize("cause", [asyncpg.InvalidPasswordError("no"), asyncpg.InvalidCatalogNameError("no")])
async def test_who_is_refused_by_name_does_not_insist(server: Server, cause: Exception) -> None:
    server.error = StoreUnavailable("password authentication failed")
    server.error.__cause__ = cause
    with pytest.raises(StoreUnavailable):
        await server.gate.through(server.connect)
    assert server.gate.closed_seconds == pytest.approx(REFUSED_SECONDS)


# connections


async def test_one_that_is_given_back_is_used_again(server: Server) -> None:
    connections = server.connections()
    first = await connections.take(1)
    connections.give_back(first)
    assert await connections.take(1) is first
    assert (len(server.knocks), connections.busy) == (1, 1)


async def test_never_more_than_allowed_and_everybody_in_turn(server: Server) -> None:
    connections, served = server.connections(size=2), list[int]()

    async def use(number: int) -> None:
        line = await connections.take(1)
        served.append(number)
        await asyncio.sleep(0)
        connections.give_back(line)

    await asyncio.gather(*map(use, range(20)))
    assert served == list(range(20))
    assert len(server.knocks) <= 2


async def test_eight_that_broke_at_once_cost_one_attempt(server: Server) -> None:
    connections = server.connections(size=8)
    lines = await asyncio.gather(*(connections.take(1) for _ in range(8)))
    for line in lines:
        connections.give_back(line)
        line.ended = True
    server.knocks.clear()
    server.error = StoreUnavailable(REFUSED)
    for _ in range(3):
        answers = await asyncio.gather(*(connections.take(1) for _ in range(20)), return_exceptions=True)
        assert {str(answer) for answer in answers} == {REFUSED}
    assert len(server.knocks) == 1


async def test_a_server_without_room_serves_on_with_what_there_is(server: Server) -> None:
    connections = server.connections()
    only = await connections.take(1)
    server.error = StoreUnavailable("too many clients already")
    waiting = asyncio.create_task(connections.take(60))
    await settle()
    assert not waiting.done()
    connections.give_back(only)
    assert await waiting is only
    with pytest.raises(TimeoutError):
        await connections.take(0)
    assert str(server.gate.error) == "too many clients already"


async def test_who_leaves_before_his_turn_takes_nothing_along(server: Server) -> None:
    connections = server.connections(size=1)
    only = await connections.take(1)
    leaving, staying = (asyncio.create_task(connections.take(60)) for _ in range(2))
    await settle()
    connections.give_back(only)  # handed to the first, who leaves in the same moment
    leaving.cancel()
    assert await staying is only
    assert leaving.cancelled() or leaving.done()
    connections.give_back(only)
    assert connections.busy == 0


async def test_after_silence_none_is_used_again(server: Server) -> None:
    connections = server.connections()
    taken, free = await asyncio.gather(connections.take(1), connections.take(1))
    connections.give_back(free)
    connections.doubt()
    assert free.is_closed()
    assert not taken.is_closed()  # whoever has it may be served yet
    connections.give_back(taken)
    assert taken.is_closed()
    assert not (await connections.take(1)).is_closed()


async def test_a_fault_of_ours_reaches_those_who_wait(server: Server) -> None:
    server.error = ValueError("a fault")
    with pytest.raises(ValueError, match="a fault"):
        await server.connections().take(1)


async def test_what_nobody_needs_any_more_is_closed(server: Server) -> None:
    connections = server.connections()
    busy, spare = await asyncio.gather(connections.take(1), connections.take(1))
    connections.give_back(spare)
    server.time += IDLE_SECONDS + 1
    connections.give_back(busy)
    assert spare.is_closed()
    assert not busy.is_closed()


async def test_a_close_tells_those_who_wait_and_lets_the_others_finish(server: Server) -> None:
    connections = server.connections(size=1)
    only = await connections.take(1)
    waiting = asyncio.create_task(connections.take(60))
    await settle()
    closing = asyncio.create_task(connections.close(60))
    with pytest.raises(StoreUnavailable, match="closed"):
        await waiting
    assert not only.is_closed()
    connections.give_back(only)
    await closing
    assert only.is_closed()
