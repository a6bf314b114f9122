"""The timeline: past and future of all schedules."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import Header, Query, Response
from pydantic import BaseModel, Field

from agentclock.api.auth import TheCaller
from agentclock.api.compression import compact_json
from agentclock.api.narrowing import Asked, From, To, confined
from agentclock.api.parameters import PageNumber, read_instant
from agentclock.core.instants import iso_utc
from agentclock.core.model import Cause, RunStatus
from agentclock.insight import Lane as LaneFound
from agentclock.insight import Timeline as TimelineFound
from agentclock.insight import TimelineDraft
from agentclock.scheduler import Scheduler

_COLUMN = "One entry for each run, in the same order in all columns: the oldest first."


class Series(BaseModel):
    """Fires, one entry for each bin: what became of those on record, and those to come (`planned`)."""

    pending: list[int] = Field(description="Runs that wait to start.")
    running: list[int] = Field(description="Runs under way.")
    paused: list[int] = Field(description="Runs that wait for a human.")
    success: list[int] = Field(description="Runs that went well.")
    failed: list[int] = Field(description="Runs that failed.")
    timeout: list[int] = Field(description="Runs that took too long.")
    cancelled: list[int] = Field(description="Runs that somebody cancelled.")
    lost: list[int] = Field(description="Runs of which nobody knows how they ended.")
    skipped: list[int] = Field(description="Fires that an earlier run was in the way of.")
    missed: list[int] = Field(description="Fires that came too late to run.")
    planned: list[int] = Field(description="Fires to come, those that are overdue among them.")


class Bins(BaseModel):
    """The whole time in parts of equal length."""

    count: int = Field(description="How many there are.")
    is_complete: bool = Field(description="Whether all that match were counted; false: 20,000 schedules were.")
    series: Series = Field(description="Fires by what became of them.")


class Busiest(BaseModel):
    """The minute with the most fires to come."""

    at: str = Field(description="When it begins.")
    fires: int = Field(description="Fires in it.")
    schedules: list[str] = Field(description="Names of some of those that fire in it, five at most.")


class Seam(BaseModel):
    """A clock change in a zone that schedules use."""

    timezone: str = Field(description="The zone.", examples=["Europe/Berlin"])
    at: str = Field(description="When its clocks change.")
    text: str = Field(description="What they do.", examples=["clocks go forward from 02:00 to 03:00"])


class Marks(BaseModel):
    """A schedule's runs, and fires that made none, in columns."""

    fire_at_ms: list[int] = Field(description=_COLUMN + " When it was due, epoch milliseconds.")
    started_at_ms: list[int | None] = Field(description="When its first attempt began; null: none has.")
    ended_at_ms: list[int | None] = Field(description="When it was over; of fires that made no run, the last one.")
    status: list[RunStatus] = Field(description="What became of it.")
    cause: list[Cause] = Field(description="Why it was made.")
    count: list[int] = Field(description="How many fires it stands for.")
    run_id: list[str] = Field(description="Its id.")


class Lane(BaseModel):
    """One schedule."""

    schedule_id: str = Field(description="Its id.")
    name: str = Field(description="Its name.")
    enabled: bool = Field(description="Whether it fires.")
    timezone: str = Field(description="The zone of its timetable.")
    planned_ms: list[int] = Field(description="Its fires to come, epoch milliseconds, soonest first.")
    marks: Marks = Field(description="Its runs within the time shown.")
    is_complete: bool = Field(description="False: there are more than the newest 200 runs or the next 300 fires.")


class Timeline(BaseModel):
    """Past and future of schedules."""

    from_at: str = Field(serialization_alias="from", description="The first instant shown.")
    to: str = Field(description="The first instant not shown.")
    now: str = Field(description="Where the past ends.")
    bin_seconds: float = Field(description="How long a bin is.")
    bins: Bins = Field(description="All schedules that match, together.")
    busiest: Busiest | None = Field(description="The busiest minute to come; null: nothing is due in the time shown.")
    seams: list[Seam] = Field(description="Clock changes within the time shown, at most 50.")
    lanes: list[Lane] = Field(description="Schedules singly, soonest fire first.")
    lanes_total: int = Field(description="How many schedules match.")
    planned_is_complete: bool = Field(
        description="Whether all fires to come were counted; false: there are too many, more than 500,000 in distinct "
        "timetables or of more than 20,000 schedules."
    )


class TimelineRoutes:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    async def get_timeline(
        self,
        asked: Asked,
        caller: TheCaller,
        since: From = None,
        until: To = None,
        bins: Annotated[int, Query(ge=1, le=500, description="Into how many parts the time is divided.")] = 288,
        lanes: Annotated[int, Query(ge=0, le=200, description="How many schedules are shown singly.")] = 40,
        page: PageNumber = 1,
        accept_encoding: Annotated[str | None, Header(description="`gzip`: the answer comes compressed.")] = None,
    ) -> Response:
        """Past and future on one line: fires counted in bins by what became of them, those to come, the busiest minute,
        clock changes, and lanes with the runs of single schedules. By itself from twelve hours ago to twelve hours
        ahead. Instants in columns are epoch milliseconds."""
        draft = TimelineDraft(
            since=read_instant("from", since), until=read_instant("to", until), bins=bins, lanes=lanes, page=page
        )
        found = await self._scheduler.insight.timeline(draft, confined(asked, caller))
        return await compact_json(partial(timeline_out, found), accept_encoding)


def timeline_out(found: TimelineFound) -> dict[str, Any]:
    """As `Timeline` describes it. By hand: checking so many numbers one by one takes longer than finding them."""
    busiest = found.forecast.busiest
    return {
        "from": iso_utc(found.grid.since),
        "to": iso_utc(found.grid.until),
        "now": iso_utc(found.now),
        "bin_seconds": found.grid.bin_seconds,
        "bins": {
            "count": found.grid.bins,
            "is_complete": found.is_counted,
            "series": {**found.counts, "planned": found.forecast.bins},
        },
        "busiest": busiest and {"at": iso_utc(busiest.at), "fires": busiest.fires, "schedules": list(busiest.names)},
        "seams": [{"timezone": seam.timezone, "at": iso_utc(seam.at), "text": seam.text} for seam in found.seams],
        "lanes": [_lane_out(lane) for lane in found.lanes],
        "lanes_total": found.lanes_total,
        "planned_is_complete": found.forecast.is_complete,
    }


def _lane_out(lane: LaneFound) -> dict[str, Any]:
    marks = lane.marks[::-1]
    return {
        "schedule_id": lane.schedule.id,
        "name": lane.schedule.name,
        "enabled": lane.schedule.enabled,
        "timezone": lane.schedule.timezone,
        "planned_ms": list(lane.planned),
        "marks": {
            "fire_at_ms": [mark.fire_at for mark in marks],
            "started_at_ms": [mark.started_at for mark in marks],
            "ended_at_ms": [mark.completed_at if mark.last_fire_at is None else mark.last_fire_at for mark in marks],
            "status": [mark.status for mark in marks],
            "cause": [mark.cause for mark in marks],
            "count": [mark.fire_count for mark in marks],
            "run_id": [mark.run_id for mark in marks],
        },
        "is_complete": lane.is_complete,
    }
