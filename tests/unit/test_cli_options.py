"""How commands read what is given to them: times, fields of schedules, answers to questions, text of an editor."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Self

import pytest

from agentclock.cli import moments
from agentclock.cli.arguments import read_json, read_payload
from agentclock.cli.client import ExitCode, Trouble
from agentclock.cli.editing import EDITABLE, changes_of, edited, from_text, to_text, with_remark
from agentclock.cli.moments import away, clock, lasted, read_local, read_moment, rfc3339, roughly
from agentclock.cli.run_orders import read_answers
from agentclock.cli.schedule_drafts import changed_timing, read_fields, timing_of
from agentclock.cli.wording import timetable

NOW = datetime(2026, 3, 29, 12, 30, tzinfo=UTC)


@pytest.fixture
def _here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class _Still(datetime):
    """A clock that stands still: between two looks at a real one, midnight may pass."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls.fromtimestamp(NOW.timestamp(), tz)


@pytest.fixture
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "datetime", _Still)


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("now", "2026-03-29T12:30:00.000Z"),
        ("-2h", "2026-03-29T10:30:00.000Z"),
        ("24h", "2026-03-28T12:30:00.000Z"),
        ("+90s", "2026-03-29T12:31:30.000Z"),
        ("+5min", "2026-03-29T12:35:00.000Z"),
        ("-1w", "2026-03-22T12:30:00.000Z"),
        ("today", "2026-03-28T23:00:00.000Z"),
        ("Yesterday", "2026-03-27T23:00:00.000Z"),
        ("tomorrow", "2026-03-29T22:00:00.000Z"),  # clocks went forward meanwhile
        ("2026-01-01", "2025-12-31T23:00:00.000Z"),
        ("2026-07-01T03:00", "2026-07-01T01:00:00.000Z"),
        ("2026-07-01T03:00+05:00", "2026-06-30T22:00:00.000Z"),
        ("2026-07-01T03:00Z", "2026-07-01T03:00:00.000Z"),
    ],
)
def test_times_are_of_this_machine_unless_they_say_otherwise(text: str, at: str) -> None:
    assert read_moment("--from", text, NOW) == at


@pytest.mark.parametrize("text", ["soon", "-3y", "2026-13-01", "", "-9999999d"])
def test_what_is_no_time_is_said_with_what_is_one(text: str) -> None:
    with pytest.raises(Trouble, match=r"--from: .* is no time: write 2026-03-01, .* -24h") as refused:
        read_moment("--from", text, NOW)
    assert refused.value.code is ExitCode.USAGE


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("03:00", "2026-03-29T03:00"),
        ("3:00", "2026-03-29T03:00"),
        ("21:29", "2026-03-29T21:29"),
        ("21:31", "2026-03-28T21:31"),
        ("2026-03-29T02:30", "2026-03-29T02:30"),
        ("-2h", "2026-03-29T10:30:00.000Z"),
    ],
)
def test_times_of_day_are_the_last_ones_in_the_zone_of_the_schedule(text: str, at: str) -> None:
    assert read_local("--at", text, "Asia/Tokyo", NOW) == at  # where it is 21:30


@pytest.mark.usefixtures("_now")
def test_durations_are_short() -> None:
    assert [lasted(ms) for ms in (None, 0, 999, 1_500, 150_000, 8 * 3_600_000, 3 * 86_400_000)] == [
        "", "0 ms", "999 ms", "1.5 s", "2.5 min", "8.0 h", "3.0 d"
    ]  # fmt: skip
    assert [roughly(seconds) for seconds in (5, 89, 90, 7_200, 200_000)] == ["5 s", "89 s", "2 min", "2 h", "2 d"]
    assert away(rfc3339(NOW + timedelta(hours=3))) == "in 3 h"
    assert away(rfc3339(NOW - timedelta(minutes=5))) == "5 min ago"
    assert away(None) == ""


@pytest.mark.usefixtures("_here", "_now")
def test_times_are_as_short_as_they_can_be_read() -> None:
    assert clock("2026-03-28T23:00:00.000Z") == "00:00:00"
    assert clock("2026-03-28T22:59:59.000Z") == "Sat 28 Mar 23:59:59"
    assert clock("2026-03-29T22:00:00.000Z") == "Mon 30 Mar 00:00:00"
    assert clock("2001-07-01T22:30:00.000Z") == "2001-07-02 00:30:00"
    assert clock("2001-07-01T22:30:00.000Z", "Asia/Tokyo") == "2001-07-02 07:30:00"
    assert clock(None) == ""


def options(**given: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(
        ("cron_expr", "interval_seconds", "run_at", "agent", "team", "workflow", "endpoint", "message", "payload",
         "tags", "others")
    )  # fmt: skip
    return {**nothing, "on_demand": False, **given}


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({}, {}),
        ({"agent": "a b/c"}, {"endpoint": "/agents/a%20b%2Fc/runs"}),
        ({"team": "t"}, {"endpoint": "/teams/t/runs"}),
        ({"workflow": "w"}, {"endpoint": "/workflows/w/runs"}),
        ({"endpoint": "/x", "on_demand": True}, {"endpoint": "/x", "cron_expr": ""}),
        ({"message": "hi", "payload": '{"a": 1}'}, {"payload": {"a": 1, "message": "hi"}}),
        ({"message": "hi"}, {"payload": {"message": "hi"}}),
        ({"tags": ["a", "b"]}, {"tags": ["a", "b"]}),
        ({"others": ["on_lost=retry", "max_runs=3", "ping_url=null", "a=b=c"]},
         {"on_lost": "retry", "max_runs": 3, "ping_url": None, "a": "b=c"}),
        ({"cron_expr": "0 3 * * *", "others": ["cron_expr=@daily"]}, {"cron_expr": "@daily"}),
    ],
)  # fmt: skip
def test_options_become_fields(given: dict[str, Any], fields: dict[str, Any]) -> None:
    assert read_fields(options(**given)) == fields


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"agent": "a", "team": "b"}, "--agent and --team exclude each other"),
        ({"workflow": "a", "endpoint": "/b"}, "--workflow and --endpoint exclude each other"),
        ({"payload": "{"}, "--payload: it is no JSON"),
        ({"payload": "@/nowhere"}, "--payload @/nowhere: No such file"),
        ({"payload": "[1]", "message": "x"}, "--payload must be a JSON object"),
        ({"others": ["on_lost"]}, "--set 'on_lost' must be FIELD=VALUE"),
    ],
)
def test_options_that_cannot_be(given: dict[str, Any], message: str) -> None:
    with pytest.raises(Trouble, match=message) as refused:
        read_fields(options(**given))
    assert refused.value.code is ExitCode.USAGE


