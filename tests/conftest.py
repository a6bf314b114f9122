"""Shared by all tests: the PostgreSQL server, a database of its own for each module, no network in unit tests."""

from __future__ import annotations

import gc
import logging
import os
import re
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
import pytest_socket
import structlog
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parents[1]))  # `tests.pg` must be found however pytest was started

from tests.pg import URL_VARIABLE, Database, ExternalServer, PostgresServer, execute, in_thread

UNIT_TESTS = Path(__file__).parent / "unit"
TEMPLATE = "agentclock_test_template"

# How long an example takes says something of the machine, and nothing of the code.
settings.register_profile("agentclock")
settings.load_profile("agentclock")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Nothing that is imported goes away again: the collector need not look at it, now or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000, 10, 10)
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Unit tests open no sockets, but for the event loop's own pair. pytest-socket takes this back afterwards."""
    if item.path.is_relative_to(UNIT_TESTS):
        pytest_socket.disable_socket(allow_unix_socket=True)


@contextmanager
def _logging_as_it_was() -> Iterator[None]:
    """A command that runs in this process sets up its logging, and nobody else's tests shall have to live with it."""
    was_configured, level = structlog.is_configured(), logging.getLogger().level
    yield
    if not was_configured and structlog.is_configured():
        structlog.reset_defaults()
        logging.getLogger().setLevel(level)


@pytest.fixture(autouse=True, scope="module")
def _logging_of_this_module() -> Iterator[None]:
    with _logging_as_it_was():
        yield


@pytest.fixture(autouse=True)
def _logging_of_this_test() -> Iterator[None]:
    with _logging_as_it_was():
        yield


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Database]:
    """The server that all tests share: never stop it (`chaos_server` is for that)."""
    if url := os.environ.get(URL_VARIABLE):
        yield ExternalServer(url)
        return
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: Database) -> Iterator[str]:
    """A database with our schema; CREATE DATABASE copies it faster than migrations run."""
    admin = postgres_server.dsn()
    execute(admin, f"DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)", f"CREATE DATABASE {TEMPLATE}")
    in_thread(lambda: _migrate(postgres_server.dsn(TEMPLATE)))
    yield TEMPLATE
    execute(admin, f"DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)")


@pytest.fixture(scope="session")
def database_numbers() -> Iterator[int]:
    return count(1)


@pytest.fixture(scope="module")
def postgres_dsn(
    request: pytest.FixtureRequest,
    postgres_server: Database,
    postgres_template: str,
    database_numbers: Iterator[int],
) -> Iterator[str]:
    """A migrated database for this module alone."""
    yield from _database(request, postgres_server, database_numbers, f"TEMPLATE {postgres_template}")


@pytest.fixture
def empty_postgres_dsn(
    request: pytest.FixtureRequest, postgres_server: Database, database_numbers: Iterator[int]
) -> Iterator[str]:
    """An empty database for this test alone."""
    yield from _database(request, postgres_server, database_numbers)


@pytest.fixture
def chaos_server() -> Iterator[PostgresServer]:
    """A server for this test alone, with fsync on: stop it, kill it, restart it."""
    server = PostgresServer(durable=True)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def _database(
    request: pytest.FixtureRequest, server: Database, numbers: Iterator[int], options: str = ""
) -> Iterator[str]:
    stem = re.sub(r"\W+", "_", request.path.stem.lower())[:30]
    name = f"agentclock_{os.getpid()}_{next(numbers)}_{stem}"
    execute(server.dsn(), f"CREATE DATABASE {name} {options}")
    yield server.dsn(name)
    execute(server.dsn(), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def _migrate(dsn: str) -> None:
    from agentclock.store.postgres import PostgresStore

    store = PostgresStore(dsn, clock=_StoreClock(), pool_size=1)
    await store.open()
    await store.close()


class _StoreClock:
    """Leaves the time to the database; migrating needs no other."""

    def now(self) -> int:
        return 0

    def store_now(self) -> None:
        return None

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing sleeps while migrating")
