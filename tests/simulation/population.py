"""The schedules of a simulated world."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from tests.simulation.plan import Plan

from agentclock.core.model import (
    ApprovalAction,
    CatchUp,
    Instant,
    OnLost,
    Overlap,
    RetryBackoff,
    RetryPolicy,
    Schedule,
    Target,
)
from agentclock.core.timetable import next_fire

#: Agents take long: theirs come no oftener than that.
AGENT_INTERVAL_SECONDS = 300
AGENT_ENDPOINT = "/agents/a/runs"


def make_schedules(plan: Plan, chance: random.Random, now: Instant) -> list[Schedule]:
    number = chance.randint(plan.schedules.count.least, plan.schedules.count.most)
    return [_schedule(plan, chance, now, f"s{place}") for place in range(number)]


def _schedule(plan: Plan, chance: random.Random, now: Instant, schedule_id: str) -> Schedule:
    made_of, pick = plan.schedules, chance.choice
    is_agent = chance.random() < made_of.agents
    on_lost = pick(made_of.on_lost)
    blank = Schedule(
        id=schedule_id,
        name=schedule_id,
        target=Target(
            endpoint=AGENT_ENDPOINT if is_agent else "/x", method="POST" if is_agent else pick(("POST", "GET"))
        ),
        timezone=pick(made_of.timezones),
        overlap=Overlap(pick(made_of.overlap)),
        catch_up=CatchUp(pick(made_of.catch_up)),
        catch_up_window_seconds=pick(made_of.catch_up_window_seconds),
        catch_up_limit=pick(made_of.catch_up_limit),
        misfire_grace_seconds=pick(made_of.misfire_grace_seconds),
        jitter_seconds=pick(made_of.jitter_seconds),
        max_runs=5 if chance.random() < made_of.max_runs else None,
        timeout_seconds=pick((10, 3_600)),
        approval_timeout_seconds=pick((None, 30, 3_600)),
        approval_timeout_action=pick(tuple(ApprovalAction)),
        on_lost=None if on_lost == "default" else OnLost(on_lost),
        retry=RetryPolicy(
            max_retries=pick(made_of.max_retries),
            delay_seconds=pick(made_of.retry_delay_seconds),
            backoff=pick(tuple(RetryBackoff)),
        ),
        created_at=now,
        timetable_since=now,
    )
    timed = replace(blank, **_timing(plan, chance, now, is_agent))
    return replace(timed, next_fire_at=next_fire(timed, now))


def _timing(plan: Plan, chance: random.Random, now: Instant, is_agent: bool) -> dict[str, Any]:
    expressions, intervals = plan.schedules.expressions, plan.schedules.intervals_seconds
    if is_agent:
        expressions = [expression for expression in expressions if expression != "* * * * *"] or expressions
        intervals = [max(seconds, AGENT_INTERVAL_SECONDS) for seconds in intervals]
    match chance.choice(("cron", "cron", "interval", "interval", "once")):
        case "cron":
            return {"cron_expr": chance.choice(expressions)}
        case "interval":
            return {"interval_seconds": chance.choice(intervals), "anchor_at": now}
        case _:
            return {"run_at": now + chance.choice((90_000, 5_000_000))}
