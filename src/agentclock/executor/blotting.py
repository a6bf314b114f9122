"""Takes secrets out of what others said, whichever way they wrote them down. Pure."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from agentclock.core.model import Json
from agentclock.executor.readings import Reader, Reading

ERROR_TEXT_LIMIT: Final = 2000

#: Deeper nesting than any answer needs, and less than what JSON writers choke on.
DEPTH_LIMIT: Final = 64

#: Shorter values are no secrets, and blotting them out would make every text unreadable.
SHORTEST_SECRET: Final = 4

HIDDEN: Final = "[hidden]"

#: Only what is at least this long is looked for across line breaks: shorter words meet there by chance.
_SHORTEST_FOLDED: Final = 16

#: Parts of a header such as `session=...` are secrets by themselves if they are no shorter.
_SHORTEST_PART: Final = 8

#: A character takes up no more than this, escaped several times over.
_LONGEST_ESCAPE: Final = 40

_SCHEMES: Final = frozenset({"basic", "bearer", "bot", "token", "apikey", "api-key", "key", "negotiate", "digest"})

Span = tuple[int, int]


class Blotter:
    """Makes texts and JSON of a target fit to be stored: none of `secrets` in them, nothing a database refuses.

    A secret is found as it is, with the escapes of JSON, HTML and URLs, as hexadecimal digits, and in base64 (of either
    alphabet, wherever in it). Those of less than SHORTEST_SECRET characters are not.
    """

    __slots__ = ("_beginnings", "_first", "_folded", "_forms", "_longest", "_reader", "secrets")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.secrets = frozenset(secret for secret in secrets if len(secret) >= SHORTEST_SECRET)
        plain = {form for secret in self.secrets for form in _plain_forms(secret)}
        forms = plain | {form for secret in self.secrets for form in _encoded_forms(secret)}
        self._forms = tuple(sorted(forms, key=len))
        self._folded = tuple(form for form in self._forms if len(form) >= _SHORTEST_FOLDED)
        self._longest = max(map(len, forms), default=0)
        self._beginnings: dict[str, list[tuple[str, bool]]] = {}
        for form in self._forms:
            self._beginnings.setdefault(form[0], []).append((form, form in plain))
        self._reader = Reader(character for form in forms for character in form)
        self._first = re.compile(f"[{re.escape(''.join(self._beginnings))}]") if forms else re.compile(r"(?!)")

    @classmethod
    def for_headers(cls, headers: Mapping[str, str]) -> Blotter:
        return cls(secrets_of_headers(headers))

    def hides(self, text: str) -> bool:
        """Whether there is anything in `text` that must not be stored."""
        if not self._forms:
            return False
        return any(form in reading.text for reading in self._reader.readings(text) for form in self._forms_of(reading))

    def spans(self, text: str) -> list[Span]:
        """Where secrets stand in `text`, in order; those that overlap are one."""
        if not self.hides(text):
            return []
        found = (
            span
            for reading in self._reader.readings(text)
            for form in self._forms_of(reading)
            for span in _all(form, reading)
        )
        spans: list[Span] = []
        for start, end in sorted(found):
            if spans and start < spans[-1][1]:
                spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
            else:
                spans.append((start, end))
        return spans

    def undecided_from(self, text: str) -> tuple[int, int]:
        """Where what may be the beginning of a secret begins at the end of `text`: its length, if nothing does.

        First as such texts should be withheld, then as they should be kept in mind: a few letters could be the
        beginning of anything in base64, and tell nobody anything.
        """
        offset = max(len(text) - self._longest * _LONGEST_ESCAPE, 0)
        text = text[offset:]
        withheld = begun = len(text)
        for reading in self._reader.readings(text) if self._forms else ():
            for end in reading.ends():
                if end < len(reading.text):
                    withheld = min(withheld, reading.start(end))
                for start, is_telling in self._beginnings_in(reading, end):
                    begun = min(begun, start)
                    withheld = min(withheld, start) if is_telling else withheld
        return offset + withheld, offset + min(withheld, begun)

    def text(self, text: str, *, is_cut: bool = False) -> str:
        """`is_cut`: it had more to it, so that at its end may be the larger part of a secret."""
        spans = self.spans(text)
        if is_cut and (start := self.undecided_from(text)[0]) <= len(text) - SHORTEST_SECRET:
            spans = [*(span for span in spans if span[1] <= start), (start, len(text))]
        return storable(_blotted(text, spans) if spans else text)

    def error(self, text: str) -> str:
        clean = self.text(text).strip()
        return clean if len(clean) <= ERROR_TEXT_LIMIT else clean[: ERROR_TEXT_LIMIT - 1] + "…"

    def json(self, value: Json, depth: int = 0) -> Json:  # noqa: PLR0911 - one case for each kind of value
        match value:
            case str():
                return self.text(value)
            case dict() | list() if depth >= DEPTH_LIMIT:
                return "[nested too deep]"
            case dict():
                return {self.text(str(key)): self.json(item, depth + 1) for key, item in value.items()}
            case list():
                return [self.json(item, depth + 1) for item in value]
            case float() if not math.isfinite(value):
                return str(value)
            case int() | float() if str(value) in self.secrets:
                return HIDDEN
            case _:
                return value

    def _forms_of(self, reading: Reading) -> tuple[str, ...]:
        return self._folded if reading.is_unfolded else self._forms

    def _beginnings_in(self, reading: Reading, end: int) -> Iterator[tuple[int, bool]]:
        """Where in the original the text of `reading` up to `end` begins to end like a secret begins, and whether that
        tells something of it. Of each kind the first place only."""
        text = reading.text
        for found in self._first.finditer(text, max(end - self._longest + 1, 0), end):
            tail = text[found.start() : end]
            kinds = {
                is_plain or len(tail) >= SHORTEST_SECRET
                for form, is_plain in self._beginnings[found[0]]
                if len(form) > len(tail) and form.startswith(tail)
            }
            if kinds:
                yield reading.start(found.start()), True in kinds
                if True in kinds:
                    return


def storable(text: str) -> str:
    """PostgreSQL stores no NUL, UTF-8 no lone surrogate."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def secrets_of_headers(headers: Mapping[str, str]) -> Iterator[str]:
    """The values of headers, and of "Bearer x", "a=x; b=y" and the like the parts that are secrets by themselves."""
    for value in headers.values():
        scheme, _, credentials = value.strip().partition(" ")
        is_schemed = scheme.lower() in _SCHEMES and len(credentials) >= SHORTEST_SECRET
        yield credentials if is_schemed else value
        yield value.rpartition(" ")[2]
        if is_schemed and scheme.lower() == "basic":
            yield from _secrets_of_basic(credentials)
        for pair in re.split(r"[\s;,]+", value):
            part = pair.partition("=")[2].strip('"')
            if len(part) >= _SHORTEST_PART:
                yield part


