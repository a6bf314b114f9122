"""Schedules in PostgreSQL: each function is one operation inside a transaction of its caller."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from agentclock.core.actors import Actor
from agentclock.core.errors import Conflict, CorruptRow, NameTaken, NotFound, VersionConflict
from agentclock.core.model import Instant, Run, Schedule
from agentclock.core.revisions import Revision
from agentclock.core.storable import same_json
from agentclock.ports import ChangeFunction, Fired, Page, PageRequest, PlanFunction, ScheduleFilter, ScheduleOrder
from agentclock.store import auditing
from agentclock.store.claiming import report, tried
from agentclock.store.columns import SCHEDULE_COLUMNS
from agentclock.store.filters import Selection, decoded, is_searching, offset, page_of, schedule_selection
from agentclock.store.firing import DELETED, REPLACED, Batch, Slots, advanced, batch_of, facts_of, plan_batch
from agentclock.store.listing import NEVER, from_cursor, listing
from agentclock.store.notice_rows import notices_of_batch, notices_of_change
from agentclock.store.owning import owned, refuse_if_over
from agentclock.store.pieces import in_pieces
from agentclock.store.postgres_audit import record
from agentclock.store.postgres_notices import tell
from agentclock.store.postgres_pool import Session, filled, lock_key
from agentclock.store.postgres_waiting import release_one_of_each
from agentclock.store.revising import OURSELVES, changed, created, decode_revision, deleted, disabled, encode_revision
from agentclock.store.rows import (
    clean_text,
    decode_run,
    decode_schedule,
    encode_cancel,
    encode_json,
    encode_schedule,
    encode_trigger_note,
)

_NOW = len(SCHEDULE_COLUMNS)

#: Stands between what schedules say of themselves; nobody looks for it.
_BETWEEN = "\x1f"


async def insert_schedules(
    session: Session, schedules: Sequence[Schedule], by: Actor | None, owner_limit: int | None
) -> None:
    if owner_limit is not None:
        await _check_owners(session, schedules, owner_limit)
    rows = await in_pieces(map(values_of, schedules))
    await session.rows("insert_schedules", **{name: [row[name] for row in rows] for name in rows[0]})
    await note_revisions(session, created(schedules, by))
    await record(session, auditing.created(schedules), by)


async def _check_owners(session: Session, schedules: Sequence[Schedule], limit: int) -> None:
    """One at a time for each owner, until the transaction ends: whoever comes second counts what the first has written.

    Raises LimitReached.
    """
    new = owned(schedules)
    await session.rows("lock_owners", keys=sorted(lock_key(f"schedules of {user_id}") for user_id in new))
    for user_id, count in new.items():
        has = await session.value("count_of_owner", user_id=user_id, most=max(0, limit))
        refuse_if_over(user_id, has + count, limit)


async def note_revisions(session: Session, revisions: Iterable[Revision]) -> None:
    rows = await in_pieces(map(encode_revision, revisions))
    await session.rows(
        "insert_revisions",
        schedule_ids=[row["schedule_id"] for row in rows],
        versions=[row["version"] for row in rows],
        at=[row["at"] for row in rows],
        changed_by=[row["changed_by"] for row in rows],
        kinds=[row["kind"] for row in rows],
        bodies=[row["body"] for row in rows],
    )


async def revisions(session: Session, schedule_id: str, limit: int) -> list[Revision]:
    rows = await session.rows("revisions", schedule_id=clean_text(schedule_id), limit=max(0, limit))
    readable, faults = decoded(rows, decode_revision)
    report(faults)
    return list(readable)


async def clash(session: Session, schedules: Sequence[Schedule]) -> Conflict:
    """Why the unique indexes refused these schedules."""
    ids = [clean_text(schedule.id) for schedule in schedules]
    names = [(schedule.name, schedule.user_id) for schedule in schedules]
    used = next(iter(await session.rows("taken_ids", ids=ids)), None) or _twice(ids)
    if used is not None:
        return Conflict(f"A schedule with id '{used[0]}' already exists")
    columns = {"names": [clean_text(name) for name, _ in names], "user_ids": [clean_text(user) for _, user in names]}
    taken = await session.row("taken_names", **columns) or _twice(names) or names[0]
    return NameTaken(taken[0])


def _twice(items: Sequence[Any]) -> tuple[Any, ...] | None:
    """The first item (as a row) that stands in the list twice."""
    twice = next((item for place, item in enumerate(items) if item in items[:place]), None)
    return twice if twice is None or isinstance(twice, tuple) else (twice,)


async def get_schedule(session: Session, schedule_id: str, user_id: str | None) -> Schedule | None:
    row = await session.row("get_schedule", id=clean_text(schedule_id), user_id=clean_text(user_id))
    return None if row is None else decode_schedule(row)


async def change_schedule(
    session: Session,
    schedule_id: str,
    change: ChangeFunction,
    user_id: str | None,
    expected_version: int | None,
    by: Actor | None,
) -> Schedule:
    schedule, now = await locked(session, schedule_id, user_id)
    if expected_version is not None and schedule.version != expected_version:
        raise VersionConflict
    after = change(schedule, now)
    if after == schedule and same_json(after.target.payload, schedule.target.payload):
        return schedule
    after = replace(after, id=schedule.id, version=schedule.version + 1, updated_at=now)
    await session.rows("update_schedule", **values_of(after))
    await note_revisions(session, changed(schedule, after, now, by))
    await record(session, auditing.changed(schedule, after), by)
    await tell(session, notices_of_change(session.subscriptions, schedule, after, now, by))
    return after


async def delete_schedule(session: Session, schedule_id: str, user_id: str | None, by: Actor | None) -> bool:
    schedule_id = clean_text(schedule_id) or ""
    row = await session.row("lock_schedule", id=schedule_id, user_id=clean_text(user_id))
    if row is None:
        return False
    await session.rows("delete_schedule", id=schedule_id, user_id=clean_text(user_id))
    before = tried(decode_schedule, row)
    if isinstance(before, Schedule):
        await note_revisions(session, deleted(before, row[_NOW], by))
    await record(session, auditing.deleted(schedule_id), by)
    chosen = ("cancelled_of_schedules", "cancelled_unless_running")
    await session.rows("cancel_runs", chosen, ids=[schedule_id], **encode_cancel(DELETED, asked=False))
    return True


async def list_schedules(
    session: Session, where: ScheduleFilter, page: PageRequest, order: ScheduleOrder
) -> Page[Schedule]:
    chosen, wanted = selection(where), listing(order)
    if is_searching(where):
        found = [row[0] for row in await session.rows("matching_schedules", chosen.conditions, **chosen.values)]
        total, chosen = len(found), Selection(conditions=("schedules_of_ids",), values={"ids": found})
    else:
        total = await session.value("count_schedules", chosen.conditions, **chosen.values)
    chosen = from_cursor(chosen, page, order)
    values = chosen.values | {"limit": page.limit + 1, "offset": offset(page), "never": NEVER}
    rows = await session.rows(wanted.query, chosen.conditions, **values)
    return page_of(rows, total_count=total, limit=page.limit, decode=decode_schedule, position=wanted.position)


def selection(where: ScheduleFilter) -> Selection:
    chosen = schedule_selection(where)
    given = chosen.values
    in_other_words = {
        "folded_name": (given.get("name_contains") or "").casefold(),
        "tag_json": encode_json(given.get("tag")),
        "text_in_json": (encode_json(given.get("text")) or "")[1:-1],
    }
    return replace(chosen, values=given | in_other_words)


async def stale_zone_schedules(session: Session, version: str, limit: int) -> list[str]:
    return [row[0] for row in await session.rows("stale_zone_schedules", version=version, limit=limit)]


async def schedules_since(session: Session, since: Instant, limit: int) -> dict[str, int]:
    rows = await session.rows("schedules_since", since=since, limit=max(0, limit))
    return {row[0]: row[1] for row in rows}


async def fire_due(session: Session, plan: PlanFunction, limit: int, worker_id: str | None, slots: int) -> Fired:
    """Lock, look, write, look for the next: the same few statements for one schedule and for hundreds."""
    rows = await session.rows("due_schedules", limit=max(0, limit), worker_id=clean_text(worker_id))
    if not rows:
        return Fired(next_due_ms=await _next_due_ms(session))
    found, (schedules, unreadable) = await session.rows_while(
        lambda: decoded(rows, decode_schedule), "situations", ids=[row[0] for row in rows]
    )
    now, worker = rows[0][_NOW], rows[0][_NOW + 1]
    free = None
    if worker_id is not None and worker is not None:
        free = Slots(worker_id=worker_id, worker=worker, free=slots)
    batch = plan_batch(schedules, facts_of(found), plan, now, unreadable, free)
    inserted = await _write(session, batch, now, worker_id, worker)
    return batch.fired(inserted, len(rows), await _next_due_ms(session))


async def _next_due_ms(session: Session) -> int | None:
    due = await session.row("next_due")
    return None if due is None else due[0] - due[1]


async def fire(session: Session, schedule: Schedule, plan: PlanFunction, now: Instant) -> tuple[Schedule, Run]:
    """`schedule` is locked."""
    facts = facts_of(await session.rows("situations", ids=[schedule.id]))
    made = plan(schedule, facts[schedule.id].situation, now)
    if made.fault is not None:
        raise CorruptRow("schedules", schedule.id, made.fault)
    batch = batch_of([(schedule, made)], facts, now)
    written = [row.id for rows in (batch.runs, batch.absent, batch.extensions) for row in rows]
    if not written:
        raise Conflict("Nothing of this schedule is due")
    await _write(session, batch, now)
    row = await session.row("get_run", id=written[0])
    if row is None:
        raise NotFound("Run")
    return advanced(schedule, made), decode_run(row)


async def locked(session: Session, schedule_id: str, user_id: str | None) -> tuple[Schedule, Instant]:
    row = await session.row("lock_schedule", id=clean_text(schedule_id), user_id=clean_text(user_id))
    if row is None:
        raise NotFound("Schedule")
    return decode_schedule(row), row[_NOW]


async def _write(
    session: Session, batch: Batch, now: Instant, worker_id: str | None = None, worker: str | None = None
) -> set[str]:
    """Answers the ids of those of the batch's rows that were not there before."""
    if batch.faults:
        ids, reasons = [fault.row_id for fault in batch.faults], [clean_text(f.reason) for f in batch.faults]
        await session.rows("disable_schedules", ids=ids, reasons=reasons, at=now)
        if batch.faulty:
            await note_revisions(session, disabled(batch.faulty, now))
            deeds = [auditing.disabled(schedule.id, reason) for schedule, reason in batch.faulty]
            await record(session, deeds, OURSELVES)
    await tell(session, notices_of_batch(session.subscriptions, batch, now))
    if batch.replaced:
        cancel = encode_cancel(REPLACED, asked=False)
        chosen = ("cancelled_of_schedules", "cancelled_unless_backfill")
        await session.rows("cancel_runs", chosen, ids=list(batch.replaced), **cancel)
    if batch.extensions:
        await session.rows("extend_absences", at=now, **_extensions(batch))
    if not batch.planned:
        return set()
    values = {"at": now, "worker_id": worker_id, "worker": worker, **_new_runs(batch), **_advances(batch)}
    inserted = {row[0] for row in await session.rows("write_batch", **values)}
    if waiting := {run.schedule_id for run in batch.runs if run.available_at is None}:
        # What they wait for may have ended while this was being written.
        await release_one_of_each(session, waiting)
    return inserted


