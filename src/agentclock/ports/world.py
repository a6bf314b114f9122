"""Time, and word from other processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from agentclock.core.model import Instant


class Clock(Protocol):
    """Time, injected everywhere. Real: SystemClock. Tests and simulation: FakeClock."""

    def now(self) -> Instant:
        """This process's idea of the time."""

    def store_now(self) -> Instant | None:
        """The time that SQL must use, or None: the database's own clock rules."""

    def monotonic(self) -> float:
        """Seconds that never go back, for measuring and for deadlines."""

    async def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class News:
    """A hint that something about these runs and schedules may have changed. `everything`: about any of them."""

    run_ids: frozenset[str] = frozenset()
    schedule_ids: frozenset[str] = frozenset()
    everything: bool = False


class Wakeup(Protocol):
    """Tells processes on the same database to look again at once. Only hints; losing one only costs time.

    Real: PostgresWakeup (LISTEN/NOTIFY), SqliteWakeup (watches the file's change counter).
    """

    async def start(self, on_wake: Callable[[], None], on_news: Callable[[News], None] | None = None) -> None:
        """`on_wake`: an engine has reason to look again. `on_news`: something that people watch has changed.

        Where changes are noticed without saying what they are, both are called, with news of everything.
        """

    def send(self) -> None:
        """Never blocks; many in a row may become one."""

    def tell(self, *, run_id: str | None = None, schedule_id: str | None = None) -> None:
        """News for those who watch in other processes. Never blocks; many in a row become one (10 a second)."""

    async def close(self) -> None: ...

    @property
    def state(self) -> str:
        """ "ok", or why wake-ups from other processes do not arrive (then polling does the work)."""
