"""What text and JSON can be stored and sent again, whatever the database."""

from __future__ import annotations

import json
import re
from typing import Final

from agentclock.core.model import Json

PAYLOAD_BYTES: Final = 1_048_576
PAYLOAD_DEPTH: Final = 64

_ENCODED_NUL: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def text_fault(text: str) -> str | None:
    """Why `text` cannot be stored, or None: it must be encodable and free of NUL characters."""
    if "\0" in text:
        return "must not contain NUL characters"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"is not valid Unicode: lone surrogate at character {error.start + 1}"
    return None


def payload_fault(payload: object) -> str | None:
    """Why `payload` cannot be stored and sent, or None."""
    try:
        text = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
    except UnicodeEncodeError:
        return "contains text that is not valid Unicode: a lone surrogate"
    except RecursionError:
        return _TOO_DEEP
    except (TypeError, ValueError) as error:
        return f"is not valid JSON: {error}"
    if size > PAYLOAD_BYTES:
        return f"is {size:,} bytes as JSON: at most {PAYLOAD_BYTES:,} are allowed"
    if _ENCODED_NUL.search(text):
        return "must not contain NUL characters"
    return _TOO_DEEP if is_deeper(payload, PAYLOAD_DEPTH) else None


_TOO_DEEP: Final = f"is nested too deep: at most {PAYLOAD_DEPTH} levels are allowed"


def is_deeper(value: Json, levels: int) -> bool:
    """Whether containers are nested more than `levels` deep in `value`."""
    containers = [value] if isinstance(value, dict | list | tuple) else []
    for _ in range(levels):
        containers = [
            child
            for container in containers
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, dict | list | tuple)
        ]
    return bool(containers)


def same_json(one: Json, other: Json) -> bool:
    """Whether two values are the same as JSON, where true is not 1 and 1 is not 1.0, whatever Python thinks."""
    if one != other:
        return False
    if not isinstance(one, dict | list):
        return type(one) is type(other) or isinstance(one, str)
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
