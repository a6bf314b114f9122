"""One run's event log before it is written: what is put together, numbered, cut."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentclock.core.model import Cause, Claim, Run, RunStatus, Schedule, Target
from agentclock.engine.runlog import BATCH_BYTES, ROW_BYTES, TEXT_BYTES, RunLog
from agentclock.ports import EventBatch, EventCursor, LoggedEvent, Said

T0 = 1_767_225_600_000
MIB = 1_048_576


def claim() -> Claim:
    run = Run(id="r", schedule_id="s", cause=Cause.SCHEDULE, fire_at=T0, status=RunStatus.RUNNING, attempt=2, fence=3)
    return Claim(run=run, schedule=Schedule(id="s", name="s", target=Target(endpoint="/agents/a/runs")))


def log(cursor: EventCursor | None = None, *, events_limit: int = 10_000, bytes_limit: int = MIB) -> RunLog:
    return RunLog(claim(), cursor or EventCursor(), events_limit=events_limit, bytes_limit=bytes_limit)


def text(content: str, index: int, *, speaker: str | None = None, kind: str = "RunContent") -> Said:
    data = {"content": content, "event_index": index, "agent_id": "a"}
    return Said(type=kind, data=data, index=index, is_text=True, speaker=speaker)


def plain(kind: str, index: int | None = None, **data: Any) -> Said:
    return Said(type=kind, data=data, index=index)


def taken(log: RunLog) -> EventBatch:
    batch = log.batch()
    assert batch is not None
    log.written(0)
    return batch


def rows(log: RunLog) -> list[LoggedEvent]:
    found: list[LoggedEvent] = []
    while not log.is_clean:
        found += taken(log).events
    return found


def test_neighbouring_pieces_of_text_are_one_row() -> None:
    run_log = log()
    for index, word in enumerate(("The ", "clock ", "ticks")):
        run_log.add(text(word, index), T0 + index)
    [row] = rows(run_log)
    assert row.data == {"content": "The clock ticks", "event_index": 2, "agent_id": "a"}
    assert (row.seq, row.attempt, row.type, row.at, row.source_index) == (1, 2, "RunContent", T0, 2)


def test_what_was_said_stays_as_it_was() -> None:
    first = text("a", 0)
    run_log = log()
    run_log.add(first, T0)
    run_log.add(text("b", 1), T0)
    rows(run_log)
    assert first.data == {"content": "a", "event_index": 0, "agent_id": "a"}


@pytest.mark.parametrize(
    "other",
    [
        text("x", 1, speaker="member"),
        text("x", 1, kind="ReasoningContentDelta"),
        plain("ToolCallStarted", 1),
        Said(type="RunContent", data={"content": "x"}, index=1),
        Said(type="RunContent", data={"content": {"not": "text"}}, index=1, is_text=True),
        Said(type="RunContent", data="x", index=1, is_text=True),
    ],
)
def test_only_neighbours_of_one_kind_are_put_together(other: Said) -> None:
    run_log = log()
    run_log.add(text("a", 0), T0)
    run_log.add(other, T0)
    run_log.add(text("b", 2), T0)
    assert [row.data for row in rows(run_log)] == [text("a", 0).data, other.data, text("b", 2).data]


def test_a_row_of_text_does_not_grow_for_ever() -> None:
    run_log = log()
    for index in range(30):
        run_log.add(text("x" * 1_000, index), T0)
    found = rows(run_log)
    assert [len(row.data["content"]) for row in found] == [TEXT_BYTES // 1_000 * 1_000] * 7 + [2_000]
    assert [row.source_index for row in found] == [3, 7, 11, 15, 19, 23, 27, 29]


def test_a_row_that_is_too_large_keeps_its_scalar_fields() -> None:
    run_log = log()
    huge = {"run_id": "x", "content": "y" * 2 * ROW_BYTES, "ok": True, "cost": 0.5, "none": None, "tools": [1, 2]}
    run_log.add(plain("RunCompleted", 7, **huge), T0)
    [row] = rows(run_log)
    assert row.data["truncated"] is True
    assert row.data["size_bytes"] == len(json.dumps(huge))
    assert {name: row.data[name] for name in ("run_id", "ok", "cost", "none")} == {
        "run_id": "x",
        "ok": True,
        "cost": 0.5,
        "none": None,
    }
    assert row.data["content"] == "y" * len(row.data["content"])
    assert "tools" not in row.data
    assert len(json.dumps(row.data)) < ROW_BYTES
    assert row.source_index == 7


def test_many_fields_are_cut_too_and_what_is_no_json_does_no_harm() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    run_log = log()
    run_log.add(plain("Many", **{f"field{number}": "z" * 5_000 for number in range(100)}), T0)
    run_log.add(plain("Deep", deep=deep, name="n"), T0)
    run_log.add(plain("Lone", content="\ud800"), T0)
    many, unwritable, lone = rows(run_log)
    assert len(json.dumps(many.data)) < ROW_BYTES
    assert unwritable.data == {"truncated": True, "size_bytes": None, "name": "n"}
    assert lone.data == {"content": "\ud800"}


def test_a_batch_stays_the_same_until_it_is_written() -> None:
    """A reply may be lost after the rows are there: they are offered again, with the same numbers."""
    run_log = log()
    run_log.add(text("a", 0), T0)
    first = run_log.batch()
    run_log.add(text("b", 1), T0)
    assert run_log.batch() is first
    run_log.written(12.5)
    assert (run_log.due_at, run_log.is_clean) == (12.5, False)
    assert [row.seq for row in rows(run_log)] == [2]
    assert run_log.batch() is None


def test_numbers_go_on_where_an_earlier_worker_stopped() -> None:
    run_log = log(EventCursor(seq=41, kept_from_seq=11, attempt=2, source_index=8, size_bytes=3_000))
    run_log.add(text("a", 9), T0)
    batch = taken(run_log)
    assert [event.seq for event in batch.events] == [42]
    assert (batch.run_id, batch.fence, batch.keep_from_seq) == ("r", 3, 11)


def test_a_log_that_is_too_long_keeps_its_tail() -> None:
    run_log = log(events_limit=100)
    for index in range(101):
        run_log.add(plain("Step", index), T0)
    batch = taken(run_log)
    assert 101 - 75 < batch.keep_from_seq <= 101 - 70
    for index in range(20):  # there is room now: nothing goes for a while
        run_log.add(plain("Step", index), T0)
        assert taken(run_log).keep_from_seq == batch.keep_from_seq


def test_a_log_that_is_too_large_keeps_its_tail_across_workers() -> None:
    run_log = log(EventCursor(seq=640, kept_from_seq=1, attempt=1, size_bytes=640_000), bytes_limit=700_000)
    for index in range(2):
        run_log.add(plain("Big", index, content="x" * 40_000), T0)
    assert 150 < taken(run_log).keep_from_seq < 300


def test_one_batch_is_of_a_size_that_a_transaction_likes() -> None:
    run_log = log()
    for index in range(20):
        run_log.add(plain("Big", index, content="x" * 40_000), T0)
    batch = taken(run_log)
    assert BATCH_BYTES // 2 < sum(len(event.data["content"]) for event in batch.events) <= BATCH_BYTES
    assert [event.seq for event in (*batch.events, *rows(run_log))] == list(range(1, 21))


def test_while_nothing_can_be_written_the_oldest_go_and_are_counted() -> None:
    run_log = log(bytes_limit=100_000)
    run_log.add(plain("Step", 0), T0)
    assert run_log.batch() is not None  # on its way, no matter what follows
    for index in range(1, 1_001):
        run_log.add(plain("Step", index, content="x" * 1_000), T0)
    assert run_log.events_waiting == 1_001
    on_its_way, cut, *tail = rows(run_log)
    assert (on_its_way.seq, on_its_way.type) == (1, "Step")
    assert (cut.seq, cut.type, cut.data) == (2, "cut", {"events": 1_000 - len(tail)})
    assert cut.source_index == 1_000 - len(tail)
    assert 60 <= len(tail) <= 100
    assert [row.seq for row in tail] == list(range(3, 3 + len(tail)))
    assert tail[-1].source_index == 1_000


def test_pieces_of_text_that_were_cut_are_counted_one_by_one() -> None:
    run_log = log(bytes_limit=20_000)
    for index in range(100):
        run_log.add(text("x" * 1_000, index), T0)
    cut, *tail = rows(run_log)
    assert cut.data["events"] + sum(len(row.data["content"]) for row in tail) // 1_000 == 100


def test_a_batch_that_no_database_takes_leaves_a_mark() -> None:
    run_log = log()
    for index in range(3):
        run_log.add(plain("Poison", index), T0)
    run_log.batch()
    run_log.add(plain("Later", 3), T0)
    assert run_log.spoiled()
    cut, later = taken(run_log).events
    assert (cut.seq, cut.type, cut.data, later.seq, later.type) == (1, "cut", {"events": 3}, 2, "Later")
    run_log.add(plain("Poison", 4), T0)
    run_log.batch()
    assert run_log.spoiled()
    run_log.batch()
    assert not run_log.spoiled()
