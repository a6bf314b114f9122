"""What must hold at every moment: looked at with each transaction, and after each step."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.calls import Request
from tests.simulation.people import BACKFILL_CONCURRENCY

from agentclock.core.model import (
    ACTIVE_STATUSES,
    SECOND,
    CatchUp,
    Cause,
    Claim,
    Overlap,
    Run,
    RunStatus,
    Schedule,
)
from agentclock.ports import Claimed, Fired, PageRequest, RunFilter

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World

#: So many rows of skipped and missed fires one plan of one schedule may add, whatever the length of the outage.
ABSENCE_ROWS: Final = 3
#: In an order of their own: a set's is nobody's.
ACTIVE: Final = tuple(sorted(ACTIVE_STATUSES))
PAGE: Final = 1_000
#: A worker that was left in peace for so many leases has renewed its own.
PEACE_LEASES: Final = 1.5


class Watch:
    """Sees every transaction as it is executed, with what the engine asked for and what the database answered."""

    def __init__(self, world: World) -> None:
        self._world = world
        #: The newest fencing token that was ever given out, by run.
        self._fences: dict[str, int] = {}
        self._schedules = {schedule.id: schedule for schedule in world.schedules}

    def executed(self, process: Process, request: Request, result: Any) -> None:
        match request.name, result:
            case _, Fired():
                self._fired(result)
                self._claimed(result.claims)
            case _, Claimed():
                self._claimed(result.claims)
            case "orphans", [*claims] if all(isinstance(claim, Claim) for claim in claims):
                self._orphaned(claims)
            case "settle", frozenset():
                self._written("settled", [(one.run_id, one.fence) for one in request.args[0]], result)
            case "append_events", frozenset():
                self._written("told of", [(one.run_id, one.fence) for one in request.args[0]], result)
            case "note_agent_run", True:
                run_id, fence = request.args[:2]
                self._written("noted", [(run_id, fence)], frozenset({run_id}))
            case _:
                pass

    # a transaction

    def _claimed(self, claims: tuple[Claim, ...]) -> None:
        now = self._world.database_now()
        for claim in claims:
            run = claim.run
            self._world.count("claims")
            self._take_fence(run)
            # The fire may have been planned before the clock was set back; available it is by the present one.
            if run.available_at is None or run.available_at > now or run.fire_at > self._world.latest_now():
                times = f"{run.available_at}, {run.fire_at}"
                self._world.violate(f"run {run.id} was claimed at {now}, before its time: {times}")

    def _take_fence(self, run: Run) -> None:
        if run.fence <= self._fences.get(run.id, 0):
            self._world.violate(f"run {run.id} was given away twice under fencing token {run.fence}")
        self._fences[run.id] = run.fence

    def _orphaned(self, claims: list[Claim]) -> None:
        for claim in claims:
            self._take_fence(claim.run)
            holder = self._world.workers.get(claim.run.worker_id or "")
            if holder is not None and self._was_left_in_peace(holder, claim.run.worker_id):
                self._world.violate(f"run {claim.run.id} was taken from {holder.name}, whose lease was never in danger")

    def _was_left_in_peace(self, process: Process, worker_id: str | None) -> bool:
        world = self._world
        if not process.is_working or process.is_frozen or process.worker_id != worker_id:
            return False
        harmed_at_us = max(process.harmed_at_us, world.harmed_at_us)
        return world.now_us - harmed_at_us > PEACE_LEASES * world.setting.lease_seconds * 1_000_000

    def _written(self, what: str, written: list[tuple[str, int]], accepted: frozenset[str]) -> None:
        fences: defaultdict[str, int] = defaultdict(int)
        for run_id, fence in written:
            fences[run_id] = max(fences[run_id], fence)
        for run_id in accepted:
            if fences[run_id] < self._fences.get(run_id, 0):
                self._world.violate(f"run {run_id} was {what} under an old fencing token, {fences[run_id]}")

    def _fired(self, fired: Fired) -> None:
        rows = Counter(schedule_id for schedule_id, absence in fired.absences if absence.extends is None)
        for schedule_id, number in rows.items():
            if number > ABSENCE_ROWS:
                self._world.violate(f"one plan of {schedule_id} wrote {number} rows of fires that made no run")
        runs: defaultdict[str, list[Run]] = defaultdict(list)
        for run in fired.runs:
            runs[run.schedule_id].append(run)
        for schedule_id, made in runs.items():
            self._caught_up(self._schedules[schedule_id], made)

    def _caught_up(self, schedule: Schedule, runs: list[Run]) -> None:
        now = self._world.database_now()
        late = [run for run in runs if run.cause is Cause.CATCH_UP]
        limit = {CatchUp.NONE: 0, CatchUp.LATEST: 1, CatchUp.ALL: schedule.catch_up_limit}[schedule.catch_up]
        if len(late) > limit:
            self._world.violate(f"{schedule.id} caught up on {len(late)} fires, {limit} allowed")
        starts = sorted(run.available_at for run in late if run.available_at is not None)
        apart_ms = schedule.catch_up_stagger_seconds * SECOND
        if any(later - earlier < apart_ms for earlier, later in pairwise(starts)):
            self._world.violate(f"{schedule.id} caught up on fires less than {apart_ms} ms apart: {starts}")
        for run in runs:
            patience = schedule.catch_up_window_seconds if run in late else max(1, schedule.misfire_grace_seconds)
            if now - run.fire_at > patience * SECOND:
                late_ms = now - run.fire_at
                self._world.violate(f"run {run.id} ({run.cause}) was made {late_ms} ms late, {patience} s allowed")

    # a step

    def after_step(self) -> list[Run]:
        """Answers the runs that are active now."""
        runs = all_runs(self._world, RunFilter(statuses=ACTIVE))
        active: defaultdict[str, list[Run]] = defaultdict(list)
        filled: defaultdict[str, list[Run]] = defaultdict(list)
        for run in runs:
            (filled if run.cause is Cause.BACKFILL else active)[run.schedule_id].append(run)
        for schedule in self._world.schedules:
            self._overlap(schedule, active[schedule.id])
            begun = [run for run in filled[schedule.id] if not waits(run)]
            if len(begun) > BACKFILL_CONCURRENCY:
                self._world.violate(f"{schedule.id} has {len(begun)} runs of a backfill at once")
        return runs

    def _overlap(self, schedule: Schedule, active: list[Run]) -> None:
        if schedule.overlap is Overlap.ALLOW:
            return
        begun = [run.id for run in active if not waits(run)]
        if len(begun) > 1:
            self._world.violate(f"{schedule.id} has {len(begun)} runs at once in spite of overlap={schedule.overlap}")
        lines_up = schedule.catch_up is CatchUp.ALL
        most = {Overlap.SKIP: 1, Overlap.QUEUE: 2}.get(schedule.overlap, len(active))
        if len(active) > most and not lines_up:
            self._world.violate(f"{schedule.id} has {len(active)} active runs in spite of overlap={schedule.overlap}")


def all_runs(world: World, where: RunFilter) -> list[Run]:
    """Newest first, however many."""
    found: list[Run] = []
    cursor: str | None = None
    while True:
        page = world.do(world.own_store.list_runs(where, PageRequest(limit=PAGE, cursor=cursor)))
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


def waits(run: Run) -> bool:
    return run.status is RunStatus.PENDING and run.available_at is None
