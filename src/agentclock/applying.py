"""The use case of files: the schedules of a manager become what is declared, all of them or none.

A plan is made of what is stored and what is declared, then written in one transaction. Whoever changes one of its
schedules in between makes it fail and be made again: no change is lost, and none is made that nobody planned.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, TypeAlias

from agentclock.changing import Changes
from agentclock.core.actors import Actor
from agentclock.core.errors import (
    Conflict,
    Forbidden,
    InvalidField,
    ManagedByOthers,
    NameTaken,
    NotFound,
    VersionConflict,
)
from agentclock.core.ids import uuid7
from agentclock.core.model import Instant, Json, Run, Schedule, Target
from agentclock.core.timetable import is_due
from agentclock.core.zones import tzdata_version
from agentclock.declaring.checking import Faults, in_pieces, read_all
from agentclock.declaring.model import ApplyDraft, DeclaredSchedule, differences, mark_of
from agentclock.drafts import read_draft
from agentclock.ports import (
    ChangeSchedule,
    DeleteSchedule,
    InsertSchedule,
    PageRequest,
    ScheduleFilter,
    ScheduleWrite,
    Store,
)
from agentclock.timing import FiresOwed, Missed, unless_owed

#: Others must change what is planned so often, each time just before it is written, until we give up.
TRIES: Final = 10

_PAGE: Final = 500
#: Whoever listens to changes shall not keep everybody else waiting.
_TOLD_AT_ONCE: Final = 100

#: Asked for each target that is to be called from now on. Raises Forbidden.
MayCall: TypeAlias = Callable[[Target], Awaitable[None]]


class Action(StrEnum):
    CREATE = "create"
    CHANGE = "change"
    UNCHANGED = "unchanged"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What becomes of one schedule. `before` None: it is new; `after` None: it is deleted. `changes`: from what to what
    each field goes, by wire names; of a new schedule those that are not the default."""

    action: Action
    name: str
    before: Schedule | None = None
    after: Schedule | None = None
    declared: DeclaredSchedule | None = None
    changes: Mapping[str, tuple[Json, Json]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """`steps`: those of declared schedules in their order, then deletions. `undeclared`: schedules of the manager that
    are declared no more and stay, since nobody asked to prune."""

    manager: str
    is_dry_run: bool
    steps: tuple[Step, ...]
    undeclared: tuple[str, ...] = ()

    def count(self, action: Action) -> int:
        return sum(step.action is action for step in self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What was asked for, by whom, and for whom."""

    draft: ApplyDraft
    declared: tuple[DeclaredSchedule, ...]
    owner: str | None
    by: Actor | None
    may_call: MayCall

    @property
    def mark(self) -> str:
        return mark_of(self.draft.manager)


async def _anything(_: Target) -> None:
    """Whoever asks may have everything called."""


class Applying:
    """`forfeited`: told of fires that were recorded as missed because their timetable changes; `tell`: of the ids of
    schedules that are written. `owner_limit`: schedules that one owner may have."""

    def __init__(
        self,
        store: Store,
        changes: Changes,
        *,
        tell: Callable[[Sequence[str]], None],
        forfeited: Callable[[Schedule, Run], None],
        entropy: Callable[[int], bytes] = os.urandom,
        owner_limit: int | None = None,
    ) -> None:
        self._store = store
        self._changes = changes
        self._tell = tell
        self._forfeited = forfeited
        self._entropy = entropy
        self._owner_limit = owner_limit

    async def apply(
        self,
        draft: ApplyDraft | Mapping[str, Any],
        *,
        owner: str | None = None,
        by: Actor | None = None,
        may_call: MayCall = _anything,
    ) -> Applied:
        """Among the schedules of `owner` (None: of nobody). What is as declared already is not written.

        Raises InvalidField, InvalidFields, Forbidden, ManagedByOthers, LimitReached, and VersionConflict if others
        change the same schedules again and again.
        """
        draft = read_draft(ApplyDraft, draft)
        order = _Order(draft=draft, declared=await read_all(draft), owner=owner, by=by, may_call=may_call)
        reason: Conflict | NotFound = VersionConflict()
        for _ in range(TRIES):
            now, missed = await self._store.now(), Missed()
            planned = await self._plan(order, now)
            writes = [write for step in planned.steps if (write := self._write_of(step, order, now, missed))]
            if draft.dry_run or not writes:
                return planned
            try:
                written = await self._store.write_schedules(writes, user_id=owner, by=by, owner_limit=self._owner_limit)
            except FiresOwed:
                continue  # they came due since it was planned
            except (NameTaken, NotFound, VersionConflict) as error:
                reason = error
            else:
                missed.tell(self._forfeited)
                return await self._done(planned, written)
        raise reason

    # planning

    async def _plan(self, order: _Order, now: Instant) -> Applied:
        there = await self._there(order)
        steps, faults = [], Faults()
        async for place, declared in in_pieces(order.declared):
            before = there.get(declared.name)
            try:
                steps.append(self._step(declared, before, order, now))
            except InvalidField as error:
                row = before or self._blank(declared, order, now)
                faults.extend(place, self._changes.faults(row, declared.values(), now) or [error])
            except Forbidden as error:
                faults.forbid(place, declared.name, error)
        faults.raise_any()
        _refuse_foreign(steps, order)
        for step in steps:
            if (called := _newly_called(step)) is not None:
                await order.may_call(called)
        named = {declared.name for declared in order.declared}
        left = sorted((row for row in await self._managed(order) if row.name not in named), key=lambda row: row.name)
        if order.draft.prune:
            steps += [Step(action=Action.DELETE, name=row.name, before=row) for row in left]
        return Applied(
            manager=order.draft.manager,
            is_dry_run=order.draft.dry_run,
            steps=tuple(steps),
            undeclared=() if order.draft.prune else tuple(row.name for row in left),
        )

    def _step(self, declared: DeclaredSchedule, before: Schedule | None, order: _Order, now: Instant) -> Step:
        after = self._as_declared(declared, self._blank(declared, order, now) if before is None else before, order, now)
        changes = differences(before, after)
        action = Action.CREATE if before is None else Action.CHANGE if changes else Action.UNCHANGED
        return Step(action=action, name=declared.name, before=before, after=after, declared=declared, changes=changes)

    def _as_declared(self, declared: DeclaredSchedule, row: Schedule, order: _Order, now: Instant) -> Schedule:
        made = replace(self._changes.changed(row, declared.values(), now), managed_by=order.mark)
        if declared.enabled is None:
            return made
        return self._changes.switched_on(made, now) if declared.enabled else self._changes.switched_off(made, now)

    def _blank(self, declared: DeclaredSchedule, order: _Order, now: Instant) -> Schedule:
        return Schedule(
            id=uuid7(now, self._entropy(10)),
            name=declared.name,
            user_id=order.owner,
            target=Target(endpoint=declared.endpoint),
            timetable_since=now,
            zone_data_version=tzdata_version(),
            created_at=now,
        )

    async def _there(self, order: _Order) -> dict[str, Schedule]:
        """What the owner has by these names."""
        found: dict[str, Schedule] = {}
        names = [declared.name for declared in order.declared]
        for start in range(0, len(names), _PAGE):
            where = ScheduleFilter(user_id=order.owner, names=tuple(names[start : start + _PAGE]))
            found |= {row.name: row async for row in self._rows(where, order.owner)}
        return found

    async def _managed(self, order: _Order) -> list[Schedule]:
        where = ScheduleFilter(user_id=order.owner, managed_by=order.mark)
        return [row async for row in self._rows(where, order.owner)]

    async def _rows(self, where: ScheduleFilter, owner: str | None) -> AsyncIterator[Schedule]:
        """No owner counts as one of its own."""
        cursor = None
        while True:
            page = await self._store.list_schedules(where, PageRequest(limit=_PAGE, cursor=cursor))
            for row in page.items:
                if row.user_id == owner:
                    yield row
            cursor = page.next_cursor
            if cursor is None:
                return

    # writing

    def _write_of(self, step: Step, order: _Order, now: Instant, missed: Missed) -> ScheduleWrite | None:
        match step:
            case Step(before=Schedule() as old, after=None):
                return DeleteSchedule(schedule_id=old.id, expected_version=old.version)
            case Step(before=None, after=Schedule() as new):
                return InsertSchedule(schedule=new)
            case Step(
                action=Action.CHANGE,
                before=Schedule() as old,
                after=Schedule() as new,
                declared=DeclaredSchedule() as declared,
            ):

                def change(row: Schedule, now: Instant) -> Schedule:
                    """What was planned; made again only where that is over, since others wait while it is written."""
                    is_good = row == old and (new.next_fire_at is None or new.next_fire_at > now)
                    return new if is_good else self._as_declared(declared, row, order, now)

                return ChangeSchedule(
                    schedule_id=old.id,
                    change=unless_owed(change),
                    expected_version=old.version,
                    forfeit=missed.note if is_due(old, now) and new.next_fire_at != old.next_fire_at else None,
                )
        return None

    async def _done(self, planned: Applied, written: Sequence[Schedule | None]) -> Applied:
        """`written`: what became of the steps that change something, in their order."""
        left = iter(written)
        steps = [step if step.action is Action.UNCHANGED else replace(step, after=next(left)) for step in planned.steps]
        ids = [row.id for step in steps if step.action is not Action.UNCHANGED and (row := step.after or step.before)]
        for start in range(0, len(ids), _TOLD_AT_ONCE):
            self._tell(ids[start : start + _TOLD_AT_ONCE])
            await asyncio.sleep(0)
        return replace(planned, steps=tuple(steps))


def _refuse_foreign(steps: Iterable[Step], order: _Order) -> None:
    """Raises ManagedByOthers."""
    if order.draft.adopt:
        return
    found = {
        step.name: step.before.managed_by
        for step in steps
        if step.before is not None and step.before.managed_by != order.mark
    }
    if found:
        raise ManagedByOthers(found)


def _newly_called(step: Step) -> Target | None:
    """What is called from now on and was not before."""
    before, after = step.before, step.after
    if after is None or step.action is Action.UNCHANGED:
        return None
    if before is None or before.target != after.target or (after.enabled and not before.enabled):
        return after.target
    return None
