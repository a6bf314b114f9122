"""What a JSON Web Token claims, checked: for whom it is, from whom, and when it is good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from agentclock.auth.keys import KEY_HOLDER, SERVICE
from agentclock.auth.refusals import Refusal, TokenRefused
from agentclock.core.model import SECOND, Instant
from agentclock.core.storable import text_fault

SUBJECT_LENGTH: Final = 255
_SCOPE_LENGTH: Final = 255
_MOST_SCOPES: Final = 500
#: Names that AgentOS and our own records give by themselves: nobody may bear them.
_RESERVED_PREFIXES: Final = ("sa:", "__oauth__:")
_RESERVED_SUBJECTS: Final = frozenset({"__scheduler__", KEY_HOLDER, SERVICE})
#: Seconds since 1970 beyond which no token can be meant.
_LATEST_SECOND: Final = 253_402_300_799


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What tokens must say. `scopes_claim`: where scopes stand besides `scope`."""

    issuer: str
    audience: str
    leeway_seconds: float = 0
    scopes_claim: str = "scopes"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenClaims:
    """`subject`: who calls. `issued_at`: None if the token does not say. `expires_at`: without any leeway."""

    subject: str
    scopes: tuple[str, ...]
    issued_at: Instant | None
    expires_at: Instant


def check_claims(claims: Mapping[str, Any], expected: Expected, now: Instant) -> TokenClaims:
    """Raises TokenRefused."""
    if claims.get("iss") != expected.issuer:
        raise TokenRefused(Refusal.ISSUER)
    audiences = claims.get("aud")
    if expected.audience not in (audiences if isinstance(audiences, list) else [audiences]):
        raise TokenRefused(Refusal.AUDIENCE)
    expires = _check_times(claims, now / SECOND, expected.leeway_seconds)
    issued = _second(claims, "iat")
    return TokenClaims(
        subject=_subject(claims.get("sub")),
        scopes=_scopes(claims.get(expected.scopes_claim), claims.get("scope")),
        issued_at=None if issued is None else round(issued * SECOND),
        expires_at=int(expires * SECOND),
    )


def _check_times(claims: Mapping[str, Any], now_second: float, leeway_seconds: float) -> float:
    """When the token expires, in seconds since 1970."""
    expires = _second(claims, "exp")
    if expires is None:
        raise TokenRefused(Refusal.CLAIMS)
    if expires <= now_second - leeway_seconds:
        raise TokenRefused(Refusal.EXPIRED)
    for name in ("nbf", "iat"):
        begins = _second(claims, name)
        if begins is not None and begins > now_second + leeway_seconds:
            raise TokenRefused(Refusal.NOT_YET_VALID)
    return expires


def _second(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST_SECOND:
        raise TokenRefused(Refusal.CLAIMS)
    return float(value)


def _subject(subject: object) -> str:
    if not isinstance(subject, str) or not subject.strip() or len(subject) > SUBJECT_LENGTH:
        raise TokenRefused(Refusal.CLAIMS)
    if text_fault(subject) or not subject.isprintable():
        raise TokenRefused(Refusal.CLAIMS)
    if subject in _RESERVED_SUBJECTS or subject.startswith(_RESERVED_PREFIXES):
        raise TokenRefused(Refusal.CLAIMS)
    return subject


def _scopes(*claims: object) -> tuple[str, ...]:
    """Without those that no scope can be. Scopes stand in a list, or in a text between blanks."""
    found: set[str] = set()
    for claim in claims:
        words = claim.split() if isinstance(claim, str) else claim
        if isinstance(words, list):
            found |= {word for word in words if isinstance(word, str) and 0 < len(word) <= _SCOPE_LENGTH}
    if len(found) > _MOST_SCOPES or any(map(text_fault, found)):
        raise TokenRefused(Refusal.CLAIMS)
    return tuple(sorted(found))
