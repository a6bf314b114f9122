"""Wake-ups between processes: PostgreSQL's notifications and SQLite's change counter."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.pg import PostgresServer, execute
from tests.pooler import TransactionPooler

from agentclock.core.errors import ConfigError
from agentclock.ports import News
from agentclock.store import wakeup
from agentclock.store.wakeup import PostgresWakeup, SqliteWakeup

Make = Callable[..., PostgresWakeup]


class Bell:
    """Counts its ringing and lets a test wait for the next one."""

    def __init__(self) -> None:
        self.rings = 0
        self._rung = asyncio.Event()

    def __call__(self) -> None:
        self.rings += 1
        self._rung.set()

    async def next(self) -> None:
        """A ring after the last one waited for."""
        await self._rung.wait()
        self._rung.clear()


class Ear:
    """Keeps the news it hears and lets a test wait until it has heard of something."""

    def __init__(self) -> None:
        self.heard: list[News] = []
        self._some = asyncio.Event()

    def __call__(self, news: News) -> None:
        self.heard.append(news)
        self._some.set()

    async def until(self, found: Callable[[News], bool]) -> None:
        while not any(found(news) for news in self.heard):
            self._some.clear()
            await self._some.wait()


EVERYTHING = News(everything=True)


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[PostgresWakeup] = []

    def make(dsn: str, channel: str = "agentclock_wakeup") -> PostgresWakeup:
        made.append(PostgresWakeup(dsn, channel=channel))
        return made[-1]

    yield make
    for each in made:
        await each.close()


async def becomes(each: PostgresWakeup | SqliteWakeup, *words: str) -> None:
    """Returns when the state holds one of `words`; a state is no event, so it is looked at."""
    while not any(word in each.state for word in words):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


SENDER = """
import asyncio, sys
from agentclock.store.wakeup import PostgresWakeup

async def main():
    wakeup = PostgresWakeup(sys.argv[1])
    await wakeup.start(lambda: None)
    while wakeup.state != "ok":
        await asyncio.sleep(0.01)
    wakeup.send()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    await wakeup.close()

asyncio.run(main())
"""


@pytest.mark.postgres
async def test_another_process_wakes_us(postgres_dsn: str, make: Make) -> None:
    listener, bell = make(postgres_dsn), Bell()
    await listener.start(bell)
    await bell.next()  # on connecting, for what may have been missed before
    assert listener.state == "ok"
    sender = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SENDER, postgres_dsn, stdin=asyncio.subprocess.PIPE
    )
    await bell.next()
    await sender.communicate(b"\n")
    assert sender.returncode == 0


@pytest.mark.postgres
async def test_our_own_wake_ups_and_other_channels_do_not_wake_us(postgres_dsn: str, make: Make) -> None:
    ours, theirs, elsewhere = make(postgres_dsn), make(postgres_dsn), make(postgres_dsn, 'quoted "channel"')
    bells = [Bell(), Bell(), Bell()]
    for each, bell in zip((ours, theirs, elsewhere), bells, strict=True):
        await each.start(bell)
        await bell.next()
    elsewhere.send()
    ours.send()
    await bells[1].next()
    theirs.send()
    await bells[0].next()
    # Had our own arrived, it would have been before the answer to it.
    assert [bell.rings for bell in bells] == [2, 2, 1]


@pytest.mark.postgres
async def test_many_wake_ups_become_few(postgres_dsn: str, make: Make) -> None:
    listener, sender, bell = make(postgres_dsn), make(postgres_dsn), Bell()
    await listener.start(bell)
    await bell.next()
    await sender.start(Bell())
    await becomes(sender, "ok")
    for _ in range(1000):
        sender.send()
    await bell.next()
    for _ in range(1000):
        sender.send()
    await bell.next()
    assert bell.rings == 3


@pytest.mark.postgres
async def test_it_reconnects_and_wakes_for_what_was_missed(
    chaos_server: PostgresServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeup, "RETRY_SECONDS", (0.02, 0.1))
    listener, sender = make(chaos_server.dsn()), make(chaos_server.dsn())
    bell = Bell()
    await listener.start(bell)
    await bell.next()
    await sender.start(Bell())
    await asyncio.to_thread(chaos_server.kill)
    await becomes(listener, "Connect", "closed")
    assert listener.state.startswith("PostgreSQL at 127.0.0.1")
    sender.send()
    await asyncio.to_thread(chaos_server.start)
    await bell.next()
    await becomes(listener, "ok")
    await becomes(sender, "ok")
    bell.rings = 0
    sender.send()
    while not bell.rings:
        await bell.next()


@pytest.mark.postgres
async def test_a_dead_line_is_found_out(postgres_dsn: str, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The listening session is told to stop listening behind our back; the next probe notices."""
    monkeypatch.setattr(wakeup, "RETRY_SECONDS", (0.02, 0.1))
    monkeypatch.setattr(wakeup, "PROBE_SECONDS", 0.05)
    monkeypatch.setattr(wakeup, "ECHO_SECONDS", 0.5)
    listener, bell = make(postgres_dsn), Bell()
    await listener.start(bell)
    await bell.next()
    execute(
        postgres_dsn,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND query LIKE 'LISTEN%'",
    )
    await bell.next()
    await becomes(listener, "ok")


