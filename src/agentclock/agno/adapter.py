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
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

from agno.db.base import ComponentType

from agentclock.agno.guard_rails import Author, GuardRails
from agentclock.agno.portal import Portal
from agentclock.agno.schedule_desk import ScheduleDesk
from agentclock.agno.schedule_rows import Row
from agentclock.agno.schedule_source import ClockworkSource, DatabaseSource, DeskSource
from agentclock.agno.unique_names import as_agno_wants
from agentclock.app import Clockwork
from agentclock.config import Settings

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
    """agno's methods as coroutines that are yet to run. Who asks is noted at the call, where that is known."""

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
        self, /, schedule_id: str, user_id: str | None = None, **kwargs: Any
    ) -> Coroutine[Any, Any, Row | None]:
        author = Author.here()
        return self._at_desk(lambda desk: desk.update_schedule(author, schedule_id, user_id, kwargs))

    def delete_schedule(self, schedule_id: str, user_id: str | None = None) -> Coroutine[Any, Any, bool]:
        author = Author.here()
        return self._at_desk(lambda desk: desk.delete_schedule(author, schedule_id, user_id))

    def disable_schedules_for_target(
        self, target_type: str, target_id: str, reason: str | None = None
    ) -> Coroutine[Any, Any, int]:
        return self._at_desk(lambda desk: desk.disable_schedules_for_target(target_type, target_id, reason))

    def stamp_schedule_provenance(self, /, schedule_id: str, **provenance: Any) -> Coroutine[Any, Any, bool]:
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

    def update_schedule_run(self, /, schedule_run_id: str, **kwargs: Any) -> Coroutine[Any, Any, Row | None]:
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


class _Face:
    """What agno sees as a database. `portal` and `calls` stand behind it."""

    def __init__(
        self, database: str | None = None, *, rails: GuardRails | None = None, source: DeskSource | None = None
    ) -> None:
        if source is None:
            settings = Settings.load(database=database)
            source = DatabaseSource(settings, rails or GuardRails.of(settings))
        self._source = source
        self._calls = _Calls(self._source)
        self._portal = Portal("agentclock-schedule-db")

    def close(self) -> None:
        """Closes what was opened; the next call opens it anew."""
        if self._portal.is_open:
            self._portal.call(self._source.close())
            self._portal.close()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """agno copies agents together with what hangs on their database."""
        return self


