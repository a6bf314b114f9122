"""JSON with places: the standard parser's word on what it says, and our own on where."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from typing import Final, NoReturn

from agentclock.declaring.tree import Builder, Fault, Leaf, Place, Unreadable

#: Tokens of a text that is known to be JSON.
_TOKENS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]|[^\s{}\[\],:"]+')


def is_json(text: str) -> bool:
    """Whether it seems to be meant as JSON, and is."""
    if not text.lstrip().startswith("{"):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def read_json(text: str, file: str, builder: Builder) -> None:
    """Raises Unreadable."""
    _check(text, file)
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    for match in _TOKENS.finditer(text):
        token, line = match[0], bisect_right(starts, match.start())
        place = Place(file, line, match.start() - starts[line - 1] + 1)
        match token[0]:
            case "{" | "[":
                builder.open(place, is_table=token == "{")
            case "}" | "]":
                builder.close()
            case '"':
                builder.leaf(Leaf(json.loads(token), place, None if "\\" in token else 1))
            case _:
                builder.leaf(Leaf(_value(token, place, builder), place))
    builder.end_document()


def _check(text: str, file: str) -> None:
    def refuse(place: Place, message: str) -> NoReturn:
        raise Unreadable(Fault(place=place, message=message)) from None

    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        refuse(Place(file, error.lineno, error.colno), f"is no JSON: {error.msg}")
    except RecursionError:
        refuse(Place(file), "is nested too deep")
    except ValueError:
        refuse(Place(file), "contains a number with too many digits")


def _value(token: str, place: Place, builder: Builder) -> object:
    def refuse(name: str) -> None:
        builder.fault(place, f"{name} is no JSON: leave it out, or write null")

    return json.loads(token, parse_constant=refuse)
