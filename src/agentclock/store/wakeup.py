"""Wake-ups between processes on one database. Losing one only costs time: polling finds the work as well."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from agentclock.core.errors import StoreUnavailable
from agentclock.ports import News

if TYPE_CHECKING:
    import asyncpg

#: At most twenty notifications a second leave a process, however often it has reason to.
SEND_PAUSE_SECONDS: Final = 0.05
#: At most ten pieces of news a second leave a process, whatever number of runs and schedules they are about.
TELL_PAUSE_SECONDS: Final = 0.1
#: PostgreSQL takes payloads of under 8000 bytes; longer news is told as news of everything.
PAYLOAD_LIMIT: Final = 7900
#: With so many ids waiting to be told, it is news of everything.
NEWS_LIMIT: Final = 400
#: How soon a listener tries again, at first and at last, when the server is away...
RETRY_SECONDS: Final = (1.0, 5.0)
#: ... and at last when the server is there, but not what is sent.
DEAF_SECONDS: Final = 30.0
#: How long a notification to ourselves may take, and how often one is sent to see whether the line is alive.
ECHO_SECONDS: Final = 5.0
PROBE_SECONDS: Final = 30.0
#: How often the file's change counter is read.
WATCH_SECONDS: Final = 0.2

NOT_STARTED: Final = "not started"
CONNECTING: Final = "connecting"
OK: Final = "ok"
#: Any other state tells of trouble.
_USUAL: Final = (NOT_STARTED, CONNECTING, OK)

#: How the payload of a probe begins; everybody hears it, only its sender heeds it.
_ECHO: Final = "echo "
#: How news begins; its sender's id follows, then JSON. Any other payload is the id of a sender: engines look again.
_NEWS: Final = "news "

_EVERYTHING: Final = News(everything=True)


class PostgresWakeup:
    """LISTEN/NOTIFY on connections of its own: one hears, one speaks, after the speaker's caller has committed.

    What this process sends does not wake itself. Raises ConfigError for a URL that cannot be read.
    """

    def __init__(self, dsn: str, *, channel: str = "agentclock_wakeup") -> None:
        from agentclock.store.postgres_address import Address  # noqa: PLC0415 - asyncpg is an extra
        from agentclock.store.postgres_gate import Gate  # noqa: PLC0415

        self._address = Address.read(dsn)
        self._new_gate: Callable[[], Gate] = lambda: Gate(RETRY_SECONDS)
        self._gate = self._new_gate()
        self._channel = channel
        self._id = uuid.uuid4().hex
        self._state = NOT_STARTED
        self._on_wake: Callable[[], None] = _nobody
        self._on_news: Callable[[News], None] = _nobody
        self._wanted = asyncio.Event()
        self._news = _Gathered()
        self._echoes: dict[str, asyncio.Future[None]] = {}
        self._speaker: asyncpg.Connection[Any] | None = None
        self._speaking = asyncio.Lock()
        self._is_mute = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, on_wake: Callable[[], None], on_news: Callable[[News], None] | None = None) -> None:
        """Answers at once; `state` tells when wake-ups arrive. A second start changes nothing but who is called."""
        self._on_wake, self._on_news = on_wake, on_news or _nobody
        if not self._tasks:
            # Made anew: it may be started again in another event loop.
            self._wanted, self._news, self._speaking = asyncio.Event(), _Gathered(), asyncio.Lock()
            self._gate = self._new_gate()
            self._say(CONNECTING)
            self._tasks = [
                asyncio.create_task(self._keep_listening(), name="agentclock-listen"),
                asyncio.create_task(self._keep_sending(), name="agentclock-notify"),
                asyncio.create_task(self._keep_telling(), name="agentclock-news"),
            ]

    def send(self) -> None:
        self._wanted.set()

    def tell(self, *, run_id: str | None = None, schedule_id: str | None = None) -> None:
        self._news.add(run_id, schedule_id)

    async def close(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._hang_up()
        self._say(NOT_STARTED)

    @property
    def state(self) -> str:
        return self._state

    async def _keep_listening(self) -> None:
        pause = shortest = RETRY_SECONDS[0]
        while True:
            try:
                await self._listen()
            except StoreUnavailable as error:
                if self._state == OK:
                    pause = shortest
                self._say(str(error))
            if self._gate.error is not None:
                await asyncio.sleep(self._gate.closed_seconds or shortest)
            else:
                await asyncio.sleep(pause)
                pause = min(pause * 2, DEAF_SECONDS)

    async def _listen(self) -> None:
        """Returns never; raises StoreUnavailable when the line is or turns out to be dead."""
        listener = await self._gate.through(self._address.connect)
        try:
            hung_up = asyncio.Event()
            listener.add_termination_listener(lambda _: hung_up.set())
            with self._address.answering():
                await listener.add_listener(self._channel, self._hear)
            await self._expect_echo()
            self._say(OK)
            self._on_wake()  # something may have happened while nobody listened
            self._on_news(_EVERYTHING)
            while not hung_up.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(PROBE_SECONDS):
                        await hung_up.wait()
                        break
                await self._expect_echo()
            raise StoreUnavailable(f"{self._address.where}: the listening connection was closed")
        finally:
            self._gate.lost()
            listener.terminate()

    async def _expect_echo(self) -> None:
        """Speaks to the listener by way of the other connection: a pooler may swallow either."""
        token = _ECHO + uuid.uuid4().hex
        echo = self._echoes[token] = asyncio.get_running_loop().create_future()
        try:
            await self._notify(token)
            async with asyncio.timeout(ECHO_SECONDS):
                await echo
        except TimeoutError as error:
            raise StoreUnavailable(
                f"{self._address.where}: notifications do not arrive; if a pooler in transaction mode is in between, "
                "set listen_url to the server itself"
            ) from error
        finally:
            del self._echoes[token]

    def _hear(self, connection: object, process: int, channel: str, payload: object) -> None:
        text = str(payload)
        if text.startswith(_ECHO):
            echo = self._echoes.get(text)
            if echo is not None and not echo.done():
                echo.set_result(None)
        elif text.startswith(_NEWS):
            sender, _, told = text.removeprefix(_NEWS).partition(" ")
            if sender != self._id:
                self._on_news(_news_of(told))
        elif text != self._id:
            self._on_wake()

    async def _keep_sending(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._try_to_notify(self._id)
            await asyncio.sleep(SEND_PAUSE_SECONDS)

    async def _keep_telling(self) -> None:
        while True:
            await self._news.wait()
            await self._try_to_notify(f"{_NEWS}{self._id} {self._news.take()}")
            await asyncio.sleep(TELL_PAUSE_SECONDS)

    async def _try_to_notify(self, payload: str) -> None:
        try:
            await self._notify(payload)
        except StoreUnavailable as error:
            if not self._is_mute:  # said once: the next ones fail for the same reason
                structlog.get_logger("agentclock.wakeup").warning("wakeup_not_sent", error=str(error))
            self._is_mute = True
        else:
            self._is_mute = False

    async def _notify(self, payload: str) -> None:
        async with self._speaking:
            try:
                if self._speaker is None or self._speaker.is_closed():
                    speaker = await self._gate.through(self._address.connect)
                    self._speaker = speaker
                with self._address.answering():
                    await self._speaker.execute(f"NOTIFY {_quoted(self._channel)}, {_literal(payload)}")
            except BaseException:
                self._hang_up()
                raise

    def _hang_up(self) -> None:
        speaker, self._speaker = self._speaker, None
        if speaker is not None:
            speaker.terminate()

    def _say(self, state: str) -> None:
        """In the log when it is news: the first of several troubles in a row, and their end."""
        was, self._state = self._state, state
        if state != was and (was in _USUAL or state in _USUAL):
            structlog.get_logger("agentclock.wakeup").info("wakeup_state", state=state)


class _Gathered:
    """The news since it was last told, as the payload of one notification."""

    def __init__(self) -> None:
        self._run_ids: set[str] = set()
        self._schedule_ids: set[str] = set()
        self._any = asyncio.Event()

    def add(self, run_id: str | None, schedule_id: str | None) -> None:
        for ids, found in ((self._run_ids, run_id), (self._schedule_ids, schedule_id)):
            if found is not None and len(ids) < NEWS_LIMIT:
                ids.add(found)
                self._any.set()

    async def wait(self) -> None:
        await self._any.wait()

    def take(self) -> str:
        """JSON; empty text for news of everything."""
        full = max(len(self._run_ids), len(self._schedule_ids)) >= NEWS_LIMIT
        told = json.dumps([sorted(self._run_ids), sorted(self._schedule_ids)], separators=(",", ":"))
        self._run_ids.clear()
        self._schedule_ids.clear()
        self._any.clear()
        return told if len(told) < PAYLOAD_LIMIT and not full else ""


def _news_of(told: str) -> News:
    """What cannot be read, perhaps from another version, may be about anything."""
    try:
        run_ids, schedule_ids = map(frozenset, json.loads(told))
    except (ValueError, TypeError):
        return _EVERYTHING
    return News(run_ids=run_ids, schedule_ids=schedule_ids)


class SqliteWakeup:
    """Watches the change counter of the file, from a thread: whoever writes to it wakes everybody, and may have news of
    anything."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._state = NOT_STARTED
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._on_wake: Callable[[], None] = _nobody
        self._on_news: Callable[[News], None] = _nobody

    async def start(self, on_wake: Callable[[], None], on_news: Callable[[News], None] | None = None) -> None:
        """A second start changes nothing but who is called."""
        self._on_wake, self._on_news = on_wake, on_news or _nobody
        if self._path == ":memory:":
            self._state = OK  # nobody else can write there
        elif self._thread is None:
            loop = asyncio.get_running_loop()
            self._stop.clear()
            self._thread = threading.Thread(target=self._watch, args=(loop,), name="agentclock-watch", daemon=True)
            self._thread.start()

    def send(self) -> None:
        """Nothing to do: the write itself is the wake-up."""

    def tell(self, *, run_id: str | None = None, schedule_id: str | None = None) -> None:
        """Nothing to do: the write itself is the news."""

    async def close(self) -> None:
        thread, self._thread = self._thread, None
        self._stop.set()
        if thread is not None:
            await asyncio.to_thread(thread.join)
        self._state = NOT_STARTED

    @property
    def state(self) -> str:
        return self._state

    def _call(self) -> None:
        """On the event loop."""
        self._on_wake()
        self._on_news(_EVERYTHING)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stop.is_set():
            try:
                self._watch_file(loop)
            except sqlite3.Error as error:
                self._state = f"the file cannot be watched: {error}"
            except RuntimeError:
                return  # the event loop is closed: nobody is left to wake
            self._stop.wait(1.0)

    def _watch_file(self, loop: asyncio.AbstractEventLoop) -> None:
        uri = Path(self._path).absolute().as_uri() + "?mode=ro"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None)
        try:
            seen = _change_counter(connection)
            self._state = OK
            loop.call_soon_threadsafe(self._call)  # something may have happened while nobody watched
            while not self._stop.wait(WATCH_SECONDS):
                found = _change_counter(connection)
                if found != seen:
                    seen = found
                    loop.call_soon_threadsafe(self._call)
        finally:
            connection.close()


def _change_counter(connection: sqlite3.Connection) -> int:
    found: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return found


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _nobody(*_: object) -> None: ...
