"""Tokens that nobody honest would send: each is refused alike, told of in one line, and forgotten."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI
from structlog.testing import capture_logs

from agentclock.app import assemble, create_app
from agentclock.config import Settings
from agentclock.core.model import SECOND
from agentclock.testing import FakeClock

ISSUER, AUDIENCE = "https://issuer.test", "agentclock"
SECRET = "a secret of 256 bits or more, as HS256 wants it"
ADMIN: Final = {"sub": "ada", "scopes": ["agent_os:admin"]}
NOW = FakeClock().now() // SECOND


@dataclass(frozen=True, slots=True)
class Keys:
    """Ours, whose public halves the server knows, and somebody else's."""

    rsa: rsa.RSAPrivateKey
    ec: ec.EllipticCurvePrivateKey
    foreign: rsa.RSAPrivateKey

    @property
    def pem(self) -> str:
        return "".join(_pem(key) for key in (self.rsa, self.ec))


@pytest.fixture(scope="module")
def keys() -> Keys:
    ours, foreign = (rsa.generate_private_key(65_537, 2_048) for _ in range(2))
    return Keys(ours, ec.generate_private_key(ec.SECP256R1()), foreign)


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@dataclass(slots=True)
class Door:
    app: FastAPI

    async def knock(self, *authorization: bytes, path: str = "/schedules", query: bytes = b"") -> tuple[int, str, str]:
        """Status, body and WWW-Authenticate of the answer to a request with these Authorization headers, as they are
        on the wire."""
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "root_path": "",
            "headers": [(b"host", b"clock.test"), *((b"authorization", value) for value in authorization)],
            "client": ("192.0.2.7", 4711),
            "server": ("127.0.0.1", 7777),
            "state": {},
        }
        await self.app(scope, receive, send)
        start, *parts = sent
        body = b"".join(part.get("body", b"") for part in parts).decode()
        return start["status"], body, dict(start["headers"]).get(b"www-authenticate", b"").decode()


@pytest.fixture
async def door(keys: Keys) -> AsyncIterator[Door]:
    settings = Settings(
        database=":memory:",
        jwt_secret=SECRET,
        jwt_public_key=keys.pem,
        jwt_issuer=ISSUER,
        jwt_audience=AUDIENCE,
    )
    clockwork = assemble(settings, clock=FakeClock())
    await clockwork.store.open()
    yield Door(create_app(clockwork))
    await clockwork.stop()


def claims(**changes: Any) -> dict[str, Any]:
    """Of an admin, good for a minute; what is None is left out."""
    usual = {"iss": ISSUER, "aud": AUDIENCE, "iat": NOW, "nbf": NOW, "exp": NOW + 60}
    return {name: value for name, value in (usual | ADMIN | changes).items() if value is not None}


def signed(key: Any, algorithm: str = "RS256", header: dict[str, Any] | None = None, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm, headers=header)


def part(value: object) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def by_hand(header: object, payload: object, sign: Callable[[bytes], bytes] = lambda _: b"") -> str:
    text = f"{part(header)}.{part(payload)}"
    return f"{text}.{part(sign(text.encode()))}"


