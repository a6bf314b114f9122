"""The orders of a list of schedules, and where its pages go on. Shared by both stores.

In every order each schedule has a key, which the query answers behind the schedule's columns, and the id decides
between equal ones. A page goes on behind the last key and id of the page before, whatever was written in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agentclock.core.errors import InvalidField
from agentclock.ports import PageRequest, ScheduleOrder
from agentclock.store.columns import SCHEDULE_COLUMNS
from agentclock.store.filters import Selection, decode_cursor
from agentclock.store.rows import clean_text

#: The key of what is due for nothing, in the order of next fires: later than all there is.
NEVER: Final = 253_402_300_799_999

_CREATED_AT: Final = SCHEDULE_COLUMNS.index("created_at")
_KEY: Final = len(SCHEDULE_COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """`query` lists in this order, `briefs` does so briefly; `after` is the condition for what comes behind a
    position."""

    query: str
    briefs: str
    after: str
    position: Callable[[Sequence[Any]], tuple[Any, ...]]


_LISTINGS: Final = {
    ScheduleOrder.NEWEST: Listing(
        query="list_schedules",
        briefs="briefs",
        after="schedules_after",
        position=lambda row: (row[_CREATED_AT], row[0]),
    ),
    ScheduleOrder.NEXT_FIRE: Listing(
        query="list_schedules_by_fire",
        briefs="briefs_by_fire",
        after="schedules_after_fire",
        position=lambda row: ("next_fire", row[_KEY], row[0]),
    ),
    ScheduleOrder.NAME: Listing(
        query="list_schedules_by_name",
        briefs="briefs_by_name",
        after="schedules_after_name",
        position=lambda row: ("name", row[_KEY], row[0]),
    ),
}


def listing(order: ScheduleOrder) -> Listing:
    return _LISTINGS[order]


def from_cursor(chosen: Selection, page: PageRequest, order: ScheduleOrder) -> Selection:
    """`chosen`, narrowed to what comes behind the page before. Raises InvalidField for a cursor of another order."""
    after = listing(order).after
    match order:
        case _ if page.cursor is None:
            return chosen
        case ScheduleOrder.NEWEST:
            created_at, schedule_id = decode_cursor(page.cursor, int, str)
            return chosen.after(after, cursor_created_at=created_at, cursor_id=clean_text(schedule_id))
        case ScheduleOrder.NEXT_FIRE:
            word, key, schedule_id = decode_cursor(page.cursor, str, int, str)
        case ScheduleOrder.NAME:
            word, key, schedule_id = decode_cursor(page.cursor, str, str, str)
    if word != order:
        raise InvalidField("cursor", "is not a cursor of this order; take next_cursor from a page")
    key = clean_text(key) if isinstance(key, str) else key
    return chosen.after(after, cursor_key=key, cursor_id=clean_text(schedule_id))
