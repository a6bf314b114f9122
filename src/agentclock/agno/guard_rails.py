"""What agents may schedule by themselves, and who is asking: an agent's tool, a scheduled run, or the application."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from agno.run import authorization

from agentclock.agno.permissions import Grant, grant_here
from agentclock.config import Settings
from agentclock.core.errors import GuardRail
from agentclock.core.model import DAY_SECONDS, SECOND, Instant, Schedule
from agentclock.core.timetable import next_fire, timetable_of
from agentclock.embed.origin import RunOrigin, current_origin

#: The narrowest gap is looked for among so many fires, as far ahead as an expression can hide one.
_FIRES_LOOKED_AT: Final = 1_000
_LOOK_AHEAD_MS: Final = 370 * DAY_SECONDS * SECOND
#: The module of agno that opens the scope of a request, which is innermost as long as no tool is called.
_REQUEST_SCOPES: Final = "agno.os.authz.run_context"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRails:
    """Limits for agents, not for the application's own code. None: no limit.

    `max_schedules`: schedules made by agents that one owner may have at a time. `min_interval_seconds`: two fires of
    a schedule that an agent makes, retimes or enables are at least so far apart. `allow_nested`: an agent may make,
    change, enable and trigger schedules while it runs on a schedule itself; disabling and deleting it always may.
    """

    max_schedules: int | None = 20
    min_interval_seconds: int | None = 300
    allow_nested: bool = False

    @classmethod
    def of(cls, settings: Settings) -> GuardRails:
        return cls(
            max_schedules=settings.guard_max_schedules,
            min_interval_seconds=settings.guard_min_interval_seconds,
            allow_nested=settings.guard_allow_nested,
        )

    def check_nesting(self, author: Author) -> None:
        """Raises GuardRail inside a scheduled run."""
        if author.origin is not None and not self.allow_nested:
            raise GuardRail(
                "This run was started by a schedule, and scheduled runs may not make, change, enable or trigger "
                "schedules (they may disable and delete them). Whoever operates agentclock can permit it: the setting "
                "guard_allow_nested"
            )

    def check_count(self, made_by_agents: int) -> None:
        """`made_by_agents`: schedules that the owner has so far. Raises GuardRail."""
        if self.max_schedules is not None and made_by_agents >= self.max_schedules:
            raise GuardRail(
                f"{made_by_agents} schedules were made by agents for this owner, and {self.max_schedules} are allowed: "
                "delete one that is no longer needed first. Whoever operates agentclock can raise the limit: the "
                "setting guard_max_schedules"
            )

    def check_pace(self, schedule: Schedule, now: Instant) -> None:
        """Raises GuardRail if the schedule is enabled and fires too often."""
        if self.min_interval_seconds is None or not schedule.enabled:
            return
        gap_seconds = narrowest_gap_seconds(schedule, now)
        if gap_seconds is not None and gap_seconds < self.min_interval_seconds:
            raise GuardRail(
                f"This timetable has fires only {gap_seconds} s apart, and agents must leave at least "
                f"{self.min_interval_seconds} s between them: choose a rarer one. Whoever operates agentclock can "
                "lower the limit: the setting guard_min_interval_seconds"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who changes schedules. `origin`: the run of ours that the code belongs to. `is_agent`: it is a tool's doing.
    `grant`: what whoever runs the agent may."""

    is_agent: bool
    origin: RunOrigin | None = None
    grant: Grant | None = None

    @classmethod
    def here(cls) -> Author:
        """The author that the present context belongs to; to be asked in the caller's own thread and task."""
        origin = current_origin()
        return cls(is_agent=origin is not None or _in_a_tool(), origin=origin, grant=grant_here())


def _in_a_tool() -> bool:
    """Whether agno executes a tool around us: it opens a scope for the caller's authority, even an empty one. A request
    to AgentOS has such a scope too, and the application's own endpoints answer in it.

    An agno that has no such scope (any more) leaves us without a sign; then everybody is taken for an agent.
    """
    scope = getattr(authorization, "_AUTHORITY", None)
    if scope is None:
        return True
    authority_of = scope.get()
    return authority_of is not None and getattr(authority_of, "__module__", None) != _REQUEST_SCOPES


def narrowest_gap_seconds(schedule: Schedule, now: Instant) -> int | None:
    """The least time between two of the coming fires; None if there are not two.

    Raises CronError or ZoneError if the timetable cannot be read.
    """
    first = next_fire(schedule, now)
    if first is None:
        return None
    until = first + _LOOK_AHEAD_MS if schedule.end_at is None else min(first + _LOOK_AHEAD_MS, schedule.end_at)
    fires = [first, *timetable_of(schedule).between(first, until, _FIRES_LOOKED_AT)]
    return min(((later - earlier) // SECOND for earlier, later in pairwise(fires)), default=None)
