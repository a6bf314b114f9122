"""What callers may write into a schedule, field by field."""

from __future__ import annotations

from typing import Any

import pytest

from agentclock.core.errors import InvalidField
from agentclock.core.model import Schedule, Target
from agentclock.core.storable import PAYLOAD_BYTES, is_deeper, payload_fault
from agentclock.drafts import PreviewDraft, ScheduleDraft, SchedulePatch, read_draft, with_values

GOOD: dict[str, Any] = {"name": "nightly", "endpoint": "/agents/a/runs"}


def nested(levels: int) -> Any:
    """Objects and arrays by turns, an object outside."""
    value: Any = {}
    for level in range(levels - 1):
        value = {"a": value} if (levels - level) % 2 == 0 else [value]
    return value


def refused(field: str, value: Any, model: type[ScheduleDraft] | type[SchedulePatch] = ScheduleDraft) -> InvalidField:
    with pytest.raises(InvalidField) as caught:
        read_draft(model, GOOD | {field: value})
    assert caught.value.field.split(".")[0] == field
    return caught.value


@pytest.mark.parametrize(
    ("field", "lowest", "highest"),
    [
        ("interval_seconds", 1, 31_536_000),
        ("max_runs", 1, 1_000_000),
        ("jitter_seconds", 0, 3600),
        ("catch_up_window_seconds", 0, 2_678_400),
        ("catch_up_limit", 1, 1_000),
        ("catch_up_stagger_seconds", 0, 3_600),
        ("misfire_grace_seconds", 0, 86_400),
        ("timeout_seconds", 1, 86_400),
        ("max_retries", 0, 10),
        ("retry_delay_seconds", 1, 3600),
        ("retry_max_delay_seconds", 1, 86_400),
    ],
)
@pytest.mark.parametrize("model", [ScheduleDraft, SchedulePatch])
def test_a_number_has_limits(
    field: str, lowest: int, highest: int, model: type[ScheduleDraft] | type[SchedulePatch]
) -> None:
    for value in (lowest, highest):
        assert getattr(read_draft(model, GOOD | {field: value}), field) == value
    wrong: list[Any] = [lowest - 1, highest + 1, 10**30, True, 1.5, float("nan"), float("inf"), "many", [], {}]
    for value in wrong:
        refused(field, value, model)


@pytest.mark.parametrize(
    ("field", "longest"),
    [("name", 255), ("description", 1024), ("target", 64), ("cron_expr", 128), ("timezone", 64), ("endpoint", 512)],
)
def test_a_text_has_a_longest(field: str, longest: int) -> None:
    text = ("/" if field == "endpoint" else "a") + "b" * (longest - 1)
    assert getattr(read_draft(ScheduleDraft, GOOD | {field: text}), field) == text
    refused(field, text + "b")


@pytest.mark.parametrize("field", ["name", "description", "endpoint", "target", "cron_expr", "timezone", "run_at"])
@pytest.mark.parametrize("text", ["/a\0b", "/a\ud800b", "\udfff"])
def test_no_text_holds_a_nul_or_a_lone_surrogate(field: str, text: str) -> None:
    refused(field, text)


@pytest.mark.parametrize("name", ["a", "0", "A b._-c", "x" * 255])
def test_a_name_is_plain(name: str) -> None:
    assert read_draft(ScheduleDraft, GOOD | {"name": name}).name == name


@pytest.mark.parametrize("name", ["", " a", ".a", "-a", "a/b", "a\n", "ä", "a\tb", "a'b", "٣"])
def test_other_names_are_refused(name: str) -> None:
    refused("name", name)


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "agents/a",
        "//evil.example/x",
        "http:evil.example/",
        "ftp://evil.example/",
        "http://evil.example/#x",
        "http://me@evil.example/",
        "http://evil.example/a/../b",
        "http://evil.example/a b",
        "http://0x7f000001/",
        "/x?u=http://y",
        "/a b",
        "/a\tb",
        "/a\x7f",
        "/a\u00a0b",
        "/a#b",
        "/a\\b",
        "/a%5Cb",
        "/../a",
        "/a/./b",
        "/a/%2e%2E/b",
    ],
)
def test_an_endpoint_is_a_path_on_the_target(endpoint: str) -> None:
    refused("endpoint", endpoint)


