"""How far one viewer has come, and what he has not seen yet."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final, Protocol, TypeVar

from agentclock.core.errors import StoreUnavailable
from agentclock.core.model import ACTIVE_STATUSES, RunStatus
from agentclock.live.feed import Feed
from agentclock.live.items import Changes, Cut, FeedItem, Gone, Item, Logged, Over, Reset, State, Trouble
from agentclock.live.labels import labels_of
from agentclock.live.topic import Topic
from agentclock.ports import PageRequest, RunFilter, Store

#: Active runs that a viewer is shown at first.
SNAPSHOT_ROWS: Final = 500

Shown = TypeVar("Shown")
Shown_co = TypeVar("Shown_co", covariant=True)


class View(Protocol[Shown_co]):
    @property
    def is_over(self) -> bool:
        """Nothing can follow."""

    def unseen(self) -> AsyncGenerator[Shown_co, None]:
        """What came since the last time."""


class RunView:
    """Of one run. `after_seq`: the last event that was seen earlier, None: nothing was."""

    def __init__(self, topic: Topic, after_seq: int | None) -> None:
        self.is_over = False
        self._topic = topic
        self._after_seq = after_seq
        self._seq = 0
        self._states = 0
        self._is_joined = False
        self._is_warned = False

    async def unseen(self) -> AsyncGenerator[Item, None]:
        topic = self._topic
        if topic.trouble is not None:
            if not self._is_warned:
                self._is_warned = True
                yield Trouble(topic.trouble)
            return
        self._is_warned = False
        detail, states, last_seq = topic.detail, topic.states, topic.seq
        if detail is None:
            self.is_over = True
            yield Gone()
            return
        if not self._is_joined:
            self._is_joined = True
            if self._after_seq is None:
                self._states = states
                yield State(detail)
            else:
                self._seq = min(self._after_seq, last_seq)
                self._states = states if detail.run.status is RunStatus.RUNNING else 0
        async for item in self._events(last_seq):
            yield item
        if self._seq < last_seq:
            return  # the database went away: more will come
        if detail.run.status.is_final:
            self.is_over = True
            yield Over(detail, self._seq + 1)
        elif self._states != states:
            self._states = states
            yield State(detail)

    async def _events(self, last_seq: int) -> AsyncGenerator[Item, None]:
        while self._seq < last_seq:
            try:
                events = await self._topic.events_after(self._seq)
            except StoreUnavailable as error:
                self._topic.report(error)
                return
            next_seq = events[0].seq if events else last_seq + 1
            if next_seq > self._seq + 1:
                yield Cut(next_seq - self._seq - 1, next_seq)
                self._seq = next_seq - 1
            if events:
                yield Logged(tuple(events))
                self._seq = events[-1].seq


class FeedView:
    """Of all that one may see. `after`: the cursor where an earlier stream ended, None: there was none."""

    def __init__(self, feed: Feed, store: Store, user_id: str | None, after: str | None) -> None:
        self.is_over = False
        self._feed = feed
        self._store = store
        self._user_id = user_id
        self._has_begun = after is not None
        self._seq = None if after is None else feed.seq_of(after)
        self._is_warned = False

    async def unseen(self) -> AsyncGenerator[FeedItem, None]:
        feed = self._feed
        if feed.trouble is not None:
            if not self._is_warned:
                self._is_warned = True
                yield Trouble(feed.trouble)
            return
        self._is_warned = False
        if self._seq is None or not feed.has_after(self._seq):
            reset = await self._reset()
            if reset is None:
                return
            yield reset
        if self._seq is None:
            return
        changes, self._seq = feed.after(self._seq), feed.seq
        shown = tuple(change for change in changes if change.is_for(self._user_id))
        if shown:
            yield Changes(shown, feed.epoch)

    async def _reset(self) -> Reset | None:
        """None: the database is away."""
        feed = self._feed
        # Before the rows are read: what changes meanwhile is shown twice rather than never.
        seq = feed.seq
        where = RunFilter(user_id=self._user_id, statuses=tuple(sorted(ACTIVE_STATUSES)))
        try:
            found = await self._store.list_runs(where, PageRequest(limit=SNAPSHOT_ROWS))
            labels = await labels_of(self._store, {run.schedule_id for run in found.items})
        except StoreUnavailable as error:
            feed.report(error)
            return None
        reset = Reset(
            runs=found.items,
            labels=labels,
            total_count=found.total_count,
            epoch=feed.epoch,
            cursor=feed.cursor(seq),
            is_again=self._has_begun,
        )
        self._seq, self._has_begun = seq, True
        return reset
