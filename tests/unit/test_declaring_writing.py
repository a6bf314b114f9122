"""Schedules written as files and read again: nothing is lost on the way, and nothing is said twice."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentclock.api.schemas import schedule_fields
from agentclock.calling import CallRules
from agentclock.changing import Changes
from agentclock.core.model import Schedule, Target
from agentclock.core.storable import same_json
from agentclock.declaring.checking import read_declared
from agentclock.declaring.editors import json_schema
from agentclock.declaring.files import read_text
from agentclock.declaring.model import (
    DEFAULTS,
    DeclaredSchedule,
    differences,
    fields_of,
    manager_of,
    mark_of,
)
from agentclock.declaring.reading import Declarations
from agentclock.declaring.writing import HEADER, document, yaml_of
from agentclock.drafts import ScheduleDraft

NOW = 1_767_225_600_000
CHANGES = Changes(CallRules(("default", "hooks"), origins=(), secrets={}))
BLANK = Schedule(id="s", name="n", target=Target(endpoint="/"), created_at=NOW, timetable_since=NOW)

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
words = st.sampled_from(
    ["on", "No", "~", "12:30", "0123", "1e3", "a: b", "- x", "two\nlines\n", "x\n  y", " lead", "#"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts | words, inner, max_size=3),
    max_leaves=8,
)
timings = st.one_of(
    st.fixed_dictionaries({"cron_expr": st.sampled_from(["0 3 * * *", "@daily", "*/5 * * * mon-fri", ""])}),
    st.fixed_dictionaries({"run_at": st.sampled_from(["2026-05-01T12:00:00.250Z", "2030-03-31 02:30"])}),
    st.fixed_dictionaries({"interval_seconds": st.integers(1, 31_536_000)}),
    st.just({}),
)
drafts = st.fixed_dictionaries(
    {"name": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,20}", fullmatch=True), "endpoint": st.just("/agents/a/runs")},
    optional={
        "description": texts,
        "method": st.sampled_from(["GET", "post", "PUT"]),
        "target": st.just("hooks"),
        "payload": st.dictionaries(texts | words, values, max_size=4),
        "timezone": st.sampled_from(["europe/berlin", "America/New_York"]),
        "start_at": st.just("2026-02-01"),
        "end_at": st.just("2031-01-01T00:00:00+02:00"),
        "jitter_seconds": st.integers(0, 3600),
        "overlap": st.sampled_from(["skip", "queue", "allow", "cancel"]),
        "catch_up": st.sampled_from(["latest", "none", "all"]),
        "idle_timeout_seconds": st.none() | st.integers(1, 100),
        "approval_timeout_seconds": st.none() | st.integers(1, 100),
        "on_lost": st.sampled_from([None, "retry", "fail"]),
        "max_retries": st.integers(0, 10),
        "retry_backoff": st.sampled_from(["fixed", "exponential"]),
        "tags": st.lists(st.text("abcäé:#- ", min_size=1, max_size=8), max_size=3),
        "ping_url": st.just("https://hc.example.com/ping/1"),
    },
)


def stored(draft: dict[str, Any], *, enabled: bool = True) -> Schedule:
    values_ = ScheduleDraft(**draft).values()
    return replace(CHANGES.changed(replace(BLANK, name=draft["name"]), values_, NOW), enabled=enabled)


def read(text: str) -> dict[str, Any]:
    """The only schedule of a file."""
    declarations = Declarations()
    read_text(text, "pulled.yaml", None, declarations)
    assert not declarations.faults
    ((only,),) = declarations.by_manager.values()
    return only.fields


@settings(max_examples=100)
@given(drafts, timings, st.booleans())
@example({"name": "n", "endpoint": "/x", "payload": {"m": "a\x85b\u2028c\ufeff\x7f"}}, {}, True)
def test_what_is_pulled_changes_nothing_when_it_is_applied(
    draft: dict[str, Any], timing: dict[str, Any], enabled: bool
) -> None:
    row = stored(draft | timing, enabled=enabled)
    text = yaml_of([document("team-a", [schedule_fields(row)])])
    declared, faults = read_declared(read(text))
    assert (declared is None, faults) == (False, [])
    assert declared is not None
    assert declared.enabled is (None if enabled else False)
    again = CHANGES.changed(row, declared.values(), NOW + 1_000)
    assert (differences(row, again), again.next_fire_at) == ({}, row.next_fire_at)
    made = CHANGES.changed(replace(BLANK, name=row.name), declared.values(), NOW)
    assert differences(replace(made, enabled=enabled), row) == {}
    assert read(json.dumps(document("team-a", [schedule_fields(row)]))) == read(text)


def test_only_what_is_not_the_default_is_written() -> None:
    rows = [
        stored({"name": "b", "endpoint": "/x", "cron_expr": "0 3 * * *"}),
        stored(
            {"name": "a", "endpoint": "/y", "payload": {"message": "Two\nlines.\n"}, "max_retries": 2}, enabled=False
        ),
    ]
    assert yaml_of([document("team-a", map(schedule_fields, rows)), document(None, [])]) == (
        f"{HEADER}"
        "manager: team-a\n"
        "schedules:\n"
        "  - name: a\n"
        "    enabled: false\n"
        "    endpoint: /y\n"
        "    payload:\n"
        "      message: |\n"
        "        Two\n"
        "        lines.\n"
        "    max_retries: 2\n"
        "\n"
        "  - name: b\n"
        "    endpoint: /x\n"
        '    cron_expr: "0 3 * * *"\n'
        "---\n"
        "schedules: []\n"
    )


def test_fields_are_those_of_drafts_with_the_same_defaults() -> None:
    plain = stored({"name": "n", "endpoint": "/x"})
    fields = fields_of(plain)
    assert fields.keys() == DeclaredSchedule.model_fields.keys()
    assert {name: value for name, value in fields.items() if name in DEFAULTS} == DEFAULTS
    shown = schedule_fields(plain)
    assert {name: shown[name] for name in fields} == fields


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1, True), (1, True, False), (1, 1.0, False), ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": [1]}, {"a": [True]}, False), ({"a": 0}, {"a": False}, False), (None, None, True), ("1", 1, False),
    ],
)  # fmt: skip
def test_values_are_compared_as_json(one: Any, other: Any, same: bool) -> None:
    assert same_json(one, other) is same


def test_managers_have_a_mark() -> None:
    assert (mark_of("team-a"), manager_of("apply:team-a")) == ("apply:team-a", "team-a")
    assert (manager_of(None), manager_of("company")) == (None, None)


@settings(max_examples=12)
@given(drafts, timings)
def test_the_schema_for_editors_accepts_what_is_read(draft: dict[str, Any], timing: dict[str, Any]) -> None:
    fields = draft | timing | {"method": "PUT"}
    named = {name: value for name, value in fields.items() if name != "name"}
    check = jsonschema.Draft7Validator(json_schema())
    for schedules in ([fields], {fields["name"]: named}, {fields["name"]: None}):
        content = {"manager": "team-a", "defaults": {"timezone": "UTC", "enabled": True}, "schedules": schedules}
        check.validate(content)


@pytest.mark.parametrize(
    "content",
    [
        {"manager": "team a", "schedules": []},
        {"manager": "a"},
        {"manager": "a", "schedules": [{"endpoint": "/x"}]},
        {"manager": "a", "schedules": [{"name": "x", "timeout": 3}]},
        {"manager": "a", "schedules": [{"name": "x", "enabled": "on"}]},
        {"manager": "a", "schedules": {"x": {"max_retries": 11}}},
        {"manager": "a", "schedules": {"x": {"name": "x"}}},
        {"manager": "a", "defaults": {"name": "x"}, "schedules": []},
        {"manager": "a", "schedules": [], "more": 1},
    ],
)
def test_the_schema_for_editors_refuses_what_is_not_read(content: Any) -> None:
    jsonschema.Draft7Validator.check_schema(json_schema())
    assert not jsonschema.Draft7Validator(json_schema()).is_valid(content)