def test_a_method_is_read_in_any_case() -> None:
    assert read_draft(ScheduleDraft, GOOD | {"method": "delete"}).method == "DELETE"
    refused("method", "TRACE")
    refused("method", None)


@pytest.mark.parametrize("field", ["overlap", "catch_up", "retry_backoff"])
def test_a_policy_is_one_of_its_words(field: str) -> None:
    assert "'" in refused(field, "sometimes").message


def test_tags_are_few_short_and_distinct() -> None:
    assert read_draft(ScheduleDraft, GOOD | {"tags": ["b", "a", "b"]}).tags == ("b", "a")
    assert len(read_draft(ScheduleDraft, GOOD | {"tags": [str(n) for n in range(20)]}).tags) == 20
    for tags in ([str(n) for n in range(21)], ["x" * 65], [""], ["a\0"], "ab", [1], {"a": 1}, None):
        refused("tags", tags)


@pytest.mark.parametrize(
    "payload",
    [
        {"n": float("nan")},
        {"n": [float("inf")]},
        {"n": -float("inf")},
        {"t": "\ud800"},
        {"\udc00": 1},
        {"t": "a\0b"},
        {"a": {"\0": 1}},
        {"t": "\\\0"},
        {"t": object()},
        {"t": {1, 2}},
        nested(65),
        nested(500),
        nested(100_000),
        {"t": "x" * PAYLOAD_BYTES},
        [],
        "text",
        1,
        float("nan"),
    ],
    ids=lambda payload: type(payload).__name__,
)
def test_a_payload_must_be_proper_json(payload: Any) -> None:
    assert refused("payload", payload).field == "payload"


@pytest.mark.parametrize(
    "payload",
    [None, {}, {"t": "\\u0000 \\\\u0000 😀 \x01\x7f"}, {"n": 10**400}, nested(64), {"t": "x" * (PAYLOAD_BYTES - 8)}],
    ids=["null", "empty", "escapes", "big number", "64 levels", "1 MiB"],
)
def test_a_proper_payload_is_taken_as_it_is(payload: Any) -> None:
    assert read_draft(ScheduleDraft, GOOD | {"payload": payload}).payload == payload


