"""Texts as others may have written them down: with escapes of JSON, HTML and URLs, or broken into lines. Pure.

A reading knows where each of its characters stands in the original, so that what is found in it can be taken out there.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import entities
from typing import Any, Final

_SHORT_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}

#: What escapes are made of: escapes may have been escaped themselves.
_ESCAPING: Final = "\\%&#;"

#: The names that HTML has for characters, by character.
_ENTITIES: Final[Mapping[str, Collection[str]]] = {
    text: [name[:-1] for name, meaning in entities.html5.items() if meaning == text and name.endswith(";")]
    for text in sorted({text for text in entities.html5.values() if text.isascii() and len(text) == 1})
}

_SURROGATES: Final = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_OCTET: Final = "%[89abAB][0-9a-fA-F]"
_OCTETS: Final = (
    f"%[c-dC-D][0-9a-fA-F]{_OCTET}|%[eE][0-9a-fA-F](?:{_OCTET}){{2}}|%[fF][0-7](?:{_OCTET}){{3}}|%[89a-fA-F][0-9a-fA-F]"
)

#: Line breaks with the blanks after them, as they are and with the escapes of JSON.
_FOLDS: Final = (
    re.compile(r"\r\n[\r\n \t]*"),
    re.compile(r"\n[\r\n \t]*"),
    re.compile(r"\\\\{0,7}[rn](?:\\{1,8}[rn]|[ \t])*"),
)
_MARKS: Final = re.compile(r"[\\&%\n]")

#: The beginning of an escape at the end of a text; what follows decides what it is.
_OPEN: Final = re.compile(
    r"(?:\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u[0-9a-fA-F]{0,3})?)?|\\(?:u[0-9a-fA-F]{0,3}|x[0-9a-fA-F]?)?"
    r"|&(?:#[0-9]{0,7}|#[xX][0-9a-fA-F]{0,6}|[A-Za-z]{0,8})"
    rf"|%[c-fC-F][0-9a-fA-F](?:{_OCTET}){{0,2}}(?:%[89abAB]?)?|%[0-9a-fA-F]?)\Z"
)
#: No open escape is longer.
_LONGEST_OPEN: Final = 12
_OPEN_LAYERS: Final = 3

#: What stands for an escape: always the same, or what a function makes of it.
Decode = str | Callable[[re.Match[str]], str]

#: What is tried after what: JSON within JSON within JSON, JSON within the query of a URL, and so on.
_JSON, _HTML, _URL = "json", "html", "url"
_ORDERS: Final[Mapping[str, Any]] = {
    _JSON: {_JSON: {_JSON: {}, _URL: {}}, _HTML: {}, _URL: {_URL: {}, _JSON: {}}},
    _HTML: {_HTML: {}, _JSON: {}, _URL: {}},
    _URL: {_URL: {_JSON: {}}, _JSON: {_JSON: {}}, _HTML: {}},
}


class Reader:
    """Reads texts for words made of the characters of `alphabet`: escapes of others are left alone."""

    def __init__(self, alphabet: Iterable[str]) -> None:
        characters = {*alphabet, *_ESCAPING}
        self._layers: dict[str, tuple[re.Pattern[str], Decode]] = {
            _JSON: (_json_pattern(characters), _from_json),
            _HTML: (_html_pattern(characters), _from_html),
            _URL: (_url_pattern(characters), _from_url),
        }

    def readings(self, text: str) -> Iterator[Reading]:
        """The text as it is, and without its escapes and its line breaks."""
        reading = Reading(text)
        yield reading
        if _MARKS.search(text):
            yield from self._inner(reading, _ORDERS)

    def _inner(self, reading: Reading, orders: Mapping[str, Any]) -> Iterator[Reading]:
        for fold in _FOLDS:
            if (unfolded := reading.read(fold, "", is_unfolded=True)) is not None:
                yield unfolded
        for layer, others in orders.items():
            inner = reading.read(*self._layers[layer])
            if inner is not None:
                yield inner
                yield from self._inner(inner, others)


class Reading:
    """`is_unfolded`: line breaks were taken out, so that its words may be others than the text's."""

    __slots__ = ("_how", "_parts", "_source", "is_unfolded", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.is_unfolded = False
        self._source: Reading | None = None
        self._how: tuple[re.Pattern[str], Decode] | None = None
        self._parts: _Parts | None = None

    def read(self, pattern: re.Pattern[str], decode: Decode, *, is_unfolded: bool = False) -> Reading | None:
        """This reading with every `pattern` decoded, None if there is none."""
        text, count = pattern.subn(decode, self.text)
        if not count:
            return None
        made = Reading(text)
        made.is_unfolded, made._source, made._how = is_unfolded, self, (pattern, decode)
        return made

    def start(self, position: int) -> int:
        """Where the character at `position` begins in the original."""
        if self._source is None:
            return position
        return self._source.start(self._mapped().start(position))

    def end(self, position: int) -> int:
        """Where the character before `position` ends in the original."""
        if self._source is None:
            return position
        return self._source.end(self._mapped().end(position))

    def ends(self) -> Iterator[int]:
        """Where the text ends, then where it does without an escape that its end cuts off, and without the one before
        that: what is cut off may have been the rest of it."""
        end = len(self.text)
        yield end
        for _ in range(_OPEN_LAYERS):
            found = _OPEN.search(self.text, max(end - _LONGEST_OPEN, 0), end)
            if found is None:
                return
            end = found.start()
            yield end

    def _mapped(self) -> _Parts:
        if self._parts is None:
            self._parts = parts = _Parts()
            if self._source is not None and self._how is not None:
                pattern, decode = self._how
                shift = 0
                for found in pattern.finditer(self._source.text):
                    start, end = found.span()
                    length = len(decode if isinstance(decode, str) else decode(found))
                    parts.add(start + shift, length, start, end - start)
                    shift += length - (end - start)
        return self._parts


@dataclass(slots=True)
class _Parts:
    """The places where a reading differs from what it was read from, in order."""

    starts: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    source_starts: list[int] = field(default_factory=list)
    source_lengths: list[int] = field(default_factory=list)

    def add(self, start: int, length: int, source_start: int, source_length: int) -> None:
        self.starts.append(start)
        self.lengths.append(length)
        self.source_starts.append(source_start)
        self.source_lengths.append(source_length)

    def start(self, position: int) -> int:
        part = bisect_right(self.starts, position) - 1
        if part < 0:
            return position
        beyond = position - self.starts[part] - self.lengths[part]
        source = self.source_starts[part]
        return source if beyond < 0 else source + self.source_lengths[part] + beyond

    def end(self, position: int) -> int:
        part = bisect_left(self.starts, position) - 1
        if part < 0:
            return position
        beyond = max(position - self.starts[part] - self.lengths[part], 0)
        return self.source_starts[part] + self.source_lengths[part] + beyond


def _json_pattern(characters: Collection[str]) -> re.Pattern[str]:
    short = [letter for letter, meaning in _SHORT_ESCAPES.items() if meaning in characters]
    signs = [sign for sign in characters if sign.isascii() and sign.isprintable() and not sign.isalnum()]
    units = f"(?:u00|x)(?:{_hex_digits(characters)})|[{re.escape(''.join(sorted({*short, *signs})))}]"
    if all(map(str.isascii, characters)):
        return re.compile(rf"\\(?:{units})")
    return re.compile(rf"{_SURROGATES}|\\(?:u[0-9a-fA-F]{{4}}|x[89a-fA-F][0-9a-fA-F]|{units})")


def _html_pattern(characters: Collection[str]) -> re.Pattern[str]:
    names = {name for character in characters for name in _ENTITIES.get(character, ())}
    return re.compile(rf"&(?:#[0-9]{{1,7}}|#[xX][0-9a-fA-F]{{1,6}}|(?:{'|'.join(sorted(names))}));")


def _url_pattern(characters: Collection[str]) -> re.Pattern[str]:
    ours = f"%(?:{_hex_digits(characters)})"
    return re.compile(ours if all(map(str.isascii, characters)) else f"{_OCTETS}|{ours}")


def _hex_digits(characters: Collection[str]) -> str:
    """A pattern of the two hexadecimal digits of each of the ASCII characters."""
    seconds: dict[str, set[str]] = defaultdict(set)
    for character in characters:
        if character.isascii():
            digits = f"{ord(character):02x}"
            seconds[digits[0]] |= {digits[1], digits[1].upper()}
    return "|".join(f"{first}[{''.join(sorted(second))}]" for first, second in sorted(seconds.items()))


def _from_json(found: re.Match[str]) -> str:
    escape = found[0]
    kind = escape[1]
    if kind == "u" and len(escape) > 2:
        return bytes.fromhex(escape.replace("\\u", "")).decode("utf-16-be", "replace")
    if kind == "x" and len(escape) > 2:
        return chr(int(escape[2:], 16))
    return _SHORT_ESCAPES.get(kind, kind)


def _from_html(found: re.Match[str]) -> str:
    return html.unescape(found[0])


def _from_url(found: re.Match[str]) -> str:
    octets = bytes.fromhex(found[0].replace("%", ""))
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")
