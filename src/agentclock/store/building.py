"""Frozen dataclasses out of sequences of values, fast: the stores make several for every fire.

A frozen dataclass's own constructor looks each field up by name; writing the slots directly takes half the time,
and a changed copy a third of `dataclasses.replace`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, TypeVar

T = TypeVar("T")


def builder(kind: type[T]) -> Callable[[Iterable[Any]], T]:
    """What makes a `kind`, a frozen slotted dataclass, from the values of all its fields, in order."""
    setters = [getattr(kind, name).__set__ for name in _names(kind)]
    new = object.__new__

    def build(values: Iterable[Any]) -> T:
        made = new(kind)
        for put, value in zip(setters, values, strict=True):
            put(made, value)
        return made

    return build


def table_builder(kind: type[T]) -> Callable[[Sequence[Sequence[Any]]], list[T]]:
    """What makes a list of `kind` from columns, one for each of its fields, in order: for thousands at a time, at a
    fraction of what making one after the other takes."""
    setters = [getattr(kind, name).__set__ for name in _names(kind)]
    new = object.__new__

    def build(columns: Sequence[Sequence[Any]]) -> list[T]:
        made = [new(kind) for _ in columns[0]]
        for put, column in zip(setters, columns, strict=True):
            deque(map(put, made, column), maxlen=0)
        return made

    return build


def changer(kind: type[T], *changed: str) -> Callable[..., T]:
    """What copies a `kind` with new values for the fields `changed`, in their order."""
    names = _names(kind)
    values_of, build = attrgetter(*names), builder(kind)
    places = [names.index(name) for name in changed]

    def change(original: T, *news: Any) -> T:
        values = list(values_of(original))
        for place, value in zip(places, news, strict=True):
            values[place] = value
        return build(values)

    return change


def _names(kind: type[Any]) -> list[str]:
    return [field.name for field in fields(kind)]
