"""Everything that is wrong with a declared schedule, at once, as far as it says so by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from agentclock.core.errors import Forbidden, InvalidField, InvalidFields
from agentclock.core.model import Schedule, Target
from agentclock.core.zones import Zone
from agentclock.declaring.model import ApplyDraft, DeclaredSchedule
from agentclock.drafts import PreviewDraft, fault_message, wire_names
from agentclock.timing import load_zone, parse_cron, parse_instant, retimed

#: Of one schedule; whoever has more should begin with these.
MOST_FAULTS: Final = 20
#: Of all of them.
MOST_TOLD: Final = 200
_MOST_FORBIDDEN: Final = 10
#: No schedule that is understood has so many.
MOST_FIELDS: Final = 100

#: So many schedules are looked at before whoever else waits for the event loop has a turn.
_PIECE: Final = 50

Item = TypeVar("Item")

_TIMES: Final = ("run_at", "start_at", "end_at")


def read_declared(given: Any) -> tuple[DeclaredSchedule | None, list[InvalidField]]:
    """The schedule, and what keeps it from being one."""
    if not isinstance(given, dict):
        return None, [InvalidField("", "must be a schedule: an object with at least name and endpoint")]
    if len(given) > MOST_FIELDS:
        return None, [InvalidField("", f"has {len(given):,} fields: see the documentation")]
    try:
        schedule = DeclaredSchedule.model_validate(given)
    except ValidationError as error:
        faults = [_fault(fault) for fault in error.errors(include_url=False)[:MOST_FAULTS]]
        return None, faults + _timing_faults(_timing_of(given, faults))
    return schedule, _timing_faults(schedule)


def _timing_of(given: dict[str, Any], faults: list[InvalidField]) -> PreviewDraft:
    """Of a schedule that is wrong elsewhere. What is wrong itself is left out."""
    wrong = {fault.field for fault in faults}
    names = PreviewDraft.model_fields.keys() - {"count"} - wrong
    return PreviewDraft.model_validate({name: given[name] for name in names if name in given})


def _fault(fault: ErrorDetails) -> InvalidField:
    path = ".".join(map(str, fault["loc"]))
    context = {name: value for name, value in fault.get("ctx", {}).items() if name != "error"}
    return InvalidField(path, _message(fault), **context)


def _message(fault: ErrorDetails) -> str:
    kind, value = fault["type"], fault["input"]
    if kind == "missing":
        return "is missing"
    if kind != "extra_forbidden" and value is None:
        return "is empty: give a value, or leave the line out for the default"
    if kind == "string_type" and isinstance(value, int | float):
        return "must be text: write it in quotes"
    field = str(fault["loc"][-1]) if fault["loc"] else ""
    return fault_message(kind, field, fault["msg"], wire_names(DeclaredSchedule))


def _timing_faults(draft: DeclaredSchedule | PreviewDraft) -> list[InvalidField]:
    """What is wrong with when it fires, whatever the time is now."""
    faults: list[InvalidField] = []

    def check(step: Callable[[], Any]) -> Any:
        try:
            return step()
        except InvalidField as error:
            faults.append(error)
            return None

    zone = check(lambda: load_zone(draft.timezone)) or Zone.load("UTC")
    check(lambda: parse_cron(draft.cron_expr or ""))
    for field in _TIMES:
        if (text := getattr(draft, field)) is not None:
            check(partial(parse_instant, field, text, zone))
    if not faults:
        # Seen from the beginning of time nothing is over: what is left are fields that do not go together.
        blank = Schedule(id="declared", name="declared", target=Target(endpoint="/"))
        check(lambda: retimed(blank, draft.values(), 0))
    return faults


async def read_all(draft: ApplyDraft) -> tuple[DeclaredSchedule, ...]:
    """Raises InvalidFields."""
    declared: list[DeclaredSchedule] = []
    faults, places = Faults(), dict[str, int]()
    async for place, given in in_pieces(draft.schedules):
        schedule, wrong = read_declared(given)
        faults.extend(place, wrong)
        if schedule is None:
            continue
        first = places.setdefault(schedule.name, place)
        if first != place:
            faults.extend(place, [InvalidField("name", f"{schedule.name!r} is declared before: schedules[{first}]")])
        declared.append(schedule)
    faults.raise_any()
    return tuple(declared)


async def in_pieces(items: Iterable[Item]) -> AsyncIterator[tuple[int, Item]]:
    """The items with their places; now and then whoever else waits for the event loop has a turn."""
    for place, item in enumerate(items):
        if place % _PIECE == _PIECE - 1:
            await asyncio.sleep(0)
        yield place, item


class Faults:
    """What is wrong with which of the declared schedules."""

    def __init__(self) -> None:
        self._invalid: list[InvalidField] = []
        self._forbidden: list[str] = []

    def extend(self, place: int, faults: Iterable[InvalidField]) -> None:
        for fault in faults:
            path = f"schedules.{place}.{fault.field}".rstrip(".")
            self._invalid.append(InvalidField(path, fault.message, **fault.context))
        if len(self._invalid) >= MOST_TOLD:
            self.raise_any()

    def forbid(self, place: int, name: str, error: Forbidden) -> None:
        self._forbidden.append(f"schedules[{place}] ({name}): {error}")

    def raise_any(self) -> None:
        """Raises InvalidFields, Forbidden."""
        if self._invalid:
            raise InvalidFields(self._invalid[:MOST_TOLD])
        if self._forbidden:
            raise Forbidden("\n".join(self._forbidden[:_MOST_FORBIDDEN]))
