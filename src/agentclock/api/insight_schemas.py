"""The wire shapes of figures, concerns, accounts in a list and groups of failures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field

from agentclock.api.schemas import Meta
from agentclock.api.values import iso_or_null
from agentclock.core.concerns import Concern as ConcernFound
from agentclock.core.concerns import ConcernKind, Severity
from agentclock.core.figures import Spread, duration_ms, lateness_ms
from agentclock.core.instants import iso_utc
from agentclock.core.model import Cause, RunStatus
from agentclock.insight import Failures, Figures, LedgerLine
from agentclock.insight import Summary as SummaryFound
from agentclock.ports import RunMark


class ScheduleCounts(BaseModel):
    total: int = Field(description="All schedules.")
    enabled: int = Field(description="Those that fire.")
    disabled: int = Field(description="Those that do not.")


class ActiveRuns(BaseModel):
    pending: int = Field(description="Runs that wait to start.")
    running: int = Field(description="Runs under way.")
    paused: int = Field(description="Runs that wait for a human.")


class EndedFires(BaseModel):
    """What became of fires."""

    success: int = Field(description="Runs that went well.")
    failed: int = Field(description="Runs that failed.")
    timeout: int = Field(description="Runs that took too long.")
    cancelled: int = Field(description="Runs that somebody cancelled.")
    lost: int = Field(description="Runs of which nobody knows how they ended.")
    skipped: int = Field(description="Fires that an earlier run was in the way of.")
    missed: int = Field(description="Fires that came too late to run.")


class NextFire(BaseModel):
    at: str = Field(description="When it is due.")
    schedule_id: str = Field(description="The schedule that is due.")
    schedule_name: str = Field(description="Its name.")


class Lateness(BaseModel):
    """From the fire time, and the schedule's own delay within its jitter, to the start of the first attempt, in
    milliseconds. Only runs of the timetable can be late."""

    p50: int = Field(description="Half of the runs were no later.")
    p99: int = Field(description="99 % of the runs were no later.")
    max: int = Field(description="None was later.")
    runs: int = Field(description="How many runs these figures are of.")


class Durations(BaseModel):
    """From the start of the first attempt to the end, pauses included, in milliseconds; however the runs ended."""

    p50: int = Field(description="Half of the runs took no longer.")
    p95: int = Field(description="95 % of the runs took no longer.")
    max: int = Field(description="None took longer.")


class Summary(BaseModel):
    """How things stand."""

    schedules: ScheduleCounts
    runs: ActiveRuns = Field(description="Runs that are not over.")
    last_24_h: EndedFires = Field(description="Fires of the last 24 hours that are over.")
    next_fire: NextFire | None = Field(description="What is due next; null: nothing is.")
    lateness_ms: Lateness | None = Field(
        description="Of the newest runs of the timetable within 24 hours, 200 at most; null: there are none."
    )
    due_lag_ms: int = Field(description="For how long the earliest fire that is due has waited to be planned.")
    queue_lag_ms: int = Field(description="For how long the earliest run that may start has waited for a worker.")
    workers_alive: int = Field(description="Workers whose lease holds.")


class Concern(BaseModel):
    """Something to look into."""

    kind: ConcernKind = Field(
        description="no_worker: no engine executes runs; overdue: due for longer than the misfire grace, and not "
        "planned; failing: the newest runs that are over failed; lost: nobody knows how a run ended; paused: a run "
        "waits for a human; disabled: by agentclock itself; missed: fires of the last 24 hours came too late; "
        "long_running: a run takes more than 3 times as long as 95 % of those before it."
    )
    severity: Severity = Field(description="How urgent it is.")
    schedule_id: str | None = Field(description="Which schedule it concerns; null: all.")
    schedule_name: str | None = Field(description="Its name.")
    run_id: str | None = Field(description="The newest run that shows it, the `id` of it; null: no single one does.")
    since: str | None = Field(description="When it began; null: nobody can tell.")
    count: int = Field(description="How many runs or fires it is about.")
    title: str = Field(description="What is the matter.")
    hint: str | None = Field(description="What to do about it; null: nobody can tell.")


class ConcernList(BaseModel):
    data: list[Concern] = Field(description="Most urgent first.")
    is_complete: bool = Field(description="False: there is more; the most urgent of what was looked at is shown.")


class StatisticsRow(BaseModel):
    """Figures of one schedule's runs; fires that made none do not count."""

    schedule_id: str
    schedule_name: str
    enabled: bool = Field(description="Whether it fires.")
    runs: int = Field(description="Runs, whatever became of them.")
    success: int = Field(description="Those that went well.")
    unsuccessful: int = Field(description="Those that failed, took too long or were lost.")
    success_rate: float | None = Field(
        description="success / (success + unsuccessful), 0 to 1; null: no run ended by itself.", examples=[0.9975]
    )
    duration_ms: Durations | None = Field(description="How long they took; null: none is over.")
    lateness_ms: Lateness | None = Field(description="How late they began; null: none was due by a timetable.")
    total_tokens: int | None = Field(description="What all attempts used up; null: nobody said.")
    cost: float | None = Field(description="In the currency of AgentOS; null: nobody said.")
    is_sample: bool = Field(description="There are more runs: the figures are of the newest ones only.")


