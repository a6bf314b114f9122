"""YAML with places, as versions 1.1 and 1.2 both read it. Where they differ (`on`, `0123`, `12:30`), it is refused:
whoever wrote it should say what is meant. No tags, no merge keys; aliases within limits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from agentclock.core.model import Json
from agentclock.declaring.tree import Builder, Fault, Leaf, Place, Unreadable

#: The one in C is many times as fast, but not there everywhere.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_WORDS: Final = {"null": None, "~": None, "": None, "true": True, "false": False}
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,400})|0x[0-9a-fA-F]{1,16}")
_NUMBER: Final = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,4})?")
_SWITCH: Final = re.compile(r"yes|no|on|off", re.IGNORECASE)
_NO_NUMBER: Final = re.compile(r"[-+]?\.(?:inf|nan)", re.IGNORECASE)
#: Numbers to some readers only: octal, binary, with underscores, sexagesimal.
_DOUBTFUL: Final = re.compile(r"[-+]?(?:0o[0-7]+|0b[01_]+|0x[0-9a-fA-F_]*|[0-9][0-9_]*(?::[0-5]?[0-9])*(?:\.[0-9_]*)?)")
#: What no plain value may begin with, and cron expressions do.
_NEED_QUOTES: Final = "*@%`&!|>"


def read_yaml(text: str, file: str, builder: Builder) -> None:
    """Raises Unreadable."""
    for event in _events(text, file):
        place = Place(file, event.start_mark.line + 1, event.start_mark.column + 1)
        match event:
            case yaml.ScalarEvent():
                _refuse_tag(event, place, builder)
                builder.leaf(_leaf(event, place, builder), anchor=event.anchor)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                _refuse_tag(event, place, builder)
                is_table = isinstance(event, yaml.MappingStartEvent)
                builder.open(place, is_table=is_table, anchor=event.anchor)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                builder.close()
            case yaml.AliasEvent():
                builder.alias(event.anchor, place)
            case yaml.DocumentEndEvent():
                builder.end_document()


def _events(text: str, file: str) -> Iterator[Any]:
    try:
        yield from yaml.parse(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        # A text without its end is best mended where it begins.
        is_scanning = (error.context or "").startswith("while scanning")
        mark = (error.context_mark if is_scanning else None) or error.problem_mark
        place = Place(file) if mark is None else Place(file, mark.line + 1, mark.column + 1)
        message = " ".join(filter(None, (error.problem, error.context)))
        raise Unreadable(Fault(place=place, message=f"is no YAML: {message}{_hint(text, error)}")) from None
    except yaml.reader.ReaderError as error:
        place = _place_at(text, error.position, file)
        raise Unreadable(Fault(place=place, message="contains a character that YAML does not allow")) from None
    except yaml.YAMLError as error:
        raise Unreadable(Fault(place=Place(file), message=f"is no YAML: {error}")) from None


def _place_at(text: str, position: int, file: str) -> Place:
    before = text[:position]
    return Place(file, before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1)


def _hint(text: str, error: Any) -> str:
    """What most often is the matter."""
    lines = text.split("\n")
    for mark in (error.context_mark, error.problem_mark):
        if mark is None or mark.line >= len(lines):
            continue
        line = lines[mark.line]
        if "\t" in line[: len(line) - len(line.lstrip())]:
            return ". Indent with blanks, not with tabs"
        if (found := line[mark.column : mark.column + 1]) and found in _NEED_QUOTES:
            return f". A value that begins with {found} belongs in quotes"
    return ". A value with ': ' in it belongs in quotes" if "mapping values" in (error.problem or "") else ""


def _refuse_tag(event: Any, place: Place, builder: Builder) -> None:
    if event.tag is not None:
        builder.fault(place, f"tags are not read: take {event.tag.replace('tag:yaml.org,2002:', '!!')} away")


def _leaf(event: Any, place: Place, builder: Builder) -> Leaf:
    """A text with its quotes is as it is written if nothing in it is escaped and it stands in one line."""
    text, length = event.value, event.end_mark.index - event.start_mark.index
    if event.style:
        return Leaf(text, place, 1 if event.style in "'\"" and length == len(text) + 2 else None)
    if fault := _doubt(text):
        builder.fault(place, fault)
    return Leaf(_value(text), place, 0 if length == len(text) else None)


def _doubt(text: str) -> str | None:
    if _SWITCH.fullmatch(text):
        meant = "true" if text.lower() in ("yes", "on") else "false"
        return f"'{text}' is {meant} to some readers of YAML and text to others: write {meant}, or '{text}' in quotes"
    if _NO_NUMBER.fullmatch(text):
        return f"JSON has no number {text}: write it in quotes if it is text"
    is_number = _INTEGER.fullmatch(text) or _NUMBER.fullmatch(text)
    if not is_number and _DOUBTFUL.fullmatch(text):
        return f"'{text}' is not the same number to all readers of YAML: write it in quotes if it is text"
    return None


def _value(text: str) -> Json:
    if text.lower() in _WORDS and text in (text.lower(), text.upper(), text.capitalize()):
        return _WORDS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text, 16 if text.startswith("0x") else 10)
    return float(text) if _NUMBER.fullmatch(text) else text
