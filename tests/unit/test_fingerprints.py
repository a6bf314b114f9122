"""Which failures are the same one, and what helps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclock.core.fingerprints import COMPARED_CHARACTERS, essence, fingerprint, hint
from agentclock.core.model import RunStatus

FAILED, TIMEOUT, LOST = RunStatus.FAILED, RunStatus.TIMEOUT, RunStatus.LOST


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("run 4711 failed after 3.5 s", "run 12 failed after 120 s"),
        ("no row 019b76da-a800-7d3c-9e6f-5a1f6f0c2b11", "no row 12345678-0000-4000-8000-abcdefabcdef"),
        ("at 2026-03-29T01:00:00.123Z it broke", "at 2025-12-31 23:59:59+01:00 it broke"),
        ("stopped at 03:00:01", "stopped at 17:30"),
        ("cannot connect to 10.0.0.7:8080", "cannot connect to 192.168.1.250:443"),
        ("cannot connect to [::1]:80", "cannot connect to [2001:db8::17]:8080"),
        ("cannot connect to db.internal:5432", "cannot connect to localhost:6543"),
        ("POST https://api.example.com/v1/items/7", "POST http://other.test:81/v1/items/8"),
        ("mail to ann@example.com bounced", "mail to b.c+d@test.org bounced"),
        ("commit deadbeef01 is gone", "commit 0123abcdef9 is gone"),
        ("request req_01H8XGJWBWBAQ4ZJ lost", "request req_99ZZZGJWBWAAAA1 lost"),
        ("pointer 0x7f00aa", "pointer 0x11"),
        ("Too   many\nspaces", "too many spaces"),
    ],
)
def test_what_varies_makes_no_difference(one: str, other: str) -> None:
    assert essence(one) == essence(other)
    assert fingerprint(FAILED, None, one) == fingerprint(FAILED, None, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("connection refused", "connection reset"),
        ("KeyError: 'name'", "KeyError: 'address'"),
        ("POST https://api.test/v1/items", "POST https://api.test/v1/orders"),
        ("the agent is not there", None),
    ],
)
def test_what_matters_does(one: str, other: str | None) -> None:
    assert fingerprint(FAILED, None, one) != fingerprint(FAILED, None, other)


def test_state_and_code_are_part_of_it() -> None:
    marks = {fingerprint(status, code, "no") for status in (FAILED, TIMEOUT, LOST) for code in (None, 500, 502)}
    assert len(marks) == 9


def test_a_fingerprint_never_changes() -> None:
    """Somebody may have written it down: a link, or a retry of a whole group."""
    assert fingerprint(FAILED, 502, "HTTP 502 Bad Gateway: upstream 10.0.0.1:80 timed out") == "56d9e14385a249a1"


@given(st.text(max_size=900))
def test_any_text_has_an_essence(text: str) -> None:
    assert len(fingerprint(FAILED, None, text)) == 16
    assert essence(text) == essence(text[:COMPARED_CHARACTERS])


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_numbers_never_matter(one: int, other: int) -> None:
    assert essence(f"row {one} of table") == essence(f"row {other} of table")


@pytest.mark.parametrize(
    ("status", "code", "error", "said"),
    [
        (LOST, None, "the worker that held this run died or lost its lease", "worker died"),
        (TIMEOUT, None, None, "timeout_seconds"),
        (FAILED, None, "target 'default': connection refused", "Nothing listens"),
        (FAILED, None, "the read timed out", "longer than it may"),
        (FAILED, 401, "HTTP 401 Unauthorized", "credentials"),
        (FAILED, 403, "HTTP 403 Forbidden", "permission"),
        (FAILED, 404, "HTTP 404 Not Found", "endpoint"),
        (FAILED, 429, "HTTP 429 Too Many Requests", "fewer requests"),
        (FAILED, 500, "HTTP 500 Internal Server Error", "its own log"),
        (FAILED, 503, "HTTP 503 Service Unavailable", "overloaded"),
        (FAILED, None, "model error: rate limit reached for requests", "fewer requests"),
    ],
)
def test_common_kinds_come_with_advice(status: RunStatus, code: int | None, error: str | None, said: str) -> None:
    assert said in (hint(status, code, error) or "")


def test_others_speak_for_themselves() -> None:
    assert hint(FAILED, None, "ZeroDivisionError: division by zero") is None
    assert hint(FAILED, 418, "HTTP 418 I'm a Teapot") is None
    assert hint(FAILED, None, None) is None
