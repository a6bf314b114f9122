"""What /metrics says: counters from events, times of store and executor, gauges, a database that is away."""

from __future__ import annotations

import asyncio

import pytest
from tests.telemetry_help import Watched, every_event, missed, run_of, samples_of, settled, started

from agentclock.core.errors import NotFound, StoreUnavailable
from agentclock.core.model import Cause, Instruction, InstructionKind, Outcome, OutcomeKind, Reason, RunStatus
from agentclock.telemetry import gauges
from agentclock.telemetry.definitions import EVERY, Kind
from agentclock.telemetry.places import IDLE_SECONDS, OTHER, Places
from agentclock.telemetry.timed import Stopwatch, timed


async def value(watched: Watched, name: str, **labels: str) -> float | None:
    return (await watched.shown()).get((f"agentclock_{name}", tuple(sorted(labels.items()))))


async def test_every_metric_that_is_defined_is_shown_with_its_labels() -> None:
    watched = Watched()
    watched.hear(*every_event())
    await watched.execute()
    await watched.store.fire_due(lambda *_: None, limit=1)  # type: ignore[arg-type,return-value]
    watched.bare_store.away = True
    with pytest.raises(StoreUnavailable):
        await watched.store.now()
    watched.bare_store.away = False
    shown: dict[str, set[str]] = {}
    for name, labels in await watched.shown():
        shown.setdefault(name, set()).update(label for label, _ in labels)
    for one in EVERY:
        name, extra = (f"{one.name}_bucket", {"le"}) if one.kind is Kind.HISTOGRAM else (one.name, set())
        assert shown.get(name) == {*one.labels, *extra}, one.name
    ours = {name for name in shown if name.startswith("agentclock_")}
    parts = {f"{one.name}{part}" for one in EVERY for part in ("", "_bucket", "_sum", "_count")}
    assert ours <= parts


async def test_names_follow_the_conventions() -> None:
    for one in EVERY:
        assert (one.kind is Kind.COUNTER) == one.name.endswith("_total")
        assert one.name.startswith("agentclock_")
        assert one.kind is not Kind.HISTOGRAM or one.name.endswith("_seconds")


async def test_both_formats_are_spoken() -> None:
    watched = Watched()
    watched.hear(settled())
    text, kind = await watched.telemetry.exposition("text/plain")
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    assert not any(name.endswith("_created") for name, _ in samples_of(text.decode()))
    text, kind = await watched.telemetry.exposition("application/openmetrics-text; version=1.0.0,text/plain;q=0.5")
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith(b"# EOF\n")


async def test_processes_do_not_share_a_registry() -> None:
    one, other = Watched(), Watched()
    one.hear(settled())
    assert await value(one, "runs_total", schedule="nightly", end="success") == 1
    assert await value(other, "runs_total", schedule="nightly", end="success") is None


@pytest.mark.parametrize(
    ("run", "at", "late_seconds"),
    [
        (run_of(), 10_020, 0.02),
        (run_of(available_at=25_000), 25_500, 0.5),  # jitter, or the wait for the run before
        (run_of(), 9_990, 0.0),  # by a clock that is behind the database's
        (run_of(attempt=2), 90_000, None),
        (run_of(refusals=1), 90_000, None),
        (run_of(cause=Cause.CATCH_UP), 90_000, None),
        (run_of(cause=Cause.MANUAL), 90_000, None),
        (run_of(instruction=Instruction(kind=InstructionKind.ATTACH)), 90_000, None),
    ],
)
async def test_lateness_is_that_of_first_requests_of_scheduled_runs(run: object, at: int, late_seconds: float) -> None:
    watched = Watched()
    watched.hear(started(run, at=at))  # type: ignore[arg-type]
    assert await value(watched, "start_lateness_seconds_count") == (late_seconds is not None)
    assert await value(watched, "start_lateness_seconds_sum") == pytest.approx(late_seconds or 0.0)


async def test_an_attempt_counts_once_however_often_its_connection_is_refused() -> None:
    watched = Watched()
    watched.hear(started(), started(run_of(refusals=1)), started(run_of(attempt=2)))
    assert await value(watched, "attempts_total", cause="schedule") == 2


async def test_ends_and_durations() -> None:
    watched = Watched()
    watched.hear(started())
    assert await value(watched, "runs_total", schedule="nightly", end="lost") == 0, "counters begin at zero"
    watched.hear(settled(), settled(RunStatus.FAILED, run_of(started_at=2_500)), settled(RunStatus.PAUSED))
    assert await value(watched, "runs_total", schedule="nightly", end="success") == 1
    assert await value(watched, "runs_total", schedule="nightly", end="failed") == 1
    assert await value(watched, "run_duration_seconds_sum", end="success") == 2.5
    assert await value(watched, "run_duration_seconds_sum", end="failed") == 10.0


async def test_retries_are_no_refusals_and_what_goes_on_is_neither() -> None:
    watched = Watched()
    pending = {"status": RunStatus.PENDING, "available_at": 99_000}
    watched.hear(
        settled(**pending),
        settled(**pending, attempt_spent=False),
        settled(**pending, goes_on=InstructionKind.ATTACH),
    )
    assert await value(watched, "retries_total") == 1
    assert await value(watched, "connection_refusals_total") == 1


async def test_absent_fires_count_as_often_as_they_are() -> None:
    watched = Watched()
    watched.hear(missed(count=11), missed(status=RunStatus.SKIPPED, reason=Reason.QUEUE_FULL, count=3))
    assert await value(watched, "fires_missed_total", reason="catch_up_none") == 11
    assert await value(watched, "fires_skipped_total", reason="queue_full") == 3
    assert await value(watched, "fires_missed_total", reason="superseded") == 0


