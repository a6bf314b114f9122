"""JSON Web Tokens: whether somebody who may has signed them, and what they claim."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt

from agentclock.auth.claims import Expected, TokenClaims, check_claims
from agentclock.auth.refusals import Refusal, TokenRefused
from agentclock.auth.sources import KeySource
from agentclock.auth.verification import VerificationKey
from agentclock.core.errors import Unavailable
from agentclock.ports import Clock

TOKEN_BYTES: Final = 16_384
#: Three parts, none of them empty: what is encrypted has five, what is unsigned an empty last one.
_COMPACT: Final = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
#: What changes how the rest is to be read. None of it is understood here.
_EXTENSIONS: Final = frozenset({"crit", "b64", "zip", "enc"})
_KID_LENGTH: Final = 1_024
_ALGORITHMS: Final = frozenset(jwt.algorithms.get_default_algorithms()) - {"none"}


@dataclass(frozen=True, slots=True)
class _Header:
    algorithm: str
    kid: str | None


class TokenReader:
    """Believes what is signed with a key of `sources`, by an algorithm that is the key's: whatever else a token's
    header says (where its key is to be found, say) is not looked at."""

    def __init__(self, sources: Sequence[KeySource], expected: Expected, clock: Clock) -> None:
        self._sources = tuple(sources)
        self._expected = expected
        self._clock = clock
        self._jws = jwt.PyJWS(algorithms=sorted(_ALGORITHMS))

    async def read(self, token: bytes) -> TokenClaims:
        """Raises TokenRefused; Unavailable while there are no keys to check it with."""
        if len(token) > TOKEN_BYTES:
            raise TokenRefused(Refusal.TOO_LARGE)
        parts = _COMPACT.fullmatch(token)
        if parts is None:
            raise TokenRefused(Refusal.MALFORMED)
        header = _read_header(parts[1])
        keys = [key for key in await self._keys(header.kid) if header.algorithm in key.algorithms]
        if not keys:
            raise TokenRefused(Refusal.ALGORITHM)
        claims = _object(self._signed_content(token, keys))
        return check_claims(claims, self._expected, self._clock.now())

    async def _keys(self, kid: str | None) -> list[VerificationKey]:
        """Those that the token may have been signed with: the one that it names, or all if it names none."""
        for lacking in (False, True):
            known, missing = await self._known(lacking=lacking)
            fitting = known if kid is None else [key for key in known if kid in key.names]
            if fitting:
                return fitting
        raise TokenRefused(Refusal.UNKNOWN_KEY) if missing is None else missing

    async def _known(self, *, lacking: bool) -> tuple[list[VerificationKey], Unavailable | None]:
        """All keys that can be had; and why there are not more, if a source has none at the moment."""
        known: list[VerificationKey] = []
        missing = None
        for source in self._sources:
            try:
                known += await source.keys(lacking=lacking)
            except Unavailable as error:
                missing = error
        return known, missing

    def _signed_content(self, token: bytes, keys: Sequence[VerificationKey]) -> bytes:
        for key in keys:
            try:
                read: dict[str, Any] = self._jws.decode_complete(token, key.material, algorithms=sorted(key.algorithms))
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError, TypeError):
                raise TokenRefused(Refusal.MALFORMED) from None
            content: bytes = read["payload"]
            return content
        raise TokenRefused(Refusal.SIGNATURE)


def _read_header(part: bytes) -> _Header:
    header = _object(_decoded(part))
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or not (kid is None or (isinstance(kid, str) and len(kid) <= _KID_LENGTH)):
        raise TokenRefused(Refusal.MALFORMED)
    if _EXTENSIONS & header.keys():
        raise TokenRefused(Refusal.EXTENSION)
    return _Header(algorithm, kid)


def _decoded(part: bytes) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except binascii.Error:
        raise TokenRefused(Refusal.MALFORMED) from None


def _object(text: bytes) -> dict[str, Any]:
    """A JSON object in which no name stands twice: what other readers make of such cannot be known."""
    try:
        found = json.loads(text.decode(), object_pairs_hook=_without_doubles, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise TokenRefused(Refusal.MALFORMED) from None
    if not isinstance(found, dict):
        raise TokenRefused(Refusal.MALFORMED)
    return found


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _refuse_constant(name: str) -> Iterator[None]:
    raise ValueError(name)
