"""Security keys and the service token: texts that somebody either has or has not."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

#: Whom records name in place of a person.
KEY_HOLDER: Final = "security key"
SERVICE: Final = "service token"


class SharedKeys:
    """Compares in a time that tells nothing: hashes of equal length, always all of them."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(_digest(key.encode()) for key in keys)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def has(self, token: bytes) -> bool:
        offered = _digest(token)
        is_known = False
        for digest in self._digests:
            is_known |= hmac.compare_digest(digest, offered)
        return is_known


def split_keys(text: str | None) -> tuple[str, ...]:
    """The keys of a setting that has several, separated by commas."""
    return tuple(key for key in map(str.strip, (text or "").split(",")) if key)


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
