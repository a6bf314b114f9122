"""What goes wrong, when and to whom: dealt from a seed, carried out on real processes."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from tests.chaos.database import Database, PostgresDatabase
from tests.chaos.fleet import Child, Fleet, Proxy, WorkerProcess, until
from tests.chaos.journal import Journal, now_ms

READY_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
CALM_SECONDS: Final = 25.0


class Kind(StrEnum):
    KILL = "kill a worker"
    FREEZE = "freeze a worker"
    ROLL = "rolling restart"
    PG_RESTART = "restart PostgreSQL"
    PG_KILL = "kill PostgreSQL"
    DB_CUT = "cut database connections"
    DB_REFUSE = "refuse database connections"
    DB_STALL = "stall database connections"
    NET_CUT = "cut target connections"
    NET_STALL = "stall target connections"
    OS_KILL = "kill AgentOS"


#: Which of them need what a SQLite database does not have: a server, and connections to it.
OF_SERVERS: Final = frozenset({Kind.PG_RESTART, Kind.PG_KILL, Kind.DB_CUT, Kind.DB_REFUSE, Kind.DB_STALL})
#: While these last, workers have no database that they could connect to.
DATABASE_AWAY: Final = frozenset({Kind.PG_RESTART, Kind.PG_KILL, Kind.DB_REFUSE})
#: How often each is in the deck that faults are dealt from.
WEIGHTS: Final = dict.fromkeys(Kind, 1) | {Kind.KILL: 5, Kind.FREEZE: 3, Kind.DB_CUT: 2, Kind.NET_CUT: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`at_seconds` from the start; it lasts `seconds`. `victim`: the number of a worker, 0: all of them."""

    at_seconds: float
    kind: Kind
    seconds: float
    victim: int


def deal(seed: str, *, seconds: float, workers: int, lease_seconds: float, servers: bool) -> Iterator[Fault]:
    """Faults over `seconds`, one every few seconds, and a calm between decks; each kind as often as it weighs."""
    draw = random.Random(f"{seed}/faults")
    deck: list[Kind] = []
    at = draw.uniform(2, 5)
    while at < seconds:
        if not deck:
            at += CALM_SECONDS if at > CALM_SECONDS else 0
            possible = [kind for kind in Kind if servers or kind not in OF_SERVERS]
            deck = [kind for kind in possible for _ in range(WEIGHTS[kind])]
            draw.shuffle(deck)
        kind = deck.pop()
        one = draw.randint(1, workers)
        victim = one if kind in (Kind.KILL, Kind.FREEZE) or draw.random() < 0.4 else 0
        yield Fault(at_seconds=at, kind=kind, seconds=_length(draw, kind, lease_seconds), victim=victim)
        at += draw.uniform(2, 9)


def _length(draw: random.Random, kind: Kind, lease_seconds: float) -> float:
    match kind:
        case Kind.FREEZE:
            return draw.uniform(1.2, 3.0) * lease_seconds
        case Kind.KILL | Kind.DB_STALL:
            return draw.uniform(0.2, 1.8) * lease_seconds
        case Kind.PG_KILL:
            return draw.uniform(1.0, 8.0)
        case Kind.DB_REFUSE:
            return draw.uniform(0.5, 2.5) * lease_seconds
        case Kind.NET_STALL | Kind.OS_KILL:
            return draw.uniform(1.0, 4.0)
        case Kind.ROLL | Kind.PG_RESTART | Kind.DB_CUT | Kind.NET_CUT:
            return 0.0
        case never:
            assert_never(never)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All that faults happen to. The proxy's links are `db.1`, `net-os.1`, `net-hooks.1` and so on, by worker."""

    fleet: Fleet
    proxy: Proxy
    database: Database
    agentos: Child
    journal: Journal