def _new_runs(batch: Batch) -> dict[str, list[Any]]:
    rows = (*batch.runs, *batch.absent)
    return filled(
        ids=[row.id for row in rows],
        schedule_ids=[row.schedule_id for row in rows],
        user_ids=[row.user_id for row in rows],
        causes=[row.cause.value for row in rows],
        fires_at=[row.fire_at for row in rows],
        last_fires_at=[row.last_fire_at for row in rows],
        fire_counts=[row.fire_count for row in rows],
        statuses=[row.status.value for row in rows],
        reasons=[None if row.reason is None else row.reason.value for row in rows],
        available_at=[row.available_at for row in rows],
        trigger_notes=[encode_trigger_note(row.trigger_note) for row in rows],
        retries_of=[None if row.trigger_note is None else clean_text(row.trigger_note.retry_of) for row in rows],
    )


def _advances(batch: Batch) -> dict[str, list[Any]]:
    return filled(
        planned_ids=[schedule.id for schedule, _ in batch.planned],
        old_next_fires_at=[schedule.next_fire_at for schedule, _ in batch.planned],
        next_fires_at=[made.next_fire_at for _, made in batch.planned],
        newest_fires_at=[made.last_fire_at for _, made in batch.planned],
        run_counts=[made.run_count for _, made in batch.planned],
    )


def _extensions(batch: Batch) -> dict[str, list[Any]]:
    return {
        "ids": [more.id for more in batch.extensions],
        "counts": [more.count for more in batch.extensions],
        "last_fires_at": [more.last_fire_at for more in batch.extensions],
    }


def values_of(schedule: Schedule) -> dict[str, Any]:
    row = encode_schedule(schedule)
    said = (row["description"] or "", row["endpoint"], *map(clean_text, schedule.tags))
    return row | {"folded_name": row["name"].casefold(), "folded_text": _folded(said)}


def _folded(said: Sequence[str]) -> str | None:
    """What the database cannot fold by itself, in one text; None where it can."""
    text = _BETWEEN.join(said)
    return None if text.isascii() and text.replace(_BETWEEN, "").isprintable() else text.casefold()
