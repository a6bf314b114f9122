"""The codec between rows and the model, the query files and the migrations: what needs no database."""

from __future__ import annotations

import dataclasses
import json
import typing
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclock.core.backfills import Backfill
from agentclock.core.errors import CorruptRow, InvalidField, SchemaBehind, StoreUnavailable
from agentclock.core.ids import fire_run_id, uuid7
from agentclock.core.model import (
    Attempt,
    Cause,
    Instruction,
    InstructionKind,
    RetryPolicy,
    Run,
    Schedule,
    Target,
    TriggerNote,
    Usage,
)
from agentclock.core.revisions import Revision
from agentclock.ports import LoggedEvent
from agentclock.store.backfill_rows import decode_backfill, encode_backfill
from agentclock.store.building import builder, changer
from agentclock.store.columns import ATTEMPT_COLUMNS, EVENT_COLUMNS, NEWEST_SCHEMA, RUN_COLUMNS, SCHEDULE_COLUMNS
from agentclock.store.filters import decode_cursor, encode_cursor, first_run_id
from agentclock.store.migrating import Applied, Migration, behind, drift, load_migrations, pending, refuse_if_too_old
from agentclock.store.queries import Dialect, Queries
from agentclock.store.revising import decode_revision, encode_revision
from agentclock.store.rows import (
    clean_text,
    decode_attempt,
    decode_event,
    decode_run,
    decode_schedule,
    encode_event,
    encode_instruction,
    encode_json,
    encode_run,
    encode_schedule,
    encode_trigger_note,
)

DIALECTS: list[Dialect] = ["sqlite", "postgres"]

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def strategy(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a model field's type."""
    if hint is Any:
        return json_values
    if hint == tuple[str, ...]:
        return st.lists(text, max_size=3).map(tuple)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return st.sampled_from(list(hint))
    if dataclasses.is_dataclass(hint):
        return instances(typing.cast(Any, hint))
    if args := typing.get_args(hint):
        return st.one_of([strategy(arg) for arg in args])
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: text,
        bool: st.booleans(),
        int: st.integers(-(2**53), 2**53),
        float: st.floats(allow_nan=False, allow_infinity=False),
        type(None): st.none(),
    }
    return plain[hint]


def instances(model: Any) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(model)
    return st.builds(model, **{field.name: strategy(hints[field.name]) for field in dataclasses.fields(model)})


def row_of(values: dict[str, Any], columns: tuple[str, ...]) -> tuple[Any, ...]:
    assert tuple(values) == columns
    return tuple(values.values())


def stored(attempt: Attempt) -> dict[str, Any]:
    values = dataclasses.asdict(attempt) | {"status": attempt.status.value}
    del values["usage"]
    return values | dataclasses.asdict(attempt.usage or Usage())


@given(instances(Schedule))
def test_schedules_round_trip(schedule: Schedule) -> None:
    assert decode_schedule(row_of(encode_schedule(schedule), SCHEDULE_COLUMNS)) == schedule


@given(instances(Run))
def test_runs_round_trip(run: Run) -> None:
    """A payload that does not count is none."""
    note = run.trigger_note
    if note is not None and not note.has_payload:
        run = dataclasses.replace(run, trigger_note=dataclasses.replace(note, payload=None))
    assert decode_run(row_of(encode_run(run), RUN_COLUMNS)) == run


@given(instances(Attempt))
def test_attempts_round_trip(attempt: Attempt) -> None:
    """Usage of nothing is no usage."""
    said = attempt if attempt.usage != Usage() else dataclasses.replace(attempt, usage=None)
    assert decode_attempt(row_of(stored(attempt), ATTEMPT_COLUMNS)) == said


@given(instances(LoggedEvent))
def test_events_round_trip(event: LoggedEvent) -> None:
    assert decode_event(row_of(encode_event(event), EVENT_COLUMNS)) == event


@given(instances(Revision))
def test_revisions_round_trip(revision: Revision) -> None:
    assert decode_revision(list(encode_revision(revision).values())) == revision


@given(instances(Backfill))
def test_backfills_round_trip(backfill: Backfill) -> None:
    assert decode_backfill(list(encode_backfill(backfill, backfill.fires).values())) == backfill


def test_a_trigger_note_says_only_what_it_has_to() -> None:
    """A payload of null is one, and no payload is none."""
    assert encode_trigger_note(None) is None
    assert encode_trigger_note(TriggerNote(payload={"counts": "not"})) == "{}"
    assert encode_trigger_note(TriggerNote(has_payload=True)) == '{"payload":null}'
    assert encode_trigger_note(TriggerNote(reason="r", by="ann")) == '{"reason":"r","by":"ann"}'


def test_an_instruction_says_only_what_it_has_to() -> None:
    assert encode_instruction(None) is None
    assert encode_instruction(Instruction(kind=InstructionKind.ATTACH)) == '{"kind":"attach","ends_as":"cancelled"}'


@given(instances(Schedule), st.integers(), st.integers())
def test_a_changed_copy_is_what_replace_makes(schedule: Schedule, next_fire_at: int, run_count: int) -> None:
    change = changer(Schedule, "run_count", "next_fire_at")
    expected = dataclasses.replace(schedule, next_fire_at=next_fire_at, run_count=run_count)
    assert change(schedule, run_count, next_fire_at) == expected