def _waiting(method: Callable[Concatenate[_Calls, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[_Face, P], T]:
    @wraps(method)
    def call(self: _Face, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._portal.call(method(self._calls, *args, **kwargs))

    return call


def _awaited(
    method: Callable[Concatenate[_Calls, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[_Face, P], Coroutine[Any, Any, T]]:
    """A plain function, so that the author is noted before agno takes the coroutine to another thread; agno asks
    whether it is a coroutine function, and is told so."""

    @wraps(method)
    def call(self: _Face, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        return self._portal.acall(method(self._calls, *args, **kwargs))

    if sys.version_info >= (3, 12):
        return inspect.markcoroutinefunction(call)
    call._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
    return call


class ScheduleDb(_Face):
    """agno's schedule methods for synchronous callers, on agentclock's database.

    `database`: a path for SQLite or a postgresql:// URL; None: as the settings (AGENTCLOCK_DATABASE) say. An
    agentclock that runs anywhere on that database executes what is scheduled here; changes wake it at once.
    Raises ConfigError; the methods raise StoreUnavailable, InvalidField, GuardRail and the like.
    """

    get_schedule = _waiting(_Calls.get_schedule)
    get_schedule_by_name = _waiting(_Calls.get_schedule_by_name)
    get_schedules = _waiting(_Calls.get_schedules)
    create_schedule = _waiting(_Calls.create_schedule)
    update_schedule = _waiting(_Calls.update_schedule)
    delete_schedule = _waiting(_Calls.delete_schedule)
    disable_schedules_for_target = _waiting(_Calls.disable_schedules_for_target)
    stamp_schedule_provenance = _waiting(_Calls.stamp_schedule_provenance)
    claim_due_schedule = _waiting(_Calls.claim_due_schedule)
    release_schedule = _waiting(_Calls.release_schedule)
    create_schedule_run = _waiting(_Calls.create_schedule_run)
    update_schedule_run = _waiting(_Calls.update_schedule_run)
    delete_schedule_runs = _waiting(_Calls.delete_schedule_runs)
    get_schedule_run = _waiting(_Calls.get_schedule_run)
    get_schedule_runs = _waiting(_Calls.get_schedule_runs)
    get_latest_schedule_runs = _waiting(_Calls.get_latest_schedule_runs)


class AsyncScheduleDb(_Face):
    """The same for asynchronous callers, on whatever event loop."""

    get_schedule = _awaited(_Calls.get_schedule)
    get_schedule_by_name = _awaited(_Calls.get_schedule_by_name)
    get_schedules = _awaited(_Calls.get_schedules)
    create_schedule = _awaited(_Calls.create_schedule)
    update_schedule = _awaited(_Calls.update_schedule)
    delete_schedule = _awaited(_Calls.delete_schedule)
    disable_schedules_for_target = _awaited(_Calls.disable_schedules_for_target)
    stamp_schedule_provenance = _awaited(_Calls.stamp_schedule_provenance)
    claim_due_schedule = _awaited(_Calls.claim_due_schedule)
    release_schedule = _awaited(_Calls.release_schedule)
    create_schedule_run = _awaited(_Calls.create_schedule_run)
    update_schedule_run = _awaited(_Calls.update_schedule_run)
    delete_schedule_runs = _awaited(_Calls.delete_schedule_runs)
    get_schedule_run = _awaited(_Calls.get_schedule_run)
    get_schedule_runs = _awaited(_Calls.get_schedule_runs)
    get_latest_schedule_runs = _awaited(_Calls.get_latest_schedule_runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A database object of agno whose schedule methods lead here."""

    db: Any
    face: ScheduleDb | AsyncScheduleDb
    clockwork: Clockwork
    before: dict[str, Any]

    def unbind(self) -> None:
        """The object has its own methods again. Waits for calls under way: from an event loop, call it in a thread."""
        for name in (*METHODS, *_CASCADES):
            if name in self.before:
                setattr(self.db, name, self.before[name])
            else:
                vars(self.db).pop(name, None)
        if self.face.close in self.clockwork.at_stop:
            self.clockwork.at_stop.remove(self.face.close)
        self.face.close()


#: What else agno does to schedules, in its own tables, when something they call goes away.
_CASCADES: Final = ("delete_component",)


def bind(db: Any, clockwork: Clockwork, *, rails: GuardRails | None = None) -> Binding:
    """Leads the schedule methods of `db`, a database object of agno, to `clockwork`, before or after its start:
    `SchedulerTools(db=db)` and `ScheduleManager(db)` write to agentclock, with no change to the code that uses them.
    """
    is_async = asyncio.iscoroutinefunction(getattr(db, "get_schedule", None))
    source = ClockworkSource(clockwork, rails or GuardRails.of(clockwork.settings))
    face = AsyncScheduleDb(source=source) if is_async else ScheduleDb(source=source)
    before = {name: vars(db)[name] for name in (*METHODS, *_CASCADES) if name in vars(db)}
    for name in METHODS:
        setattr(db, name, getattr(face, name))
    if isinstance(face, ScheduleDb) and hasattr(db, "delete_component"):
        db.delete_component = _with_cascade(db, db.delete_component, face)
    clockwork.at_stop.append(face.close)
    return Binding(db=db, face=face, clockwork=clockwork, before=before)


def _with_cascade(db: Any, delete_component: Callable[..., bool], schedules: ScheduleDb) -> Callable[..., bool]:
    """agno switches off the schedules of a component that it archives, in its own table; this does it in ours."""

    @wraps(delete_component)
    def delete_and_disable(component_id: str, *args: Any, **kwargs: Any) -> bool:
        component = db.get_component(component_id)
        deleted = delete_component(component_id, *args, **kwargs)
        if deleted and component is not None:
            kind = ComponentType(component["component_type"]).value
            reason = f"target_archived:{kind}:{component_id}"
            disabled = schedules.disable_schedules_for_target(kind, component_id, reason)
            if kwargs.get("cascade_stats") is not None:
                kwargs["cascade_stats"]["schedules_disabled"] = disabled
        return deleted

    return delete_and_disable
