"""What the records come to: how things stand, what needs attention, the timeline, figures, accounts, failures.

Nothing here changes anything. `user_id` (of a filter: its own) narrows to one owner's rows; None means all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from agentclock.core.model import Instant
from agentclock.insight.alike import alike
from agentclock.insight.concerns import Attention, attention
from agentclock.insight.crew import Crew, crew
from agentclock.insight.failures import Failures, grouped_failures
from agentclock.insight.ledgers import LedgerLine, ledger
from agentclock.insight.ranking import StatisticsOrder
from agentclock.insight.reading import marks_of
from agentclock.insight.statistics import Figures, Statistics, all_statistics, schedule_statistics
from agentclock.insight.summaries import Summary, summary
from agentclock.insight.timelines import Lane, Timeline, TimelineDraft, timeline
from agentclock.insight.why import Why, why
from agentclock.ports import Failure, Page, PageRequest, RunMark, ScheduleFilter, Store

__all__ = [
    "Attention",
    "Failures",
    "Figures",
    "Insight",
    "Lane",
    "LedgerLine",
    "Statistics",
    "StatisticsOrder",
    "Summary",
    "Timeline",
    "TimelineDraft",
    "Why",
]


class Insight:
    """`engine_runs` says whether anybody executes runs; finished runs older than `history_days` may be deleted."""

    def __init__(
        self, store: Store, *, engine_runs: Callable[[], Awaitable[bool]], history_days: int | None = None
    ) -> None:
        self._store = store
        self._engine_runs = engine_runs
        self._history_days = history_days

    async def summary(self, user_id: str | None = None) -> Summary:
        """How things stand, in one glance."""
        return await summary(self._store, user_id)

    async def attention(self, user_id: str | None = None, *, limit: int = 50) -> Attention:
        """What somebody has to look into, most urgent first."""
        return await attention(self._store, user_id, limit, self._engine_runs)

    async def timeline(self, draft: TimelineDraft, where: ScheduleFilter) -> Timeline:
        """Of the schedules that match, the lanes in the order of their next fires. Raises InvalidField."""
        return await timeline(self._store, draft, where)

    async def statistics(
        self,
        since: Instant | None,
        until: Instant | None,
        *,
        where: ScheduleFilter,
        order: StatisticsOrder = StatisticsOrder.NAME,
        page: PageRequest,
    ) -> Statistics:
        """By name, or the greatest figures first; of the last seven days by itself. Raises InvalidField."""
        return await all_statistics(self._store, since, until, where=where, order=order, page=page)

    async def schedule_statistics(
        self, schedule_id: str, since: Instant | None, until: Instant | None, *, user_id: str | None = None
    ) -> tuple[Figures, Sequence[RunMark]]:
        """Of one schedule, with the runs that the figures are made of, the newest first. Raises NotFound,
        InvalidField."""
        return await schedule_statistics(self._store, schedule_id, since, until, user_id=user_id)

    async def accounts(
        self, since: Instant | None, until: Instant | None, *, where: ScheduleFilter, page: PageRequest
    ) -> Page[LedgerLine]:
        """By name; of the last 24 hours by itself. Raises InvalidField."""
        return await ledger(self._store, since, until, where=where, page=page, history_days=self._history_days)

    async def recent_runs(self, schedule_ids: Sequence[str], count: int) -> Mapping[str, Sequence[RunMark]]:
        """The newest `count` runs of each of these schedules, newest first."""
        return await marks_of(self._store, schedule_ids, count) if count else {}

    async def why(self, schedule_id: str, at: str | None = None, *, user_id: str | None = None) -> Why:
        """Why it ran at that time, or why not; of the latest fire, or the next, by itself. `at`: ISO 8601, local to the
        schedule's zone without an offset. Of a deleted schedule, too. Raises NotFound, InvalidField, CorruptRow."""
        return await why(self._store, schedule_id, at, user_id=user_id, history_days=self._history_days)

    async def crew(self, user_id: str | None = None) -> Crew:
        """Who executes runs, which ones, and what waits."""
        return await crew(self._store, user_id)

    async def alike(
        self, mark: str, since: Instant | None = None, until: Instant | None = None, *, user_id: str | None = None
    ) -> list[Failure]:
        """The runs whose failures have this fingerprint, newest first; of the last seven days by itself. Raises
        InvalidField."""
        return await alike(self._store, mark, since, until, user_id=user_id)

    async def failures(
        self,
        since: Instant | None = None,
        until: Instant | None = None,
        *,
        schedule_id: str | None = None,
        user_id: str | None = None,
        limit: int = 50,
    ) -> Failures:
        """In groups that failed in the same way, the largest first; of the last seven days by itself. Raises
        InvalidField."""
        return await grouped_failures(self._store, since, until, schedule_id=schedule_id, user_id=user_id, limit=limit)
