"""The checker of the chaos rig finds each kind of wrong by itself, and nothing in a run that is right."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.chaos.checker import Books, busiest_second, check
from tests.chaos.due import due_between
from tests.chaos.evidence import Call, Disturbance, Evidence, Row, Start, agent_run_id
from tests.chaos.faults import Kind, deal
from tests.chaos.population import population

AT = 1_800_000_000_000
PLAIN, AGENT = "plain", "agent"


def schedule(schedule_id: str = PLAIN, **fields: Any) -> dict[str, Any]:
    """Every ten seconds; three fires from AT on, then it was disabled."""
    endpoint = "/agents/quick/runs" if schedule_id == AGENT else "/steady/1"
    row = {"id": schedule_id, "name": schedule_id, "endpoint": endpoint, "method": "POST", "version": 2}
    row |= {"max_retries": 0, "on_lost": None, "interval_seconds": 10, "anchor_at": AT, "cron_expr": None}
    row |= {"enabled": False, "last_fire_at": AT + 30_000, "next_fire_at": None, "timetable_since": AT}
    return row | fields


def revisions(row: Row) -> list[dict[str, Any]]:
    created = {**row, "enabled": True, "last_fire_at": None}
    texts = [(1, AT, created), (2, AT + 35_000, row)]
    return [{"schedule_id": row["id"], "version": v, "at": at, "body": json.dumps(body)} for v, at, body in texts]


def run_id(number: int) -> str:
    return f"00000000-0000-8000-8000-{number:012}"


def run(number: int, schedule_id: str = PLAIN, **fields: Any) -> dict[str, Any]:
    row = {"id": run_id(number), "schedule_id": schedule_id, "cause": "schedule", "fire_at": AT + number * 10_000}
    row |= {"last_fire_at": None, "fire_count": 1, "status": "success", "attempt": 1, "worker": "w"}
    return row | fields


def attempt(number: int, of: int, status: str = "success", code: int | None = 200) -> dict[str, Any]:
    lasted = {"started_at": AT + of * 10_000, "completed_at": AT + of * 10_000 + 50}
    return {"run_id": run_id(of), "number": number, "status": status, "status_code": code, **lasted}


def call(number: int, attempt: int = 1, *, key: int | None = None, answer: str | None = "200") -> Call:
    own = run_id(number)
    return Call(
        at=AT + number * 10_000,
        method="POST",
        path="/steady/1",
        key=f"{own}.{key or attempt}",
        run=own,
        attempt=attempt,
        schedule=PLAIN,
        answer=answer,
    )


def good() -> Evidence:
    plain = schedule()
    return Evidence(
        schedules=[plain],
        runs=[run(1), run(2), run(3)],
        attempts=[attempt(1, of) for of in (1, 2, 3)],
        revisions=revisions(plain),
        calls=[call(number) for number in (1, 2, 3)],
    )


def tried(attempts: Sequence[dict[str, Any]], calls: Sequence[Call], **policy: Any) -> Evidence:
    """The second run was tried several times."""
    end = attempts[-1]["status"]
    return replace(
        good(),
        schedules=[schedule(**policy)],
        runs=[run(1), run(2, attempt=len(attempts), status=end), run(3)],
        attempts=[attempt(1, 1), *attempts, attempt(1, 3)],
        calls=[call(1), *calls, call(3)],
    )


def broken(evidence: Evidence) -> set[str]:
    return {violation.rule for violation in check(evidence)}


def test_a_good_run_has_no_violations() -> None:
    assert check(good()) == []
    [account] = Books(good()).accounts.values()
    assert (account.due, account.runs) == (3, 3)


def test_a_lost_fire_is_found() -> None:
    evidence = replace(good(), runs=[run(1), run(3)], attempts=[attempt(1, 1), attempt(1, 3)], calls=[call(1), call(3)])
    assert broken(evidence) == {"every fire has one row", "the accounting adds up"}
    assert f"the fire of {AT + 20_000} is lost" in check(evidence)[0].what


def test_a_fire_with_two_rows_is_found() -> None:
    twin = run(4, fire_at=AT + 20_000)
    evidence = replace(good(), runs=[*good().runs, twin], attempts=[*good().attempts, attempt(1, 4)])
    evidence = replace(evidence, calls=[*evidence.calls, call(4)])
    assert broken(evidence) == {"every fire has one row", "the accounting adds up"}


def test_a_row_for_a_time_that_was_not_due_is_found() -> None:
    runs = [run(1), run(2, fire_at=AT + 20_001), run(3)]
    assert broken(replace(good(), runs=runs)) == {"every fire has one row"}


def test_a_row_of_missed_fires_counts_each_of_them() -> None:
    missed = run(1, status="missed", fire_count=2, last_fire_at=AT + 20_000, attempt=0)
    evidence = replace(good(), runs=[missed, run(3)], attempts=[attempt(1, 3)], calls=[call(3)])
    assert check(evidence) == []
    wrong = replace(evidence, runs=[{**missed, "fire_count": 3}, run(3)])
    assert "every fire has one row" in broken(wrong)


def test_nothing_is_due_while_a_schedule_is_disabled_or_has_another_timetable() -> None:
    row = schedule()
    slower = {**row, "enabled": True, "interval_seconds": 30, "last_fire_at": AT + 10_000}
    changed = {"schedule_id": PLAIN, "version": 2, "at": AT + 15_000, "body": json.dumps(slower)}
    first, last = revisions(row)
    evidence = replace(good(), revisions=[first, changed, {**last, "version": 3}])
    assert broken(evidence) == {"every fire has one row", "the accounting adds up"}
    evidence = replace(evidence, runs=[run(1), run(3)], attempts=[attempt(1, 1), attempt(1, 3)])
    assert check(replace(evidence, calls=[call(1), call(3)])) == []


def test_a_doubled_call_is_found() -> None:
    assert broken(replace(good(), calls=[*good().calls, call(2)])) == {"one call an attempt"}


@pytest.mark.parametrize("stray", [call(9), call(2, 2)])
def test_a_call_that_no_row_knows_is_found(stray: Call) -> None:
    assert "calls have a row" in broken(replace(good(), calls=[*good().calls, stray]))


@pytest.mark.parametrize("status", ["running", "pending", "paused"])
def test_a_stuck_row_is_found(status: str) -> None:
    assert broken(replace(good(), runs=[run(1), run(2, status=status), run(3)])) == {"everything has ended"}


def test_a_success_that_the_target_knows_nothing_of_is_found() -> None:
    assert broken(replace(good(), calls=[call(1), call(3)])) == {"ends are true"}
    assert broken(replace(good(), calls=[call(1), call(2, answer="half"), call(3)])) == {"ends are true"}


def test_a_failure_that_the_target_did_not_answer_is_found() -> None:
    failed = [attempt(1, 2, "failed", 500)]
    assert check(tried(failed, [call(2, answer="500")])) == []
    assert broken(tried(failed, [call(2, answer="503")])) == {"ends are true"}


def test_attempts_are_numbered_without_gaps_and_end_as_their_run_does() -> None:
    retry = [attempt(1, 2, "failed", 500), attempt(2, 2)]
    calls = [call(2, answer="500"), call(2, 2)]
    assert check(tried(retry, calls, max_retries=1)) == []
    gap = tried([retry[0], {**retry[1], "number": 3}], calls, max_retries=3)
    assert "attempts were asked for" in broken(gap)
    unlike = replace(
        tried(retry, calls, max_retries=1), attempts=[*good().attempts[::2], retry[0], attempt(2, 2, "lost")]
    )
    assert "ends are true" in broken(unlike)


@pytest.mark.parametrize(
    ("status", "policy", "fine"),
    [
        ("failed", {"max_retries": 1}, True),
        ("failed", {"max_retries": 0}, False),
        ("success", {"max_retries": 1}, False),
        ("lost", {"max_retries": 1}, False),
        ("lost", {"max_retries": 1, "on_lost": "retry"}, True),
        ("lost", {"max_retries": 1, "method": "PUT"}, True),
        ("lost", {"max_retries": 1, "method": "PUT", "on_lost": "fail"}, False),
    ],
)
def test_a_retry_must_have_been_asked_for(status: str, policy: dict[str, Any], fine: bool) -> None:
    key = 1 if status == "lost" else 2
    answer = {"failed": "500", "success": "200"}.get(status)
    code = int(answer) if answer else None
    evidence = tried(
        [attempt(1, 2, status, code), attempt(2, 2)], [call(2, answer=answer), call(2, 2, key=key)], **policy
    )
    assert broken(evidence) == (set() if fine else {"attempts were asked for"})


@pytest.mark.parametrize(
    ("ends", "keys", "fine"),
    [
        ([("lost", None)], [1, 1], True),
        ([("timeout", None)], [1, 2], False),
        ([("failed", 500)], [1, 2], True),
        ([("failed", 500)], [1, 1], False),
        ([("lost", None), ("failed", 503)], [1, 1, 1], True),
        ([("lost", None), ("failed", 503)], [1, 1, 3], True),
        ([("lost", None), ("failed", 503)], [1, 1, 2], False),
        ([("lost", None), ("failed", 500)], [1, 1, 1], False),
        ([("failed", 500), ("lost", None)], [1, 2, 2], True),
        ([("failed", 500), ("lost", None)], [1, 2, 3], False),
    ],
)
def test_keys_repeat_only_what_nobody_knows_the_end_of(
    ends: list[tuple[str, int | None]], keys: list[int], fine: bool
) -> None:
    attempts = [attempt(n, 2, status, code) for n, (status, code) in enumerate(ends, 1)]
    attempts.append(attempt(len(keys), 2))
    answers = [str(code) if code else None for _, code in ends] + ["200"]
    calls = [call(2, n, key=key, answer=answer) for n, (key, answer) in enumerate(zip(keys, answers, strict=True), 1)]
    evidence = tried(attempts, calls, max_retries=4, on_lost="retry")
    assert broken(evidence) == (set() if fine else {"keys tell repetitions"})


def agents(*started: str, **fields: Any) -> Evidence:
    row = schedule(AGENT, **fields)
    runs = [run(number, AGENT) for number in (1, 2, 3)]
    starts = [Start(at=AT, agent_run=agent_run) for agent_run in started]
    attempts = [attempt(1, number) for number in (1, 2, 3)]
    return Evidence(schedules=[row], runs=runs, attempts=attempts, revisions=revisions(row), starts=starts)


def test_agents_start_once_and_for_a_run_on_record() -> None:
    ids = [agent_run_id(run_id(number), 1) for number in (1, 2, 3)]
    assert check(agents(*ids)) == []
    assert broken(agents(*ids, ids[1])) == {"agents start once an attempt"}
    assert broken(agents(*ids, agent_run_id(run_id(1), 2))) == {"agents start once an attempt"}
    assert broken(agents(*ids[1:])) == {"ends are true"}


def test_a_loss_without_a_cause_is_found() -> None:
    lost = [attempt(1, 2, "lost", None)]
    for answer in ("half", "reset", "gone", None):
        assert check(tried(lost, [call(2, answer=answer)])) == []
    unharmed = tried(lost, [call(2)])
    assert broken(unharmed) == {"losses have a cause"}
    frozen = Disturbance(kind=Kind.FREEZE, began_at=AT + 20_010, ended_at=AT + 40_000, worker=1)
    assert check(replace(unharmed, disturbances=[frozen])) == []
    assert broken(replace(unharmed, disturbances=[replace(frozen, began_at=AT + 21_000)])) == {"losses have a cause"}


def test_what_the_api_confirmed_must_be_there() -> None:
    kept = [
        {"what": "created", "schedule": PLAIN, "version": 1},
        {"what": "changed", "schedule": PLAIN, "version": 2},
        {"what": "triggered", "schedule": PLAIN, "run": run_id(1)},
    ]
    assert check(replace(good(), promises=kept)) == []
    for forgotten in (
        {"what": "created", "schedule": "other", "version": 1},
        {"what": "changed", "schedule": PLAIN, "version": 3},
        {"what": "triggered", "schedule": PLAIN, "run": run_id(9)},
    ):
        assert broken(replace(good(), promises=[forgotten])) == {"promises are kept"}


def test_hammering_a_database_that_is_away_is_found() -> None:
    away = Disturbance(kind=Kind.PG_KILL, began_at=AT, ended_at=AT + 5_000)
    often = {1: [AT + 1_000 + 200 * n for n in range(5)], 2: [AT + 1_000 * n for n in range(5)]}
    assert broken(replace(good(), disturbances=[away], connects=often)) == {"connects are few"}
    back_again = {1: [AT + 5_001 + n for n in range(8)]}
    assert check(replace(good(), disturbances=[away], connects=back_again)) == []
    assert busiest_second([0, 999, 1_000, 1_998]) == 3


def test_complaints_about_processes_count() -> None:
    assert broken(replace(good(), complaints=["worker.2 is dead"])) == {"processes are well"}


def test_due_times_of_cron_expressions() -> None:
    row = {"interval_seconds": None, "cron_expr": "*/2 * * * *"}
    assert due_between(row, AT, AT + 240_000) == [AT + 120_000, AT + 240_000]
    with pytest.raises(ValueError, match="no timetable of ours"):
        due_between({"interval_seconds": None, "cron_expr": "0 7 * * *"}, AT, AT + 1)


def test_a_seed_deals_the_same_faults_and_schedules_again() -> None:
    def faults(seed: str, *, servers: bool = True) -> list[Any]:
        return list(deal(seed, seconds=600, workers=3, lease_seconds=5, servers=servers))

    assert faults("a") == faults("a") != faults("b")
    assert {fault.kind for fault in faults("a")} == set(Kind)
    assert Kind.PG_KILL not in {fault.kind for fault in faults("a", servers=False)}
    assert list(population("a", 10, 13)) == list(population("a", 10, 13))
    rate = sum(1 / (draft.get("interval_seconds") or 60) for draft in population("a", 10, 13))
    assert 10 <= rate <= 11
