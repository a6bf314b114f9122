"""The use cases of backfills: running fires of the past on request, and what became of it.

Callers speak wire field names. `user_id` narrows every use case to one owner's schedules; None means all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final

import structlog
from pydantic import BaseModel, ConfigDict, Field

from agentclock.core.actors import Actor, name_of
from agentclock.core.backfills import (
    MOST_FIRES,
    Backfill,
    Choice,
    Existing,
    choose,
    fires_between,
    run_id_of,
    runs_of,
    state_of,
)
from agentclock.core.errors import Forbidden, InvalidField, NotFound
from agentclock.core.ids import uuid7
from agentclock.core.instants import iso_utc
from agentclock.core.model import SECOND, Instant, RunStatus, Schedule
from agentclock.core.owners import foreign_call
from agentclock.core.storable import text_fault
from agentclock.core.zones import Zone
from agentclock.drafts import TimeText, Whole, read_draft
from agentclock.ports import Store
from agentclock.timing import is_on_demand, load_zone, parse_instant

#: So many fires are counted for the message to those who ask for too many.
_COUNTED: Final = 10 * MOST_FIRES
#: Runs looked up at a time: with what they answered they may be large.
_LOOK_UP: Final = 500

_TIME: Final = "ISO 8601, with an offset or local to the schedule's zone."


class BackfillDraft(BaseModel):
    """Which fires of the past to run, and how."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"from": "2026-03-01", "until": "2026-03-08", "concurrency": 2}]},
    )

    from_text: Annotated[TimeText, Field(alias="from", description=f"The first fire time that counts, {_TIME}")]
    until_text: Annotated[
        TimeText | None, Field(alias="until", description=f"The first fire time that does not, {_TIME} null: now.")
    ] = None
    existing: Annotated[
        Existing, Field(description="What to do with fires whose run is over: skip, run the failed again, or all.")
    ] = Existing.SKIP
    concurrency: Annotated[int, Field(ge=1, le=100, description="Runs at a time."), Whole] = 1
    dry_run: Annotated[bool, Field(strict=True, description="Only say what would be done.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillPlan:
    """What is done with each fire of the range, oldest first. `backfill` None: it was only asked, or nothing is to be
    run."""

    schedule: Schedule
    from_at: Instant
    until_at: Instant
    choices: tuple[Choice, ...]
    backfill: Backfill | None = None

    @property
    def to_run(self) -> int:
        return sum(choice.number is not None for choice in self.choices)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A backfill and how many of its runs are in which state. Runs that were pruned are in none."""

    backfill: Backfill
    runs: Mapping[RunStatus, int] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """How many are not over."""
        return sum(count for status, count in self.runs.items() if not status.is_final)


class Backfilling:
    """`wakeup` tells engines everywhere to look again at once."""

    def __init__(
        self, store: Store, *, wakeup: Callable[[], None], entropy: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._store = store
        self._wakeup = wakeup
        self._entropy = entropy
        self._log = structlog.get_logger("agentclock.backfilling")

    async def create(
        self,
        schedule_id: str,
        draft: BackfillDraft | Mapping[str, Any],
        *,
        user_id: str | None = None,
        by: Actor | None = None,
    ) -> BackfillPlan:
        """Runs the fires in the range, of a disabled schedule as well; the same request twice runs nothing twice.

        Raises InvalidField, NotFound, CorruptRow, Forbidden.
        """
        draft = read_draft(BackfillDraft, draft)
        schedule = await self._schedule(schedule_id, user_id)
        if fault := foreign_call(schedule.target, schedule.user_id):
            raise Forbidden(fault)
        now = await self._store.now()
        plan = await self._plan(schedule, draft, now)
        if draft.dry_run or not plan.to_run:
            return plan
        taken = {other.created_at for other in await self._store.backfills(schedule.id)}
        while now in taken:  # it is how their runs are told apart
            now += 1
        backfill = Backfill(
            id=uuid7(now, self._entropy(10)),
            schedule_id=schedule.id,
            from_at=plan.from_at,
            until_at=plan.until_at,
            existing=draft.existing,
            concurrency=draft.concurrency,
            by=name_of(by),
            created_at=now,
        )
        made = await self._store.insert_backfill(backfill, runs_of(backfill, schedule, plan.choices), by=by)
        self._wakeup()
        self._log.info(
            "backfill_created",
            schedule=schedule.name,
            schedule_id=schedule.id,
            backfill=backfill.id,
            runs=made,
            concurrency=backfill.concurrency,
            by=name_of(by),
        )
        return replace(plan, backfill=replace(backfill, fires=made))

    async def of_schedule(self, schedule_id: str, *, user_id: str | None = None) -> list[Progress]:
        """Newest first, at most a hundred. Raises NotFound, CorruptRow."""
        await self._schedule(schedule_id, user_id)
        return [await self._progress(backfill) for backfill in await self._store.backfills(schedule_id)]

    async def get(self, schedule_id: str, backfill_id: str, *, user_id: str | None = None) -> Progress:
        """Raises NotFound, CorruptRow."""
        await self._schedule(schedule_id, user_id)
        known = await self._store.backfills(schedule_id)
        found = next((backfill for backfill in known if backfill.id == backfill_id), None)
        if found is None:
            raise NotFound("Backfill")
        return await self._progress(found)

    async def cancel(
        self, schedule_id: str, backfill_id: str, *, user_id: str | None = None, by: Actor | None = None
    ) -> Progress:
        """Its runs that wait are cancelled, those that have begun are told to stop. Raises NotFound, CorruptRow."""
        await self.get(schedule_id, backfill_id, user_id=user_id)
        if await self._store.cancel_backfill(backfill_id, by=by) is None:
            raise NotFound("Backfill")
        self._wakeup()
        return await self.get(schedule_id, backfill_id, user_id=user_id)

    async def _progress(self, backfill: Backfill) -> Progress:
        return Progress(backfill=backfill, runs=await self._store.backfill_states(backfill))

    async def _schedule(self, schedule_id: str, user_id: str | None) -> Schedule:
        schedule = None if text_fault(schedule_id) else await self._store.get_schedule(schedule_id, user_id)
        if schedule is None:
            raise NotFound("Schedule")
        return schedule

    async def _plan(self, schedule: Schedule, draft: BackfillDraft, now: Instant) -> BackfillPlan:
        from_at, until_at = _range(schedule, draft, now)
        fires = _fires(schedule, from_at, until_at)
        states = await self._states(schedule.id, fires)
        choices = tuple(choose(fire_at, states[fire_at], draft.existing) for fire_at in fires)
        return BackfillPlan(schedule=schedule, from_at=from_at, until_at=until_at, choices=choices)

    async def _states(self, schedule_id: str, fires: Sequence[Instant]) -> dict[Instant, list[RunStatus | None]]:
        """Of each fire's runs, by their number."""
        states: dict[Instant, list[RunStatus | None]] = {fire_at: [] for fire_at in fires}
        asked, number = list(fires), 0
        while asked:
            found = await self._found({run_id_of(schedule_id, fire_at, number): fire_at for fire_at in asked})
            for fire_at in asked:
                if number == 0 or fire_at in found:
                    states[fire_at].append(found.get(fire_at))
            # A fire that made no run by itself may have one of a backfill.
            asked = [fire_at for fire_at in asked if number == 0 or fire_at in found]
            number += 1
        return states

    async def _found(self, fires_by_id: Mapping[str, Instant]) -> dict[Instant, RunStatus | None]:
        ids = [*fires_by_id]
        found: dict[Instant, RunStatus | None] = {}
        for start in range(0, len(ids), _LOOK_UP):
            for run in await self._store.runs_by_id(ids[start : start + _LOOK_UP]):
                found[fires_by_id[run.id]] = state_of(run)
        return found


def _range(schedule: Schedule, draft: BackfillDraft, now: Instant) -> tuple[Instant, Instant]:
    zone = load_zone(schedule.timezone)
    from_at = parse_instant("from", draft.from_text, zone)
    until_at = now if draft.until_text is None else parse_instant("until", draft.until_text, zone)
    if until_at > now:
        message = f"lies in the future: only what is past can be made up for, and now it is {_local(now, zone)}"
        raise InvalidField("until", message)
    if from_at >= until_at:
        message = f"must lie before until: {_local(from_at, zone)} is not before {_local(until_at, zone)}"
        raise InvalidField("from", message)
    return from_at, until_at


def _fires(schedule: Schedule, from_at: Instant, until_at: Instant) -> list[Instant]:
    if is_on_demand(schedule):
        message = "names a schedule that has no timetable, so it missed nothing: trigger it instead"
        raise InvalidField("schedule_id", message)
    try:
        fires = fires_between(schedule, from_at, until_at, _COUNTED + 1)
    except ValueError as error:
        raise InvalidField("schedule_id", f"names a schedule whose timetable cannot be read: {error}") from None
    if len(fires) > MOST_FIRES:
        count = f"{len(fires):,}" if len(fires) <= _COUNTED else f"more than {_COUNTED:,}"
        part = _local(fires[MOST_FIRES], load_zone(schedule.timezone))
        message = f"{count} fires lie in the range, one backfill takes {MOST_FIRES:,}: ask for less, say until {part}"
        raise InvalidField("until", message)
    return fires


def _local(at: Instant, zone: Zone) -> str:
    return zone.iso(at // SECOND) if at % SECOND == 0 else iso_utc(at)
