"""What agents may schedule by themselves: the limits alone, without a store."""

from __future__ import annotations

import contextvars
from concurrent.futures import ThreadPoolExecutor

import pytest
from agno.os.authz.run_context import RunAuthorizationMiddleware
from agno.run.authorization import authorization_scope
from agno.tools.function import Function, FunctionCall
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from agentclock.agno.guard_rails import Author, GuardRails, narrowest_gap_seconds
from agentclock.core.errors import GuardRail
from agentclock.core.model import DAY_SECONDS, SECOND, Schedule, Target
from agentclock.embed.origin import RunOrigin, originating_in

NOW = 1_767_225_600_000  # 2026-01-01T00:00:00Z, a Thursday
ORIGIN = RunOrigin(schedule_id="s1", run_id="r1")


def schedule(**fields: object) -> Schedule:
    return Schedule(id="s", name="s", target=Target(endpoint="/"), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cron", "gap"),
    [
        ("* * * * *", 60),
        ("*/5 * * * *", 300),
        ("0 9 * * *", DAY_SECONDS),
        ("0,59 9 * * *", 59 * 60),
        ("0,59 9,10 * * *", 60),  # 9:59 and 10:00
        ("0,1 0 1 1 *", 60),  # two fires a year, a minute apart
        ("59 23 31 12 *", 365 * DAY_SECONDS),
    ],
)
def test_the_narrowest_gap_of_an_expression_counts(cron: str, gap: int) -> None:
    assert narrowest_gap_seconds(schedule(cron_expr=cron), NOW) == gap


def test_the_narrowest_gap_of_other_timetables() -> None:
    assert narrowest_gap_seconds(schedule(interval_seconds=90, anchor_at=NOW), NOW) == 90
    assert narrowest_gap_seconds(schedule(run_at=NOW + SECOND), NOW) is None
    assert narrowest_gap_seconds(schedule(), NOW) is None
    bounded = schedule(cron_expr="* * * * *", end_at=NOW + 90 * SECOND)
    assert narrowest_gap_seconds(bounded, NOW) is None


def test_a_pace_that_is_too_quick_is_refused_with_both_numbers() -> None:
    rails = GuardRails(min_interval_seconds=300)
    with pytest.raises(GuardRail, match=r"only 60 s apart.*at least 300 s.*min_interval_seconds"):
        rails.check_pace(schedule(cron_expr="* * * * *"), NOW)
    rails.check_pace(schedule(cron_expr="*/5 * * * *"), NOW)
    rails.check_pace(schedule(cron_expr="* * * * *", enabled=False), NOW)
    GuardRails(min_interval_seconds=None).check_pace(schedule(cron_expr="* * * * *"), NOW)


def test_the_number_of_schedules_is_limited() -> None:
    rails = GuardRails(max_schedules=2)
    rails.check_count(1)
    with pytest.raises(GuardRail, match=r"2 schedules were made .* 2 are allowed.*max_schedules"):
        rails.check_count(2)
    GuardRails(max_schedules=None).check_count(1_000)


def test_scheduled_runs_schedule_nothing_unless_allowed() -> None:
    inside = Author(is_agent=True, origin=ORIGIN)
    with pytest.raises(GuardRail, match="allow_nested"):
        GuardRails().check_nesting(inside)
    GuardRails(allow_nested=True).check_nesting(inside)
    GuardRails().check_nesting(Author(is_agent=True))


def test_the_application_is_no_agent_and_a_tool_is_one() -> None:
    assert Author.here() == Author(is_agent=False)
    with authorization_scope(lambda: None):
        assert Author.here() == Author(is_agent=True)


async def test_an_endpoint_of_the_application_is_no_agent_and_a_tool_called_in_it_is_one() -> None:
    seen: list[Author] = []

    def schedule() -> str:
        seen.append(Author.here())
        return "done"

    async def endpoint(scope: Scope, _receive: Receive, _send: Send) -> None:
        schedule()
        await FunctionCall(function=Function.from_callable(schedule), arguments={}).aexecute()

    async def hear() -> Message:
        raise AssertionError

    async def tell(_: Message) -> None:
        raise AssertionError

    app = FastAPI()
    scope = {"type": "http", "path": "/", "headers": [], "state": {}, "app": app}
    await RunAuthorizationMiddleware(endpoint, app)(scope, hear, tell)
    assert seen == [Author(is_agent=False), Author(is_agent=True)]


def test_code_inside_a_run_of_ours_is_an_agent_in_threads_too() -> None:
    with originating_in(ORIGIN), ThreadPoolExecutor(1) as pool:
        here = contextvars.copy_context()
        assert pool.submit(here.run, Author.here).result() == Author(is_agent=True, origin=ORIGIN)
    assert Author.here().origin is None