def test_payloads_come_from_files_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.json").write_text('{"a": 1}')
    assert read_json("--payload", f"@{tmp_path}/p.json") == {"a": 1}
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"b": 2}'))
    assert read_payload("-", "hi") == {"b": 2, "message": "hi"}
    assert read_payload(None, None) is None


def test_one_timetable_takes_the_place_of_another() -> None:
    before = {"cron_expr": "0 3 * * *", "run_at": None, "interval_seconds": None, "timezone": "UTC", "start_at": None}
    assert timing_of(before) == {"cron_expr": "0 3 * * *", "timezone": "UTC"}
    assert changed_timing(before, {"interval_seconds": 60}) == {"interval_seconds": 60, "timezone": "UTC"}
    assert changed_timing(before, {"timezone": "Asia/Tokyo"}) == {"cron_expr": "0 3 * * *", "timezone": "Asia/Tokyo"}
    assert changed_timing(before, {"cron_expr": ""}) == {}
    assert changed_timing(before, {"description": "x"}) is None


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"explanation": "At 03:00"}, "At 03:00"),
        ({"cron_expr": "0 3 * * *", "timezone": "UTC"}, "0 3 * * *  UTC"),
        ({"interval_seconds": 5}, "every 5 s"),
        ({"cron_expr": None, "run_at": None}, "on demand"),
    ],
)
def test_timetables_in_words(row: dict[str, Any], words: str) -> None:
    assert timetable(row) == words


def asking(**fields: str | None) -> dict[str, Any]:
    """A run that asks for these, each of its type."""
    return {"approval": [{"fields": [{"name": name, "type": kind} for name, kind in fields.items()]}]}


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ([], None),
        (["text=yes", "plain=12"], {"text": "yes", "plain": "12"}),
        (["number=12", "flag=True"], {"number": 12, "flag": True}),
        (["several=a, b"], {"several": ["a", "b"]}),
        (['several=["a, b"]'], {"several": '["a, b"]'}),
    ],
)
def test_answers_are_of_the_type_that_is_asked_for(given: list[str], values: Any) -> None:
    run = asking(text="str", plain=None, number="int", flag="bool", several="list")
    if values and given[0].startswith("several=["):
        values = {"several": ["a, b"]}
    assert read_answers(given, run) == values


def test_answers_to_nothing_that_was_asked() -> None:
    with pytest.raises(Trouble, match="it asks for amount"):
        read_answers(["amuont=1"], asking(amount="int"))
    with pytest.raises(Trouble, match="must be FIELD=VALUE"):
        read_answers(["amount"], {})
    with pytest.raises(Trouble, match="--answer: it is no JSON"):
        read_answers(["amount=many"], asking(amount="int"))
    assert read_answers(["whatever=1"], {}) == {"whatever": "1"}


SHOWN = {"name": "night", "description": None, "payload": {"message": "# heading\n\nböse: \x1b[31m"}, "tags": ["a"]}


def test_a_schedule_goes_through_an_editor_and_back() -> None:
    text = to_text(SHOWN)
    assert from_text(text) == SHOWN
    assert "\x1b" not in text
    assert changes_of(SHOWN, from_text(text) or {}) == {}
    changed = text.replace("night", "day").replace("tags:\n  - a\n", "")
    assert changes_of(SHOWN, from_text(changed) or {}) == {"name": "day", "tags": None}
    assert from_text('{"name": "json"}') == {"name": "json"}
    assert from_text("# nothing\n") is None
    assert {"name", "cron_expr", "payload"} <= set(EDITABLE)
    assert not {"id", "enabled", "version"} & set(EDITABLE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# x\na: [1", "is no YAML"),
        ("- a", "it must be names of fields"),
        ("just text", "it must be names of fields"),
        ("b: 1\na: on\n", "^'a: on': 'on' is true to some readers"),
        ('{"a": 1, "a": 2}', "stands here twice"),
    ],
)
def test_what_an_editor_leaves_behind_may_be_unreadable(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_text(text)


def test_what_is_wrong_stands_above_what_was_written_once() -> None:
    once = with_remark("a: 1\n", "a: is\nwrong")
    assert once == "# ! a: is\n# ! wrong\na: 1\n"
    assert with_remark(once, "b").splitlines() == ["# ! b", "a: 1"]


def test_the_editor_is_the_one_of_the_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "sed -i s/night/day/")
    assert edited("name: night\n") == "name: day\n"
    monkeypatch.setenv("VISUAL", "false")
    with pytest.raises(Trouble, match="the editor ended with code 1: nothing was changed"):
        edited("x")
    monkeypatch.setenv("VISUAL", "/nowhere/editor")
    with pytest.raises(Trouble, match="cannot be started"):
        edited("x")
