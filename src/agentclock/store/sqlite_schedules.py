"""Schedules in SQLite: each function is one operation inside a transaction of its caller."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace

from agentclock.core.actors import Actor
from agentclock.core.errors import Conflict, CorruptRow, NameTaken, NotFound, VersionConflict
from agentclock.core.model import Instant, Run, RunStatus, Schedule
from agentclock.core.planning import Plan
from agentclock.core.revisions import Revision
from agentclock.core.storable import same_json
from agentclock.ports import ChangeFunction, Fired, Page, PageRequest, PlanFunction, ScheduleFilter, ScheduleOrder
from agentclock.store import auditing
from agentclock.store.claiming import report, tried
from agentclock.store.columns import SCHEDULE_COLUMNS
from agentclock.store.filters import Selection, decoded, is_searching, offset, page_of, schedule_selection
from agentclock.store.firing import DELETED, REPLACED, Batch, Facts, Slots, advanced, batch_of, facts_of, plan_batch
from agentclock.store.listing import NEVER, from_cursor, listing
from agentclock.store.notice_rows import notices_of_batch, notices_of_change
from agentclock.store.owning import owned, refuse_if_over
from agentclock.store.revising import OURSELVES, changed, created, decode_revision, deleted, disabled, encode_revision
from agentclock.store.rows import clean_text, decode_run, decode_schedule, encode_cancel, encode_run, encode_schedule
from agentclock.store.sqlite_audit import record
from agentclock.store.sqlite_file import Session, id_list
from agentclock.store.sqlite_notices import tell

_VERSION = SCHEDULE_COLUMNS.index("version")


def insert_schedules(
    session: Session, schedules: Sequence[Schedule], by: Actor | None, owner_limit: int | None
) -> None:
    if owner_limit is not None:
        for user_id, new in owned(schedules).items():
            most = max(0, owner_limit)
            has = session.value("count_of_owner", user_id=user_id, most=most)
            refuse_if_over(user_id, has + new, owner_limit)
    for schedule in schedules:
        try:
            session.run("insert_schedule", **encode_schedule(schedule))
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
                raise Conflict(f"A schedule with id '{schedule.id}' already exists") from error
            raise _named(schedule, error) from error
    note_revisions(session, created(schedules, by))
    record(session, auditing.created(schedules), by)


def note_revisions(session: Session, revisions: Iterable[Revision]) -> None:
    rows = [list(encode_revision(revision).values()) for revision in revisions]
    session.run("insert_revisions", rows=json.dumps(rows))


def revisions(session: Session, schedule_id: str, limit: int) -> list[Revision]:
    rows = session.rows("revisions", schedule_id=clean_text(schedule_id), limit=max(0, limit))
    readable, faults = decoded(rows, decode_revision)
    report(faults)
    return list(readable)


def _named(schedule: Schedule, error: sqlite3.IntegrityError) -> Exception:
    """NameTaken when that is what `error` says, else the error itself."""
    taken = error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_UNIQUE
    return NameTaken(schedule.name) if taken else error


def get_schedule(session: Session, schedule_id: str, user_id: str | None) -> Schedule | None:
    row = session.row("get_schedule", id=clean_text(schedule_id), user_id=clean_text(user_id))
    return None if row is None else decode_schedule(row)


def change_schedule(
    session: Session,
    schedule_id: str,
    change: ChangeFunction,
    user_id: str | None,
    expected_version: int | None,
    by: Actor | None,
) -> Schedule:
    schedule = get_schedule(session, schedule_id, user_id)
    if schedule is None:
        raise NotFound("Schedule")
    if expected_version is not None and schedule.version != expected_version:
        raise VersionConflict
    after = change(schedule, session.now)
    if after == schedule and same_json(after.target.payload, schedule.target.payload):
        return schedule
    after = replace(after, id=schedule.id, version=schedule.version + 1, updated_at=session.now)
    try:
        session.run("update_schedule", **encode_schedule(after))
    except sqlite3.IntegrityError as error:
        raise _named(after, error) from error
    note_revisions(session, changed(schedule, after, session.now, by))
    record(session, auditing.changed(schedule, after), by)
    tell(session, notices_of_change(session.subscriptions, schedule, after, session.now, by))
    return after


def delete_schedule(
    session: Session, schedule_id: str, user_id: str | None, by: Actor | None, expected_version: int | None = None
) -> bool:
    schedule_id, user_id = clean_text(schedule_id) or "", clean_text(user_id)
    row = session.row("get_schedule", id=schedule_id, user_id=user_id)
    if row is None:
        return False
    if expected_version not in (None, row[_VERSION]):
        raise VersionConflict
    session.run("delete_schedule", id=schedule_id, user_id=user_id, now=session.now)
    before = tried(decode_schedule, row)
    if isinstance(before, Schedule):
        note_revisions(session, deleted(before, session.now, by))
    record(session, auditing.deleted(schedule_id), by)
    chosen = ("cancelled_of_schedules", "cancelled_unless_running")
    cancel = encode_cancel(DELETED, asked=False)
    session.run("cancel_runs", chosen, ids=id_list([schedule_id]), now=session.now, **cancel)
    return True


def list_schedules(session: Session, where: ScheduleFilter, page: PageRequest, order: ScheduleOrder) -> Page[Schedule]:
    chosen, wanted = selection(where), listing(order)
    if is_searching(where):
        found = [row[0] for row in session.rows("matching_schedules", chosen.conditions, **chosen.values)]
        total, chosen = len(found), Selection(conditions=("schedules_of_ids",), values={"ids": id_list(found)})
    else:
        total = session.value("count_schedules", chosen.conditions, **chosen.values)
    chosen = from_cursor(chosen, page, order)
    values = chosen.values | {"limit": page.limit + 1, "offset": offset(page), "never": NEVER}
    rows = session.rows(wanted.query, chosen.conditions, **values)
    return page_of(rows, total_count=total, limit=page.limit, decode=decode_schedule, position=wanted.position)


def selection(where: ScheduleFilter) -> Selection:
    chosen = schedule_selection(where)
    lists = {name: json.dumps(value) for name, value in chosen.values.items() if isinstance(value, list)}
    return replace(chosen, values=chosen.values | lists)


def stale_zone_schedules(session: Session, version: str, limit: int) -> list[str]:
    return [row[0] for row in session.rows("stale_zone_schedules", version=version, limit=limit)]


def schedules_since(session: Session, since: Instant, limit: int) -> dict[str, int]:
    return dict(session.rows("schedules_since", since=since, limit=max(0, limit)))


def fire_due(session: Session, plan: PlanFunction, limit: int, worker_id: str | None, slots: int) -> Fired:
    now = session.now
    rows = session.rows("due_schedules", now=now, limit=limit)
    schedules, unreadable = decoded(rows, decode_schedule)
    free = None
    if worker_id is not None and slots > 0:
        worker = session.row("live_worker", worker_id=worker_id, now=now)
        free = None if worker is None else Slots(worker_id=worker_id, worker=worker[0], free=slots)
    batch = plan_batch(schedules, _facts(session, schedules), plan, now, unreadable, free)
    inserted = _write(session, batch)
    next_due = session.value("next_due")
    return batch.fired(inserted, len(rows), None if next_due is None else next_due - now)


def fire(session: Session, schedule: Schedule, plan: PlanFunction) -> tuple[Schedule, Run]:
    facts = _facts(session, [schedule])
    made: Plan = plan(schedule, facts[schedule.id].situation, session.now)
    if made.fault is not None:
        raise CorruptRow("schedules", schedule.id, made.fault)
    batch = batch_of([(schedule, made)], facts, session.now)
    written = [row.id for rows in (batch.runs, batch.absent, batch.extensions) for row in rows]
    if not written:
        raise Conflict("Nothing of this schedule is due")
    _write(session, batch)
    row = session.row("get_run", id=written[0])
    if row is None:
        raise NotFound("Run")
    return advanced(schedule, made), decode_run(row)


def _facts(session: Session, schedules: Sequence[Schedule]) -> dict[str, Facts]:
    ids = id_list(schedule.id for schedule in schedules)
    return facts_of(session.rows("situations", ids=ids))


def _write(session: Session, batch: Batch) -> set[str]:
    """Answers the ids of those of the batch's runs that were not there before."""
    now = session.now
    session.run_many("disable_schedule", ({"id": f.row_id, "reason": f.reason, "now": now} for f in batch.faults))
    if batch.faulty:
        note_revisions(session, disabled(batch.faulty, now))
        record(session, [auditing.disabled(schedule.id, reason) for schedule, reason in batch.faulty], OURSELVES)
    if batch.replaced:
        cancel = encode_cancel(REPLACED, asked=False)
        chosen = ("cancelled_of_schedules", "cancelled_unless_backfill")
        session.run("cancel_runs", chosen, ids=id_list(batch.replaced), now=now, **cancel)
    there = {row[0] for row in session.rows("existing_runs", ids=id_list(run.id for run in batch.runs))}
    runs = [run for run in batch.runs if run.id not in there]
    session.run_many("insert_run", map(encode_run, (*runs, *batch.absent)))
    session.run_many(
        "extend_absence",
        (
            {"id": more.id, "count": more.count, "last_fire_at": more.last_fire_at, "now": now}
            for more in batch.extensions
        ),
    )
    session.run_many(
        "advance_schedule",
        (
            {
                "id": schedule.id,
                "old_next_fire_at": schedule.next_fire_at,
                "next_fire_at": made.next_fire_at,
                "last_fire_at": made.last_fire_at,
                "run_count": made.run_count,
            }
            for schedule, made in batch.planned
        ),
    )
    session.run_many(
        "start_attempt",
        (
            {"run_id": run.id, "number": run.attempt, "worker": run.worker, "now": now}
            for run in runs
            if run.status is RunStatus.RUNNING
        ),
    )
    tell(session, notices_of_batch(session.subscriptions, batch, now))
    return {run.id for run in runs}