class Troublemaker:
    """Carries faults out, several at a time, but never two at the same thing."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._locks = {name: asyncio.Lock() for name in ("database", "net", "agentos", *self._worker_names())}
        self._watchers: list[asyncio.Task[None]] = []

    def _worker_names(self) -> list[str]:
        return [worker.name for worker in self._world.fleet.workers]

    async def carry_out(self, faults: Iterator[Fault]) -> None:
        """Returns when all faults are over and everybody is up again. Raises what went wrong with the rig itself."""
        began = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                await asyncio.sleep(max(0.0, began + fault.at_seconds - asyncio.get_running_loop().time()))
                group.create_task(self._one(fault))
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)

    async def _one(self, fault: Fault) -> None:
        name = self._what(fault)
        if self._locks[name].locked():
            return  # something is wrong with it already
        async with self._locks[name]:
            began = now_ms()
            self._world.journal.note("fault", kind=fault.kind, victim=name, seconds=round(fault.seconds, 2))
            await self._happen(fault)
            self._world.journal.note("over", kind=fault.kind, victim=name, began=began, worker=fault.victim)

    def _what(self, fault: Fault) -> str:
        match fault.kind:
            case Kind.KILL | Kind.FREEZE:
                return f"worker.{fault.victim}"
            case Kind.ROLL:
                return f"worker.{max(1, fault.victim)}"
            case Kind.OS_KILL:
                return "agentos"
            case Kind.NET_CUT | Kind.NET_STALL:
                return "net"
            case _:
                return "database"

    async def _happen(self, fault: Fault) -> None:
        world, whose = self._world, fault.victim or "*"
        match fault.kind:
            case Kind.KILL:
                await self._kill(self._worker(fault), fault.seconds)
            case Kind.FREEZE:
                await self._freeze(self._worker(fault), fault.seconds)
            case Kind.ROLL:
                await self._roll(fault.victim)
            case Kind.PG_RESTART | Kind.PG_KILL:
                assert isinstance(world.database, PostgresDatabase)
                await world.database.bounce(kill=fault.kind is Kind.PG_KILL, down_seconds=fault.seconds)
            case Kind.DB_CUT:
                await world.proxy.tell("cut", f"db.{whose}")
            case Kind.DB_REFUSE:
                await self._shut(f"db.{whose}", "refuse", "accept", fault.seconds)
            case Kind.DB_STALL:
                await self._shut(f"db.{whose}", "stall", "resume", fault.seconds)
            case Kind.NET_CUT:
                await world.proxy.tell("cut", f"net-*.{whose}")
            case Kind.NET_STALL:
                await self._shut(f"net-*.{whose}", "stall", "resume", fault.seconds)
            case Kind.OS_KILL:
                await self._kill_agentos(fault.seconds)
            case never:
                assert_never(never)

    def _worker(self, fault: Fault) -> WorkerProcess:
        return self._world.fleet.workers[fault.victim - 1]

    async def _kill(self, worker: WorkerProcess, down_seconds: float) -> None:
        await self._watch(worker, "killed")
        await worker.kill()
        await asyncio.sleep(down_seconds)
        await worker.start()
        await self._up(worker)

    async def _freeze(self, worker: WorkerProcess, seconds: float) -> None:
        await self._watch(worker, "frozen")
        worker.send(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        worker.send(signal.SIGCONT)

    async def _roll(self, victim: int) -> None:
        """One worker, or one after the other those that are well."""
        for worker in self._world.fleet.workers:
            if victim in (0, worker.number):
                lock = self._locks[worker.name]
                if worker.number != max(1, victim):
                    if lock.locked():
                        continue
                    async with lock:
                        await self._restart(worker)
                else:
                    await self._restart(worker)

    async def _restart(self, worker: WorkerProcess) -> None:
        code = await worker.stop(STOP_SECONDS)
        self._world.journal.note("stopped", worker=worker.number, code=code)
        await worker.start()
        await self._up(worker)

    async def _shut(self, links: str, shut: str, opened: str, seconds: float) -> None:
        await self._world.proxy.tell(shut, links)
        if shut == "refuse":
            await self._world.proxy.tell("cut", links)
        await asyncio.sleep(seconds)
        await self._world.proxy.tell(opened, links)

    async def _kill_agentos(self, down_seconds: float) -> None:
        """Meanwhile connections to it are refused, as they are where nobody listens."""
        await self._world.proxy.tell("refuse", "net-os.*")
        await self._world.agentos.kill()
        await self._world.proxy.tell("cut", "net-os.*")
        await asyncio.sleep(down_seconds)
        await self._world.agentos.start()
        await self._world.proxy.tell("accept", "net-os.*")

    async def _up(self, worker: WorkerProcess) -> None:
        """It may take long to be ready while the database is away: that it can be stopped is enough."""
        await until(lambda: worker.heeds_sigterm or not worker.is_alive, READY_SECONDS, f"{worker.name} starts")

    async def _watch(self, worker: WorkerProcess, how: str) -> None:
        """Measures how long its runs stay in its hands."""
        mine = await self._world.database.incarnations(worker.database_name)
        if mine:
            self._watchers.append(asyncio.create_task(self._await_recovery(worker, how, mine)))

    async def _await_recovery(self, worker: WorkerProcess, how: str, incarnations: list[str]) -> None:
        began, held = now_ms(), 0
        while True:
            await asyncio.sleep(0.1)
            running = await self._world.database.runs_of(incarnations)
            if running is None:
                continue  # the database is away
            held = max(held, running)
            if running == 0:
                break
        took = now_ms() - began
        self._world.journal.note("recovered", worker=worker.number, how=how, runs=held, took_ms=took)
