"""Spans of runs, made when they are over: who ends one knows when it began, whichever process that was.

run (root) ── attempt ── request: what one worker did with the attempt
trigger, in the trace of whoever asked for the run; the two are linked
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from agentclock.core.events import Event, RunChanged, RunSettled
from agentclock.core.model import SECOND, Claim, Instant, Outcome, OutcomeKind, Run, RunStatus
from agentclock.core.origins import is_absolute
from agentclock.core.tracecontext import (
    attempt_span_id,
    caller_of,
    request_span_id,
    run_span_id,
    trace_id,
    trigger_span_id,
)
from agentclock.telemetry.metrics import due_at

#: Of so many runs that were triggered it is remembered who did.
CALLERS: Final = 1_000

_NO_ERROR: Final = frozenset({OutcomeKind.SUCCESS, OutcomeKind.PAUSED, OutcomeKind.DETACHED})
_GOOD_ENDS: Final = frozenset({RunStatus.SUCCESS, RunStatus.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanData:
    """A span that is over. `parent_id` None: the root of its trace. `link`: trace and span of another trace.
    `calls`: whether it stands for a request to somebody else."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str | None = None
    begun_at: Instant
    ended_at: Instant
    attributes: Mapping[str, str | int] = field(default_factory=dict)
    error: str | None = None
    link: tuple[str, str] | None = None
    calls: bool = False


class SpanSink(Protocol):
    """Where spans go. Real: OtelSink. Neither method waits."""

    def is_sampled(self, trace: str) -> bool: ...

    def take(self, span: SpanData) -> None: ...

    def close(self) -> None:
        """Sends what is left; may take seconds, so not on the event loop."""


class Tracer:
    """A listener on the bus, and the witness of what the executor does. `now`: this process's idea of the time."""

    def __init__(self, sink: SpanSink, now: Callable[[], Instant]) -> None:
        self._sink = sink
        self._now = now
        self._callers: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def hear(self, event: Event) -> None:
        match event:
            case RunChanged(traceparent=str(header), run_id=run_id):
                self._triggered(run_id, event.schedule_id, header)
            case RunSettled(goes_on=None, attempt_spent=True) if event.status is not RunStatus.PAUSED:
                self._attempt_over(event)
                if event.status.is_final:
                    self._run_over(event)
            case _:
                """Nothing is over."""

    def is_sampled(self, claim: Claim) -> bool:
        return self._sink.is_sampled(trace_id(claim.run.id))

    def answered(self, claim: Claim, outcome: Outcome | None, seconds: float) -> None:
        run, target = claim.run, claim.schedule.target
        facts: dict[str, str | int] = {"agentclock.target": target.name, "http.request.method": target.method}
        facts["url.full" if is_absolute(target.endpoint) else "url.path"] = target.endpoint.partition("?")[0]
        if outcome is not None and outcome.status_code is not None:
            facts["http.response.status_code"] = outcome.status_code
        now = self._now()
        self._sink.take(
            SpanData(
                name=f"request {target.name}",
                trace_id=trace_id(run.id),
                span_id=request_span_id(run),
                parent_id=attempt_span_id(run),
                begun_at=now - round(seconds * SECOND),
                ended_at=now,
                attributes=_facts(run, claim.schedule.name) | facts,
                error=_error_of(outcome),
                calls=True,
            )
        )

    def close(self) -> None:
        self._sink.close()

    def _triggered(self, run_id: str, schedule_id: str, header: str) -> None:
        caller = caller_of(header)
        if caller is None:
            return
        self._callers[run_id] = caller
        if len(self._callers) > CALLERS:
            self._callers.popitem(last=False)
        now = self._now()
        self._sink.take(
            SpanData(
                name="trigger",
                trace_id=caller[0],
                span_id=trigger_span_id(run_id),
                parent_id=caller[1],
                begun_at=now,
                ended_at=now,
                attributes={"agentclock.schedule_id": schedule_id, "agentclock.run": run_id},
                link=(trace_id(run_id), run_span_id(run_id)),
            )
        )

    def _attempt_over(self, event: RunSettled) -> None:
        run = event.run
        begun_at = event.at if run.attempt_started_at is None else run.attempt_started_at
        late_ms = max(begun_at - due_at(run), 0)
        self._sink.take(
            SpanData(
                name=f"attempt {run.attempt}",
                trace_id=trace_id(run.id),
                span_id=attempt_span_id(run),
                parent_id=run_span_id(run.id),
                begun_at=begun_at,
                ended_at=max(event.at, begun_at),
                attributes=_facts(run, event.schedule_name) | {"agentclock.late_ms": late_ms},
                error=None if event.status in _GOOD_ENDS else event.error or event.status.value,
            )
        )

    def _run_over(self, event: RunSettled) -> None:
        run = event.run
        begun_at = event.at if run.started_at is None else run.started_at
        self._sink.take(
            SpanData(
                name=f"run {event.schedule_name}",
                trace_id=trace_id(run.id),
                span_id=run_span_id(run.id),
                begun_at=begun_at,
                ended_at=max(event.at, begun_at),
                attributes=_facts(run, event.schedule_name) | {"agentclock.status": event.status.value},
                error=None if event.status in _GOOD_ENDS else event.error or event.status.value,
                link=self._callers.pop(run.id, None),
            )
        )


def _facts(run: Run, schedule_name: str) -> dict[str, str | int]:
    return {
        "agentclock.schedule": schedule_name,
        "agentclock.schedule_id": run.schedule_id,
        "agentclock.run": run.id,
        "agentclock.attempt": run.attempt,
        "agentclock.cause": run.cause.value,
    }


def _error_of(outcome: Outcome | None) -> str | None:
    if outcome is None:
        return "interrupted"
    return None if outcome.kind in _NO_ERROR else outcome.error or outcome.kind.value
