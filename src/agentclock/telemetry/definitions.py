"""Every metric that a process shows, defined once: /metrics, the reference and the tests read this.

Names follow Prometheus: base units in the name, `_total` for what only grows. Labels are bounded: `schedule` by the
setting `metrics_schedule_limit`, `target` by the configuration, all others by the words that there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Metric:
    """`name` as PromQL knows it, but for the suffixes of a histogram's parts. `buckets`: upper bounds in seconds."""

    kind: Kind
    name: str
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


def _counter(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(kind=Kind.COUNTER, name=f"agentclock_{name}", meaning=meaning, labels=labels)


def _gauge(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(kind=Kind.GAUGE, name=f"agentclock_{name}", meaning=meaning, labels=labels)


def _histogram(name: str, buckets: tuple[float, ...], meaning: str, *labels: str) -> Metric:
    return Metric(kind=Kind.HISTOGRAM, name=f"agentclock_{name}", meaning=meaning, labels=labels, buckets=buckets)


_LATE: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600,
)  # fmt: skip
_LONG: Final = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14_400, 43_200, 86_400)
_TRIP: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

# what happens with fires and runs

LATENESS: Final = _histogram(
    "start_lateness_seconds",
    _LATE,
    "From when a run was due (fire time and jitter, or the end of the run that it waited for) until its first request "
    "left. Scheduled runs only, not those that make up for missed fires.",
)
QUEUED: Final = _counter("runs_queued_total", "Runs that this process made of fires.", "cause")
ATTEMPTS: Final = _counter("attempts_total", "Attempts that this process began.", "cause")
ENDED: Final = _counter("runs_total", "Runs that ended in the hands of this process.", "schedule", "end")
DURATION: Final = _histogram(
    "run_duration_seconds", _LONG, "From the start of the first attempt until the run's end, pauses included.", "end"
)
MISSED: Final = _counter("fires_missed_total", "Fires that made no run because they were noticed too late.", "reason")
SKIPPED: Final = _counter("fires_skipped_total", "Fires that made no run because of the overlap policy.", "reason")
RETRIES: Final = _counter("retries_total", "Attempts that failed and are made again.")
REFUSALS: Final = _counter("connection_refusals_total", "Connections that targets did not accept; no attempt is spent.")
FAULTY: Final = _counter("schedules_disabled_total", "Schedules that were disabled because they cannot be read.")

# targets

TARGET_TIME: Final = _histogram(
    "target_response_seconds",
    _LONG,
    "From the request until the target's answer was complete; for agents until their run was over or paused.",
    "target",
)
TARGET_ENDS: Final = _counter("target_answers_total", "How requests to targets ended.", "target", "outcome")

# workers

LEASES_LOST: Final = _counter("lease_losses_total", "How often others declared this process's worker dead.")
DROPPED: Final = _counter("results_dropped_total", "Results that do not count: another worker owned the run by then.")
TAKEN_OVER: Final = _counter(
    "runs_taken_over_total", "Runs of dead workers that this process took over, or declared lost.", "fate"
)
TROUBLES: Final = _counter("engine_troubles_total", "Steps of the engine's loops that failed.", "loop")
SLOTS: Final = _gauge("slots", "Runs that this process executes at a time at most.")
SLOTS_BUSY: Final = _gauge("slots_busy", "Runs that this process executes now.")
ENGINE: Final = _gauge("engine_status", "1 for what the engine of this process is doing, 0 for the rest.", "status")
PLANNED_AGO: Final = _gauge(
    "planner_idle_seconds", "Since this process looked for due fires and found the database there. Absent before that."
)
STREAMS: Final = _gauge("event_streams_open", "Event streams that this process serves.")
LISTENER: Final = _gauge("listener_up", "1 if wake-ups from other processes arrive, 0 if polling does the work.")

# the database

DATABASE_UP: Final = _gauge(
    "database_up", "1 if the database answered within 2 seconds, else 0, and what it says is absent."
)
DATABASE_INFO: Final = _gauge("database_info", "Always 1.", "backend", "version", "schema_version")
DUE_LAG: Final = _gauge("due_lag_seconds", "How long the earliest due fire has waited to be planned; 0: none waits.")
QUEUE_LAG: Final = _gauge("queue_lag_seconds", "How long the earliest available run has waited for a worker; 0: none.")
ACTIVE: Final = _gauge("runs_active", "Runs in the database that are not over, of all processes.", "status")
LATENCY: Final = _gauge("database_latency_seconds", "How long the database took to answer the last look at it.")
CLOCK_DIFFERENCE: Final = _gauge("clock_difference_seconds", "The database's clock minus that of this machine.")
SNAPSHOT: Final = _gauge(
    "database_oldest_snapshot_seconds",
    "Age of the oldest transaction, which keeps dead rows from being cleared away. PostgreSQL only.",
)
TRIPS: Final = _histogram("database_seconds", _TRIP, "How long operations on the database took.", "operation")
TRIP_ERRORS: Final = _counter("database_errors_total", "Operations that the database did not carry out.", "operation")

# the rest

PINGS: Final = _counter("pings_total", "Pings of dead man's switches by what became of them.", "result")
NOTICES: Final = _counter(
    "notices_total", "Tries to tell webhooks something, by what came of them; `dead`: given up.", "webhook", "result"
)
BUILD: Final = _gauge("build_info", "Always 1.", "version", "tzdata_version", "python_version")

EVERY: Final[tuple[Metric, ...]] = (
    LATENESS, QUEUED, ATTEMPTS, ENDED, DURATION, MISSED, SKIPPED, RETRIES, REFUSALS, FAULTY,
    TARGET_TIME, TARGET_ENDS,
    LEASES_LOST, DROPPED, TAKEN_OVER, TROUBLES, SLOTS, SLOTS_BUSY, ENGINE, PLANNED_AGO, STREAMS, LISTENER,
    DATABASE_UP, DATABASE_INFO, DUE_LAG, QUEUE_LAG, ACTIVE, LATENCY, CLOCK_DIFFERENCE, SNAPSHOT, TRIPS, TRIP_ERRORS,
    PINGS, NOTICES, BUILD,
)  # fmt: skip
