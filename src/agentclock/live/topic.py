"""One watched run: its newest events and its state, read once for all who watch."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

import structlog

from agentclock.core.errors import AgentclockError, StoreUnavailable
from agentclock.live.viewer import Looker, Viewer
from agentclock.ports import Clock, LoggedEvent, Store
from agentclock.runs import RunDetail, details_of

#: Events that are read from the database at a time.
PAGE: Final = 500
#: Events that are remembered for those who follow closely.
REMEMBERED: Final = 1_000

AWAY: Final = "The database does not answer at the moment"


class Topic:
    """`is_known`: a look has succeeded; then `detail` None means that the run is gone.

    `states` counts the different states seen so far. `seq`: the newest event's number. `trouble`: why the last look saw
    nothing.
    """

    def __init__(self, run_id: str, store: Store, clock: Clock) -> None:
        self.is_known = False
        self.detail: RunDetail | None = None
        self.states = 0
        self.seq = 0
        self.trouble: str | None = None
        self.looked_at = clock.monotonic()
        self.viewers: set[Viewer] = set()
        self._run_id = run_id
        self._store = store
        self._clock = clock
        self._events: list[LoggedEvent] = []
        #: Every event after this one is remembered.
        self._forgotten_seq = 0
        self._state_wanted = True
        self._looked = asyncio.Event()
        self._looker = Looker(self._look, clock)
        self._log = structlog.get_logger("agentclock.live")

    def look(self, *, at_state: bool = True) -> None:
        """`at_state` False: only further events are to be expected."""
        self._state_wanted = self._state_wanted or at_state
        self._looker.want()

    def look_around(self) -> None:
        """At anything that may have changed."""
        self.look()

    async def looked(self) -> None:
        """Returns once the first look has succeeded or failed."""
        await self._looked.wait()

    async def events_after(self, seq: int) -> Sequence[LoggedEvent]:
        """The next events of a viewer who has seen those up to number `seq`. Raises StoreUnavailable."""
        if seq < self._forgotten_seq:
            return await self._store.events_after(self._run_id, seq, PAGE)
        first = bisect_right(self._events, seq, key=lambda event: event.seq)
        return self._events[first : first + PAGE]

    async def close(self) -> None:
        await self._looker.stop()
        self._looked.set()  # whoever waits for the first look waits no longer

    async def _look(self) -> None:
        self.looked_at = self._clock.monotonic()
        at_state, self._state_wanted = self._state_wanted, False
        try:
            # The state is read before the events and shown after them: what has ended by now has logged all of them.
            detail = await self._state() if at_state else self.detail
            await self._see_events()
        except Exception as error:
            self._state_wanted = True
            self.report(error)
        else:
            self._see_state(detail)
        self._looked.set()
        for viewer in self.viewers:
            viewer.stir()

    async def _state(self) -> RunDetail | None:
        run = await self._store.get_run(self._run_id)
        return None if run is None else (await details_of(self._store, [run]))[0]

    def _see_state(self, detail: RunDetail | None) -> None:
        """After trouble it counts as new in any case: viewers see that all is well again."""
        if detail != self.detail or self.trouble is not None:
            self.states += 1
        self.detail, self.trouble, self.is_known = detail, None, True

    async def _see_events(self) -> None:
        if not self.is_known:
            cursor = await self._store.event_cursor(self._run_id)
            self.seq = self._forgotten_seq = max(cursor.kept_from_seq - 1, cursor.seq - REMEMBERED, 0)
        while True:
            fresh = await self._store.events_after(self._run_id, self.seq, PAGE)
            if fresh:
                self._remember(fresh)
            if len(fresh) < PAGE:
                return

    def _remember(self, fresh: Sequence[LoggedEvent]) -> None:
        self._events.extend(fresh)
        self.seq = fresh[-1].seq
        surplus = len(self._events) - REMEMBERED
        if surplus > 0:
            self._forgotten_seq = self._events[surplus - 1].seq
            del self._events[:surplus]

    def report(self, error: Exception) -> None:
        """In the log when it is news, and to viewers as soon as they look."""
        if self.trouble is None:
            if isinstance(error, StoreUnavailable):
                self._log.warning("run_not_seen", run=self._run_id, reason=str(error))
            else:
                self._log.error("run_not_seen", run=self._run_id, error=str(error), exc_info=error)
        self.trouble = AWAY if isinstance(error, StoreUnavailable) else _reason(error)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, AgentclockError) else "Internal error"
