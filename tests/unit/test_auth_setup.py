"""Settings of authentication: what is wrong with them is said, all of it, before anything starts."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.unit.test_auth_keys import key_set, pem, rsa_key

from agentclock.auth import check, is_configured, problems
from agentclock.cli.exposure import is_loopback, refuse_exposure
from agentclock.config import Settings
from agentclock.core.errors import ConfigError

SECRET = "a secret of 256 bits or more, as HS256 wants it"
CLAIMS = {"jwt_issuer": "https://issuer.test", "jwt_audience": "agentclock"}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"security_key": "short"},
        {"security_key": "new,former", "service_token": "another"},
        {"jwt_secret": SECRET, **CLAIMS},
        {"jwt_public_key": pem(rsa_key()), **CLAIMS},
        {"jwt_jwks": "https://issuer.test/keys", **CLAIMS},
        {"jwt_jwks": "http://127.0.0.1:8080/keys", **CLAIMS},
        {"jwt_secret": SECRET, "jwt_public_key": pem(rsa_key()), "jwt_jwks": "https://issuer.test/keys", **CLAIMS},
    ],
)
def test_settings_without_a_fault(settings: dict[str, Any]) -> None:
    assert problems(Settings(**settings)) == []
    assert is_configured(Settings(**settings)) == bool(settings)


def test_the_service_token_alone_asks_nobody_for_a_token() -> None:
    assert not is_configured(Settings(service_token="token"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"security_key": ""}, ["security_key: it is empty"]),
        ({"security_key": " , "}, ["security_key: it is empty"]),
        ({"security_key": "two words"}, ["security_key: a bearer token has"]),
        ({"security_key": "schlüssel"}, ["security_key: a bearer token has"]),
        ({"service_token": ""}, ["service_token: it is empty"]),
        ({"security_key": "a,b", "service_token": "b"}, ["service_token: it must differ"]),
        ({"jwt_secret": "x" * 31, **CLAIMS}, ["jwt_secret: it has 31 bytes, too few for HS256: take 32 or more"]),
        ({"jwt_secret": "", **CLAIMS}, ["jwt_secret: it has 0 bytes"]),
        ({"jwt_secret": pem(rsa_key()), **CLAIMS}, ["jwt_secret: that is no secret but a key in PEM"]),
        ({"jwt_secret": SECRET}, ["jwt_issuer: jwt_secret needs it", "jwt_audience: jwt_secret needs it"]),
        ({"jwt_public_key": pem(rsa_key()), "jwt_issuer": "", "jwt_audience": "a"}, ["jwt_issuer: jwt_public_key"]),
        ({"jwt_jwks": "https://issuer.test/k", "jwt_issuer": "i"}, ["jwt_audience: jwt_jwks needs it"]),
        (CLAIMS, ["jwt_issuer: without jwt_secret, jwt_public_key or jwt_jwks no token is accepted"]),
        ({"jwt_public_key": "/nowhere/keys.pem", **CLAIMS}, ["jwt_public_key: the file cannot be read: No such file"]),
        ({"jwt_public_key": "", **CLAIMS}, ["jwt_public_key: it names no file"]),
        ({"jwt_public_key": pem(rsa_key(1_024)), **CLAIMS}, ["jwt_public_key: an RSA key must have"]),
        ({"jwt_jwks": "/nowhere/keys.json", **CLAIMS}, ["jwt_jwks: the file cannot be read"]),
        ({"jwt_jwks": "http://issuer.test/keys", **CLAIMS}, ["jwt_jwks: keys are fetched over https:// only"]),
        ({"jwt_jwks": "ftp://issuer.test/keys", **CLAIMS}, ["jwt_jwks: the address must begin with http"]),
        ({"jwt_jwks": "https://a:b@issuer.test/keys", **CLAIMS}, ["jwt_jwks: the address must not contain a user"]),
        ({"jwt_secret": SECRET, "jwt_scopes_claim": "", **CLAIMS}, ["jwt_scopes_claim: it is empty"]),
        ({"security_key": "", "jwt_secret": "x"}, ["security_key", "jwt_issuer", "jwt_audience", "jwt_secret: it has"]),
    ],
)  # fmt: skip
def test_each_fault_is_told_with_its_setting(settings: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        check(Settings(**settings))
    assert len(caught.value.problems) == len(words)
    for problem, expected in zip(caught.value.problems, words, strict=True):
        assert problem.startswith(expected)
    assert "x" * 31 not in str(caught.value)


def test_files_are_looked_into(tmp_path: Path) -> None:
    good, bad = tmp_path / "keys.json", tmp_path / "bad.json"
    good.write_bytes(key_set())
    bad.write_text("nonsense")
    assert problems(Settings(jwt_jwks=str(good), **CLAIMS)) == [
        "jwt_jwks: no key of the set can be used for signatures"
    ]
    assert problems(Settings(jwt_jwks=str(bad), **CLAIMS)) == ["jwt_jwks: that is not JSON"]
    assert problems(Settings(jwt_public_key=str(bad), **CLAIMS))[0].startswith("jwt_public_key: there is no public key")


# where a server without authentication may listen


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_loopback_addresses(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "192.168.1.10", "10.0.0.1", "fe80::1", "::ffff:10.0.0.1", "8.8.8.8"]
)
def test_addresses_that_others_can_reach(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("addresses", "is_private"),
    [
        (["127.0.0.1"], True),
        (["127.0.0.1", "::1"], True),
        (["127.0.1.1", "192.168.1.10"], False),
        (["fe80::1%2"], False),
    ],
)
def test_a_name_is_what_it_resolves_to(monkeypatch: pytest.MonkeyPatch, addresses: list[str], is_private: bool) -> None:
    found = [(0, 0, 0, "", (address, 0)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert is_loopback("my-machine") == is_private


@pytest.mark.parametrize(
    "settings", [{"security_key": "key"}, {"jwt_secret": SECRET, **CLAIMS}, {"allow_anyone": True}]
)
def test_with_authentication_or_on_purpose_any_address_will_do(settings: dict[str, Any]) -> None:
    refuse_exposure(Settings(**settings), "0.0.0.0")


@pytest.mark.parametrize("settings", [{}, {"service_token": "token"}])
def test_without_it_is_refused_and_told_what_can_be_done(
    settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    refuse_exposure(Settings(**settings), "127.0.0.1")
    with pytest.raises(typer.Exit) as caught:
        refuse_exposure(Settings(**settings), "0.0.0.0")
    assert caught.value.exit_code == 2
    told = capsys.readouterr().err
    for way in ("security_key", "jwt_secret", "127.0.0.1", "--allow-anyone", "AGENTCLOCK_ALLOW_ANYONE=true"):
        assert way in told
