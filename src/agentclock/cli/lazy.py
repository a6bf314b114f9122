"""Commands that are imported when they are used: whoever asks for help, or completes a word, does not wait for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command


@dataclass(frozen=True, slots=True)
class Entry:
    """`place`: `module:name` of a function or of a group of commands. `help`: the first sentence of its own help.
    `example` stands below the help of a function."""

    name: str
    place: str
    help: str
    example: str | None = None
    panel: str | None = None


class Deferred(TyperCommand):
    """Stands for a command in lists."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry.name, help=entry.help, rich_help_panel=entry.panel)
        self._entry: Final = entry

    @cached_property
    def real(self) -> Any:
        """The command itself: a group has `commands`."""
        entry = self._entry
        module, _, name = entry.place.partition(":")
        found = getattr(import_module(module), name)
        holder = typer.Typer(add_completion=False)
        if isinstance(found, typer.Typer):
            holder.add_typer(found, name=entry.name)
            group: Any = get_command(holder)
            return group.commands[entry.name]
        holder.command(entry.name, epilog=entry.example)(found)
        return get_command(holder)


class LazyGroup(TyperGroup):
    """A group whose commands may be `Deferred`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.real if isinstance(command, Deferred) else command, rest


def lazy_group(entries: Sequence[Entry]) -> type[LazyGroup]:
    """The class of a group that has these commands."""

    class Group(LazyGroup):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            for entry in entries:
                self.add_command(Deferred(entry))

    return Group
