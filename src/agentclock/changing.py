"""What changes make of a schedule: pure steps, the same for one schedule as for a thousand at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from agentclock.calling import CallRules
from agentclock.core.model import Instant, Schedule
from agentclock.core.timetable import rearmed
from agentclock.drafts import TARGET_FIELDS, with_values
from agentclock.timing import load_zone, parse_cron, retimed

#: The fields that say where a schedule calls.
_PLACE: Final = frozenset({"target", "endpoint"})


class Changes:
    """`calls`: what schedules may have called."""

    def __init__(self, calls: CallRules) -> None:
        self._calls = calls

    def changed(self, schedule: Schedule, values: Mapping[str, Any], now: Instant) -> Schedule:
        """`schedule` with `values` (wire names) in place of its own. Raises InvalidField, Forbidden."""
        changed = with_values(schedule, values)
        if _PLACE & values.keys():
            self._calls.check_place(changed)
        if TARGET_FIELDS & values.keys():
            self._calls.check_words(changed)
        return retimed(changed, values, now)

    def switched_on(self, schedule: Schedule, now: Instant) -> Schedule:
        """Fires from `now` on. Raises Forbidden, and InvalidField if the timetable cannot be read (any more)."""
        if schedule.enabled:
            return schedule
        load_zone(schedule.timezone)
        parse_cron(schedule.cron_expr or "")
        self._calls.check_words(schedule)
        return rearmed(replace(schedule, enabled=True, disabled_reason=None), now)

    def switched_off(self, schedule: Schedule, now: Instant) -> Schedule:
        return replace(schedule, enabled=False, next_fire_at=None)
