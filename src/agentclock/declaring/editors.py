"""What editors need to know of files of schedules: their JSON Schema."""

from __future__ import annotations

from typing import Any, Final

from agentclock.declaring.model import ApplyDraft, DeclaredSchedule

#: What the file is called that documentation and examples refer to.
SCHEMA_FILE: Final = "schedules.schema.json"

_HERE: Final = "#/definitions/"


def json_schema() -> dict[str, Any]:
    """In the version of JSON Schema that editors know best (draft 7)."""
    made = DeclaredSchedule.model_json_schema(ref_template=_HERE + "{model}")
    fields = {name: _described(field) for name, field in made["properties"].items()}
    name = fields.pop("name")
    here = {field: {"$ref": f"{_HERE}Fields/properties/{field}"} for field in fields}
    manager = ApplyDraft.model_json_schema()["properties"]["manager"]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Schedules of agentclock",
        "description": "What a manager declares; `agentclock apply -f FILE` makes it so.",
        "type": "object",
        "additionalProperties": False,
        "required": ["schedules"],
        "properties": {
            "$schema": {"type": "string"},
            "manager": _untitled(manager),
            "defaults": {
                "description": "Fields of every schedule in this file that does not have its own.",
                "anyOf": [{"$ref": f"{_HERE}Fields"}, {"type": "null"}],
            },
            "schedules": {
                "description": "A list of schedules with names, or names with their fields.",
                "anyOf": [
                    {"type": "array", "items": {"$ref": f"{_HERE}Schedule"}},
                    {
                        "type": "object",
                        "propertyNames": {key: name[key] for key in ("pattern", "maxLength")},
                        "additionalProperties": {"anyOf": [{"$ref": f"{_HERE}Fields"}, {"type": "null"}]},
                    },
                ],
            },
        },
        "definitions": {
            "Schedule": {
                "description": "One schedule. What is absent has its default, but `enabled`.",
                "type": "object",
                "additionalProperties": False,
                "required": ["name"],
                "properties": {"name": name, **here},
            },
            "Fields": {"type": "object", "additionalProperties": False, "properties": fields},
            **{name: _untitled(part) for name, part in made.get("$defs", {}).items()},
        },
    }


def _untitled(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "title"}


def _described(schema: dict[str, Any]) -> dict[str, Any]:
    """With what its only meaning besides null says of itself, where editors look for it."""
    described = _untitled(schema)
    for choice in described.get("anyOf", ()):
        if "description" in choice and "description" not in described:
            described = {"description": choice["description"], **described}
    return described