class RankedRow(StatisticsRow):
    ranked_by: int | None = Field(
        description="What gave it its place: p99 of lateness or p95 of duration in ms, failures, runs; null: its name."
    )


class StatisticsList(BaseModel):
    from_at: str = Field(serialization_alias="from", description="The first fire time that counts.")
    to: str = Field(description="The first fire time that does not.")
    data: list[RankedRow] = Field(description="By name, or the greatest figures first.")
    runs_per_schedule: int = Field(description="The newest runs of a schedule that its figures are made of, at most.")
    schedules_total: int = Field(description="How many schedules match.")
    schedules_compared: int = Field(
        description="How many of them were put in order: all by name, by figures 1,000 at most, those with the most "
        "runs (for `failures`: the most failures). The others are on no page."
    )
    ranked_from: str | None = Field(
        description="The first fire time that counts for the order: `runs` are counted for a day at most, `failures` "
        "for seven, up to `to`; null: by name."
    )
    meta: Meta


class RunSeries(BaseModel):
    """The newest 500 runs and absent fires at most, in columns, the oldest first."""

    run_id: list[str] = Field(description="The id of the run.")
    fire_at_ms: list[int] = Field(description="When it was due, epoch milliseconds.")
    status: list[RunStatus] = Field(description="What became of it.")
    cause: list[Cause] = Field(description="Why it was made.")
    duration_ms: list[int | None] = Field(description="How long it took; null: it is not over, or was never begun.")
    lateness_ms: list[int | None] = Field(description="How late it began; null: nobody promised when.")
    total_tokens: list[int | None] = Field(description="What its attempts used up; null: nobody said.")
    cost: list[float | None] = Field(description="In the currency of AgentOS; null: nobody said.")


class ScheduleStatistics(StatisticsRow):
    series: RunSeries = Field(description="The runs that the figures are made of.")


class AccountRow(BaseModel):
    """Every fire that was due, against what became of it: due = runs + skipped + missed."""

    schedule_id: str
    schedule_name: str
    enabled: bool = Field(description="Whether it fires.")
    due: int | None = Field(description="Fires that were due; null, as below: what is stored cannot be read.")
    runs: int | None = Field(description="Those that made runs.")
    skipped: int | None = Field(description="Those that an earlier run was in the way of.")
    missed: int | None = Field(description="Those that came too late.")
    balanced: bool = Field(description="Whether due = runs + skipped + missed.")
    trouble: str | None = Field(description="What is certainly wrong; null: nothing.")
    overdue_ms: int = Field(description="For how long a fire has been due that is not planned.")


class AccountList(BaseModel):
    data: list[AccountRow] = Field(description="By name.")
    meta: Meta


class AfflictedSchedule(BaseModel):
    id: str
    name: str | None = Field(description="null: the schedule is gone.")
    count: int = Field(description="How many of its runs are in the group.")


class FailureGroup(BaseModel):
    """Runs that failed in the same way: their errors differ in ids, numbers, times and addresses at most."""

    fingerprint: str = Field(description="What names the way, always and everywhere.", examples=["8c1f0a3b5d7e9f21"])
    error: str | None = Field(description="The newest one's error, 500 characters at most; null: it said nothing.")
    status: RunStatus = Field(description="failed, timeout or lost.")
    status_code: int | None = Field(description="What the target answered; null: nothing.")
    hint: str | None = Field(description="What to do about it; null: it is of no common kind.")
    count: int = Field(description="How many runs.")
    schedules: list[AfflictedSchedule] = Field(description="Those with the most runs in the group, 20 at most.")
    schedules_total: int = Field(description="How many schedules have runs in the group.")
    first_at: str = Field(description="The oldest fire time.")
    last_at: str = Field(description="The newest fire time.")
    run_ids: list[str] = Field(description="The newest runs, 50 at most, newest first.")


