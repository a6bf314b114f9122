"""Who executes runs, what waits, and how the parts are that the work needs."""

from __future__ import annotations

from pydantic import BaseModel, Field

from agentclock.api.auth import TheCaller
from agentclock.api.values import iso_or_null
from agentclock.api.vitals import Part, Vitals
from agentclock.core.instants import iso_utc
from agentclock.insight.crew import Crew, Hand
from agentclock.ports import Backlog, RunMark
from agentclock.scheduler import Scheduler


class HeldRun(BaseModel):
    """A run that a worker has in hand."""

    run_id: str = Field(description="`id` of the run.")
    schedule_id: str
    schedule_name: str | None = Field(description="null: the schedule is gone.")
    started_at: str | None = Field(description="When its first attempt began.")
    attempt: int = Field(description="Number of the present attempt.")


class Worker(BaseModel):
    """One incarnation of a process that executes runs."""

    id: str = Field(description="New at every start.")
    name: str = Field(description="Host and process.")
    app_version: str
    started_at: str
    lease_until: str = Field(description="Without a sign of life until then its runs go to others.")
    alive: bool
    slots: int | None = Field(description="How many runs it executes at a time; null: it did not say.")
    running: int = Field(description="How many it has in hand, whoever's they are.")
    runs: list[HeldRun] = Field(description="The oldest 100 of them, as far as they are the caller's to see.")


class Waiting(BaseModel):
    """What there is to do on this database, whoever's it is."""

    due_lag_ms: int = Field(description="How long the earliest fire that is due has waited to be planned.")
    queue_lag_ms: int = Field(description="How long the earliest run that may start has waited for a worker.")
    pending: int
    running: int
    paused: int


class WorkerList(BaseModel):
    data: list[Worker] = Field(description="Those alive first, then by name.")
    backlog: Waiting
    database: Part
    listener: Part
    engine: Part


class WorkerRoutes:
    def __init__(self, scheduler: Scheduler, vitals: Vitals) -> None:
        self._scheduler = scheduler
        self._vitals = vitals

    async def list_workers(self, caller: TheCaller) -> WorkerList:
        """Which processes execute runs, what they have in hand, how far behind they are, and whether database, engine
        and listener are well."""
        crew = await self._scheduler.insight.crew(caller.user_id)
        return WorkerList(
            data=[_worker_out(hand, crew) for hand in crew.hands],
            backlog=_waiting_out(crew.backlog),
            database=await self._vitals.database(),
            listener=self._vitals.listener(),
            engine=await self._vitals.engine(),
        )


def _worker_out(hand: Hand, crew: Crew) -> Worker:
    info = hand.row.info
    return Worker(
        id=info.id,
        name=info.name,
        app_version=info.app_version,
        started_at=iso_utc(hand.row.started_at),
        lease_until=iso_utc(hand.row.lease_until),
        alive=hand.is_alive,
        slots=info.slots,
        running=hand.row.running,
        runs=[_held_out(mark, crew) for mark in hand.held],
    )


def _held_out(mark: RunMark, crew: Crew) -> HeldRun:
    schedule = crew.schedules.get(mark.schedule_id)
    return HeldRun(
        run_id=mark.run_id,
        schedule_id=mark.schedule_id,
        schedule_name=schedule.name if schedule else None,
        started_at=iso_or_null(mark.started_at),
        attempt=mark.attempt,
    )


def _waiting_out(backlog: Backlog) -> Waiting:
    return Waiting(
        due_lag_ms=backlog.due_lag_ms,
        queue_lag_ms=backlog.queue_lag_ms,
        pending=backlog.pending,
        running=backlog.running,
        paused=backlog.paused,
    )