def _secrets_of_basic(credentials: str) -> Iterator[str]:
    try:
        pair = base64.b64decode(credentials, validate=True)
    except (binascii.Error, ValueError):
        return
    for encoding in ("utf-8", "latin-1"):
        try:
            text = pair.decode(encoding)
        except UnicodeDecodeError:
            continue
        yield text
        yield text.partition(":")[2]


def _plain_forms(secret: str) -> Iterator[str]:
    """The secret as it may stand in a text that has no escapes (any more)."""
    yield secret
    if " " in secret:
        yield secret.replace(" ", "+")
    if not secret.isascii():
        yield _octets(secret).decode("latin-1")
        # Some escape only what JSON makes of it.
        yield json.dumps(secret)[1:-1]


def _encoded_forms(secret: str) -> Iterator[str]:
    octets = _octets(secret)
    yield octets.hex()
    yield octets.hex().upper()
    for ahead in range(3):
        # The characters that depend on nothing but the secret, with 0 to 2 octets of something else before it.
        encoded = base64.b64encode(bytes(ahead) + octets).decode()
        core = encoded[-(-ahead * 8 // 6) : (ahead + len(octets)) * 8 // 6]
        yield core
        yield core.replace("+", "-").replace("/", "_")


def _octets(secret: str) -> bytes:
    return secret.encode("utf-8", "surrogatepass")


def _all(form: str, reading: Reading) -> Iterator[Span]:
    at = reading.text.find(form)
    while at >= 0:
        yield reading.start(at), reading.end(at + len(form))
        at = reading.text.find(form, at + 1)


def _blotted(text: str, spans: Iterable[Span]) -> str:
    pieces: list[str] = []
    read = 0
    for start, end in spans:
        pieces += (text[read:start], HIDDEN)
        read = end
    pieces.append(text[read:])
    return "".join(pieces)
