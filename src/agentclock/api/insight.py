"""How things stand: the summary, what needs attention, figures and accounts of many schedules, groups of failures."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, TypeAlias

from fastapi import Query

from agentclock.api import insight_schemas, schemas
from agentclock.api.auth import TheCaller
from agentclock.api.narrowing import Asked, From, To, confined
from agentclock.api.parameters import PageNumber, ScheduleId, read_instant
from agentclock.api.values import iso_or_null, ms_since
from agentclock.core.instants import iso_utc
from agentclock.insight import StatisticsOrder
from agentclock.ports import Page, PageRequest
from agentclock.scheduler import Scheduler

Rows: TypeAlias = Annotated[int, Query(ge=1, le=200, description="Rows of a page.")]


class InsightRoutes:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    async def get_summary(self, caller: TheCaller) -> insight_schemas.Summary:
        """How things stand in one glance: how many schedules and active runs there are, what became of the last 24
        hours, what is due next, how late runs begin, and whether anything lags behind."""
        return insight_schemas.summary_out(await self._scheduler.insight.summary(caller.user_id))

    async def list_concerns(
        self,
        caller: TheCaller,
        limit: Annotated[int, Query(ge=1, le=100, description="How many are shown, the most urgent.")] = 50,
    ) -> insight_schemas.ConcernList:
        """What somebody has to look into, most urgent first, each with what can be done about it."""
        found = await self._scheduler.insight.attention(caller.user_id, limit=limit)
        data = [insight_schemas.concern_out(concern) for concern in found.concerns]
        return insight_schemas.ConcernList(data=data, is_complete=found.is_complete)

    async def list_statistics(
        self,
        asked: Asked,
        caller: TheCaller,
        since: From = None,
        until: To = None,
        sort: Annotated[
            StatisticsOrder,
            Query(description="By name, or the greatest first: p99 of lateness, failures, p95 of duration, runs."),
        ] = StatisticsOrder.NAME,
        limit: Rows = 50,
        page: PageNumber = 1,
    ) -> insight_schemas.StatisticsList:
        """How late runs begin, how long they take and how many go well, schedule by schedule; of the last seven days
        by itself."""
        began = time.perf_counter()
        found = await self._scheduler.insight.statistics(
            read_instant("from", since),
            read_instant("to", until),
            where=confined(asked, caller),
            order=sort,
            page=PageRequest(limit=limit, page=page),
        )
        rows = Page(items=tuple(found.figures), total_count=found.compared)
        return insight_schemas.StatisticsList(
            from_at=iso_utc(found.period.since),
            to=iso_utc(found.period.until),
            data=[insight_schemas.ranked_row_out(figures) for figures in found.figures],
            runs_per_schedule=found.runs_per_schedule,
            schedules_total=found.total_count,
            schedules_compared=found.compared,
            ranked_from=iso_or_null(found.ranked_since),
            meta=schemas.meta_out(rows, page=page, limit=limit, search_time_ms=ms_since(began)),
        )

    async def get_schedule_statistics(
        self, schedule_id: ScheduleId, caller: TheCaller, since: From = None, until: To = None
    ) -> insight_schemas.ScheduleStatistics:
        """The same figures of one schedule, of its newest 500 runs at most, with those runs in columns."""
        first, last = read_instant("from", since), read_instant("to", until)
        found, marks = await self._scheduler.insight.schedule_statistics(
            schedule_id, first, last, user_id=caller.user_id
        )
        return await asyncio.to_thread(insight_schemas.schedule_statistics_out, found, marks)

    async def list_accounts(
        self,
        asked: Asked,
        caller: TheCaller,
        since: From = None,
        until: To = None,
        limit: Rows = 50,
        page: PageNumber = 1,
    ) -> insight_schemas.AccountList:
        """Is every fire accounted for? due = runs + skipped + missed, schedule by schedule; of the last 24 hours by
        itself. Manual and backfill runs are not counted."""
        began = time.perf_counter()
        found = await self._scheduler.insight.accounts(
            read_instant("from", since),
            read_instant("to", until),
            where=confined(asked, caller),
            page=PageRequest(limit=limit, page=page),
        )
        return insight_schemas.AccountList(
            data=[insight_schemas.account_row_out(line) for line in found.items],
            meta=schemas.meta_out(found, page=page, limit=limit, search_time_ms=ms_since(began)),
        )

    async def list_failures(
        self,
        caller: TheCaller,
        since: From = None,
        until: To = None,
        schedule_id: Annotated[str | None, Query(max_length=64, description="Only runs of this schedule.")] = None,
        limit: Annotated[int, Query(ge=1, le=200, description="How many groups are shown, the largest.")] = 50,
    ) -> insight_schemas.FailureList:
        """Runs that failed, took too long or were lost, in groups that failed in the same way; of the last seven days
        by itself."""
        found = await self._scheduler.insight.failures(
            read_instant("from", since),
            read_instant("to", until),
            schedule_id=schedule_id or None,
            user_id=caller.user_id,
            limit=limit,
        )
        return insight_schemas.failures_out(found)