class FailureList(BaseModel):
    data: list[FailureGroup] = Field(description="The largest group first.")
    runs_looked_at: int = Field(description="How many failed runs were put in groups: the newest, 2,000 at most.")
    is_complete: bool = Field(description="False: there are more of them in the time asked for, or more groups.")


def summary_out(found: SummaryFound) -> Summary:
    overview, due = found.overview, found.overview.next_fire
    next_fire = None
    if due is not None and due.next_fire_at is not None:
        next_fire = NextFire(at=iso_utc(due.next_fire_at), schedule_id=due.id, schedule_name=due.name)
    return Summary(
        schedules=ScheduleCounts(
            total=overview.enabled + overview.disabled, enabled=overview.enabled, disabled=overview.disabled
        ),
        runs=ActiveRuns(pending=overview.pending, running=overview.running, paused=overview.paused),
        last_24_h=EndedFires(**{name: found.ended.get(RunStatus(name), 0) for name in EndedFires.model_fields}),
        next_fire=next_fire,
        lateness_ms=lateness_out(found.lateness),
        due_lag_ms=found.backlog.due_lag_ms,
        queue_lag_ms=found.backlog.queue_lag_ms,
        workers_alive=found.workers_alive,
    )


def lateness_out(spread: Spread | None) -> Lateness | None:
    if spread is None:
        return None
    return Lateness(p50=spread.p50, p99=spread.p99, max=spread.most, runs=spread.count)


def concern_out(found: ConcernFound) -> Concern:
    return Concern(
        kind=found.kind,
        severity=found.severity,
        schedule_id=found.schedule_id,
        schedule_name=found.schedule_name,
        run_id=found.run_id,
        since=iso_or_null(found.since),
        count=found.count,
        title=found.title,
        hint=found.hint,
    )


def ranked_row_out(found: Figures) -> RankedRow:
    return RankedRow(**_figures(found), ranked_by=found.weight)


def _figures(found: Figures) -> dict[str, Any]:
    took = found.duration
    return {
        "schedule_id": found.schedule.id,
        "schedule_name": found.schedule.name,
        "enabled": found.schedule.enabled,
        "runs": found.runs,
        "success": found.success,
        "unsuccessful": found.unsuccessful,
        "success_rate": found.success_rate,
        "duration_ms": took and Durations(p50=took.p50, p95=took.p95, max=took.most),
        "lateness_ms": lateness_out(found.lateness),
        "total_tokens": found.total_tokens,
        "cost": found.cost,
        "is_sample": found.is_sample,
    }


def schedule_statistics_out(found: Figures, marks: Sequence[RunMark]) -> ScheduleStatistics:
    """`marks`: newest first."""
    runs, jitter_seconds = marks[::-1], found.schedule.jitter_seconds
    series = RunSeries(
        run_id=[run.run_id for run in runs],
        fire_at_ms=[run.fire_at for run in runs],
        status=[run.status for run in runs],
        cause=[run.cause for run in runs],
        duration_ms=[duration_ms(run) for run in runs],
        lateness_ms=[lateness_ms(run, jitter_seconds) for run in runs],
        total_tokens=[run.total_tokens for run in runs],
        cost=[run.cost for run in runs],
    )
    return ScheduleStatistics(**_figures(found), series=series)


def account_row_out(line: LedgerLine) -> AccountRow:
    found = line.statement
    return AccountRow(
        schedule_id=line.schedule.id,
        schedule_name=line.schedule.name,
        enabled=line.schedule.enabled,
        due=None if found is None else found.due,
        runs=None if found is None else found.runs,
        skipped=None if found is None else found.skipped,
        missed=None if found is None else found.missed,
        balanced=found is not None and found.is_balanced,
        trouble=line.trouble,
        overdue_ms=0 if found is None else found.books.overdue_ms,
    )


def failures_out(found: Failures) -> FailureList:
    groups = [
        FailureGroup(
            fingerprint=group.fingerprint,
            error=group.error,
            status=group.status,
            status_code=group.status_code,
            hint=group.hint,
            count=group.count,
            schedules=[AfflictedSchedule(id=one.id, name=one.name, count=one.count) for one in group.schedules],
            schedules_total=group.schedules_total,
            first_at=iso_utc(group.first_at),
            last_at=iso_utc(group.last_at),
            run_ids=list(group.run_ids),
        )
        for group in found.groups
    ]
    return FailureList(data=groups, runs_looked_at=found.runs_looked_at, is_complete=found.is_complete)
