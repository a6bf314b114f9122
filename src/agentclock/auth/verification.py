"""Keys that signatures are checked with. A key's type alone says which algorithms it is good for."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_RSA_BITS: Final = range(2_048, 8_193)
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
#: What makes a key by its RFC 7638 thumbprint, in the order of the alphabet.
_THUMBPRINT_MEMBERS: Final = ("crv", "e", "kty", "n", "x", "y")
_PEM: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)
_NAME: Final = re.compile(r"^\W*kid\s*[:=]\s*(\S+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    """`names`: what a token may call it by (`kid`); empty: no token can name it."""

    material: Any = field(repr=False)
    algorithms: frozenset[str]
    names: frozenset[str] = frozenset()


def shared_secret(secret: str) -> VerificationKey:
    return VerificationKey(material=secret.encode(), algorithms=frozenset({"HS256"}))


def read_pem(text: str) -> tuple[VerificationKey, ...]:
    """All public keys of `text`. A line `kid: NAME` before one names it; its RFC 7638 thumbprint always does.

    Raises ValueError, which says nothing of what stands there.
    """
    # Environment variables often hold the two characters \n where a line ends.
    text = text.replace("\\n", "\n")
    keys, end = [], 0
    for block in _PEM.finditer(text):
        given = _NAME.findall(text[end : block.start()])
        keys.append(_public_key(block[1], block[0], given))
        end = block.end()
    if not keys:
        raise ValueError("there is no public key in PEM (-----BEGIN PUBLIC KEY-----)")
    return tuple(keys)


def algorithms_of(key: object) -> frozenset[str]:
    """Raises ValueError for keys that are too weak, too large, or of a kind that is not supported."""
    match key:
        case RSAPublicKey() if key.key_size not in _RSA_BITS:
            raise ValueError(f"an RSA key must have {_RSA_BITS.start} to {_RSA_BITS.stop - 1} bits, not {key.key_size}")
        case RSAPublicKey():
            return _RSA
        case EllipticCurvePublicKey() if key.curve.name in _CURVES:
            return frozenset({_CURVES[key.curve.name]})
        case Ed25519PublicKey():
            return frozenset({"EdDSA"})
    raise ValueError("only RSA, P-256, P-384, P-521 and Ed25519 keys are supported")


def _public_key(label: str, block: str, given: list[str]) -> VerificationKey:
    if "PRIVATE" in label:
        raise ValueError("that is a private key; give the public one: openssl pkey -in KEY.pem -pubout")
    if label == "CERTIFICATE":
        raise ValueError("that is a certificate; give its key: openssl x509 -in CERT.pem -noout -pubkey")
    try:
        key = load_pem_public_key(block.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"the block {label} cannot be read as a public key") from None
    algorithms = algorithms_of(key)
    return VerificationKey(material=key, algorithms=algorithms, names=frozenset({*given[-1:], _thumbprint(key)}))


def _thumbprint(key: object) -> str:
    match key:
        case RSAPublicKey():
            members = RSAAlgorithm.to_jwk(key, as_dict=True)
        case EllipticCurvePublicKey():
            members = ECAlgorithm.to_jwk(key, as_dict=True)
        case Ed25519PublicKey():
            members = OKPAlgorithm.to_jwk(key, as_dict=True)
        case _:
            raise TypeError(type(key).__name__)
    needed = {name: members[name] for name in _THUMBPRINT_MEMBERS if name in members}
    digest = hashlib.sha256(json.dumps(needed, separators=(",", ":")).encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
