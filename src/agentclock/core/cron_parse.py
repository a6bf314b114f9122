"""Read cron expressions: the dialect of Debian cron with a few well-known extensions.

Five fields, ``minute hour day-of-month month day-of-week``, separated by blanks or tabs. A field is a list
(``,``) of ``*``, values and ranges, each with an optional ``/step``; months and weekdays have three-letter
names; 0 and 7 are both Sunday. Extensions: ``?`` (the same as ``*``), ``L``, ``LW`` and ``15W`` in
day-of-month, ``fri#2`` and ``friL`` in day-of-week, and ``n/step`` for "from n to the field's end".
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

MAX_LENGTH = 128

MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


class CronError(ValueError):
    """A cron expression that cannot be used.

    `field` is ``minute``, ``hour``, ``day-of-month``, ``month``, ``day-of-week`` or ``expression``;
    `reason` says what is wrong; `position` is the index of the offending character, counted from 0.
    """

    def __init__(self, field: str, reason: str, position: int) -> None:
        super().__init__(f"{field}: {reason} (at character {position + 1})")
        self.field = field
        self.reason = reason
        self.position = position


@dataclass(frozen=True, slots=True, eq=False)
class Spec:
    """What one of the five fields may hold."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    @property
    def is_days(self) -> bool:
        return self.name.startswith("day")


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

MINUTE = Spec("minute", 0, 59)
HOUR = Spec("hour", 0, 23)
DAY = Spec("day-of-month", 1, 31)
MONTH = Spec("month", 1, 12, _MONTHS)
WEEKDAY = Spec("day-of-week", 0, 7, _WEEKDAYS)
SPECS = (MINUTE, HOUR, DAY, MONTH, WEEKDAY)


class Item(NamedTuple):
    """One range of a list; `step` is 0 where none was written, `high` may be the field's end."""

    low: int
    high: int
    step: int
    star: bool


class Special(NamedTuple):
    """An extension: ``L``, ``LW``, ``W`` (day n), ``#`` (n-th weekday of the month), ``dL`` (last weekday)."""

    sign: str
    day: int = 0
    nth: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A field that was read, once for all expressions that share its text.

    Bit v of `bits` is set when value v matches (Sunday is bit 0). `text` has lower-case names,
    upper-case ``L`` and ``W`` and no leading zeros. `star` says that the text starts with ``*`` (or
    ``?``), which has a meaning of its own in cron.
    """

    text: str
    bits: int
    star: bool
    items: tuple[Item, ...]
    specials: tuple[Special, ...]


class _Wrong(Exception):
    """What is wrong in a field, with the position inside the field."""

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.position = position


def read_fields(text: str) -> tuple[Field, ...]:
    """The five fields of an expression or macro. Raises CronError."""
    _check_characters(text)
    words = text.split()
    if words and words[0].startswith("@"):
        words = _macro(text, words).split()
    elif len(words) != 5:
        raise _wrong_count(text, words)
    fields: list[Field] = []
    for spec, word in zip(SPECS, words, strict=True):
        try:
            fields.append(_read_field(spec, word))
        except _Wrong as wrong:
            position = word_position(text, len(fields)) + wrong.position
            raise CronError(spec.name, wrong.reason, position) from None
    return tuple(fields)


def word_position(text: str, index: int) -> int:
    """Where the blank-separated word of that index starts; the text's end if there is none."""
    starts = [match.start() for match in re.finditer(r"[^ \t]+", text)]
    return starts[index] if index < len(starts) else len(text)


def _check_characters(text: str) -> None:
    if len(text) > MAX_LENGTH:
        raise CronError("expression", f"longer than {MAX_LENGTH} characters", MAX_LENGTH)
    if text.isascii() and text.replace("\t", " ").isprintable():
        return
    position, char = next((i, c) for i, c in enumerate(text) if not (" " <= c <= "~" or c == "\t"))
    shown = repr(char) if char.isprintable() and not char.isspace() else f"U+{ord(char):04X}"
    raise CronError("expression", f"{shown} is not allowed: use plain ASCII and blanks", position)


def _macro(text: str, words: list[str]) -> str:
    name, position = words[0].lower(), word_position(text, 0)
    if len(words) > 1:
        raise CronError("expression", f"nothing may follow {name}", word_position(text, 1))
    if name == "@reboot":
        raise CronError("expression", "@reboot names no time: there is no boot to wait for", position)
    if name not in MACROS:
        raise CronError("expression", f"unknown {name}; known are {', '.join(MACROS)}", position)
    return MACROS[name]


