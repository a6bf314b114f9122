"""Secrets in what others say: found in whatever form, and nothing else touched."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclock.executor.blotting import ERROR_TEXT_LIMIT, HIDDEN, Blotter

PLAIN = "tok-X7yk.Qz_09~longer"
AWKWARD = 'p%41 ss"w\\ord/é&<x>+key'


def b64(secret: str, before: bytes = b"", after: bytes = b"") -> str:
    return base64.b64encode(before + secret.encode() + after).decode()


def urlsafe(secret: str, before: bytes = b"", after: bytes = b"") -> str:
    return base64.urlsafe_b64encode(before + secret.encode() + after).decode().rstrip("=")


FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "json": json.dumps,
    "json, not only ascii": lambda secret: json.dumps(secret, ensure_ascii=False),
    "json in json": lambda secret: json.dumps(json.dumps({"a": secret})),
    "json in json in json": lambda secret: json.dumps(json.dumps(json.dumps([secret]))),
    "json, every character": lambda secret: "".join(f"\\u{ord(character):04x}" for character in secret),
    "json, every character, capitals": lambda secret: "".join(f"\\u{ord(character):04X}" for character in secret),
    "json, with \\/": lambda secret: json.dumps(secret).replace("/", "\\/"),
    "repr": repr,
    "url": lambda secret: quote(secret, safe=""),
    "url, lower case": lambda secret: "".join(f"%{octet:02x}" for octet in secret.encode()),
    "url, upper case": lambda secret: "".join(f"%{octet:02X}" for octet in secret.encode()),
    "url, some of it": quote,
    "url, twice": lambda secret: quote(quote(secret, safe=""), safe=""),
    "form": quote_plus,
    "url in json": lambda secret: json.dumps("/?q=" + quote_plus(secret)),
    "json in url": lambda secret: quote(json.dumps({"a": secret}), safe=""),
    "html": html.escape,
    "html, numbers": lambda secret: "".join(f"&#{ord(character)};" for character in secret),
    "html, hexadecimal": lambda secret: "".join(f"&#x{ord(character):X};" for character in secret),
    "hex": lambda secret: secret.encode().hex(),
    "hex, capitals": lambda secret: secret.encode().hex().upper(),
    "base64": b64,
    "base64, one octet before": lambda secret: b64(secret, b"u", b":z"),
    "base64, two octets before": lambda secret: b64(secret, b"u:", b"xyz"),
    "base64, basic": lambda secret: f"Basic {b64(secret, b'user:')}",
    "base64, in json": lambda secret: json.dumps(b64(secret, b"user:")).replace("/", "\\/"),
    "base64, in a url": lambda secret: quote(b64(secret, b"user:"), safe=""),
    "base64, urlsafe": lambda secret: urlsafe(secret, b"ab", b"cd"),
    "base64, in lines": lambda secret: base64.encodebytes(b"x" * 50 + secret.encode() + b"y" * 50).decode(),
    "base64, in lines, in json": lambda secret: json.dumps(
        base64.encodebytes(b"x" * 50 + secret.encode() + b"y" * 50).decode()
    ),
    "folded": lambda secret: secret[:9] + "\r\n  " + secret[9:],
}


@pytest.mark.parametrize("secret", [PLAIN, AWKWARD], ids=["plain", "awkward"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_hidden(form: str, secret: str) -> None:
    written = FORMS[form](secret)
    blotter, text = Blotter([secret]), f"before {written} after"
    shown = blotter.text(text)
    assert blotter.hides(text)
    assert (shown.startswith("before "), HIDDEN in shown, shown.endswith(" after")) == (True, True, True)
    # Nobody gets it back by undoing what was done to it.
    assert not blotter.hides(shown)
    whole = written.replace("\n", "").strip('"')
    assert whole not in shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing of the kind",
        '{"a": "b\\n\\u0041 %41 &amp; \\\\", "c": [1, 2.5, null]}',
        "100% of it & more; C:\\temp\\new",
        "tok-X7yk.Qz_09~longe",
        "dG9rLVg3eWsu",
        "\\",
        "%",
    ],
)
def test_everything_else_stays_as_it_is(text: str) -> None:
    blotter = Blotter([PLAIN, AWKWARD])
    assert not blotter.hides(text)
    assert blotter.text(text) == text


texts = st.text(st.sampled_from('abcXYZ019 \\"%&;#+/=\n.{}é😀'), max_size=40)
secrets = st.text(st.sampled_from('abXY09-_.:+/% "\\&é😀'), min_size=4, max_size=20)


@given(before=texts, secret=secrets, after=texts)
def test_no_secret_is_left_as_it_is(before: str, secret: str, after: str) -> None:
    blotter = Blotter([secret])
    for written in (secret, json.dumps(secret)[1:-1], quote(secret, safe=""), secret.encode().hex()):
        assert blotter.hides(f"{before} {written} {after}")
        assert secret not in blotter.text(f"{before} {written} {after}").replace(HIDDEN, "\0")


@given(text=texts, secret=secrets)
def test_without_a_secret_nothing_changes(text: str, secret: str) -> None:
    blotter = Blotter([secret])
    if not blotter.hides(text):
        assert blotter.text(text) == text


def test_header_values_are_blotted_out() -> None:
    blotter = Blotter.for_headers({"Authorization": "Bearer top-secret", "X-Key": 'a"quoted"key', "X-Env": "dev"})
    told = 'Authorization: Bearer top-secret; token=top-secret; {"X-Key": "a\\"quoted\\"key"} a"quoted"key dev'
    shown = blotter.text(told)
    assert "top-secret" not in shown
    assert "quoted" not in shown
    assert shown.endswith("dev")
    assert "top-secret" not in json.dumps(blotter.json({"top-secret": ["x top-secret y", {"a": "top-secret"}]}))


def test_parts_of_headers_are_secrets_too() -> None:
    basic = base64.b64encode(b"somebody:open sesame").decode()
    headers = {
        "Authorization": f"Basic {basic}",
        "Cookie": 'session=0123456789; theme="dark"',
        "X-Pair": "key 987654321",
    }
    shown = Blotter.for_headers(headers).text(f"{basic} open sesame somebody 0123456789 dark 987654321 key")
    assert shown == f"{HIDDEN} {HIDDEN} somebody {HIDDEN} dark {HIDDEN} key"


def test_errors_are_capped_after_blotting() -> None:
    blotter = Blotter.for_headers({"X": "s" * 100})
    text = blotter.error("e" * (ERROR_TEXT_LIMIT - 50) + "s" * 100 + "e" * 500)
    assert len(text) == ERROR_TEXT_LIMIT
    assert "ss" not in text
    assert text.endswith("…")


@pytest.mark.parametrize("length", range(len(PLAIN) + 1))
def test_a_secret_that_the_limit_cuts_off_is_hidden_as_well(length: int) -> None:
    shown = Blotter([PLAIN]).text(f"it is {PLAIN[:length]}", is_cut=True)
    assert shown == ("it is " + PLAIN[:length] if length < 4 else f"it is {HIDDEN}")


def test_what_no_database_takes_is_replaced() -> None:
    clean = Blotter().json({"a\0": "b\0", "c": "\ud800", "d": [float("inf"), 1.5, None, True]})
    assert clean == {"a\ufffd": "b\ufffd", "c": "?", "d": ["inf", 1.5, None, True]}
    json.dumps(clean, allow_nan=False).encode()


def test_numbers_can_be_secrets() -> None:
    assert Blotter(["12345678"]).json([12345678, 123456789, True]) == [HIDDEN, 123456789, True]


def test_nesting_is_bounded() -> None:
    deep: object = "bottom"
    for _ in range(500):
        deep = [deep]
    text = json.dumps(Blotter().json(deep))
    assert text.count("[") < 100
    assert "nested too deep" in text
