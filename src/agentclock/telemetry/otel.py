"""Spans by way of OpenTelemetry's SDK, which is an extra. Its own settings (OTEL_*) say where they go."""

from __future__ import annotations

from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from agentclock.core.model import SECOND
from agentclock.telemetry.tracing import SpanData

_NAME: Final = "agentclock"
_NS_PER_MS: Final = 1_000_000_000 // SECOND


class OtelSink:
    """Implements `SpanSink`. Nothing of it is global: whoever hosts us keeps his own tracing."""

    def __init__(self, processor: SpanProcessor, *, version: str) -> None:
        self._ids = _GivenIds()
        self._provider = TracerProvider(id_generator=self._ids, resource=_resource(version), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer(_NAME, version)

    def is_sampled(self, trace: str) -> bool:
        decision = self._provider.sampler.should_sample(None, int(trace, 16), _NAME).decision
        return decision is Decision.RECORD_AND_SAMPLE

    def take(self, span: SpanData) -> None:
        parent = Context()
        if span.parent_id is not None:
            flags = TraceFlags.SAMPLED if self.is_sampled(span.trace_id) else TraceFlags.DEFAULT
            above = _context(span.trace_id, span.parent_id, flags)
            parent = set_span_in_context(NonRecordingSpan(above), parent)
        self._ids.give(span)
        made = self._tracer.start_span(
            span.name,
            context=parent,
            kind=SpanKind.CLIENT if span.calls else SpanKind.INTERNAL,
            attributes=dict(span.attributes),
            links=[] if span.link is None else [Link(_context(*span.link))],
            start_time=span.begun_at * _NS_PER_MS,
        )
        if span.error is not None:
            made.set_status(Status(StatusCode.ERROR, span.error))
        made.end(span.ended_at * _NS_PER_MS)

    def close(self) -> None:
        self._provider.shutdown()


class _GivenIds(IdGenerator):
    """Ids are ours to give: they are computed from the run, so that no process has to tell another one."""

    def __init__(self) -> None:
        self._trace_id = self._span_id = 0

    def give(self, span: SpanData) -> None:
        self._trace_id, self._span_id = int(span.trace_id, 16), int(span.span_id, 16)

    def generate_trace_id(self) -> int:
        return self._trace_id

    def generate_span_id(self) -> int:
        return self._span_id


def otlp_sink(version: str) -> OtelSink:
    """Spans go to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names, over HTTP. Raises ImportError."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    return OtelSink(BatchSpanProcessor(OTLPSpanExporter()), version=version)


def _resource(version: str) -> Resource:
    """What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say, else our own name."""
    given = Resource.create({SERVICE_VERSION: version})
    name = str(given.attributes.get(SERVICE_NAME, ""))
    return given.merge(Resource({SERVICE_NAME: _NAME})) if name.startswith("unknown_service") else given


def _context(trace: str, span: str, flags: int = TraceFlags.SAMPLED) -> SpanContext:
    return SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(flags))