def test_the_size_of_a_payload_counts_bytes() -> None:
    assert payload_fault({"t": "é" * (PAYLOAD_BYTES // 2 - 4)}) is None
    assert "1,048,57" in str(payload_fault({"t": "é" * (PAYLOAD_BYTES // 2)}))


def test_depth_is_counted_from_the_payload_itself() -> None:
    assert not is_deeper(1, 0)
    assert is_deeper({}, 0)
    assert not is_deeper([], 1)
    assert is_deeper([{}], 1)


@pytest.mark.parametrize(
    ("field", "hint"),
    [
        ("cron", "did you mean 'cron_expr'?"),
        ("time_zone", "did you mean 'timezone'?"),
        ("retries", "did you mean 'max_retries'?"),
        ("id", "read-only"),
        ("next_run_at", "read-only"),
        ("explanation", "read-only"),
        ("enabled", "use enable and disable"),
        ("zzz", "unknown field 'zzz'"),
    ],
)
@pytest.mark.parametrize("model", [ScheduleDraft, SchedulePatch])
def test_an_unknown_field_is_refused_with_a_hint(
    field: str, hint: str, model: type[ScheduleDraft] | type[SchedulePatch]
) -> None:
    assert hint in refused(field, "x", model).message


def test_an_unknown_field_of_any_length_is_refused_quickly() -> None:
    assert len(refused("x" * 1_000_000, 1).message) < 100


def test_name_and_endpoint_are_required() -> None:
    for missing in ("name", "endpoint"):
        with pytest.raises(InvalidField) as caught:
            read_draft(ScheduleDraft, {key: value for key, value in GOOD.items() if key != missing})
        assert caught.value.field == missing


MAY_BE_EMPTY = (
    "description", "payload", "run_at", "interval_seconds", "start_at", "end_at", "max_runs", "idle_timeout_seconds",
    "approval_timeout_seconds", "on_lost", "ping_url",
)  # fmt: skip


@pytest.mark.parametrize("field", sorted(SchedulePatch.model_fields.keys() - set(MAY_BE_EMPTY)))
def test_a_patch_may_not_empty_what_is_required(field: str) -> None:
    refused(field, None, SchedulePatch)


@pytest.mark.parametrize("field", MAY_BE_EMPTY)
def test_a_patch_may_empty_the_rest(field: str) -> None:
    assert read_draft(SchedulePatch, {field: None}).values() == {field: None}


def test_a_patch_holds_what_was_sent_and_nothing_else() -> None:
    assert read_draft(SchedulePatch, {}).values() == {}
    assert read_draft(SchedulePatch, {"tags": [], "max_retries": 0}).values() == {"tags": (), "max_retries": 0}


def test_patch_and_draft_know_the_same_fields() -> None:
    assert SchedulePatch.model_fields.keys() == ScheduleDraft.model_fields.keys()


def test_the_defaults_of_a_draft_are_those_of_the_model() -> None:
    plain = Schedule(id="1", name="nightly", target=Target(endpoint="/agents/a/runs"))
    assert with_values(plain, read_draft(ScheduleDraft, GOOD).values()) == plain


def test_every_plain_field_reaches_the_schedule() -> None:
    sent = GOOD | {
        "description": "d", "method": "PUT", "target": "hooks", "payload": {"a": 1}, "jitter_seconds": 1,
        "overlap": "cancel", "catch_up": "all", "catch_up_window_seconds": 2, "misfire_grace_seconds": 3,
        "timeout_seconds": 4, "max_retries": 5, "retry_delay_seconds": 6, "retry_backoff": "exponential",
        "retry_max_delay_seconds": 7, "tags": ["t"],
    }  # fmt: skip
    plain = Schedule(id="1", name="x", target=Target(endpoint="/x"))
    made = with_values(plain, read_draft(ScheduleDraft, sent).values())
    assert (made.name, made.description, made.tags) == ("nightly", "d", ("t",))
    assert made.target == Target(name="hooks", method="PUT", endpoint="/agents/a/runs", payload={"a": 1})
    assert (made.jitter_seconds, made.overlap, made.catch_up) == (1, "cancel", "all")
    assert (made.catch_up_window_seconds, made.misfire_grace_seconds, made.timeout_seconds) == (2, 3, 4)
    assert (made.retry.max_retries, made.retry.delay_seconds) == (5, 6)
    assert (made.retry.backoff, made.retry.max_delay_seconds) == ("exponential", 7)


def test_a_preview_shows_between_one_and_a_hundred_fires() -> None:
    assert read_draft(PreviewDraft, {}).count == 10
    for count in (0, 101):
        with pytest.raises(InvalidField, match="count"):
            read_draft(PreviewDraft, {"count": count})


@pytest.mark.parametrize("given", [None, [], "text", 1])
def test_what_is_no_mapping_is_refused(given: Any) -> None:
    with pytest.raises(InvalidField):
        read_draft(ScheduleDraft, given)


def test_an_endpoint_in_full_is_a_matter_of_the_settings() -> None:
    for endpoint in ("https://hooks.example/x?y=1", "http://10.0.0.1:8000", "https://[fd00::1]/agents/a/runs"):
        assert read_draft(ScheduleDraft, GOOD | {"endpoint": endpoint}).endpoint == endpoint
        assert read_draft(SchedulePatch, {"endpoint": endpoint}).endpoint == endpoint
