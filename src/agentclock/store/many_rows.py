"""Between stored rows and the model where there are thousands of them, for both databases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from agentclock.core.errors import CorruptRow
from agentclock.ports import Failure, RunMark, ScheduleBrief
from agentclock.store.building import table_builder
from agentclock.store.columns import CONVERSIONS, TABLES
from agentclock.store.rows import decode_values

T = TypeVar("T")

_make_briefs: Final = table_builder(ScheduleBrief)
_make_marks: Final = table_builder(RunMark)
_make_failures: Final = table_builder(Failure)


def decode_briefs(rows: Sequence[Sequence[Any]]) -> tuple[list[ScheduleBrief], list[CorruptRow]]:
    """The readable rows, and what is wrong with the others; likewise these."""
    return _decode_table("briefs", rows, _make_briefs)


def decode_marks(rows: Sequence[Sequence[Any]]) -> tuple[list[RunMark], list[CorruptRow]]:
    return _decode_table("marks", rows, _make_marks)


def decode_failures(rows: Sequence[Sequence[Any]]) -> tuple[list[Failure], list[CorruptRow]]:
    return _decode_table("failures", rows, _make_failures)


def _decode_table(
    table: str, rows: Sequence[Sequence[Any]], make: Callable[[Sequence[Sequence[Any]]], list[T]]
) -> tuple[list[T], list[CorruptRow]]:
    """All at once, column by column; row by row only where something is wrong."""
    if not rows:
        return [], []
    columns = list(zip(*rows, strict=True))
    checked = zip(TABLES[table].values(), columns, strict=True)
    try:
        if all(column.types.issuperset(map(type, found)) for column, found in checked):
            for place, convert in CONVERSIONS[table]:
                columns[place] = tuple(None if value is None else convert(value) for value in columns[place])
            return make(columns), []
    except (ValueError, RecursionError):
        pass  # found again below, with its row
    good: list[list[Any]] = []
    faults: list[CorruptRow] = []
    for row in rows:
        try:
            good.append(decode_values(table, row[0], row))
        except CorruptRow as fault:
            faults.append(fault)
    return (make(list(zip(*good, strict=True))) if good else []), faults
