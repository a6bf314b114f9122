"""What commands show: nothing that others say steers a terminal, and scripts get lines that stay as they are."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest

from agentclock.cli.following import Lines, Teller, questions
from agentclock.cli.output import Column, Output, as_text, harmless, one_line, plain_column, raw_of, text_of, to_json

NASTY = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b]52;c;ZWNobyBoaQ==\x07",
    "\x9b31m",
    "\x08\x08\x08overwritten",
    "first\rsecond",
    "\u202egnp.exe",
    "\u2066hidden\u2069",
    "\u2028line",
    "zero\u200bwidth",
    "\ud800lone",
    "nul\0byte",
    "\x7f",
]


@pytest.mark.parametrize("text", NASTY, ids=ascii)
@pytest.mark.parametrize("keep_lines", [True, False])
def test_text_does_not_steer_a_terminal(text: str, keep_lines: bool) -> None:
    shown = harmless(text, keep_lines=keep_lines)
    assert shown.isprintable()
    assert not set(shown) & set("\x1b\x9b\x07\x08\r\u202e\u200b\ud800\0\x7f")
    assert "\N{REPLACEMENT CHARACTER}" in shown


@pytest.mark.parametrize("text", ["plain", "größer ≥ 5 €", "日本語", "👩\u200d👩\u200d👧", "नमस्ते", "می\u200cخواهم"])
def test_text_of_people_stays_as_it_is(text: str) -> None:
    assert harmless(text) == text


def test_line_breaks_stay_where_they_may() -> None:
    assert harmless("a\r\nb\tc", keep_lines=True) == "a\nb\tc"
    assert harmless("a\r\nb\tc") == "a b c"
    assert one_line("  a\n\n b  ") == "a b"
    assert one_line("abcdef", 4) == "abc…"


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_json_means_the_same_and_steers_nothing(text: str) -> None:
    written = to_json({"text": text, text: "größer"})
    assert json.loads(written) == {"text": text, text: "größer"}
    assert all(char.isprintable() or char == "\n" for char in written)
    assert "größer" in written


def test_markup_is_text() -> None:
    assert as_text([("[bold]no[/bold] [link=x]", "red")]).plain == "[bold]no[/bold] [link=x]"
    assert text_of([("a", "red"), ("b", "")]) == "ab"
    assert text_of(("a", "red")) == "a"


COLUMNS = (
    plain_column("id"),
    plain_column("enabled"),
    plain_column("tags"),
    plain_column("late.p50"),
    Column(field="runs", title="n", cell=lambda row: "for people", raw=lambda row: "for scripts"),
)


def test_scripts_get_values_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "one\ttwo\nthree", "enabled": True, "tags": ["a", "b"], "late": {"p50": 1.5}},
        {"id": "\x1b[31m", "enabled": None, "tags": [], "late": None},
    ]
    Output().table(COLUMNS, rows)
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split("\t") == ["id", "enabled", "tags", "late.p50", "runs"]
    assert first.split("\t") == ["one two three", "true", "a,b", "1.5", "for scripts"]
    assert second.split("\t") == ["\N{REPLACEMENT CHARACTER}[31m", "", "", "", "for scripts"]


def test_values_within_values() -> None:
    assert raw_of({"a": {"b": [{"c": 1}]}}, "a.b") == '[{"c": 1}]'
    assert raw_of({"a": None}, "a.b") == ""


class Terminal(io.TextIOWrapper):
    """A terminal that remembers."""

    def __init__(self) -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding="utf-8", write_through=True)

    def isatty(self) -> bool:
        return True

    @property
    def shown(self) -> str:
        return self.bytes.getvalue().decode()


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """To be had within a test: the capturing of its output begins with it."""
    made = Terminal()
    monkeypatch.setattr(sys, "stdout", made)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return made


def test_people_see_columns_that_their_terminal_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    here = terminal(monkeypatch)
    columns = (plain_column("name", "Name"), plain_column("wide", from_width=61), plain_column("fits", from_width=60))
    Output().table(columns, [{"name": "[red]x\x1b]0;t\x07", "wide": "no", "fits": "yes"}])
    assert "[red]x\N{REPLACEMENT CHARACTER}]0;t\N{REPLACEMENT CHARACTER}" in here.shown
    assert "yes" in here.shown
    assert "wide" not in here.shown
    assert "\x1b[1m" in here.shown


@pytest.mark.parametrize("how", ["option", "variable"])
def test_colours_can_be_switched_off(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = terminal(monkeypatch)
    if how == "variable":
        monkeypatch.setenv("NO_COLOR", "1")
    out = Output(no_color=how == "option")
    out.say("failed", style="red")
    out.table([Column(field="a", title="A", cell=lambda row: ("x", "red"))], [{}])
    assert "failed" in here.shown
    assert "31m" not in here.shown


def event(seq: int, kind: str, **data: Any) -> tuple[str, str, dict[str, Any]]:
    return kind, str(seq), {"seq": seq, "attempt": 1, "type": kind, "data": data}


RUN: dict[str, Any] = {"id": "r1", "status": "running", "attempt": 1, "schedule_id": "s1"}


def test_tokens_become_text_and_tools_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    teller = Teller(Output())
    tool = {"tool_name": "search\x1b[2J", "tool_args": {"q": "[b]clocks\x07", "n": 2}}
    for kind, event_id, data in (
        ("status", "", RUN),
        event(1, "attempt", number=1),
        event(2, "RunContent", content="Good "),
        event(3, "RunContent", content="mor\x1b[31mning"),
        event(4, "ToolCallStarted", tool=tool),
        event(5, "ToolCallCompleted", tool={**tool, "result": "twelve\nlines"}),
        event(6, "RunContent", content="[bold]Done[/bold]\n"),
        ("status", "", RUN),
        ("end", "7", RUN | {"status": "success", "duration_ms": 1500, "output": {"content": "not again"}}),
    ):
        teller.hear(kind, event_id, data)
    assert capsys.readouterr().out.splitlines() == [
        "▶ running",
        "Good mor\N{REPLACEMENT CHARACTER}[31mning",
        '→ search\N{REPLACEMENT CHARACTER}[2J(q="[b]clocks\\u0007", n=2)',
        "← search\N{REPLACEMENT CHARACTER}[2J: twelve lines",
        "[bold]Done[/bold]",
        "● success after 1.5 s",
    ]


def test_what_was_not_streamed_is_shown_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    Teller(Output()).end(RUN | {"status": "failed", "error": "HTTP 500\x1b[1m", "output": {"content": "body"}})
    assert capsys.readouterr().out.splitlines() == ["body", "✗ failed: HTTP 500\N{REPLACEMENT CHARACTER}[1m"]


def test_several_speakers_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    teller = Teller(Output())
    for number, (speaker, text) in enumerate([("Ann", "a"), ("Ann", "b"), ("Bob", "c")]):
        teller.hear(*event(number, "TeamRunContent", content=text, agent_name=speaker))
    assert capsys.readouterr().out == "ab\n[Bob]\nc"


def test_a_paused_run_says_what_it_waits_for(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = {"name": "amount", "type": "int", "choices": [1, 2]}
    asked = {"kind": "user_input", "tool": "pay", "args": {"to": "x"}, "fields": [wanted], "message": "how much?"}
    run = RUN | {"status": "paused", "approval": [asked], "approval_due_at": None}
    assert questions(run) == [
        "  waits for a person",
        '  user_input of pay {"to": "x"}: how much?',
        "    --answer amount=...  (int, one of 1, 2)",
    ]
    Teller(Output()).hear("status", "", run)
    assert "agentclock runs approve r1" in capsys.readouterr().out


def test_machines_get_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(Output(as_json=True))
    lines.hear("status", "", RUN)
    lines.hear(*event(2, "RunContent", content="a\nb"))
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {"event": "status", "id": None, "data": RUN}
    assert (second["event"], second["id"], second["data"]["data"]) == ("RunContent", "2", {"content": "a\nb"})