def test_nothing_is_built_from_too_few_or_too_many_values() -> None:
    for values in ((), (1, 60, "fixed"), (1, 60, "fixed", 3600, 0)):
        with pytest.raises(ValueError, match="zip"):
            builder(RetryPolicy)(values)


@given(json_values)
def test_json_is_stored_as_ascii_without_nul(value: Any) -> None:
    stored = encode_json(value)
    if value is None:
        assert stored is None
    else:
        assert stored is not None
        assert stored.isascii()
        assert "\0" not in stored
        assert json.loads(stored) == value


@given(st.text())
def test_cleaned_text_is_what_every_database_stores(value: str) -> None:
    cleaned = clean_text(value)
    assert cleaned is not None
    assert "\0" not in cleaned.encode("utf-8").decode()
    if value.isprintable():
        assert cleaned == value.encode("utf-8", "replace").decode()


SCHEDULE = encode_schedule(Schedule(id="s1", name="n", target=Target(endpoint="/x"), retry=RetryPolicy()))
RUN = encode_run(Run(id="r1", schedule_id="s1", cause=Cause.SCHEDULE, fire_at=0))
ATTEMPT = stored(Attempt(run_id="r1", number=1))
EVENT = encode_event(LoggedEvent(run_id="r1", seq=1, attempt=1, at=0, type="x", data=None))


@pytest.mark.parametrize(
    ("decode", "table", "values", "column", "bad"),
    [
        (decode_schedule, "schedules", SCHEDULE, "payload", "{"),
        (decode_schedule, "schedules", SCHEDULE, "payload", b"{}"),
        (decode_schedule, "schedules", SCHEDULE, "payload", "[" * 100_000),
        (decode_schedule, "schedules", SCHEDULE, "tags", None),
        (decode_schedule, "schedules", SCHEDULE, "tags", "[1]"),
        (decode_schedule, "schedules", SCHEDULE, "name", None),
        (decode_schedule, "schedules", SCHEDULE, "name", b"\xff"),
        (decode_schedule, "schedules", SCHEDULE, "overlap", "whim"),
        (decode_schedule, "schedules", SCHEDULE, "retry_backoff", 3),
        (decode_schedule, "schedules", SCHEDULE, "enabled", 2),
        (decode_schedule, "schedules", SCHEDULE, "enabled", "t"),
        (decode_schedule, "schedules", SCHEDULE, "timeout_seconds", "3600"),
        (decode_schedule, "schedules", SCHEDULE, "timeout_seconds", 1.5),
        (decode_schedule, "schedules", SCHEDULE, "timeout_seconds", True),
        (decode_run, "runs", RUN, "status", "whim"),
        (decode_run, "runs", RUN, "reason", "whim"),
        (decode_run, "runs", RUN, "output", "{'a': 1}"),
        (decode_run, "runs", RUN, "fire_at", None),
        (decode_run, "runs", RUN, "instruction", "{"),
        (decode_run, "runs", RUN, "instruction", "[]"),
        (decode_run, "runs", RUN, "instruction", "{}"),
        (decode_run, "runs", RUN, "instruction", '{"kind":"whim"}'),
        (decode_run, "runs", RUN, "instruction", '{"kind":["attach"]}'),
        (decode_run, "runs", RUN, "instruction", '{"kind":"cancel","why":1}'),
        (decode_run, "runs", RUN, "trigger_note", "{"),
        (decode_run, "runs", RUN, "trigger_note", "[]"),
        (decode_run, "runs", RUN, "trigger_note", '{"reason":1}'),
        (decode_run, "runs", RUN, "trigger_note", '{"reason":"x","whim":1}'),
        (decode_run, "runs", RUN, "instruction", '{"kind":"cancel","ends_as":null}'),
        (decode_run, "runs", RUN, "instruction", '{"kind":"attach","more":1}'),
        (decode_run, "runs", RUN, "review_at", "soon"),
        (decode_schedule, "schedules", SCHEDULE, "on_lost", "whim"),
        (decode_schedule, "schedules", SCHEDULE, "approval_timeout_action", None),
        (decode_schedule, "schedules", SCHEDULE, "provenance", "{"),
        (decode_attempt, "attempts", ATTEMPT, "status", None),
        (decode_attempt, "attempts", ATTEMPT, "total_tokens", "12"),
        (decode_attempt, "attempts", ATTEMPT, "cost", "0.1"),
        (decode_event, "run_events", EVENT, "type", None),
        (decode_event, "run_events", EVENT, "data", "{"),
    ],
)
def test_what_cannot_be_read_names_its_row_and_column(
    decode: Any, table: str, values: dict[str, Any], column: str, bad: Any
) -> None:
    with pytest.raises(CorruptRow) as caught:
        decode(list((values | {column: bad}).values()))
    assert (caught.value.table, caught.value.row_id.split("/")[0]) == (table, next(iter(values.values())))
    assert caught.value.reason.startswith(column)


# cursors and ranges of ids


