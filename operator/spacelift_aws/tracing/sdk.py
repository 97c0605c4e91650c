"""Spans by the OpenTelemetry SDK; imported only where traces are asked for."""

import logging
import os
import sys
from dataclasses import replace

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags

from spacelift_aws.tracing import Place, Span, nanoseconds, place_of

log = logging.getLogger(__name__)

CLOSING = 2000
"""Milliseconds for which the process waits at its end for what has not been sent."""


class _Ids(RandomIdGenerator):
    """Random IDs, but for the span of a whole Run."""

    whole: Place | None = None

    def generate_span_id(self) -> int:
        return self.whole.span_id if self.whole is not None else super().generate_span_id()

    def generate_trace_id(self) -> int:
        return self.whole.trace_id if self.whole is not None else super().generate_trace_id()


class SdkSpans:
    """Sends spans by an exporter, in a thread of the SDK's. To be used by one thread."""

    def __init__(self, exporter: SpanExporter, component: str, version: str) -> None:
        # What the variables say wins.
        named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        resource = Resource.create(
            {"service.version": version} if named else {"service.name": component, "service.version": version}
        )
        self._ids = _Ids()
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("spacelift_aws", version)

    def place(self, run_id: str, traceparent: str | None) -> Place:
        """The Run's place; of its own traces the SDK's sampler chooses."""
        place = place_of(run_id, traceparent)
        if place.parent_id is not None:
            return place
        decision = self._provider.sampler.should_sample(None, place.trace_id, "Run").decision
        return replace(place, sampled=decision is not Decision.DROP)

    def emit(self, span: Span) -> None:
        """Hand a span over to the SDK's thread."""
        self._ids.whole = span.place if span.whole else None
        made = self._tracer.start_span(
            span.name, context=_context(span), start_time=nanoseconds(span.start), attributes=dict(span.attributes)
        )
        if span.failed:
            made.set_status(Status(StatusCode.ERROR))
        made.end(nanoseconds(max(span.start, span.end)))

    def close(self) -> None:
        """Send what waits."""
        self._provider.force_flush(CLOSING)


def _context(span: Span) -> Context:
    """Under which span this one is: a step under its Run's, a Run under that of who asked for it."""
    place = span.place
    parent = place.parent_id if span.whole else place.span_id
    if parent is None:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED if place.sampled else TraceFlags.DEFAULT)
    context = SpanContext(place.trace_id, parent, is_remote=True, trace_flags=flags)
    return trace.set_span_in_context(NonRecordingSpan(context), Context())


def open_spans(exporter: str, component: str, version: str) -> SdkSpans:
    """Spans that go to a collector (OTEL_EXPORTER_OTLP_…), or to standard error."""
    made = ConsoleSpanExporter(out=sys.stderr) if exporter == "console" else OTLPSpanExporter()
    log.info("every Run is traced, exporter %s", exporter)
    return SdkSpans(made, component, version)
