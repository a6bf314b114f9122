"""What a process counts. A listener on the bus, and what the wrappers of store and executor report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, assert_never

from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, ProcessCollector

from agentclock.core.events import (
    AgentEvent,
    AttemptStarted,
    EngineRecovered,
    EngineTrouble,
    Event,
    EventsLogged,
    FiresAbsent,
    ResultDropped,
    RunChanged,
    RunQueued,
    RunSettled,
    RunTakenOver,
    ScheduleChanged,
    ScheduleFaulty,
    WorkerDeclaredDead,
)
from agentclock.core.model import SECOND, Cause, OutcomeKind, Reason, Run, RunStatus
from agentclock.telemetry import definitions as metric
from agentclock.telemetry.definitions import Kind, Metric
from agentclock.telemetry.places import Places

ENDS: Final = tuple(
    status.value for status in RunStatus if status.is_final and status not in (RunStatus.SKIPPED, RunStatus.MISSED)
)
SKIP_REASONS: Final = (Reason.OVERLAP, Reason.QUEUE_FULL)
LOOPS: Final = ("planner", "worker", "keeper", "completer", "recorder", "start", "open")
PING_RESULTS: Final = ("sent", "failed", "dropped")
NOTICE_RESULTS: Final = ("delivered", "failed", "dead")


class Metrics:
    """Counters and histograms in a registry of their own. `monotonic`: seconds that never go back."""

    def __init__(self, *, monotonic: Callable[[], float], schedule_limit: int = 200) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._monotonic = monotonic
        self._places = Places(schedule_limit)
        self._counters = {one: self._counter(one) for one in metric.EVERY if one.kind is Kind.COUNTER}
        self._histograms = {one: self._histogram(one) for one in metric.EVERY if one.kind is Kind.HISTOGRAM}
        self._lateness = self._histograms[metric.LATENESS]
        self._ended = self._counters[metric.ENDED]
        self._ends: dict[str, dict[str, Counter]] = {}
        self._begin_at_zero()

    def count(self, what: Metric, *labels: str, by: float = 1) -> None:
        counter = self._counters[what]
        (counter.labels(*labels) if labels else counter).inc(by)

    def observe(self, what: Metric, seconds: float, *labels: str) -> None:
        histogram = self._histograms[what]
        (histogram.labels(*labels) if labels else histogram).observe(seconds)

    def expect_targets(self, names: Iterable[str]) -> None:
        """Shows these targets from the beginning, with zeros."""
        for name in names:
            self._histograms[metric.TARGET_TIME].labels(name)
            for outcome in OutcomeKind:
                self._counters[metric.TARGET_ENDS].labels(name, outcome.value)

    def expect_webhooks(self, names: Iterable[str]) -> None:
        for name in names:
            for result in NOTICE_RESULTS:
                self._counters[metric.NOTICES].labels(name, result)

    def hear(self, event: Event) -> None:
        match event:
            case RunQueued():
                self.count(metric.QUEUED, event.cause.value)
            case AttemptStarted():
                self._started(event)
            case RunSettled():
                self._settled(event)
            case FiresAbsent():
                what = metric.MISSED if event.status is RunStatus.MISSED else metric.SKIPPED
                self.count(what, event.reason.value, by=event.count)
            case ResultDropped():
                self.count(metric.DROPPED)
            case WorkerDeclaredDead():
                self.count(metric.LEASES_LOST)
            case RunTakenOver():
                self.count(metric.TAKEN_OVER, "attached" if event.attaches else "lost")
            case ScheduleFaulty():
                self.count(metric.FAULTY)
            case EngineTrouble():
                self.count(metric.TROUBLES, event.loop)
            case AgentEvent() | EventsLogged() | RunChanged() | ScheduleChanged() | EngineRecovered():
                """Too many, or seen elsewhere."""
            case never:
                assert_never(never)

    def _started(self, event: AttemptStarted) -> None:
        self._ends_of(event.schedule_name)
        run = event.run
        if run.instruction is not None or run.refusals:
            return
        self.count(metric.ATTEMPTS, run.cause.value)
        if run.cause is Cause.SCHEDULE and run.attempt == 1:
            self._lateness.observe(max(event.at - due_at(run), 0) / SECOND)

    def _settled(self, event: RunSettled) -> None:
        if event.status.is_final:
            self._ends_of(event.schedule_name)[event.status.value].inc()
            if event.run.started_at is not None:
                self.observe(metric.DURATION, max(event.at - event.run.started_at, 0) / SECOND, event.status.value)
        elif event.available_at is not None and event.goes_on is None:
            self.count(metric.RETRIES if event.attempt_spent else metric.REFUSALS)

    def _ends_of(self, schedule_name: str) -> dict[str, Counter]:
        """A counter that is first seen at 1 looks as if nothing had happened. So it is shown with 0 from the start of
        the first run on."""
        label, given_up = self._places.take(schedule_name, self._monotonic())
        if given_up is not None:
            for end in self._ends.pop(given_up, ()):
                self._ended.remove(given_up, end)
        if label not in self._ends:
            self._ends[label] = {end: self._ended.labels(label, end) for end in ENDS}
        return self._ends[label]

    def _counter(self, what: Metric) -> Counter:
        return Counter(what.name, what.meaning, what.labels, registry=self.registry)

    def _histogram(self, what: Metric) -> Histogram:
        return Histogram(what.name, what.meaning, what.labels, buckets=what.buckets, registry=self.registry)

    def _begin_at_zero(self) -> None:
        known: dict[Metric, tuple[str, ...]] = {
            metric.QUEUED: tuple(Cause),
            metric.ATTEMPTS: tuple(Cause),
            metric.MISSED: tuple(reason for reason in Reason if reason not in SKIP_REASONS),
            metric.SKIPPED: SKIP_REASONS,
            metric.TAKEN_OVER: ("attached", "lost"),
            metric.TROUBLES: LOOPS,
            metric.PINGS: PING_RESULTS,
        }
        for what, words in known.items():
            for word in words:
                self._counters[what].labels(str(word))
        for end in ENDS:
            self._histograms[metric.DURATION].labels(end)


def due_at(run: Run) -> int:
    """When a run was to start: at its fire time and its jitter, or when the run that it waited for was over."""
    return max(run.fire_at, run.available_at or 0)
