"""Stored schedules as a file that declares them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from agentclock.core.model import Json
from agentclock.core.storable import same_json
from agentclock.declaring.editors import SCHEMA_FILE
from agentclock.declaring.model import DEFAULTS, DeclaredSchedule
from agentclock.exporting import to_yaml

#: Fields in the order of the documentation; whether it is enabled is worth a look, and comes first.
_ORDER: Final = tuple(dict.fromkeys(("name", "enabled", *DeclaredSchedule.model_fields)))

HEADER: Final = f"# yaml-language-server: $schema={SCHEMA_FILE}\n"


def declared_fields(row: Mapping[str, Any]) -> dict[str, Json]:
    """What a file has to say of a schedule, as the API shows it: what is not the default. That people may fire it is
    left to them, that it is disabled is said."""
    return {
        name: row[name]
        for name in _ORDER
        if name in row and (name not in DEFAULTS or not same_json(row[name], DEFAULTS[name]))
    }


def document(manager: str | None, rows: Iterable[Mapping[str, Any]]) -> dict[str, Json]:
    """In the order of names."""
    schedules = [declared_fields(row) for row in sorted(rows, key=lambda row: str(row["name"]))]
    return ({} if manager is None else {"manager": manager}) | {"schedules": schedules}


def yaml_of(documents: Sequence[Mapping[str, Json]]) -> str:
    """With a line that tells editors where the schema is, and a line between two schedules."""
    return HEADER + "---\n".join(map(_text, documents))


def _text(content: Mapping[str, Json]) -> str:
    head = "".join(to_yaml({name: value}) for name, value in content.items() if name != "schedules")
    items = ["".join(_indented(to_yaml([item]))) for item in content["schedules"]]
    return head + ("schedules:\n" + "\n".join(items) if items else "schedules: []\n")


def _indented(text: str) -> Iterable[str]:
    return (f"  {line}" if line != "\n" else line for line in text.splitlines(keepends=True))
