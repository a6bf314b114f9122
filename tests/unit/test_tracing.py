"""Trace ids that follow from the run, and the spans that are made of what happened."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from tests.telemetry_help import RUN_ID, run_of, settled

from agentclock.config import Settings
from agentclock.core.errors import ConfigError
from agentclock.core.events import RunChanged
from agentclock.core.model import Claim, InstructionKind, Outcome, OutcomeKind, RunStatus, Schedule, Target
from agentclock.core.tracecontext import attempt_span_id, caller_of, request_span_id, run_span_id, trace_id, traceparent
from agentclock.executor.headers import run_headers
from agentclock.executor.targets import TargetSettings
from agentclock.ports import RunContext
from agentclock.telemetry import otel
from agentclock.telemetry.metrics import Metrics
from agentclock.telemetry.observed import ObservedExecutor
from agentclock.telemetry.otel import OtelSink
from agentclock.telemetry.station import Telemetry
from agentclock.telemetry.tracing import SpanData, Tracer
from agentclock.testing import SUCCESS, FakeClock, ScriptedExecutor

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SCHEDULE = Schedule(id="s1", name="nightly", target=Target(endpoint="/hook?token=x"))


@dataclass(slots=True)
class Kept:
    """Keeps spans."""

    spans: list[SpanData] = field(default_factory=list)
    samples: bool = True

    def is_sampled(self, trace: str) -> bool:
        return self.samples

    def take(self, span: SpanData) -> None:
        self.spans.append(span)

    def close(self) -> None: ...


def tracer_of() -> tuple[Tracer, Kept]:
    kept = Kept()
    return Tracer(kept, lambda: 50_000), kept


# ids


def test_the_header_is_that_of_the_standard_and_the_trace_is_the_run() -> None:
    run = run_of()
    header = traceparent(run)
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", header)
    assert header.split("-")[1] == RUN_ID.replace("-", "") == trace_id(run.id)
    assert header.split("-")[2] == request_span_id(run)
    assert traceparent(run, is_sampled=False).endswith("-00")


def test_each_claim_is_a_span_of_its_own_and_all_are_in_one_trace() -> None:
    runs = [run_of(), run_of(fence=2), run_of(attempt=2, fence=3)]
    assert len({traceparent(run) for run in runs}) == 3
    assert len({traceparent(run).split("-")[1] for run in runs}) == 1
    ids = {run_span_id(RUN_ID), *map(request_span_id, runs), attempt_span_id(runs[0]), attempt_span_id(runs[2])}
    assert len(ids) == 6
    assert attempt_span_id(runs[0]) == attempt_span_id(runs[1])


def test_every_request_of_a_run_carries_it() -> None:
    context = RunContext(claim=Claim(run=run_of(), schedule=SCHEDULE), emit=_ignore, note_agent_run=_nothing)
    target = TargetSettings(name="default", kind="http", base_url="http://a.test")
    assert run_headers(target, context)["traceparent"] == traceparent(run_of())
    context.is_sampled = False
    assert run_headers(target, context)["traceparent"].endswith("-00")


@pytest.mark.parametrize(
    "header",
    [
        None, "", "nonsense", CALLER.upper(), CALLER[:-1], CALLER + "-more", "ff" + CALLER[2:],
        CALLER.replace("00f067aa0ba902b7", "0" * 16), CALLER.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
    ],
)  # fmt: skip
def test_a_caller_that_cannot_be_read_is_none(header: str | None) -> None:
    assert caller_of(header) is None


def test_callers_of_later_versions_of_the_standard_are_read() -> None:
    pair = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    assert caller_of(CALLER) == caller_of(f"01{CALLER[2:]}-more") == pair


# spans


def test_run_attempt_and_request_hang_together() -> None:
    tracer, kept = tracer_of()
    run = run_of(available_at=9_500)
    tracer.answered(Claim(run=run, schedule=SCHEDULE), SUCCESS, 2.0)
    tracer.hear(settled(run=run))
    request, attempt, root = kept.spans
    assert {span.trace_id for span in kept.spans} == {trace_id(RUN_ID)}
    assert (root.parent_id, attempt.parent_id, request.parent_id) == (None, root.span_id, attempt.span_id)
    assert (request.begun_at, request.ended_at) == (48_000, 50_000)
    assert (root.begun_at, root.ended_at) == (attempt.begun_at, attempt.ended_at) == (10_000, 12_500)
    assert attempt.attributes["agentclock.late_ms"] == 0
    assert root.attributes["agentclock.schedule"] == "nightly"
    assert root.attributes["agentclock.status"] == "success"
    assert request.attributes["url.path"] == "/hook", "the query may carry secrets"
    assert request.attributes["http.response.status_code"] == 200
    assert not any(span.error for span in kept.spans)


def test_a_retry_ends_the_attempt_and_not_the_run() -> None:
    tracer, kept = tracer_of()
    tracer.hear(settled(RunStatus.PENDING, available_at=20_000, error="HTTP 500"))
    [attempt] = kept.spans
    assert (attempt.name, attempt.error) == ("attempt 1", "HTTP 500")
    last = run_of(attempt=2, available_at=20_000, attempt_started_at=20_040)
    tracer.hear(settled(RunStatus.FAILED, last, error="HTTP 500", at=30_000))
    assert [span.name for span in kept.spans[1:]] == ["attempt 2", "run nightly"]
    assert kept.spans[1].attributes["agentclock.late_ms"] == 40
    assert kept.spans[2].error == "HTTP 500"


def test_what_goes_on_makes_no_span_but_for_what_the_worker_did() -> None:
    tracer, kept = tracer_of()
    pending = {"status": RunStatus.PENDING, "available_at": 20_000}
    tracer.hear(settled(**pending, goes_on=InstructionKind.ATTACH))
    tracer.hear(settled(**pending, attempt_spent=False))
    tracer.hear(settled(RunStatus.PAUSED))
    assert kept.spans == []
    tracer.answered(Claim(run=run_of(), schedule=SCHEDULE), None, 1.0)
    tracer.answered(Claim(run=run_of(), schedule=SCHEDULE), Outcome(kind=OutcomeKind.DETACHED), 1.0)
    assert [span.error for span in kept.spans] == ["interrupted", None]


def test_whoever_triggers_a_run_finds_it() -> None:
    tracer, kept = tracer_of()
    tracer.hear(RunChanged(run_id=RUN_ID, schedule_id="s1", traceparent=CALLER))
    tracer.hear(RunChanged(run_id=RUN_ID, schedule_id="s1", traceparent="nonsense"))
    tracer.hear(RunChanged(run_id=RUN_ID, schedule_id="s1"))
    tracer.hear(settled())
    trigger, _, root = kept.spans
    assert (trigger.trace_id, trigger.parent_id) == caller_of(CALLER)
    assert trigger.link == (root.trace_id, root.span_id)
    assert root.link == caller_of(CALLER)


async def test_a_trace_that_nobody_wants_is_not_asked_of_targets() -> None:
    tracer, kept = tracer_of()
    inner = ScriptedExecutor()
    clock = FakeClock()
    executor = ObservedExecutor(
        inner, Metrics(monotonic=clock.monotonic), targets=[], monotonic=clock.monotonic, witness=tracer
    )
    for kept.samples in (True, False):
        context = RunContext(claim=Claim(run=run_of(), schedule=SCHEDULE), emit=_ignore, note_agent_run=_nothing)
        await executor.execute(context)
    assert [context.is_sampled for context in inner.contexts] == [True, False]


# OpenTelemetry


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def sink(exporter: InMemorySpanExporter) -> OtelSink:
    return OtelSink(SimpleSpanProcessor(exporter), version="1.2.3")


def test_spans_keep_the_ids_that_they_are_given(exporter: InMemorySpanExporter, sink: OtelSink) -> None:
    tracer = Tracer(sink, lambda: 50_000)
    failed = Outcome(kind=OutcomeKind.FAILED, status_code=500, error="HTTP 500")
    tracer.hear(RunChanged(run_id=RUN_ID, schedule_id="s1", traceparent=CALLER))
    tracer.answered(Claim(run=run_of(), schedule=SCHEDULE), failed, 2.0)
    tracer.hear(settled(RunStatus.FAILED, error="HTTP 500"))
    trigger, request, attempt, root = exporter.get_finished_spans()
    contexts = [span.get_span_context() for span in (request, attempt, root)]
    assert {f"{context.trace_id:032x}" for context in contexts if context} == {trace_id(RUN_ID)}
    assert f"{contexts[0].span_id:016x}" == traceparent(run_of()).split("-")[2]  # type: ignore[union-attr]
    assert root.parent is None
    assert attempt.parent is not None
    assert request.parent is not None
    assert attempt.parent.span_id == int(run_span_id(RUN_ID), 16)
    assert request.parent.span_id == int(attempt_span_id(run_of()), 16)
    assert (request.kind, root.kind) == (SpanKind.CLIENT, SpanKind.INTERNAL)
    assert root.status.status_code is StatusCode.ERROR
    assert root.status.description == "HTTP 500"
    assert (root.start_time, root.end_time) == (10_000_000_000, 12_500_000_000)
    assert root.attributes is not None
    assert root.attributes["agentclock.run"] == RUN_ID
    assert root.links[0].context.trace_id == int("4bf92f3577b34da6a3ce929d0e0e4736", 16)
    assert trigger.parent is not None
    assert f"{trigger.parent.span_id:016x}" == "00f067aa0ba902b7"
    assert trigger.links[0].context.span_id == int(run_span_id(RUN_ID), 16)
    assert root.resource.attributes["service.name"] == "agentclock"
    assert root.resource.attributes["service.version"] == "1.2.3"


@pytest.mark.parametrize(("ratio", "spans"), [("0.0", 0), ("1.0", 2)])
def test_the_sampler_decides_for_the_whole_trace(
    monkeypatch: pytest.MonkeyPatch, exporter: InMemorySpanExporter, ratio: str, spans: int
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", ratio)
    tracer = Tracer(OtelSink(SimpleSpanProcessor(exporter), version="1"), lambda: 0)
    tracer.hear(settled())
    assert len(exporter.get_finished_spans()) == spans
    assert tracer.is_sampled(Claim(run=run_of(), schedule=SCHEDULE)) == bool(spans)


def test_the_service_may_have_another_name(monkeypatch: pytest.MonkeyPatch, exporter: InMemorySpanExporter) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "night-shift")
    Tracer(OtelSink(SimpleSpanProcessor(exporter), version="1"), lambda: 0).hear(settled())
    assert exporter.get_finished_spans()[0].resource.attributes["service.name"] == "night-shift"


@pytest.mark.parametrize(
    ("setting", "variables", "traces"),
    [
        (None, {}, False),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, True),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"}, True),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}, False),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"}, False),
        (False, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, False),
        (True, {}, True),
    ],
)
async def test_when_traces_are_exported(
    monkeypatch: pytest.MonkeyPatch, setting: bool | None, variables: dict[str, str], traces: bool
) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(otel, "otlp_sink", lambda _: Kept())
    telemetry = Telemetry(Settings(otel=setting), FakeClock(), version="1")
    assert (len(telemetry.listeners) == 3) == traces
    await telemetry.close()


def test_without_the_extra_traces_must_be_asked_for_to_be_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(_: str) -> OtelSink:
        raise ImportError

    monkeypatch.setattr(otel, "otlp_sink", lacking)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    assert len(Telemetry(Settings(), FakeClock(), version="1").listeners) == 2
    with pytest.raises(ConfigError, match=r"agentclock\[otel\]"):
        Telemetry(Settings(otel=True), FakeClock(), version="1")


def _ignore(_: object) -> None: ...


async def _nothing(*_: object) -> None: ...
