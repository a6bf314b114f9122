from __future__ import annotations

from datetime import UTC, datetime

import pytest
from yarl import URL

from agentclock.core.model import OutcomeKind
from agentclock.executor.http import with_query
from agentclock.executor.outcomes import (
    error_detail,
    output_of,
    parse_json,
    refusing_answer,
    retry_after_seconds,
)

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(status, status in (408, 425, 429)) for status in (400, 401, 404, 408, 409, 422, 425, 429, 451)]
    + [(status, True) for status in (500, 502, 503, 504, 599)],
)
def test_which_statuses_may_succeed_next_time(status: int, retryable: bool) -> None:
    outcome = refusing_answer(status, "", {"Retry-After": "7"}, "")
    assert (outcome.kind, outcome.status_code, outcome.retryable) == (OutcomeKind.FAILED, status, retryable)
    assert outcome.retry_after_seconds == (7 if retryable else None)


def test_a_redirect_names_where_it_leads() -> None:
    outcome = refusing_answer(307, "", {"Location": "http://elsewhere/"}, "")
    assert outcome.error == "HTTP 307 Temporary Redirect: redirects are not followed; it leads to http://elsewhere/"
    assert not outcome.retryable


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Thu, 01 Jan 2026 12:01:30 GMT", 90.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("Thursday, 01-Jan-26 12:00:10 GMT", 10.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("9" * 400, 999_999_999.0),
        ("Fri, 31 Dec 2026 23:59:59 +99999999999999", None),
        ("٣", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, NOW) == seconds


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"detail": "Agent not found"}', "Agent not found"),
        ('{"error": "nope"}', "nope"),
        ('{"detail": [{"loc": ["body", "message"], "msg": "Field required"}]}', "body.message: Field required"),
        ('{"detail": [1, {"msg": "bad"}]}', "1; bad"),
        ('{"detail": {"a": 1}}', '{"detail": {"a": 1}}'),
        ("  plain  ", "plain"),
        ("[1]", "[1]"),
        ("", ""),
    ],
)
def test_error_bodies_in_words(body: str, text: str) -> None:
    assert error_detail(body) == text


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "1" * 5000, "\ud800"])
def test_unreadable_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


def test_output_is_kept_up_to_the_limit() -> None:
    assert output_of("x" * 10, "text/plain", 10) == {"content": "x" * 10, "content_type": "text/plain"}
    cut = output_of("ü" * 10, "text/plain", 11)
    assert cut == {"content": "ü" * 5, "content_type": "text/plain", "truncated": True}
    assert output_of({"a": 1}, "dict", 100) == {"content": {"a": 1}, "content_type": "dict"}
    assert output_of({"a": "x" * 100}, "dict", 10)["truncated"] is True
    assert output_of(None, "str", 10) is None


def test_get_carries_its_payload_as_query() -> None:
    payload = {"a": "x y", "b": True, "c": [1, "z", None], "d": {"e": [1]}, "f": None, "g": 1.5}
    url = with_query(URL("http://h/p?q=0"), payload)
    assert list(url.query.items()) == [
        ("q", "0"),
        ("a", "x y"),
        ("b", "true"),
        ("c", "1"),
        ("c", "z"),
        ("d", '{"e":[1]}'),
        ("g", "1.5"),
    ]
    with pytest.raises(ValueError, match="must be a JSON object"):
        with_query(URL("http://h/"), [1])
