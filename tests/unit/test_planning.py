"""What becomes of due fires: every rule of planning, with the expected rows written out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclock.core import planning
from agentclock.core.ids import fire_run_id, spread_ms
from agentclock.core.model import CatchUp, Cause, Overlap, Reason, RunStatus, Schedule, Target, TriggerNote
from agentclock.core.planning import CHUNK, MOST_IN_TIME, Plan, Situation, Tail, plan, plan_forfeit, plan_trigger
from agentclock.core.timetable import next_fire

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
T0 = 1_767_225_600_000  # 2026-01-01T00:00:00Z, a whole minute
TAIL = Tail(run_id="r0", status=RunStatus.SKIPPED, reason=Reason.OVERLAP, last_fire_at=T0 - MINUTE)


def schedule(**changes: Any) -> Schedule:
    base = Schedule(
        id="s1", name="s", target=Target(endpoint="/x"), cron_expr="* * * * *", created_at=T0, next_fire_at=T0
    )
    return replace(base, **changes)


def fires(made: Plan) -> list[tuple[int, Cause]]:
    return [(fire.fire_at, fire.cause) for fire in made.fires]


def absences(made: Plan) -> list[tuple[RunStatus, Reason, int, int, int]]:
    return [(a.status, a.reason, a.fire_at, a.last_fire_at, a.count) for a in made.absences]


def due_count(made: Plan) -> int:
    return len(made.fires) + sum(absence.count for absence in made.absences)


def test_one_fire_on_time() -> None:
    made = plan(schedule(), Situation(), T0 + 3)
    assert fires(made) == [(T0, Cause.SCHEDULE)]
    assert made.fires[0].run_id == fire_run_id("s1", T0)
    assert made.fires[0].available_at == T0
    assert (made.next_fire_at, made.last_fire_at, made.run_count) == (T0 + MINUTE, T0, 1)
    assert made.absences == ()


@given(
    cron_expr=st.sampled_from(["* * * * *", "*/5 * * * *", "0 0 1 1 *"]),
    minutes_late=st.integers(-1, 12),
    last_fire_at=st.none() | st.integers(-3, 3).map(lambda minutes: T0 + minutes * MINUTE),
    end_at=st.none() | st.integers(0, 9).map(lambda minutes: T0 + minutes * MINUTE),
    max_runs=st.none() | st.integers(0, 2),
    run_count=st.integers(0, 2),
    overlap=st.sampled_from(Overlap),
    catch_up=st.sampled_from(CatchUp),
    active=st.integers(0, 1),
    jitter_seconds=st.integers(0, 30),
)
def test_the_short_cut_comes_to_the_same(minutes_late: int, active: int, **fields: Any) -> None:
    planned, now = schedule(misfire_grace_seconds=120, **fields), T0 + minutes_late * MINUTE
    situation = Situation(active=active, tail=TAIL)
    assert plan(planned, situation, now) == planning._full_plan(planned, situation, now)


def test_next_fire_follows_the_previous_fire_time_not_the_clock() -> None:
    made = plan(schedule(interval_seconds=7, cron_expr=None, anchor_at=T0), Situation(), T0 + 6_999)
    assert made.next_fire_at == T0 + 7_000


def test_not_due_changes_nothing() -> None:
    made = plan(schedule(next_fire_at=T0 + MINUTE, last_fire_at=T0), Situation(), T0 + 1)
    assert due_count(made) == 0
    assert (made.next_fire_at, made.last_fire_at) == (T0 + MINUTE, T0)


@pytest.mark.parametrize(
    ("catch_up", "causes", "missed"),
    [
        (CatchUp.LATEST, [(T0 + 9 * MINUTE, Cause.SCHEDULE)], 9),
        (CatchUp.NONE, [(T0 + 9 * MINUTE, Cause.SCHEDULE)], 9),
        (CatchUp.ALL, [(T0 + n * MINUTE, Cause.CATCH_UP) for n in range(9)] + [(T0 + 9 * MINUTE, Cause.SCHEDULE)], 0),
    ],
)
def test_ten_minutes_down_with_the_last_fire_on_time(
    catch_up: CatchUp, causes: list[tuple[int, Cause]], missed: int
) -> None:
    made = plan(
        schedule(catch_up=catch_up, misfire_grace_seconds=30, overlap=Overlap.ALLOW),
        Situation(),
        T0 + 9 * MINUTE + 1_000,
    )
    assert fires(made) == causes
    assert sum(absence.count for absence in made.absences) == missed
    assert all(absence.status is RunStatus.MISSED for absence in made.absences)
    assert due_count(made) == 10


def test_latest_runs_the_newest_missed_fire_when_none_is_on_time() -> None:
    made = plan(schedule(cron_expr="0 * * * *"), Situation(), T0 + 3 * HOUR + 10 * MINUTE)
    assert fires(made) == [(T0 + 3 * HOUR, Cause.CATCH_UP)]
    assert absences(made) == [(RunStatus.MISSED, Reason.SUPERSEDED, T0, T0 + 2 * HOUR, 3)]


def test_none_runs_nothing_that_is_late() -> None:
    made = plan(schedule(cron_expr="0 * * * *", catch_up=CatchUp.NONE), Situation(), T0 + HOUR + 10 * MINUTE)
    assert fires(made) == []
    assert absences(made) == [(RunStatus.MISSED, Reason.CATCH_UP_NONE, T0, T0 + HOUR, 2)]
    assert made.next_fire_at == T0 + 2 * HOUR


def test_older_than_the_window_is_missed_whatever_the_policy() -> None:
    made = plan(
        schedule(cron_expr="0 * * * *", catch_up=CatchUp.ALL, catch_up_window_seconds=2 * 3600, overlap=Overlap.ALLOW),
        Situation(),
        T0 + 5 * HOUR + 10 * MINUTE,
    )
    assert fires(made) == [(T0 + 4 * HOUR, Cause.CATCH_UP), (T0 + 5 * HOUR, Cause.CATCH_UP)]
    assert absences(made) == [(RunStatus.MISSED, Reason.OUTSIDE_WINDOW, T0, T0 + 3 * HOUR, 4)]


def test_a_daily_schedule_down_for_longer_than_the_window_owes_nothing() -> None:
    made = plan(schedule(cron_expr="0 0 * * *", catch_up_window_seconds=3600), Situation(), T0 + 2 * HOUR)
    assert fires(made) == []
    assert absences(made) == [(RunStatus.MISSED, Reason.OUTSIDE_WINDOW, T0, T0, 1)]


@pytest.mark.parametrize("limit", [1, 100, 1_000])
def test_all_is_capped_and_keeps_the_newest(limit: int) -> None:
    row = schedule(catch_up=CatchUp.ALL, overlap=Overlap.ALLOW, catch_up_limit=limit, misfire_grace_seconds=30)
    made = plan(row, Situation(), T0 + 1_500 * MINUTE + 31_000)
    assert fires(made) == [(T0 + n * MINUTE, Cause.CATCH_UP) for n in range(1_501 - limit, 1_501)]
    outside, capped = absences(made)
    assert outside[:2] == (RunStatus.MISSED, Reason.OUTSIDE_WINDOW)
    assert capped[:2] == (RunStatus.MISSED, Reason.CATCH_UP_CAP)
    assert due_count(made) == 1_501


def test_the_limit_is_for_what_is_late() -> None:
    row = schedule(catch_up=CatchUp.ALL, overlap=Overlap.ALLOW, catch_up_limit=1)
    in_time = plan(replace(row, misfire_grace_seconds=90), Situation(), T0 + MINUTE)
    assert fires(in_time) == [(T0, Cause.SCHEDULE), (T0 + MINUTE, Cause.SCHEDULE)]
    late = plan(row, Situation(), T0 + 5 * MINUTE + 1)
    assert fires(late) == [(T0 + 4 * MINUTE, Cause.CATCH_UP), (T0 + 5 * MINUTE, Cause.SCHEDULE)]
    assert absences(late) == [(RunStatus.MISSED, Reason.CATCH_UP_CAP, T0, T0 + 3 * MINUTE, 4)]


def test_even_within_a_long_grace_not_everything_runs() -> None:
    row = schedule(interval_seconds=1, cron_expr=None, anchor_at=T0, misfire_grace_seconds=7_200, overlap=Overlap.ALLOW)
    made = plan(row, Situation(), T0 + HOUR)
    assert len(made.fires) == MOST_IN_TIME
    assert made.fires[-1].fire_at == T0 + HOUR
    assert [(a.reason, a.count) for a in made.absences] == [(Reason.CATCH_UP_CAP, 3_601 - MOST_IN_TIME)]


def test_at_the_very_end_of_its_grace() -> None:
    """Every minute, with a grace of a minute: the older of two is late, or it would run in place of the newer one."""
    [alone] = plan(schedule(cron_expr="0 * * * *"), Situation(), T0 + MINUTE).fires
    assert alone.cause is Cause.SCHEDULE
    made = plan(schedule(), Situation(), T0 + MINUTE)
    assert fires(made) == [(T0 + MINUTE, Cause.SCHEDULE)]
    assert absences(made) == [(RunStatus.MISSED, Reason.SUPERSEDED, T0, T0, 1)]


def test_nobody_is_late_within_the_second() -> None:
    """The planner never wakes up in the very millisecond; a grace of 0 must not mean that nothing ever runs."""
    row = schedule(catch_up=CatchUp.NONE, misfire_grace_seconds=0)
    assert fires(plan(row, Situation(), T0 + 1_000)) == [(T0, Cause.SCHEDULE)]
    assert fires(plan(row, Situation(), T0 + 1_001)) == []


@pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.QUEUE, Overlap.CANCEL])
def test_all_runs_one_after_another_unless_overlap_is_allowed(overlap: Overlap) -> None:
    now = T0 + 3 * MINUTE + 1_001
    made = plan(schedule(catch_up=CatchUp.ALL, misfire_grace_seconds=0, overlap=overlap), Situation(), now)
    assert [fire.available_at for fire in made.fires] == [now, None, None, None]
    assert not made.cancel_active
    on_time_too = plan(schedule(catch_up=CatchUp.ALL, misfire_grace_seconds=30, overlap=overlap), Situation(), now)
    assert [fire.available_at for fire in on_time_too.fires] == [now, None, None, None]
    assert on_time_too.absences == ()


def test_all_begins_staggered_where_overlap_is_allowed() -> None:
    row = schedule(catch_up=CatchUp.ALL, overlap=Overlap.ALLOW, catch_up_stagger_seconds=7, misfire_grace_seconds=30)
    now = T0 + 3 * MINUTE + 1
    late, on_time = [now, now + 7_000, now + 14_000], T0 + 3 * MINUTE
    assert [fire.available_at for fire in plan(row, Situation(active=3), now).fires] == [*late, on_time]


def test_what_is_caught_up_is_spread_over_the_jitter_from_now_on() -> None:
    """Schedules that missed the same instants must not start all at once when the engine is back."""
    now = T0 + HOUR
    row = schedule(cron_expr="30 0 1 1 *", jitter_seconds=600)
    [fire] = plan(replace(row, next_fire_at=T0 + 30 * MINUTE), Situation(), now).fires
    assert (fire.fire_at, fire.cause) == (T0 + 30 * MINUTE, Cause.CATCH_UP)
    assert fire.available_at == now + spread_ms("s1", 600) != now


def test_in_line_behind_what_is_to_be_cancelled() -> None:
    made = plan(schedule(catch_up=CatchUp.ALL, overlap=Overlap.CANCEL), Situation(active=1), T0 + 3 * HOUR + 1)
    assert made.cancel_active
    assert len(made.fires) == 101
    assert {fire.available_at for fire in made.fires} == {None}


@pytest.mark.parametrize(
    ("catch_up", "reasons"),
    [
        (CatchUp.LATEST, [Reason.OUTSIDE_WINDOW, Reason.SUPERSEDED]),
        (CatchUp.NONE, [Reason.OUTSIDE_WINDOW, Reason.CATCH_UP_NONE]),
        (CatchUp.ALL, [Reason.OUTSIDE_WINDOW, Reason.CATCH_UP_CAP]),
    ],
)
@pytest.mark.parametrize("days", [14, 30, 365])
def test_a_long_outage_is_a_few_rows(catch_up: CatchUp, reasons: list[Reason], days: int) -> None:
    row = schedule(last_fire_at=T0 - MINUTE, catch_up=catch_up, catch_up_limit=3, misfire_grace_seconds=10)
    now, tail, counts, ran, plans = T0 + days * DAY + 30_000, None, dict[Reason, int](), 0, 0
    while row.next_fire_at is not None and row.next_fire_at <= now:
        made = plan(row, Situation(tail=tail), now + plans * 1_000)
        plans += 1
        assert due_count(made) <= CHUNK + 2_000
        for absence in made.absences:
            assert (absence.extends is not None) == (absence.reason in counts)
            counts[absence.reason] = counts.get(absence.reason, 0) + absence.count
            tail = Tail(run_id="r", status=absence.status, reason=absence.reason, last_fire_at=absence.last_fire_at)
        ran += len(made.fires)
        row = replace(row, next_fire_at=made.next_fire_at, last_fire_at=made.last_fire_at)
    assert [*counts] == reasons
    assert ran == {CatchUp.LATEST: 1, CatchUp.NONE: 0, CatchUp.ALL: 3}[catch_up]
    assert sum(counts.values()) + ran == days * 1_440 + 1
    assert counts[Reason.OUTSIDE_WINDOW] == (days - 1) * 1_440 + 1
    assert plans <= days * 1_440 // CHUNK + 2


@pytest.mark.parametrize("window_days", [1, 18, 20, 31])
def test_plans_that_take_their_time_let_nothing_slip_out_of_the_window(window_days: int) -> None:
    """Ten minutes pass between two plans of one backlog. Had one of them ended shortly after the beginning of the
    window, the next would begin with fires that are outside by then: one row more."""
    row, now = schedule(catch_up_window_seconds=window_days * 86_400), T0 + 40 * DAY
    reasons, runs = [], 0
    for _ in range(6):
        made = plan(row, Situation(), now)
        reasons += [absence.reason for absence in made.absences]
        runs += len(made.fires)
        row, now = replace(row, next_fire_at=made.next_fire_at, last_fire_at=made.last_fire_at), now + 10 * MINUTE
        if runs:
            break
    assert list(dict.fromkeys(reasons)) == [Reason.OUTSIDE_WINDOW, Reason.SUPERSEDED]
    assert reasons == sorted(reasons), "the reasons take turns"
    assert runs == 1


def test_skip_while_a_run_is_active() -> None:
    made = plan(schedule(), Situation(active=1), T0)
    assert fires(made) == []
    assert absences(made) == [(RunStatus.SKIPPED, Reason.OVERLAP, T0, T0, 1)]
    assert made.run_count == 0


def test_skip_extends_the_row_before() -> None:
    tail = Tail(run_id="older", status=RunStatus.SKIPPED, reason=Reason.OVERLAP, last_fire_at=T0 - MINUTE)
    assert plan(schedule(), Situation(active=1, tail=tail), T0).absences[0].extends == "older"
    edited = schedule(timetable_since=T0 - 1)
    assert plan(edited, Situation(active=1, tail=tail), T0).absences[0].extends is None
    other = replace(tail, reason=Reason.QUEUE_FULL)
    assert plan(schedule(), Situation(active=1, tail=other), T0).absences[0].extends is None


def test_a_run_between_ends_the_row() -> None:
    """Missed, run, missed again: two records, because the fires of one record are consecutive."""
    tail = Tail(run_id="older", status=RunStatus.SKIPPED, reason=Reason.OVERLAP, last_fire_at=T0 - MINUTE)
    made = plan(schedule(misfire_grace_seconds=600), Situation(tail=tail), T0 + MINUTE)
    assert fires(made) == [(T0, Cause.SCHEDULE)]
    assert [absence.extends for absence in made.absences] == [None]


def test_queue_lets_one_wait() -> None:
    waiting = plan(schedule(overlap=Overlap.QUEUE), Situation(active=1), T0)
    assert [fire.available_at for fire in waiting.fires] == [None]
    full = plan(schedule(overlap=Overlap.QUEUE), Situation(active=2, waiting=1), T0)
    assert absences(full) == [(RunStatus.SKIPPED, Reason.QUEUE_FULL, T0, T0, 1)]


def test_allow_starts_whatever_is_active() -> None:
    made = plan(schedule(overlap=Overlap.ALLOW), Situation(active=7), T0)
    assert [fire.available_at for fire in made.fires] == [T0]


def test_cancel_asks_for_the_old_run_to_go_and_waits_for_it() -> None:
    made = plan(schedule(overlap=Overlap.CANCEL), Situation(active=1), T0)
    assert made.cancel_active
    assert [fire.available_at for fire in made.fires] == [None]
    alone = plan(schedule(overlap=Overlap.CANCEL), Situation(), T0)
    assert not alone.cancel_active
    assert [fire.available_at for fire in alone.fires] == [T0]


def test_max_runs_ends_the_schedule() -> None:
    made = plan(schedule(max_runs=2, run_count=1), Situation(), T0)
    assert (made.run_count, made.next_fire_at) == (2, None)
    backlog = plan(
        schedule(max_runs=2, catch_up=CatchUp.ALL, overlap=Overlap.ALLOW), Situation(), T0 + 9 * MINUTE + 30_000
    )
    assert len(backlog.fires) == 2
    assert backlog.next_fire_at is None
    assert backlog.last_fire_at == T0 + MINUTE


def test_skipped_fires_do_not_count_against_max_runs() -> None:
    made = plan(schedule(max_runs=1), Situation(active=1), T0)
    assert (made.run_count, made.next_fire_at) == (0, T0 + MINUTE)


def test_end_at_is_the_last_possible_fire() -> None:
    made = plan(schedule(end_at=T0 + MINUTE), Situation(), T0)
    assert made.next_fire_at == T0 + MINUTE
    last = plan(schedule(next_fire_at=T0 + MINUTE, end_at=T0 + MINUTE), Situation(), T0 + 30 * MINUTE)
    assert (due_count(last), last.next_fire_at) == (1, None)


def test_one_off_fires_once() -> None:
    made = plan(schedule(cron_expr=None, run_at=T0), Situation(), T0 + 20)
    assert fires(made) == [(T0, Cause.SCHEDULE)]
    assert made.next_fire_at is None


def test_jitter_moves_the_start_and_never_the_fire_time() -> None:
    made = plan(schedule(jitter_seconds=600), Situation(), T0)
    [fire] = made.fires
    assert fire.fire_at == T0
    assert fire.available_at is not None
    assert T0 <= fire.available_at < T0 + 600_000
    assert plan(schedule(jitter_seconds=600), Situation(), T0) == made
    spread = {plan(schedule(id=f"s{n}", jitter_seconds=600), Situation(), T0).fires[0].available_at for n in range(50)}
    assert len(spread) > 40


def test_a_clock_set_back_repeats_nothing() -> None:
    """Editing computes the next fire from now; what was accounted for before the clock went back stays so."""
    assert next_fire(schedule(last_fire_at=T0 + HOUR), T0) == T0 + HOUR + MINUTE


def test_trigger_is_a_manual_run_now() -> None:
    row = schedule(next_fire_at=T0 + MINUTE, jitter_seconds=600, run_count=3, max_runs=3)
    made = plan_trigger(row, Situation(), T0 + 5, "id-1")
    assert fires(made) == [(T0 + 5, Cause.MANUAL)]
    assert (made.fires[0].run_id, made.fires[0].available_at) == ("id-1", T0 + 5)
    assert (made.next_fire_at, made.last_fire_at, made.run_count) == (T0 + MINUTE, None, 3)


def test_trigger_honours_the_overlap_policy() -> None:
    made = plan_trigger(schedule(), Situation(active=1), T0, "id-1")
    assert made.fires == ()
    assert made.absences[0].run_id == "id-1"
    assert made.absences[0].cause is Cause.MANUAL
    tail = Tail(run_id="older", status=RunStatus.SKIPPED, reason=Reason.OVERLAP, last_fire_at=T0 - MINUTE)
    assert plan_trigger(schedule(), Situation(active=1, tail=tail), T0, "id-1").absences[0].extends is None


def test_a_trigger_may_name_the_occurrence_that_it_is_for() -> None:
    """The run starts now: an early fire time is no head start over those that wait already."""
    note = TriggerNote(reason="nightly", has_payload=True, payload={"day": 1})
    made = plan_trigger(schedule(jitter_seconds=600), Situation(), T0, "id-1", fire_at=T0 - DAY, note=note)
    assert fires(made) == [(T0 - DAY, Cause.MANUAL)]
    assert (made.fires[0].run_id, made.fires[0].available_at, made.fires[0].note) == ("id-1", T0, note)
    assert (made.next_fire_at, made.last_fire_at) == (T0, None)
    skipped = plan_trigger(schedule(), Situation(active=1), T0, "id-1", fire_at=T0 - DAY, note=note)
    assert absences(skipped) == [(RunStatus.SKIPPED, Reason.OVERLAP, T0 - DAY, T0 - DAY, 1)]
    assert (skipped.absences[0].run_id, skipped.absences[0].note) == ("id-1", note)


def test_an_unreadable_expression_raises() -> None:
    with pytest.raises(ValueError, match="minute"):
        plan(schedule(cron_expr="61 * * * *"), Situation(), T0)


def test_an_unreadable_timetable_can_be_forfeited_and_so_repaired() -> None:
    made = plan_forfeit(schedule(cron_expr="61 * * * *"), Situation(), T0 + 1)
    assert absences(made) == [(RunStatus.MISSED, Reason.CHANGED, T0, T0, 1)]
    assert (made.last_fire_at, made.next_fire_at) == (T0, None)
