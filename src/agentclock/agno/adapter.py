"""agno's schedule tools on agentclock: the database methods that `SchedulerTools` and `ScheduleManager` call.

    SchedulerTools(db=ScheduleDb("postgresql://clock@db/clock"))      beside an agentclock of its own
    bind(db, clockwork); SchedulerTools(db=db)                        in the process that runs it, on the user's db

Every method may be called from any thread, an event loop's included: the work is done on an event loop in a thread
of its own, which waits for no other.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from agentclock.agno.guard_rails import Author, GuardRails
from agentclock.agno.portal import Portal
from agentclock.agno.schedule_desk import ScheduleDesk
from agentclock.agno.schedule_rows import Row
from agentclock.agno.schedule_source import ClockworkSource, DatabaseSource, DeskSource
from agentclock.agno.unique_names import as_agno_wants
from agentclock.app import Clockwork

P = ParamSpec("P")
T = TypeVar("T")

#: What agno asks of a database that keeps schedules.
METHODS: Final = (
    "get_schedule",
    "get_schedule_by_name",
    "get_schedules",
    "create_schedule",
    "update_schedule",
    "delete_schedule",
    "disable_schedules_for_target",
    "stamp_schedule_provenance",
    "claim_due_schedule",
    "release_schedule",
    "create_schedule_run",
    "update_schedule_run",
    "delete_schedule_runs",
    "get_schedule_run",
    "get_schedule_runs",
    "get_latest_schedule_runs",
)


class _Calls:
    """agno's methods as coroutines that are still to be run, with their author noted by whoever calls."""

    def __init__(self, source: DeskSource) -> None:
        self._source = source

    def get_schedule(self, schedule_id: str, user_id: str | None = None) -> Coroutine[Any, Any, Row | None]:
        return self._at_desk(lambda desk: desk.get_schedule(schedule_id, user_id))

    def get_schedule_by_name(self, name: str, user_id: str | None = None) -> Coroutine[Any, Any, Row | None]:
        return self._at_desk(lambda desk: desk.get_schedule_by_name(name, user_id))

    def get_schedules(
        self,
        enabled: bool | None = None,
        limit: int = 100,
        page: int = 1,
        user_id: str | None = None,
        raise_on_error: bool = True,
    ) -> Coroutine[Any, Any, tuple[list[Row], int]]:
        """A database that does not answer is always an error, never an empty list."""
        return self._at_desk(lambda desk: desk.get_schedules(enabled, limit, page, user_id))

    def create_schedule(self, schedule_data: Row) -> Coroutine[Any, Any, Row]:
        author = Author.here()
        return self._at_desk(lambda desk: desk.create_schedule(author, dict(schedule_data)))

    def update_schedule(
        self, schedule_id: str, user_id: str | None = None, **kwargs: Any
    ) -> Coroutine[Any, Any, Row | None]:
        author = Author.here()
        return self._at_desk(lambda desk: desk.update_schedule(author, schedule_id, user_id, kwargs))

    def delete_schedule(self, schedule_id: str, user_id: str | None = None) -> Coroutine[Any, Any, bool]:
        return self._at_desk(lambda desk: desk.delete_schedule(schedule_id, user_id))

    def disable_schedules_for_target(
        self, target_type: str, target_id: str, reason: str | None = None
    ) -> Coroutine[Any, Any, int]:
        return self._at_desk(lambda desk: desk.disable_schedules_for_target(target_type, target_id, reason))

    def stamp_schedule_provenance(self, schedule_id: str, **provenance: Any) -> Coroutine[Any, Any, bool]:
        return self._at_desk(lambda desk: desk.stamp_schedule_provenance(schedule_id, provenance))

    def claim_due_schedule(self, worker_id: str, lock_grace_seconds: int = 300) -> Coroutine[Any, Any, Row | None]:
        return self._at_desk(lambda desk: desk.claim_due_schedule(worker_id, lock_grace_seconds))

    def release_schedule(
        self,
        schedule_id: str,
        next_run_at: int | None = None,
        *,
        worker_id: str | None = None,
        locked_at: int | None = None,
    ) -> Coroutine[Any, Any, bool]:
        return self._at_desk(lambda desk: desk.release_schedule(schedule_id, next_run_at, worker_id, locked_at))

    def create_schedule_run(self, run_data: Row) -> Coroutine[Any, Any, Row]:
        return self._at_desk(lambda desk: desk.create_schedule_run(dict(run_data)))

    def update_schedule_run(self, schedule_run_id: str, **kwargs: Any) -> Coroutine[Any, Any, Row | None]:
        return self._at_desk(lambda desk: desk.update_schedule_run(schedule_run_id, kwargs))

    def delete_schedule_runs(self, schedule_id: str, *, before: int) -> Coroutine[Any, Any, int]:
        return self._at_desk(lambda desk: desk.delete_schedule_runs(schedule_id, before))

    def get_schedule_run(self, run_id: str, user_id: str | None = None) -> Coroutine[Any, Any, Row | None]:
        return self._at_desk(lambda desk: desk.get_schedule_run(run_id, user_id))

    def get_schedule_runs(
        self, schedule_id: str, limit: int = 20, page: int = 1, user_id: str | None = None
    ) -> Coroutine[Any, Any, tuple[list[Row], int]]:
        return self._at_desk(lambda desk: desk.get_schedule_runs(schedule_id, limit, page, user_id))

    def get_latest_schedule_runs(self, schedule_ids: Sequence[str]) -> Coroutine[Any, Any, dict[str, Row]]:
        return self._at_desk(lambda desk: desk.get_latest_schedule_runs(list(schedule_ids)))

    async def _at_desk(self, work: Callable[[ScheduleDesk], Awaitable[T]]) -> T:
        async with self._source.desk() as desk:
            with as_agno_wants():
                return await work(desk)
