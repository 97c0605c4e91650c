"""Where a Run stands in a trace, and what the SDK makes of it."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from spacelift_aws import tracing
from spacelift_aws.tracing import Span, TracingError, is_on, open_spans, place_of
from spacelift_aws.tracing.sdk import SdkSpans

RUN_ID = "01KDYAK348Z748BMS1CDM80HTQ"
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("variables", "on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, False),
    ],
)
def test_the_standard_variables_turn_it_on(variables: dict[str, str], on: bool) -> None:
    assert is_on(variables) is on


def test_a_run_has_a_trace_of_its_own_that_its_id_leads_to() -> None:
    place = place_of(RUN_ID, None)
    assert (
        place == place_of(RUN_ID, "not a traceparent") == place_of(RUN_ID, GIVEN.replace("b7ad6b7169203331", "0" * 16))
    )
    assert place.traceparent == f"00-{place.trace_id:032x}-{place.span_id:016x}-01"
    assert place.trace_id < 2**128
    # The first 48 bits are the creation's time, as in the run ID.
    assert place.trace_id >> 80 == int(START.timestamp() * 1000)


def test_it_joins_the_trace_of_who_created_it() -> None:
    place = place_of(RUN_ID, GIVEN)
    assert (f"{place.trace_id:032x}", f"{place.parent_id:016x}") == (GIVEN[3:35], GIVEN[36:52])
    assert place.traceparent.startswith(GIVEN[:35])
    assert place.span_id == place_of(RUN_ID, None).span_id
    assert not place_of(RUN_ID, GIVEN[:-2] + "00").sampled


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.mark.parametrize("given", [None, GIVEN])
def test_steps_are_under_the_run_and_the_run_under_who_created_it(
    exporter: InMemorySpanExporter, given: str | None
) -> None:
    spans = SdkSpans(exporter, "test", "1")
    place = spans.place(RUN_ID, given)
    end = START + timedelta(seconds=2)
    spans.emit(Span("sts", place, START, end, {"a": "b"}))
    spans.emit(Span("Run plan", place, START, end, {}, whole=True, failed=True))
    spans.emit(Span("end", place, START, end, {}))
    spans.close()
    step, whole, last = exporter.get_finished_spans()
    assert {span.context.trace_id for span in (step, whole, last)} == {place.trace_id}
    assert whole.context.span_id == place.span_id
    assert [span.parent.span_id if span.parent else None for span in (step, whole, last)] == [
        place.span_id,
        place.parent_id,
        place.span_id,
    ]
    assert step.context.span_id != last.context.span_id
    assert (step.start_time, step.end_time) == (tracing.nanoseconds(START), tracing.nanoseconds(end))
    assert (whole.status.is_ok, step.resource.attributes["service.name"]) == (False, "test")


def test_what_is_not_sampled_is_not_sent(exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    spans = SdkSpans(exporter, "test", "1")
    place = spans.place(RUN_ID, None)
    assert place.traceparent.endswith("-00")
    for whole in (False, True):
        spans.emit(Span("x", place, START, START, {}, whole=whole))
    spans.close()
    assert exporter.get_finished_spans() == ()


def test_off_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    assert open_spans("test", "1") is None


def test_an_exporter_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "jaeger")
    with pytest.raises(TracingError, match="write otlp, console or none"):
        open_spans("test", "1")


def test_without_the_sdk_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setitem(sys.modules, "spacelift_aws.tracing.sdk", None)
    monkeypatch.delattr(tracing, "sdk", raising=False)
    with pytest.raises(TracingError, match=r"install spacelift-aws\[tracing\]"):
        open_spans("test", "1")


def test_off_the_sdk_is_not_even_imported() -> None:
    found = "any(name.startswith('opentelemetry') for name in sys.modules)"
    script = f"import sys, spacelift_aws.roles.assembly; sys.exit({found})"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