@pytest.mark.postgres
async def test_a_pooler_that_swallows_notifications_is_found_out(
    postgres_dsn: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeup, "ECHO_SECONDS", 0.3)
    async with TransactionPooler(postgres_dsn) as pooler:
        listener, bell = make(pooler.dsn), Bell()
        await listener.start(bell)
        await becomes(listener, "pooler")
        assert bell.rings == 0
        assert "listen_url" in listener.state


async def test_starting_without_a_server_is_no_error(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = make("postgresql://clock:geheim@127.0.0.1:1/db")
    assert listener.state == "not started"
    await listener.start(Bell())
    listener.send()
    await becomes(listener, "PostgreSQL at")
    assert "geheim" not in listener.state
    await listener.close()
    assert listener.state == "not started"


@pytest.mark.postgres
async def test_news_is_heard_elsewhere_and_wakes_nobody(postgres_dsn: str, make: Make) -> None:
    ours, theirs = make(postgres_dsn), make(postgres_dsn)
    bells, ears = (Bell(), Bell()), (Ear(), Ear())
    for each, bell, ear in zip((ours, theirs), bells, ears, strict=True):
        await each.start(bell, ear)
        await ear.until(lambda news: news.everything)  # on connecting, for what may have been missed before
    ours.tell(run_id="run-1", schedule_id="it's ü \\ \ud800")
    await ears[1].until(lambda news: "run-1" in news.run_ids)
    assert ears[1].heard == [
        EVERYTHING,
        News(run_ids=frozenset({"run-1"}), schedule_ids=frozenset({"it's ü \\ \ud800"})),
    ]
    theirs.tell(schedule_id="s1")
    await ears[0].until(lambda news: "s1" in news.schedule_ids)
    # Had our own come back, it would have been before the answer to it.
    assert ears[0].heard == [EVERYTHING, News(schedule_ids=frozenset({"s1"}))]
    assert [bell.rings for bell in bells] == [1, 1]


@pytest.mark.postgres
async def test_much_news_becomes_little(postgres_dsn: str, make: Make) -> None:
    ours, theirs, ear = make(postgres_dsn), make(postgres_dsn), Ear()
    await ours.start(Bell())
    await becomes(ours, "ok")
    await theirs.start(Bell(), ear)
    await ear.until(lambda news: news.everything)
    ear.heard.clear()
    wanted = {f"run-{number}" for number in range(300)}
    for run_id in sorted(wanted):
        ours.tell(run_id=run_id)
        await asyncio.sleep(0)
    await ear.until(lambda news: "run-299" in news.run_ids)
    assert len(ear.heard) <= 2
    assert {run_id for news in ear.heard for run_id in news.run_ids} == wanted


@pytest.mark.postgres
@pytest.mark.parametrize("ids", [[f"{number:036}" for number in range(300)], [str(number) for number in range(1000)]])
async def test_news_that_is_too_long_is_news_of_everything(postgres_dsn: str, make: Make, ids: list[str]) -> None:
    ours, theirs, ear = make(postgres_dsn), make(postgres_dsn), Ear()
    await theirs.start(Bell(), ear)
    await ear.until(lambda news: news.everything)
    await ours.start(Bell())
    ear.heard.clear()
    for run_id in ids:
        ours.tell(run_id=run_id)
    await ear.until(lambda news: news.everything)
    assert ear.heard == [EVERYTHING]
    ours.tell(run_id="after")
    await ear.until(lambda news: "after" in news.run_ids)


@pytest.mark.postgres
@pytest.mark.parametrize(
    "told", ["", "{", "7", "null", '["x"]', "[[1],[[2]]]", '[["a"],["b"],["c"]]', '{"run_ids":["a"]}']
)
async def test_news_that_cannot_be_read_is_news_of_everything(postgres_dsn: str, make: Make, told: str) -> None:
    ear = Ear()
    listener = make(postgres_dsn)
    await listener.start(Bell(), ear)
    await ear.until(lambda news: news.everything)
    ear.heard.clear()
    execute(postgres_dsn, f"NOTIFY agentclock_wakeup, 'news another-process {told}'")
    await ear.until(lambda news: news.everything)
    assert ear.heard == [EVERYTHING]


@pytest.mark.postgres
async def test_whoever_only_wants_to_be_woken_need_not_hear_news(postgres_dsn: str, make: Make) -> None:
    ours, theirs, bell = make(postgres_dsn), make(postgres_dsn), Bell()
    await ours.start(bell)
    await bell.next()
    await theirs.start(Bell())
    await becomes(theirs, "ok")
    theirs.tell(run_id="run-1")
    theirs.send()
    await bell.next()


def test_a_url_that_cannot_be_read() -> None:
    with pytest.raises(ConfigError):
        PostgresWakeup("postgresql://clock:geheim#@host/db")


# SQLite


def written(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(sql)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "with space %41?.db"
    written(path, "PRAGMA journal_mode = WAL")
    written(path, "CREATE TABLE t (x)")
    return path


async def test_a_write_to_the_file_wakes_us(file: Path) -> None:
    watcher, bell, ear = SqliteWakeup(str(file)), Bell(), Ear()
    await watcher.start(bell, ear)
    await bell.next()
    assert watcher.state == "ok"
    for value in range(3):
        await asyncio.to_thread(written, file, f"INSERT INTO t VALUES ({value})")
        await bell.next()
    assert ear.heard == [EVERYTHING] * bell.rings
    watcher.send()
    watcher.tell(run_id="run-1")
    await watcher.close()
    rings = bell.rings
    await asyncio.to_thread(written, file, "INSERT INTO t VALUES (9)")
    assert (bell.rings, watcher.state) == (rings, "not started")


async def test_a_file_that_appears_later_is_watched_then(tmp_path: Path) -> None:
    path = tmp_path / "later.db"
    watcher, bell = SqliteWakeup(str(path)), Bell()
    await watcher.start(bell)
    await becomes(watcher, "cannot be watched")
    await asyncio.to_thread(written, path, "CREATE TABLE t (x)")
    await bell.next()
    assert watcher.state == "ok"
    await watcher.close()


async def test_nobody_else_can_write_to_memory() -> None:
    watcher, bell = SqliteWakeup(":memory:"), Bell()
    await watcher.start(bell)
    watcher.tell(run_id="run-1")
    assert (watcher.state, bell.rings) == ("ok", 0)
    await watcher.close()
