"""What a list request means in SQL terms, and the opaque cursors of its pages. Shared by both stores."""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, TypeVar

from agentclock.core.errors import CorruptRow, InvalidField
from agentclock.core.model import Instant
from agentclock.ports import Page, PageRequest, RunFilter, ScheduleFilter
from agentclock.store.rows import clean_text

Row = TypeVar("Row")

#: Events that one transaction deletes with their runs: more of them would hold up everybody else for too long.
PRUNED_EVENTS: Final = 50_000

#: OFFSET must stay within what a database calls a number.
_OFFSET_CAP: Final = 2**62

#: Of more schedules than this, runs are looked for among those of all.
_FEW_SCHEDULES: Final = 100

#: Numbers in cursors are instants. What somebody wrote into one himself must still be a number to the database.
_LARGEST_POSITION: Final = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """`conditions` for `Queries.get`: names of condition queries, or SQL made of constants. `values`: their
    parameters."""

    conditions: tuple[str, ...]
    values: dict[str, Any]

    def after(self, condition: str, **values: Any) -> Selection:
        """The same, narrowed by one more condition."""
        return Selection(conditions=(*self.conditions, condition), values=self.values | values)


def schedule_selection(where: ScheduleFilter) -> Selection:
    named = {
        "schedules_of_user": ("user_id", clean_text(where.user_id)),
        "schedules_named" if where.user_id is None else "schedules_of_user_named": ("name", clean_text(where.name)),
        "schedules_named_like": ("name_contains", clean_text(where.name_contains)),
        "schedules_tagged": ("tag", clean_text(where.tag)),
        "schedules_calling": ("target", clean_text(where.target)),
        "schedules_saying": ("text", None if where.text is None else (clean_text(where.text) or "").casefold()),
        "schedules_managed_by": ("managed_by", clean_text(where.managed_by)),
    }
    given: dict[str, tuple[str, Any]] = {name: pair for name, pair in named.items() if pair[1] is not None}
    if where.ids is not None:
        given["schedules_of_ids"] = ("ids", [clean_text(of) for of in where.ids])
    if where.names is not None:
        given["schedules_of_names"] = ("names", [clean_text(name) for name in where.names])
    constants = (*_either("s.enabled", where.enabled), *_either(_BY_ITSELF, where.disabled_by_itself))
    return Selection(conditions=(*given, *constants), values=dict(given.values()))


def is_searching(where: ScheduleFilter) -> bool:
    """Whether every schedule has to be looked at, which is not done twice: for their number and for a page of them."""
    return not {where.name_contains, where.tag, where.target, where.text} <= {None}


_BY_ITSELF: Final = "NOT s.enabled AND s.disabled_reason IS NOT NULL"


def _either(condition: str, wanted: bool | None) -> tuple[str, ...]:
    if wanted is None:
        return ()
    return (condition,) if wanted else (f"NOT ({condition})",)


def run_selection(where: RunFilter) -> Selection:
    named = {
        "runs_of_schedule": ("schedule_id", clean_text(where.schedule_id)),
        "runs_of_user": ("user_id", clean_text(where.user_id)),
        "runs_since": ("since", where.since),
        "runs_until": ("until", where.until),
    }
    given: dict[str, tuple[str, Any]] = {name: pair for name, pair in named.items() if pair[1] is not None}
    if where.schedule_ids is not None:
        name = "runs_of_few_schedules" if is_of_few(where) else "runs_of_schedules"
        given[name] = ("schedule_ids", [clean_text(of) for of in where.schedule_ids])
    constants = [*one_of("r.status", where.statuses), *one_of("r.cause", where.causes)]
    return Selection(conditions=(*given, *constants), values=dict(given.values()))


def is_of_few(where: RunFilter) -> bool:
    """Whether it is worth the while to look at each of its schedules."""
    return where.schedule_ids is not None and len(where.schedule_ids) <= _FEW_SCHEDULES


def each_by_itself(chosen: Selection) -> Selection:
    """`chosen` for a query that goes through a few schedules itself."""
    rest = tuple(condition for condition in chosen.conditions if condition != "runs_of_few_schedules")
    return replace(chosen, conditions=rest)


def one_of(column: str, words: Sequence[StrEnum]) -> list[str]:
    """Literals, not parameters: only they let a planner choose a partial index."""
    literals = [f"'{word.value}'" for word in dict.fromkeys(words)]
    match literals:
        case []:
            return []
        case [only]:
            return [f"{column} = {only}"]
        case _:
            return [f"{column} IN ({', '.join(literals)})"]


def offset(page: PageRequest) -> int:
    return min(max(0, page.page - 1) * page.limit, _OFFSET_CAP) if page.cursor is None else 0


def encode_cursor(*position: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *types: type) -> list[Any]:
    """The position that `encode_cursor` was given. Raises InvalidField for any other text."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        position = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise InvalidField("cursor", "is not a cursor of this list; take next_cursor from a page") from error
    shapes = [type(item) for item in position] if isinstance(position, list) else []
    if shapes != list(types) or any(type(item) is int and abs(item) > _LARGEST_POSITION for item in position):
        raise InvalidField("cursor", "is not a cursor of this list; take next_cursor from a page")
    return list(position)


def page_of(
    rows: Sequence[Sequence[Any]],
    *,
    total_count: int,
    limit: int,
    decode: Callable[[Sequence[Any]], Row],
    position: Callable[[Sequence[Any]], tuple[Any, ...]],
) -> Page[Row]:
    """A page out of `limit` + 1 rows asked for: the last one only says that there are more."""
    shown = rows[:limit]
    items, faults = decoded(shown, decode)
    more = len(rows) > limit and bool(shown)
    return Page(
        items=items,
        total_count=total_count,
        next_cursor=encode_cursor(*position(shown[-1])) if more else None,
        faults=faults,
    )


def decoded(
    rows: Iterable[Sequence[Any]], decode: Callable[[Sequence[Any]], Row]
) -> tuple[tuple[Row, ...], tuple[CorruptRow, ...]]:
    """The readable rows and what is wrong with the others."""
    items: list[Row] = []
    faults: list[CorruptRow] = []
    for row in rows:
        try:
            items.append(decode(row))
        except CorruptRow as fault:
            faults.append(fault)
    return tuple(items), tuple(faults)


def first_run_id(at: Instant) -> str:
    """The lowest id that a run with fire time `at` can have: ids sort by time, so it bounds ranges of history."""
    return str(uuid.UUID(int=min(max(0, at), 0xFFFF_FFFF_FFFF) << 80))


def last_run_id(until: Instant, late_id: str | None) -> str:
    """No run with a fire time before `until` has a higher id, given the highest one of those that came late: a trigger
    may name an occurrence long past, and the id of its run tells when it came."""
    return max(first_run_id(until), late_id or "")


#: Fire times that no run has: the bounds of a range without any.
_FIRST_MS, _LAST_MS = 0, 2**48 - 1


def usage_bounds(
    schedule_id: str, since: Instant | None, until: Instant | None, slack_ms: int, late_id: str | None
) -> dict[str, Any]:
    """The parameters of the query `usage`; fire times may be `slack_ms` from the time in the run's id, but for runs
    that came late (see `last_run_id`)."""
    since, until = _FIRST_MS if since is None else since, _LAST_MS if until is None else until
    return {
        "schedule_id": clean_text(schedule_id),
        "since": since,
        "until": until,
        "first_id": first_run_id(since - slack_ms),
        "last_id": last_run_id(until + slack_ms, late_id),
    }
