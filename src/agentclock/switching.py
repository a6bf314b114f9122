"""The use cases that switch many schedules at once: on, off, or out of existence.

Many go into one transaction. Where one of them stands in the way of the others, they are taken one by one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

from agentclock.changing import Changes
from agentclock.core.actors import Actor
from agentclock.core.errors import NotFound, StoreUnavailable
from agentclock.core.model import Schedule
from agentclock.core.storable import text_fault
from agentclock.ports import (
    ChangeSchedule,
    DeleteSchedule,
    PageRequest,
    ScheduleFilter,
    ScheduleWrite,
    Store,
)
from agentclock.timing import unless_owed

#: Schedules of one transaction: others shall not wait for it for long.
AT_ONCE: Final = 100


class OneByOne(Protocol):
    """The use cases of one schedule, which know what to do about fires that are due."""

    async def enable(self, schedule_id: str, *, user_id: str | None = None, by: Actor | None = None) -> Schedule: ...

    async def disable(self, schedule_id: str, *, user_id: str | None = None, by: Actor | None = None) -> Schedule: ...

    async def delete(self, schedule_id: str, *, user_id: str | None = None, by: Actor | None = None) -> None: ...


class Switching:
    """Each use case answers, for each id in order, what it raised for that one, None: nothing. `tell`: told of the ids
    that were written together."""

    def __init__(
        self, store: Store, changes: Changes, one_by_one: OneByOne, *, tell: Callable[[Sequence[str]], None]
    ) -> None:
        self._store = store
        self._changes = changes
        self._one_by_one = one_by_one
        self._tell = tell

    async def find(self, schedule_ids: Sequence[str], *, user_id: str | None = None) -> dict[str, Schedule]:
        """Those that are there and can be read."""
        ids = [one for one in dict.fromkeys(schedule_ids) if not text_fault(one)]
        found: dict[str, Schedule] = {}
        for start in range(0, len(ids), AT_ONCE):
            where = ScheduleFilter(ids=tuple(ids[start : start + AT_ONCE]), user_id=user_id)
            page = await self._store.list_schedules(where, PageRequest(limit=AT_ONCE))
            found |= {row.id: row for row in page.items}
        return found

    async def enable(
        self, schedule_ids: Sequence[str], *, user_id: str | None = None, by: Actor | None = None
    ) -> list[Exception | None]:
        change = unless_owed(self._changes.switched_on)
        return await self._all(
            schedule_ids,
            lambda one: ChangeSchedule(schedule_id=one, change=change),
            self._one_by_one.enable,
            user_id,
            by,
        )

    async def disable(
        self, schedule_ids: Sequence[str], *, user_id: str | None = None, by: Actor | None = None
    ) -> list[Exception | None]:
        change = unless_owed(self._changes.switched_off)
        return await self._all(
            schedule_ids,
            lambda one: ChangeSchedule(schedule_id=one, change=change),
            self._one_by_one.disable,
            user_id,
            by,
        )

    async def delete(
        self, schedule_ids: Sequence[str], *, user_id: str | None = None, by: Actor | None = None
    ) -> list[Exception | None]:
        return await self._all(
            schedule_ids, lambda one: DeleteSchedule(schedule_id=one), self._one_by_one.delete, user_id, by
        )

    async def _all(
        self,
        schedule_ids: Sequence[str],
        write_of: Callable[[str], ScheduleWrite],
        one: Callable[..., Awaitable[Any]],
        user_id: str | None,
        by: Actor | None,
    ) -> list[Exception | None]:
        results: list[Exception | None] = []
        for start in range(0, len(schedule_ids), AT_ONCE):
            piece = schedule_ids[start : start + AT_ONCE]
            try:
                _check(piece)
                await self._store.write_schedules(list(map(write_of, piece)), user_id=user_id, by=by)
            except StoreUnavailable as error:
                results += [error] * len(piece)
            except Exception:  # whatever is wrong with one of them is found out below
                results += [await _outcome(one(schedule_id, user_id=user_id, by=by)) for schedule_id in piece]
            else:
                self._tell(piece)
                results += [None] * len(piece)
        return results


def _check(schedule_ids: Sequence[str]) -> None:
    """Raises NotFound for what can be nowhere, and for one that would be written twice."""
    if len(set(schedule_ids)) < len(schedule_ids) or any(map(text_fault, schedule_ids)):
        raise NotFound("Schedule")


async def _outcome(work: Awaitable[object]) -> Exception | None:
    try:
        await work
    except Exception as error:
        return error
    return None
