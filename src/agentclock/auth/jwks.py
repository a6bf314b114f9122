"""JSON Web Key Sets: what an identity provider publishes for its tokens to be checked with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from agentclock.auth.verification import VerificationKey, algorithms_of

KEY_SET_BYTES: Final = 262_144
_MOST_KEYS: Final = 100


def read_key_set(content: bytes) -> tuple[VerificationKey, ...]:
    """The keys that signatures may be checked with. One that may not be used is logged and left out.

    Raises ValueError if that leaves none, or if it is no key set.
    """
    if len(content) > KEY_SET_BYTES:
        raise ValueError(f"a key set may have {KEY_SET_BYTES:,} bytes")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("that is not JSON") from None
    rows = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(rows, list) or len(rows) > _MOST_KEYS:
        raise ValueError(f'a key set is an object with a list "keys" of at most {_MOST_KEYS}')
    keys = tuple(key for key in map(_usable, rows) if key is not None)
    if not keys:
        raise ValueError("no key of the set can be used for signatures")
    return keys


def _usable(row: object) -> VerificationKey | None:
    try:
        return _read_key(row) if _is_for_signatures(row) else None
    except (ValueError, TypeError, KeyError, PyJWTError, UnsupportedAlgorithm) as error:
        reason = str(error) if type(error) is ValueError else type(error).__name__
        structlog.get_logger("agentclock.auth").warning("key_left_out", reason=reason)
        return None


def _is_for_signatures(row: object) -> bool:
    """Keys for encryption are no fault."""
    if not isinstance(row, dict):
        raise TypeError
    operations = row.get("key_ops", ["verify"])
    return row.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations


def _read_key(row: Any) -> VerificationKey | None:
    if row.get("kty") == "oct" or "k" in row:
        raise ValueError("a shared secret, which nobody may publish")
    if "d" in row:
        raise ValueError("a private key, which nobody may publish")
    kid = row.get("kid")
    if not isinstance(kid, str | None):
        raise TypeError("kid")
    material = _material(row)
    algorithms = algorithms_of(material)
    if "alg" in row:
        algorithms = frozenset(algorithm for algorithm in algorithms if algorithm == row["alg"])
    names = frozenset() if kid is None else frozenset({kid})
    return VerificationKey(material=material, algorithms=algorithms, names=names) if algorithms else None


def _material(row: Mapping[str, Any]) -> Any:
    match row.get("kty"):
        case "RSA":
            return RSAAlgorithm.from_jwk(dict(row))
        case "EC":
            return ECAlgorithm.from_jwk(dict(row))
        case "OKP":
            return OKPAlgorithm.from_jwk(dict(row))
    raise ValueError("unknown kty")
