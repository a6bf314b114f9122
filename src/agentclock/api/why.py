"""Why a schedule ran at a time, or why not."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, Field

from agentclock.api.auth import TheCaller
from agentclock.api.parameters import ScheduleId
from agentclock.api.values import iso_or_null
from agentclock.core.whynot import Fact as FactFound
from agentclock.core.whynot import Verdict
from agentclock.insight import Why as WhyFound
from agentclock.scheduler import Scheduler


class Fact(BaseModel):
    """Something that the answer rests on."""

    kind: str = Field(description="One word for programs, such as `disabled`, `overlap`, `attempt`, `hint`.")
    text: str
    at: str | None = Field(description="When it was, RFC 3339.")
    by: str | None = Field(description="Who did it; null: nobody in particular.")
    run_id: str | None = Field(description="`id` of the run that it is about.")


class Near(BaseModel):
    """The fires of the timetable around the moment; null: there is none."""

    before: str | None
    after: str | None


class Why(BaseModel):
    """An answer, and what it rests on."""

    schedule_id: str
    at: str | None = Field(description="The instant that it is about, RFC 3339; null: there is no such instant.")
    local: str = Field(description="The same as clocks in the schedule's zone show it, with the offset if it exists.")
    verdict: Verdict = Field(description="What it comes to, in one word.")
    answer: str = Field(description="What it comes to, in one sentence.")
    facts: list[Fact]
    run_id: str | None = Field(description="`id` of the run, or of the record of fires that made none; null: none.")
    near: Near


class WhyRoutes:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    async def get_why(
        self,
        schedule_id: ScheduleId,
        caller: TheCaller,
        at: Annotated[
            str | None,
            Query(
                max_length=64,
                description="ISO 8601, with an offset or local to the schedule's zone. Default: what is due and not "
                "planned yet, else the latest fire, else the next.",
            ),
        ] = None,
    ) -> Why:
        """Why did it run at that time, or why not? From the records: the revisions of the schedule, its runs, the
        audit log, and who executes runs. Of a deleted schedule, too."""
        return _why_out(await self._scheduler.insight.why(schedule_id, at, user_id=caller.user_id))


def _why_out(found: WhyFound) -> Why:
    because, moment = found.because, found.moment
    asked_at = None if moment.is_skipped else moment.at
    return Why(
        schedule_id=found.schedule.id,
        at=iso_or_null(asked_at if because.at is None else because.at),
        local=moment.local,
        verdict=because.verdict,
        answer=because.answer,
        facts=[_fact_out(fact) for fact in because.facts],
        run_id=because.run_id,
        near=Near(before=iso_or_null(found.before), after=iso_or_null(found.after)),
    )


def _fact_out(fact: FactFound) -> Fact:
    return Fact(kind=fact.kind, text=fact.text, at=iso_or_null(fact.at), by=fact.by, run_id=fact.run_id)
