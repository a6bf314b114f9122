"""The one place of a process where people watch: it looks once for all of them, and each follows at his own pace.

What happens in this process comes by the bus, what happens in others by wake-ups; both only say where to look, and the
database is what is shown. Where wake-ups do not arrive, it looks every second while somebody watches.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from agentclock.core.errors import Unavailable
from agentclock.core.events import (
    AttemptStarted,
    Event,
    EventsLogged,
    FiresAbsent,
    RunChanged,
    RunQueued,
    RunSettled,
    ScheduleChanged,
    ScheduleFaulty,
)
from agentclock.core.ids import fire_run_id
from agentclock.live.exit import server_wants_exit
from agentclock.live.feed import Feed
from agentclock.live.items import FeedItem, Item, Pulse
from agentclock.live.topic import Topic
from agentclock.live.viewer import Viewer
from agentclock.live.views import FeedView, RunView, Shown, View
from agentclock.ports import Clock, News, Store

#: How often the hub sees to its streams while there are any.
TICK_SECONDS: Final = 0.25
#: A stream that is quiet for so long shows that it is alive.
PULSE_SECONDS: Final = 15.0
#: How often the database is looked at without being told to: while wake-ups do not arrive, and while they do.
LOOK_SECONDS: Final = (1.0, 10.0)
#: The changes of all runs are remembered for so long after the last viewer has left.
LINGER_SECONDS: Final = 60.0
#: Room that was promised is kept for so long: whoever asked for it may have left before the stream began.
PROMISE_SECONDS: Final = 5.0


class Hub:
    """`hears` says whether wake-ups from other processes arrive, `wants_exit` whether the server does.

    A process serves at most `stream_limit` streams, each for `stream_max_seconds` at most.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        hears: Callable[[], bool] = lambda: True,
        wants_exit: Callable[[], bool] = server_wants_exit,
        stream_limit: int = 1_000,
        stream_max_seconds: float = 3_600,
    ) -> None:
        self._store = store
        self._clock = clock
        self._hears = hears
        self._wants_exit = wants_exit
        self._stream_limit = stream_limit
        self._stream_max_seconds = stream_max_seconds
        self._viewers: set[Viewer] = set()
        self._promised: deque[float] = deque()
        self._topics: dict[str, Topic] = {}
        self._feed: Feed | None = None
        self._feed_left_at = 0.0
        self._anything = False
        self._anything_at = clock.monotonic()
        self._ticking: asyncio.Task[None] | None = None
        self._is_closed = False

    # what others say

    def notice(self, event: Event) -> None:
        """Something happened in this process. A listener for the bus."""
        match event:
            case EventsLogged(run_id=run_id):
                if topic := self._topics.get(run_id):
                    topic.look(at_state=False)
            case RunQueued(run_id=run_id) | RunChanged(run_id=run_id):
                self._look_at_run(run_id)
            case AttemptStarted(run=run) | RunSettled(run=run):
                self._look_at_run(run.id)
            case FiresAbsent():
                self._look_at_run(fire_run_id(event.schedule_id, event.fire_at))
            case ScheduleChanged(schedule_id=schedule_id) | ScheduleFaulty(schedule_id=schedule_id):
                if self._feed:
                    self._feed.look(schedule_ids=[schedule_id])
            case _:
                """Nothing that can be seen in the database."""

    def hear(self, news: News) -> None:
        """Something happened in another process."""
        for run_id in self._topics.keys() & news.run_ids:
            self._topics[run_id].look()
        if self._feed and (news.run_ids or news.schedule_ids):
            self._feed.look(news.run_ids, news.schedule_ids)
        self._anything = self._anything or news.everything

    # streams

    @property
    def open_streams(self) -> int:
        return len(self._viewers)

    def check_room(self) -> None:
        """Raises Unavailable when no further stream can be opened; else there is room for one that begins soon."""
        if self._is_closed or self._wants_exit():
            raise Unavailable("The server stops: try again")
        now = self._clock.monotonic()
        while self._promised and now - self._promised[0] >= PROMISE_SECONDS:
            self._promised.popleft()
        if len(self._viewers) + len(self._promised) >= self._stream_limit:
            raise Unavailable(f"{self._stream_limit:,} event streams are open, the most one process serves")
        self._promised.append(now)

    async def last_seq(self, run_id: str) -> int:
        """The number of a run's newest event, 0 without any."""
        return (await self._store.event_cursor(run_id)).seq

    async def follow(self, run_id: str, after_seq: int | None = None) -> AsyncGenerator[Item, None]:
        """The state of a run and its events from the first one that is kept; or its events after number `after_seq`,
        and its state unless it is just `running`. Then what happens. Ends with Over, with Gone, or when the stream is
        old enough.
        """
        topic = self._topics.get(run_id)
        if topic is None:
            topic = self._topics[run_id] = Topic(run_id, self._store, self._clock)
        view = RunView(topic, after_seq)
        try:
            async with aclosing(self._shown(topic, view)) as items:
                async for item in items:
                    yield item
        finally:
            if not topic.viewers and self._topics.get(run_id) is topic:
                del self._topics[run_id]
                await topic.close()

    async def changes(self, user_id: str | None = None, after: str | None = None) -> AsyncGenerator[FeedItem, None]:
        """The runs that are active, then every change of runs and schedules; or every change after cursor `after`.

        `user_id` narrows to one owner's rows. Where nobody can go on from, it begins anew with Reset.
        """
        feed = self._feed
        if feed is None:
            feed = self._feed = Feed(self._store, self._clock, uuid.uuid4().hex[:12])
        view = FeedView(feed, self._store, user_id, after)
        try:
            async with aclosing(self._shown(feed, view)) as items:
                async for item in items:
                    yield item
        finally:
            self._feed_left_at = self._clock.monotonic()

    def open(self) -> None:
        """Streams may be opened, from the start and again after a close."""
        self._is_closed = False

    async def close(self) -> None:
        """Ends every stream."""
        self._is_closed = True
        self._end_all()
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
        for watched in self._watched():
            await watched.close()
        self._ticking, self._feed = None, None
        self._topics.clear()

    async def _shown(self, watched: Topic | Feed, view: View[Shown]) -> AsyncGenerator[Shown | Pulse, None]:
        """All that the view brings up, whenever its viewer is stirred."""
        viewer = self._new_viewer()
        if not watched.viewers:
            watched.look()
        watched.viewers.add(viewer)
        try:
            await watched.looked()
            while not viewer.is_over:
                async with aclosing(view.unseen()) as items:
                    async for item in items:
                        yield item
                        viewer.spoke_at = self._clock.monotonic()
                if view.is_over:
                    return
                now = self._clock.monotonic()
                if now - viewer.spoke_at >= PULSE_SECONDS:
                    yield Pulse()
                    viewer.spoke_at = now
                await viewer.stirred()
        finally:
            watched.viewers.discard(viewer)
            self._viewers.discard(viewer)

    # helpers

    def _new_viewer(self) -> Viewer:
        """It lasts up to a tenth less than it may: those who came together shall not come back together."""
        now = self._clock.monotonic()
        lasts_seconds = self._stream_max_seconds * random.uniform(0.9, 1.0)
        viewer = Viewer(now, now + lasts_seconds)
        self._viewers.add(viewer)
        if self._promised:
            self._promised.popleft()
        if self._is_closed:
            viewer.end()
        elif self._ticking is None:
            self._ticking = asyncio.create_task(self._tick(), name="agentclock-hub")
        return viewer

    async def _tick(self) -> None:
        while self._viewers or self._feed:
            await self._clock.sleep(TICK_SECONDS)
            if self._wants_exit():
                self._end_all()
            now = self._clock.monotonic()
            for viewer in self._viewers:
                if now >= viewer.ends_at:
                    viewer.end()
                elif now - viewer.spoke_at >= PULSE_SECONDS:
                    viewer.stir()
            self._look_around(now)
            if self._feed and not self._feed.viewers and now - self._feed_left_at >= LINGER_SECONDS:
                feed, self._feed = self._feed, None
                await feed.close()
        self._ticking = None

    def _look_around(self, now: float) -> None:
        often, rarely = LOOK_SECONDS
        usual = rarely if self._hears() else often
        anything = self._anything and now - self._anything_at >= often
        if anything:
            self._anything, self._anything_at = False, now
        for watched in self._watched():
            if anything or now - watched.looked_at >= (often if watched.trouble else usual):
                watched.look_around()

    def _watched(self) -> tuple[Topic | Feed, ...]:
        return (*self._topics.values(), *([self._feed] if self._feed else []))

    def _look_at_run(self, run_id: str) -> None:
        if topic := self._topics.get(run_id):
            topic.look()
        if self._feed:
            self._feed.look([run_id])

    def _end_all(self) -> None:
        for viewer in self._viewers:
            viewer.end()
