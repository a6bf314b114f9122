"""What screens and figures are made of: marks, counts of fires, failures, who holds what, how much there is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.conformance.conftest import Backend
from tests.conformance.helpers import (
    MINUTE,
    PAUSED,
    START,
    SUCCESS,
    end,
    firing,
    held,
    manual_id,
    queued,
    register,
    run_of,
    schedule,
    triggering,
)

from agentclock.core.ids import fire_run_id
from agentclock.core.model import (
    Attempt,
    Cause,
    Instant,
    Outcome,
    OutcomeKind,
    Overlap,
    Reason,
    Run,
    RunStatus,
    TriggerNote,
    Usage,
)
from agentclock.core.planning import Absence, Plan, Situation, plan_trigger
from agentclock.ports import (
    BinCount,
    Failure,
    Overview,
    PageRequest,
    PlanFunction,
    RunFilter,
    RunMark,
    ScheduleCount,
    Store,
    WorkerInfo,
)
from agentclock.testing import FakeClock

HOUR = 60 * MINUTE


def absent(*gaps: tuple[Instant, int, RunStatus]) -> PlanFunction:
    """A plan of fires that make no run: the first fire time, how many (a minute apart), what they become."""

    def plan(schedule: object, situation: Situation, now: Instant) -> Plan:
        return Plan(
            schedule_id="s1",
            absences=tuple(
                Absence(
                    run_id=fire_run_id("s1", at),
                    cause=Cause.SCHEDULE,
                    status=status,
                    reason=Reason.OVERLAP,
                    fire_at=at,
                    last_fire_at=at + (count - 1) * MINUTE,
                    count=count,
                )
                for at, count, status in gaps
            ),
            next_fire_at=START,
        )

    return plan


def past(schedule_id: str, at: Instant, status: RunStatus = RunStatus.SUCCESS, **fields: object) -> Run:
    run = Run(
        id=fire_run_id(schedule_id, at),
        schedule_id=schedule_id,
        cause=Cause.SCHEDULE,
        fire_at=at,
        status=status,
        attempt=1,
        created_at=at,
        started_at=at + 5,
        completed_at=at + 1_005,
    )
    return replace(run, **fields)  # type: ignore[arg-type]


def attempt(run: Run, number: int = 1, **usage: object) -> Attempt:
    used = Usage(**usage) if usage else None  # type: ignore[arg-type]
    return Attempt(run_id=run.id, number=number, status=RunStatus.SUCCESS, started_at=run.fire_at, usage=used)


def mark(run: Run, total_tokens: int | None = None, cost: float | None = None) -> RunMark:
    names = set(RunMark.__dataclass_fields__) - {"run_id", "total_tokens", "cost"}
    parts = {name: getattr(run, name) for name in names}
    return RunMark(run_id=run.id, total_tokens=total_tokens, cost=cost, **parts)


# marks


async def test_marks_are_the_newest_runs_of_each_schedule(store: Store) -> None:
    runs = [past(of, START + n * MINUTE) for of in ("s1", "s2") for n in range(4)]
    await store.insert_history(runs, [])
    found = await store.marks(["s2", "s1", "nobody", "s1"], limit=3)
    assert list(found) == ["s2", "s1", "nobody"]
    assert found["s1"] == [mark(run) for run in reversed(runs[1:4])]
    assert found["s2"] == [mark(run) for run in reversed(runs[5:])]
    assert found["nobody"] == []
    assert await store.marks([], limit=3) == {}
    assert await store.marks(["s1"], limit=0) == {"s1": []}


async def test_marks_are_what_the_runs_are(store: Store, clock: FakeClock) -> None:
    """In every state, to the millisecond."""
    await register(store)
    await store.insert_schedules([schedule(overlap=Overlap.ALLOW)])
    await store.fire_due(absent((START - 9 * MINUTE, 3, RunStatus.SKIPPED)), limit=1)
    claims = (await store.fire_due(firing(START, START + 7, again_at=START), limit=1, worker_id="w1", slots=2)).claims
    clock.advance(0.123)
    await end(store, claims[0], PAUSED)
    await store.fire_due(firing(START + 9, available=START + 99, again_at=None), limit=1)
    await store.trigger("s1", triggering(manual_id(START + 10)))
    found = (await store.marks(["s1"], limit=10))["s1"]
    assert [one.status.value for one in found] == ["pending", "pending", "running", "paused", "skipped"]
    assert found == [mark(await run_of(store, one.run_id)) for one in found]


async def test_marks_of_a_range(store: Store) -> None:
    runs = [past("s1", START + n * MINUTE) for n in range(5)]
    await store.insert_history(runs, [])
    found = await store.marks(["s1"], limit=9, since=START + MINUTE, until=START + 3 * MINUTE)
    assert found["s1"] == [mark(run) for run in (runs[2], runs[1])]
    found = await store.marks(["s1"], limit=1, until=START + 3 * MINUTE)
    assert found["s1"] == [mark(runs[2])]


async def test_a_run_of_a_fire_long_past_is_marked_in_its_range(store: Store) -> None:
    await store.insert_schedules([schedule(next_fire_at=None)])
    run_id, long_past = manual_id(START), START - 100 * HOUR
    await store.trigger("s1", lambda s, facts, now: plan_trigger(s, facts, now, run_id, fire_at=long_past))
    found = await store.marks(["s1"], limit=9, since=long_past, until=long_past + 1)
    assert [one.run_id for one in found["s1"]] == [run_id]


async def test_usage_is_that_of_all_attempts(store: Store) -> None:
    runs = [past("s1", START + n * MINUTE) for n in range(4)]
    attempts = [attempt(runs[0]), attempt(runs[1]), attempt(runs[1], 2), attempt(runs[2])]
    await store.insert_history(runs, attempts)
    await register(store)
    (claim,) = (await _claimed(store, "s2")).values()
    used = Usage(total_tokens=12, cost=0.5)
    await end(store, claim, replace(SUCCESS, usage=used))
    found = await store.marks(["s1", "s2"], limit=9, with_usage=True)
    assert [(one.total_tokens, one.cost) for one in found["s1"]] == [(None, None)] * 4
    assert [(one.total_tokens, one.cost) for one in found["s2"]] == [(12, 0.5)]
    assert (await store.marks(["s2"], limit=9))["s2"][0].total_tokens is None


async def _claimed(store: Store, *ids: str) -> dict[str, object]:
    await queued(store, *ids)
    return {claim.run.schedule_id: claim for claim in (await store.claim("w1", len(ids))).claims}


async def test_usage_adds_up(store: Store, backend: Backend) -> None:
    run = past("s1", START)
    await store.insert_history([run], [attempt(run), attempt(run, 2), attempt(run, 3)])
    for number, tokens, cost in ((1, 10, 0.25), (2, 5, 0.5)):
        await backend.execute(
            f"UPDATE {{prefix}}attempts SET total_tokens = {tokens}, cost = {cost} WHERE number = {number}"
        )
    found = await store.marks(["s1"], limit=9, with_usage=True)
    assert found["s1"] == [mark(run, 15, 0.75)]


async def test_a_run_that_cannot_be_read_is_left_out(store: Store, backend: Backend) -> None:
    runs = [past("s1", START + n * MINUTE) for n in range(3)]
    await store.insert_history(runs, [])
    await backend.execute("UPDATE {prefix}runs SET cause = 'moonshine' WHERE id = ?", runs[1].id)
    assert (await store.marks(["s1"], limit=9))["s1"] == [mark(runs[2]), mark(runs[0])]
    assert await store.newest_marks(RunFilter(), 9) == [mark(runs[2]), mark(runs[0])]


async def test_the_newest_marks_of_all(store: Store) -> None:
    runs = [past(of, START + n * MINUTE, user_id=of) for n in range(3) for of in ("s1", "s2")]
    runs.append(past("s3", START, RunStatus.FAILED))
    await store.insert_history(runs, [])
    newest = sorted(runs, key=lambda run: run.id, reverse=True)
    assert await store.newest_marks(RunFilter(), 4) == [mark(run) for run in newest[:4]]
    for where, expected in (
        (RunFilter(user_id="s1"), [run for run in newest if run.user_id == "s1"]),
        (RunFilter(schedule_ids=("s1", "s3")), [run for run in newest if run.schedule_id != "s2"]),
        (RunFilter(statuses=(RunStatus.FAILED,)), runs[-1:]),
        (RunFilter(statuses=(RunStatus.RUNNING,)), []),
        (RunFilter(since=START, until=START + 1), [run for run in newest if run.fire_at == START]),
    ):
        assert await store.newest_marks(where, 9) == [mark(run) for run in expected]


# counts


def between(since: Instant, until: Instant, **fields: object) -> RunFilter:
    return RunFilter(since=since, until=until, **fields)  # type: ignore[arg-type]


async def test_bins_hold_what_fires_from_their_start_up_to_the_next(store: Store) -> None:
    edges = (START - 1, START, START + 99, START + 100, START + 199, START + 200)
    await store.insert_history([past("s1", at) for at in edges], [])
    found = await store.count_fires(between(START, START + 200), 2)
    success = RunStatus.SUCCESS
    assert found == [BinCount(number=0, status=success, fires=2), BinCount(number=1, status=success, fires=2)]


async def test_bins_that_do_not_come_out_even(store: Store) -> None:
    """10 ms in 3 bins: 0 to 3, 4 to 6, 7 to 9."""
    await store.insert_history([past("s1", START + n) for n in range(10)], [])
    found = await store.count_fires(between(START, START + 10), 3)
    assert [(one.number, one.fires) for one in found] == [(0, 4), (1, 3), (2, 3)]
    # More bins than there are milliseconds: most of them can hold nothing.
    found = await store.count_fires(between(START, START + 2), 500)
    assert [(one.number, one.fires) for one in found] == [(0, 1), (250, 1)]


async def test_every_state_is_counted_by_itself(store: Store) -> None:
    final = [status for status in RunStatus if status.is_final and status not in (RunStatus.SKIPPED, RunStatus.MISSED)]
    await store.insert_history([past("s1", START + n, status) for n, status in enumerate(final)], [])
    await register(store)
    claims = await _claimed(store, "s2", "s3")
    await end(store, claims["s2"], PAUSED)  # type: ignore[arg-type]
    await queued(store, "s4")
    found = await store.count_fires(between(START, START + HOUR), 1)
    active = (RunStatus.PENDING, RunStatus.RUNNING, RunStatus.PAUSED)
    assert {one.status: one.fires for one in found} == dict.fromkeys((*final, *active), 1)
    assert {one.number for one in found} == {0}
    for wanted in ((RunStatus.LOST,), (RunStatus.PAUSED,), (RunStatus.SUCCESS, RunStatus.PENDING)):
        found = await store.count_fires(between(START, START + HOUR, statuses=wanted), 1)
        assert {one.status for one in found} == set(wanted)


async def test_absences_count_with_all_their_fires_where_the_first_one_is(store: Store) -> None:
    await store.insert_schedules([schedule()])
    gaps = (START + 5 * MINUTE, 30, RunStatus.SKIPPED), (START + 50 * MINUTE, 7, RunStatus.MISSED)
    await store.fire_due(absent(*gaps), limit=1)
    found = await store.count_fires(between(START, START + HOUR), 6)
    assert found == [
        BinCount(number=0, status=RunStatus.SKIPPED, fires=30),
        BinCount(number=5, status=RunStatus.MISSED, fires=7),
    ]
    # One that began before the range is not in it, however far it reaches.
    assert await store.count_fires(between(START + 10 * MINUTE, START + HOUR, statuses=(RunStatus.SKIPPED,)), 6) == []


async def test_counts_of_some_schedules_of_an_owner_and_by_cause(store: Store) -> None:
    runs = [
        past("s1", START, user_id="ann"),
        past("s2", START, user_id="bob"),
        past("s3", START, RunStatus.FAILED, user_id="ann", cause=Cause.MANUAL),
        past("gone", START),
    ]
    await store.insert_history(runs, [])
    for fields, expected in (
        ({}, 4),
        ({"user_id": "ann"}, 2),
        ({"schedule_id": "s2"}, 1),
        ({"schedule_ids": ("s1", "s3", "nobody")}, 2),
        ({"schedule_ids": ()}, 0),
        ({"schedule_ids": ("s1", "s2"), "user_id": "bob"}, 1),
        ({"causes": (Cause.MANUAL,)}, 1),
    ):
        found = await store.count_fires(between(START, START + 1, **fields), 10)
        assert sum(one.fires for one in found) == expected, fields


async def test_counts_without_a_range(store: Store) -> None:
    await store.insert_history([past("s1", START)], [])
    assert await store.count_fires(between(START, START), 5) == []
    assert await store.count_fires(between(START + 1, START), 5) == []
    assert await store.count_fires(between(START, START + 1), 0) == []
    for where in (RunFilter(), RunFilter(since=START), RunFilter(until=START)):
        with pytest.raises(ValueError, match="since and until"):
            await store.count_fires(where, 5)


async def test_counts_by_schedule(store: Store) -> None:
    runs = [past("s2", START + n, RunStatus.FAILED if n else RunStatus.SUCCESS) for n in range(3)]
    await store.insert_history([*runs, past("s3", START)], [])
    await queued(store, "s4")
    await store.insert_schedules([schedule()])
    await store.fire_due(absent((START + 5 * MINUTE, 30, RunStatus.SKIPPED)), limit=1)
    s1 = ScheduleCount(schedule_id="s1", runs=1, fires=30, newest_fire_at=START + 5 * MINUTE)
    s2 = ScheduleCount(schedule_id="s2", runs=3, fires=3, newest_fire_at=START + 2)
    s3, s4 = (ScheduleCount(schedule_id=of, runs=1, fires=1, newest_fire_at=START) for of in ("s3", "s4"))
    assert await store.counts_by_schedule(RunFilter(), 9) == [s1, s2, s3, s4]
    assert await store.counts_by_schedule(RunFilter(), 2) == [s1, s2]
    failed = (RunStatus.FAILED, RunStatus.MISSED)
    assert await store.counts_by_schedule(RunFilter(statuses=failed), 9) == [replace(s2, runs=2, fires=2)]
    assert await store.counts_by_schedule(RunFilter(statuses=(RunStatus.PENDING,)), 9) == [s4]
    assert await store.counts_by_schedule(RunFilter(since=START, until=START + 1, schedule_ids=("s2",)), 9) == [
        ScheduleCount(schedule_id="s2", runs=1, fires=1, newest_fire_at=START)
    ]


async def test_runs_of_some_schedules(store: Store) -> None:
    """A few, each looked at; many, looked for among all; and with everything else that narrows."""
    runs = [past(f"s{of}", START + n * MINUTE, user_id=f"u{of % 2}") for n in range(3) for of in range(120)]
    await store.insert_history(runs, [])
    newest = sorted(runs, key=lambda run: run.id, reverse=True)
    for many in (1, 2, 99, 100, 101, 119):
        ids = tuple(f"s{of}" for of in range(many))
        for fields in (
            {},
            {"user_id": "u0"},
            {"since": START + MINUTE, "until": START + 2 * MINUTE},
            {"statuses": (RunStatus.FAILED,)},
        ):
            where = RunFilter(schedule_ids=ids, **fields)  # type: ignore[arg-type]
            expected = [
                run
                for run in newest
                if run.schedule_id in ids
                and where.user_id in (None, run.user_id)
                and (where.since is None or run.fire_at == START + MINUTE)
                and not where.statuses
            ]
            found = await store.list_runs(where, PageRequest(limit=5))
            assert (list(found.items), found.total_count) == (expected[:5], len(expected))
            second = await store.list_runs(where, PageRequest(limit=5, page=2))
            assert list(second.items) == expected[5:10]
            if found.next_cursor is not None:
                assert await store.list_runs(where, PageRequest(limit=5, cursor=found.next_cursor)) == second
    assert (await store.list_runs(RunFilter(schedule_ids=()), PageRequest())).items == ()
    active = RunFilter(schedule_ids=("s1",), statuses=(RunStatus.RUNNING, RunStatus.PENDING))
    assert (await store.list_runs(active, PageRequest())).items == ()


# failures


async def test_failures_are_newest_first_with_the_beginnings_of_their_errors(store: Store) -> None:
    states = (RunStatus.FAILED, RunStatus.TIMEOUT, RunStatus.LOST, RunStatus.CANCELLED, RunStatus.SUCCESS)
    runs = [
        past("s1", START + n * MINUTE, status, error=f"ü{n}" * 3_000, status_code=500 + n)
        for n, status in enumerate(states)
    ]
    await store.insert_history(runs, [])
    found = await store.failures(RunFilter(), 9)
    assert found == [
        Failure(
            run_id=run.id,
            schedule_id="s1",
            status=run.status,
            fire_at=run.fire_at,
            completed_at=run.completed_at,
            status_code=run.status_code,
            error=(run.error or "")[:2_000],
        )
        for run in reversed(runs[:3])
    ]
    assert await store.failures(RunFilter(), 2) == found[:2]
    assert await store.failures(RunFilter(statuses=(RunStatus.TIMEOUT, RunStatus.SUCCESS)), 9) == [found[1]]
    assert await store.failures(RunFilter(statuses=(RunStatus.SUCCESS,)), 9) == []
    assert await store.failures(between(START, START + MINUTE), 9) == found[2:]
    assert await store.failures(RunFilter(), 0) == []


async def test_failures_of_some(store: Store) -> None:
    await store.insert_history([past(of, START, RunStatus.FAILED, user_id=of) for of in ("s1", "s2", "s3")], [])
    for where in (
        RunFilter(schedule_id="s2"),
        RunFilter(user_id="s2"),
        RunFilter(schedule_ids=("s2", "nobody")),
        RunFilter(schedule_ids=("s1", "s2"), user_id="s2"),
    ):
        assert [one.schedule_id for one in await store.failures(where, 9)] == ["s2"]


# workers, overview


async def test_what_workers_have_in_hand(store: Store) -> None:
    await register(store)
    await register(store, "w2")
    runs = await queued(store, "s1", "s2", "s3", "s4")
    for worker_id, count in (("w1", 3), ("w2", 1)):
        await store.claim(worker_id, count)
    found = await store.held_runs(["w1", "w2", "w3"], 2)
    mine = [mark(await run_of(store, run.id)) for run in runs]
    assert found == {"w1": mine[:2], "w2": mine[3:], "w3": []}
    assert await store.held_runs(["w1"], 9) == {"w1": mine[:3]}


async def test_how_many_runs_a_worker_executes_at_a_time(store: Store) -> None:
    info = WorkerInfo(id="w1", name="host", app_version="1", slots=7)
    await store.acquire_engine(info, 30)
    await store.release_engine("w1")
    await register(store, "w2")
    assert {one.info.id: one.info.slots for one in await store.workers()} == {"w1": 7, "w2": None}


async def test_the_overview_of_nothing(store: Store) -> None:
    assert await store.overview() == Overview(enabled=0, disabled=0, pending=0, running=0, paused=0)
    assert await store.overview("ann") == Overview(enabled=0, disabled=0, pending=0, running=0, paused=0)


async def test_the_overview_counts_what_there_is(store: Store, backend: Backend) -> None:
    await register(store)
    await end(store, await held(store, "p", "w1"), PAUSED)
    await held(store, "r", "w1")
    ann = [schedule(f"a{n}", user_id="ann", next_fire_at=START + HOUR + n, enabled=n > 0) for n in range(3)]
    await store.insert_schedules(ann)
    await store.insert_schedules(
        [schedule("gone", next_fire_at=START + 1), schedule("x", next_fire_at=START + 2 * HOUR)]
    )
    await store.delete_schedule("gone")
    await store.trigger("a1", triggering(manual_id(START)))
    everything = Overview(enabled=5, disabled=1, pending=1, running=1, paused=1, next_fire=ann[1])
    assert await store.overview() == everything
    assert await store.overview("ann") == Overview(
        enabled=2, disabled=1, pending=1, running=0, paused=0, next_fire=ann[1]
    )
    assert await store.overview("bob") == Overview(enabled=0, disabled=0, pending=0, running=0, paused=0)
    # What cannot be read is counted, but does not hide what comes after it.
    await backend.execute("UPDATE {prefix}schedules SET tags = 'x' WHERE id = 'a1'")
    assert await store.overview() == replace(everything, next_fire=ann[2])


# what a run does again


async def test_a_run_tells_which_one_it_does_again(store: Store) -> None:
    await store.insert_schedules([schedule(next_fire_at=None, overlap=Overlap.ALLOW)])
    notes = (
        TriggerNote(retry_of="r1"),
        TriggerNote(retry_of="r1", reason="why", by="ann", has_payload=True, payload=[1]),
        TriggerNote(by="ann"),
        None,
    )
    for place, note in enumerate(notes):
        run_id = manual_id(START + place)
        made = await store.trigger("s1", lambda s, facts, now, r=run_id, n=note: plan_trigger(s, facts, now, r, note=n))
        assert made.run.trigger_note == note
        assert (await run_of(store, run_id)).trigger_note == note
    await register(store)
    for claim, note in zip((await store.claim("w1", 9)).claims, notes, strict=True):
        assert claim.run.trigger_note == note
        await end(store, claim, Outcome(kind=OutcomeKind.FAILED, error="x"))
        assert (await run_of(store, claim.run.id)).trigger_note == note