@given(st.integers(-(2**53), 2**53), st.text())
def test_cursors_round_trip(number: int, word: str) -> None:
    cursor = encode_cursor(number, word)
    assert cursor.isascii()
    assert decode_cursor(cursor, int, str) == [number, word]
    with pytest.raises(InvalidField):
        decode_cursor(cursor, str)


@given(st.integers(0, 2**48 - 2), st.binary(min_size=10, max_size=10))
def test_the_first_id_of_a_time_bounds_every_run_of_it(at: int, entropy: bytes) -> None:
    for run_id in (fire_run_id("s", at), uuid7(at, entropy)):
        assert first_run_id(at) <= run_id < first_run_id(at + 1)


# queries


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_query_is_filled_and_compiles(dialect: Dialect) -> None:
    queries = Queries(dialect)
    for name in queries.names:
        query = queries.get(name)
        assert "{" not in query.sql.replace("'{", "").replace("{}'", ""), name
        assert all(parameter not in query.sql.split() for parameter in query.parameters if ":" in parameter)


def test_both_dialects_have_the_same_shared_queries() -> None:
    assert Queries("sqlite").shared_names == Queries("postgres").shared_names


@pytest.mark.parametrize("dialect", DIALECTS)
def test_queries_follow_the_schema(dialect: Dialect) -> None:
    queries = Queries(dialect, version=3)
    assert "100 AS catch_up_limit" in queries.get("get_schedule").sql
    assert "catch_up_limit" not in queries.get("update_schedule").parameters
    assert queries.get("insert_revisions").parameters == ()
    with pytest.raises(SchemaBehind, match="step 4"):
        queries.require(4)
    before = queries.get("update_schedule")
    queries.use(3)
    assert queries.get("update_schedule") is before
    queries.use(NEWEST_SCHEMA + 1)
    queries.require(4)
    assert queries.version == NEWEST_SCHEMA
    assert "catch_up_limit" in queries.get("update_schedule").parameters
    assert queries.get("insert_revisions").parameters != ()


def test_parameters_become_positional_in_each_dialect() -> None:
    sqlite, postgres = (Queries(dialect).get("runs_of_schedule") for dialect in DIALECTS)
    assert "?" in sqlite.sql
    assert "$1" in postgres.sql
    assert sqlite.parameters == postgres.parameters == ("schedule_id",)
    assert sqlite.args({"schedule_id": "s1", "more": 2}) == ["s1"]


def test_conditions_are_put_together_and_kept() -> None:
    queries = Queries("sqlite", schema="other")
    both = queries.get("count_runs", ("runs_of_schedule", "r.status = 'failed'"))
    assert "(r.schedule_id = ?) AND (r.status = 'failed')" in both.sql
    assert "other_runs" in both.sql
    assert queries.get("count_runs", ("runs_of_schedule", "r.status = 'failed'")) is both
    assert queries.get("count_runs").sql.endswith("true")


# migrations


def step(version: int, *, breaking: bool = False, checksum: str = "c") -> Migration:
    return Migration(version=version, name="x", breaking=breaking, checksum=checksum, sql="SELECT 1;\n-- end;\n")


def applied(version: int, *, breaking: bool = False, checksum: str = "c") -> Applied:
    return Applied(version=version, breaking=breaking, checksum=checksum)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_migrations_are_numbered_without_gaps(dialect: Dialect) -> None:
    steps = load_migrations(dialect, schema="other")
    assert [one.version for one in steps] == list(range(1, len(steps) + 1))
    assert steps[0].name == "initial"
    assert all(one.statements and "{" not in one.sql for one in steps)
    assert "other" in steps[0].sql


def test_what_is_missing_is_applied_in_order() -> None:
    known = (step(1), step(2), step(3))
    assert pending(known, []) == known
    assert pending(known, [applied(1), applied(2)]) == (step(3),)
    assert pending(known, [applied(version) for version in (1, 2, 3, 4)]) == ()
    assert "lacks 3 step(s), up to version 3" in str(behind(known))


def test_one_step_behind_is_no_obstacle() -> None:
    refuse_if_too_old((step(4),))
    with pytest.raises(StoreUnavailable, match=r"lacks 2 step\(s\), up to version 4"):
        refuse_if_too_old((step(3), step(4)))


def test_only_a_newer_breaking_step_stops_older_code() -> None:
    known = (step(1), step(2, breaking=True))
    assert pending(known, [applied(1), applied(2, breaking=True), applied(3)]) == ()
    with pytest.raises(StoreUnavailable, match="version 4"):
        pending(known, [applied(1), applied(2), applied(3), applied(4, breaking=True)])


def test_drift_is_told() -> None:
    known = (step(1), step(2))
    assert drift(known, [applied(1), applied(2)]) == ()
    assert "step 2 was applied from a different file" in drift(known, [applied(1), applied(2, checksum="d")])[0]
    assert drift(known, [applied(1)]) == ("the schema lacks step 2 and what needs it; run `agentclock db upgrade`",)
    assert "newer" in drift(known, [applied(1), applied(2), applied(3)])[0]


def test_a_comment_is_no_statement() -> None:
    assert step(1).statements == ["SELECT 1"]
