"""Files of schedules: what is read out of them, and what is told of those that are wrong."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from agentclock.declaring.files import FILE_BYTES, read_files, read_text
from agentclock.declaring.reading import Declarations

HEAD = "manager: team-a\nschedules:\n"


def read(text: str, file: str = "a.yaml", manager: str | None = None) -> Declarations:
    declarations = Declarations()
    read_text(textwrap.dedent(text), file, manager, declarations)
    declarations.sort_faults()
    return declarations


def fields_of(text: str, file: str = "a.yaml") -> list[dict[str, Any]]:
    """Of all schedules of the only manager, if nothing is wrong."""
    declarations = read(text, file)
    assert not declarations.faults
    (declared,) = declarations.by_manager.values()
    return [one.fields for one in declared]


def faults_of(text: str, file: str = "a.yaml", manager: str | None = None) -> list[str]:
    return [f"{fault.place.line}:{fault.place.column} {fault.message}" for fault in read(text, file, manager).faults]


# what is read


def test_a_list_and_names_with_fields_mean_the_same() -> None:
    listed = """
        manager: team-a
        schedules:
          - name: nightly
            endpoint: /agents/a/runs
            cron_expr: 0 3 * * *
            tags: [x, 'y']
            max_retries: 3
            payload:
              message: |
                Two
                lines.
              ratio: 1.5e3
              more: [true, null, ~, -7, 0x1F, "on", .5]
          - name: other one
            endpoint: /x
    """
    named = """
        manager: team-a
        schedules:
          nightly:
            endpoint: /agents/a/runs
            cron_expr: 0 3 * * *
            tags: [x, 'y']
            max_retries: 3
            payload: {message: "Two\\nlines.\\n", ratio: 1500.0, more: [true, null, null, -7, 31, "on", 0.5]}
          other one: {endpoint: /x}
    """
    nightly = {
        "name": "nightly",
        "endpoint": "/agents/a/runs",
        "cron_expr": "0 3 * * *",
        "tags": ["x", "y"],
        "max_retries": 3,
        "payload": {"message": "Two\nlines.\n", "ratio": 1500.0, "more": [True, None, None, -7, 31, "on", 0.5]},
    }
    assert fields_of(listed) == fields_of(named) == [nightly, {"name": "other one", "endpoint": "/x"}]


def test_defaults_stand_under_each_schedule() -> None:
    text = """
        manager: team-a
        defaults: {endpoint: /x, timezone: Europe/Rome, cron_expr: "@daily", payload: {a: 1}, enabled: false}
        schedules:
          plain:
          own: {timezone: UTC, payload: {b: 2}, enabled: true}
          interval: {interval_seconds: 60}
          demand: {cron_expr: null}
    """
    rome = {"endpoint": "/x", "timezone": "Europe/Rome", "payload": {"a": 1}, "enabled": False}
    assert fields_of(text) == [
        rome | {"name": "plain", "cron_expr": "@daily"},
        {
            "name": "own",
            "endpoint": "/x",
            "timezone": "UTC",
            "cron_expr": "@daily",
            "payload": {"b": 2},
            "enabled": True,
        },
        rome | {"name": "interval", "interval_seconds": 60},
        rome | {"name": "demand", "cron_expr": None},
    ]


def test_aliases_repeat_what_they_name() -> None:
    text = HEAD + "  a: &a {endpoint: /x, payload: &p {m: 1}}\n  b: *a\n  c: {endpoint: /y, payload: *p}\n"
    assert [fields["payload"] for fields in fields_of(text)] == [{"m": 1}] * 3


def test_json_is_read_as_json() -> None:
    content = {
        "$schema": "schedules.schema.json",
        "manager": "team-a",
        "schedules": [{"name": "a", "endpoint": "/x", "payload": {"m": 'tab\t "q" \\ 😀 on', "n": [1.5, None, True]}}],
    }
    text = json.dumps(content, indent="\t")
    assert fields_of(text, "a.json") == fields_of(text, "stdin") == content["schedules"]


def test_several_documents_have_their_own_managers_and_defaults() -> None:
    text = """
        manager: a
        defaults: {endpoint: /a}
        schedules: {one: }
        ---
        ---
        manager: b
        schedules: [{name: two, endpoint: /b}]
    """
    read_ = read(text)
    assert not read_.faults
    assert {name: [one.fields for one in found] for name, found in read_.by_manager.items()} == {
        "a": [{"name": "one", "endpoint": "/a"}],
        "b": [{"name": "two", "endpoint": "/b"}],
    }
    as_list = json.dumps([{"manager": name, "schedules": []} for name in "ab"])
    assert read(as_list, "x.json").by_manager == {"a": [], "b": []}


def test_the_manager_may_be_said_elsewhere() -> None:
    assert read("schedules: []", manager="me").by_manager == {"me": []}
    assert read("{manager: you, schedules: []}", manager="me").by_manager == {"you": []}
    assert faults_of("schedules: []") == ["1:1 manager is missing: write `manager: team-a` here, or say --manager"]


# what is wrong


def test_every_fault_is_told_at_once_with_its_place() -> None:
    text = """\
        manager: team a
        defaults:
          timezone: Europe/Berlim
          timout_seconds: 3
        schedule: 3
        schedules:
          - name: nightly
            endpoint: /agents/a/runs
            cron_expr: "0 25 * * *"
            enabled: "on"
            timeout_secs: 30
          - name: nightly
            endpoint: agents/a/runs
            cron_expr: 61 * * * *
            interval_seconds: 0
            run_at: 2026-99-01
          - endpoint: 3
            tags: [1, x]
            timeout_seconds:
          - 7
    """
    assert faults_of(text) == [
        "1:10 manager must be 1 to 64 letters, digits and . _ -, in quotes if it is a number",
        "3:13 unknown time zone 'Europe/Berlim': did you mean Europe/Berlin or Europe/Dublin or Europe/Rome?",
        "4:3 unknown field 'timout_seconds': did you mean 'timeout_seconds'?",
        "5:1 unknown field 'schedule': did you mean 'schedules'?",
        "9:19 hour: 25 is not in 0-23",
        "10:14 Input should be true or false",
        "11:5 unknown field 'timeout_secs': did you mean 'timeout_seconds'?",
        "12:11 'nightly' is declared already: a.yaml:7:5",
        "13:15 Must be a path that starts with one '/': the base URL belongs to the target's configuration",
        "14:16 minute: 61 is not in 0-59",
        "15:23 Input should be greater than or equal to 1",
        "16:13 is not an ISO 8601 time: write it like 2026-03-29T02:30:00+01:00, or without the offset for a time in "
        "the zone",
        "17:5 is missing",
        "17:15 must be text: write it in quotes",
        "18:12 must be text: write it in quotes",
        "19:21 is empty: give a value, or leave the line out for the default",
        "20:5 must be a schedule, with at least `name:` and `endpoint:`",
    ]
    assert {fault.schedule for fault in read(text).faults} == {None, "nightly"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("on", "'on' is true to some readers of YAML and text to others: write true, or 'on' in quotes"),
        ("No", "'No' is false to some readers of YAML and text to others: write false, or 'No' in quotes"),
        ("0123", "'0123' is not the same number to all readers of YAML: write it in quotes if it is text"),
        ("0o17", "'0o17' is not the same number to all readers of YAML: write it in quotes if it is text"),
        ("1_000", "'1_000' is not the same number to all readers of YAML: write it in quotes if it is text"),
        ("12:30", "'12:30' is not the same number to all readers of YAML: write it in quotes if it is text"),
        (".nan", "JSON has no number .nan: write it in quotes if it is text"),
        ("!!python/name:os.system x", "tags are not read: take !!python/name:os.system away"),
        ("!mine x", "tags are not read: take !mine away"),
        ("*nothing", "'*nothing' stands for nothing: a value that begins with * belongs in quotes"),
    ],
)
def test_values_that_readers_take_differently_are_refused(value: str, message: str) -> None:
    text = HEAD + f"  a: {{endpoint: /x, payload: {{m: {value}}}}}\n"
    assert faults_of(text) == [f"3:34 {message}"]


@pytest.mark.parametrize("value", ["2026-01-01", "2026-01-01T02:30:00", "1.2.3", "a on", "10.0.0.1:80", "=", "~/x"])
def test_what_only_looks_unusual_is_text(value: str) -> None:
    assert fields_of(HEAD + f"  a: {{endpoint: /x, payload: {{m: {value}}}}}\n")[0]["payload"] == {"m": value}


@pytest.mark.parametrize(
    ("text", "place", "part"),
    [
        ("manager: a\nmanager: b\nschedules: []\n", "2:1", "'manager' stands here twice: see line 1"),
        (HEAD + "  a: {endpoint: /x}\n  a: {endpoint: /y}\n", "4:3", "'a' stands here twice: see line 3"),
        (HEAD + "  a: {endpoint: /x, payload: {1: 2}}\n", "3:31", "a name must be text: write it in quotes"),
        (HEAD + "  a: &a {endpoint: /x}\n  b: {endpoint: /y, <<: *a}\n", "4:21", "merge keys are not read"),
        (HEAD + "  a: {endpoint: /x}\n  b: /y\n", "4:6", "'b' must have fields"),
        (HEAD + "  a: {name: b, endpoint: /x}\n", "3:7", "the name stands in front already"),
        (HEAD + "  a:\n    cron_expr: * * * * *\n", "4:16", "A value that begins with * belongs in quotes"),
        (HEAD + "  a:\n    cron_expr: @daily\n", "4:16", "A value that begins with @ belongs in quotes"),
        (HEAD + "  a:\n    description: so: it is\n", "4:20", "A value with ': ' in it belongs in quotes"),
        (HEAD + "  a:\n\tendpoint: /x\n", "4:1", "Indent with blanks, not with tabs"),
        ("manager: a\nschedules: 3\n", "2:12", "schedules must be a list, or names with their fields"),
        ("manager: a\n", "1:1", "schedules is missing"),
        ("manager: a\ndefaults: [1]\nschedules: []\n", "2:11", "defaults must be fields of schedules"),
        ("manager: a\ndefaults: {name: x}\nschedules: []\n", "2:12", "unknown field 'name'"),
        ("just text", "1:1", "must have `manager:` and `schedules:`"),
        ("# nothing\n---\n", "1:1", "is empty"),
        ("manager: 5\nschedules: []\n", "1:10", "in quotes if it is a number"),
        ("a: \x01", "1:4", "contains a character that YAML does not allow"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, place: str, part: str) -> None:
    faults = faults_of(text)
    assert faults[0].startswith(f"{place} "), faults
    assert part in faults[0]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"manager": "a", "schedules": []', "1:33 is no JSON: Expecting ',' delimiter"),
        ('{"manager": "a",\n "manager": "b", "schedules": []}', "2:2 'manager' stands here twice: see line 1"),
        (
            '{"manager": "a",\n "schedules": [{"name": "x", "endpoint": "/x", "payload": {"n": NaN}}]}',
            "2:65 NaN is no JSON: leave it out, or write null",
        ),
        (
            '{"manager": "a",\n "schedules": [{"name": "x", "endpoint": "/x", "cron_expr": "0 0 31 2 *"}]}',
            "2:66 day-of-month: never fires: no year has a day like '0 0 31 2 *'",
        ),
        ("[" * 50_000, "1:1 is nested too deep"),
        ('{"a": 1' + "0" * 5_000 + "}", "1:1 contains a number with too many digits"),
    ],
)
def test_what_is_wrong_in_json_is_named(text: str, fault: str) -> None:
    assert faults_of(text, "a.json")[0] == fault


def test_a_default_that_is_wrong_is_told_once() -> None:
    text = "manager: a\ndefaults: {endpoint: x}\nschedules: {a: , b: , c: }\n"
    assert [fault[:5] for fault in faults_of(text)] == ["2:22 "]


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "\n".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        "a: " + "[" * 200 + "]" * 200,
        "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} {'[' * 40}*a{n - 1}{']' * 40}" for n in range(1, 5))]),
    ],
)
def test_small_files_cannot_grow_large(text: str) -> None:
    assert any(part in faults_of(text)[0] for part in ("more than 500,000 values", "is nested too deep"))


def test_an_alias_of_itself_is_refused() -> None:
    assert "'*a' stands for nothing" in faults_of(HEAD + "  a: &a {endpoint: /x, payload: {m: *a}}\n")[0]


# files and folders


def test_folders_are_read_with_what_is_below_them(tmp_path: Path) -> None:
    for name, manager in (
        ("b.yaml", "b"),
        ("sub/a.yml", "a"),
        ("c.json", "c"),
        (".hidden/x.yaml", "x"),
        ("d.txt", "d"),
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"manager": manager, "schedules": []}))
    (tmp_path / "schedules.schema.json").write_text("{}")
    read_ = read_files([str(tmp_path), str(tmp_path / "b.yaml"), "-"], "stdin", lambda: b"schedules: []")
    assert (read_.faults, list(read_.by_manager)) == ([], ["b", "c", "a", "stdin"])


def test_files_that_cannot_be_read_are_named_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"manager: a\n# \xe4\n")
    (tmp_path / "large.yaml").write_bytes(b"#" * (FILE_BYTES + 1))
    (tmp_path / "empty").mkdir()
    paths = [str(tmp_path / name) for name in ("latin.yaml", "large.yaml", "empty", "missing.yaml")]
    read_ = read_files(paths, None, lambda: b"")
    assert [f"{Path(fault.place.file).name}:{fault.place.line} {fault.message}" for fault in read_.faults] == [
        "empty:1 has no files that end in .json, .yaml, .yml",
        "large.yaml:1 is larger than 16,777,216 bytes",
        "latin.yaml:2 is no text in UTF-8",
        "missing.yaml:1 cannot be read: No such file or directory",
    ]


def test_a_name_is_declared_once_in_all_files(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"{number}.yaml").write_text(f"manager: m{number}\nschedules: {{x: {{endpoint: /x}}}}\n")
    (fault,) = read_files([str(tmp_path)], None, lambda: b"").faults
    assert fault.message == f"'x' is declared already: {tmp_path / '1.yaml'}:2:13"
