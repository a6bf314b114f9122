"""References to secrets in texts: `${secret:NAME}`, and `$${secret:NAME}` for those very characters.

What is no such reference is text like any other. Only texts refer to secrets, the names of JSON objects do not.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from agentclock.core.model import Json

_REFERENCE: Final = re.compile(r"\$(\$?)\{secret:([A-Za-z0-9_.-]{1,64})\}")

#: Without this in it a text has no reference, and most have none.
_MARK: Final = "{secret:"


def secret_names(value: Json) -> frozenset[str]:
    """The secrets that the texts in `value` refer to."""
    return frozenset(name for text in _texts(value) for escape, name in _REFERENCE.findall(text) if not escape)


def filled(value: Json, secrets: Mapping[str, str]) -> Json:
    """`value` with the secrets in place of the references to them. Raises KeyError for one that is not there."""
    match value:
        case str():
            return _filled_text(value, secrets) if _MARK in value else value
        case dict():
            return {name: filled(item, secrets) for name, item in value.items()}
        case list() | tuple():
            return [filled(item, secrets) for item in value]
        case _:
            return value


def forbidden_secrets(value: Json, owner: str | None, allowed: Collection[str]) -> str | None:
    """What is wrong with the secrets that `value` names in a schedule of `owner`, None: nothing.

    `allowed`: what the target's setting `secrets` lists. A schedule without an owner may name any secret.
    """
    names = sorted(secret_names(value) - frozenset(allowed)) if owner is not None else []
    if not names:
        return None
    listed = ", ".join(f"'{name}'" for name in names)
    return f"a schedule that has an owner may not use {listed}: its target's setting `secrets` does not list that"


def _filled_text(text: str, secrets: Mapping[str, str]) -> str:
    return _REFERENCE.sub(lambda found: found[0][1:] if found[1] else secrets[found[2]], text)


def _texts(value: Json) -> Iterator[str]:
    match value:
        case str() if _MARK in value:
            yield value
        case dict():
            for item in value.values():
                yield from _texts(item)
        case list() | tuple():
            for item in value:
                yield from _texts(item)
