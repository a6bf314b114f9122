"""From locked schedules to the rows that one planning transaction writes. Pure; shared by both stores."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from agentclock.core.errors import AgentclockError, CorruptRow
from agentclock.core.lifecycle import Settlement
from agentclock.core.model import Cause, Claim, Instant, Reason, Run, RunStatus, Schedule
from agentclock.core.planning import Absence, Fire, Plan, Situation, Tail
from agentclock.ports import Fired, PlanFunction
from agentclock.store.building import changer

#: Why runs are cancelled that nobody asked to have cancelled.
REPLACED: Final = "cancelled: a newer fire of the schedule replaced it"
DELETED: Final = "cancelled: the schedule was deleted"

_REASONS: Final = frozenset(reason.value for reason in Reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a schedule's history says at planning time; `engaged` counts the active runs that have an agent run, or are
    getting one: their end takes a worker."""

    situation: Situation
    engaged: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """A live worker that takes up to `free` of the new runs at once."""

    worker_id: str
    worker: str
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """A `skipped` or `missed` row that takes in `count` more fires, up to `last_fire_at`."""

    id: str
    count: int
    last_fire_at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """All that is to be written for the schedules of one transaction.

    `planned` also advances the schedules, each only if its `next_fire_at` is still the one that was planned.
    `runs` are new runs, `absent` the new `skipped` and `missed` rows.
    `replaced`: the schedules whose other active runs are to be cancelled before anything is inserted.
    `faulty`: the schedules among the `faults` that could be read, with what is wrong with them.
    """

    planned: tuple[tuple[Schedule, Plan], ...]
    runs: tuple[Run, ...]
    absent: tuple[Run, ...]
    extensions: tuple[Extension, ...]
    replaced: tuple[str, ...]
    absences: tuple[tuple[str, Absence], ...]
    faults: tuple[CorruptRow, ...]
    faulty: tuple[tuple[Schedule, str], ...]

    def fired(self, inserted: Collection[str], planned: int, next_due_ms: int | None) -> Fired:
        """The answer, once it is known which of `runs` were new to the table."""
        runs = tuple(run for run in self.runs if run.id in inserted)
        running = [run for run in runs if run.status is RunStatus.RUNNING]
        held = {run.schedule_id for run in running}
        schedules = {schedule.id: advanced(schedule, made) for schedule, made in self.planned if schedule.id in held}
        return Fired(
            planned=planned,
            runs=runs,
            claims=tuple(Claim(run=run, schedule=schedules[run.schedule_id]) for run in running),
            absences=self.absences,
            schedules={schedule.id: schedule for schedule, _ in self.planned},
            faults=self.faults,
            next_due_ms=next_due_ms,
        )


_IDLE: Final = Facts(situation=Situation())


def facts_of(rows: Iterable[Sequence[Any]]) -> dict[str, Facts]:
    """Of each schedule that the query `situations` answered with."""
    return {row[0]: _facts(*row[1:]) for row in rows}


def _facts(
    active: int,
    waiting: int,
    engaged: int,
    tail_id: str,
    status: str,
    reason: str | None,
    cause: str,
    last_fire_at: Instant,
) -> Facts:
    tail = None
    if status in (RunStatus.SKIPPED, RunStatus.MISSED) and cause != Cause.MANUAL and reason in _REASONS:
        tail = Tail(run_id=str(tail_id), status=RunStatus(status), reason=Reason(reason), last_fire_at=last_fire_at)
    if not active and tail is None:
        return _IDLE
    return Facts(situation=Situation(active=active, waiting=waiting, tail=tail), engaged=engaged)


def plan_batch(
    schedules: Sequence[Schedule],
    facts: Mapping[str, Facts],
    plan: PlanFunction,
    now: Instant,
    unreadable: Sequence[CorruptRow] = (),
    slots: Slots | None = None,
) -> Batch:
    """Plans each schedule; one that cannot be planned becomes a fault, like those that were `unreadable`, and leaves
    the others alone."""
    planned: list[tuple[Schedule, Plan]] = []
    faulty: list[tuple[Schedule, str]] = []
    for schedule in schedules:
        try:
            made = plan(schedule, facts[schedule.id].situation, now)
        except CorruptRow as fault:
            faulty.append((schedule, fault.reason))
        except (ValueError, OverflowError, AgentclockError) as error:
            faulty.append((schedule, str(error)))
        else:
            if made.fault is None:
                planned.append((schedule, made))
            else:
                faulty.append((schedule, made.fault))
    return batch_of(planned, facts, now, unreadable, faulty, slots)