def hs256(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda text: hmac.digest(secret, text, hashlib.sha256)


def honest(payload: object, **header: Any) -> str:
    """Signed as it should be, whatever it says."""
    return by_hand({"alg": "HS256", "typ": "JWT"} | header, payload, hs256(SECRET.encode()))


def unsigned() -> Iterator[tuple[str, str]]:
    for spelling in ("none", "None", "NONE", "nOnE", " none", "none ", "", "null"):
        yield f"alg {spelling!r}", by_hand({"alg": spelling, "typ": "JWT"}, claims())
        yield f"alg {spelling!r}, with a signature", by_hand({"alg": spelling}, claims(), hs256(SECRET.encode()))
    yield "alg null", by_hand({"alg": None}, claims(), hs256(SECRET.encode()))
    yield "alg a list", by_hand({"alg": ["HS256", "none"]}, claims(), hs256(SECRET.encode()))
    yield "no alg", by_hand({"typ": "JWT"}, claims(), hs256(SECRET.encode()))


def confused(keys: Keys) -> Iterator[tuple[str, str]]:
    public = _pem(keys.rsa)
    der = keys.rsa.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for name, secret in {"PEM": public.encode(), "PEM, bare": public.strip().encode(), "DER": der}.items():
        yield f"HS256 with the public key ({name})", by_hand({"alg": "HS256"}, claims(), hs256(secret))
        yield f"RS256 by name, HS256 in truth ({name})", by_hand({"alg": "RS256"}, claims(), hs256(secret))
    yield "HS256 with nothing", by_hand({"alg": "HS256"}, claims(), hs256(b""))
    yield "HS384", jwt.encode(claims(), SECRET + SECRET, "HS384")
    yield "ES256 by name, RS256 in truth", _renamed(signed(keys.rsa), "ES256")
    yield "RS256 by name, ES256 in truth", _renamed(signed(keys.ec, "ES256"), "RS256")
    yield "an ES256 signature of zeros", by_hand({"alg": "ES256"}, claims(), lambda _: bytes(64))


def _renamed(token: str, algorithm: str) -> str:
    _, payload, signature = token.split(".")
    return f"{part({'alg': algorithm, 'typ': 'JWT'})}.{payload}.{signature}"


def with_keys_of_their_own(keys: Keys) -> Iterator[tuple[str, str]]:
    own = jwt.algorithms.RSAAlgorithm.to_jwk(keys.foreign.public_key(), as_dict=True)
    for name, header in {
        "jwk": {"jwk": own},
        "jku": {"jku": "https://attacker.test/keys"},
        "x5u": {"x5u": "https://attacker.test/cert"},
        "x5c": {"x5c": ["MIIB"]},
        "jwk and kid": {"jwk": own, "kid": "attacker"},
        "nothing": {},
    }.items():
        yield f"a foreign key, {name}", signed(keys.foreign, header=header)
    for kid in (
        "../../../../dev/null",
        "/dev/null",
        "' OR 1=1 --",
        "x' UNION SELECT 'secret",
        "|id",
        "a\0b",
        "unknown",
        "",
    ):
        yield f"kid {kid!r}", by_hand({"alg": "HS256", "kid": kid}, claims(), hs256(b""))
        yield f"kid {kid!r}, signed", honest(claims(), kid=kid)
    for kid in (1, None, ["a"], {"a": 1}, True, "k" * 5_000):
        if kid is not None:
            yield f"kid {str(kid)[:9]}", honest(claims(), kid=kid)


def wrongly_claimed() -> Iterator[tuple[str, str]]:
    lone = "\ud800"
    wrong: dict[str, list[Any]] = {
        "aud": ["another", None, [], ["another"], {AUDIENCE: 1}, "", AUDIENCE.upper(), f"{AUDIENCE} another"],
        "iss": ["https://other.test", None, [ISSUER], f"{ISSUER}/", ""],
        "exp": [None, NOW - 60, 0, -1, str(NOW + 60), True, [NOW + 60], 1e300, 10**400],
        "nbf": [NOW + 3_600, "soon", False],
        "iat": [NOW + 3_600, "now", [NOW]],
        "sub": [
            None,
            "",
            "  ",
            7,
            ["ada"],
            "a" * 256,
            "a\0b",
            "a\nb",
            lone,
            "__scheduler__",
            "sa:robot",
            "security key",
        ],
        "scopes": [[f"agents:{number}:run" for number in range(501)], [f"agents:{lone}:run"]],
    }
    for name, values in wrong.items():
        yield from ((f"{name} {value!r:.40}", honest(claims(**{name: value}))) for value in values)
    for constant in ("NaN", "Infinity", "-Infinity", "1" * 5_000):
        yield f"exp {constant[:9]}", honest(json.dumps(claims(exp=424242)).replace("424242", constant).encode())
    for payload in ([], "text", 7, None, [claims()]):
        yield f"a payload that is {type(payload).__name__}", honest(payload)
    yield "a payload that is no JSON", honest(b"{")
    yield "a payload that is no UTF-8", honest(b'{"sub": "\xff"}')
    yield "a claim that stands twice", honest(json.dumps(claims()).replace("{", '{"sub": "bob", ', 1).encode())
    yield "a payload that is deep", honest(b"[" * 6_000 + b"]" * 6_000)


def mangled(keys: Keys) -> Iterator[tuple[str, str]]:
    good = signed(keys.rsa)
    head, payload, signature = good.split(".")
    yield from {
        "truncated": good[:-7],
        "without its signature": f"{head}.{payload}.",
        "without the last dot": f"{head}.{payload}",
        "only a head": head,
        "dots": "..",
        "a part too many": f"{good}.{signature}",
        "encrypted": f"{head}.{payload}.{payload}.{payload}.{signature}",
        "with another payload": f"{head}.{part(claims(sub='eve'))}.{signature}",
        "with another head": f"{part({'alg': 'RS256'})}.{payload}.{signature}",
        "with a flipped signature": f"{head}.{payload}.{signature[::-1]}",
        "with other letters": f"{head}.{payload}.{signature[:-4]}+/==",
        "nested": honest(honest(claims()).encode(), cty="JWT"),
        "nested, as text": honest(honest(claims()), cty="JWT"),
        "of a megabyte": good + "A" * 1_048_576,
        "of a megabyte, well signed": honest(claims(filler="A" * 1_048_576)),
        "of a megabyte, dots": "." * 1_048_576,
        "a little too long": honest(claims(filler="A" * 13_000)),
    }.items()
    for header in (
        {"crit": ["exp"]},
        {"crit": []},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
    ):
        yield f"head {header}", honest(claims(), **header)
    yield "a head that stands twice", by_hand(b'{"alg": "none", "alg": "HS256"}', claims(), hs256(SECRET.encode()))
    yield "a head that is a list", by_hand(["HS256"], claims(), hs256(SECRET.encode()))
    yield "a head that is deep", by_hand(b"[" * 6_000, claims())


def ill_sent(keys: Keys) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    good = signed(keys.rsa).encode()
    yield from {
        "twice": (b"Bearer " + good, b"Bearer " + good),
        "a good one and another": (b"Bearer " + good, b"Bearer x"),
        "another and a good one": (b"Basic YTpi", b"Bearer " + good),
        "in one line": (b"Bearer " + good + b", Bearer " + good,),
        "without a scheme": (good,),
        "another scheme": (b"Basic " + good,),
        "JWT as a scheme": (b"JWT " + good,),
        "run together": (b"Bearer" + good,),
        "with a colon": (b"Bearer: " + good,),
        "with an equals sign": (b"Bearer=" + good,),
        "after a tab": (b"Bearer\t" + good,),
        "in quotes": (b'Bearer "' + good + b'"',),
        "nothing": (b"",),
        "a scheme alone": (b"Bearer",),
        "a scheme and blanks": (b"Bearer    ",),
        "two words": (b"Bearer Bearer " + good,),
        "a NUL behind": (b"Bearer " + good + b"\0",),
        "a NUL in front": (b"\0Bearer " + good,),
        "a line break": (b"Bearer " + good + b"\r\nX: y",),
        "beyond ASCII": ("Bearer töken".encode(),),
        "beyond UTF-8": (b"Bearer \xff\xfe",),
        "full-width letters": ("Ｂｅａｒｅｒ ".encode() + good,),
    }.items()


def attacks(keys: Keys) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    tokens = (unsigned(), confused(keys), with_keys_of_their_own(keys), wrongly_claimed(), mangled(keys))
    for family in tokens:
        yield from ((name, (f"Bearer {token}".encode(),)) for name, token in family)
    yield from ill_sent(keys)


async def test_good_tokens_open(door: Door, keys: Keys) -> None:
    for token in (
        signed(keys.rsa),
        signed(keys.rsa, "PS256"),
        signed(keys.ec, "ES256"),
        honest(claims()),
        honest(claims(aud=["another", AUDIENCE], nbf=None, iat=None)),
        honest(claims(exp=NOW - 5, nbf=NOW + 5, iat=NOW + 5.5)),
    ):
        assert (await door.knock(b"Bearer " + token.encode()))[0] == 200
    assert (await door.knock(b"bEARER  " + honest(claims()).encode() + b" "))[0] == 200


async def test_every_attack_is_refused_with_one_line_in_the_log(
    door: Door, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentclock.auth.refusals.LINES_OF_SOURCE", 1_000)
    seen, wrong = 0, []
    for name, values in attacks(keys):
        with capture_logs() as logged:
            status, body, challenge = await door.knock(*values)
        told = [{key: line[key] for key in line.keys() - {"reason"}} for line in logged]
        line = {"event": "token_refused", "source": "192.0.2.7", "log_level": "warning"}
        if (status, body, challenge, told) != (401, REFUSED, CHALLENGE, [line]):
            wrong.append((name, status, body, challenge, logged))
        seen += 1
    assert not wrong
    assert seen >= 140
    assert (await door.knock(path="/health"))[0] == 200
    assert (await door.knock(b"Bearer " + signed(keys.rsa).encode()))[0] == 200


REFUSED = '{"detail":"The token is not valid (any more)"}'
CHALLENGE = 'Bearer error="invalid_token"'


async def test_no_token_is_no_offence(door: Door, keys: Keys) -> None:
    """A token in the URL is none: addresses end up in logs and histories."""
    token = signed(keys.rsa).encode()
    for query in (b"", b"access_token=" + token, b"token=" + token, b"authorization=Bearer%20" + token):
        with capture_logs() as logged:
            status, body, challenge = await door.knock(query=query)
        assert (status, challenge, logged) == (401, "Bearer", [])
        assert "Authorization header" in body


async def test_whoever_sends_one_after_the_other_is_told_of_so_often_only(door: Door) -> None:
    with capture_logs() as logged:
        for _ in range(150):
            assert (await door.knock(b"Bearer x.y.z"))[0] == 401
    assert 0 < len(logged) <= 100
    assert logged[-1]["silent_seconds"] == 60
