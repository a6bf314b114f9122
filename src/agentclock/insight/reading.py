"""What these use cases take and read alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agentclock.core.errors import InvalidField
from agentclock.core.model import DAY_SECONDS, SECOND, Instant
from agentclock.ports import RunMark, ScheduleBrief, ScheduleFilter, Store
from agentclock.runs import check_texts

DAY_MS: Final = DAY_SECONDS * SECOND
#: Marks that are read in one piece: rows become objects on the event loop in some stores.
MARKS_AT_ONCE: Final = 1_000
#: Schedules that are looked at one by one, at most.
MOST_SCHEDULES: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """`since` <= fire time < `until`."""

    since: Instant
    until: Instant


def window(since: Instant | None, until: Instant | None, now: Instant, default_ms: int, most_ms: int) -> Window:
    """Up to now, and `default_ms` long, unless the bounds say otherwise. Raises InvalidField."""
    until = until if until is not None else max(now + 1, 0 if since is None else since + 1)
    since = since if since is not None else max(0, until - default_ms)
    if until <= since:
        raise InvalidField("to", "must lie after from")
    if until - since > most_ms:
        raise InvalidField("from", f"lies more than {most_ms // DAY_MS:,} days before to")
    return Window(since=since, until=until)


def check_filter(where: ScheduleFilter) -> None:
    """Raises InvalidField for text that cannot be stored, and so is nowhere to be found."""
    check_texts(
        name=where.name_contains,
        q=where.text,
        tag=where.tag,
        target=where.target,
        owner=where.user_id,
        managed_by=where.managed_by,
    )


def is_narrow(where: ScheduleFilter) -> bool:
    """Whether it leaves out any of the owner's schedules."""
    return where != ScheduleFilter(user_id=where.user_id)


async def marks_of(
    store: Store, schedule_ids: Sequence[str], limit: int, period: Window | None = None, *, with_usage: bool = False
) -> dict[str, list[RunMark]]:
    """The newest `limit` runs of each, newest first; every schedule asked for has a list, if an empty one."""
    found: dict[str, list[RunMark]] = {schedule_id: [] for schedule_id in schedule_ids}
    at_once = max(1, MARKS_AT_ONCE // max(1, limit))
    for start in range(0, len(schedule_ids), at_once):
        found |= await store.marks(
            schedule_ids[start : start + at_once],
            limit=limit,
            since=None if period is None else period.since,
            until=None if period is None else period.until,
            with_usage=with_usage,
        )
    return found


async def briefs_by_id(store: Store, schedule_ids: Sequence[str], user_id: str | None) -> dict[str, ScheduleBrief]:
    """Of those that exist and belong to this owner."""
    if not schedule_ids:
        return {}
    where = ScheduleFilter(ids=tuple(schedule_ids), user_id=user_id)
    return {brief.id: brief for brief in await store.briefs(where, len(schedule_ids))}
