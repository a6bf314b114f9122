"""What changes make of a schedule: pure steps, the same for one schedule as for a thousand at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from agentclock.calling import CallRules
from agentclock.core.cron import CronError
from agentclock.core.errors import InvalidField
from agentclock.core.model import Instant, Schedule
from agentclock.core.timetable import rearmed
from agentclock.core.zones import ZoneError
from agentclock.drafts import TARGET_FIELDS, with_values
from agentclock.timing import is_on_demand, load_zone, parse_cron, retimed

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

    def faults(self, schedule: Schedule, values: Mapping[str, Any], now: Instant) -> list[InvalidField]:
        """All that `changed` might raise, as far as it is the input's fault."""
        steps: list[Callable[[], object]] = [
            lambda: self._calls.check_place(with_values(schedule, values)),
            lambda: retimed(schedule, values, now),
        ]
        found: list[InvalidField] = []
        for step in steps:
            try:
                step()
            except InvalidField as error:
                found.append(error)
        return found

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


def with_zone_data(schedule: Schedule, version: str, now: Instant) -> Schedule:
    """`schedule` with its next fire by the zone data of this `version`; disabled if it cannot be read any more."""
    current = replace(schedule, zone_data_version=version)
    if not schedule.enabled or is_on_demand(schedule):
        return current
    if schedule.next_fire_at is not None and schedule.next_fire_at <= now:
        # Owed since before we came: the planner will go on from there with the new data.
        return current
    try:
        moved = rearmed(schedule, now)
    except (CronError, ZoneError) as error:
        return replace(current, enabled=False, next_fire_at=None, disabled_reason=str(error))
    return current if moved.next_fire_at == schedule.next_fire_at else moved
