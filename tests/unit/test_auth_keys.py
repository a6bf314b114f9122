"""Keys: which there are, what they are good for, and which are refused."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from structlog.testing import capture_logs

from agentclock.auth.jwks import read_key_set
from agentclock.auth.keys import SharedKeys, split_keys
from agentclock.auth.verification import read_pem


@cache
def rsa_key(bits: int = 2_048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, bits)


def pem(key: Any) -> str:
    text: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text.decode()


def jwk(key: Any, **members: Any) -> dict[str, Any]:
    kind = {rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm, ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm}
    algorithm = next((found for kind, found in kind.items() if isinstance(key, kind)), jwt.algorithms.ECAlgorithm)
    return dict(algorithm.to_jwk(key.public_key(), as_dict=True)) | members


def key_set(*rows: Any) -> bytes:
    return json.dumps({"keys": rows}).encode()


# security keys


def test_each_of_several_keys_opens_and_nothing_else_does() -> None:
    keys = SharedKeys(split_keys(" new-key , former-key,,"))
    assert [keys.has(token) for token in (b"new-key", b"former-key")] == [True, True]
    assert not any(keys.has(token) for token in (b"", b"new-ke", b"new-key ", b"NEW-KEY", b"new-key,former-key", b","))
    assert not SharedKeys(split_keys(None)).has(b"")


def test_all_keys_are_compared_whichever_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr("agentclock.auth.keys.hmac.compare_digest", compare)
    keys = SharedKeys(["a", "bb", "c" * 1_000])
    for token in (b"a", b"c" * 1_000, b"wrong", b"x" * 10_000):
        compared.clear()
        keys.has(token)
        assert compared == [(32, 32)] * 3


# public keys in PEM


@pytest.mark.parametrize(
    ("key", "algorithms"),
    [
        (rsa_key(), {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
        (ec.generate_private_key(ec.SECP256R1()), {"ES256"}),
        (ec.generate_private_key(ec.SECP384R1()), {"ES384"}),
        (ec.generate_private_key(ec.SECP521R1()), {"ES512"}),
        (ed25519.Ed25519PrivateKey.generate(), {"EdDSA"}),
    ],
)
def test_the_kind_of_a_key_says_what_it_is_good_for(key: Any, algorithms: set[str]) -> None:
    (read,) = read_pem(pem(key))
    (published,) = read_key_set(key_set(jwk(key)))
    assert read.algorithms == published.algorithms == algorithms


def test_several_keys_stand_one_after_the_other_and_may_have_names() -> None:
    first, second = rsa_key(), ec.generate_private_key(ec.SECP256R1())
    text = f"the former one\n# kid: 2025-11\n{pem(first)}\nkid=2026-01\n{pem(second)}"
    for spelling in (text, text.replace("\n", "\\n"), text.replace("\n", "\r\n")):
        names = [key.names for key in read_pem(spelling)]
        assert ["2025-11" in names[0], "2026-01" in names[1], "2025-11" in names[1]] == [True, True, False]


def test_a_key_is_always_called_by_its_thumbprint() -> None:
    """The key and the thumbprint are those of RFC 7638, section 3.1."""
    row = {
        "kty": "RSA",
        "e": "AQAB",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCi"
        "FV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d"
        "0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-c"
        "sFCur-kEgU8awapJzKnqDKgw",
    }
    public = jwt.algorithms.RSAAlgorithm.from_jwk(row)
    assert isinstance(public, rsa.RSAPublicKey)
    (key,) = read_pem(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())
    assert key.names == {"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"}


def private_pem() -> str:
    return rsa_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no public key in PEM"),
        ("-----BEGIN PUBLIC KEY-----\nMII", "no public key in PEM"),
        ("-----BEGIN PUBLIC KEY-----\nMII\n-----END PUBLIC KEY-----", "cannot be read"),
        (private_pem(), "openssl pkey"),
        (pem(rsa_key()) + private_pem(), "private key"),
        ("-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----", "openssl x509"),
        (pem(rsa_key(1_024)), "2048 to 8192 bits, not 1024"),
        (pem(ec.generate_private_key(ec.SECP256K1())), "only RSA"),
    ],
)
def test_what_is_no_fit_public_key_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_pem(text)
    assert "MII" not in str(caught.value)


# key sets


def test_a_key_set_gives_what_is_for_signatures() -> None:
    good = jwk(rsa_key(), kid="good", use="sig", alg="RS256", key_ops=["verify"], x5t="ignored")
    rows = [good, jwk(rsa_key(), kid="enc", use="enc"), jwk(rsa_key(), kid="ops", key_ops=["encrypt"])]
    rows.append(jwk(rsa_key(), kid="oaep", alg="RSA-OAEP"))
    with capture_logs() as logged:
        (key,) = read_key_set(key_set(*rows))
    assert (key.names, key.algorithms, logged) == ({"good"}, {"RS256"}, [])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"kty": "oct", "k": "c2VjcmV0", "kid": "a"}, "a shared secret, which nobody may publish"),
        (jwk(rsa_key(), k="c2VjcmV0"), "a shared secret, which nobody may publish"),
        (jwk(rsa_key(), d="AQAB"), "a private key, which nobody may publish"),
        (jwk(rsa_key(1_024)), "an RSA key must have 2048 to 8192 bits, not 1024"),
        (jwk(rsa_key(), kid=7), "TypeError"),
        ({"kty": "RSA", "n": "AQAB"}, "InvalidKeyError"),
        ({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, "InvalidKeyError"),
        ({"kty": "new"}, "unknown kty"),
        ({}, "unknown kty"),
        ("text", "TypeError"),
    ],
)
def test_a_key_that_may_not_be_used_is_left_out_and_told_of(row: Any, reason: str) -> None:
    good = jwk(rsa_key(), kid="good")
    with capture_logs() as logged:
        (key,) = read_key_set(key_set(row, good))
    assert key.names == {"good"}
    assert [(line["event"], line["reason"]) for line in logged] == [("key_left_out", reason)]
    with pytest.raises(ValueError, match="no key of the set"):
        read_key_set(key_set(row))


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"keys": {}}', b"\xff", b"[" * 100_000, key_set(*[{}] * 101), b" " * 262_145]
)
def test_what_is_no_key_set_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"set|JSON"):
        read_key_set(content)
