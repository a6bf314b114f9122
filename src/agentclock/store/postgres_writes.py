"""Many schedules written at once, in PostgreSQL: one operation inside a transaction of its caller, a few statements for
any number of schedules."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

import asyncpg

from agentclock.core.actors import Actor
from agentclock.core.errors import Conflict, NameTaken, NotFound, VersionConflict
from agentclock.core.model import Instant, Schedule
from agentclock.core.planning import plan_forfeit
from agentclock.core.storable import same_json
from agentclock.core.timetable import is_due
from agentclock.ports import ChangeSchedule, DeleteSchedule, InsertSchedule, ScheduleWrite
from agentclock.store import auditing
from agentclock.store.claiming import tried
from agentclock.store.columns import SCHEDULE_COLUMNS
from agentclock.store.firing import DELETED
from agentclock.store.notice_rows import notices_of_change
from agentclock.store.pieces import AT_ONCE, in_pieces
from agentclock.store.postgres_audit import record
from agentclock.store.postgres_notices import tell
from agentclock.store.postgres_pool import Row, Session
from agentclock.store.postgres_schedules import clash, fire, insert_schedules, note_revisions, values_of
from agentclock.store.revising import changed, deleted
from agentclock.store.rows import clean_text, decode_schedule, encode_cancel

_NOW: Final = len(SCHEDULE_COLUMNS)
_VERSION: Final = SCHEDULE_COLUMNS.index("version")

#: A schedule before and after one change of it.
Step = tuple[Schedule, Schedule]


async def write_schedules(
    session: Session, writes: Sequence[ScheduleWrite], user_id: str | None, by: Actor | None, owner_limit: int | None
) -> list[Schedule | None]:
    """Deletions, then changes, then insertions."""
    known = {write.schedule_id for write in writes if not isinstance(write, InsertSchedule)}
    rows = await session.rows("lock_schedules", ids=[clean_text(of) for of in known], user_id=clean_text(user_id))
    there = {str(row[0]): row for row in rows}
    gone = [_taken(there, write) for write in writes if isinstance(write, DeleteSchedule)]
    await _delete(session, gone, by)
    answers, steps = await _answers(writes, there, await _forfeited(session, writes, there))
    inserted = [write.schedule for write in writes if isinstance(write, InsertSchedule)]
    if steps:
        async with _explaining(session, lambda: _rename_clash(session, steps)):
            await _change(session, steps, rows[0][_NOW], by)
    if inserted:
        async with _explaining(session, lambda: clash(session, inserted)):
            await insert_schedules(session, inserted, by, owner_limit)
    return answers


def _taken(there: dict[str, Row], write: DeleteSchedule) -> Row:
    """Raises NotFound, VersionConflict."""
    row = there.pop(clean_text(write.schedule_id) or "", None)
    if row is None:
        raise NotFound("Schedule")
    if write.expected_version not in (None, row[_VERSION]):
        raise VersionConflict
    return row


async def _delete(session: Session, rows: Sequence[Row], by: Actor | None) -> None:
    if not rows:
        return
    ids = [row[0] for row in rows]
    await session.run_many("delete_schedule", [{"id": schedule_id, "user_id": None} for schedule_id in ids])
    before = (schedule for row in rows if isinstance(schedule := tried(decode_schedule, row), Schedule))
    await note_revisions(session, (one for schedule in before for one in deleted(schedule, rows[0][_NOW], by)))
    await record(session, [deed for schedule_id in ids for deed in auditing.deleted(schedule_id)], by)
    chosen = ("cancelled_of_schedules", "cancelled_unless_running")
    await session.rows("cancel_runs", chosen, ids=ids, **encode_cancel(DELETED, asked=False))


async def _forfeited(session: Session, writes: Sequence[ScheduleWrite], there: dict[str, Row]) -> dict[str, Schedule]:
    """Records what is due of those that shall be told of it; answers them as they are then."""
    now: dict[str, Schedule] = {}
    for write in writes:
        if not isinstance(write, ChangeSchedule) or write.forfeit is None:
            continue
        row = there.get(clean_text(write.schedule_id) or "")
        if row is None:
            raise NotFound("Schedule")
        schedule = now.get(str(row[0])) or decode_schedule(row)
        while is_due(schedule, row[_NOW]):
            schedule, missed = await fire(session, schedule, plan_forfeit, row[_NOW])
            write.forfeit(schedule, missed)
        now[str(row[0])] = schedule
    return now


async def _answers(
    writes: Sequence[ScheduleWrite], there: dict[str, Row], now: dict[str, Schedule]
) -> tuple[list[Schedule | None], list[Step]]:
    """What there will be, and the changes that lead to it. One change finds what the one before has made. `now`: those
    that are another than in `there` by now.

    Raises NotFound, VersionConflict, CorruptRow, and whatever a change raises.
    """
    steps: list[Step] = []
    answers: list[Schedule | None] = []
    for place, write in enumerate(writes):
        if place % AT_ONCE == AT_ONCE - 1:
            await asyncio.sleep(0)
        match write:
            case DeleteSchedule():
                answers.append(None)
            case InsertSchedule():
                answers.append(write.schedule)
            case ChangeSchedule():
                schedule_id = clean_text(write.schedule_id) or ""
                if schedule_id not in there:
                    raise NotFound("Schedule")
                row = there[schedule_id]
                before = now.get(schedule_id) or decode_schedule(row)
                after = now[schedule_id] = _changed(before, write, row[_NOW])
                answers.append(after)
                steps += [(before, after)] if after is not before else []
    return answers, steps


def _changed(before: Schedule, write: ChangeSchedule, now: Instant) -> Schedule:
    if write.expected_version is not None and before.version != write.expected_version:
        raise VersionConflict
    after = write.change(before, now)
    if after == before and same_json(after.target.payload, before.target.payload):
        return before
    return replace(after, id=before.id, version=before.version + 1, updated_at=now)


async def _change(session: Session, steps: Sequence[Step], now: Instant, by: Actor | None) -> None:
    last = {after.id: after for _, after in steps}
    await session.run_many("update_schedule", await in_pieces(map(values_of, last.values())))
    await note_revisions(session, (one for step in steps for one in changed(*step, now, by)))
    deeds = await in_pieces(auditing.changed(*step) for step in steps)
    await record(session, [deed for of_one in deeds for deed in of_one], by)
    told = await in_pieces(notices_of_change(session.subscriptions, *step, now, by) for step in steps)
    await tell(session, [notice for notices in told for notice in notices])


@asynccontextmanager
async def _explaining(session: Session, why: Callable[[], Awaitable[Conflict]]) -> AsyncIterator[None]:
    """Raises what `why` finds, when a unique index refuses what is written inside, with that undone already."""
    await session.script("SAVEPOINT written")
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        await session.script("ROLLBACK TO SAVEPOINT written")
        raise await why() from error


async def _rename_clash(session: Session, steps: Iterable[Step]) -> NameTaken:
    """Why the unique index refused what these schedules are to be called."""
    renamed = [after for before, after in steps if (before.name, before.user_id) != (after.name, after.user_id)]
    taken = await session.row(
        "names_in_use",
        ids=[clean_text(after.id) for after in renamed],
        names=[clean_text(after.name) for after in renamed],
        user_ids=[clean_text(after.user_id) for after in renamed],
    )
    return NameTaken(renamed[-1].name if taken is None else taken[0])
