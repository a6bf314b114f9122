"""The changes of all runs and schedules, as one stream that viewers can take up where they left it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

import structlog

from agentclock.core.errors import CorruptRow, StoreUnavailable
from agentclock.core.model import SECOND, Instant, Run, Schedule
from agentclock.live.items import Change, Label
from agentclock.live.labels import Labels
from agentclock.live.topic import AWAY
from agentclock.live.viewer import Looker, Viewer
from agentclock.ports import Clock, Store

#: Changes that are remembered for viewers who come back.
REMEMBERED: Final = 10_000
#: The least time between two looks: what changes several times within it is shown once.
PAUSE_SECONDS: Final = 0.2
#: Runs that are read from the database at a time.
PAGE: Final = 500
#: Where nobody says what has changed, fires of the last look and so much before it are read.
OVERLAP_SECONDS: Final = 60
_ERROR_CHARACTERS: Final = 500


class Feed:
    """`epoch` names this stream: a position in another one means nothing here. `trouble`: why the last look saw
    nothing."""

    def __init__(self, store: Store, clock: Clock, epoch: str) -> None:
        self.epoch = epoch
        self.seq = 0
        self.trouble: str | None = None
        self.looked_at = clock.monotonic()
        self.viewers: set[Viewer] = set()
        self._store = store
        self._clock = clock
        self._changes: deque[Change] = deque()
        self._latest: dict[str, Change] = {}
        self._active: dict[str, str] = {}
        self._owners: dict[str, str | None] = {}
        self._labels = Labels(store, REMEMBERED)
        self._run_ids: set[str] = set()
        self._schedule_ids: set[str] = set()
        self._anything = True
        self._since: Instant | None = None
        #: Of the schedules that changed lately, as the last look around found them.
        self._versions: dict[str, int] = {}
        self._looked = asyncio.Event()
        self._looker = Looker(self._look, clock, PAUSE_SECONDS)
        self._log = structlog.get_logger("agentclock.live")

    def look(self, run_ids: Iterable[str] = (), schedule_ids: Iterable[str] = ()) -> None:
        self._run_ids.update(run_ids)
        self._schedule_ids.update(schedule_ids)
        self._looker.want()

    def look_around(self) -> None:
        """At anything that may have changed."""
        self._anything = True
        self._looker.want()

    async def looked(self) -> None:
        """Returns once the first look has succeeded or failed."""
        await self._looked.wait()

    def cursor(self, seq: int) -> str:
        return f"{self.epoch}:{seq}"

    def seq_of(self, cursor: str) -> int | None:
        """Where a viewer with this cursor goes on, None if that is not possible (any more)."""
        epoch, _, digits = cursor.partition(":")
        if epoch != self.epoch or not (digits.isascii() and digits.isdecimal()):
            return None
        seq = int(digits)
        return seq if self.has_after(seq) else None

    def has_after(self, seq: int) -> bool:
        """Whether all that came after number `seq` is remembered."""
        return self.seq - len(self._changes) <= seq <= self.seq

    def after(self, seq: int) -> Sequence[Change]:
        """The changes after number `seq`, of each run and schedule only the newest."""
        newest: dict[str, Change] = {}
        for change in islice(reversed(self._changes), self.seq - seq):
            newest.setdefault(change.subject, change)
        return tuple(reversed(newest.values()))

    async def close(self) -> None:
        await self._looker.stop()
        self._looked.set()  # whoever waits for the first look waits no longer

    async def _look(self) -> None:
        self.looked_at = self._clock.monotonic()
        run_ids, self._run_ids = self._run_ids, set()
        schedule_ids, self._schedule_ids = self._schedule_ids, set()
        anything, self._anything = self._anything, False
        try:
            now = await self._store.now() if anything else None
            await self._see_schedules(schedule_ids, run_ids, now)
            await self._see_runs(run_ids, now)
            self._since = self._since if now is None else now
        except Exception as error:
            self._run_ids |= run_ids
            self._schedule_ids |= schedule_ids
            self._anything = self._anything or anything
            self.report(error)
        else:
            self.trouble = None
        self._looked.set()
        for viewer in self.viewers:
            viewer.stir()

    async def _see_schedules(self, schedule_ids: set[str], run_ids: set[str], now: Instant | None) -> None:
        """Those named and, at time `now`, any that changed. Adds the runs that changed with them to `run_ids`."""
        versions = self._versions
        if now is not None:
            versions = await self._store.schedules_since(self._horizon(now), PAGE)
        found = {schedule_id for schedule_id, version in versions.items() if self._versions.get(schedule_id) != version}
        for schedule_id in sorted(schedule_ids | found):
            is_news = self._since is not None or schedule_id in schedule_ids
            await self._see_schedule(schedule_id, is_news=is_news)
            run_ids.update(run_id for run_id, of in self._active.items() if of == schedule_id)
        self._versions = versions

    async def _see_schedule(self, schedule_id: str, *, is_news: bool) -> None:
        try:
            schedule = await self._store.get_schedule(schedule_id)
        except CorruptRow as error:
            self._log.error("schedule_not_seen", schedule=schedule_id, reason=error.reason)
            return
        if schedule is not None:
            self._remember_owner(schedule_id, schedule.user_id)
            self._labels.put(schedule_id, Label(name=schedule.name, jitter_seconds=schedule.jitter_seconds))
        change = Change(
            seq=self.seq + 1,
            schedule_id=schedule_id,
            user_id=self._owners.get(schedule_id),
            is_known_owner=schedule_id in self._owners,
            schedule=None if schedule is None else _brief_schedule(schedule),
        )
        self._add(change, is_news=is_news)

    async def _see_runs(self, run_ids: set[str], now: Instant | None) -> None:
        """Those named and, at time `now`, any that may have changed."""
        named, found = set(run_ids), dict[str, Run]()
        if now is not None:
            found = {run.id: run for run in await self._store.recent_runs(self._horizon(now), PAGE)}
            named |= self._active.keys()
        others = sorted(named - found.keys())
        for start in range(0, len(others), PAGE):
            found |= {run.id: run for run in await self._store.runs_by_id(others[start : start + PAGE])}
        await self._labels.learn({run.schedule_id for run in found.values()})
        for run_id in sorted(found):
            self._see_run(_brief_run(found[run_id]), is_news=self._since is not None or run_id in named)
        for run_id in named - found.keys():
            self._active.pop(run_id, None)

    def _horizon(self, now: Instant) -> Instant:
        """From when on things may have changed unseen."""
        return (now if self._since is None else self._since) - OVERLAP_SECONDS * SECOND

    def _see_run(self, run: Run, *, is_news: bool) -> None:
        if run.status.is_final:
            self._active.pop(run.id, None)
        else:
            self._active[run.id] = run.schedule_id
        self._remember_owner(run.schedule_id, run.user_id)
        label = self._labels.get(run.schedule_id)
        change = Change(seq=self.seq + 1, schedule_id=run.schedule_id, user_id=run.user_id, run=run, label=label)
        self._add(change, is_news=is_news)

    def _add(self, change: Change, *, is_news: bool) -> None:
        """What is known already is not shown again. `is_news` False: it was so before anybody watched, and whoever
        joins is shown all that is active."""
        before = self._latest.get(change.subject)
        if before is not None and change.is_like(before):
            return
        self._latest[change.subject] = change
        if not is_news:
            return
        self.seq = change.seq
        self._changes.append(change)
        while len(self._changes) > REMEMBERED:
            oldest = self._changes.popleft()
            if self._latest.get(oldest.subject) is oldest:
                del self._latest[oldest.subject]

    def _remember_owner(self, schedule_id: str, user_id: str | None) -> None:
        """A schedule that is deleted can be asked no more whose it was."""
        self._owners[schedule_id] = user_id
        while len(self._owners) > REMEMBERED:
            del self._owners[next(iter(self._owners))]

    def report(self, error: Exception) -> None:
        """In the log when it is news, and to viewers as soon as they look."""
        is_away = isinstance(error, StoreUnavailable)
        if self.trouble is None:
            if is_away:
                self._log.warning("changes_not_seen", reason=str(error))
            else:
                self._log.error("changes_not_seen", error=str(error), exc_info=error)
        self.trouble = AWAY if is_away else "Internal error"


def _brief_run(run: Run) -> Run:
    """Without what may be large: thousands of them are remembered."""
    error = None if run.error is None else run.error[:_ERROR_CHARACTERS]
    return replace(run, input=None, output=None, requirements=None, metrics=None, instruction=None, error=error)


def _brief_schedule(schedule: Schedule) -> Schedule:
    return replace(schedule, target=replace(schedule.target, payload=None), provenance=None)
