"""Many simulations, in several real processes, each with a database of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from tests.pg import URL_VARIABLE, ExternalServer, PostgresServer, execute
from tests.simulation.databases import Database, Postgres, Sqlite
from tests.simulation.plan import Plan
from tests.simulation.simulate import Result, simulate

#: Whatever the server does by itself, at its own time, would not be the seed's doing.
SERVER_OPTIONS = ("autovacuum=off",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    plan: Plan
    store: str
    seed: int
    verbose: bool = False


def run_all(jobs: Sequence[Job], *, processes: int, twice: bool = False) -> Iterator[tuple[Job, Result]]:
    """Each job's result, in the order in which they end."""
    processes = min(processes, len(jobs))
    with ExitStack() as stack:
        dsns: list[str] = []
        if any(job.store == "postgres" for job in jobs):
            dsns = stack.enter_context(databases(processes))
        if processes == 1:
            bench = stack.enter_context(_closing(_Bench(dsns[0] if dsns else None, twice)))
            yield from ((job, bench.run(job)) for job in jobs)
            return
        context = multiprocessing.get_context("spawn")
        given: Any = context.Queue()
        for place in range(processes):
            given.put(dsns[place] if dsns else None)
        pool = stack.enter_context(context.Pool(processes, _begin, (given, twice)))
        yield from pool.imap_unordered(_work, jobs)


@contextmanager
def databases(number: int) -> Iterator[list[str]]:
    """The addresses of so many empty databases, on a server of our own if none is named."""
    with ExitStack() as stack:
        if url := os.environ.get(URL_VARIABLE):
            server: ExternalServer | PostgresServer = ExternalServer(url)
        else:
            server = PostgresServer(options=SERVER_OPTIONS)
            stack.callback(server.remove)
            server.start()
        names = [f"agentclock_sim_{os.getpid()}_{place}" for place in range(number)]
        execute(server.dsn(), *(f"CREATE DATABASE {name}" for name in names))
        stack.callback(execute, server.dsn(), *(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in names))
        yield [server.dsn(name) for name in names]


class _Bench:
    """One process's databases, made when they are first needed."""

    def __init__(self, dsn: str | None, twice: bool) -> None:
        self._dsn = dsn
        self._twice = twice
        self._databases: dict[str, Database] = {}

    def run(self, job: Job) -> Result:
        if job.store not in self._databases:
            self._databases[job.store] = Sqlite() if job.store == "sqlite" else Postgres(self._dsn or "")
        database = self._databases[job.store]
        result = simulate(job.plan, job.seed, database, verbose=job.verbose)
        if self._twice:
            again = simulate(job.plan, job.seed, database)
            result.differs = again.trace != result.trace
        return result

    def close(self) -> None:
        for database in self._databases.values():
            database.close()


@contextmanager
def _closing(bench: _Bench) -> Iterator[_Bench]:
    try:
        yield bench
    finally:
        bench.close()


def _begin(given: Any, twice: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    _begin.bench = _Bench(given.get(), twice)  # type: ignore[attr-defined]


def _work(job: Job) -> tuple[Job, Result]:
    bench: _Bench = _begin.bench  # type: ignore[attr-defined]
    return job, bench.run(job)
