"""Finished runs that come from another scheduler."""

from __future__ import annotations

from dataclasses import replace

from tests.conformance.helpers import MINUTE, START, history, run_of, schedule

from agentclock.core.ids import uuid7
from agentclock.core.model import Attempt, Cause, Run, RunStatus
from agentclock.ports import Accounting, Store


def past_run(number: int, **fields: object) -> Run:
    """The `number`-th of some runs in the minutes before the schedule came to us."""
    at = START - 100 * MINUTE + number * MINUTE
    run = Run(
        id=uuid7(at, number.to_bytes(10, "big")),
        schedule_id="s1",
        user_id="mona",
        cause=Cause.SCHEDULE,
        fire_at=at,
        status=RunStatus.FAILED,
        attempt=2,
        created_at=at,
        started_at=at,
        completed_at=at + 5_000,
        status_code=500,
        agent_run_id="agent-run",
        session_id="session",
        error="boom\0",
        input={"input_content": "hello"},
        output={"content": "a \0 b"},
        metrics={"total_tokens": 3},
    )
    return replace(run, **fields)  # type: ignore[arg-type]


def attempts_of(run: Run) -> list[Attempt]:
    return [
        Attempt(
            run_id=run.id,
            number=number,
            status=RunStatus.FAILED,
            started_at=run.fire_at + number,
            completed_at=run.fire_at + number + 1_000,
            status_code=503,
            agent_run_id=f"agent-run-{number}",
            error="boom",
        )
        for number in (1, 2)
    ]


async def test_they_are_read_back_as_they_were(store: Store) -> None:
    await store.insert_schedules([schedule()])
    run = past_run(1)
    assert await store.insert_history([run], attempts_of(run)) == 1
    # What no database stores is replaced in texts; JSON keeps it.
    assert await run_of(store, run.id) == replace(run, error="boom�")
    assert await store.attempts(run.id) == attempts_of(run)


async def test_again_they_stay_as_they_are(store: Store) -> None:
    await store.insert_schedules([schedule()])
    run, other = past_run(1), past_run(2, status=RunStatus.LOST, completed_at=None, output=None, input=None)
    await store.insert_history([run], attempts_of(run))
    changed = replace(run, status=RunStatus.SUCCESS)
    again = [replace(attempt, error="other") for attempt in attempts_of(run)]
    assert await store.insert_history([changed, other], [*again, *attempts_of(other)]) == 1
    assert [found.status for found in await history(store)] == [RunStatus.FAILED, RunStatus.LOST]
    assert {attempt.error for attempt in await store.attempts(run.id)} == {"boom"}
    assert len(await store.attempts(other.id)) == 2


async def test_nothing_is_nothing(store: Store) -> None:
    assert await store.insert_history([], []) == 0


async def test_they_count_for_nothing_that_was_due_since(store: Store) -> None:
    await store.insert_schedules([schedule()])
    await store.insert_history([past_run(1), past_run(2)], [])
    assert await store.accounting("s1", START - MINUTE, START) == Accounting()
    found = await store.get_schedule("s1")
    assert found is not None
    assert (found.run_count, found.last_fire_at) == (0, None)


async def test_they_are_pruned_like_others(store: Store) -> None:
    await store.insert_schedules([schedule()])
    runs = [past_run(1), past_run(2)]
    await store.insert_history(runs, [attempt for run in runs for attempt in attempts_of(run)])
    assert await store.prune(runs[1].fire_at, 100) >= 1
    assert [run.id for run in await history(store)] == [runs[1].id]
    assert await store.attempts(runs[0].id) == []
