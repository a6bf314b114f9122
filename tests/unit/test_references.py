"""`${secret:NAME}` in texts: what is a reference, what is not, and who may name what."""

from __future__ import annotations

import pytest

from agentclock.core.references import filled, forbidden_secrets, secret_names

SECRETS = {"A": "first", "b.c-d_9": "second ${secret:A}"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${secret:A}", "first"),
        ("x ${secret:A}-${secret:A} y", "x first-first y"),
        ("${secret:b.c-d_9}", "second ${secret:A}"),
        ("$${secret:A}", "${secret:A}"),
        ("$$${secret:A}", "$${secret:A}"),
        ("$${secret:unknown}", "${secret:unknown}"),
        ("$ ${secret:A}", "$ first"),
    ],
)
def test_references_in_texts(text: str, result: str) -> None:
    assert filled(text, SECRETS) == result


@pytest.mark.parametrize(
    "text",
    [
        "${secret:}",
        "${secret:a b}",
        "${secret:A",
        "$secret:A}",
        "{secret:A}",
        "${SECRET:A}",
        "${secret:../A}",
        "${A}",
        "${secret:" + "n" * 65 + "}",
        "$ {secret:A}",
        "${secret:é}",
    ],
)
def test_what_is_no_reference_stays_as_it_is(text: str) -> None:
    assert filled(text, {}) == text
    assert secret_names(text) == frozenset()


def test_references_in_payloads() -> None:
    payload = {
        "a": ["${secret:A}", {"b": "x${secret:B}", "${secret:not_in_names}": 1}],
        "c": None,
        "d": "$${secret:escaped}",
        "e": 1.5,
    }
    assert secret_names(payload) == {"A", "B"}
    assert filled(payload, {"A": "1", "B": "2"}) == {
        "a": ["1", {"b": "x2", "${secret:not_in_names}": 1}],
        "c": None,
        "d": "${secret:escaped}",
        "e": 1.5,
    }
    with pytest.raises(KeyError):
        filled(payload, {"A": "1"})


def test_owners_may_name_only_what_the_target_lists() -> None:
    payload = {"key": "${secret:A} ${secret:B} ${secret:C}"}
    assert forbidden_secrets(payload, None, ()) is None
    assert forbidden_secrets(payload, "alice", ("A", "B", "C")) is None
    assert forbidden_secrets({"key": "plain"}, "alice", ()) is None
    assert forbidden_secrets(payload, "alice", ("B",)) == (
        "a schedule that has an owner may not use 'A', 'C': its target's setting `secrets` does not list that"
    )