def batch_of(
    planned: Sequence[tuple[Schedule, Plan]],
    facts: Mapping[str, Facts],
    now: Instant,
    unreadable: Sequence[CorruptRow] = (),
    faulty: Sequence[tuple[Schedule, str]] = (),
    slots: Slots | None = None,
) -> Batch:
    """The rows that these plans come to, as many runs as there are `slots` for held by their worker already."""
    runs: list[Run] = []
    free = 0 if slots is None else slots.free
    absences: list[tuple[Schedule, Absence]] = []
    for schedule, made in planned:
        # Nothing is left to wait for if what was active is cancelled and none of it had an agent run; the fires after
        # the first wait for that one.
        released = made.cancel_active and not facts[schedule.id].engaged
        for place, fire in enumerate(made.fires):
            available_at = now if released and place == 0 else fire.available_at
            starts = free > 0 and available_at is not None and available_at <= now
            free -= starts
            runs.append(_run(schedule, fire, now, available_at, slots if starts else None))
        absences += [(schedule, absence) for absence in made.absences]
    return Batch(
        planned=tuple(planned),
        runs=tuple(runs),
        absent=tuple(_absent(schedule, gap, now) for schedule, gap in absences if gap.extends is None),
        extensions=tuple(
            Extension(id=gap.extends, count=gap.count, last_fire_at=gap.last_fire_at)
            for _, gap in absences
            if gap.extends is not None
        ),
        replaced=tuple(schedule.id for schedule, made in planned if made.cancel_active),
        absences=tuple((schedule.id, gap) for schedule, gap in absences),
        faults=(*unreadable, *(CorruptRow("schedules", schedule.id, reason) for schedule, reason in faulty)),
        faulty=tuple(faulty),
    )


def _run(schedule: Schedule, fire: Fire, now: Instant, available_at: Instant | None, holder: Slots | None) -> Run:
    """`holder`: whose worker has begun its first attempt."""
    return Run(
        id=fire.run_id,
        schedule_id=schedule.id,
        user_id=schedule.user_id,
        cause=fire.cause,
        fire_at=fire.fire_at,
        status=RunStatus.PENDING if holder is None else RunStatus.RUNNING,
        attempt=0 if holder is None else 1,
        fence=0 if holder is None else 1,
        worker_id=None if holder is None else holder.worker_id,
        worker=None if holder is None else holder.worker,
        started_at=None if holder is None else now,
        attempt_started_at=None if holder is None else now,
        available_at=available_at,
        created_at=now,
        trigger_note=fire.note,
    )


def _absent(schedule: Schedule, gap: Absence, now: Instant) -> Run:
    return Run(
        id=gap.run_id,
        schedule_id=schedule.id,
        user_id=schedule.user_id,
        cause=gap.cause,
        fire_at=gap.fire_at,
        last_fire_at=gap.last_fire_at,
        fire_count=gap.count,
        status=gap.status,
        reason=gap.reason,
        created_at=now,
        completed_at=now,
        trigger_note=gap.note,
    )


def with_room(plan: PlanFunction, require: Callable[[int], None]) -> PlanFunction:
    """The same plan; `require` raises SchemaBehind where a run's own payload cannot be kept. It would be lost, and the
    schedule's be sent instead."""

    def made(schedule: Schedule, situation: Situation, now: Instant) -> Plan:
        found = plan(schedule, situation, now)
        if any(fire.note is not None and fire.note.has_payload for fire in found.fires):
            require(5)
        return found

    return made


def doomed(settlements: Iterable[Settlement]) -> dict[str, Settlement]:
    """The schedules that are to be disabled, each with the first settlement that wants it."""
    found: dict[str, Settlement] = {}
    for settlement in settlements:
        if settlement.outcome.disables is not None:
            found.setdefault(settlement.schedule_id, settlement)
    return found


def switched_off(schedule: Schedule, reason: str | None, now: Instant) -> Schedule:
    """`schedule`, of which nothing is due, as it is from now on."""
    return replace(
        schedule,
        enabled=False,
        next_fire_at=None,
        disabled_reason=reason,
        version=schedule.version + 1,
        updated_at=now,
    )


#: The schedule as its plan leaves it, from (schedule, next_fire_at, last_fire_at, run_count).
_moved: Final = changer(Schedule, "next_fire_at", "last_fire_at", "run_count")


def advanced(schedule: Schedule, made: Plan) -> Schedule:
    return _moved(schedule, made.next_fire_at, made.last_fire_at, made.run_count)
