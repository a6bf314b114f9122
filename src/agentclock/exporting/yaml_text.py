"""Plain data as YAML that every parser reads alike: block style, texts in JSON's quotes unless they are harmless."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

#: Texts that stand for nothing else, in YAML 1.1 and 1.2.
_HARMLESS: Final = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*(?:::?[A-Za-z0-9_./-]+)*")
_WORDS: Final = frozenset({"y", "yes", "n", "no", "true", "false", "on", "off", "null"})
#: Everything that is printed, in any script; no ends of lines but the usual one.
_PRINTED: Final = r" -~\u00a0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff"
#: What a literal block keeps as it is. It must not begin with a blank, which would be taken for indentation.
_LINES: Final = re.compile(rf"(?! )[{_PRINTED}]+\n(?:[{_PRINTED}]*\n)*[{_PRINTED}]*(?<!\n\n)")

_NOT_PRINTED: Final = re.compile(f"[^{_PRINTED}]")


def to_yaml(value: Any) -> str:
    """Of dicts with texts as keys, lists, texts, numbers, booleans and None; ends with a newline."""
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _entry(f"{_scalar(str(key))}:", item)
    elif isinstance(value, list) and value:
        for item in value:
            head, *rest = _lines(item)
            yield f"- {head}"
            yield from rest if isinstance(item, str) else (f"  {line}" if line else "" for line in rest)
    elif isinstance(value, str) and _LINES.fullmatch(value):
        yield "|" if value.endswith("\n") else "|-"
        yield from (f"  {line}" if line else "" for line in value.removesuffix("\n").split("\n"))
    else:
        yield _scalar(value)


def _entry(key: str, item: Any) -> Iterator[str]:
    lines = list(_lines(item))
    if isinstance(item, dict | list) and item:
        yield key
        yield from (f"  {line}" if line else "" for line in lines)
    else:
        yield f"{key} {lines[0]}"
        yield from lines[1:]


def _scalar(value: Any) -> str:
    match value:
        case str() if _HARMLESS.fullmatch(value) and value.lower() not in _WORDS:
            return value
        case str():
            return _NOT_PRINTED.sub(_escaped, json.dumps(value, ensure_ascii=False))
        case float():
            # Without a point it would be text to older readers.
            return re.sub(r"^(-?\d+)(?=e)", r"\1.0", json.dumps(value))
        case bool() | int() | None:
            return json.dumps(value)
        case _:
            return "{}" if isinstance(value, dict) else "[]"


def _escaped(character: re.Match[str]) -> str:
    """JSON writes what is beyond 16 bits as two halves; YAML does not."""
    number = ord(character[0])
    return f"\\u{number:04x}" if number < 1 << 16 else f"\\U{number:08x}"
