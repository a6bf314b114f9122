"""What must hold once everybody was left in peace for a while: all fires accounted for, nothing stuck or untrue."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.invariants import PAGE, all_runs, waits
from tests.simulation.targets import REFUSED

from agentclock.accounts import all_schedules, audit_schedule
from agentclock.core.delivery import delivery_number
from agentclock.core.model import SECOND, Attempt, Cause, OutcomeKind, Run, RunStatus, Schedule
from agentclock.engine.service import EngineStatus
from agentclock.ports import RunFilter

if TYPE_CHECKING:
    from tests.simulation.world import World

#: How long after its time something may be left undone while everybody is at work.
SLACK_SECONDS: Final = 15


def check_everything(world: World, active: list[Run]) -> None:
    schedules = world.do(_gathered(all_schedules(world.own_store)))
    now = world.database_now()
    for process in world.processes:
        if process.engine.status not in (EngineStatus.RUNNING, EngineStatus.STANDBY):
            world.violate(f"the engine of {process.name} is still {process.engine.status}")
    for schedule in schedules:
        _check_schedule(world, schedule, now)
    # What waits must wait for something that began.
    begun = {_lane(run) for run in active if not waits(run)}
    for run in active:
        _check_active(world, run, begun, now)


def _check_schedule(world: World, schedule: Schedule, now: int) -> None:
    audit = world.do(audit_schedule(world.own_store, schedule, now))
    if audit.trouble is not None:
        world.violate(f"{schedule.id}: {audit.trouble}")
    elif not audit.is_balanced or audit.unknown:
        world.violate(f"{schedule.id}: {audit.due} fires were due, {audit.accounted} known of; {audit.unknown}")
    if schedule.enabled and schedule.next_fire_at is not None and schedule.next_fire_at < now - SLACK_SECONDS * SECOND:
        world.violate(f"{schedule.id} was due {now - schedule.next_fire_at} ms ago and is not planned")
    if schedule.disabled_reason is not None:
        world.violate(f"{schedule.id} was disabled: {schedule.disabled_reason}")


def _check_active(world: World, run: Run, begun: set[tuple[str, bool]], now: int) -> None:
    slack_ms = SLACK_SECONDS * SECOND
    match run.status:
        case RunStatus.RUNNING:
            holder = world.workers.get(run.worker_id or "")
            if holder is None or not holder.is_working or holder.worker_id != run.worker_id:
                world.violate(f"run {run.id} stayed running though no worker holds it")
            elif not world.targets.is_at_work(run, SLACK_SECONDS * 1_000_000) and _since(run, now) > slack_ms:
                world.violate(f"run {run.id} stayed running though nobody works on it")
        case RunStatus.PAUSED:
            patience_ms = 2 * round(world.plan.workers.review_seconds * SECOND) + slack_ms
            if min(filter(None, (run.approval_due_at, run.review_at)), default=now) < now - patience_ms:
                world.violate(f"nobody looked at paused run {run.id}")
        case RunStatus.PENDING if run.available_at is None:
            if _lane(run) not in begun:
                world.violate(f"run {run.id} waits for a run that is not there")
        case _:
            has_room = any(process.is_working and process.has_room for process in world.processes)
            waited_ms = now - (run.available_at or 0)
            if waited_ms > slack_ms and has_room:
                world.violate(f"run {run.id} has been available for {waited_ms} ms; nobody takes it")


def _lane(run: Run) -> tuple[str, bool]:
    """Runs wait for those of their own schedule, backfills for backfills."""
    return run.schedule_id, run.cause is Cause.BACKFILL


def _since(run: Run, now: int) -> int:
    return now - max(run.attempt_started_at or 0, run.started_at or 0)


def check_history(world: World) -> None:
    """Every row of it, once, at the end."""
    runs = all_runs(world, RunFilter())
    world.note("rows", [(run.id, run.status.value, run.attempt, run.fence, run.fire_count) for run in runs])
    due = Counter((run.schedule_id, run.fire_at) for run in runs if run.cause not in (Cause.MANUAL, Cause.BACKFILL))
    for (schedule_id, fire_at), rows in due.items():
        if rows > 1:
            world.violate(f"the fire of {schedule_id} at {fire_at} has {rows} rows")
    made = [run for run in runs if run.status not in (RunStatus.SKIPPED, RunStatus.MISSED)]
    world.count("rows of absent fires", len(runs) - len(made))
    world.count("fires without a run", sum(run.fire_count for run in runs) - len(made))
    world.count("runs", len(made))
    of_timetables = [run for run in runs if run.cause not in (Cause.MANUAL, Cause.BACKFILL)]
    world.count("fires due", sum(run.fire_count for run in of_timetables))
    world.count("retries", sum(max(0, run.attempt - 1) for run in made))
    for place in range(0, len(made), PAGE):
        part = made[place : place + PAGE]
        attempts = world.do(world.own_store.attempts_of([run.id for run in part]))
        for run in part:
            _check_run(world, run, attempts.get(run.id, []))


def _check_run(world: World, run: Run, attempts: list[Attempt]) -> None:
    targets, numbers = world.targets, [attempt.number for attempt in attempts]
    if numbers != list(range(1, len(numbers) + 1)):
        world.violate(f"run {run.id} has the attempts {numbers}")
    if missing := set(targets.starts_of(run)) - set(numbers):
        world.violate(f"run {run.id} has no record of the attempts {sorted(missing)} that its target accepted")
    for call in targets.calls.get(run.id, ()):
        if (due := delivery_number(attempts, call.attempt)) != call.delivery:
            world.violate(f"attempt {call.attempt} of run {run.id} was sent as delivery {call.delivery}, not {due}")
    if run.status is RunStatus.SUCCESS and targets.heard.get((run.id, run.attempt)) is not OutcomeKind.SUCCESS:
        world.violate(f"run {run.id} is a success though its target never said so")
    agents = targets.agents_of(run)
    if run.status.is_final:
        _check_left_behind(world, run, attempts)
    if agents:
        _check_events(world, run)


def _check_left_behind(world: World, run: Run, attempts: list[Attempt]) -> None:
    """An agent may outlive its run only where nobody could reach it any more, and the record says so."""
    unreached = {one.number for one in attempts if one.status is RunStatus.LOST or one.error == REFUSED.error}
    for agent in world.targets.agents_of(run):
        if not agent.is_over(world.now_us) and int(agent.id.rpartition("/")[2]) not in unreached:
            world.violate(f"{agent.id} goes on though run {run.id} is over ({run.status})")


def _check_events(world: World, run: Run) -> None:
    """What the agents said is on record once, in order and without gaps, whoever watched them."""
    events = world.do(world.own_store.events_after(run.id, 0, 100_000))
    if [event.seq for event in events] != list(range(1, len(events) + 1)):
        world.violate(f"the events of run {run.id} are numbered {[event.seq for event in events]}")
    for agent in world.targets.agents_of(run):
        attempt = int(agent.id.rpartition("/")[2])
        own = [event for event in events if event.attempt == attempt]
        words = "".join(event.data["content"] for event in own if event.type == "RunContent").split()
        beginnings = [place for place, event in enumerate(own) if event.type == "attempt"]
        if beginnings != [0][: len(own)]:
            world.violate(f"attempt {attempt} of run {run.id} does not begin once, at its beginning")
        if words != [str(number) for number in range(len(words))]:
            world.violate(f"words of {agent.id} were lost or said twice: {words}")
        if run.status is RunStatus.SUCCESS and attempt == run.attempt and len(words) != agent.words:
            world.violate(f"the end of what {agent.id} said is missing")


async def _gathered(items: Any) -> list[Any]:
    return [item async for item in items]