def _wrong_count(text: str, words: list[str]) -> CronError:
    if not words:
        return CronError("expression", "only blanks; an empty expression means on demand", 0)
    if len(words) > 5:
        reason = f"{len(words)} fields instead of 5: one-minute resolution, no seconds or years"
        return CronError("expression", reason, word_position(text, 5))
    return CronError("expression", f"{len(words)} of 5 fields: {SPECS[len(words)].name} is missing", len(text))


@lru_cache(maxsize=4096)
def _read_field(spec: Spec, text: str) -> Field:
    bits, items, specials, position = 0, [], [], 0
    for part in text.split(","):
        special = _special(spec, part, position)
        if special:
            specials.append(special)
        else:
            item = _item(spec, part, position)
            items.append(item)
            for value in range(item.low, item.high + 1, item.step or 1):
                bits |= 1 << value
        position += len(part) + 1
    if spec is WEEKDAY:
        bits = (bits | bits >> 7) & 0x7F
    tidy = ",".join(_tidy(spec, part) for part in text.split(","))
    return Field(tidy, bits, text[0] in "*?", tuple(items), tuple(specials))


def _tidy(spec: Spec, part: str) -> str:
    part = re.sub(r"\d+", lambda digits: str(int(digits[0])), part.lower())
    if spec is DAY:
        return part.upper()
    return part[:-1] + "L" if spec is WEEKDAY and part.endswith("l") else part


def _item(spec: Spec, part: str, at: int) -> Item:
    """``*``, ``a``, ``a-b``, each perhaps with ``/step``."""
    body, slash, step_text = part.partition("/")
    if not part:
        raise _Wrong("empty list item", at)
    if body == "?" and spec.is_days and not slash:
        return Item(spec.low, spec.high, 0, star=True)
    step = _step(step_text, at + len(body) + 1) if slash else 0
    if body == "*":
        return Item(spec.low, spec.high, step, star=True)
    low_text, dash, high_text = body.partition("-")
    low = high = _value(spec, low_text, at)
    if dash:
        high = _value(spec, high_text, at + len(low_text) + 1)
    elif slash:
        high = spec.high
    if low > high:
        hint = "" if spec is not WEEKDAY or high else "; Sunday at the end of a range is 7"
        raise _Wrong(f"{body} runs backwards{hint}", at)
    return Item(low, high, step, star=False)


def _special(spec: Spec, part: str, at: int) -> Special | None:
    """``L``, ``LW`` and ``nW`` in day-of-month, ``d#n`` and ``dL`` in day-of-week."""
    upper = part.upper()
    if spec is DAY:
        if upper in {"L", "LW"}:
            return Special(upper)
        if upper.endswith("W"):
            return Special("W", day=_value(spec, part[:-1], at))
    if spec is WEEKDAY:
        day, sharp, nth = part.partition("#")
        if sharp:
            if nth not in {"1", "2", "3", "4", "5"}:
                raise _Wrong(f"{part}: a month has a first to fifth {day}, #1 to #5", at + len(day) + 1)
            return Special("#", day=_value(spec, day, at) % 7, nth=int(nth))
        if upper.endswith("L") and len(part) > 1:
            return Special("dL", day=_value(spec, part[:-1], at) % 7)
    return None


def _step(text: str, at: int) -> int:
    if not text:
        raise _Wrong("the step after / is missing", at)
    if not text.isdecimal():
        raise _Wrong(f"step {text!r} is not a whole number", at)
    if int(text) == 0:
        raise _Wrong("step 0 never gets anywhere; the smallest is 1", at)
    return int(text)


def _value(spec: Spec, text: str, at: int) -> int:
    if text.isdecimal():
        value = int(text)
        if not spec.low <= value <= spec.high:
            raise _Wrong(f"{text} is not in {spec.low}-{spec.high}", at)
        return value
    if text.lower() in spec.names:
        return spec.names.index(text.lower()) + spec.low
    raise _Wrong(_why_no_value(spec, text), at)


def _why_no_value(spec: Spec, text: str) -> str:
    upper = text.upper()
    if not text:
        return "a value is missing"
    for sign, meaning in (("H", "hashed"), ("R", "random")):
        if upper == sign or upper.startswith(sign + "("):
            return f"{sign} (a {meaning} value) is not supported: write the value, or use jitter to spread the load"
    if upper in {"L", "W", "LW"} and spec.is_days:
        return f"{text} " + ("must follow a weekday here, as in friL" if spec is WEEKDAY else "stands alone")
    if "*" in text or "?" in text:
        return f"{text!r}: * and ? stand alone; only * may have a step"
    if text.isalpha() and spec.names:
        return f"unknown name {text!r}; known are {', '.join(spec.names)}"
    return f"{text!r} is not a number" + (" or a name" if spec.names else "")