async def test_targets_are_timed_unless_they_refuse() -> None:
    watched = Watched(targets={"default": {"base_url": "http://a.test"}, "hooks": {"base_url": "http://b.test"}})
    await watched.execute(target="hooks")
    await watched.execute(Outcome(kind=OutcomeKind.REFUSED), target="hooks")
    await watched.execute(target="of older settings")
    await watched.execute(endpoint="https://in.full/hook")
    assert await value(watched, "target_response_seconds_count", target="hooks") == 1
    assert await value(watched, "target_answers_total", target="hooks", outcome="refused") == 1
    assert await value(watched, "target_answers_total", target=OTHER, outcome="success") == 2
    assert await value(watched, "target_answers_total", target="default", outcome="success") == 0


async def test_the_state_of_process_and_database() -> None:
    watched = Watched(concurrency=50)
    assert await value(watched, "engine_status", status="running") == 1
    assert await value(watched, "engine_status", status="standby") == 0
    assert (await value(watched, "slots"), await value(watched, "slots_busy")) == (50, 2)
    assert await value(watched, "event_streams_open") == 4
    assert await value(watched, "due_lag_seconds") == 1.5
    assert await value(watched, "queue_lag_seconds") == 0.25
    assert await value(watched, "runs_active", status="paused") == 1
    assert await value(watched, "clock_difference_seconds") == -0.25
    assert await value(watched, "database_oldest_snapshot_seconds") == 12
    assert await value(watched, "planner_idle_seconds") is None
    await watched.store.fire_due(lambda *_: None, limit=1)  # type: ignore[arg-type,return-value]
    watched.clock.advance(seconds=3)
    assert await value(watched, "planner_idle_seconds") == 3


async def test_the_database_is_looked_at_once_in_a_while_for_all_who_ask() -> None:
    watched = Watched()
    await asyncio.gather(*(watched.telemetry.exposition("") for _ in range(5)))
    await watched.telemetry.exposition("")
    assert watched.bare_store.looks == 1
    watched.clock.advance(seconds=gauges.FRESH_SECONDS)
    await watched.telemetry.exposition("")
    assert watched.bare_store.looks == 2


async def test_what_a_database_said_is_not_shown_while_it_is_away() -> None:
    watched = Watched()
    assert await value(watched, "database_up") == 1
    watched.bare_store.away = True
    watched.clock.advance(seconds=gauges.FRESH_SECONDS)
    assert await value(watched, "database_up") == 0
    assert await value(watched, "due_lag_seconds") is None
    assert await value(watched, "slots") is not None
    watched.bare_store.away = False
    watched.clock.advance(seconds=gauges.FRESH_SECONDS)
    assert await value(watched, "database_up") == 1


async def test_a_database_that_hangs_holds_up_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "PATIENCE_SECONDS", 0.01)
    watched = Watched()
    watched.bare_store.away = gate = asyncio.Event()
    for _ in range(3):
        assert await value(watched, "database_up") == 0
        watched.clock.advance(seconds=gauges.FRESH_SECONDS)
    assert watched.bare_store.looks == 1, "no look is begun while another one is under way"
    gate.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await value(watched, "database_up") == 1
    await watched.telemetry.close()


async def test_what_a_store_raises_on_purpose_is_an_answer() -> None:
    class Store:
        backend = "stub"

        async def get(self, error: Exception | None) -> str:
            if error is not None:
                raise error
            return "row"

    watched = Watched()
    stopwatch = Stopwatch(watched.telemetry.metrics, watched.clock.monotonic)
    store: object = timed(Store(), stopwatch)  # type: ignore[arg-type]
    assert store.backend == "stub"  # type: ignore[attr-defined]
    assert await store.get(None) == "row"  # type: ignore[attr-defined]
    for error in (NotFound("Schedule"), StoreUnavailable("away"), ValueError("bug")):
        with pytest.raises(type(error)):
            await store.get(error)  # type: ignore[attr-defined]
    assert await value(watched, "database_seconds_count", operation="get") == 4
    assert await value(watched, "database_errors_total", operation="get") == 2


async def test_schedules_beyond_the_limit_share_a_label() -> None:
    watched = Watched(metrics_schedule_limit=2)
    for name in ("a", "b", "c", "d", "a"):
        watched.hear(settled(schedule_name=name))
    ended = {labels[1][1]: await value(watched, "runs_total", **dict(labels)) for labels in await _ended(watched)}
    assert ended == {"a": 2, "b": 1, OTHER: 2}


async def _ended(watched: Watched) -> list[tuple[tuple[str, str], ...]]:
    shown = await watched.shown()
    return [labels for name, labels in shown if name == "agentclock_runs_total" and ("end", "success") in labels]


async def test_a_schedule_that_does_nothing_for_a_week_makes_room() -> None:
    watched = Watched(metrics_schedule_limit=1)
    watched.hear(settled(schedule_name="deleted"))
    watched.clock.advance(seconds=IDLE_SECONDS)
    watched.hear(settled(schedule_name="new"))
    assert await value(watched, "runs_total", schedule="new", end="success") == 1
    assert await value(watched, "runs_total", schedule="deleted", end="success") is None


def test_places_are_kept_by_those_who_use_them() -> None:
    places = Places(2)
    assert places.take("a", 0.0) == ("a", None)
    assert places.take("b", 1.0) == ("b", None)
    assert places.take("a", IDLE_SECONDS) == ("a", None)
    assert places.take("c", IDLE_SECONDS) == (OTHER, None)
    assert places.take("c", IDLE_SECONDS + 1) == ("c", "b")
    assert Places(0).take("a", 0.0) == (OTHER, None)
