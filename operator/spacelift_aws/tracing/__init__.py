"""One OpenTelemetry trace a Run, by the SDK's standard variables; `docs/tracing.md`. Off unless they ask for it.

Off, the SDK is not even imported. On, a span is made when it has ended, with the times known of it, and a thread of the
SDK sends it: nobody waits. The IDs of a Run's trace and of the span of the whole Run follow from its run ID, so that
every process continues the same trace, and whoever has a run ID finds it.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

SAMPLED = 1

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class TracingError(Exception):
    """Traces are asked for and cannot be made; the text says what to change."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a Run stands: its trace, the span of the whole Run, and the span of who asked for it, if that is known."""

    trace_id: int
    span_id: int
    parent_id: int | None = None
    sampled: bool = True

    @property
    def traceparent(self) -> str:
        """As W3C writes it (https://www.w3.org/TR/trace-context/): for what goes on under this Run's span."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.sampled):02x}"


def place_of(run_id: str, traceparent: str | None) -> Place:
    """A Run's place in the trace that its author names, else in one of its own: a ULID is as long as a trace ID."""
    span_id = int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:8], "big") or 1
    given = _TRACEPARENT.fullmatch(traceparent or "")
    if given is not None and int(given[1], 16) and int(given[2], 16):
        return Place(int(given[1], 16), span_id, int(given[2], 16), bool(int(given[3], 16) & SAMPLED))
    number = 0
    for character in run_id:
        number = number * 32 + _CROCKFORD.index(character)
    return Place(number, span_id)


class Spans(Protocol):
    """Where spans go."""

    def place(self, run_id: str, traceparent: str | None) -> Place:
        """The Run's place, and whether its trace is kept at all."""
        ...

    def emit(self, span: "Span") -> None:
        """Send a span that has ended. Never waits, never raises."""
        ...

    def close(self) -> None:
        """Send what waits, for a second or two."""
        ...


@dataclass(frozen=True)
class Span:
    """One step of a Run; `whole` is the span of the Run itself, under which all others are."""

    name: str
    place: Place
    start: datetime
    end: datetime
    attributes: Mapping[str, str]
    whole: bool = False
    failed: bool = False


def is_on(environ: Mapping[str, str]) -> bool:
    """Whether the standard variables ask for traces."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "")
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return exporter != "none" and (bool(exporter) or any(environ.get(name) for name in endpoints))


def open_spans(component: str, version: str) -> Spans | None:
    """Where spans go; None where nobody asks for traces. Raises TracingError."""
    if not is_on(os.environ):
        return None
    exporter = os.environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    if exporter not in ("otlp", "console"):
        raise TracingError(f"OTEL_TRACES_EXPORTER is {exporter}: write otlp, console or none")
    try:
        from spacelift_aws.tracing import sdk
    except ImportError:
        raise TracingError("traces are asked for (OTEL_…): install spacelift-aws[tracing], or unset these") from None
    spans: Spans = sdk.open_spans(exporter, component, version)
    return spans


def nanoseconds(moment: datetime) -> int:
    """As the SDK counts time."""
    return int(moment.timestamp() * 1_000_000) * 1000
